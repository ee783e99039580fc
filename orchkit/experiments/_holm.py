"""Holm's rule: many questions, one promise."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["holm"]


def holm(ps: Sequence[float], alpha: float) -> list[float]:
    """Share out alpha over a family of questions, by Holm's step-down rule [1]_.

    Parameters
    ----------
    ps : sequence of float, 0..1
        p values, one a question.
    alpha : float, 0..1
        How often any verdict of the whole family may be wrong.

    Returns
    -------
    list of float
        The level of each question: it is decided if its p is at most that.

    Notes
    -----
    In order of p, the k-th of m questions (from 1) gets ``alpha / (m - k + 1)`` as long as all before it are
    decided; from the first that is not, all get what that one got.

    References
    ----------
    .. [1] S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.

    Examples
    --------
    >>> [round(level, 4) for level in holm([0.01, 0.04, 0.03, 0.005], 0.05)]
    [0.0167, 0.025, 0.025, 0.0125]
    """
    levels = [alpha] * len(ps)
    left, stopped = len(ps), False
    for position in sorted(range(len(ps)), key=lambda i: ps[i]):
        levels[position] = alpha / left
        stopped = stopped or ps[position] > alpha / left
        left -= 0 if stopped else 1
    return levels

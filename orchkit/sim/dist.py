"""Distributions of durations, each by its quantile function: one uniform a draw keeps paired arms paired.

Every distribution is in seconds. Rejection methods would need a varying number of draws and break the pairing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, floor, isfinite, log, log1p
from statistics import NormalDist

from orchkit.errors import DefinitionError

__all__ = ["Dist", "constant", "empirical", "exponential", "gamma", "lognormal", "mixture", "of", "weibull"]

_NORMAL = NormalDist()
_Z99 = _NORMAL.inv_cdf(0.99)


@dataclass(frozen=True, slots=True, repr=False)
class Dist:
    """A distribution of durations.

    Attributes
    ----------
    text : str
        How it was made.
    quantile : callable
        ``quantile(u)`` for u in (0, 1), in seconds.

    Examples
    --------
    >>> lognormal(p50=3, p99=15).quantile(0.5)
    3.0
    """

    text: str
    quantile: Callable[[float], float]

    def __repr__(self) -> str:
        return f"ok.dist.{self.text}"


def _check(text: str, ok: bool, rule: str) -> None:
    if not ok:
        raise DefinitionError(f"ok.dist.{text}: {rule}")


def constant(seconds: float) -> Dist:
    """Always the same.

    Parameters
    ----------
    seconds : float, seconds, >= 0
    """
    text = f"constant({seconds:g})"
    _check(text, 0 <= seconds < float("inf"), "seconds must be 0 or more and finite")
    return Dist(text, lambda u: seconds)


def exponential(mean: float) -> Dist:
    """Memoryless.

    Parameters
    ----------
    mean : float, seconds, > 0

    Notes
    -----
    Quantile ``-mean * ln(1 - u)``.
    """
    text = f"exponential(mean={mean:g})"
    _check(text, 0 < mean < float("inf"), "mean must be above 0 and finite")
    return Dist(text, lambda u: -mean * log1p(-u))


def lognormal(p50: float, p99: float | None = None, *, sigma: float | None = None) -> Dist:
    """A body with a heavy right tail, the usual shape of answer times.

    Parameters
    ----------
    p50 : float, seconds, > 0
        The median.
    p99 : float, seconds, >= p50
        The 99th percentile; give it or `sigma`.
    sigma : float, >= 0
        Standard deviation of the logarithm.

    Notes
    -----
    ``ln X`` is normal with mean ``ln p50`` and ``sigma = ln(p99 / p50) / 2.3263``.
    """
    given = f"p99={p99:g}" if p99 is not None else f"sigma={sigma}"
    text = f"lognormal(p50={p50:g}, {given})"
    _check(text, (p99 is None) != (sigma is None), "give either p99 or sigma")
    _check(text, 0 < p50 < float("inf"), "p50 must be above 0 and finite")
    if p99 is not None:
        _check(text, p50 <= p99 < float("inf"), "p99 must be at least p50")
        sigma = log(p99 / p50) / _Z99
    assert sigma is not None
    _check(text, 0 <= sigma < float("inf"), "sigma must be 0 or more")
    spread = sigma
    return Dist(text, lambda u: p50 * exp(spread * _NORMAL.inv_cdf(u)))


def gamma(shape: float, scale: float) -> Dist:
    """Sum-like waiting times.

    Parameters
    ----------
    shape : float, > 0
    scale : float, seconds, > 0
        The mean is ``shape * scale``.

    Notes
    -----
    The quantile is scipy's ``gammaincinv``, imported at the first draw.
    """
    text = f"gamma(shape={shape:g}, scale={scale:g})"
    _check(
        text,
        0 < shape < float("inf") and 0 < scale < float("inf"),
        "shape and scale must be above 0 and finite",
    )

    def quantile(u: float) -> float:
        from scipy.special import gammaincinv

        return scale * float(gammaincinv(shape, u))

    return Dist(text, quantile)


def weibull(shape: float, scale: float) -> Dist:
    """Stretched exponential: a shape below 1 gives clusters and long gaps.

    Parameters
    ----------
    shape : float, > 0
    scale : float, seconds, > 0

    Notes
    -----
    Quantile ``scale * (-ln(1 - u))**(1 / shape)``.
    """
    text = f"weibull(shape={shape:g}, scale={scale:g})"
    _check(
        text,
        0 < shape < float("inf") and 0 < scale < float("inf"),
        "shape and scale must be above 0 and finite",
    )
    return Dist(text, lambda u: scale * (-log1p(-u)) ** (1.0 / shape))


def empirical(xs: Sequence[float]) -> Dist:
    """Draw from recorded durations, each as likely as the next.

    Parameters
    ----------
    xs : sequence of float, seconds, >= 0
        At least one.
    """
    values = sorted(float(x) for x in xs)
    text = f"empirical({len(values)} values)"
    _check(
        text,
        bool(values) and values[0] >= 0 and all(map(isfinite, values)),
        "give at least one value, all >= 0",
    )
    return Dist(text, lambda u: values[floor(u * len(values))])


def mixture(*parts: tuple[float, Dist]) -> Dist:
    """Draw from one of several distributions.

    Parameters
    ----------
    *parts : tuple of (weight, Dist)
        Weights above 0; they need not sum to 1.

    Notes
    -----
    One uniform serves: it picks the part, and where it fell within the part's share is the part's own uniform.
    """
    text = f"mixture({', '.join(f'({weight:g}, {part.text})' for weight, part in parts)})"
    _check(
        text,
        bool(parts) and all(weight > 0 for weight, _ in parts),
        "give (weight, dist) pairs, weights above 0",
    )
    total = sum(weight for weight, _ in parts)
    edges = [0.0, *accumulate(weight / total for weight, _ in parts)]

    def quantile(u: float) -> float:
        i = min(bisect_right(edges, u) - 1, len(parts) - 1)
        within = (u - edges[i]) / (edges[i + 1] - edges[i])
        return parts[i][1].quantile(min(max(within, 1e-16), 1 - 1e-16))

    return Dist(text, quantile)


def of(value: float | Dist) -> Dist:
    """Take a number of seconds as a constant, a distribution as it is.

    Raises
    ------
    DefinitionError
        For anything else.
    """
    if isinstance(value, Dist):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return constant(value)
    raise DefinitionError(
        f"{value!r} is no duration: give seconds, or a distribution such as ok.dist.lognormal(...)"
    )

"""Hedge: start a second leg when the first is slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchkit.errors import DefinitionError
from orchkit.model.policies.checks import is_bound
from orchkit.model.text import shown

__all__ = ["Hedge"]


@dataclass(frozen=True, slots=True)
class Hedge:
    """Start a second leg when there is no answer by then; the first leg to deliver wins, the other is cancelled.

    A hedge is against slowness only. Each leg has its own retries, a first leg that fails early starts no second,
    and the node fails when all legs that have started have failed.

    Parameters
    ----------
    after : float, seconds, > 0, <= 1e9
        How long the first leg is alone. There is no default: it should be about the 95th percentile of the time that
        the step takes, so that one call in twenty is made twice [1]_. Much below that it doubles the load.

    Raises
    ------
    DefinitionError
        If `after` is not above 0 and finite.

    Notes
    -----
    With F the distribution of one leg's time and S = 1 - F, the share of extra calls is ``S(after)`` and the time is
    beyond t with probability ``S(t) * S(t - after)`` when the legs are independent. Where both ask the same provider
    in one outage they are not. An effect that is hedged may happen twice unless its receiver knows the idempotency
    key.

    References
    ----------
    .. [1] J. Dean, L. A. Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013.

    Examples
    --------
    >>> Hedge(after=15)
    Hedge(15)
    """

    after: float

    kind: ClassVar[str] = "hedge"

    def __post_init__(self) -> None:
        if not is_bound(self.after):
            raise DefinitionError(
                f"Hedge({self.after!r}): use seconds above 0, at most 1e9, such as the time of the slowest in twenty"
            )
        object.__setattr__(self, "after", float(self.after))

    def __repr__(self) -> str:
        return f"Hedge({shown(self.after)})"

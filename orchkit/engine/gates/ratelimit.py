"""The rate limit's gate: a token bucket in whole numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from fractions import Fraction
from typing import Literal

__all__ = ["RateLimitGate"]


class RateLimitGate:
    """Keep a bucket of tokens under one key, and those who wait for one in order of arrival.

    Parameters
    ----------
    per_second : float
        How many tokens a second come in; taken as the decimal number that it is written as.
    burst : int
        How many the bucket holds; it starts full.

    Notes
    -----
    A token comes every p/q microseconds, a fraction; so the level is counted in units of which a token has p and a
    microsecond brings q. All are integers, and nothing is ever rounded but the instant at which somebody is let in,
    up to the next microsecond. What a full bucket would lose meanwhile, less than a microsecond's worth, is kept
    while somebody waits: so the i-th of N that come at once begins at ``max(0, (i - burst) / per_second)`` rounded
    up, however large i is. No window of length w sees more than ``burst + per_second * (w + 1 µs)`` begin.

    Examples
    --------
    >>> gate = RateLimitGate(per_second=3, burst=1)
    >>> gate.verdict(0)
    'admit'
    >>> gate.admitted("a", 0)
    >>> gate.verdict(0)
    'queue'
    >>> gate.queued("b")
    >>> gate.due(0), gate.next(333_333), gate.next(333_334)
    (333334, None, 'b')
    """

    __slots__ = ("_at", "_full", "_gain", "_level", "_line", "_token")

    def __init__(self, per_second: float, burst: int = 1) -> None:
        interval = 1_000_000 / Fraction(repr(per_second))
        self._token, self._gain = interval.numerator, interval.denominator
        self._full = burst * self._token
        self._level = self._full  # at the time _at
        self._at = 0
        self._line: OrderedDict[Hashable, None] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    @property
    def first(self) -> Hashable | None:
        """Who is next of those who wait; None if nobody does."""
        return next(iter(self._line)) if self._line else None

    def verdict(self, at: int) -> Literal["admit", "queue"]:
        """Say what becomes of an attempt that arrives now; it does not overtake those who wait."""
        return "admit" if not self._line and self._level_at(at) >= self._token else "queue"

    def next(self, at: int) -> Hashable | None:
        """Say who may be let in now; None if there is no token, or nobody waits."""
        return next(iter(self._line)) if self._line and self._level_at(at) >= self._token else None

    def due(self, at: int) -> int | None:
        """Say when the first of those who wait may be let in, `at` at the earliest; None if nobody waits."""
        if not self._line:
            return None
        at = max(at, self._at)
        missing = self._token - self._level_at(at)
        return at if missing <= 0 else at - missing // -self._gain  # rounded up

    def queued(self, who: Hashable) -> None:
        """Take in that an attempt waits."""
        self._line[who] = None

    def admitted(self, who: Hashable, at: int) -> None:
        """Take in that an attempt was let in, at once or after it has waited, and took a token."""
        self._level = self._level_at(at) - self._token
        self._at = max(self._at, at)
        self._line.pop(who, None)

    def left(self, who: Hashable) -> None:
        """Take in that an attempt waits no more; what it took stays taken."""
        self._line.pop(who, None)

    def _level_at(self, at: int) -> int:
        full = self._full + (self._gain - 1 if self._line else 0)
        return min(full, self._level + max(0, at - self._at) * self._gain)

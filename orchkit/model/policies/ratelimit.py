"""Rate limit: only so many attempts a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from orchkit.errors import DefinitionError
from orchkit.model.policies.checks import LONGEST, is_count, refuse_unless_key
from orchkit.model.text import is_number, shown

__all__ = ["RateLimit"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Let only so many attempts begin in a second; others wait in order of arrival.

    A token bucket: it holds up to `burst` tokens, starts full, and fills by `per_second`; each attempt takes one, and
    waits while there is none.

    Parameters
    ----------
    per_second : float, > 0
        How many a second in the long run, at least one in 1e9 s; ``30 / 60`` is thirty a minute. There is no
        default: it is what the other side allows.
    burst : int, >= 1, default 1
        How many at once after a pause. 1 spaces all of them evenly, which no limiter on the other side refuses;
        providers that count by the minute allow more.
    key : str, optional
        What is shared, over all nodes and runs. By default the step's ``provider``, else the node's own.

    Raises
    ------
    DefinitionError
        If a number is out of range or the key is no text.

    Notes
    -----
    Of N that come at once to a full bucket, the i-th (from 1) begins after ``max(0, (i - burst) / per_second)``
    seconds, rounded up to a microsecond, and the rounding never adds up. Waiting is no part of the attempt: its
    time-out begins when it is let in, while a deadline goes on. Nobody is rejected; a deadline bounds the wait.

    Examples
    --------
    >>> RateLimit(2), RateLimit(0.5, burst=10, key="llm:a")
    (RateLimit(2), RateLimit(0.5, burst=10, key='llm:a'))
    """

    per_second: float
    burst: int = 1
    key: str | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "rate_limit"

    def __post_init__(self) -> None:
        if not is_number(self.per_second) or not self.per_second * LONGEST >= 1:
            raise DefinitionError(
                f"RateLimit({self.per_second!r}): use how many a second, above 0; ten a minute are 10 / 60"
            )
        if not is_count(self.burst):
            raise DefinitionError(f"RateLimit(burst={self.burst!r}): use how many at once, a whole number >= 1")
        refuse_unless_key("RateLimit", self.key)
        object.__setattr__(self, "per_second", float(self.per_second))

    def __repr__(self) -> str:
        burst = "" if self.burst == 1 else f", burst={self.burst}"
        key = "" if self.key is None else f", key={self.key!r}"
        return f"RateLimit({shown(self.per_second)}{burst}{key})"

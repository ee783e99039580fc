"""Breaker: stop asking what has failed again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from orchkit.errors import DefinitionError
from orchkit.model.policies.checks import is_bound, is_count, refuse_unless_key
from orchkit.model.text import shown

__all__ = ["Breaker"]


@dataclass(frozen=True, slots=True)
class Breaker:
    """Stop asking what has failed again and again, and look now and then whether it is back.

    After so many failures in a row it opens: attempts are rejected with `BreakerOpen`, which costs no time, is not
    retried and does reach the fallback. When `reset` has passed, one attempt is let through as a probe (half-open)
    while all others are still rejected. A probe that succeeds closes it; one that fails opens it for `reset` again;
    one that is cancelled says nothing, and the next attempt is the probe. Who has queued at a bulkhead or a rate limit
    is judged again when its turn comes.

    Parameters
    ----------
    failures : int, >= 1, default 5
        How many attempts in a row must have failed. A time-out is a failure; a cancelled attempt counts as nothing.
        The default is a guess that rarely trips by chance: at one failure in ten, five in a row come once in 100,000
        attempts, while a dead provider trips it within two steps that retry.
    reset : float, seconds, > 0, <= 1e9, default 30
        How long it stays open before a probe. The default is a guess too: what is back is found within half a
        minute, and a dead provider gets two calls a minute.
    key : str, optional
        Whose failures count together, over all nodes and runs. By default the step's ``provider``, else the node's
        own.

    Raises
    ------
    DefinitionError
        If a number is out of range or the key is no text.

    Notes
    -----
    Attempts are told apart by when they were let in: those from before it opened neither close it nor open it again.
    With independent failures of probability p, K in a row take ``(1 - p**K) / ((1 - p) * p**K)`` attempts on
    average. In a total outage of length T that begins with K attempts at once, K + floor(T / reset) reach the
    provider.

    Examples
    --------
    >>> Breaker(5, reset=30), Breaker(3, 10, key="llm:a")
    (Breaker(5, 30), Breaker(3, 10, key='llm:a'))
    """

    failures: int = 5
    reset: float = 30.0
    key: str | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "breaker"

    def __post_init__(self) -> None:
        if not is_count(self.failures):
            raise DefinitionError(f"Breaker({self.failures!r}): count failures in a row; use a whole number >= 1")
        if not is_bound(self.reset):
            raise DefinitionError(f"Breaker(reset={self.reset!r}): use seconds above 0, at most 1e9, before a probe")
        refuse_unless_key("Breaker", self.key)
        object.__setattr__(self, "reset", float(self.reset))

    def __repr__(self) -> str:
        key = "" if self.key is None else f", key={self.key!r}"
        return f"Breaker({self.failures}, {shown(self.reset)}{key})"

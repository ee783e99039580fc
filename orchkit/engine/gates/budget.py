"""The budget's gate: what has been spent."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from orchkit.model.policies import Budget

__all__ = ["BudgetGate"]

_PER_DOLLAR: Final = 10**12  # a token of the cheapest models costs some 1e-8 dollars


class BudgetGate:
    """Sum up what has been spent from one account; each who asks brings bounds of its own.

    Notes
    -----
    Dollars are summed in whole trillionths: ten times 0.1 are 1, which they are not as floats.

    Examples
    --------
    >>> gate = BudgetGate()
    >>> for attempt in range(10):
    ...     gate.began(attempt)
    ...     gate.spent(cost=0.1, tokens=500)
    >>> gate.exhausted(Budget(cost=1.5, tokens=10_000, calls=11))
    >>> gate.exhausted(Budget(cost=1, calls=10))
    '$1 of $1, 10 of 10 calls'
    """

    __slots__ = ("_calls", "_cost", "_tokens")

    def __init__(self) -> None:
        self._calls: set[Hashable] = set()
        self._cost = 0
        self._tokens = 0

    @property
    def cost(self) -> float:
        """What has been spent, in US dollars."""
        return self._cost / _PER_DOLLAR

    @property
    def tokens(self) -> int:
        """What has been spent, in and out together."""
        return self._tokens

    @property
    def calls(self) -> int:
        """How many attempts have begun."""
        return len(self._calls)

    def began(self, who: Hashable) -> None:
        """Take in that an attempt begins; one that begins again after a crash is the same call."""
        self._calls.add(who)

    def spent(self, cost: float, tokens: int) -> None:
        """Take in what an attempt has come to."""
        self._cost += round(cost * _PER_DOLLAR)
        self._tokens += tokens

    def exhausted(self, limits: Budget) -> str | None:
        """Say which bounds have been reached, in words; None if none has."""
        reached = []
        if limits.cost is not None and self._cost >= round(limits.cost * _PER_DOLLAR):
            reached.append(f"${self.cost:.10g} of ${limits.cost:.10g}")
        if limits.tokens is not None and self._tokens >= limits.tokens:
            reached.append(f"{self._tokens} of {limits.tokens} tokens")
        if limits.calls is not None and self.calls >= limits.calls:
            reached.append(f"{self.calls} of {limits.calls} calls")
        return ", ".join(reached) or None

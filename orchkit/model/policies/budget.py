"""Budget: stop asking when enough has been spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from orchkit.errors import DefinitionError
from orchkit.model.policies.checks import is_count, refuse_unless_key
from orchkit.model.text import is_number, shown

__all__ = ["Budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Begin no attempt when enough has been spent.

    Before each attempt it looks at what has been spent so far. If that has reached any of the bounds, the attempt is
    rejected with `BudgetExhausted`, which is not retried and does reach the fallback. Who has queued at a bulkhead or a
    rate limit is looked at again when its turn comes.

    What is in flight is not stopped, and nobody knows what it will cost: `cost` and `tokens` may overshoot, by what
    the attempts come to that were under way when the bound was reached. `calls` is exact, for an attempt counts when
    it begins.

    Parameters
    ----------
    cost : float, US dollars, > 0, optional
        As steps report it by ``ctx.spend``.
    tokens : int, >= 1, optional
        In and out together, as steps report them.
    calls : int, >= 1, optional
        Attempts, retries and hedges included.
    then : {"stop", "degrade"}, default "stop"
        What becomes of a node that is rejected and has no fallback. "stop" fails it like any error, because an answer
        that is silently missing is the worse surprise; "degrade" skips it, and the run is degraded, not failed.
    key : str, optional
        Without one, the default, it is the run's: all nodes of the run that carry a budget without a key spend from
        one account, and each looks at its own bounds. A key shares the account over runs.

    Raises
    ------
    DefinitionError
        If there is no bound, one is out of range, or the key is no text.

    Notes
    -----
    With c attempts at once, each of at most x dollars, no more than ``cost + c * x`` is spent. So a bulkhead bounds
    what a budget overshoots.

    Examples
    --------
    >>> Budget(cost=0.5), Budget(tokens=200_000, calls=40, then="degrade")
    (Budget(cost=0.5), Budget(tokens=200000, calls=40, then='degrade'))
    """

    cost: float | None = None
    tokens: int | None = None
    calls: int | None = None
    then: Literal["stop", "degrade"] = "stop"
    key: str | None = None

    kind: ClassVar[str] = "budget"

    def __post_init__(self) -> None:
        if self.cost is None and self.tokens is None and self.calls is None:
            raise DefinitionError("Budget() bounds nothing: give cost= (US dollars), tokens= or calls=")
        if self.cost is not None:
            if not is_number(self.cost) or self.cost <= 0:
                raise DefinitionError(f"Budget(cost={self.cost!r}): use US dollars above 0")
            object.__setattr__(self, "cost", float(self.cost))
        for name in ("tokens", "calls"):
            bound = getattr(self, name)
            if bound is not None and not is_count(bound):
                raise DefinitionError(f"Budget({name}={bound!r}): use a whole number >= 1")
        if self.then not in ("stop", "degrade"):
            raise DefinitionError(f"Budget(then={self.then!r}): use 'stop' or 'degrade'")
        refuse_unless_key("Budget", self.key)

    def __repr__(self) -> str:
        bounds = [(name, getattr(self, name)) for name in ("cost", "tokens", "calls")]
        said = [f"{name}={shown(bound)}" for name, bound in bounds if bound is not None]
        said += [] if self.then == "stop" else [f"then={self.then!r}"]
        said += [] if self.key is None else [f"key={self.key!r}"]
        return f"Budget({', '.join(said)})"

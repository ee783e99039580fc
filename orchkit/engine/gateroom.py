"""The gates of one world: of a simulated run, or of all live runs of a process on one store.

Every gate changes in one place, by the events of attempts as they are recorded, or read from a log. A decision wakes
the fibre that waits for it, and what that records is the next fact.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchkit.clock.kernel import SIGNAL, TIMER, Kernel, micro
from orchkit.engine.gates.breaker import BreakerGate
from orchkit.engine.gates.budget import BudgetGate
from orchkit.engine.gates.bulkhead import BulkheadGate
from orchkit.engine.gates.ratelimit import RateLimitGate
from orchkit.model.events import Event
from orchkit.model.policies import Breaker, Budget, Bulkhead, RateLimit

if TYPE_CHECKING:
    from orchkit.clock.kernel import Fibre

__all__ = ["Gated", "Gates", "Who"]

Who = tuple[str, str, int, int, int, int]
"""Run, node, item, generation, leg, attempt."""

_KIND: Final = {"breaker": Breaker, "budget": Budget, "bulkhead": Bulkhead, "rate_limit": RateLimit}


@dataclass(frozen=True, slots=True)
class Gated:
    """The gates that one site's attempts go through, outermost first.

    Attributes
    ----------
    names : dict of str to str
        What each is shared by, by kind; for the log.
    """

    budget: BudgetGate | None = None
    limits: Budget | None = None
    breaker: BreakerGate | None = None
    bulkhead: BulkheadGate | None = None
    rate: RateLimitGate | None = None
    names: tuple[tuple[str, str], ...] = ()


class Gates:
    """Makes each gate once, keeps who waits, and takes in what is recorded.

    Parameters
    ----------
    kernel : Kernel
        On which all who go through them are fibres.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._gates: dict[tuple[Hashable, ...], Any] = {}
        self._waiting: dict[Hashable, Fibre] = {}
        self._seen: dict[str, int] = {}
        self._through: dict[str, dict[Who, Gated]] = {}

    def of(self, run_id: str, names: tuple[tuple[str, str], ...], policies: tuple[Any, ...]) -> Gated:
        """Give the gates of these policies, under these names."""
        found: dict[str, Any] = {"names": names}
        for (kind, name), policy in zip(names, policies, strict=True):
            if isinstance(policy, Budget):
                owner = run_id if policy.key is None else ""
                found |= {"budget": self._one(("budget", owner, name), BudgetGate), "limits": policy}
            elif isinstance(policy, Breaker):
                reset = micro(policy.reset)
                made = self._one((kind, name, policy.failures, reset), lambda: BreakerGate(policy.failures, reset))  # noqa: B023 - called at once
                found["breaker"] = made
            elif isinstance(policy, Bulkhead):
                found["bulkhead"] = self._one(
                    (kind, name, policy.limit, policy.queue),
                    lambda: BulkheadGate(policy.limit, policy.queue),  # noqa: B023 - the same
                )
            else:
                found["rate"] = self._one(
                    (kind, name, policy.per_second, policy.burst),
                    lambda: RateLimitGate(policy.per_second, policy.burst),  # noqa: B023 - the same
                )
        return Gated(**found)

    def _one(self, key: tuple[Hashable, ...], make: Callable[[], Any]) -> Any:
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = make()
        return gate

    def wait(self, who: Who, fibre: Fibre) -> None:
        """Wake a fibre when it may be let in."""
        self._waiting[who] = fibre

    def woken(self, who: Who) -> None:
        """Wake it no more: it goes on, whatever it records before it is let in."""
        self._waiting.pop(who, None)

    def unseen(self, run_id: str) -> int:
        """Say how many events of a run's log have been taken in already, by this process."""
        return self._seen.get(run_id, 0)

    def see(self, run_id: str, base: int, event: Event, gated: Gated, count: int) -> None:
        """Take in an event of an attempt that goes through gates, and let in who may be."""
        self._seen[run_id] = count
        who: Who = (run_id, event.node, event.item, event.generation, event.leg, event.attempt)
        at = base + event.t
        _FACTS.get(event.kind, _nothing)(gated, who, at, event)
        through = self._through.setdefault(run_id, {})
        if event.kind == "started" or (event.kind != "rejected" and event.status in _BEFORE):
            through[who] = gated
        else:
            through.pop(who, None)
            self._waiting.pop(who, None)
        self._let_in(gated)

    def _let_in(self, gated: Gated) -> None:
        now = self.kernel.now
        if gated.bulkhead is not None:
            self._wake(gated.bulkhead.next(), now)
        if gated.rate is not None and (due := gated.rate.due(now)) is not None:
            # Also where it is due by now: after a resume it may be, of what had waited as for a time until then.
            self._wake(gated.rate.first, max(due, now), TIMER)

    def _wake(self, who: Hashable | None, at: int, rank: int = SIGNAL) -> None:
        fibre = None if who is None else self._waiting.get(who)
        if fibre is not None:
            self.kernel.arm(fibre, at, rank)

    def forget(self, run_id: str) -> None:
        """Let go whoever of a run is inside or waits: nobody executes it any more."""
        for who, gated in self._through.pop(run_id, {}).items():
            _gone(gated, who, self.kernel.now)
            self._waiting.pop(who, None)
            self._let_in(gated)

    def end(self, run_id: str) -> None:
        """Keep nothing of a run that has ended but what it leaves for others."""
        self.forget(run_id)
        self._seen.pop(run_id, None)
        for key in [key for key in self._gates if key[:2] == ("budget", run_id)]:
            del self._gates[key]

    def release(self, who: Who, gated: Gated) -> None:
        """Free the place of a plain function that was given up and has really ended now."""
        if gated.bulkhead is not None:
            gated.bulkhead.left(who)
            self._let_in(gated)

    def go_on(self, run_id: str) -> None:
        """Let in who may be, after a log was read."""
        for gated in list(self._through.get(run_id, {}).values()):
            self._let_in(gated)


def _nothing(gated: Gated, who: Who, at: int, event: Event) -> None:
    pass


def _started(gated: Gated, who: Who, at: int, event: Event) -> None:
    if gated.budget is not None:
        gated.budget.began(who)
    if gated.breaker is not None:
        gated.breaker.admitted(who, at)
    if gated.bulkhead is not None:
        gated.bulkhead.admitted(who)
    if gated.rate is not None:
        gated.rate.admitted(who, at)


def _waits(gated: Gated, who: Who, at: int, event: Event) -> None:
    if event.status == "bulkhead" and gated.bulkhead is not None:
        gated.bulkhead.queued(who)
    elif event.status == "rate_limit" and gated.rate is not None:
        if gated.bulkhead is not None:
            gated.bulkhead.admitted(who)
        gated.rate.queued(who)


def _tripped(gated: Gated, who: Who, at: int, event: Event) -> None:
    if gated.breaker is None:
        return
    if event.status == "half-open":
        gated.breaker.probing(who, at)
    elif event.status == "open":
        gated.breaker.opened(at)
    else:
        gated.breaker.closed(at)


def _ended(gated: Gated, who: Who, at: int, event: Event) -> None:
    if gated.budget is not None:
        gated.budget.spent(event.cost, event.tokens)
    if gated.breaker is not None:
        gated.breaker.ended(who, event.kind == "completed", at)
    abandoned = event.kind == "failed" and event.body.get("abandoned")
    if gated.bulkhead is not None and not abandoned:
        gated.bulkhead.left(who)


def _cancelled(gated: Gated, who: Who, at: int, event: Event) -> None:
    if gated.budget is not None:
        gated.budget.spent(event.cost, event.tokens)
    _gone(gated, who, at)


def _rejected(gated: Gated, who: Who, at: int, event: Event) -> None:
    if event.status != "deadline":  # the node's, and not one attempt's
        _gone(gated, who, at)


def _gone(gated: Gated, who: Who, at: int) -> None:
    if gated.breaker is not None:
        gated.breaker.gone(who, at)
    if gated.bulkhead is not None:
        gated.bulkhead.left(who)
    if gated.rate is not None:
        gated.rate.left(who)


_BEFORE: Final = frozenset({"bulkhead", "rate_limit", "half-open"})
"""What the events say of whoever is in front of a gate."""

_FACTS: Final = {
    "started": _started,
    "waiting": _waits,
    "tripped": _tripped,
    "completed": _ended,
    "failed": _ended,
    "cancelled": _cancelled,
    "rejected": _rejected,
}

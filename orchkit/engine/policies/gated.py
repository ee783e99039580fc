"""What an attempt goes through before it starts: budget, breaker, bulkhead, rate limit, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchkit.clock.kernel import Cancelled, suspend
from orchkit.errors import BreakerOpen, BudgetExhausted, BulkheadFull, PolicyRejection
from orchkit.model.events import Event
from orchkit.model.protocols import Failure, Outcome

if TYPE_CHECKING:
    from orchkit.engine.gateroom import Gated, Who
    from orchkit.engine.instance import Leg
    from orchkit.engine.program import Site

__all__ = ["let_in", "trip"]


async def let_in(leg: Leg, site: Site, gated: Gated, n: int) -> Outcome | None:
    """Wait until an attempt may start; give the rejection if it may not, and None if it may.

    While a log is fed back, its records say what was decided. Where they end the gates are asked, as soon as all open
    instances are rebuilt.
    """
    visit = _Visit(leg, site, gated, n)
    try:
        for ask in (visit.budget, visit.breaker, visit.bulkhead, visit.rate_limit):
            rejected = await ask()
            if rejected is not None:
                return rejected
        return None
    except Cancelled:
        visit.withdraw()
        raise


def trip(leg: Leg, gated: Gated, started: Event) -> None:
    """Record that a breaker opens or closes by what an attempt came to."""
    inst, gate = leg.inst, gated.breaker
    if gate is None:
        return
    ex = inst.execution
    recorded = inst.records[0] if inst.records else None
    if recorded is not None:
        due = recorded.status if recorded.kind == "tripped" and recorded.leg == leg.number else None
    else:
        due = {"open": "open", "close": "closed"}.get(gate.due() or "")
    if due is not None:
        name = dict(gated.names)["breaker"]
        wanted = Event(
            ex.t(), "tripped", started.node, inst.item, inst.generation, leg.number, started.attempt, due, body=name
        )  # fmt: skip
        ex.emit(inst, wanted)


class _Visit:
    """One attempt on its way through the gates."""

    __slots__ = ("_inside", "_probes", "ex", "gated", "inst", "leg", "n", "path", "who")

    def __init__(self, leg: Leg, site: Site, gated: Gated, n: int) -> None:
        self.leg = leg
        self.inst = inst = leg.inst
        self.ex = inst.execution
        self.gated = gated
        self.n = n
        self.path = inst.scope.path(site)
        self.who: Who = (self.ex.run_id, self.path, inst.item, inst.generation, leg.number, n)
        self._probes = False
        self._inside = False  # something outside of it counts it already, so it must say when it goes

    async def budget(self) -> Outcome | None:
        gate, limits = self.gated.budget, self.gated.limits
        if gate is None or limits is None:
            return None
        recorded = await self._recorded()
        said = recorded.status == "budget" and recorded.error if recorded is not None else gate.exhausted(limits)
        if not said:
            return None
        told = f"{said} spent; raise the budget, or give the node a fallback"
        return self._reject("budget", BudgetExhausted(told, key=dict(self.gated.names)["budget"]))

    async def breaker(self) -> Outcome | None:
        gate = self.gated.breaker
        if gate is None or self._probes:
            return None
        recorded = await self._recorded()
        name = dict(self.gated.names)["breaker"]
        if recorded is None:
            verdict = gate.verdict(self.ex.kernel.now)
        elif recorded.kind == "tripped":
            verdict = "probe"
        else:
            verdict = "reject" if recorded.status == "breaker" else "admit"
        if verdict == "reject":
            return self._reject("breaker", BreakerOpen(f"{name} has failed too often just now", key=name))
        if verdict == "probe":
            self._emit("tripped", "half-open", body=name)
            self._inside = self._probes = True
        return None

    async def bulkhead(self) -> Outcome | None:
        gate = self.gated.bulkhead
        if gate is None:
            return None
        recorded = await self._recorded()
        if recorded is None:
            verdict = gate.verdict()
        elif recorded.kind == "waiting" and recorded.status == "bulkhead":
            verdict = "queue"
        else:
            verdict = "reject" if recorded.status == "bulkhead" else "admit"
        name = dict(self.gated.names)["bulkhead"]
        if verdict == "reject":
            told = f"{gate.inside} attempts are at {name}, and {gate.waiting} wait, as many as may"
            return self._reject("bulkhead", BulkheadFull(told, key=name))
        return await self._queue("bulkhead", name) if verdict == "queue" else None

    async def rate_limit(self) -> Outcome | None:
        gate = self.gated.rate
        if gate is None:
            return None
        recorded = await self._recorded()
        if recorded is None:
            queues = gate.verdict(self.ex.kernel.now) == "queue"
        else:
            queues = recorded.kind == "waiting" and recorded.status == "rate_limit"
        return await self._queue("rate_limit", dict(self.gated.names)["rate_limit"]) if queues else None

    async def _queue(self, status: str, name: str) -> Outcome | None:
        """Wait for its turn, then look again at what may have changed meanwhile: those before it may have spent all."""
        self._inside = True
        self.ex.gatekeeper.gates.wait(self.who, self.leg)
        self._emit("waiting", status, body=name)
        await suspend()
        self.ex.gatekeeper.gates.woken(self.who)
        return await self.budget() or await self.breaker()

    async def _recorded(self) -> Event | None:
        """Give what the log says of this attempt next; None where it says no more, or there is none."""
        inst, leg = self.inst, self.leg
        for event in inst.records or ():
            if (event.node, event.leg, event.attempt) == (self.path, leg.number, self.n):
                return event
        if self.ex.driving:
            self.ex.deferred.append((leg, lambda: self.ex.kernel.resume(leg, None)))
            await suspend()
        return None

    def _reject(self, status: str, error: PolicyRejection) -> Outcome:
        error.node, error.run_id = self.path, self.ex.run_id
        failure = Failure(type(error).__name__, str(error))
        recorded = self._emit("rejected", status, str(failure))
        self.leg.cause = error
        if recorded.error != str(failure):  # by its record: what a gate holds differs after a restart
            failure = Failure(type(error).__name__, recorded.error.partition(": ")[2])
        return Outcome("rejected", failure=failure)

    def withdraw(self) -> None:
        """Record that it waits no longer."""
        if self._inside:
            self._emit("rejected", "withdrawn")

    def _emit(self, kind: str, status: str, error: str = "", body: object = None) -> Event:
        ex, inst = self.ex, self.inst
        wanted = Event(
            ex.t(), kind, self.path, inst.item, inst.generation, self.leg.number, self.n, status, error=error, body=body
        )  # fmt: skip
        return ex.emit(inst, wanted)

"""What an attempt does whose node holds a workflow: it opens a scope and waits for it, once or round by round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchkit.clock.kernel import TIMER, suspend
from orchkit.engine.instance import Place
from orchkit.engine.program import Inside, Site
from orchkit.model.events import Event
from orchkit.model.nesting import AGAIN, inner_input, prefix_of
from orchkit.model.paths import segment_of
from orchkit.model.protocols import Failure, Outcome
from orchkit.model.state import ScopeState, end_of, result_of

if TYPE_CHECKING:
    from orchkit.engine.instance import Instance, Leg

__all__ = ["LOOK", "degraded_inside", "inside", "outcome_inside", "written_inside"]

LOOK = Outcome("look")
"""Wakes an attempt whose scope is over, as its log says: the state tells what it came to."""


async def inside(leg: Leg, site: Site, started: Event) -> Outcome | None:
    """Go through the workflow that a node holds; None when the attempt's time is over first."""
    assert site.inside is not None
    misfit = _misfit(leg.inst, site.inside)
    if misfit is not None and not leg.inst.records:
        leg.cause = misfit
        return Outcome("error", failure=Failure(type(misfit).__name__, f"the input does not fit: {misfit}"))
    if leg.inst.execution.driving:
        leg.inst.listeners["round", leg.number] = leg
    if site.node.kind != "loop":
        return await _scope(leg, site, started, 0)
    round = 1
    while True:
        outcome = await _scope(leg, site, started, round)
        if outcome is None or outcome.failure is not None:
            return outcome
        verdict = _judged(leg, site, started, round, outcome)
        if isinstance(verdict, Outcome):
            return verdict
        if verdict != AGAIN:
            return _last(site, round, verdict, outcome)
        round += 1


def _misfit(inst: Instance, body: Inside) -> Exception | None:
    try:
        body.program.input_codec.load(inner_input(inst.scope.state, inst.node, inst.item))
    except Exception as error:  # a validator of the user's may raise anything
        return error
    return None


async def _scope(leg: Leg, site: Site, started: Event, round: int) -> Outcome | None:
    inst = leg.inst
    ex = inst.execution
    prefix = prefix_of(inst.scope.state, started, round)
    state = ex.state.scopes[prefix]
    if state.status == "running":
        assert site.inside is not None
        ex.enter(leg, site.inside.program, state, _place(leg, site, started.attempt, round))
        if site.timeout is not None:
            ex.kernel.arm(leg, ex.base + started.t + site.timeout, TIMER)
    outcome: Outcome | None = await suspend()
    if outcome is LOOK:
        outcome = outcome_inside(state)
    return outcome


def _place(leg: Leg, site: Site, n: int, round: int) -> Place:
    inst, name = leg.inst, site.node.name
    outer, item = inst.scope, inst.item
    known = None if site.node.key is None else outer.key_of(inst)
    return Place(
        (*outer.key, inst.node, item, leg.number, n, round),
        outer.luck + segment_of(name, item, leg.number, n, round, known),
        outer.effects + segment_of(name, item, round=round, key=known),
    )


def _judged(leg: Leg, site: Site, started: Event, round: int, outcome: Outcome) -> str | Outcome:
    # The verdict of `until=` is recorded: a resume does not ask it again.
    inst = leg.inst
    ex = inst.execution
    if inst.records:
        status = inst.records[0].status
    else:
        try:
            good = _until(site, round, outcome.value)
        except Exception as error:
            leg.cause = error
            return Outcome("error", failure=Failure(type(error).__name__, f"until= of round {round}: {error}"))
        status = "done" if good else AGAIN if round < site.node.rounds else site.node.then
    wanted = Event(
        ex.t(), "judged", started.node, inst.item, inst.generation, leg.number, started.attempt, status,
        body={"round": round},
    )  # fmt: skip
    return ex.emit(inst, wanted).status


def _until(site: Site, round: int, value: Any) -> bool:
    assert site.inside is not None
    until, codec = site.inside.until, site.inside.result
    assert until is not None
    return bool(until(codec.load(value), round))


def _last(site: Site, round: int, verdict: str, outcome: Outcome) -> Outcome:
    if verdict == "fail":
        why = f"{site.node.name!r} was not good enough after {round} round{'s' if round > 1 else ''}"
        return Outcome("error", failure=Failure("LoopExhausted", f"{why}; raise max=, or take the last by then='last'"))
    return Outcome("degraded", outcome.value) if verdict == "last" else outcome


def degraded_inside(leg: Leg, site: Site, started: Event, outcome: Outcome) -> Outcome:
    """Record that what a node's workflow delivered is less than it should be, if it is."""
    inst = leg.inst
    ex = inst.execution
    said = inst.records and inst.records[0].kind == "degraded" and inst.records[0].status == "inside"
    if outcome.status != "degraded" and not said and not _was_degraded(leg, started):
        return outcome
    event = Event(
        ex.t(), "degraded", started.node, inst.item, inst.generation, leg.number, started.attempt, status="inside"
    )  # fmt: skip
    ex.emit(inst, event)
    return Outcome("degraded", outcome.value)


def _was_degraded(leg: Leg, started: Event) -> bool:
    # Fed back from the log, an outcome does not say; the scopes that the attempt went through do.
    inst = leg.inst
    state, scopes = inst.scope.state, inst.execution.state.scopes
    own = prefix_of(state, started)[:-1]
    prefixes = [p for p in state.nested.get((inst.node, inst.item), ()) if p.startswith((f"{own}/", f"{own}#"))]
    if not prefixes:
        return False
    judged = [event for event in state.open[inst.node, inst.item].events if event.kind == "judged"]
    mine = [event for event in judged if (event.leg, event.attempt) == (started.leg, started.attempt)]
    return scopes[prefixes[-1]].degraded or (bool(mine) and mine[-1].status == "last")


def written_inside(inst: Instance, started: Event) -> dict[str, Any]:
    """Give what the steps inside an attempt wrote to the shared context, as one delta."""
    state, scopes = inst.scope.state, inst.execution.state.scopes
    own = prefix_of(state, started)[:-1] if state.nested else ""
    joined: dict[str, Any] = {}
    for prefix in state.nested.get((inst.node, inst.item), ()):
        inner = scopes[prefix].shared
        if prefix.startswith((f"{own}/", f"{own}#")) and inner is not None and scopes[prefix].graph.shared is None:
            joined = inner.model.joined(joined, inner.delta())
    return joined


def outcome_inside(state: ScopeState) -> Outcome:
    """Give what a scope that has come to its end means to the attempt that opened it."""
    if state.failing is not None:
        where = state.prefix + state.graph.nodes[state.failing[0]].name
        told = dict(state.failure) or {"type": "RunError", "message": "failed"}
        return Outcome("error", failure=Failure(**{**told, "message": f"in {where!r}: {told['message']}"}))
    status, error = end_of(state)
    if status == "failed":
        kind, _, message = error.partition(": ")
        return Outcome(
            "error", failure=Failure(kind or "RunError", message or f"nothing in {state.prefix!r} delivered")
        )
    return Outcome(status, result_of(state))

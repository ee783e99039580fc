"""The pipeline of one instance: its policies in their fixed order, or the question it puts to a person.

Order, outermost first: escalate; fallback; deadline; hedge; retry; then round each single attempt: budget, breaker,
bulkhead, rate limit, time-out, faults, body or model. A policy that joins later finds its place in this one function,
or in `orchkit.engine.attempt` if it is round a single attempt.
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from orchkit.engine.approval import asking
from orchkit.engine.attempt import attempt, first_attempt
from orchkit.engine.policies.branching import Work
from orchkit.engine.policies.deadline import bounded
from orchkit.engine.policies.escalate import escalating
from orchkit.engine.policies.fallback import falling_back
from orchkit.engine.policies.hedge import hedged
from orchkit.engine.policies.retry import retrying
from orchkit.engine.program import Seat, Site
from orchkit.model.events import Event
from orchkit.model.protocols import Outcome

if TYPE_CHECKING:
    from orchkit.engine.instance import Instance, Leg

__all__ = ["pipeline"]


def pipeline(seat: Seat, inst: Instance) -> Coroutine[Any, Any, Outcome]:
    """Give the coroutine that brings one instance to its outcome, with only the layers that its node has."""
    if seat.node.kind == "approval":
        return asking(seat, inst)
    if seat.node.kind == "route":
        return _picking(seat, inst)
    return _protected(seat, inst)


def _protected(seat: Seat, leg: Leg) -> Coroutine[Any, Any, Outcome]:
    node = seat.node
    work: Work = partial(_retried, seat.site)
    if node.policies:
        if (hedge := node.policy("hedge")) is not None:
            work = partial(hedged, hedge, seat, work)
        if (deadline := node.policy("deadline")) is not None:
            work = partial(bounded, deadline, seat, work)
        if seat.fallbacks:
            work = partial(falling_back, seat, work)
        if seat.escalation is not None:
            work = partial(escalating, seat, work)
    return work(leg)


def _retried(site: Site, leg: Leg) -> Coroutine[Any, Any, Outcome]:
    return (
        attempt(leg, site, first_attempt(leg))
        if site.retry is None
        else retrying(site.retry, leg, site, first_attempt(leg))
    )


async def _picking(seat: Seat, inst: Instance) -> Outcome:
    outcome = await _protected(seat, inst)
    if outcome.failure is None:
        ex = inst.execution
        picks = outcome.value if isinstance(outcome.value, list) else [outcome.value]
        ex.emit(inst, Event(ex.t(), "picked", inst.scope.path(seat.site), inst.item, inst.generation, body=picks))
    return outcome

"""The pipeline of one instance: its policies in their fixed order, or the question it puts to a person.

Order, outermost first: fallback; retry; then round each single attempt: time-out, faults, body or model. A policy
that joins later finds its place in this one function, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from orchkit.engine.approval import asking
from orchkit.engine.attempt import attempt, first_attempt
from orchkit.engine.policies.fallback import falling_back
from orchkit.engine.policies.retry import retrying
from orchkit.engine.program import Seat
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
    if seat.fallbacks:
        return falling_back(seat, leg, lambda: _retried(seat, leg))
    return _retried(seat, leg)


def _retried(seat: Seat, leg: Leg) -> Coroutine[Any, Any, Outcome]:
    retry = seat.site.retry
    return (
        attempt(leg, seat.site, first_attempt(leg))
        if retry is None
        else retrying(retry, leg, seat.site, first_attempt(leg))
    )


async def _picking(seat: Seat, inst: Instance) -> Outcome:
    outcome = await _protected(seat, inst)
    if outcome.failure is None:
        ex = inst.execution
        picks = outcome.value if isinstance(outcome.value, list) else [outcome.value]
        ex.emit(inst, Event(ex.t(), "picked", inst.scope.path(seat.site), inst.item, inst.generation, body=picks))
    return outcome

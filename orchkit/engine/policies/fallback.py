"""Fallback: deliver something else when a node has failed, and say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchkit.engine.attempt import attempt, first_attempt
from orchkit.engine.policies.branching import Work
from orchkit.engine.policies.retry import retrying
from orchkit.engine.program import Seat, Site
from orchkit.model.events import Event
from orchkit.model.protocols import Failure, Outcome

if TYPE_CHECKING:
    from orchkit.engine.instance import Leg

__all__ = ["falling_back"]


async def falling_back(seat: Seat, work: Work, leg: Leg) -> Outcome:
    """Try the node, then each option in order; what an option delivers is degraded."""
    outcome = await work(leg)
    for option in seat.fallbacks:
        failure = outcome.failure
        if failure is None:
            return outcome
        outcome = await _deliver(seat, leg, option, failure)
    return outcome


async def _deliver(seat: Seat, leg: Leg, option: Site | tuple[object], failure: Failure) -> Outcome:
    inst = leg.inst
    ex, name = inst.execution, inst.scope.path(seat.site)
    if isinstance(option, Site):
        first, retry = first_attempt(leg), option.retry
        again = attempt(leg, option, first, failure) if retry is None else retrying(retry, leg, option, first, failure)
        outcome = await again
        if outcome.failure is not None:
            return outcome
        ex.emit(
            inst,
            Event(ex.t(), "degraded", name, inst.item, inst.generation, leg.number, status="step", error=str(failure)),
        )
        return Outcome("degraded", outcome.value)
    ex.emit(
        inst,
        Event(
            ex.t(),
            "degraded",
            name,
            inst.item,
            inst.generation,
            leg.number,
            status="value",
            error=str(failure),
            body=option[0],
        ),
    )
    return Outcome("degraded", option[0])

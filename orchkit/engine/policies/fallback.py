"""Fallback: deliver something else when a node has failed, and say so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from orchkit.engine.attempt import attempt
from orchkit.engine.program import Seat, Site
from orchkit.model.events import Event
from orchkit.model.protocols import Failure, Outcome

if TYPE_CHECKING:
    from orchkit.engine.instance import Instance

__all__ = ["falling_back"]


async def falling_back(seat: Seat, inst: Instance, leg: int, inner: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Try the node, then each option in order; what an option delivers is degraded."""
    outcome = await inner()
    for option in seat.fallbacks:
        failure = outcome.failure
        if failure is None:
            return outcome
        outcome = await _deliver(seat, inst, leg, option, failure)
    return outcome


async def _deliver(seat: Seat, inst: Instance, leg: int, option: Site | tuple[object], failure: Failure) -> Outcome:
    ex = inst.execution
    name = seat.node.name
    if isinstance(option, Site):
        outcome = await attempt(inst, option, leg, 1, failure)
        if outcome.failure is not None:
            return outcome
        ex.emit(
            inst, Event(ex.t(), "degraded", name, inst.item, inst.generation, leg, status="step", error=str(failure))
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
            leg,
            status="value",
            error=str(failure),
            body=option[0],
        ),
    )
    return Outcome("degraded", option[0])

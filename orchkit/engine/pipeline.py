"""The pipeline of one instance: its policies in their fixed order, or the question it puts to a person.

Order, outermost first: fallback; retry; then round each single attempt: time-out, faults, body or model. A policy
that joins later finds its place in this one function, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchkit.engine.approval import asking
from orchkit.engine.attempt import attempt
from orchkit.engine.policies.fallback import falling_back
from orchkit.engine.policies.retry import retrying
from orchkit.engine.program import Seat
from orchkit.model.events import Event
from orchkit.model.protocols import Outcome

if TYPE_CHECKING:
    from orchkit.engine.execution import Instance

__all__ = ["pipeline"]


async def pipeline(seat: Seat, inst: Instance) -> Outcome:
    """Run one instance to its outcome."""
    if seat.node.kind == "approval":
        return await asking(seat, inst)
    if seat.fallbacks:
        outcome = await falling_back(seat, inst, 0, lambda: _guarded(seat, inst, 0))
    else:
        outcome = await _guarded(seat, inst, 0)
    if seat.node.kind == "route" and outcome.failure is None:
        ex = inst.execution
        picks = outcome.value if isinstance(outcome.value, list) else [outcome.value]
        ex.emit(inst, Event(ex.t(), "picked", seat.node.name, inst.item, body=picks))
    return outcome


async def _guarded(seat: Seat, inst: Instance, leg: int) -> Outcome:
    retry = seat.site.retry
    if retry is not None:
        return await retrying(retry, inst, seat.site, leg)
    return await attempt(inst, seat.site, leg, 1)

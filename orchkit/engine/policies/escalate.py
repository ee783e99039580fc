"""Escalate: ask a person when a node has failed in spite of everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchkit.engine.approval import asking
from orchkit.engine.policies.branching import Work
from orchkit.model.codec import codec_for
from orchkit.model.protocols import Outcome

if TYPE_CHECKING:
    from orchkit.engine.instance import Instance, Leg
    from orchkit.engine.program import Seat

__all__ = ["escalating", "fits"]


async def escalating(seat: Seat, work: Work, leg: Leg) -> Outcome:
    """Do it, and let a person answer in its place when it has failed; without an answer it has failed."""
    outcome = await work(leg)
    if outcome.failure is None:
        return outcome
    assert seat.escalation is not None
    answered = await asking(seat.escalation, leg.inst, str(outcome.failure))
    return answered if answered.status == "answered" else outcome


def fits(inst: Instance, value: object) -> object:
    """Give an answer's JSON as the node's own value.

    Raises
    ------
    ValueError, TypeError
        If it is not what the node delivers.
    """
    seat = inst.scope.program.seats[inst.node]
    assert seat.escalation is not None
    answer = codec_for(seat.escalation.node.answer, inst.scope.state.graph.redact).load(value)
    return seat.site.dump(answer, inst.scope.path(seat.site))

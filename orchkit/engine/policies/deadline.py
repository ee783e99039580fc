"""Deadline: bound a node with all its attempts, waits, queues and hedges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchkit.clock.kernel import Cancelled, micro
from orchkit.engine.policies.branching import Work, cancel, join, start
from orchkit.errors import DeadlineExceeded
from orchkit.model.events import Event
from orchkit.model.protocols import Failure, Outcome

if TYPE_CHECKING:
    from orchkit.engine.instance import Leg
    from orchkit.engine.program import Seat
    from orchkit.model.policies import Deadline

__all__ = ["bounded"]


async def bounded(policy: Deadline, seat: Seat, work: Work, leg: Leg) -> Outcome:
    """Do it, and give it up when its time is over: the decision is recorded first, then what it ends."""
    inst = leg.inst
    ex, path = inst.execution, inst.scope.path(seat.site)
    due = ex.kernel.now + micro(policy.seconds)
    inst.due = due
    branch = start(leg, leg.number, work)
    try:
        done = await join(leg, (branch,), due, "deadline")
    except Cancelled:
        cancel((branch,))
        raise
    if done is not None:
        assert branch.outcome is not None
        return branch.outcome
    error = DeadlineExceeded(f"{path!r} took longer than {policy.seconds:g} s", node=path, run_id=ex.run_id)
    failure = Failure(type(error).__name__, str(error))
    ex.emit(
        inst,
        Event(ex.t(), "rejected", path, inst.item, inst.generation, leg.number, status="deadline", error=str(failure)),
    )
    cancel((branch,))
    inst.cause = error
    return Outcome("rejected", failure=failure)

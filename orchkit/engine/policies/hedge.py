"""Hedge: ask a second time when the answer is slow, and take the first that comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchkit.clock.kernel import Cancelled, micro
from orchkit.engine.policies.branching import Work, cancel, join, start
from orchkit.model.events import Event

if TYPE_CHECKING:
    from orchkit.engine.instance import Branch, Leg
    from orchkit.engine.program import Seat
    from orchkit.model.policies import Hedge
    from orchkit.model.protocols import Outcome

__all__ = ["hedged"]


async def hedged(policy: Hedge, seat: Seat, work: Work, leg: Leg) -> Outcome:
    """Do it on one leg, and on a second too if that takes long; the one that is not needed is cancelled.

    It is against slowness only: a first leg that fails before the second has begun has failed the node.
    """
    inst = leg.inst
    ex, path = inst.execution, inst.scope.path(seat.site)
    begun = ex.kernel.now
    legs = [start(leg, 0, work)]
    try:
        done = await join(leg, legs, begun + micro(policy.after), "hedged")
        if done is None:
            ex.emit(inst, Event(ex.t(), "hedged", path, inst.item, inst.generation, 1))
            legs.append(start(leg, 1, work))
            done = await _first(leg, legs)
    except Cancelled:
        cancel(legs)
        raise
    cancel(legs)
    assert done.outcome is not None
    return done.outcome


async def _first(leg: Leg, legs: list[Branch]) -> Branch:
    going = list(legs)
    while True:
        done = await join(leg, going, None, "")
        assert done is not None
        assert done.outcome is not None
        going.remove(done)
        if done.outcome.failure is None or not going:
            return done

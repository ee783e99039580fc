"""Retry: try again when an attempt fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchkit.clock.dice import JITTER
from orchkit.clock.kernel import TIMER, micro, suspend
from orchkit.engine.attempt import attempt
from orchkit.model.events import Event
from orchkit.model.policies import Retry

if TYPE_CHECKING:
    from orchkit.engine.instance import Leg
    from orchkit.engine.program import Site
    from orchkit.model.protocols import Failure, Outcome

__all__ = ["retrying"]


async def retrying(policy: Retry, leg: Leg, site: Site, first: int, error: Failure | None = None) -> Outcome:
    """Attempt until one succeeds, the attempts are used up, or an error is not worth another.

    A fallback is told the `error` of what it stands in for, in each of its attempts.
    """
    n = first
    while True:
        outcome = await attempt(leg, site, n, error)
        failure = outcome.failure
        if failure is None or n - first + 1 >= policy.attempts or not failure.transient:
            return outcome
        await _wait(policy, leg, site, n, n - first + 1, failure.retry_after)
        n += 1


async def _wait(policy: Retry, leg: Leg, site: Site, n: int, time: int, retry_after: float | None) -> None:
    inst = leg.inst
    ex, scope = inst.execution, inst.scope
    seconds = policy.wait.seconds(time, scope.dice_at(inst, site, leg.number, n).uniform(JITTER))
    if retry_after is not None:
        seconds = max(seconds, retry_after)
    wanted = Event(
        ex.t(), "waiting", scope.path(site), inst.item, inst.generation, leg.number, n, dur=micro(seconds)
    )  # fmt: skip
    event = ex.emit(inst, wanted)
    ex.kernel.arm(leg, ex.base + event.t + event.dur, TIMER)
    await suspend()

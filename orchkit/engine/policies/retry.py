"""Retry: try again when an attempt fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchkit.clock.dice import JITTER
from orchkit.clock.kernel import TIMER, micro, suspend
from orchkit.engine.attempt import attempt
from orchkit.model.events import Event
from orchkit.model.policies import Retry

if TYPE_CHECKING:
    from orchkit.engine.instance import Instance
    from orchkit.engine.program import Site
    from orchkit.model.protocols import Outcome

__all__ = ["retrying"]


async def retrying(policy: Retry, inst: Instance, site: Site, leg: int) -> Outcome:
    """Attempt until one succeeds, the attempts are used up, or an error is not worth another."""
    n = 1
    while True:
        outcome = await attempt(inst, site, leg, n)
        failure = outcome.failure
        if failure is None or n >= policy.attempts or not failure.transient:
            return outcome
        await _wait(policy, inst, site, leg, n, failure.retry_after)
        n += 1


async def _wait(policy: Retry, inst: Instance, site: Site, leg: int, n: int, retry_after: float | None) -> None:
    ex = inst.execution
    seconds = policy.wait.seconds(n, ex.dice_at(site, inst.item, leg, n).uniform(JITTER))
    if retry_after is not None:
        seconds = max(seconds, retry_after)
    event = ex.emit(inst, Event(ex.t(), "waiting", site.path, inst.item, inst.generation, leg, n, dur=micro(seconds)))
    ex.kernel.arm(inst, ex.base + event.t + event.dur, TIMER)
    await suspend()

"""Waiting for other fibres of an instance: what a deadline bounds, and the legs of a hedge."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from orchkit.clock.kernel import TIMER, suspend
from orchkit.engine.instance import Branch

if TYPE_CHECKING:
    from orchkit.engine.instance import Leg
    from orchkit.model.protocols import Outcome

__all__ = ["Work", "cancel", "join", "start"]

Work = Callable[["Leg"], Coroutine[Any, Any, "Outcome"]]
"""What a layer does on a leg."""


def start(leg: Leg, number: int, work: Work) -> Branch:
    """Begin something on a fibre of its own."""
    branch = Branch(leg.inst, leg, number)
    leg.inst.execution.kernel.start(branch, work(branch))
    return branch


async def join(leg: Leg, branches: Sequence[Branch], due: int | None, name: str) -> Branch | None:
    """Wait for the first that is done; None when it is `due` before.

    Parameters
    ----------
    leg : Leg
        Who waits.
    branches : sequence of Branch
    due : int, microseconds, or None
        Of the kernel's time.
    name : str
        Of the record that says, while a log is fed back, that it was due.
    """
    inst = leg.inst
    for branch in branches:
        if branch.coro is None:
            return branch
    if inst.execution.driving:
        inst.listeners[name] = leg
    if due is not None:
        inst.execution.kernel.arm(leg, due, TIMER)
    for branch in branches:
        branch.waiter = leg
    try:
        done: Branch | None = await suspend()
        return done
    finally:
        for branch in branches:
            branch.waiter = None


def cancel(branches: Sequence[Branch]) -> None:
    """Cancel those that go on, in their order; what they had under way is recorded as cancelled."""
    for branch in branches:
        if branch.coro is not None:
            branch.inst.execution.kernel.cancel(branch)
            branch.leave()

"""How a run stops: somebody wants it to for now, its deadline is over, or nothing can happen any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchkit.clock.kernel import TIMER, Fibre
from orchkit.clock.kernel import suspend as suspended
from orchkit.errors import DeadlineExceeded, RunStuck, RunSuspended
from orchkit.model.events import Event

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution

__all__ = ["Overtime", "raise_if_stuck", "suspend"]


class Overtime(Fibre):
    """Waits for the deadline of a run, and ends it."""

    __slots__ = ("_execution",)

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution.key)
        self._execution = execution

    @classmethod
    def of(cls, execution: Execution) -> Overtime | None:
        """Begin to wait, if the run has a deadline."""
        deadline = execution.state.deadline
        if deadline is None:
            return None
        fibre = cls(execution)
        execution.kernel.start(fibre, fibre._wait(execution.base + deadline))
        return fibre

    async def _wait(self, due: int) -> None:
        execution = self._execution
        execution.kernel.arm(self, due, TIMER)
        await suspended()
        if execution.is_over:
            return
        seconds = (execution.state.deadline or 0) / 1e6
        error = f"{DeadlineExceeded.__name__}: the run took longer than {seconds:g} s"
        try:
            execution.record(Event(execution.t(), "rejected", status="deadline", error=error))
        except BaseException as broken:
            execution.abort(broken)
        execution.advance()

    def drop(self) -> None:
        """Wait no longer: an entry of the heap would keep the run until it is due."""
        self.token += 1
        if self.coro is not None and self._execution.kernel.current is not self:
            self.coro.close()
            self.coro = None


def suspend(execution: Execution, by: str = "", why: str = "") -> None:
    """Stop without an end: bodies are dropped, and a resume runs again what has no outcome in the log."""
    if execution.is_over:
        return
    try:
        execution.record(Event(execution.t(), "suspended", by=by, body=why or None))
    except BaseException as error:
        execution.abort(error)
        return
    run_id = execution.run_id
    who = f" by {by}" if by else ""
    because = f": {why}" if why else ""
    execution.abort(
        RunSuspended(
            f"run {run_id!r} was suspended{who}{because}; go on with store.resume({run_id!r}, workflow)", run_id=run_id
        )
    )


def raise_if_stuck(execution: Execution) -> None:
    """Raise when nothing is left that could ever happen; for hosts whose time ends with the heap.

    Raises
    ------
    RunStuck
        Naming what waits for what.
    """
    if execution.is_over:
        return
    open_ = [inst for scope in execution.all_scopes() for inst in scope.instances.values()]
    names = sorted(inst.scope.path(inst.scope.program.seats[inst.node].site) for inst in open_ if not inst.inner)
    where = ", ".join(dict.fromkeys(names))
    raise RunStuck(
        f"run {execution.run_id!r} waits for ever at {execution.elapsed() / 1e6:g} s in {where}: nothing that "
        "could wake it is left; give the step a timeout, or the approval a person or a timeout",
        run_id=execution.run_id,
        node=names[0] if names else "",
    )

"""How a run stops without an end: somebody wants it to for now, or nothing can happen any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchkit.errors import RunStuck, RunSuspended
from orchkit.model.events import Event

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution

__all__ = ["raise_if_stuck", "suspend"]


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

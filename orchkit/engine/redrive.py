"""Redriving: rebuild the open instances of a log by feeding each its own records, in log order.

What a pipeline emits must equal its next record; where it waits, its next record says what woke it. So no policy needs
restore code of its own. By log order and not by time, because live timers fire late: a hedge that was due just before a
recorded answer would fire, and contradict the log. No body starts until all is rebuilt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchkit.engine.attempt import outcome_of
from orchkit.engine.inside import LOOK
from orchkit.engine.pipeline import pipeline
from orchkit.engine.scope import Scope
from orchkit.engine.undoing import Undoing
from orchkit.errors import ReplayMismatch
from orchkit.model.events import Event
from orchkit.model.protocols import Outcome

if TYPE_CHECKING:
    from orchkit.clock.kernel import Fibre
    from orchkit.engine.execution import Execution
    from orchkit.engine.instance import Instance
    from orchkit.engine.scope import Scope

__all__ = ["brief", "go_on_stopping", "redrive", "same"]


def redrive(execution: Execution, scope: Scope, log: Sequence[Event]) -> None:
    """Bring the open instances of a scope, and of what these have opened, to where the log leaves them.

    Parameters
    ----------
    execution : Execution
    scope : Scope
        The run's own, or what a body has called.
    log : sequence of Event
        That holds all its events, in order.

    Raises
    ------
    ReplayMismatch
        If the workflow wants something else than the log holds.
    """
    kernel, state = execution.kernel, execution.state
    before = kernel.now
    execution.driving = True
    try:
        execution.feed_later(scope)
        for event in _open_events(execution, log):
            _feed(execution, event)
    finally:
        execution.driving = False
        execution.unfed.clear()
        kernel.now = max(before, execution.base + state.last_t)
    if execution.error is not None:
        raise execution.error


def go_on_stopping(execution: Execution) -> None:
    """Go on with a run that was about to end: what was in flight is cancelled, and what was done undone.

    Raises
    ------
    ReplayMismatch
        If the workflow wants something else than the log holds.
    """
    Scope.halt(execution)
    if execution.state.undoing is not None and execution.error is None:
        _redrive_undo(execution)
        waiting, execution.deferred = execution.deferred, []
        for leg, go_on in waiting:
            if leg.coro is not None and leg.inst.is_open:
                go_on()
    if execution.state.cancelling and not execution.state.undo_wanted:
        execution.stop("cancelled")
    execution.advance()


def _redrive_undo(execution: Execution) -> None:
    kernel, undoing = execution.kernel, execution.state.undoing
    assert undoing is not None
    key = execution.state.next_to_undo
    assert key is not None
    before = kernel.now
    execution.driving = True
    try:
        execution.undoing = scope = Undoing(execution, key, undoing.events)
        for event in list(undoing.events):
            _feed_to(execution, scope, scope.inst, event)
    finally:
        execution.driving = False
        kernel.now = max(before, execution.base + execution.state.last_t)
    if execution.error is not None:
        raise execution.error


def _open_events(execution: Execution, log: Sequence[Event]) -> list[Event]:
    position = {id(event): i for i, event in enumerate(log)}
    scopes = [scope for scope in execution.state.all_scopes() if scope.status == "running"]
    events = (event for scope in scopes for opened in scope.open.values() for event in opened.events)
    return sorted((event for event in events if id(event) in position), key=lambda event: position[id(event)])


def _feed(execution: Execution, event: Event) -> None:
    state = execution.state.scope_of(event.node)
    scope = execution if state is execution.state else execution.scopes.get("" if state is None else state.id)
    if scope is None:
        return  # what has opened it is about to be dropped
    inst = scope.instances.get((scope.state.node(event.node), event.item))
    if inst is not None:
        _feed_to(execution, scope, inst, event)


def _feed_to(execution: Execution, scope: Scope, inst: Instance, event: Event) -> None:
    if not inst.records or inst.records[0] is not event:
        return  # its pipeline has already said it again
    fibre = _listener(inst, event)
    if event.kind in ("context", "called", "escalated") or fibre is None:
        inst.records.popleft()  # for the fold alone, or for people: what goes on goes on by another
        return
    kernel = execution.kernel
    kernel.now = execution.base + event.t
    if inst.coro is None:
        if isinstance(scope, Undoing):
            scope.begin()
        else:
            kernel.start(inst, pipeline(scope.program.seats[inst.node], inst))
    elif event.kind == "cancelled" or event.status == "withdrawn":
        kernel.cancel(inst)  # what else it had under way is cancelled with it: nothing but its own end does that to it
        scope.instances.pop((inst.node, inst.item), None)
    else:
        kernel.resume(fibre, _woken_by(event))
    if inst.records and inst.records[0] is event:
        raise ReplayMismatch(
            f"run {execution.run_id!r}: the log says {brief(event)}, which the workflow no longer comes to; "
            "resume it with the workflow that recorded it",
            run_id=execution.run_id,
            node=event.node,
        )


def _listener(inst: Instance, event: Event) -> Fibre | None:
    """Give the fibre that goes on with a record; None where the attempt that it belongs to is known to have ended."""
    if event.kind in ("asked", "answered", "expired"):
        return inst  # whatever legs it has had before it escalated
    if event.kind == "judged":
        return inst.listeners.get(("round", event.leg))
    if event.kind == "hedged" or (event.kind == "rejected" and event.status == "deadline"):
        return inst.listeners.get(event.status or event.kind, inst)
    return inst.listeners.get(event.leg, inst)


def _woken_by(event: Event) -> Any:
    if event.kind == "judged":
        return LOOK
    if event.kind in ("completed", "failed"):
        return outcome_of(event)  # a time-out too: the node may have lost its bound since
    if event.kind == "answered":
        return Outcome("answered", event.body, by=event.by)
    return None


def same(recorded: Event, wanted: Event) -> bool:
    """Say whether a pipeline emits what the log holds; times and values are the log's.

    So is whether a ``completed`` was final: a step that is no effect any more still settles as its log says; who had
    something cancelled; and whether an answer was edited, which follows from the values.
    """
    return (
        recorded.kind == wanted.kind
        and recorded.node == wanted.node
        and recorded.leg == wanted.leg
        and recorded.attempt == wanted.attempt
        and (recorded.status == wanted.status or recorded.kind in ("answered", "completed", "cancelled"))
    )


def brief(event: Event) -> str:
    """Name an event in a message."""
    item = f"[{event.item}]" if event.item >= 0 else ""
    attempt = f", attempt {event.attempt}" if event.attempt else ""
    status = f" ({event.status})" if event.status else ""
    return f"{event.kind}{status} of {event.node!r}{item}{attempt}"

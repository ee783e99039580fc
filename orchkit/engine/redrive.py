"""Redriving: rebuild the open instances of a log by feeding each its own records, in log order.

What a pipeline emits must equal its next record; where it waits, its next record says what woke it. So no policy needs
restore code of its own. By log order and not by time, because live timers fire late: a hedge that was due just before a
recorded answer would fire, and contradict the log. No body starts until all is rebuilt.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from orchkit.engine.attempt import outcome_of
from orchkit.engine.instance import Instance
from orchkit.engine.pipeline import pipeline
from orchkit.errors import ReplayMismatch
from orchkit.model.events import Event
from orchkit.model.paths import node_of
from orchkit.model.protocols import Outcome

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution

__all__ = ["brief", "redrive", "same"]


def redrive(execution: Execution) -> None:
    """Bring a new execution's open instances to where the log leaves them.

    Raises
    ------
    ReplayMismatch
        If the workflow wants something else than the log holds.
    """
    kernel, state = execution.kernel, execution.state
    before = kernel.now
    execution.driving = True
    try:
        for key, opened in state.open.items():
            if state.stale.get((key[0], -1)) == "changed":
                continue  # its code is another one, and what it has begun is about to be dropped
            execution.instances[key] = inst = Instance(execution, *key)
            inst.records = deque(opened.events)
            execution.unfed.append(inst)
        for event in _open_events(execution):
            _feed(execution, event)
    finally:
        execution.driving = False
        execution.unfed.clear()
        kernel.now = max(before, execution.base + state.last_t)
    if execution.error is not None:
        raise execution.error


def _open_events(execution: Execution) -> list[Event]:
    position = {id(event): i for i, event in enumerate(execution.events)}
    events = (event for opened in execution.state.open.values() for event in opened.events)
    return sorted(events, key=lambda event: position[id(event)])


def _feed(execution: Execution, event: Event) -> None:
    key = (node_of(execution.program.graph, event.node), event.item)
    inst = execution.instances.get(key)
    if inst is None or not inst.records or inst.records[0] is not event:
        return  # its pipeline has already said it again
    if event.kind in ("context", "escalated"):
        # The one is for the fold alone: the record of the attempt's end follows, or it starts again. The other is for
        # people: the question goes on waiting.
        inst.records.popleft()
        return
    kernel = execution.kernel
    kernel.now = execution.base + event.t
    if inst.coro is None:
        kernel.start(inst, pipeline(execution.program.seats[inst.node], inst))
    elif event.kind == "cancelled":
        kernel.cancel(inst)
        execution.instances.pop(key, None)
    else:
        kernel.resume(inst, _woken_by(event))
    if inst.records and inst.records[0] is event:
        raise ReplayMismatch(
            f"run {execution.run_id!r}: the log says {brief(event)}, which the workflow no longer comes to; "
            "resume it with the workflow that recorded it",
            run_id=execution.run_id,
            node=event.node,
        )


def _woken_by(event: Event) -> Any:
    if event.kind in ("completed", "failed"):
        return outcome_of(event)  # a time-out too: the node may have lost its bound since
    if event.kind == "answered":
        return Outcome("answered", event.body, by=event.by)
    return None


def same(recorded: Event, wanted: Event) -> bool:
    """Say whether a pipeline emits what the log holds; times and values are the log's.

    So is whether a ``completed`` was final: a step that is no effect any more still settles as its log says; and
    whether an answer was edited, which follows from the values.
    """
    return (
        recorded.kind == wanted.kind
        and recorded.node == wanted.node
        and recorded.leg == wanted.leg
        and recorded.attempt == wanted.attempt
        and (recorded.status == wanted.status or recorded.kind in ("completed", "answered"))
    )


def brief(event: Event) -> str:
    """Name an event in a message."""
    item = f"[{event.item}]" if event.item >= 0 else ""
    attempt = f", attempt {event.attempt}" if event.attempt else ""
    status = f" ({event.status})" if event.status else ""
    return f"{event.kind}{status} of {event.node!r}{item}{attempt}"

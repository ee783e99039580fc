"""The fold: events in, state out.

Pure in the sense that matters: the same events give the same state; no clock, no I/O, no randomness. It mutates
its own accumulator, because copying would cost more than the run. One place folds an event, while a run goes on and
when its log is read; a second path once counted every failure twice and only on resume.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from orchkit.errors import ReplayMismatch
from orchkit.model.counters import recount, tell_followers, touch
from orchkit.model.events import FINAL, Event
from orchkit.model.generations import compare, invalidated, resumed
from orchkit.model.graph import Graph
from orchkit.model.instances import MapState, Open
from orchkit.model.paths import has_node, node_of
from orchkit.model.standings import DONE, FAILED, OPEN, SETTLED, SKIPPED
from orchkit.model.state import RunState, map_state

__all__ = ["apply", "fold"]


def apply(state: RunState, event: Event) -> None:
    """Fold one event into the state."""
    if event.t > state.last_t:
        state.last_t = event.t
    _APPLY[event.kind](state, event)


def fold(graph: Graph, events: Iterable[Event], *, changed: bool = False) -> RunState:
    """Fold a log from its beginning.

    Parameters
    ----------
    graph : Graph
    events : iterable of Event
        A run's whole log, or any prefix of it.
    changed : bool
        Whether the log was written by another shape of the workflow, and a ``resumed`` that says so comes next. Up to
        the last such event a log is always read leniently.

    Returns
    -------
    RunState

    Raises
    ------
    ReplayMismatch
        If the log is of another workflow: a node that is not there, or one that could not have begun.
    """
    log = events if isinstance(events, list) else list(events)
    state = RunState(graph)
    if not log:
        return state
    begin = len(log) if changed else _last_change(log)
    if begin:
        _recall(state, log[:begin])
    for event in log[begin:] if begin else log:
        try:
            apply(state, event)
        except Exception as error:
            where = f" of {event.node!r}" if event.node else ""
            raise ReplayMismatch(
                f"the log says {event.kind!r}{where}, which has no place in workflow {graph.name!r} as it is now; "
                "go on with the workflow that recorded it",
                node=event.node,
            ) from error
    return state


def _last_change(log: Sequence[Event]) -> int:
    """Give the position of the last ``resumed`` with another workflow: what is before was written by another shape."""
    return next(
        (i for i in range(len(log) - 1, 0, -1) if log[i].kind == "resumed" and "fingerprints" in (log[i].body or ())),
        0,
    )


def _recall(state: RunState, log: Sequence[Event]) -> None:
    """Fold what another shape of the graph has recorded: standings and values count, and whose turn it was does not.

    What is recorded of nodes that are no longer there is passed over.
    """
    state.lenient = True
    for event in log:
        if not event.node or has_node(state.graph, event.node):
            apply(state, event)
        state.last_t = max(state.last_t, event.t)  # of what is passed over too: time never goes back
    state.lenient = False
    for node in [node for node in state.maps if state.graph.nodes[node].kind != "map" and state.standing[node] in DONE]:
        del state.maps[node]  # not before, for its items may have started again
    recount(state)


def _run_started(state: RunState, event: Event) -> None:
    state.status = "running"
    state.input = event.body["input"]
    for node in range(len(state.graph.nodes)):
        touch(state, node)


def _opened(state: RunState, event: Event) -> Open:
    node = state.graph.index.get(event.node)
    if node is None:
        node = node_of(state.graph, event.node)
    key = (node, event.item)
    instance = state.open.get(key)
    if instance is None:
        instance = state.open[key] = Open()
        if event.item < 0:
            _leave(state, node)
            state.standing[node] = OPEN
            if state.shared is not None:
                state.shared.begin(node, state.values)
        else:
            _item_begun(state, node, event.item)
    instance.events.append(event)
    return instance


def _leave(state: RunState, node: int) -> None:
    try:
        state.ready.remove(node)
    except ValueError:
        if not state.lenient:
            raise


def _item_begun(state: RunState, node: int, item: int) -> None:
    progress = _begun(state, node)
    if state.lenient:
        progress.grow(item + 1)
    if progress.again and item in progress.again:
        progress.again.drop(item)
    else:
        progress.next = item + 1
    progress.running += 1
    if progress.next == progress.size and not progress.again:
        _leave(state, node)


def _begun(state: RunState, node: int) -> MapState:
    progress = state.maps.get(node)
    if progress is None:
        progress = state.maps[node] = map_state(state, node)
        state.standing[node] = OPEN
        if state.shared is not None:
            state.shared.begin(node, state.values)
    return progress


def _note(state: RunState, event: Event) -> None:
    _opened(state, event)


def _completed(state: RunState, event: Event) -> None:
    _delivered(state, event)
    if event.status == FINAL:
        _settle(state, event, "completed")


def _delivered(state: RunState, event: Event) -> None:
    _opened(state, event).value = event.body
    if event.key:
        state.effected.add(node_of(state.graph, event.node))
    elif event.status == "set":
        state.fixed.add(state.graph.index[event.node])


def _answered(state: RunState, event: Event) -> None:
    _opened(state, event).value = event.body  # its key says from where it came: it is no effect's


def _degraded(state: RunState, event: Event) -> None:
    instance = _opened(state, event)
    instance.degraded = True
    if event.status == "value":
        instance.value = event.body


def _settled(state: RunState, event: Event) -> None:
    _settle(state, event, event.status)


def _settle(state: RunState, event: Event, status: str) -> None:
    node = state.graph.index[event.node]
    instance = state.open.pop((node, event.item), None)
    value = None if instance is None else instance.value
    if state.shared is not None and instance is not None and status != "failed":
        state.shared.keep(node, event.item, instance.events)
    if status == "failed":
        if event.item < 0:
            if instance is None:
                _leave(state, node)
            state.standing[node] = FAILED
            state.left -= 1
        else:
            state.maps[node].failed.add(event.item)
            state.maps[node].running -= 1
        state.failing = (node, event.item)
    elif event.item >= 0:
        _item_done(state, node, event.item, status, value)
    elif state.graph.nodes[node].kind == "map" and (instance is None or not state.lenient):
        _map_done(state, node, status)
    elif instance is None and node in state.maps:
        _node_done(state, node, SETTLED[status], state.maps[node].delivered())  # it was a map once
    else:
        _node_done(state, node, SETTLED[status], value)


def _item_done(state: RunState, node: int, item: int, status: str, value: Any) -> None:
    progress = state.maps[node]
    progress.running -= 1
    progress.done += 1
    progress.values[item] = value
    if status == "degraded":
        progress.degraded.add(item)
    if progress.done == progress.size:
        insort(state.ready, node)


def _map_done(state: RunState, node: int, status: str) -> None:
    progress = _begun(state, node)
    _leave(state, node)
    _node_done(state, node, SETTLED[status], progress.delivered())


def _skipped(state: RunState, event: Event) -> None:
    node = state.graph.index[event.node]
    if state.open.pop((node, event.item), None) is None and event.item < 0:
        _leave(state, node)
    if event.item >= 0:
        state.maps[node].degraded.add(event.item)
        state.maps[node].skipped.add(event.item)
        _item_done(state, node, event.item, event.status, None)
    else:
        if event.status == "error":
            state.errors.add(node)
        _node_done(state, node, SKIPPED, None)


def _node_done(state: RunState, node: int, standing: int, value: Any) -> None:
    state.standing[node] = standing
    state.left -= 1
    if standing != SKIPPED or state.before:
        state.values[node] = value
    if state.shared is not None:
        _share(state, node, standing)
    tell_followers(state, node, standing != SKIPPED, value)
    if state.before and node in state.before:
        compare(state, node)


def _share(state: RunState, node: int, standing: int) -> None:
    assert state.shared is not None
    if standing == SKIPPED:
        state.shared.leave(node)
        return
    state.shared.join(node, state.values)
    progress = state.maps.get(node)
    if node in state.shared.before and progress is not None:
        written = state.shared.writes.get(node, ())
        state.shared.drop(node, *[i for i in written if i >= progress.size or i in progress.skipped])


def _cancelled(state: RunState, event: Event) -> None:
    if event.node:
        _opened(state, event)
    else:
        state.cancelling = True


def _mark(state: RunState, event: Event) -> None:
    """Nothing changes: it says that somebody stopped or went on."""


def _run_ended(state: RunState, event: Event) -> None:
    state.status = event.status
    state.result = event.body


_APPLY: Final[dict[str, Callable[[RunState, Event], None]]] = {
    "run_started": _run_started,
    "started": _note,
    "injected": _note,
    "waiting": _note,
    "failed": _note,
    "completed": _completed,
    "degraded": _degraded,
    "picked": _note,
    "context": _note,
    "asked": _note,
    "answered": _answered,
    "escalated": _note,
    "expired": _delivered,
    "cancelled": _cancelled,
    "settled": _settled,
    "skipped": _skipped,
    "invalidated": invalidated,
    "resumed": resumed,
    "suspended": _mark,
    "run_ended": _run_ended,
}

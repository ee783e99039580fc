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
from orchkit.model.counters import begin, recount, tell_followers, touch_again
from orchkit.model.events import FINAL, SPARED, TOLERATED, Event, settles
from orchkit.model.generations import compare, invalidated, resumed
from orchkit.model.graph import Graph
from orchkit.model.instances import Child, MapState, Open
from orchkit.model.nesting import NESTING, drop_children, intervened, nest, paused, told
from orchkit.model.paths import UNDO, has_node
from orchkit.model.standings import DONE, FAILED, OPEN, SETTLED, SKIPPED
from orchkit.model.state import RunState, ScopeState, map_state
from orchkit.model.streams import end_streams, feed
from orchkit.model.undoing import forget_done, note_done, reopen_undone, undo_goes_on, undone

__all__ = ["apply", "fold"]


def apply(state: RunState, event: Event) -> None:
    """Fold one event into the state."""
    if event.t > state.last_t:
        state.last_t = event.t
    scope = state if "/" not in event.node else state.scope_of(event.node)
    if scope is None:
        child = state.child(event.node)
        if child is not None:
            child.events.append(event)  # what it is of only the body can tell
        elif not state.lenient:  # else what opened it is no longer there
            raise KeyError(event.node)
        return
    if event.kind == "undone" or UNDO in event.node:
        (undone if event.kind == "undone" else undo_goes_on)(state, scope, event)
        return
    _APPLY[event.kind](scope, event)
    if scope.graph.undoes and settles(event):
        note_done(state, scope, event)
    if event.kind in NESTING and event.node:
        if event.kind == "called":
            state.children[event.body["id"]] = Child(event)
        elif state.children and event.kind == "invalidated":
            drop_children(state, event)
        if scope.graph.bodies:
            nest(state, scope, event)
        if event.kind == "invalidated":
            intervened(state, scope, event)
            if state.undoable:
                forget_done(state, scope, event)


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
    for scope in state.all_scopes():
        scope.lenient = False
        _forget_maps(scope)
        recount(scope)


def _forget_maps(state: ScopeState) -> None:
    for node in [node for node in state.maps if state.graph.nodes[node].over is None and state.standing[node] in DONE]:
        del state.maps[node]  # not before, for its items may have started again


def _run_started(state: ScopeState, event: Event) -> None:
    state.input = event.body["input"]
    state.deadline = event.body.get("deadline")
    begin(state)


def _opened(state: ScopeState, event: Event) -> Open:
    node = state.node(event.node)
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
        if state.shared is not None:
            state.shared.look(key)
    instance.events.append(event)
    return instance


def _leave(state: ScopeState, node: int) -> None:
    try:
        state.ready.remove(node)
    except ValueError:
        # Somebody may decide what a node comes to before it may begin.
        if not state.lenient and (node, -1) not in state.decided:
            raise


def _item_begun(state: ScopeState, node: int, item: int) -> None:
    progress = _begun(state, node)
    if state.lenient:
        progress.grow(item + 1)
    if progress.again and item in progress.again:
        progress.again.drop(item)
    elif progress.fed is not None:
        if not state.lenient:
            raise KeyError(item)
        progress.fed.setdefault(item, None)
    else:
        progress.next = item + 1
    progress.running += 1
    if progress.needed is not None:
        progress.going.put(item, "")
    if progress.next == progress.size and not progress.again:
        _leave(state, node)


def _begun(state: ScopeState, node: int) -> MapState:
    progress = state.maps.get(node)
    if progress is None:
        progress = state.maps[node] = map_state(state, node)
        state.standing[node] = OPEN
        if state.shared is not None:
            state.shared.begin(node, state.values)
    return progress


def _note(state: ScopeState, event: Event) -> None:
    _opened(state, event)


def _completed(state: ScopeState, event: Event) -> None:
    _delivered(state, event)
    if event.status == FINAL:
        _settle(state, event, "completed")


def _delivered(state: ScopeState, event: Event) -> None:
    _opened(state, event).value = event.body
    if event.key:
        state.effected.add(state.node(event.node))
    elif event.status == "set" and event.item < 0:
        state.fixed.add(state.node(event.node))


def _answered(state: ScopeState, event: Event) -> None:
    _opened(state, event).value = event.body  # its key says from where it came: it is no effect's


def _degraded(state: ScopeState, event: Event) -> None:
    instance = _opened(state, event)
    instance.degraded = True
    if event.status == "value":
        instance.value = event.body


def _settled(state: ScopeState, event: Event) -> None:
    _settle(state, event, event.status)


def _settle(state: ScopeState, event: Event, status: str) -> None:
    node = state.node(event.node)
    instance = state.open.pop((node, event.item), None)
    state.decided.pop((node, event.item), None)
    value = None if instance is None else instance.value
    if state.shared is not None and instance is not None and status != "failed":
        state.shared.keep(node, event.item, instance.events)
    if status == "failed":
        if event.item < 0:
            if instance is None:
                _leave(state, node)
            state.standing[node] = FAILED
            state.left -= 1
            for stream in state.graph.streams[node]:
                if stream not in state.maps:
                    touch_again(state, stream)
        else:
            state.maps[node].failed.add(event.item)
            state.maps[node].running -= 1
            state.maps[node].going.drop(event.item)
        state.failing = (node, event.item)
        state.failure = event.body or {}
    elif event.item >= 0:
        _item_delivered(state, node, event.item, status, value)
    elif state.graph.nodes[node].over is not None and instance is None:
        _map_done(state, node, status)
    elif instance is None and node in state.maps:
        _node_done(state, node, SETTLED[status], state.maps[node].delivered())  # it was a map once
    else:
        _node_done(state, node, SETTLED[status], value)


def _item_delivered(state: ScopeState, node: int, item: int, status: str, value: Any) -> None:
    progress = state.maps[node]
    progress.values[item] = value
    progress.got += 1
    if status == "degraded":
        progress.degraded.add(item)
    _item_done(state, node, item, progress)
    if state.graph.streams[node]:
        feed(state, node, item)


def _item_done(state: ScopeState, node: int, item: int, progress: MapState) -> None:
    progress.running -= 1
    progress.done += 1
    if progress.needed is not None:
        progress.going.drop(item)
    elif progress.done < progress.size:
        return
    if progress.over and node not in state.ready:
        insort(state.ready, node)


def _map_done(state: ScopeState, node: int, status: str) -> None:
    progress = _begun(state, node)
    _leave(state, node)
    _node_done(state, node, SETTLED[status], progress.delivered())


def _skipped(state: ScopeState, event: Event) -> None:
    node = state.node(event.node)
    if state.open.pop((node, event.item), None) is None:
        if event.item < 0:
            _leave(state, node)
        else:
            _item_begun(state, node, event.item)  # somebody has skipped it
    state.decided.pop((node, event.item), None)
    if event.item >= 0:
        _item_skipped(state, node, event)
    else:
        if event.status in ("error", "operator"):
            state.errors.add(node)
        if event.status == "operator":
            state.fixed.add(node)
        _node_done(state, node, SKIPPED, None)


def _item_skipped(state: ScopeState, node: int, event: Event) -> None:
    progress, item = state.maps[node], event.item
    if event.status == TOLERATED or (event.status == "operator" and progress.needed is not None):
        progress.lost[item] = event.error or "somebody has skipped it"
    elif event.status == SPARED:
        progress.spared.add(item)
    else:
        progress.degraded.add(item)
        progress.skipped.add(item)
        if event.status == "error" and event.body is not None:  # what stands in its place
            _item_delivered(state, node, item, "degraded", event.body)
            return
    _item_done(state, node, item, progress)


def _node_done(state: ScopeState, node: int, standing: int, value: Any) -> None:
    state.standing[node] = standing
    state.left -= 1
    if standing != SKIPPED or state.before:
        state.values[node] = value
    if state.shared is not None:
        _share(state, node, standing)
    tell_followers(state, node, standing != SKIPPED, value)
    if state.graph.streams[node]:
        end_streams(state, node, standing != SKIPPED)
    if state.before and node in state.before:
        compare(state, node)


def _share(state: ScopeState, node: int, standing: int) -> None:
    assert state.shared is not None
    if standing == SKIPPED:
        state.shared.leave(node)
        return
    state.shared.join(node, state.values)
    progress = state.maps.get(node)
    if node in state.shared.before and progress is not None:
        written = state.shared.writes.get(node, ())
        there = {i for i in written if i < progress.size and i not in progress.again and progress.has_delivered(i)}
        state.shared.drop(node, *[i for i in written if i not in there or i in progress.skipped])


def _cancelled(state: ScopeState, event: Event) -> None:
    if event.node:
        _opened(state, event)
    else:
        state.cancelling = True
        assert isinstance(state, RunState)
        state.undo_wanted = event.status == "undo"


def _context(state: ScopeState, event: Event) -> None:
    if event.node:
        _opened(state, event)
    else:
        assert isinstance(state, RunState)
        told(state, event.body["changes"])


def _pause(state: ScopeState, event: Event) -> None:
    assert isinstance(state, RunState)
    paused(state, event.kind == "paused")


def _rejected(state: ScopeState, event: Event) -> None:
    if event.node:
        _opened(state, event)
    else:
        state.overdue = event.error


def _mark(state: ScopeState, event: Event) -> None:
    """Nothing changes: it says that somebody stopped or went on."""


def _resumed(state: ScopeState, event: Event) -> None:
    assert isinstance(state, RunState)
    if state.status in ("failed", "cancelled") or "fingerprints" in (event.body or ()):
        reopen_undone(state)
    resumed(state, event)
    for scope in state.scopes.values():
        scope.withheld = state.withheld


def _run_ended(state: ScopeState, event: Event) -> None:
    state.status = event.status
    state.result = event.body


_APPLY: Final[dict[str, Callable[[ScopeState, Event], None]]] = {
    "run_started": _run_started,
    "started": _note,
    "injected": _note,
    "waiting": _note,
    "failed": _note,
    "completed": _completed,
    "degraded": _degraded,
    "picked": _note,
    "hedged": _note,
    "rejected": _rejected,
    "tripped": _note,
    "judged": _note,
    "called": _note,
    "context": _context,
    "paused": _pause,
    "unpaused": _pause,
    "asked": _note,
    "answered": _answered,
    "escalated": _note,
    "expired": _delivered,
    "cancelled": _cancelled,
    "settled": _settled,
    "skipped": _skipped,
    "invalidated": invalidated,
    "resumed": _resumed,
    "suspended": _mark,
    "run_ended": _run_ended,
}

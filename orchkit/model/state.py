"""The fold: events in, state out.

Pure in the sense that matters: the same events give the same state; no clock, no I/O, no randomness. It mutates
its own accumulator, because copying would cost more than the run. One place folds an event, while a run goes on and
when its log is read; a second path once counted every failure twice and only on resume.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from typing import Any, Final

from orchkit.errors import ReplayMismatch
from orchkit.model.events import Event
from orchkit.model.graph import Graph
from orchkit.model.shared import SharedState

__all__ = [
    "COMPLETED",
    "DEGRADED",
    "FAILED",
    "IDLE",
    "OPEN",
    "READY",
    "SETTLED",
    "SKIPPED",
    "MapState",
    "Open",
    "RunState",
    "apply",
    "fold",
    "map_state",
    "node_of",
    "result_of",
]

IDLE, READY, OPEN, COMPLETED, DEGRADED, FAILED, SKIPPED = range(7)
"""Where a node stands; from COMPLETED on it is settled."""

SETTLED: Final = {"completed": COMPLETED, "degraded": DEGRADED, "failed": FAILED, "skipped": SKIPPED}
FALLBACK: Final = "/fallback:"
WORDS: Final = ("idle", "ready", "running", "completed", "degraded", "failed", "skipped")


class MapState:
    """The counters of one map."""

    __slots__ = ("degraded", "done", "next", "running", "size", "skipped", "values")

    def __init__(self, size: int) -> None:
        self.size = size
        self.next = 0
        self.running = 0
        self.done = 0
        self.degraded = False
        self.skipped: set[int] = set()
        self.values: list[Any] = [None] * size

    def delivered(self) -> list[Any]:
        """Give the values of the items that were not skipped, in item order."""
        return [value for item, value in enumerate(self.values) if item not in self.skipped]


class Open:
    """One instance that has begun and not settled.

    Attributes
    ----------
    events : list of Event
        Its own, in log order: what a resume feeds back to its pipeline.
    value : object
        The latest candidate for its result.
    """

    __slots__ = ("degraded", "events", "value")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.value: Any = None
        self.degraded = False


class RunState:
    """The state of a run: a fold of its log over its graph.

    Attributes
    ----------
    status : str
        "new", "running", or what `run_ended` said.
    last_t : int, microseconds
    ready : list of int
        Nodes that may be looked at by the plan, in index order.
    standing : list of int
        Per node, one of the constants of this module.
    values : list
        Per node, its recorded value once settled live.
    open : dict
        ``(node index, item)`` to `Open`.
    failing : tuple or None
        ``(node index, item)`` of the failure that stops the run.
    cancelling : bool
        Somebody asked the run to stop.
    shared : SharedState or None
        What was written to the shared context, if the workflow has one.
    """

    __slots__ = (
        "cancelling",
        "degraded",
        "failing",
        "graph",
        "input",
        "last_t",
        "left",
        "live",
        "lost",
        "maps",
        "open",
        "picked",
        "ready",
        "result",
        "routes",
        "shared",
        "standing",
        "status",
        "values",
        "waits",
    )

    def __init__(self, graph: Graph) -> None:
        size = len(graph.nodes)
        self.graph = graph
        self.status = "new"
        self.last_t = 0
        self.input: Any = None
        self.result: Any = None
        self.ready: list[int] = []
        self.standing = [IDLE] * size
        self.values: list[Any] = [None] * size
        self.waits = list(graph.waits)
        self.routes = list(graph.routes)
        self.live = [int(with_input) for with_input in graph.with_input]
        self.picked = [False] * size
        self.lost = [False] * size
        self.left = size
        self.maps: dict[int, MapState] = {}
        self.open: dict[tuple[int, int], Open] = {}
        self.failing: tuple[int, int] | None = None
        self.cancelling = False
        self.degraded = False
        self.shared = None if graph.shared is None else SharedState(graph, graph.shared)

    def value(self, name: str) -> Any:
        """Give the recorded value of a node, or of the workflow's input."""
        return self.input if name == "input" else self.values[self.graph.index[name]]

    def is_live(self, name: str) -> bool:
        """Say whether a source has delivered."""
        return name == "input" or self.standing[self.graph.index[name]] in (COMPLETED, DEGRADED)

    def doomed(self, node: int) -> bool:
        """Say whether a node is skipped: an input it needs is lost, all are, or every route went elsewhere."""
        if self.lost[node]:
            return True
        if self.graph.routes[node] and not self.routes[node] and not self.picked[node]:
            return True
        return not self.waits[node] and self.graph.data[node] > 0 and not self.live[node]

    def _touch(self, node: int) -> None:
        if self.standing[node] == IDLE and (
            self.doomed(node) or (not self.waits[node] and (not self.graph.routes[node] or self.picked[node]))
        ):
            self.standing[node] = READY
            insort(self.ready, node)


def apply(state: RunState, event: Event) -> None:
    """Fold one event into the state."""
    if event.t > state.last_t:
        state.last_t = event.t
    _APPLY[event.kind](state, event)


def fold(graph: Graph, events: Iterable[Event]) -> RunState:
    """Fold a log from its beginning.

    Parameters
    ----------
    graph : Graph
    events : iterable of Event
        A run's whole log, or any prefix of it.

    Returns
    -------
    RunState

    Raises
    ------
    ReplayMismatch
        If the log is of another workflow: a node that is not there, or one that could not have begun.
    """
    state = RunState(graph)
    for event in events:
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


def node_of(graph: Graph, path: str) -> int:
    """Give the index of the node that a path belongs to: ``draft/fallback:canned`` belongs to ``draft``."""
    index = graph.index.get(path)
    return graph.index[path.partition(FALLBACK)[0]] if index is None else index


def _run_started(state: RunState, event: Event) -> None:
    state.status = "running"
    state.input = event.body["input"]
    for node in range(len(state.graph.nodes)):
        state._touch(node)


def _opened(state: RunState, event: Event) -> Open:
    node = state.graph.index.get(event.node)
    if node is None:
        node = node_of(state.graph, event.node)
    key = (node, event.item)
    instance = state.open.get(key)
    if instance is None:
        instance = state.open[key] = Open()
        if event.item < 0:
            state.ready.remove(node)
            state.standing[node] = OPEN
            if state.shared is not None:
                state.shared.begin(node, state.values)
        else:
            progress = _begun(state, node)
            progress.next = event.item + 1
            progress.running += 1
            if progress.next == progress.size:
                state.ready.remove(node)
    instance.events.append(event)
    return instance


def map_state(state: RunState, node: int) -> MapState:
    """Give a map's counters, fresh ones before its first item has begun; changes nothing."""
    progress = state.maps.get(node)
    if progress is None:
        over = state.graph.nodes[node].over
        assert over is not None
        value = state.value(over)
        progress = MapState(len(value) if isinstance(value, list) else 0)
    return progress


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


def _delivered(state: RunState, event: Event) -> None:
    _opened(state, event).value = event.body


def _degraded(state: RunState, event: Event) -> None:
    instance = _opened(state, event)
    instance.degraded = True
    if event.status == "value":
        instance.value = event.body


def _settled(state: RunState, event: Event) -> None:
    node = state.graph.index[event.node]
    instance = state.open.pop((node, event.item), None)
    value = None if instance is None else instance.value
    if state.shared is not None and instance is not None and event.status != "failed":
        state.shared.keep(node, event.item, instance.events)
    if event.status == "failed":
        if event.item < 0:
            if instance is None:
                state.ready.remove(node)
            state.standing[node] = FAILED
            state.left -= 1
        state.failing = (node, event.item)
    elif event.item >= 0:
        _item_done(state, node, event, value)
    elif state.graph.nodes[node].kind == "map":
        _map_done(state, node, event)
    else:
        _node_done(state, node, SETTLED[event.status], value)


def _item_done(state: RunState, node: int, event: Event, value: Any) -> None:
    progress = state.maps[node]
    progress.running -= 1
    progress.done += 1
    progress.values[event.item] = value
    progress.degraded = progress.degraded or event.status == "degraded"
    if progress.done == progress.size:
        insort(state.ready, node)


def _map_done(state: RunState, node: int, event: Event) -> None:
    progress = _begun(state, node)
    state.ready.remove(node)
    _node_done(state, node, SETTLED[event.status], progress.delivered())


def _skipped(state: RunState, event: Event) -> None:
    node = state.graph.index[event.node]
    if state.open.pop((node, event.item), None) is None and event.item < 0:
        state.ready.remove(node)
    if event.status == "error":
        state.degraded = True
    if event.item >= 0:
        state.maps[node].degraded = True
        state.maps[node].skipped.add(event.item)
        _item_done(state, node, event, None)
    else:
        _node_done(state, node, SKIPPED, None)


def _node_done(state: RunState, node: int, standing: int, value: Any) -> None:
    state.standing[node] = standing
    state.left -= 1
    live = standing != SKIPPED
    if live:
        state.values[node] = value
        if state.shared is not None:
            state.shared.join(node, state.values)
    if standing == DEGRADED:
        state.degraded = True
    for dep in state.graph.followers[node]:
        target = dep.target
        state.waits[target] -= 1
        if live:
            state.live[target] += dep.data
        elif dep.required:
            state.lost[target] = True
        state._touch(target)
    picks = value if isinstance(value, list) else [value]
    for target in state.graph.targets[node]:
        state.routes[target] -= 1
        if live and state.graph.nodes[target].name in picks:
            state.picked[target] = True
        state._touch(target)


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
    "completed": _delivered,
    "degraded": _degraded,
    "picked": _note,
    "context": _note,
    "asked": _note,
    "answered": _delivered,
    "expired": _delivered,
    "cancelled": _cancelled,
    "settled": _settled,
    "skipped": _skipped,
    "resumed": _mark,
    "suspended": _mark,
    "run_ended": _run_ended,
}


def result_of(state: RunState, read: Callable[[int], Any] | None = None) -> Any:
    """Give a finished run's result: its output, its one sink, the alternative that ran, or a dict of sinks.

    Parameters
    ----------
    state : RunState
    read : callable, optional
        Gives the value of a node by its index; without it, the recorded one.

    Returns
    -------
    object
    """
    graph, read = state.graph, read or state.values.__getitem__
    if graph.output is not None:
        return read(graph.index[graph.output])
    done = [i for i in graph.sinks if state.standing[i] in (COMPLETED, DEGRADED)]
    if len(graph.sinks) == 1 or graph.alternatives:
        return read(done[0]) if done else None
    return {graph.nodes[i].name: read(i) for i in done}

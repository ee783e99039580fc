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
from orchkit.model.events import Event
from orchkit.model.generations import compare, invalidated, recount, resumed, tell_followers
from orchkit.model.graph import Graph
from orchkit.model.shared import SharedState
from orchkit.model.standings import COMPLETED, DEGRADED, FAILED, IDLE, OPEN, READY, SKIPPED

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
    "has_node",
    "map_state",
    "node_of",
    "result_of",
]

SETTLED: Final = {"completed": COMPLETED, "degraded": DEGRADED, "failed": FAILED, "skipped": SKIPPED}
FALLBACK: Final = "/fallback:"
WORDS: Final = ("idle", "ready", "running", "completed", "degraded", "failed", "skipped")


class MapState:
    """The counters of one map.

    Attributes
    ----------
    again : list of int
        Items that were invalidated and start again, before `next`.
    failed : set of int
        Items that failed the run.
    degraded, skipped : set of int
        Items that delivered less than they should, and those among them that delivered nothing.
    """

    __slots__ = ("again", "degraded", "done", "failed", "next", "running", "size", "skipped", "values")

    def __init__(self, size: int) -> None:
        self.size = size
        self.next = 0
        self.running = 0
        self.done = 0
        self.again: list[int] = []
        self.degraded: set[int] = set()
        self.failed: set[int] = set()
        self.skipped: set[int] = set()
        self.values: list[Any] = [None] * size

    def grow(self, size: int) -> None:
        """Make room for an item beyond the end: the list is another one by now."""
        if size > self.size:
            self.values += [None] * (size - self.size)
            self.size = size

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
        Per node, its recorded value once settled live; of one that was invalidated the old one until it settles again.
    open : dict
        ``(node index, item)`` to `Open`.
    failing : tuple or None
        ``(node index, item)`` of the failure that stops the run.
    cancelling : bool
        Somebody asked the run to stop.
    shared : SharedState or None
        What was written to the shared context, if the workflow has one.
    generations : dict
        ``(node index, item)`` to the generation that is the present one; 1 where it says nothing. Item -1 is the node
        itself and the highest that was given out; -2 stands for all items that are not named.
    before : dict
        Node index to ``(live, value)`` as its followers know it, of nodes that were invalidated and have not settled
        again.
    replaced : dict
        The same of those that have settled again, as long as something that has used the old value is `stale`.
    stale : dict
        ``(node index, item)`` to why it must be invalidated before anything else happens.
    errors : set of int
        Nodes that were skipped because they failed.
    effected : set of int
        Nodes of which an effect has been completed: they are not repeated because of a new input.
    fixed : set of int
        Nodes whose result was set by somebody: they keep it.
    repeats : set of int
        Those of `effected` that somebody allowed to be repeated.
    withheld : bool
        Effects are skipped instead of started.
    lenient : bool
        The log that is being folded was written by another shape of the graph.
    """

    __slots__ = (
        "before",
        "cancelling",
        "degraded",
        "effected",
        "errors",
        "failing",
        "fixed",
        "generations",
        "graph",
        "input",
        "last_t",
        "left",
        "lenient",
        "live",
        "lost",
        "maps",
        "open",
        "picked",
        "ready",
        "repeats",
        "replaced",
        "result",
        "routes",
        "shared",
        "stale",
        "standing",
        "status",
        "values",
        "waits",
        "withheld",
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
        self.generations: dict[tuple[int, int], int] = {}
        self.before: dict[int, tuple[bool, Any]] = {}
        self.replaced: dict[int, tuple[bool, Any]] = {}
        self.stale: dict[tuple[int, int], str] = {}
        self.errors: set[int] = set()
        self.effected: set[int] = set()
        self.fixed: set[int] = set()
        self.repeats: set[int] = set()
        self.withheld = False
        self.lenient = False

    def generation(self, node: int, item: int = -1) -> int:
        """Give the present generation of an instance; of a node itself it is the highest that was given out."""
        if not self.generations:
            return 1
        found = self.generations.get((node, item))
        return found or self.generations.get((node, -2), 1)

    def unsure(self) -> set[int]:
        """Give the nodes that must not start: something that they come after is about to settle once more.

        A diamond would else run once with a half-old input.
        """
        return self.graph.descendants(self.before)

    def keeps(self, node: int) -> bool:
        """Say whether a node stays as it is though its input changed: its effect is done and would be done twice."""
        if node in self.fixed:
            return True
        if node not in self.effected or node in self.repeats:
            return False
        return self.standing[node] != OPEN or self.graph.nodes[node].kind != "map"

    def value(self, name: str) -> Any:
        """Give the recorded value of a node, or of the workflow's input."""
        if name == "input":
            return self.input
        node = self.graph.index[name]
        return self.replaced[node][1] if node in self.replaced else self.values[node]

    def is_live(self, name: str) -> bool:
        """Say whether a source has delivered."""
        if name == "input":
            return True
        node = self.graph.index[name]
        seen = self.replaced.get(node) or self.before.get(node)
        return self.standing[node] in (COMPLETED, DEGRADED) if seen is None else seen[0]

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
    recount(state)


def node_of(graph: Graph, path: str) -> int:
    """Give the index of the node that a path belongs to: ``draft/fallback:canned`` belongs to ``draft``."""
    index = graph.index.get(path)
    return graph.index[path.partition(FALLBACK)[0]] if index is None else index


def has_node(graph: Graph, path: str) -> bool:
    """Say whether there is a node that a path belongs to; a log may tell of others that are gone."""
    return path in graph.index or path.partition(FALLBACK)[0] in graph.index


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
    if item in progress.again:
        progress.again.remove(item)
    else:
        progress.next = item + 1
    progress.running += 1
    if progress.next == progress.size and not progress.again:
        _leave(state, node)


def map_state(state: RunState, node: int) -> MapState:
    """Give a map's counters, fresh ones before its first item has begun; changes nothing."""
    progress = state.maps.get(node)
    if progress is None:
        over = state.graph.nodes[node].over
        if over is None and not state.lenient:
            raise ValueError(f"{state.graph.nodes[node].name!r} is no map")
        value = None if over is None else state.value(over)
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
    if event.key:
        state.effected.add(node_of(state.graph, event.node))
    elif event.status == "set":
        state.fixed.add(state.graph.index[event.node])


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
                _leave(state, node)
            state.standing[node] = FAILED
            state.left -= 1
        else:
            state.maps[node].failed.add(event.item)
            state.maps[node].running -= 1
        state.failing = (node, event.item)
    elif event.item >= 0:
        _item_done(state, node, event, value)
    elif state.graph.nodes[node].kind == "map" and (instance is None or not state.lenient):
        _map_done(state, node, event)
    elif instance is None and node in state.maps:
        _node_done(state, node, SETTLED[event.status], state.maps.pop(node).delivered())  # it was a map once
    else:
        _node_done(state, node, SETTLED[event.status], value)


def _item_done(state: RunState, node: int, event: Event, value: Any) -> None:
    progress = state.maps[node]
    progress.running -= 1
    progress.done += 1
    progress.values[event.item] = value
    if event.status == "degraded":
        progress.degraded.add(event.item)
    if progress.done == progress.size:
        insort(state.ready, node)


def _map_done(state: RunState, node: int, event: Event) -> None:
    progress = _begun(state, node)
    _leave(state, node)
    _node_done(state, node, SETTLED[event.status], progress.delivered())


def _skipped(state: RunState, event: Event) -> None:
    node = state.graph.index[event.node]
    if state.open.pop((node, event.item), None) is None and event.item < 0:
        _leave(state, node)
    if event.status == "error":
        state.degraded = True
    if event.item >= 0:
        state.maps[node].degraded.add(event.item)
        state.maps[node].skipped.add(event.item)
        _item_done(state, node, event, None)
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
    if standing == DEGRADED:
        state.degraded = True
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
        state.shared.drop(node, lambda item: item >= progress.size or item in progress.skipped)


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
    "invalidated": invalidated,
    "resumed": resumed,
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

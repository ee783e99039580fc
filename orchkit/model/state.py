"""The state of a run: what folding its log comes to, and what can be asked of it.

A run is a scope: one graph that is gone through. A node that holds a workflow opens a scope of its own for each of its
attempts, and those know nothing of each other. Nothing here changes any; `orchkit.model.fold` does, event by event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from orchkit.errors import ContextConflict
from orchkit.model.events import Event
from orchkit.model.graph import Graph
from orchkit.model.instances import Child, MapState, Open
from orchkit.model.paths import children_of, split_path
from orchkit.model.shared import SharedState
from orchkit.model.smallest import SmallestFirst
from orchkit.model.standings import COMPLETED, DEGRADED, DONE, IDLE, OPEN

__all__ = ["RunState", "ScopeState", "end_of", "has_delivered", "map_state", "result_of"]


class ScopeState:
    """The state of one scope: a fold over its graph.

    Attributes
    ----------
    id : str
        What it is known by among the scopes of its run: its prefix, or the path of its one node where a body has called
        that.
    prefix : str
        What the paths of its nodes begin with; "" for the run itself.
    first : int
        The generation in which its nodes begin; higher than any that an earlier scope of that prefix has had.
    status : str
        "new", "running", or what it ended as.
    ready : list of int
        Nodes that may be looked at by the plan, in index order.
    standing : list of int
        Per node, one of the constants of `orchkit.model.standings`.
    values : list
        Per node, its recorded value once settled live; of one that was invalidated the old one until it settles again.
    waits, routes : list of int
        Per node, how many of those that it comes after have yet to settle, and how many of the routes that name it.
    live, lost, picked : list of int
        Per node, how many data inputs have delivered (the workflow's counts as one), how many that it needs were
        skipped, and how many routes have picked it.
    left : int
        How many nodes have yet to settle.
    maps : dict
        Node index to `MapState`, of maps that have begun.
    open : dict
        ``(node index, item)`` to `Open`.
    failing : tuple or None
        ``(node index, item)`` of the failure that stops it.
    failure : dict
        What is recorded of that failure, in a scope that a node has opened.
    nested : dict
        ``(node index, item)`` to the prefixes of the scopes that it has opened.
    deadline : int, microseconds, or None
        Of the run, since its start.
    overdue : str
        What is wrong when its deadline was first; "" as long as it was not.
    cancelling : bool
        Somebody asked the run to stop.
    shared : SharedState or None
        What was written to the shared context, if the workflow has one.
    generations : dict
        Node index to a dict from item to the generation that is the present one; 1 where it says nothing. Item -1 is
        the node itself and the highest that was given out; -2 stands for all items that are not named.
    before : dict
        Node index to ``(live, value)`` as its followers know it, of nodes that were invalidated and have not settled
        again.
    replaced : dict
        The same of those that have settled again, as long as something that has used the old value is `stale`.
    stale : SmallestFirst
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
    paused : bool
        Somebody has paused the run: nothing new starts in it.
    decided : dict
        ``(node index, item)`` to the ``invalidated`` event by which somebody has decided what it comes to, until it
        has come to that.
    onward : dict
        ``(node index, item)`` to the attempt with which its next generation begins: its scope is gone on with.
    owner : tuple of int
        ``(node index, item)`` of what has opened it, in the scope that it lies in.
    lenient : bool
        The log that is being folded was written by another shape of the graph.
    """

    __slots__ = (
        "before",
        "cancelling",
        "deadline",
        "decided",
        "effected",
        "errors",
        "failing",
        "failure",
        "first",
        "fixed",
        "generations",
        "graph",
        "id",
        "input",
        "left",
        "lenient",
        "live",
        "lost",
        "maps",
        "nested",
        "onward",
        "open",
        "overdue",
        "owner",
        "paused",
        "picked",
        "prefix",
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

    def __init__(self, graph: Graph, prefix: str = "", first: int = 1) -> None:
        size = len(graph.nodes)
        self.graph = graph
        self.id = prefix
        self.prefix = prefix
        self.first = first
        self.status = "new"
        self.input: Any = None
        self.result: Any = None
        self.ready: list[int] = []
        self.standing = [IDLE] * size
        self.values: list[Any] = [None] * size
        self.waits = list(graph.waits)
        self.routes = list(graph.routes)
        self.live = [int(with_input) for with_input in graph.with_input]
        self.picked = [0] * size
        self.lost = [0] * size
        self.left = size
        self.maps: dict[int, MapState] = {}
        self.open: dict[tuple[int, int], Open] = {}
        self.failing: tuple[int, int] | None = None
        self.failure: dict[str, Any] = {}
        self.nested: dict[tuple[int, int], list[str]] = {}
        self.deadline: int | None = None
        self.overdue = ""
        self.cancelling = False
        self.shared = None if graph.shared is None else SharedState(graph, graph.shared)
        self.generations: dict[int, dict[int, int]] = {}
        self.before: dict[int, tuple[bool, Any]] = {}
        self.replaced: dict[int, tuple[bool, Any]] = {}
        self.stale: SmallestFirst[tuple[int, int]] = SmallestFirst()
        self.errors: set[int] = set()
        self.effected: set[int] = set()
        self.fixed: set[int] = set()
        self.repeats: set[int] = set()
        self.withheld = False
        self.paused = False
        self.decided: dict[tuple[int, int], Event] = {}
        self.onward: dict[tuple[int, int], int] = {}
        self.owner = (-1, -1)
        self.lenient = False

    def generation(self, node: int, item: int = -1) -> int:
        """Give the present generation of an instance; of a node itself it is the highest that was given out."""
        if not self.generations:
            return self.first
        given = self.generations.get(node)
        return self.first if given is None else given.get(item) or given.get(-2, self.first)

    @property
    def highest(self) -> int:
        """The highest generation that any of its instances has had."""
        return max((given[-1] for given in self.generations.values()), default=self.first)

    def node(self, path: str) -> int:
        """Give the index of the node that a path in this scope belongs to."""
        index = self.graph.index.get(path)
        return self.graph.index[split_path(path)[1]] if index is None else index

    @property
    def degraded(self) -> bool:
        """Whether something has delivered less than it should, or nothing because it failed."""
        # Not those whose failure a quorum got over: that is the plan.
        skipped = any(progress.skipped for progress in self.maps.values())
        return skipped or bool(self.errors) or DEGRADED in self.standing

    def keys_of(self, node: int) -> list[tuple[int, int]]:
        """Give the keys of a node itself and of the items that it has if it is a map, in their order."""
        progress = self.maps.get(node)
        return [(node, item) for item in range(-1, 0 if progress is None else progress.size)]

    def open_of(self, node: int, item: int = -1) -> list[tuple[int, int]]:
        """Give the keys of what is open of one item, or of all of a node, in their order."""
        return [key for key in ([(node, item)] if item >= 0 else self.keys_of(node)) if key in self.open]

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
        return self.standing[node] != OPEN or self.graph.nodes[node].over is None

    def value(self, name: str) -> Any:
        """Give the recorded value of a node, or of the workflow's input."""
        if name == "input":
            return self.input
        node = self.graph.index[name]
        return self.replaced[node][1] if node in self.replaced else self.values[node]

    def item_value(self, node: int, item: int) -> Any:
        """Give the element that an item of a map is about."""
        progress = self.maps.get(node)
        if progress is None and self.graph.stream_of[node] >= 0:
            progress = map_state(self, node)
        if progress is not None and progress.fed is not None:
            return progress.fed[item]
        over = self.graph.nodes[node].over
        assert over is not None
        return self.value(over)[item]

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


class RunState(ScopeState):
    """The state of a run: its own scope, and those that its nodes have opened.

    Attributes
    ----------
    last_t : int, microseconds
    scopes : dict of str to ScopeState
        By their ids. They stay when they have ended, for somebody may start one of their nodes again.
    spent : dict of str to int
        Ids of scopes that are gone, and the highest generation that was given out in each.
    children : dict of str to Child
        What bodies have called, by its id.
    undoable : dict
        ``(prefix, node index, item)`` of what was done and has an undo, in the order in which it was done, to what
        became of that: "", "completed" or "failed".
    undoing : Open or None
        What the log holds of the undo that is going on.
    undo_tries : dict
        The keys of `undoable` to how many attempts at undoing it have been made in vain.
    undo_wanted : bool
        Whether what was done is to be undone though the run was cancelled.
    rekeyed : dict of str to int
        Effects that somebody wanted once more, as their receivers know them, and for the how manieth time.
    """

    __slots__ = ("children", "last_t", "rekeyed", "scopes", "spent", "undo_tries", "undo_wanted", "undoable", "undoing")

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.last_t = 0
        self.scopes: dict[str, ScopeState] = {}
        self.spent: dict[str, int] = {}
        self.children: dict[str, Child] = {}
        self.rekeyed: dict[str, int] = {}
        self.undoable: dict[tuple[str, int, int], str] = {}
        self.undoing: Open | None = None
        self.undo_tries: dict[tuple[str, int, int], int] = {}
        self.undo_wanted = False

    @property
    def next_to_undo(self) -> tuple[str, int, int] | None:
        """What was done last of all that is not undone yet, and has not refused to be."""
        return next((key for key in reversed(self.undoable) if not self.undoable[key]), None)

    def scope_of(self, path: str) -> ScopeState | None:
        """Give the scope that a path lies in, if there is one."""
        prefix, name = split_path(path)
        if not prefix:
            return self
        return self.scopes.get(prefix) or (self.scopes.get(prefix + name) if name[-1:] == ")" else None)

    def child(self, path: str) -> Child | None:
        """Give what a body has called and has not asked for again since the log was read, if a path is of that."""
        if not self.children:
            return None
        return next((self.children[one] for one in children_of(path) if one in self.children), None)

    def outer_of(self, scope: ScopeState) -> ScopeState:
        """Give the scope that another one lies in."""
        above = scope.prefix[:-1].rpartition("/")[0]
        return self.scopes.get(f"{above}/", self)

    def all_scopes(self) -> Iterator[ScopeState]:
        """Give its own scope and those that its nodes have opened."""
        yield self
        yield from self.scopes.values()


def map_state(state: ScopeState, node: int) -> MapState:
    """Give a map's counters, fresh ones before its first item has begun; changes nothing."""
    progress = state.maps.get(node)
    if progress is None:
        spec, source = state.graph.nodes[node], state.graph.stream_of[node]
        if spec.over is None and not state.lenient:
            raise ValueError(f"{spec.name!r} is no map")
        if source in state.maps:
            return _streaming(state, source, spec.quorum)
        value = None if spec.over is None else state.value(spec.over)
        progress = MapState(len(value) if isinstance(value, list) else 0, spec.quorum)
    return progress


def _streaming(state: ScopeState, source: int, quorum: int | float | None) -> MapState:
    # By the source's own indices: which of them will be left out is not known while it goes on.
    before = state.maps[source]
    progress = MapState(before.size, quorum, dict(has_delivered(state, source)))
    if state.standing[source] in DONE:
        progress.end_stream()
    return progress


def has_delivered(state: ScopeState, node: int) -> Iterator[tuple[int, Any]]:
    """Give the items of a map that have delivered so far, and what."""
    progress = state.maps[node]
    for item in range(progress.size):
        going = item in progress.again or item in progress.failed or (node, item) in state.open
        if not going and progress.has_begun(item) and progress.has_delivered(item):
            yield item, progress.values[item]


def result_of(state: ScopeState, read: Callable[[int], Any] | None = None) -> Any:
    """Give a finished scope's result: its output, its one sink, the alternative that ran, or a dict of sinks.

    Parameters
    ----------
    state : ScopeState
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


def end_of(state: ScopeState) -> tuple[str, str]:
    """Say what a scope comes to in which nothing is left to do: its status, and what is wrong."""
    status = "degraded" if state.degraded else "completed"
    if status == "degraded" and not any(state.standing[sink] in (COMPLETED, DEGRADED) for sink in state.graph.sinks):
        status = "failed"
    if state.shared is not None and status != "failed" and (conflict := state.shared.conflict(state.shared.everyone)):
        return "failed", f"{ContextConflict.__name__}: {conflict}"
    return status, ""

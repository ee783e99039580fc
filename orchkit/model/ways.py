"""Ways: what the choices of a graph's routes lead to, if nothing fails.

The nodes are gone through in topological order, with every state that can be there: which of the nodes that somebody
still asks about are live, and which are picked. States that agree in this are one, so routes that have nothing to do
with each other do not multiply.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchkit.model.graph import Graph
    from orchkit.model.steps import Node

__all__ = ["Ways"]

_MOST = 1 << 15
"""States to look at before it is left open what can happen: some 20 ms."""

Pick = tuple[int, int]
"""A route and its target."""


class Ways:
    """What the choices of a graph's routes can lead to.

    Parameters
    ----------
    graph : Graph
        Compiled.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._doubtful = _doubtful(graph)
        self._deciding = self._doubtful | {node for node, targets in enumerate(graph.targets) if targets}
        self._left = _MOST

    def ever_live(self) -> frozenset[int]:
        """Give the nodes that run in one way at least; all of them where there are too many ways to look at."""
        everyone = frozenset(range(len(self._graph.nodes)))
        try:
            walk = _walk(self._graph, self._deciding, self._doubtful)
            return everyone - self._doubtful | {node for node, runs, _ in walk if runs}
        except _TooManyError:
            return everyone

    def surely_live(self) -> frozenset[int]:
        """Give the nodes that run whatever the routes choose."""
        return frozenset(range(len(self._graph.nodes))) - self._doubtful

    def are_alternatives(self) -> bool:
        """Say whether no two sinks can both run; False too where there are too many ways to look at."""
        sinks = frozenset(self._graph.sinks)
        most = 1 - len(sinks - self._doubtful)
        if most < 0:
            return False
        mask = _bits(sinks & self._doubtful)
        try:
            for node, runs, states in _walk(self._graph, self._deciding, self._doubtful, mask):
                if runs and node in sinks and any((state & mask).bit_count() > most for state in states):
                    return False
        except _TooManyError:
            return False
        return True

    def can_all(self, live: Iterable[int] = (), picks: Iterable[Pick] = ()) -> bool:
        """Say whether all these nodes can be live in one way, in which these routes pick these targets.

        False where there are too many ways to look at, in all questions together: nobody is to be warned of what may
        not be, nor to wait for it.
        """
        asked = tuple(picks)
        routes = {route for route, _ in asked}
        wanted = self._doubtful & {*live, *routes}
        mask = _bits(wanted) | _bits(2 * len(self._graph.nodes) + k for k in range(len(asked)))
        nodes = _upstream(self._graph, wanted, self._doubtful) | routes
        last: Set[int] = {0}
        try:
            for _, _, last in _walk(self._graph, nodes, self._doubtful, mask, asked, self._left):
                self._left -= len(last)
        except _TooManyError:
            self._left = 0
            return False
        return any(state & mask == mask for state in last)


class _TooManyError(Exception):
    """There are more states than anybody would wait for."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one node does to a state.

    A state is an int: of n nodes bit i says that i is live, bit n + i that it was picked, and bit 2 n + k that the k-th
    pick that is asked about was made.

    Attributes
    ----------
    needs : int
        The bits that must be set if it is to run: its required inputs, and that it was picked.
    one_of : int
        Bits of which one must be set; 0 if there is no such condition.
    ways : tuple of int
        What it may set when it runs.
    keeps : int
        The bits that somebody asks about later.
    """

    node: int
    needs: int
    one_of: int
    ways: tuple[int, ...]
    keeps: int


def _walk(
    graph: Graph, nodes: Set[int], doubtful: Set[int], kept: int = 0, asked: Sequence[Pick] = (), most: int = _MOST
) -> Iterator[tuple[int, bool, Set[int]]]:
    """Go through these nodes; after each give whether it runs in any way, and every state that can be then."""
    states, looked = {0}, 0
    for turn in _turns(graph, nodes, doubtful, kept, asked):
        needs, one_of, keeps = turn.needs, turn.one_of, turn.keeps
        ways = [way & keeps for way in turn.ways]
        after, runs = set(), False
        for state in states:
            if state & needs == needs and (not one_of or state & one_of):
                runs = True
                state &= keeps  # noqa: PLW2901 - this loop is what a large graph waits for
                after.update([state | way for way in ways])
            else:
                after.add(state & keeps)
        looked += len(after)
        if looked > most:
            raise _TooManyError
        states = after
        yield turn.node, runs, states


def _turns(graph: Graph, nodes: Set[int], doubtful: Set[int], kept: int, asked: Sequence[Pick]) -> Iterator[_Turn]:
    size, order = len(graph.nodes), sorted(nodes)
    asks = {node: _sources(graph, node, required=False) for node in order}
    last = {source: node for node in order for source in asks[node] if source in doubtful}
    cleared: dict[int, int] = {}
    for source, node in last.items():
        cleared[node] = cleared.get(node, 0) | 1 << source
    for node in order:
        sources = asks[node]
        picked = 1 << size + node if graph.routes[node] else 0
        live = 1 << node if node in doubtful else 0
        asked_here = {target: k for k, (route, target) in enumerate(asked) if route == node}
        yield _Turn(
            node,
            picked | _bits(_sources(graph, node, required=True) & doubtful),
            _bits(sources) if sources and sources <= doubtful else 0,
            tuple(
                live
                | _bits(size + target for target in way if target in nodes)
                | _bits(2 * size + asked_here[target] for target in way if target in asked_here)
                for way in _choices(graph.nodes[node], graph.targets[node])
            ),
            kept | ~(picked | cleared.get(node, 0) | (0 if node in last else live)),
        )


_INPUT = -1


def _sources(graph: Graph, node: int, *, required: bool) -> Set[int]:
    """Give where a node's data comes from, or where the data comes from that it cannot do without."""
    deps = graph.nodes[node].deps
    return {graph.index.get(dep.source, _INPUT) for dep in deps if dep.required or not required}


def _doubtful(graph: Graph) -> frozenset[int]:
    """Give the nodes that do not run in every way."""
    found: set[int] = set()
    if not any(graph.targets):
        return frozenset()
    for node in range(len(graph.nodes)):
        sources = _sources(graph, node, required=False)
        if (
            graph.routes[node]
            or not found.isdisjoint(_sources(graph, node, required=True))
            or (sources and sources <= found)
        ):
            found.add(node)
    return frozenset(found)


def _upstream(graph: Graph, nodes: Set[int], doubtful: Set[int]) -> set[int]:
    """Give these nodes and all that decides whether they run."""
    found, rest = set(nodes), list(nodes)
    while rest:
        node = rest.pop()
        before = (_sources(graph, node, required=False) & doubtful) | set(graph.pickers[node])
        rest += before - found
        found |= before
    return found


def _choices(node: Node, targets: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Give the ways a route can go: one target if it says that it returns a str, else any of them or all."""
    returns = None if node.function is None else node.function.returns
    one = returns is str or typing.get_origin(returns) is typing.Literal
    return [(target,) for target in targets] + ([] if one and targets else [targets])


def _bits(nodes: Iterable[int]) -> int:
    mask = 0
    for node in nodes:
        mask |= 1 << node
    return mask

"""The graph: nodes, edges, and all that can be wrong with them, found at once.

A graph is compiled once into plain lists of integers, so that the fold and the plan pay for nothing else.
"""

from __future__ import annotations

import keyword
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchkit.model.order import cycles, in_topological_order, mended
from orchkit.model.places import Place
from orchkit.model.problems import Problem, graph_error, in_order
from orchkit.model.steps import RESERVED, Node
from orchkit.model.ways import Ways
from orchkit.model.wording import nearest

if TYPE_CHECKING:
    from orchkit.model.merging import SharedModel

__all__ = ["Dep", "Edge", "Graph"]


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow of the drawing: data, route or after."""

    source: str
    target: str
    kind: str


@dataclass(frozen=True, slots=True)
class Dep:
    """What settling one node means to another: whether it brings data, and whether that is required."""

    target: int
    data: bool
    required: bool


class Graph:
    """A checked, compiled workflow graph.

    Parameters
    ----------
    name : str
        The workflow's name.
    nodes : iterable of Node
        In order of definition; any order will do.
    input_type : object
        Annotation of the workflow's input.
    output : str, optional
        The node whose value is the result.
    shared : SharedModel, optional
        The definition of the shared context.
    redact : frozenset of str
        Fields and keys whose values no record shows.
    templates : iterable of Node
        Approvals that are only asked where a failed node escalates to them: they take no part in the graph.
    place : Place, optional
        Where the workflow was made.
    found : sequence of Problem
        What was found when the nodes were read.

    Raises
    ------
    GraphError
        With all problems at once.

    Attributes
    ----------
    nodes : tuple of Node
        In topological order, stable by definition: the order in which ties are broken.
    index : dict of str to int
    followers : tuple of tuple of Dep
        Per node, whom its settling concerns.
    waits, routes : tuple of int
        Per node, how many sources must settle, and how many routes name it.
    data : tuple of int
        Per node, how many data inputs it has, the workflow's input included.
    stream_of, streams : tuple
        Per node, the map that it streams over, or -1; and per node, those that stream over it.
    fingerprints : dict
        Per node, its code object and the digest that was made of it; kept by `orchkit.runs.fingerprint`.
    """

    def __init__(
        self,
        name: str,
        nodes: Iterable[Node],
        input_type: Any = object,
        output: str | None = None,
        shared: SharedModel | None = None,
        redact: frozenset[str] = frozenset(),
        templates: Iterable[Node] = (),
        place: Place | None = None,
        found: Sequence[Problem] = (),
    ) -> None:
        self.name = name
        self.place = place
        self.templates = {node.name: node for node in templates}
        self.redact = redact
        self.input_type = input_type
        self.output = output
        self.shared = shared
        self.fingerprints: dict[str, tuple[Any, str]] = {}
        given = tuple(nodes)
        order = in_topological_order(given)
        problems = [*found, *_problems(given, output, place)]
        if len(order) < len(given):
            problems += _cycles(given)
        # Without its wrong edges a broken graph is a graph too, and tells what else is wrong with it.
        self.nodes = tuple(in_topological_order(mended(given)) if problems else order)
        self.index = {node.name: i for i, node in enumerate(self.nodes)}
        self._compile()
        live = self.ways.ever_live()
        problems += [_never(node) for i, node in enumerate(self.nodes) if i not in live]
        if problems:
            raise graph_error(name, in_order(problems, given))

    def _compile(self) -> None:
        nodes, index = self.nodes, self.index
        followers: list[list[Dep]] = [[] for _ in nodes]
        self.waits: tuple[int, ...]
        waits, routes, data = [0] * len(nodes), [0] * len(nodes), [0] * len(nodes)
        for j, node in enumerate(nodes):
            required: dict[str, bool] = {}
            for dep in node.deps:
                required[dep.source] = required.get(dep.source, False) or dep.required
            data[j] = len(required)
            required.pop("input", None)
            for source, needed in required.items():
                followers[index[source]].append(Dep(j, True, needed))
            for source in node.after:
                if source not in required:
                    followers[index[source]].append(Dep(j, False, False))
            waits[j] = len(required) + sum(source not in required for source in node.after)
            for target in node.targets:
                routes[index[target]] += 1
        self.followers = tuple(tuple(deps) for deps in followers)
        self.waits, self.routes, self.data = tuple(waits), tuple(routes), tuple(data)
        self.with_input = tuple(any(dep.source == "input" for dep in node.deps) for node in nodes)
        self.targets = tuple(tuple(index[target] for target in node.targets) for node in nodes)
        # A map that streams, and whom it streams from; -1 where it waits for the list.
        self.stream_of = tuple(
            index.get(node.over, -1) if node.stream and node.over is not None else -1 for node in nodes
        )
        streams: list[tuple[int, ...]] = [()] * len(nodes)
        for j, of in enumerate(self.stream_of):
            if of >= 0:
                streams[of] += (j,)
        self.streams = tuple(streams)
        self.bodies = frozenset(i for i, node in enumerate(nodes) if node.body is not None)
        self.undoes = frozenset(i for i, node in enumerate(nodes) if node.undo is not None)

    def descendants(self, nodes: Iterable[int]) -> set[int]:
        """Give what comes after any of these nodes, by data, order or choice, directly or not."""
        found: set[int] = set()
        heads = set(nodes)
        for node in range(len(self.nodes)) if heads else ():
            if node in heads or node in found:
                found.update(dep.target for dep in self.followers[node])
                found.update(self.targets[node])
        return found

    def edges(self) -> Iterator[Edge]:
        """Give every arrow, in order of the nodes; the workflow's input is a source named ``input``."""
        for node in self.nodes:
            seen = dict.fromkeys(dep.source for dep in node.deps)
            for source in seen:
                yield Edge(source, node.name, "data")
            for source in node.after:
                if source not in seen:
                    yield Edge(source, node.name, "after")
            for target in node.targets:
                yield Edge(node.name, target, "route")

    @cached_property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """Per node, the nodes that it waits for: those of its data, and those of ``after=``."""
        return self._into(("data", "after"))

    @cached_property
    def pickers(self) -> tuple[tuple[int, ...], ...]:
        """Per node, the routes that may pick it."""
        return self._into(("route",))

    def _into(self, kinds: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        into: list[list[int]] = [[] for _ in self.nodes]
        for edge in self.edges():
            if edge.kind in kinds and edge.source != "input":
                into[self.index[edge.target]].append(self.index[edge.source])
        return tuple(map(tuple, into))

    @cached_property
    def sinks(self) -> tuple[int, ...]:
        """Nodes that nothing follows: their values are results."""
        sources = {edge.source for edge in self.edges()}
        return tuple(i for i, node in enumerate(self.nodes) if node.name not in sources)

    @cached_property
    def ways(self) -> Ways:
        """What the choices of the routes can lead to."""
        return Ways(self)

    @cached_property
    def alternatives(self) -> bool:
        """Whether no two sinks can both run, so that the one that did is the result."""
        return self.ways.are_alternatives()


def _problems(nodes: Sequence[Node], output: str | None, place: Place | None) -> Iterator[Problem]:
    names = dict.fromkeys(node.name for node in nodes)
    lists = {node.name for node in nodes if node.over is not None}
    if not nodes:
        yield Problem("it has no steps; add one with @wf.step", (place,))
    for node in nodes:
        yield from (Problem(text, (node,)) for text in _misuses(node))
        yield from (Problem(text, (node,)) for text in _misused_streams(node, lists))
        yield from (Problem(text, (node,), word) for word, text in _misnamed(node, names))
    if output is not None and output not in names:
        yield Problem(_unknown("the workflow's output is", output, names), (place,), output)


def _misnamed(node: Node, names: Collection[str]) -> Iterator[tuple[str, str]]:
    for dep in node.deps:
        if dep.source == node.name:
            yield dep.name, f"{node.name!r} asks for its own result"
        elif dep.source != "input" and dep.source not in names:
            fixed = "" if dep.required else f"; if it is a fixed value, write {dep.name}=ok.const({dep.default!r})"
            text = _unknown(f"{node.name!r} has a parameter", dep.source, ["input", *names], RESERVED) + fixed
            yield dep.source, text
    for source in node.after:
        if source == node.name:
            yield source, f"{node.name!r} comes after itself"
        elif source not in names:
            yield source, _unknown(f"{node.name!r} comes after", source, names)
    for target in node.targets:
        if target not in names:
            yield target, _unknown(f"route {node.name!r} leads to", target, names)


def _cycles(nodes: Sequence[Node]) -> Iterator[Problem]:
    by_name = {node.name: node for node in nodes}
    for cycle in cycles(nodes):
        path = " -> ".join(cycle)
        text = f"cycle: {path}; a graph has no way back; repeat inside one step"
        yield Problem(text, tuple(by_name[name] for name in dict.fromkeys(cycle)), cycle[0])


def _never(node: Node) -> Problem:
    return Problem(f"{node.name!r} can never run: no choice of routes leads to it", (node,))


def _misuses(node: Node) -> Iterator[str]:
    if node.name in RESERVED:
        yield f"a node may not be named {node.name!r}: the name has a meaning as a parameter"
    elif node.dynamic:
        return
    elif not node.name.isidentifier() or keyword.iskeyword(node.name):
        yield f"{node.name!r} cannot be a node's name: it must be usable as a parameter name"
    if node.kind == "route" and not node.targets:
        yield f"route {node.name!r} declares no targets; use to=[...]"
    if node.kind == "approval" and node.over is None and "item" in (node.show, *(s for _, s in node.prefill)):
        yield f"{node.name!r} shows 'item', which only an approval with over= has"
    if node.kind != "map" and node.function is not None and node.function.item is not None:
        yield f"{node.name!r} asks for 'item', which only a map has; use @wf.map(over=...)"
    if node.function is not None and node.function.wants_error:
        yield f"{node.name!r} asks for 'error', which only a fallback has"


def _misused_streams(node: Node, lists: Container[str]) -> Iterator[str]:
    if not node.stream:
        return
    if node.over not in lists:
        yield f"{node.name!r} streams over {node.over!r}, which is no map: leave stream=True out, or go over a map"
    if node.function is not None and any(param.source == node.over for param in node.function.params):
        yield f"{node.name!r} streams over {node.over!r} and asks for its whole list too: leave one of them out"


def _unknown(who: str, name: str, names: Iterable[str], special: Iterable[str] = ()) -> str:
    return f"{who} {name!r}, which is no node: {nearest(name, names, most=3, also=sorted(special))}"

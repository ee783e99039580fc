"""The graph: nodes, edges, and all that can be wrong with them, found at once.

A graph is compiled once into plain lists of integers, so that the fold and the plan pay for nothing else.
"""

from __future__ import annotations

import itertools
import keyword
import math
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchkit.errors import GraphError
from orchkit.model.steps import RESERVED, Node
from orchkit.model.wording import nearest

if TYPE_CHECKING:
    from orchkit.model.merging import SharedModel

__all__ = ["Dep", "Edge", "Graph"]

_MAX_COMBINATIONS = 4096


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
    ) -> None:
        self.name = name
        self.templates = {node.name: node for node in templates}
        self.redact = redact
        self.input_type = input_type
        self.output = output
        self.shared = shared
        self.fingerprints: dict[str, tuple[Any, str]] = {}
        given = tuple(nodes)
        problems = list(_problems(given, output))
        order, cycle = _topological(given)
        if cycle:
            problems.append(f"cycle: {' -> '.join(cycle)}; a graph has no way back; repeat inside one step")
        if problems:
            raise _graph_error(name, problems)
        self.nodes = tuple(order)
        self.index = {node.name: i for i, node in enumerate(self.nodes)}
        self._compile()
        never = [node.name for i, node in enumerate(self.nodes) if i not in self._ever_live]
        if never:
            raise _graph_error(name, [f"{node!r} can never run: no choice of routes leads to it" for node in never])

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
        self.bodies = frozenset(i for i, node in enumerate(nodes) if node.body is not None)

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
    def _combinations(self) -> tuple[frozenset[int], ...]:
        # Every way the routes can go, with what then runs if nothing fails; empty when there are too many ways.
        choices = {i: _choices(node, self.targets[i]) for i, node in enumerate(self.nodes) if node.targets}
        if math.prod(map(len, choices.values())) > _MAX_COMBINATIONS:
            return ()
        ways = itertools.product(*choices.values())
        return tuple({self._live(dict(zip(choices, picks, strict=True))) for picks in ways})

    def _live(self, picks: dict[int, tuple[int, ...]]) -> frozenset[int]:
        live: set[int] = set()

        def there(source: str) -> bool:
            return source == "input" or self.index[source] in live

        for j, node in enumerate(self.nodes):
            picked = not self.routes[j] or any(j in picks[i] for i in picks if i in live)
            required = all(there(dep.source) for dep in node.deps if dep.required)
            if picked and required and (not node.deps or any(there(dep.source) for dep in node.deps)):
                live.add(j)
        return frozenset(live)

    @cached_property
    def _ever_live(self) -> frozenset[int]:
        if not self._combinations:
            return frozenset(range(len(self.nodes)))
        return frozenset().union(*self._combinations)

    @cached_property
    def alternatives(self) -> bool:
        """Whether no two sinks can both run, so that the one that did is the result."""
        sinks = set(self.sinks)
        return bool(self._combinations) and all(len(sinks & live) <= 1 for live in self._combinations)


def _choices(node: Node, targets: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Give the ways a route can go: one target if it says that it returns a str, else any of them or all."""
    returns = None if node.function is None else node.function.returns
    one = returns is str or typing.get_origin(returns) is typing.Literal
    return [(target,) for target in targets] + ([] if one else [targets])


def _graph_error(name: str, problems: Sequence[str]) -> GraphError:
    lines = "\n".join(f"  - {problem}" for problem in problems)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return GraphError(f"workflow {name!r} has {count}:\n{lines}", problems=tuple(problems))


def _problems(nodes: Sequence[Node], output: str | None) -> Iterator[str]:
    names = [node.name for node in nodes]
    if not nodes:
        yield "it has no steps; add one with @wf.step"
    for node in nodes:
        yield from _misuses(node)
        for dep in node.deps:
            if dep.source == node.name:
                yield f"{node.name!r} asks for its own result"
            elif dep.source != "input" and dep.source not in names:
                fixed = "" if dep.required else f"; if it is a fixed value, write {dep.name}=ok.const({dep.default!r})"
                yield _unknown(f"{node.name!r} has a parameter", dep.source, ["input", *names], RESERVED) + fixed
        for source in node.after:
            if source == node.name:
                yield f"{node.name!r} comes after itself"
            elif source not in names:
                yield _unknown(f"{node.name!r} comes after", source, names)
        for target in node.targets:
            if target not in names:
                yield _unknown(f"route {node.name!r} leads to", target, names)
    if output is not None and output not in names:
        yield _unknown("the workflow's output is", output, names)


def _misuses(node: Node) -> Iterator[str]:
    if node.name in RESERVED:
        yield f"a node may not be named {node.name!r}: the name has a meaning as a parameter"
    elif node.dynamic:
        return
    elif not node.name.isidentifier() or keyword.iskeyword(node.name):
        yield f"{node.name!r} cannot be a node's name: it must be usable as a parameter name"
    if node.kind == "route" and not node.targets:
        yield f"route {node.name!r} declares no targets; use to=[...]"
    if node.kind != "map" and node.function is not None and node.function.item is not None:
        yield f"{node.name!r} asks for 'item', which only a map has; use @wf.map(over=...)"
    if node.function is not None and node.function.wants_error:
        yield f"{node.name!r} asks for 'error', which only a fallback has"


def _unknown(who: str, name: str, names: Sequence[str], special: Iterable[str] = ()) -> str:
    return f"{who} {name!r}, which is no node: {nearest(name, names, most=3, also=sorted(special))}"


def _topological(nodes: Sequence[Node]) -> tuple[list[Node], list[str]]:
    names = {node.name: node for node in nodes}
    sources: dict[str, set[str]] = {node.name: set() for node in nodes}
    for node in nodes:
        for source in itertools.chain((dep.source for dep in node.deps), node.after):
            if source in names and source != node.name:
                sources[node.name].add(source)
        for target in node.targets:
            if target in names:
                sources[target].add(node.name)
    order: list[Node] = []
    done: set[str] = set()
    rest = list(nodes)
    while rest:
        free = next((node for node in rest if sources[node.name] <= done), None)
        if free is None:
            return list(nodes), _find_cycle(rest[0].name, sources, done)
        order.append(free)
        done.add(free.name)
        rest.remove(free)
    return order, []


def _find_cycle(start: str, sources: dict[str, set[str]], done: set[str]) -> list[str]:
    path = [start]
    while True:
        step = min(sources[path[-1]] - done)
        if step in path:
            return [step, *reversed(path[path.index(step) :])]
        path.append(step)

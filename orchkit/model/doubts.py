"""Doubts: what can run, and may not do what was meant. Users are warned of it once, when they first draw or run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from orchkit.model.graph import Graph
from orchkit.model.joins import lost_when_expired
from orchkit.model.problems import Problem, in_order
from orchkit.model.retries import multiplied
from orchkit.model.writers import asks, fields_of

__all__ = ["doubts"]


def doubts(graph: Graph) -> tuple[Problem, ...]:
    """Give what is doubtful in a graph that can run."""
    lost, asking = lost_when_expired(graph.nodes), _asking_effects(graph)
    found = [*lost, *_races(graph), *_conflicts(graph), *asking, *multiplied(graph)]
    return tuple(in_order(found, graph.nodes))


def _races(graph: Graph) -> Iterator[Problem]:
    """Find nodes that two routes may pick in the same run, so that the faster of them decides."""
    contested = [node for node, pickers in enumerate(graph.pickers) if len(pickers) > 1]
    before = _before(graph) if contested else []
    for node in contested:
        for one, other in combinations(graph.pickers[node], 2):
            ordered = before[one] >> other & 1 or before[other] >> one & 1
            if not ordered and graph.ways.can_all(picks=((one, node), (other, node))):
                target, *routes = (graph.nodes[i] for i in (node, one, other))
                first, second = (route.name for route in routes)
                text = (
                    f"{target.name!r} runs when the first of its routes picks it, and timing decides whether that is "
                    f"{first!r} or {second!r}; let one come after the other: after={first!r}"
                )
                yield Problem(text, (target, *routes), target.name)
                break


def _conflicts(graph: Graph) -> Iterator[Problem]:
    """Find pairs of nodes that write one field, in no order, and without a rule that merges what they write."""
    if graph.shared is None:
        return
    writers: dict[str, list[int]] = {}
    for i, node in enumerate(graph.nodes):
        for name in fields_of(node):
            if name in graph.shared.codecs and name not in graph.shared.rules:
                writers.setdefault(name, []).append(i)
    before = _before(graph) if writers else []
    for name, nodes in writers.items():
        yield from (_conflict(graph, name, node, node) for node in nodes if graph.nodes[node].kind == "map")
        pair = next((pair for pair in _loose(nodes, before) if graph.ways.can_all(live=pair)), None)
        if pair is not None:
            yield _conflict(graph, name, *pair)


def _loose(nodes: Sequence[int], before: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give the pairs of which neither comes before the other."""
    earlier = 0
    for node in nodes:
        if earlier & ~before[node]:
            yield from ((one, node) for one in nodes if one < node and not before[node] >> one & 1)
        earlier |= 1 << node


def _conflict(graph: Graph, name: str, one: int, other: int) -> Problem:
    first, second = graph.nodes[one], graph.nodes[other]
    mend = f"say how the field merges: wf.context(..., merge={{{name!r}: ok.append}})"
    if one == other:
        text = f"the items of map {first.name!r} write {name!r} of the shared context, and nothing orders them; {mend}"
    else:
        text = (
            f"{first.name!r} and {second.name!r} both write {name!r} of the shared context, and neither comes before "
            f"the other; order them by after=, or {mend}"
        )
    return Problem(text, (first, second), name)


def _asking_effects(graph: Graph) -> Iterator[Problem]:
    """Find bodies that act on the world and ask a person: what they did before the question they do again."""
    for node in graph.nodes:
        if node.effect and asks(node):
            text = (
                f"{node.name!r} is an effect and asks a person in the same body, which runs again from its top when "
                "the run is resumed: ask in a wf.approval before it, or let the body call what acts, by ctx.call(...)"
            )
            yield Problem(text, (node,), "ask")


def _before(graph: Graph) -> list[int]:
    """Give what has settled before each node begins, as bits: its sources, what picks it, and what was before those."""
    before: list[int] = []
    for node in range(len(graph.nodes)):
        mask = 0
        for source in (*graph.sources[node], *graph.pickers[node]):
            mask |= before[source] | 1 << source
        before.append(mask)
    return before

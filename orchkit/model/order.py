"""Order: nodes after all that they wait for, the cycles that forbid it, and a broken graph without its wrong edges."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import replace

from orchkit.model.steps import Node

__all__ = ["cycles", "in_topological_order", "mended"]


def in_topological_order(nodes: Sequence[Node]) -> list[Node]:
    """Sort nodes so that each comes after its sources; of those that are free, the one that was defined first.

    Nodes that are on a cycle, or behind one, are left out.
    """
    sources = _sources(nodes)
    followers: list[list[int]] = [[] for _ in nodes]
    for node, before in enumerate(sources):
        for source in before:
            followers[source].append(node)
    missing = [len(before) for before in sources]
    free = [node for node, count in enumerate(missing) if not count]  # sorted, and so a heap
    order = []
    while free:
        node = heapq.heappop(free)
        order.append(nodes[node])
        for follower in followers[node]:
            missing[follower] -= 1
            if not missing[follower]:
                heapq.heappush(free, follower)
    return order


def cycles(nodes: Sequence[Node]) -> list[list[str]]:
    """Give one cycle of each knot of nodes that wait for one another, its first name again at its end."""
    sources = _sources(nodes)
    return [_cycle(nodes, sources, knot) for knot in _knots(nodes, sources)]


def mended(nodes: Sequence[Node]) -> list[Node]:
    """Give nodes without the edges that lead from or to nowhere, or round in a cycle."""
    sources = _sources(nodes)
    knot_of = {nodes[i].name: knot for knot in _knots(nodes, sources) for i in knot}
    index = {node.name: i for i, node in enumerate(nodes)}

    def is_sound(one: str, other: str) -> bool:
        return one in index and one != other and index[one] not in knot_of.get(other, ())

    return [
        replace(
            node,
            deps=tuple(dep for dep in node.deps if dep.source == "input" or is_sound(dep.source, node.name)),
            after=tuple(source for source in node.after if is_sound(source, node.name)),
            targets=tuple(target for target in node.targets if is_sound(target, node.name)),
        )
        for node in nodes
    ]


def _sources(nodes: Sequence[Node]) -> list[set[int]]:
    """Give what each node waits for: by data, by ``after=``, and the routes that name it."""
    index = {node.name: i for i, node in enumerate(nodes)}
    sources: list[set[int]] = [set() for _ in nodes]
    for i, node in enumerate(nodes):
        for source in itertools.chain((dep.source for dep in node.deps), node.after):
            if source in index and source != node.name:
                sources[i].add(index[source])
        for target in node.targets:
            if target in index:
                sources[index[target]].add(i)
    return sources


def _knots(nodes: Sequence[Node], sources: Sequence[set[int]]) -> list[frozenset[int]]:
    """Find the largest sets of nodes that all wait for one another, in the order of their first ones."""
    sound = {node.name for node in in_topological_order(nodes)}
    if len(sound) == len(nodes):
        return []
    followers: list[set[int]] = [set() for _ in nodes]
    for node, before in enumerate(sources):
        for source in before:
            followers[source].add(node)
    # Kosaraju: what is left last on the way back has nobody ahead but its own knot.
    seen: set[int] = set()
    left = [node for root in range(len(nodes)) for node in _search(root, sources, seen)]
    seen = set()
    reached = [_search(root, followers, seen) for root in reversed(left)]
    return sorted(
        (frozenset(knot) for knot in reached if len(knot) > 1 or (knot and knot[0] in sources[knot[0]])), key=min
    )


def _search(root: int, edges: Sequence[set[int]], seen: set[int]) -> list[int]:
    """Go depth first, and list nodes in the order in which they are left; without recursion, for chains are long."""
    if root in seen:
        return []
    seen.add(root)
    path, left = [(root, iter(sorted(edges[root])))], []
    while path:
        node, ahead = path[-1]
        following = next((other for other in ahead if other not in seen), None)
        if following is None:
            left.append(node)
            path.pop()
        else:
            seen.add(following)
            path.append((following, iter(sorted(edges[following]))))
    return left


def _cycle(nodes: Sequence[Node], sources: Sequence[set[int]], knot: frozenset[int]) -> list[str]:
    """Walk back from source to source, inside the knot, until a node comes again."""
    path = [min(knot)]
    while True:
        source = min(sources[path[-1]] & knot)
        if source in path:
            back = [source, *reversed(path[path.index(source) :])]
            return [nodes[i].name for i in back]
        path.append(source)

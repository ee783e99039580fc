"""Counters: what a settled node means for those that wait for it, and what follows when that is taken back.

They follow from where the nodes stand, and are kept one event at a time, so that an event costs what it concerns and
not what the graph holds. After a log of another shape they are worked out anew.
"""

from __future__ import annotations

from bisect import insort
from typing import Any

from orchkit.model.smallest import SmallestFirst
from orchkit.model.standings import DONE, IDLE, OPEN, READY, SKIPPED
from orchkit.model.state import ScopeState

__all__ = ["begin", "count_edges", "recount", "take_back", "tell_followers", "touch", "touch_again"]


def begin(state: ScopeState) -> None:
    """Let a scope go: the plan looks at each node that waits for nobody."""
    state.status = "running"
    for node in range(len(state.graph.nodes)):
        touch(state, node)


def touch(state: ScopeState, node: int) -> None:
    """Let the plan look at a node that may start now, or is to be skipped."""
    if state.standing[node] == IDLE and (
        state.doomed(node)
        or (
            (not state.graph.routes[node] or state.picked[node])
            and (not state.waits[node] or (state.waits[node] == 1 and _can_stream(state, node)))
        )
    ):
        state.standing[node] = READY
        insort(state.ready, node)


def _can_stream(state: ScopeState, node: int) -> bool:
    """Say whether the one that a node still waits for is a map that it streams over, and has delivered something."""
    source = state.graph.stream_of[node]
    return source in state.maps and state.standing[source] == OPEN and state.maps[source].got > 0


def tell_followers(state: ScopeState, node: int, live: bool, value: Any) -> None:
    """Count a settled node for those that wait for it, or that it may pick."""
    for dep in state.graph.followers[node]:
        target = dep.target
        state.waits[target] -= 1
        if live:
            state.live[target] += dep.data
        elif dep.required:
            state.lost[target] += 1
        touch(state, target)
    picks = value if isinstance(value, list) else [value]
    for target in state.graph.targets[node]:
        state.routes[target] -= 1
        if live and state.graph.nodes[target].name in picks:
            state.picked[target] += 1
        touch(state, target)


def take_back(state: ScopeState, node: int) -> None:
    """Undo what `tell_followers` did for a node that is done, and is to settle once more."""
    live, value = state.standing[node] != SKIPPED, state.values[node]
    for dep in state.graph.followers[node]:
        target = dep.target
        state.waits[target] += 1
        if live:
            state.live[target] -= dep.data
        elif dep.required:
            state.lost[target] -= 1
        touch_again(state, target)
    picks = value if isinstance(value, list) else [value]
    for target in state.graph.targets[node]:
        state.routes[target] += 1
        if live and state.graph.nodes[target].name in picks:
            state.picked[target] -= 1
        touch_again(state, target)


def touch_again(state: ScopeState, node: int) -> None:
    """Let the plan look at a node that has not begun, or not any more."""
    if state.standing[node] == READY:
        state.standing[node] = IDLE
        if node in state.ready or not state.lenient:
            state.ready.remove(node)
    touch(state, node)


def recount(state: ScopeState) -> None:
    """Work out all counters from where the nodes stand."""
    state.ready.clear()
    state.left = sum(standing in (IDLE, READY, OPEN) for standing in state.standing)
    for node, standing in enumerate(state.standing):
        if standing == READY:
            state.standing[node] = IDLE
    count_edges(state)
    _count_items(state)
    for node in range(len(state.standing)):
        touch(state, node)


def count_edges(state: ScopeState) -> None:
    """Work out what the nodes know of those before them."""
    graph = state.graph
    state.waits, state.routes = list(graph.waits), list(graph.routes)
    state.live = [int(with_input) for with_input in graph.with_input]
    state.picked, state.lost = [0] * len(graph.nodes), [0] * len(graph.nodes)
    for node, standing in enumerate(list(state.standing)):
        if standing in DONE:
            tell_followers(state, node, standing != SKIPPED, state.values[node])


def _count_items(state: ScopeState) -> None:
    for progress in state.maps.values():
        progress.running = 0
        progress.going = SmallestFirst()
    for node, item in state.open:
        if item >= 0 and node in state.maps:
            progress = state.maps[node]
            progress.running += 1
            if progress.needed is not None:
                progress.going.put(item, "")
    for node, progress in state.maps.items():
        to_start = progress.again or progress.next < progress.size
        if state.standing[node] == OPEN and (to_start or progress.over):
            insort(state.ready, node)

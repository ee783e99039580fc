"""Streams: a map over a map whose items begin one by one, as its source delivers them.

An item that a stream has used is not taken back: when its source starts again, the whole streaming map does. That
costs more than it must, and leaves nothing that was made of an old value.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

from orchkit.model.counters import touch, touch_again
from orchkit.model.instances import STREAMED
from orchkit.model.standings import FAILED, OPEN
from orchkit.model.state import ScopeState

__all__ = ["below", "end_streams", "feed", "take_from_streams"]


def feed(state: ScopeState, source: int, item: int) -> None:
    """Let the streams of a map begin with an item that has delivered."""
    for node in state.graph.streams[source]:
        progress = state.maps.get(node)
        if progress is None:
            touch(state, node)
        elif progress.fed is not None and not progress.whole and item not in progress.fed:
            progress.grow(item + 1)
            progress.fed[item] = state.maps[source].values[item]
            progress.again.put(item, STREAMED)
            _look_at(state, node)


def end_streams(state: ScopeState, source: int, live: bool) -> None:
    """Tell the streams of a map that it delivers no more, or that it is skipped after all."""
    for node in state.graph.streams[source]:
        progress = state.maps.get(node)
        if progress is None or progress.fed is None or progress.whole:
            continue
        if live:
            progress.end_stream()
            if progress.over:
                _look_at(state, node)
        elif not state.keeps(node):
            _mark(state, node)


def take_from_streams(state: ScopeState, source: int, item: int, settled: bool) -> None:
    """Have the streams start again that have used an item (-1: any) of a map which starts again itself.

    One that has settled is judged like whatever else has used the list, once there is a new one.
    """
    for node in state.graph.streams[source]:
        progress = state.maps.get(node)
        if progress is None:
            touch_again(state, node)
        elif state.standing[node] != FAILED and not state.keeps(node):
            used = progress.fed is None or (bool(progress.fed) if item < 0 else item in progress.fed)
            if state.standing[node] == OPEN if settled else used:
                _mark(state, node)


def below(state: ScopeState) -> set[int]:
    """Give what comes after something that is about to start again, as far as it may have used its result."""
    heads = {node for node, _ in state.stale if not _unused(state, node)} | state.before.keys()
    return state.graph.descendants(heads)


def _unused(state: ScopeState, node: int) -> bool:
    # Of a map that never settled only streams have seen anything, and only what was fed to them.
    streams = state.graph.streams[node]
    if not streams or node in state.before or state.standing[node] not in (OPEN, FAILED):
        return False
    items = [item for one, item in state.stale if one == node]
    return all(_has_none_of(state, stream, items) for stream in streams)


def _has_none_of(state: ScopeState, stream: int, items: Iterable[int]) -> bool:
    progress = state.maps.get(stream)
    if progress is None:
        return True
    return progress.fed is not None and all(item >= 0 and item not in progress.fed for item in items)


def _look_at(state: ScopeState, node: int) -> None:
    if state.standing[node] == OPEN and node not in state.ready:
        insort(state.ready, node)


def _mark(state: ScopeState, node: int) -> None:
    if (node, -1) not in state.stale:
        state.stale.put((node, -1), "stale")

"""Generations: what a fresh start of an instance takes with it, folded from ``invalidated`` and ``resumed``.

A node that settles again with the same value leaves all that follows as it is; with another, what has used the old
one becomes stale, and the plan asks for its invalidation before anything else. So a log that is cut anywhere in
between goes on by itself. An invalidation costs what it concerns: a map of which every item starts again has one each.
"""

from __future__ import annotations

from bisect import insort
from typing import Any, Final

import msgspec

from orchkit.model.counters import count_edges, take_back, touch
from orchkit.model.events import Event
from orchkit.model.standings import COMPLETED, DEGRADED, DONE, FAILED, IDLE, OPEN, SKIPPED
from orchkit.model.state import ScopeState
from orchkit.model.streams import below, take_from_streams

__all__ = ["DECIDING", "compare", "invalidated", "reopen", "resumed"]

DECIDING: Final = frozenset({"override", "skip"})
"""Why an instance is invalidated that is not to begin again: somebody has decided what it comes to."""

_BEGUN: Final = DONE | {OPEN, FAILED}


def invalidated(state: ScopeState, event: Event) -> None:
    """Open the next generation of a node, or of an item of a map."""
    node = state.node(event.node)
    if event.item < 0:
        _node_again(state, node, event)
    else:
        _item_again(state, node, event)
    if event.status in DECIDING:
        state.decided[node, event.item] = event
    if not state.stale:
        state.replaced.clear()


def _node_again(state: ScopeState, node: int, event: Event) -> None:
    for key in state.keys_of(node):
        state.stale.drop(key)
        state.open.pop(key, None)
        _forget_plans(state, key, event)
    state.generations[node] = {-1: event.generation, -2: event.generation}
    settled = state.standing[node] in DONE or node in state.before
    state.maps.pop(node, None)
    if node in state.ready:
        state.ready.remove(node)
    _unsettle(state, node, IDLE)
    if state.graph.streams[node]:
        take_from_streams(state, node, -1, settled)
    touch(state, node)
    if state.failing is not None and state.failing[0] == node:
        state.failing = None


def _forget_plans(state: ScopeState, key: tuple[int, int], event: Event) -> None:
    state.decided.pop(key, None)
    if event.status not in ("inside", "failed", "cancelled"):
        state.onward.pop(key, None)


def _item_again(state: ScopeState, node: int, event: Event) -> None:
    item, given = event.item, state.generations.setdefault(node, {})
    given[item] = given[-1] = event.generation
    state.stale.drop((node, item))
    if state.failing == (node, item):
        state.failing = None
    progress = state.maps[node]
    _forget_plans(state, (node, item), event)
    if state.open.pop((node, item), None) is not None:
        progress.running -= 1
        progress.going.drop(item)
    elif progress.has_begun(item) and item not in progress.failed and item not in progress.again:
        progress.done -= 1
        progress.got -= progress.has_delivered(item)
    while progress.next <= item:  # it has not begun, and somebody has decided what it comes to
        progress.again.put(progress.next, "")
        progress.next += 1
    progress.values[item] = None
    for items in (progress.skipped, progress.degraded, progress.failed, progress.spared):
        items.discard(item)
    progress.lost.pop(item, None)
    progress.again.put(item, event.status)
    settled = state.standing[node] in DONE or node in state.before
    if state.shared is not None and state.standing[node] not in DONE:
        state.shared.drop(node, item)  # of a node that was done, its readers still see it
    _unsettle(state, node, OPEN)
    if node not in state.ready:
        insort(state.ready, node)
    if not progress.met:
        for other in progress.spared:  # what was given up is needed after all
            if (node, other) not in state.stale:
                state.stale.put((node, other), "stale")
    if state.graph.streams[node]:
        take_from_streams(state, node, item, settled)


def _unsettle(state: ScopeState, node: int, standing: int) -> None:
    if state.standing[node] in DONE:
        # What its followers have seen; of a node that has settled and failed since, still that.
        state.before.setdefault(node, (state.standing[node] != SKIPPED, state.values[node]))
        if state.shared is not None:
            state.shared.remember(node)
        if not state.lenient:
            take_back(state, node)
    if state.standing[node] >= COMPLETED:
        state.left += 1
    state.standing[node] = standing  # its value stays for those who are at work with it, until there is another
    state.errors.discard(node)
    state.fixed.discard(node)


def compare(state: ScopeState, node: int) -> None:
    """Mark what has used an invalidated node's result, where the new one differs; else all stays as it is."""
    if state.lenient:
        count_edges(state)
    live, value = state.before.pop(node)
    if live != (state.standing[node] != SKIPPED) or not _equal(value, state.values[node]):
        for dep in state.graph.followers[node]:
            if dep.data and _has_begun(state, dep.target):
                _mark(state, dep.target)
    for target in state.graph.targets[node]:
        if _is_misplaced(state, target):
            _mark(state, target)
    if state.shared is not None and state.shared.has_changed(node):
        _tell_readers(state, node)
    if state.stale:
        state.replaced[node] = live, value


def _mark(state: ScopeState, node: int) -> None:
    if (node, -1) not in state.stale:
        state.stale.put((node, -1), "stale")


def _tell_readers(state: ScopeState, node: int) -> None:
    # What a node wrote to the shared context reaches all that comes after it, by whatever edge.
    for reader in sorted(state.graph.descendants({node})):
        spec, standing = state.graph.nodes[reader], state.standing[reader]
        sees = spec.function is not None and (spec.function.wants_ctx or spec.policy("fallback") is not None)
        if sees and standing in (OPEN, COMPLETED, DEGRADED) and not state.keeps(reader):
            _mark(state, reader)


def _equal(one: Any, other: Any) -> bool:
    # As JSON: for Python True, 1 and 1.0 are equal.
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


def _has_begun(state: ScopeState, node: int) -> bool:
    """Say whether a node has used its inputs, and would now do otherwise."""
    standing = state.standing[node]
    if standing not in _BEGUN or standing == FAILED or state.keeps(node):
        return False
    return standing != SKIPPED or node in state.errors or not state.doomed(node)


def _is_misplaced(state: ScopeState, node: int) -> bool:
    """Say whether a node runs or ran that is not to run, or was skipped and is to run."""
    standing = state.standing[node]
    if standing not in _BEGUN or standing == FAILED or node in state.errors or state.keeps(node):
        return False
    if standing == SKIPPED:
        return not state.doomed(node)
    return bool(state.graph.routes[node]) and not state.picked[node]


def resumed(state: ScopeState, event: Event) -> None:
    """Open a run again that has ended badly, or goes on with another workflow; else it is only a mark."""
    news = event.body or {}
    if "repeat" in news:
        state.repeats.update(state.graph.index[name] for name in news["repeat"] if name in state.graph.index)
    if state.status not in ("failed", "cancelled") and "fingerprints" not in news:
        return
    _open_again(state)
    state.withheld = state.withheld or bool(news.get("withhold"))
    for name in news.get("rerun", ()):
        node = state.graph.index.get(name)
        if node is not None and state.standing[node] in _BEGUN:
            state.stale.put((node, -1), "changed")
    if not state.lenient:
        _mark_below(state)


def reopen(state: ScopeState) -> None:
    """Let a scope that is over go on: what failed or was open becomes stale, and the rest stays."""
    _open_again(state)
    for key in state.open.keys() - state.decided.keys() - state.stale.keys():
        state.stale.put(key, "cancelled")  # a wait or a question, which leave no record when they are cancelled
    _mark_below(state)


def _open_again(state: ScopeState) -> None:
    failed = state.failing is None and state.status == "failed"
    if state.failing is not None:
        for key in _failed_of(state, *state.failing):
            state.stale.put(key, "failed")
    elif failed:
        # What was skipped because it failed left no sink.
        skipped = [(node, item) for node, progress in state.maps.items() for item in progress.skipped]
        for key in [*(key for node in state.errors for key in _failed_of(state, node)), *skipped]:
            state.stale.put(key, "failed")
    for key, opened in state.open.items():
        if opened.events[-1].kind == "cancelled":
            state.stale.put(key, "cancelled")
    state.status, state.result = "running", None
    state.failing, state.cancelling = None, False
    if state.overdue:
        state.overdue, state.deadline = "", None  # whoever goes on with it knows that it is late


def _failed_of(state: ScopeState, node: int, item: int = -1) -> list[tuple[int, int]]:
    """Give what starts again of a node that has failed: of a map that missed its quorum, what did not deliver."""
    progress = state.maps.get(node) if item < 0 else None
    if progress is None or not progress.missed or not (progress.lost or progress.spared):
        return [(node, item)]
    return [(node, one) for one in sorted([*progress.lost, *progress.spared])]


def _mark_below(state: ScopeState) -> None:
    # Where all that a node comes after is settled it is certain whether it stands where it should; the rest is seen
    # when that settles.
    for node in range(len(state.graph.nodes)):
        known = not state.waits[node] and not state.routes[node] and (node, -1) not in state.stale
        if known and _is_misplaced(state, node):
            _mark(state, node)
    # What is open below would go on with an input that is about to change, and start again then.
    under = below(state)
    for node, _ in list(state.open):
        if node in under and not state.keeps(node):
            _mark(state, node)

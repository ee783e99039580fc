"""Generations: what a fresh start of an instance takes with it, folded from ``invalidated`` and ``resumed``.

These are rare, so they work out anew what the hot path of the fold counts event by event. A node that settles again
with the same value leaves all that follows as it is; with another, what has used the old one becomes stale, and the
plan asks for its invalidation before anything else. So a log that is cut anywhere in between goes on by itself.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchkit.model.events import Event
from orchkit.model.standings import COMPLETED, DEGRADED, FAILED, IDLE, OPEN, READY, SKIPPED

if TYPE_CHECKING:
    from orchkit.model.state import RunState

__all__ = ["compare", "invalidated", "recount", "resumed", "tell_followers"]

_BEGUN: Final = frozenset({OPEN, COMPLETED, DEGRADED, FAILED, SKIPPED})
_DONE: Final = frozenset({COMPLETED, DEGRADED, SKIPPED})


def tell_followers(state: RunState, node: int, live: bool, value: Any) -> None:
    """Count a settled node for those that wait for it, or that it may pick."""
    for dep in state.graph.followers[node]:
        target = dep.target
        state.waits[target] -= 1
        if live:
            state.live[target] += dep.data
        elif dep.required:
            state.lost[target] = True
        state._touch(target)
    picks = value if isinstance(value, list) else [value]
    for target in state.graph.targets[node]:
        state.routes[target] -= 1
        if live and state.graph.nodes[target].name in picks:
            state.picked[target] = True
        state._touch(target)


def invalidated(state: RunState, event: Event) -> None:
    """Open the next generation of a node, or of an item of a map."""
    node = state.graph.index[event.node]
    if event.item < 0:
        _node_again(state, node, event.generation)
    else:
        _item_again(state, node, event.item, event.generation)
    if not state.stale:
        state.replaced.clear()
    recount(state)


def _node_again(state: RunState, node: int, generation: int) -> None:
    for items in (state.generations, state.stale, state.open):
        for key in [key for key in items if key[0] == node]:
            del items[key]
    state.generations[node, -1] = state.generations[node, -2] = generation
    state.maps.pop(node, None)
    _unsettle(state, node, IDLE)
    if state.failing is not None and state.failing[0] == node:
        state.failing = None


def _item_again(state: RunState, node: int, item: int, generation: int) -> None:
    state.generations[node, item] = state.generations[node, -1] = generation
    state.stale.pop((node, item), None)
    if state.failing == (node, item):
        state.failing = None
    progress = state.maps[node]
    if state.open.pop((node, item), None) is None and item not in progress.failed and item not in progress.again:
        progress.done -= 1
    progress.values[item] = None
    for items in (progress.skipped, progress.degraded, progress.failed):
        items.discard(item)
    if item not in progress.again:
        insort(progress.again, item)
    if state.shared is not None and state.standing[node] not in _DONE:
        state.shared.drop(node, lambda one: one == item)  # of a node that was done, its readers still see it
    _unsettle(state, node, OPEN)


def _unsettle(state: RunState, node: int, standing: int) -> None:
    if state.standing[node] in _DONE:
        # What its followers have seen; of a node that has settled and failed since, still that.
        state.before.setdefault(node, (state.standing[node] != SKIPPED, state.values[node]))
        if state.shared is not None:
            state.shared.remember(node)
    state.standing[node] = standing  # its value stays for those who are at work with it, until there is another
    state.errors.discard(node)
    state.fixed.discard(node)


def recount(state: RunState) -> None:
    """Work out the counters from the standings; the hot path keeps them one event at a time."""
    graph = state.graph
    state.waits, state.routes = list(graph.waits), list(graph.routes)
    state.live = [int(with_input) for with_input in graph.with_input]
    state.picked, state.lost = [False] * len(graph.nodes), [False] * len(graph.nodes)
    state.ready.clear()
    state.left = sum(standing in (IDLE, READY, OPEN) for standing in state.standing)
    for node, standing in enumerate(state.standing):
        if standing == READY:
            state.standing[node] = IDLE
    for node, standing in enumerate(list(state.standing)):
        if standing in _DONE:
            tell_followers(state, node, standing != SKIPPED, state.values[node])
    for node, progress in state.maps.items():
        progress.running = sum(key[0] == node and key[1] >= 0 for key in state.open)
        to_start = progress.again or progress.next < progress.size
        if state.standing[node] == OPEN and (to_start or progress.done == progress.size):
            insort(state.ready, node)
    for node in range(len(graph.nodes)):
        state._touch(node)
    state.degraded = (
        DEGRADED in state.standing or bool(state.errors) or any(progress.skipped for progress in state.maps.values())
    )


def compare(state: RunState, node: int) -> None:
    """Mark what has used an invalidated node's result, where the new one differs; else all stays as it is."""
    if state.lenient:
        recount(state)
    live, value = state.before.pop(node)
    if live != (state.standing[node] != SKIPPED) or not _equal(value, state.values[node]):
        for dep in state.graph.followers[node]:
            if dep.data and _has_begun(state, dep.target):
                state.stale.setdefault((dep.target, -1), "stale")
    for target in state.graph.targets[node]:
        if _is_misplaced(state, target):
            state.stale.setdefault((target, -1), "stale")
    if state.shared is not None and state.shared.has_changed(node):
        _tell_readers(state, node)
    if state.stale:
        state.replaced[node] = live, value


def _tell_readers(state: RunState, node: int) -> None:
    # What a node wrote to the shared context reaches all that comes after it, by whatever edge.
    for reader in sorted(state.graph.descendants({node})):
        spec, standing = state.graph.nodes[reader], state.standing[reader]
        sees = spec.function is not None and (spec.function.wants_ctx or spec.policy("fallback") is not None)
        if sees and standing in (OPEN, COMPLETED, DEGRADED) and not state.keeps(reader):
            state.stale.setdefault((reader, -1), "stale")


def _equal(one: Any, other: Any) -> bool:
    # As JSON: for Python True, 1 and 1.0 are equal.
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


def _has_begun(state: RunState, node: int) -> bool:
    """Say whether a node has used its inputs, and would now do otherwise."""
    standing = state.standing[node]
    if standing not in _BEGUN or standing == FAILED or state.keeps(node):
        return False
    return standing != SKIPPED or node in state.errors or not state.doomed(node)


def _is_misplaced(state: RunState, node: int) -> bool:
    """Say whether a node runs or ran that is not to run, or was skipped and is to run."""
    standing = state.standing[node]
    if standing not in _BEGUN or standing == FAILED or node in state.errors or state.keeps(node):
        return False
    if standing == SKIPPED:
        return not state.doomed(node)
    return bool(state.graph.routes[node]) and not state.picked[node]


def resumed(state: RunState, event: Event) -> None:
    """Open a run again that has ended badly, or goes on with another workflow; else it is only a mark."""
    news = event.body or {}
    if "repeat" in news:
        state.repeats.update(state.graph.index[name] for name in news["repeat"] if name in state.graph.index)
    if state.status not in ("failed", "cancelled") and "fingerprints" not in news:
        return
    _reopen(state)
    state.withheld = state.withheld or bool(news.get("withhold"))
    for name in news.get("rerun", ()):
        node = state.graph.index.get(name)
        if node is not None and state.standing[node] in _BEGUN:
            state.stale[node, -1] = "changed"
    if not state.lenient:
        _mark_below(state)


def _reopen(state: RunState) -> None:
    failed = state.failing is None and state.status == "failed"
    if state.failing is not None:
        state.stale[state.failing] = "failed"
    elif failed:
        # What was skipped because it failed left no sink.
        state.stale.update(dict.fromkeys(((node, -1) for node in sorted(state.errors)), "failed"))
        for node, progress in sorted(state.maps.items()):
            state.stale.update(dict.fromkeys(((node, item) for item in sorted(progress.skipped)), "failed"))
    for key, opened in state.open.items():
        if opened.events[-1].kind == "cancelled":
            state.stale[key] = "cancelled"
    state.status, state.result = "running", None
    state.failing, state.cancelling = None, False


def _mark_below(state: RunState) -> None:
    # Where all that a node comes after is settled it is certain whether it stands where it should; the rest is seen
    # when that settles.
    for node in range(len(state.graph.nodes)):
        known = not state.waits[node] and not state.routes[node] and (node, -1) not in state.stale
        if known and _is_misplaced(state, node):
            state.stale[node, -1] = "stale"
    # What is open below would go on with an input that is about to change, and start again then.
    below = state.graph.descendants({node for node, _ in state.stale} | state.before.keys())
    for node, _ in list(state.open):
        if node in below and not state.keeps(node):
            state.stale.setdefault((node, -1), "stale")

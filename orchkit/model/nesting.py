"""Scopes within a run: when a node's attempt opens one, what it begins with, and when it is over.

All that follows from the node's own events: ``started`` opens the first scope of an attempt, a ``judged`` that says
"again" the next round of a loop, and the attempt's end closes what it has opened. What happens inside changes nothing
outside before that end is recorded.
"""

from __future__ import annotations

from typing import Any, Final, Optional, Union

from orchkit.model.codec import ANY
from orchkit.model.counters import begin
from orchkit.model.events import ATTEMPT_ENDS, Event
from orchkit.model.generations import reopen
from orchkit.model.graph import Graph
from orchkit.model.items import ItemFailed
from orchkit.model.paths import attempt_of, segment_of
from orchkit.model.shared import SharedState
from orchkit.model.standings import IDLE, READY
from orchkit.model.state import RunState, ScopeState, result_of
from orchkit.model.steps import Node

__all__ = [
    "AGAIN",
    "NESTING",
    "adopt",
    "drop_children",
    "drop_scopes",
    "element_type",
    "go_back_into",
    "inner_input",
    "intervened",
    "nest",
    "paused",
    "prefix_of",
    "result_type",
    "told",
]

AGAIN: Final = "again"
"""The status of a ``judged`` after which another round of a loop begins."""

NESTING: Final = ATTEMPT_ENDS | {"called", "invalidated", "judged", "started"}
"""Kinds of events that may open, close or drop a scope."""


def prefix_of(scope: ScopeState, event: Event, round: int = 0) -> str:
    """Give the prefix of the scope that an attempt opens; any event of the attempt says which it is."""
    name = scope.graph.nodes[scope.node(event.node)].name
    return scope.prefix + segment_of(name, event.item, event.leg, event.attempt, round)


def inner_input(scope: ScopeState, node: int, item: int) -> Any:
    """Give what a node hands to the workflow that it holds, in the first round of a loop."""
    spec = scope.graph.nodes[node]
    if spec.over is not None:
        return scope.item_value(node, item)
    if len(spec.feeds) == 1 and not spec.feeds[0][0]:
        return scope.value(spec.feeds[0][1])
    return {field: scope.value(source) for field, source in spec.feeds}


def result_type(graph: Graph) -> Any:
    """Give the annotation of what a graph delivers, as far as one node decides it."""
    one = graph.index[graph.output] if graph.output is not None else graph.sinks[0] if len(graph.sinks) == 1 else None
    if one is None:
        return ANY
    spec = graph.nodes[one]
    many: Any = list
    delivered = element_type(spec)
    if spec.over is None:
        return delivered
    return list if delivered is ANY else many[delivered]


def element_type(spec: Node) -> Any:
    """Give the annotation of what a node delivers, of a map or an approval for each item that of one item."""
    if spec.body is not None:
        delivered = result_type(spec.body)
    elif spec.function is None:
        return spec.answer if spec.timeout is None else Optional[spec.answer]  # noqa: UP045 - an answer may be text
    else:
        delivered = spec.function.returns
    if spec.on_error != "collect" or delivered is ANY:
        return delivered
    return Union[delivered, ItemFailed]  # noqa: UP007 - as above


def nest(run: RunState, scope: ScopeState, event: Event) -> None:
    """Open or close what an event of a node that may hold a workflow opens or closes."""
    node = scope.node(event.node)
    spec = scope.graph.nodes[node]
    if spec.body is None:
        return
    if event.kind == "invalidated":
        if event.status not in ("failed", "cancelled", "inside"):
            drop_scopes(run, scope, node, event.item)
    elif event.node != scope.prefix + spec.name:
        return  # a fallback's
    elif event.kind == "started":
        _open(run, scope, event, int(spec.kind == "loop"), inner_input(scope, node, event.item))
    elif event.kind == "judged":
        _next_round(run, scope, event)
    else:
        _close(run, scope, event)


def _next_round(run: RunState, scope: ScopeState, event: Event) -> None:
    round: int = event.body["round"]
    before = run.scopes[prefix_of(scope, event, round)]
    before.status = "completed"
    if event.status == AGAIN:
        _open(run, scope, event, round + 1, result_of(before), before)
    else:
        _drop_later(run, scope, event, round + 1)


def _drop_later(run: RunState, scope: ScopeState, event: Event, round: int) -> None:
    # Somebody has stepped into an earlier round, and it needs fewer of them now.
    prefixes = scope.nested[scope.node(event.node), event.item]
    while (prefix := prefix_of(scope, event, round)) in prefixes:
        prefixes.remove(prefix)
        _drop(run, prefix)
        round += 1


def _open(
    run: RunState, scope: ScopeState, event: Event, round: int, value: Any, before: ScopeState | None = None
) -> None:
    node = scope.node(event.node)
    prefix = prefix_of(scope, event, round)
    there = run.scopes.get(prefix)
    prefixes = scope.nested.setdefault((node, event.item), [])
    if prefix in prefixes:
        prefixes.remove(prefix)
    prefixes.append(prefix)  # the latest comes last
    if there is not None and there.input == value:
        if there.status != "running":
            reopen(there)  # it had failed, was cancelled or stepped into: what is done in it stays done
        return
    if there is not None:
        _drop(run, prefix)
    body = scope.graph.nodes[node].body
    assert body is not None
    inner = run.scopes[prefix] = ScopeState(body, prefix, run.spent.get(prefix, 0) + 1)
    inner.input = value
    inner.owner = node, event.item
    inner.withheld, inner.paused = scope.withheld, scope.paused
    inner.lenient = scope.lenient
    if inner.shared is None and scope.shared is not None:
        inner.shared = SharedState(body, scope.shared.model)
    if inner.shared is not None and scope.shared is not None and body.shared is None:
        if before is None:
            inner.shared.onto = scope.shared.seen_by((node, event.item))
            inner.shared.told = scope.shared.told_since((node, event.item))
        else:
            assert before.shared is not None
            inner.shared.onto = before.shared.whole()
    begin(inner)


def _close(run: RunState, scope: ScopeState, event: Event) -> None:
    own = prefix_of(scope, event)[:-1]
    for prefix in scope.nested.get((scope.node(event.node), event.item), ()):
        inner = run.scopes[prefix]
        if not prefix.startswith((f"{own}/", f"{own}#")):
            continue  # another attempt's, or another leg's
        if inner.status == "running":
            inner.status = event.kind
        if inner.effected:
            scope.effected.add(scope.node(event.node))
        if inner.shared is not None and inner.shared.has_heard and inner.shared.model is _model_of(scope):
            assert scope.shared is not None
            scope.shared.look((scope.node(event.node), event.item))


def _model_of(scope: ScopeState) -> Any:
    return None if scope.shared is None else scope.shared.model


def intervened(run: RunState, scope: ScopeState, event: Event) -> None:
    """Note what an ``invalidated`` means beyond its own scope: for who has opened that, and for an effect's key."""
    if event.key:
        name, _, time = event.key.rpartition("#")
        run.rekeyed[name] = int(time)
    if scope is run or scope.status == "running":
        return
    if scope.failing is None and scope.status == "failed":
        scope.status = "cancelled"  # what had failed it is to begin again, and nothing else
    go_back_into(run, scope)


def go_back_into(run: RunState, scope: ScopeState) -> None:
    """Let what had opened a scope that is over begin again, and go on with it: something in it is another."""
    outer, (node, item) = run.outer_of(scope), scope.owner
    outer.onward[node, item] = attempt_of(scope.prefix)
    progress = outer.maps.get(node)
    waits = outer.standing[node] in (IDLE, READY) if item < 0 else progress is not None and item in progress.again
    if not waits:
        outer.stale.put((node, item), "inside")
    if outer is not run and outer.status != "running":
        go_back_into(run, outer)


def paused(run: RunState, is_so: bool) -> None:
    """Let nothing new start in any scope, or let it start again."""
    for scope in run.all_scopes():
        scope.paused = is_so


def told(run: RunState, changes: dict[str, Any]) -> None:
    """Let what begins from now on see what an operator has written to the shared context."""
    if run.shared is None:
        return
    for scope in run.all_scopes():
        if scope.shared is not None and scope.shared.model is run.shared.model:
            scope.shared.tell(changes)


def drop_scopes(run: RunState, scope: ScopeState, node: int, item: int = -1) -> None:
    """Forget what a node (item -1: all of it) has opened: its next generation begins anew."""
    for key in [key for key in scope.nested if key[0] == node and item in (-1, key[1])]:
        for prefix in scope.nested.pop(key):
            _drop(run, prefix)


def _drop(run: RunState, prefix: str) -> None:
    inner = run.scopes.pop(prefix, None)
    if inner is None:
        return
    run.spent[prefix] = max(run.spent.get(prefix, 0), inner.highest)
    for key in [key for key in run.undoable if key[0] == prefix]:
        del run.undoable[key]  # it is done again under the same key
    for prefixes in inner.nested.values():
        for deeper in prefixes:
            _drop(run, deeper)


def drop_children(run: RunState, event: Event) -> None:
    """Forget what the bodies of an invalidated node have called; what they have asked a person stays answered."""
    for key, child in list(run.children.items()):
        by = child.called
        if by.node == event.node and event.item in (-1, by.item) and by.status != "ask":
            del run.children[key]
            for scope in [scope for scope in run.scopes if scope == key or scope.startswith(f"{key}/")]:
                _drop(run, scope)
            given = max((one.generation for one in child.events), default=0)
            run.spent[key] = max(run.spent.get(key, 0), given)


def adopt(run: RunState, key: str, prefix: str, graph: Graph, value: Any, shared: SharedState | None) -> ScopeState:
    """Make a scope of what a body calls; what the log has of it, if it was called before, is left to be applied."""
    inner = run.scopes[key] = ScopeState(graph, prefix, run.spent.get(key, 0) + 1)
    inner.id = key
    inner.input = value
    inner.withheld = run.withheld
    inner.shared = inner.shared or shared
    begin(inner)
    return inner

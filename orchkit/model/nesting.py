"""Scopes within a run: when a node's attempt opens one, what it begins with, and when it is over.

All that follows from the node's own events: ``started`` opens the first scope of an attempt, a ``judged`` that says
"again" the next round of a loop, and the attempt's end closes what it has opened. What happens inside changes nothing
outside before that end is recorded.
"""

from __future__ import annotations

from typing import Any, Final, Optional

from orchkit.model.codec import ANY
from orchkit.model.counters import begin
from orchkit.model.events import ATTEMPT_ENDS, Event
from orchkit.model.generations import reopen
from orchkit.model.graph import Graph
from orchkit.model.paths import segment_of
from orchkit.model.shared import SharedState
from orchkit.model.state import RunState, ScopeState, result_of

__all__ = [
    "AGAIN",
    "NESTING",
    "adopt",
    "drop_children",
    "drop_scopes",
    "inner_input",
    "nest",
    "prefix_of",
    "result_type",
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
    if spec.kind == "map":
        assert spec.over is not None
        return scope.value(spec.over)[item]
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
    if spec.body is not None:
        delivered = result_type(spec.body)
    elif spec.function is None:
        return spec.answer if spec.timeout is None else Optional[spec.answer]  # noqa: UP045 - an answer may be text
    else:
        delivered = spec.function.returns
    return many[delivered] if spec.kind == "map" else delivered


def nest(run: RunState, scope: ScopeState, event: Event) -> None:
    """Open or close what an event of a node that may hold a workflow opens or closes."""
    node = scope.node(event.node)
    spec = scope.graph.nodes[node]
    if spec.body is None:
        return
    if event.kind == "invalidated":
        if event.status not in ("failed", "cancelled"):
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


def _open(
    run: RunState, scope: ScopeState, event: Event, round: int, value: Any, before: ScopeState | None = None
) -> None:
    node = scope.node(event.node)
    prefix = prefix_of(scope, event, round)
    there = run.scopes.get(prefix)
    if there is not None and there.input == value:
        if there.status != "running":
            reopen(there)  # it had failed, or was cancelled: what is done in it stays done
        return
    if there is not None:
        _drop(run, prefix)
    body = scope.graph.nodes[node].body
    assert body is not None
    inner = run.scopes[prefix] = ScopeState(body, prefix, run.spent.get(prefix, 0) + 1)
    inner.input = value
    inner.withheld = scope.withheld
    inner.lenient = scope.lenient
    if inner.shared is None and scope.shared is not None:
        inner.shared = SharedState(body, scope.shared.model)
    if inner.shared is not None and scope.shared is not None and body.shared is None:
        onto = scope.shared.values(scope.shared.begun[node]) if before is None else _after(before)
        inner.shared.onto = onto
    prefixes = scope.nested.setdefault((node, event.item), [])
    if prefix not in prefixes:
        prefixes.append(prefix)
    begin(inner)


def _after(scope: ScopeState) -> dict[str, Any]:
    assert scope.shared is not None
    return scope.shared.values(scope.shared.everyone)


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

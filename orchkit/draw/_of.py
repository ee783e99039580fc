"""From a graph and its state to the picture that is drawn; a recorded run and a live one are drawn alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from orchkit.draw._picture import Arrow, Picture, Shape
from orchkit.model.events import Event
from orchkit.model.fold import fold
from orchkit.model.graph import Edge, Graph
from orchkit.model.paths import has_node, node_of, split_path
from orchkit.model.policies import Budget, Bulkhead, Policy, option_name
from orchkit.model.standings import COMPLETED, DEGRADED, FAILED, OPEN, SKIPPED
from orchkit.model.state import RunState
from orchkit.model.steps import Node, Step

__all__ = ["duration", "picture_of"]

_UNITS = {"h": 3600, "min": 60, "s": 1, "ms": 0.001}
_WORDS = {COMPLETED: "completed", DEGRADED: "degraded", FAILED: "failed", SKIPPED: "skipped"}


def picture_of(
    graph: Graph,
    log: Sequence[Event] | None = None,
    caption: str = "",
    lineage: Sequence[tuple[str, str, Sequence[str]]] | None = None,
) -> Picture:
    """Make the picture of a workflow, or of a run of it.

    Parameters
    ----------
    graph : Graph
    log : sequence of Event, optional
        A run's log or any prefix of it; without one the definition is drawn.
    caption : str
        One sentence beside the title.
    lineage : sequence of tuple, optional
        ``(writer, reader, fields)``: what passed between nodes by the shared context. All other arrows are faint then.

    Returns
    -------
    Picture
    """
    state = None if log is None else fold(graph, log)
    own: dict[int, list[Event]] = {}
    for event in log or ():
        if not event.node or not has_node(graph, event.node) or split_path(event.node)[0]:
            continue  # the run's own, or of a node that is no longer there, or lies within another
        node = node_of(graph, event.node)
        if event.kind == "invalidated":
            own[node] = [old for old in own.get(node, ()) if event.item not in (-1, old.item)]
        else:
            own.setdefault(node, []).append(event)
    edges = list(graph.edges())
    shapes = [_shape(node, i, state, own.get(i, [])) for i, node in enumerate(graph.nodes)]
    if any(edge.source == "input" for edge in edges):
        shapes.insert(0, Shape("input", "input", "idle" if state is None else "completed", _type_name(graph)))
    arrows = [_arrow(graph, edge, state) for edge in edges]
    if lineage is not None:
        passed = [Arrow(writer, reader, "context", " & ".join(fields)) for writer, reader, fields in lineage]
        arrows = [*(replace(arrow, live=False) for arrow in arrows), *passed]
    return Picture(graph.name, tuple(shapes), tuple(arrows), caption)


def _type_name(graph: Graph) -> str:
    return "" if graph.input_type is object else getattr(graph.input_type, "__name__", str(graph.input_type))


def _shape(node: Node, index: int, state: RunState | None, events: Sequence[Event]) -> Shape:
    status = "idle" if state is None else _status(state, index, events)
    badge = "" if state is None else " · ".join(_facts(node, state, index, events))
    return Shape(node.name, node.kind, status, " · ".join(_notes(node)), badge, node.effect)


def _notes(node: Node) -> Iterator[str]:
    if node.over is not None:
        yield f"{'streams' if node.stream else 'over'} {node.over}" + (f", {node.limit} at once" if node.limit else "")
    if node.quorum is not None:
        yield f"quorum {node.quorum if isinstance(node.quorum, int) else f'{node.quorum:.3g} of the list'}"
    if node.key is not None:
        yield f"key {getattr(node.key, '__name__', 'of the item')}"
    if node.body is not None:
        inside = len(node.body.nodes)
        rounds = f", up to {node.rounds} rounds" if node.kind == "loop" else ""
        yield f"{inside} node{'s' if inside > 1 else ''} inside{rounds}"
    for policy in node.policies:
        yield describe_policy(policy)
    if node.timeout is not None:
        yield f"expires after {duration(node.timeout)}"
    if node.on_error == "skip":
        yield "skipped on error"
    if node.on_error == "collect":
        yield "failures collected"


def describe_policy(policy: Policy) -> str:
    """Say what a policy does in a few characters."""
    return _SAID[policy.kind](policy)


def duration(seconds: float) -> str:
    """Say a duration in three digits and the unit that suits it.

    Examples
    --------
    >>> duration(0.00172), duration(24.44), duration(1235.84), duration(7200)
    ('1.72 ms', '24.4 s', '20.6 min', '2 h')
    """
    for size, unit in ((7200, "h"), (120, "min"), (1, "s"), (0.001, "ms")):
        if seconds >= size:
            return f"{seconds / _UNITS[unit]:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _budget(policy: Budget) -> str:
    bounds = [
        None if policy.cost is None else f"${policy.cost:g}",
        None if policy.tokens is None else f"{policy.tokens:,} tokens",
        None if policy.calls is None else f"{policy.calls:,} calls",
    ]
    return f"budget {', '.join(bound for bound in bounds if bound is not None)}"


def _spare(option: Any) -> str:
    own = dict(option.options).get("policies", ()) if isinstance(option, Step) else ()
    return option_name(option) + (f" ({', '.join(map(describe_policy, own))})" if own else "")


def _bulkhead(policy: Bulkhead) -> str:
    return f"bulkhead {policy.limit}" + ("" if policy.queue is None else f" + {policy.queue}")


_SAID: Final[dict[str, Callable[[Any], str]]] = {
    "escalate": lambda policy: f"escalates to {policy.to}",
    "fallback": lambda policy: f"fallback {', '.join(map(_spare, policy.options))}",
    "deadline": lambda policy: f"deadline {duration(policy.seconds)}",
    "hedge": lambda policy: f"hedge {duration(policy.after)}",
    "retry": lambda policy: f"retry {policy.attempts}",
    "budget": _budget,
    "breaker": lambda policy: f"breaker {policy.failures} / {duration(policy.reset)}",
    "bulkhead": _bulkhead,
    "rate_limit": lambda policy: f"{policy.per_second:.3g}/s",
    "timeout": lambda policy: f"timeout {duration(policy.seconds)}",
}


def _status(state: RunState, index: int, events: Sequence[Event]) -> str:
    standing = state.standing[index]
    if standing != OPEN:
        return _WORDS.get(standing, "idle")
    if state.status == "failed" and state.failing is not None and state.failing[0] == index:
        return "failed"
    if state.status not in ("running", "new"):
        return "cancelled"
    return "waiting" if events and events[-1].kind in ("asked", "escalated", "waiting") else "running"


def _facts(node: Node, state: RunState, index: int, events: Sequence[Event]) -> Iterator[str]:
    progress = state.maps.get(index)
    if progress is not None:
        yield f"{progress.done}/{progress.size}"
    attempts = sum(event.kind == "started" for event in events)
    if node.kind != "map" and attempts > 1:
        yield f"{attempts} attempts"
    injected = sum(event.kind == "injected" for event in events)
    if injected:
        yield "1 fault" if injected == 1 else f"{injected} faults"
    settled = state.standing[index] in (COMPLETED, DEGRADED, FAILED)
    if settled and events and events[-1].t > events[0].t:
        yield duration((events[-1].t - events[0].t) / 1e6)


def _arrow(graph: Graph, edge: Edge, state: RunState | None) -> Arrow:
    if state is None:
        return Arrow(edge.source, edge.target, edge.kind)
    live = edge.source == "input" or state.standing[graph.index[edge.source]] in (COMPLETED, DEGRADED)
    if live and edge.kind == "route":
        value = state.value(edge.source)
        live = edge.target in (value if isinstance(value, list) else [value])
    return Arrow(edge.source, edge.target, edge.kind, live=live)

"""Building: from nodes as users wrote them to the checked graph, with all complaints at once.

Signatures are read here and not where a step is written, so cells may define in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from orchkit.errors import GraphError
from orchkit.model.codec import ANY
from orchkit.model.fallbacks import functions_among, wrong_values
from orchkit.model.graph import Graph
from orchkit.model.joins import misfits
from orchkit.model.merging import SharedModel
from orchkit.model.places import Place
from orchkit.model.policies import Escalate
from orchkit.model.problems import Problem
from orchkit.model.steps import ITEM, Function, Node, Param, read
from orchkit.model.storable import unstorable, unstorable_input
from orchkit.model.wording import nearest
from orchkit.model.writers import wrong_fields

__all__ = ["build_graph"]


def build_graph(
    name: str,
    nodes: Iterable[Node],
    input_type: Any,
    output: str | None,
    shared: SharedModel | None = None,
    redact: frozenset[str] = frozenset(),
    place: Place | None = None,
) -> Graph:
    """Read the signatures and build the checked graph.

    Raises
    ------
    GraphError
        With all problems at once.
    """
    given = list(nodes)
    bound, problems = _read(given)
    templates, wrong = _templates(given)
    problems += wrong
    spares: dict[str, Sequence[Function]] = {}
    for node in bound:
        spares[node.name], wrong = functions_among(node)
        problems += wrong
    problems += unstorable_input(input_type, redact, place)
    for node in bound:
        problems += _wrong_with(node, spares[node.name], shared, redact)
    problems += misfits(bound, input_type, spares)
    apart = [node for node in bound if node.name in templates]
    taking_part = [node for node in bound if node not in apart]
    return Graph(name, taking_part, input_type, output, shared, redact, apart, place, problems)


def _read(nodes: Iterable[Node]) -> tuple[list[Node], list[Problem]]:
    bound: list[Node] = []
    problems: list[Problem] = []
    for node in nodes:
        function, wrong = (None, []) if node.fn is None else read(node.fn, what=f"{node.kind} {node.name!r}")
        body, inside = _body(node)
        bound.append(_bound(node, function, body))
        problems += [Problem(text, (node,)) for text in (*wrong, *inside)]
    return bound, problems


def _wrong_with(
    node: Node, spares: Sequence[Function], shared: SharedModel | None, redact: frozenset[str]
) -> Iterator[Problem]:
    functions = spares if node.function is None else (node.function, *spares)
    yield from unstorable(node, functions, redact)
    yield from wrong_values(node, redact)
    yield from wrong_fields(node, shared)


def _templates(nodes: Sequence[Node]) -> tuple[set[str], list[Problem]]:
    """Give the approvals that failed nodes escalate to, and what is wrong with these escalations."""
    kinds = {node.name: node.kind for node in nodes}
    found: set[str] = set()
    problems = []
    for node in nodes:
        policy: Escalate | None = node.policy("escalate")
        if policy is None:
            continue
        if kinds.get(policy.to) == "approval":
            found.add(policy.to)
        else:
            approvals = [name for name, kind in kinds.items() if kind == "approval"]
            what = "is no node" if policy.to not in kinds else f"is a {kinds[policy.to]} and no approval"
            text = f"{node.name!r} escalates to {policy.to!r}, which {what}; {nearest(policy.to, approvals)}"
            problems.append(Problem(text, (node,)))
    return found, problems


def _body(node: Node) -> tuple[Graph | None, list[str]]:
    """Give the graph of the workflow that a node holds, and what is wrong with it."""
    if node.workflow is None:
        return None, []
    try:
        return node.workflow.checked(), []
    except GraphError as error:
        return None, [f"in {node.kind} {node.name!r}: {problem}" for problem in error.problems]


def _bound(node: Node, function: Function | None, body: Graph | None = None) -> Node:
    deps: list[Param] = [] if function is None else list(function.params)
    if node.over is not None:
        deps.append(Param("over", node.over, ANY, True))
    deps += [Param(source, source, ANY, True) for _, source in node.feeds if source != node.over]
    shown = [node.show] if node.show is not None else []
    named = (source for source in (*shown, *(source for _, source in node.prefill)) if source != ITEM)
    deps += [Param(source, source, ANY, True) for source in named]
    return replace(node, function=function, deps=tuple(deps), body=body)

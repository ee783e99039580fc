"""Building: from nodes as users wrote them to the checked graph, with all complaints at once.

Signatures are read here and not where a step is written, so cells may define in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from orchkit.errors import DefinitionError, GraphError
from orchkit.model.codec import ANY
from orchkit.model.graph import Graph
from orchkit.model.merging import SharedModel
from orchkit.model.policies import Escalate
from orchkit.model.steps import Function, Node, Param, describe
from orchkit.model.wording import nearest

__all__ = ["build_graph"]


def build_graph(
    name: str,
    nodes: Iterable[Node],
    input_type: Any,
    output: str | None,
    shared: SharedModel | None = None,
    redact: frozenset[str] = frozenset(),
) -> Graph:
    """Read the signatures and build the checked graph.

    Raises
    ------
    GraphError
        With all problems at once.
    """
    bound: list[Node] = []
    given = list(nodes)
    templates, problems = _templates(given)
    for node in given:
        try:
            bound.append(_bound(node, _described(node), _body(node)))
        except GraphError as error:
            problems += [f"in {node.kind} {node.name!r}: {problem}" for problem in error.problems]
            bound.append(_bound(node, None))
        except DefinitionError as error:
            problems.append(str(error))
            bound.append(_bound(node, None))
    try:
        apart = [node for node in bound if node.name in templates]
        graph = Graph(name, [node for node in bound if node not in apart], input_type, output, shared, redact, apart)
    except GraphError as error:
        if not problems:
            raise
        problems += error.problems
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise GraphError(f"workflow {name!r} cannot run:\n{lines}", problems=tuple(problems))
    return graph


def _described(node: Node) -> Function | None:
    return None if node.fn is None else describe(node.fn, what=f"{node.kind} {node.name!r}")


def _templates(nodes: Sequence[Node]) -> tuple[set[str], list[str]]:
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
            problems.append(f"{node.name!r} escalates to {policy.to!r}, which {what}; {nearest(policy.to, approvals)}")
    return found, problems


def _body(node: Node) -> Graph | None:
    body: Graph | None = None if node.workflow is None else node.workflow.checked()
    return body


def _bound(node: Node, function: Function | None, body: Graph | None = None) -> Node:
    deps: list[Param] = [] if function is None else list(function.params)
    if node.over is not None:
        deps.append(Param("over", node.over, ANY, True))
    deps += [Param(source, source, ANY, True) for _, source in node.feeds if source != node.over]
    shown = [node.show] if node.show is not None else []
    deps += [Param(source, source, ANY, True) for source in (*shown, *(source for _, source in node.prefill))]
    return replace(node, function=function, deps=tuple(deps), body=body)

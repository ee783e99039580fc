"""Specs: nodes as users wrote them, and the graph that is built of them, with all complaints at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from orchkit.errors import DefinitionError, GraphError
from orchkit.model.codec import ANY
from orchkit.model.graph import Graph
from orchkit.model.policies import Policy
from orchkit.model.steps import Function, Node, Param, describe

__all__ = ["Spec", "build_graph"]


@dataclass(frozen=True, slots=True)
class Spec:
    """A node as it was written; signatures are read when the graph is built, so cells may define in any order."""

    name: str
    kind: Literal["step", "map", "route", "approval"]
    fn: Callable[..., Any] | None = None
    policies: tuple[Policy, ...] = ()
    after: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    over: str | None = None
    limit: int | None = None
    answer: Any = None
    show: str | None = None
    prefill: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    effect: bool = False
    on_error: Literal["fail", "skip"] = "fail"
    provider: str | None = None
    tags: tuple[str, ...] = ()
    version: str | None = None


def build_graph(name: str, specs: Iterable[Spec], input_type: Any, output: str | None) -> Graph:
    """Read the signatures and build the checked graph.

    Raises
    ------
    GraphError
        With all problems at once.
    """
    nodes, problems = [], []
    for spec in specs:
        try:
            nodes.append(_node(spec))
        except DefinitionError as error:
            problems.append(str(error))
            nodes.append(_node(spec, blind=True))
    try:
        graph = Graph(name, nodes, input_type, output)
    except GraphError as error:
        if not problems:
            raise
        problems += error.problems
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise GraphError(f"workflow {name!r} cannot run:\n{lines}", problems=tuple(problems))
    return graph


def _node(spec: Spec, *, blind: bool = False) -> Node:
    function: Function | None = None
    deps: list[Param] = []
    if spec.fn is not None and not blind:
        function = describe(spec.fn, what=f"{spec.kind} {spec.name!r}")
        deps += function.params
    if spec.over is not None:
        deps.append(Param("over", spec.over, ANY, True))
    shown = [spec.show] if spec.show is not None else []
    deps += [Param(source, source, ANY, True) for source in (*shown, *(source for _, source in spec.prefill))]
    return Node(
        name=spec.name, kind=spec.kind, function=function, deps=tuple(deps), after=spec.after, targets=spec.targets,
        over=spec.over, limit=spec.limit, answer=spec.answer, show=spec.show, prefill=spec.prefill,
        timeout=spec.timeout, policies=spec.policies, effect=spec.effect, on_error=spec.on_error,
        provider=spec.provider, tags=spec.tags, version=spec.version,
    )  # fmt: skip

"""Delivering: by which annotation the value of a node, or of a whole workflow, is recorded."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from typing import Any, Final

from orchkit.model.codec import ANY
from orchkit.model.graph import Graph
from orchkit.model.shapes import OneOf, Record, is_open
from orchkit.model.steps import Function, Node

__all__ = ["delivered", "ends_of", "picks_one", "result_of_graph"]

_MANY: Final[Any] = list


def delivered(node: Node, spare: Function | None = None) -> Any:
    """Give the annotation by which the value of a node, or of a fallback of its, is recorded; `ANY` if it is open."""
    if node.kind == "approval":
        return _listed(node.answer) if node.over is not None else node.answer
    if node.body is not None or node.workflow is not None:
        # What its fallbacks give is checked by the workflow's annotation when they give it.
        one = ANY if node.body is None or spare is not None else result_of_graph(node.body)
    else:
        function = spare or node.function
        if function is None:
            return ANY
        if node.kind == "route":
            return str if picks_one(node) else str | list[str]
        one = function.returns
    return _listed(one) if node.kind == "map" else one


def _listed(one: Any) -> Any:
    return list if one is ANY else _MANY[one]


def picks_one(node: Node) -> bool:
    """Say whether a route picks one target; any other may pick several."""
    returns = None if node.function is None else node.function.returns
    return returns is str or typing.get_origin(returns) is typing.Literal


def result_of_graph(graph: Graph) -> Any:
    """Give the annotation, or the shape, of what a workflow delivers within another.

    A result that a route can leave out is None, and of sinks that may be left out nothing is said.
    """
    if graph.output is not None or len(graph.sinks) == 1 or graph.alternatives:
        choices = [_ending(node) for node in _ends(graph)]
        if any(map(is_open, choices)):
            return ANY
        choices += [None] if _leaves_out(graph) else []
        return choices[0] if len(choices) == 1 else OneOf(tuple(choices))
    if _leaves_out(graph):
        return dict[str, Any]
    return Record(tuple((node.name, _ending(node)) for node in _ends(graph)))


def ends_of(node: Node | None) -> Iterator[Node]:
    """Give the nodes within a node whose values it delivers."""
    for end in () if node is None or node.body is None else _ends(node.body):
        yield end
        yield from ends_of(end)


def _ends(graph: Graph) -> Sequence[Node]:
    ends = graph.sinks if graph.output is None else (graph.index[graph.output],)
    return [graph.nodes[end] for end in ends]


def _ending(node: Node) -> Any:
    """Give what a node delivers as a result: nobody is there to be told that an answer may be None."""
    expires = node.kind == "approval" and node.timeout is not None and node.over is None
    return OneOf((node.answer, None)) if expires else delivered(node)


def _leaves_out(graph: Graph) -> bool:
    """Say whether some of it may be skipped."""
    return any(node.kind == "route" or node.on_error == "skip" for node in graph.nodes)

"""Held: what a node hands to the workflow that it holds, and whether that can take it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from orchkit.model.codec import ANY
from orchkit.model.delivering import ends_of, result_of_graph
from orchkit.model.fits import Kind, elements, gives, misfit, named
from orchkit.model.graph import Graph
from orchkit.model.places import Place
from orchkit.model.problems import Problem
from orchkit.model.shapes import Record
from orchkit.model.steps import Node

__all__ = ["wrong_inside"]

_MEND: Final = "correct one of the two annotations"

Reason = tuple[str, Place | Node | None]
"""Why it cannot be taken, and who cannot."""


def wrong_inside(node: Node, by_name: Mapping[str, Node], given: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what the workflow that a node holds cannot take: from outside, and of a loop from the round before."""
    if node.body is None:
        return
    sources = [by_name.get(source) for source in _sources(node)]
    ends = [end for source in sources for end in ends_of(source)]
    for why, who in _untaken(node.body, handed(node, given), ()):
        text = f"{node.kind} {node.name!r} cannot get its 'input': {why}; {_MEND}"
        yield Problem(text, (node, who, *sources, *ends), "input")
    if node.kind == "loop" and node.rounds > 1:
        # A later round's input is read by who uses it, and not by the body's own annotation.
        for why, who in _unusable(node.body, result_of_graph(node.body), ()):
            text = f"loop {node.name!r} cannot go round again, for a round gets what the one before delivers: {why}"
            yield Problem(f"{text}; {_MEND}, or go round once: max=1", (node, who, *ends_of(node)), "input")


def handed(node: Node, given: Mapping[str, Any]) -> Any:
    """Give the annotation, or the shape, of what a node hands to its workflow."""
    if node.over is not None:
        return elements(given.get(node.over, ANY))
    if len(node.feeds) == 1 and not node.feeds[0][0]:
        return given.get(node.feeds[0][1], ANY)
    return Record(tuple((name, given.get(source, ANY)) for name, source in node.feeds))


def _sources(node: Node) -> list[str]:
    return [node.over] if node.over is not None else [source for _, source in node.feeds]


def _untaken(graph: Graph, given: Any, path: tuple[str, ...]) -> Iterator[Reason]:
    """Say why a workflow cannot take its input."""
    why = misfit(given, graph.input_type)
    if why is None:
        yield from _unusable(graph, given, path)
    else:
        yield f"{why}, the input of workflow {graph.name!r}", graph.place


def _unusable(graph: Graph, given: Any, path: tuple[str, ...]) -> Iterator[Reason]:
    """Say who in a workflow cannot use its input; only who gets it whatever happens, and must deliver."""
    sure = graph.ways.surely_live()
    for i, node in enumerate(graph.nodes):
        if i in sure and not _gets_over(node):
            yield from _unusable_by(node, given, (*path, node.name))


def _unusable_by(node: Node, given: Any, path: tuple[str, ...]) -> Iterator[Reason]:
    name = "/".join(path)
    for param in () if node.function is None else node.function.params:
        why = misfit(given, param.annotation) if param.source == "input" else None
        if why is not None:
            yield f"{why}, as {name!r} does", node
    if node.over == "input":
        if not gives(given) & Kind.LIST:
            yield f"map {name!r} goes over it, and {named(given)} is no list", node
            return
        item = None if node.function is None else node.function.item
        why = None if item is None else misfit(elements(given), item.annotation)
        if why is not None:
            yield f"{why}, as map {name!r} reads its 'item'", node
    if node.body is not None and "input" in _sources(node):
        yield from _untaken(node.body, handed(node, {"input": given}), path)


def _gets_over(node: Node) -> bool:
    """Say whether something else is delivered when a node cannot take what it gets."""
    return node.on_error == "skip" or any(policy.kind in ("fallback", "escalate") for policy in node.policies)

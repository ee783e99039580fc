"""Storable: annotations of which nobody can make anything are found with the graph, each with its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from orchkit.errors import DefinitionError
from orchkit.model.codec import ANY, codec_for
from orchkit.model.places import Place, place_of
from orchkit.model.problems import Problem
from orchkit.model.steps import Function, Node

__all__ = ["unstorable", "unstorable_input"]

_PLAIN = frozenset({str, int, float, bool, type(None)})


def unstorable_input(input_type: Any, redact: frozenset[str], place: Place | None) -> Iterator[Problem]:
    """Complain of a workflow's ``input=`` that no value can be checked by."""
    why = _wrong(input_type, redact)
    if why:
        yield Problem(f"the workflow's input: {why}", (place,), "input")


def unstorable(node: Node, functions: Sequence[Function], redact: frozenset[str]) -> Iterator[Problem]:
    """Complain of what no value can be checked and stored by: of a node, and of the functions among its fallbacks."""
    if node.kind == "approval":
        why = _wrong(node.answer, redact)
        if why:
            yield Problem(f"answer of {node.name!r}: {why}", (node,), "answer")
    for function in functions:
        path = node.name if function is node.function else f"{node.name}/fallback:{function.name}"
        asked = [*function.params, *([] if function.item is None else [function.item])]
        told = [(f"parameter {param.name!r} of {path!r}", param.name, param.annotation) for param in asked]
        if node.kind != "route":
            told.append((f"result of {path!r}", "->", function.returns))
        for whose, word, annotation in told:
            why = _wrong(annotation, redact)
            if why:
                yield Problem(f"{whose}: {why}", (node, place_of(function.fn)), word)


def _wrong(annotation: Any, redact: frozenset[str]) -> str:
    if annotation is ANY or (isinstance(annotation, type) and annotation in _PLAIN):
        return ""
    try:
        codec_for(annotation, redact)
    except DefinitionError as error:
        return str(error)
    return ""

"""Joins: where an edge brings the values of one annotation to another, and no value fits."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from orchkit.model.codec import ANY
from orchkit.model.delivering import delivered, ends_of, picks_one
from orchkit.model.fits import Kind, elements, gives, misfit, named
from orchkit.model.held import wrong_inside
from orchkit.model.places import place_of
from orchkit.model.problems import Problem
from orchkit.model.steps import Function, Node, Param
from orchkit.model.wording import nearest

__all__ = ["Spares", "lost_when_expired", "misfits"]

_MEND: Final = "correct one of the two annotations"

Spares = Mapping[str, Sequence[Function]]
"""By node, the functions among its fallbacks."""


def misfits(nodes: Sequence[Node], input_type: Any, spares: Spares) -> Iterator[Problem]:
    """Find the edges over which nothing can come, and the routes that cannot pick."""
    by_name = {node.name: node for node in nodes}
    given = {name: delivered(node) for name, node in by_name.items()} | {"input": input_type}
    for node in nodes:
        yield from _into(node, by_name, given, spares)
        if node.over is not None:
            yield from _over(node, by_name.get(node.over), given.get(node.over, ANY))
        if node.kind == "route":
            yield from _picking(node)
        yield from wrong_inside(node, by_name, given)


def lost_when_expired(nodes: Sequence[Node]) -> Iterator[Problem]:
    """Find the steps that cannot take the None that stands for an answer that did not come in time."""
    timed = {node.name: node for node in nodes if node.kind == "approval" and node.timeout is not None}
    for node in nodes if timed else ():
        for param in () if node.function is None else node.function.params:
            approval = timed.get(param.source)
            if approval is not None and _takes_no_none(approval, param.annotation):
                yield Problem(_lost(approval, node, param), (node, approval), param.name)


def _takes_no_none(approval: Node, taken: Any) -> bool:
    return misfit(type(None), taken if approval.over is None else elements(taken)) is not None


def _lost(approval: Node, node: Node, param: Param) -> str:
    if approval.over is None:
        what, taken, mended = repr(approval.name), named(param.annotation), f"{named(param.annotation)} | None"
    else:
        what, taken = f"an item of {approval.name!r}", f"items of {named(elements(param.annotation))}"
        mended = f"list[{named(elements(param.annotation))} | None]"
    return (
        f"without an answer in time {what} is None, and {node.name!r} takes {taken}; annotate it {param.name}: {mended}"
    )


def _into(node: Node, by_name: Mapping[str, Node], given: Mapping[str, Any], spares: Spares) -> Iterator[Problem]:
    """Check what the parameters of a node, and of the functions among its fallbacks, get."""
    functions = () if node.function is None else (node.function, *spares.get(node.name, ()))
    for function in functions:
        who = repr(node.name) if function is node.function else f"fallback {function.name!r} of {node.name!r}"
        for param in function.params:
            source = by_name.get(param.source)
            why = misfit(given.get(param.source, ANY), param.annotation) or _spared(source, spares, param.annotation)
            if why:
                text = f"{who} cannot get its {param.name!r}: {why}; {_MEND}"
                yield Problem(text, (node, place_of(function.fn), source, *ends_of(source)), param.name)


def _spared(source: Node | None, spares: Spares, taken: Any) -> str | None:
    """Say which fallback of a node gives what cannot be read."""
    if source is None:
        return None
    for spare in spares.get(source.name, ()):
        why = misfit(delivered(source, spare), taken)
        if why:
            return f"its fallback {spare.name!r} gives it, and {why}"
    return None


def _over(node: Node, source: Node | None, given: Any) -> Iterator[Problem]:
    """Check that a map goes over a list, and gets its items."""
    if not gives(given) & Kind.LIST:
        yield Problem(
            f"{node.kind} {node.name!r} goes over {node.over!r}, which gives {named(given)}; it needs a list",
            (node, source, *ends_of(source)),
            node.over or "",
        )
    elif node.function is not None and node.function.item is not None:
        why = misfit(elements(given), node.function.item.annotation)
        if why is not None:
            text = f"map {node.name!r} cannot get its 'item': {why}; {_MEND}"
            yield Problem(text, (node, source, *ends_of(source)), "item")


def _picking(node: Node) -> Iterator[Problem]:
    """Check that what a route says it returns are names of its targets."""
    if node.function is None:
        return
    returns = node.function.returns
    # A Literal needs no closer look, for which a process that resumes would wait.
    if not picks_one(node) and not gives(returns) & (Kind.TEXT | Kind.LIST):
        text = f"route {node.name!r} gives {named(returns)}; it must give the name of one of its targets, or several"
        yield Problem(text, (node,), "->")
        return
    for name in _literals(returns):
        if name not in node.targets:
            near = nearest(name, node.targets)
            text = f"route {node.name!r} says that it returns {name!r}, which is not in to={[*node.targets]}; {near}"
            yield Problem(text, (node,), name)
    if picks_one(node) and returns is not str:
        yield from _never_said(node, returns)


def _never_said(node: Node, returns: Any) -> Iterator[Problem]:
    policy = node.policy("fallback")
    options = () if policy is None else policy.options
    if any(map(callable, options)):
        return
    said = {*_literals(returns), *(pick for option in options for pick in _picks(option))}
    for target in node.targets:
        if target not in said:
            text = f"route {node.name!r} leads to {target!r}, which {named(returns)} leaves out: it is never picked"
            yield Problem(f"{text}; name it there, or take it out of to=[...]", (node,), target)


def _picks(option: Any) -> Sequence[Any]:
    return option if isinstance(option, (list, tuple)) else (option,)


def _literals(annotation: Any) -> Iterator[str]:
    """Give the texts that an annotation names one by one, also those of a list's elements."""
    if typing.get_origin(annotation) is typing.Literal:
        values = (value.value if isinstance(value, Enum) else value for value in typing.get_args(annotation))
        yield from (value for value in values if isinstance(value, str))
    elif elements(annotation) is not ANY:
        yield from _literals(elements(annotation))

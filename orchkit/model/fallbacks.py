"""Fallbacks and undos: what can be wrong with them is found with the graph, not when the node has failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from orchkit.errors import DefinitionError
from orchkit.model.codec import codec_for
from orchkit.model.places import place_of
from orchkit.model.policies import Fallback, option_name
from orchkit.model.problems import Problem
from orchkit.model.steps import Function, Node, Step, read
from orchkit.model.wording import nearest, one_line

__all__ = ["beside", "functions_among", "holds_as_undo", "is_function", "wrong_values"]

_IN_FALLBACK: Final = ("retry", "budget", "breaker", "bulkhead", "rate_limit", "timeout")
_IN_UNDO: Final = ("retry", "timeout")


def is_function(option: Any) -> bool:
    """Say whether an option of a fallback is called; any other is delivered as it is."""
    return callable(option) or isinstance(option, Step)


def beside(node: Node, option: Any = None) -> Node:
    """Give a node as it is where a step runs in its stead: with that step's own policies, provider and tags, or none.

    A fallback is not its node's provider: it is what is left when that one is down.
    """
    own = dict(option.options) if isinstance(option, Step) else {}
    return replace(node, policies=own.get("policies", ()), provider=own.get("provider"), tags=own.get("tags", ()))


def holds_as_undo(node: Node) -> None:
    """Refuse policies of an undo that nobody would apply.

    Raises
    ------
    DefinitionError
        Which names the first and those that hold.
    """
    for policy in beside(node, node.undo).policies:
        if policy.kind not in _IN_UNDO:
            raise DefinitionError(
                f"undo {option_name(node.undo)!r} of {node.name!r} has {policy.kind}=, which does not hold in an undo; "
                f"{' and '.join(_IN_UNDO)} do"
            )


def functions_among(node: Node) -> tuple[list[Function], list[Problem]]:
    """Read the functions among a node's fallbacks, and say what is wrong with each."""
    functions: list[Function] = []
    problems: list[Problem] = []
    for option in filter(is_function, _options(node)):
        function, wrong = read(option, what=f"fallback of {node.name!r}")
        problems += [Problem(text, (node, place_of(option))) for text in wrong]
        if function is not None:
            functions.append(function)
            problems += _misused(node, option, function)
    return functions, problems


def wrong_values(node: Node, redact: frozenset[str]) -> Iterator[Problem]:
    """Find the values among a node's fallbacks that it could not deliver itself."""
    for option in _options(node):
        if not is_function(option):
            why = _not_deliverable(node, option, redact)
            if why:
                yield Problem(
                    f"fallback {option!r} of {node.name!r} is not what the node delivers: {why}", (node,), "fallback"
                )


def _options(node: Node) -> tuple[Any, ...]:
    policy: Fallback | None = node.policy("fallback")
    return () if policy is None else policy.options


def _misused(node: Node, option: Any, function: Function) -> Iterator[Problem]:
    who, places = f"fallback {option_name(option)!r} of {node.name!r}", (node, place_of(option))
    for policy in beside(node, option).policies:
        if policy.kind not in _IN_FALLBACK:
            text = f"{who} has {policy.kind}=, which does not hold in a fallback; {', '.join(_IN_FALLBACK)} do"
            yield Problem(text, places, policy.kind)
    if isinstance(option, Step) and dict(option.options).get("effect") and not node.effect:
        yield Problem(f"{who} is an effect, and {node.name!r} is none: give it effect=True too", places, "effect")
    if function.item is not None and node.kind != "map":
        yield Problem(f"{who} asks for 'item', which only a map's has", places, "item")
    streamed = node.over if node.stream else None
    known = sorted({"input"} | {dep.source for dep in node.deps if dep.source != streamed})
    for param in function.params:
        if param.source not in known:
            text = (
                f"{who} asks for {param.source!r}; it gets the node's inputs by name ({', '.join(known)}), and 'error' "
                f"and 'ctx' if it asks"
            )
            near = nearest(param.source, known, also=("ctx", "error"))
            yield Problem(f"{text}; {near}" if near.startswith("did") else text, places, param.name)


def _not_deliverable(node: Node, option: Any, redact: frozenset[str]) -> str:
    if node.kind == "route":
        wrong = [pick for pick in _picks(option) if pick not in node.targets] or ([] if _picks(option) else [option])
        return f"{wrong[0]!r} is not among its targets {[*node.targets]}" if wrong else ""
    if node.function is None:
        return ""
    try:
        codec_for(node.function.returns, redact).dump(option, node.name)
    except DefinitionError:
        return ""  # of the annotation, which is complained of itself
    except (ValueError, TypeError) as error:
        return one_line(error)
    return ""


def _picks(option: Any) -> list[Any]:
    return list(option) if isinstance(option, (list, tuple)) else [option]

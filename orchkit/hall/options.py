"""What users write in decorators and in ``using``, turned into values or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from orchkit.errors import DefinitionError
from orchkit.faults import Faults
from orchkit.hall import arguments
from orchkit.hall.arguments import Checker
from orchkit.model.policies import POLICIES, Breaker, Budget, Only, Policy, RateLimit, in_order
from orchkit.model.steps import Node, Step

__all__ = ["checked_faults", "node_from", "node_of", "restacked"]


def _function(where: str, name: str, value: Any) -> Any:
    if (
        value is None
        or isinstance(value, Step)
        or (callable(value) and getattr(value, "__name__", "<lambda>") != "<lambda>")
    ):
        return value
    raise DefinitionError(f"{where}: {name}={value!r}; give a function written with def, or an ok.step")


_CHECKS: Final[dict[str, Checker]] = {
    "effect": arguments.flag,
    "undo": _function,
    "on_error": arguments.choice(("fail", "skip")),
    "after": arguments.nodes,
    "provider": arguments.label,
    "tags": arguments.tags,
    "version": arguments.label,
    "writes": arguments.field_names,
}
# By the option that gives it, which is named like its kind; outermost first.
_POLICIES: Final[dict[str, Any]] = {policy.kind: policy for policy in POLICIES}
# These are told by two numbers or by names; one alone would leave open which is meant.
_WHOLE: Final = (Breaker, RateLimit, Budget)


def checked_faults(faults: Faults | None) -> Faults | None:
    """Take a plan of faults or none."""
    if faults is None or isinstance(faults, Faults):
        return faults
    raise DefinitionError(f"faults={faults!r}: give an ok.Faults(...)")


def node_from(kind: Any, fn: Any, options: Mapping[str, Any], own: Mapping[str, Any]) -> Node:
    """Make a node of a decorated function, the options that all kinds have, and what its kind has of its own.

    Raises
    ------
    DefinitionError
        For an option that is not there, or a value that makes no sense.
    """
    node = node_of(kind, fn.__name__, options, {**own, "fn": fn}, f"@wf.{kind} of {fn.__name__!r}")
    return _with_those_of(node, fn, options) if isinstance(fn, Step) else node


def _with_those_of(node: Node, step: Step, options: Mapping[str, Any]) -> Node:
    """Give a node the options that its step was made with, where its place in the graph says nothing else."""
    kept = {name: value for name, value in step.options if name not in options}
    rest = [policy for policy in kept.pop("policies", ()) if node.policy(policy.kind) is None]
    return replace(node, policies=in_order([*node.policies, *rest]), **kept)


def node_of(kind: Any, name: Any, options: Mapping[str, Any], own: Mapping[str, Any], where: str = "") -> Node:
    """Make a node of the options that all kinds have, and what its kind has of its own.

    Raises
    ------
    DefinitionError
        For an option that is not there, or a value that makes no sense.
    """
    where = where or f"{kind}({name!r})"
    if not isinstance(name, str):
        raise DefinitionError(f"{where}: give it a name; steps get its result by it")
    options = dict(options)
    given = {option: options.pop(option, None) for option in _POLICIES}
    policies = tuple(_policy(where, option, value) for option, value in given.items() if value is not None)
    unknown = sorted(options.keys() - _CHECKS.keys())
    if unknown:
        there = ", ".join([*_POLICIES, *_CHECKS, *own])
        raise DefinitionError(f"{where}: no option {unknown[0]!r}; there are: {there}")
    if options.get("on_error") == "collect":
        raise DefinitionError(
            f"{where}: on_error='collect' is for maps: it keeps an item's place; use 'fail' or 'skip'"
        )
    checked = {name: _CHECKS[name](where, name, value) for name, value in options.items()}
    return Node(name, kind, policies=policies, **own, **checked)


def _policy(where: str, option: str, value: Any) -> Policy:
    policy = _POLICIES[option]
    if isinstance(value, policy):
        found: Policy = value
        return found
    if isinstance(value, tuple) and value and all(isinstance(one, POLICIES) for one in value):
        raise DefinitionError(f"{where}: {option}={value!r} is a stack of policies; give it to wf.using(...)")
    if policy in _WHOLE or isinstance(value, POLICIES):
        raise DefinitionError(f"{where}: {option}={value!r}; give an ok.{policy.__name__}(...)")
    short: Policy = policy(value)
    return short


def restacked(name: str, stack: tuple[Policy, ...], change: Any) -> tuple[Policy, ...]:
    """Give a node's policies after a change: the same kind is replaced, the rest kept."""
    if change is None:
        return ()
    if isinstance(change, Only):
        stack, new = (), change.policies
    else:
        new = (change,) if isinstance(change, POLICIES) else change
    try:
        new = tuple(new)
        replaced = {policy.kind for policy in new}
    except (TypeError, AttributeError):
        raise DefinitionError(f"using({name}={change!r}): give policies such as ok.Retry(3)") from None
    if not all(isinstance(policy, POLICIES) for policy in new) or len(replaced) < len(new):
        raise DefinitionError(f"using({name}={change!r}): give policies such as ok.Retry(3), one of a kind")
    kept = [policy for policy in stack if policy.kind not in replaced]
    return in_order([*kept, *new])

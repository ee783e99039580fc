"""What users write in decorators and in ``using``, turned into values or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orchkit.errors import DefinitionError
from orchkit.faults import Faults
from orchkit.hall import arguments
from orchkit.hall.arguments import Checker
from orchkit.model.policies import Fallback, Only, Policy, Retry, Timeout
from orchkit.model.steps import Node

__all__ = ["checked_faults", "node_from", "restacked"]

_CHECKS: Final[dict[str, Checker]] = {
    "effect": arguments.flag,
    "on_error": arguments.choice(("fail", "skip")),
    "after": arguments.nodes,
    "provider": arguments.label,
    "tags": arguments.tags,
    "version": arguments.label,
    "writes": arguments.field_names,
}
_KINDS = (Retry, Timeout, Fallback)
# Outermost first, as the pipeline goes.
_ORDER = ("fallback", "retry", "timeout")


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
    where = f"@wf.{kind} of {fn.__name__!r}"
    options = dict(options)
    policies = _policies(options.pop("retry", None), options.pop("timeout", None), options.pop("fallback", None))
    unknown = sorted(options.keys() - _CHECKS.keys())
    if unknown:
        there = ", ".join(["retry", "timeout", "fallback", *_CHECKS, *own])
        raise DefinitionError(f"{where}: no option {unknown[0]!r}; there are: {there}")
    checked = {name: _CHECKS[name](where, name, value) for name, value in options.items()}
    return Node(fn.__name__, kind, fn, policies=policies, **own, **checked)


def _policies(retry: Any, timeout: Any, fallback: Any) -> tuple[Policy, ...]:
    stack: list[Policy] = []
    if fallback is not None:
        stack.append(fallback if isinstance(fallback, Fallback) else Fallback(fallback))
    if retry is not None:
        stack.append(retry if isinstance(retry, Retry) else Retry(retry))
    if timeout is not None:
        stack.append(timeout if isinstance(timeout, Timeout) else Timeout(timeout))
    return tuple(stack)


def restacked(name: str, stack: tuple[Policy, ...], change: Any) -> tuple[Policy, ...]:
    """Give a node's policies after a change: the same kind is replaced, the rest kept."""
    if change is None:
        return ()
    if isinstance(change, Only):
        stack, new = (), change.policies
    else:
        new = (change,) if isinstance(change, _KINDS) else change
    try:
        new = tuple(new)
        replaced = {policy.kind for policy in new}
    except (TypeError, AttributeError):
        raise DefinitionError(f"using({name}={change!r}): give policies such as ok.Retry(3)") from None
    if not all(isinstance(policy, _KINDS) for policy in new) or len(replaced) < len(new):
        raise DefinitionError(f"using({name}={change!r}): give policies such as ok.Retry(3), one of a kind")
    kept = [policy for policy in stack if policy.kind not in replaced]
    return tuple(sorted([*kept, *new], key=lambda policy: _ORDER.index(policy.kind)))

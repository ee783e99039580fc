"""What users write in decorators and in ``using``, turned into values or refused."""

from __future__ import annotations

from typing import Any

from orchkit.errors import DefinitionError
from orchkit.faults import Faults
from orchkit.model.policies import Fallback, Only, Policy, Retry, Timeout
from orchkit.model.steps import Node, Ref

__all__ = ["checked_faults", "name_of", "names_of", "node_from", "restacked"]

_KNOWN = frozenset({"effect", "on_error", "after", "provider", "tags", "version", "over", "limit", "targets"})
_KINDS = (Retry, Timeout, Fallback)
# Outermost first, as the pipeline goes.
_ORDER = ("fallback", "retry", "timeout")


def checked_faults(faults: Faults | None) -> Faults | None:
    """Take a plan of faults or none."""
    if faults is None or isinstance(faults, Faults):
        return faults
    raise DefinitionError(f"faults={faults!r}: give an ok.Faults(...)")


def name_of(source: Any) -> str:
    """Give the node's name that a user means by its function, its name, or a ref."""
    if isinstance(source, str):
        return source
    if isinstance(source, Ref):
        return source.name
    name = getattr(source, "__name__", None)
    if not name:
        raise DefinitionError(f"{source!r} names no node: give a step's function or its name")
    return str(name)


def names_of(sources: Any) -> tuple[str, ...]:
    """Give the names of one node or of several."""
    if isinstance(sources, str) or callable(sources):
        return (name_of(sources),)
    return tuple(name_of(source) for source in sources)


def node_from(kind: Any, fn: Any, options: dict[str, Any]) -> Node:
    """Make a node of a decorated function and its options."""
    options = dict(options)
    policies = _policies(options.pop("retry", None), options.pop("timeout", None), options.pop("fallback", None))
    unknown = sorted(options.keys() - _KNOWN)
    if unknown:
        raise DefinitionError(f"@wf.{kind} of {fn.__name__!r}: no option {unknown[0]!r}")
    if options.get("on_error", "fail") not in ("fail", "skip"):
        raise DefinitionError(f"{fn.__name__!r}: on_error={options['on_error']!r}; use 'fail' or 'skip'")
    options["after"] = names_of(options.get("after", ()))
    options["tags"] = tuple(options.get("tags", ()))
    return Node(fn.__name__, kind, fn, policies=policies, **options)


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

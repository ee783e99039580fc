"""Steps outside any graph: to be handed to policies, or called by bodies as they go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from orchkit.errors import DefinitionError
from orchkit.hall.options import node_of
from orchkit.model.steps import Step

__all__ = ["step"]

_KEPT = ("policies", "effect", "provider", "tags", "version")


@overload
def step(fn: Callable[..., Any], /) -> Step: ...
@overload
def step(**options: Any) -> Callable[[Callable[..., Any]], Step]: ...
def step(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a step outside any graph, to be handed to policies or to ``ctx.call``.

    Parameters
    ----------
    fn : callable
        Plain or async; it gets its inputs by name.
    **options
        As in ``wf.step``, but for those that a place in a graph has. They hold where a body calls it, and in a
        fallback (but for hedge, deadline and a fallback's own fallback) or an undo (retry and timeout), where the
        others are refused: a fallback or undo has none of its node's.

    Returns
    -------
    Step
        Which can still be called and tested.

    Raises
    ------
    DefinitionError
        For a function without a name, or an option that makes no sense.

    Examples
    --------
    >>> import orchkit as ok
    >>> @ok.step
    ... def canned(input: str) -> str:
    ...     return f"We are looking into {input}."
    >>> ok.Fallback(canned)
    Fallback(canned)
    >>> @ok.step(retry=3, timeout=5.0)
    ... async def search(query: str) -> str: ...
    >>> search.__name__
    'search'
    """
    if fn is None:
        return lambda later: _made(later, options)
    return _made(fn, options)


def _made(fn: Callable[..., Any], options: dict[str, Any]) -> Step:
    if not options:
        return Step(fn)
    where = f"@ok.step of {getattr(fn, '__name__', fn)!r}"
    wrong = sorted({"after", "on_error", "escalate", "undo", "writes"} & options.keys())
    if wrong:
        raise DefinitionError(f"{where}: {wrong[0]}= makes sense for a node of a workflow only; leave it out")
    node = node_of("step", getattr(fn, "__name__", ""), options, {"fn": fn}, where)
    return Step(fn, tuple((name, getattr(node, name)) for name in _KEPT))

"""Wiring: how a pattern gives a user's step its values; the rule itself is in the docstring of `orchkit.patterns`."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import FunctionType, MethodType
from typing import Any

import orchkit as ok
from orchkit.model.steps import Step

__all__ = ["checked_steps", "fed", "given", "like", "name_of", "needs_item", "passed_on", "taking"]

_STANDING = frozenset({"ctx", "item", "error"})
"""Parameters that mean in a pattern what they mean in any workflow."""


def name_of(step: Any) -> str:
    """Give a step's name, of the step or as it is."""
    return step if isinstance(step, str) else step.__name__


def checked_steps(where: str, steps: Iterable[Any], *, own: Iterable[str] = (), least: int = 1) -> None:
    """Refuse what is no step, and names that two of them, or one and the pattern, would share.

    Raises
    ------
    DefinitionError
    """
    steps, own = list(steps), list(own)
    if len(steps) < least:
        raise ok.DefinitionError(f"{where}: {len(steps)} steps are too few; give {least} or more")
    for step in steps:
        if not callable(step) or getattr(step, "__name__", "<lambda>") == "<lambda>":
            raise ok.DefinitionError(f"{where}: {step!r} is no step; give a function written with def or async def")
    names = [name_of(step) for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise ok.DefinitionError(
                f"{where}: two of its steps are called {name!r}, and worlds, faults and logs tell steps by their "
                "names; write the second with def under a name of its own"
            )
        if name in own:
            raise ok.DefinitionError(
                f"{where}: a step of yours is called {name!r}, as one that the pattern adds; rename yours. "
                f"The pattern's are {', '.join(own)}"
            )


def needs_item(where: str, step: Any) -> None:
    """Refuse a step that is to get one element of a list at a time and does not ask for it.

    Raises
    ------
    DefinitionError
    """
    takes = list(_parameters(step))
    if "item" not in takes:
        raise ok.DefinitionError(
            f"{where}: {name_of(step)!r} gets one element at a time, as 'item', and takes ({', '.join(takes)}); "
            "name the parameter for the element item"
        )


def fed(step: Any, /, **offers: Any) -> Any:
    """Give a step whose parameters name the nodes that feed them.

    Parameters
    ----------
    step : callable
        The user's; it stays as it is.
    **offers
        What the pattern has for it, by role and in order: a node's name, a step, or ``input``.

    Raises
    ------
    DefinitionError
        If a parameter is left with nothing.
    """
    sources = {role: name_of(source) for role, source in offers.items()}
    bound = _bound(step, sources)
    if all(name == sources[role] for name, role in bound.items()):
        return step  # its own names say it all
    return _with_defaults(step, {name: ok.ref(sources[role]) for name, role in bound.items()})


def given(step: Any, /, **values: Any) -> dict[str, Any]:
    """Give the arguments by which a body calls a step, by the rule of `fed`.

    Raises
    ------
    DefinitionError
        If a parameter is left with nothing.
    """
    return {name: values[role] for name, role in _bound(step, {role: role for role in values}).items()}


def _bound(step: Any, sources: Mapping[str, str]) -> dict[str, str]:
    """Tell for each parameter which offer it takes: the one of its name, or else the first that is left."""
    roles = {**{source: role for role, source in sources.items()}, **{role: role for role in sources}}
    open_ones = [name for name, one in _parameters(step).items() if name not in _STANDING and one.default is one.empty]
    # Also one with a default may ask by name: it then takes the default where its source was skipped.
    by_name = {name: roles[name] for name in _parameters(step) if name in roles and name not in _STANDING}
    left = iter([role for role in sources if role not in by_name.values()])
    bound = {}
    for name in [*open_ones, *(name for name in by_name if name not in open_ones)]:
        role = by_name.get(name) or next(left, None)
        if role is None:
            raise ok.DefinitionError(
                f"step {name_of(step)!r} takes ({', '.join(_parameters(step))}), and this pattern offers it "
                f"{', '.join(sources)}: nothing is left for {name!r}; leave it out, or if it is a fixed value, write "
                f"{name}=ok.const(...)"
            )
        bound[name] = role
    return bound


def _parameters(step: Any) -> Mapping[str, inspect.Parameter]:
    fn = step.fn if isinstance(step, Step) else step
    try:
        return inspect.signature(fn).parameters
    except (TypeError, ValueError) as error:
        raise ok.DefinitionError(f"step {name_of(step)!r}: {error}; wrap it in a function with def") from error


def _with_defaults(step: Any, defaults: Mapping[str, Any]) -> Any:
    # A copy of the function with the same code, and not a wrapper: its fingerprint, its trace and whether it is async
    # stay what they are, and the user's own keeps the signature by which it is called and tested.
    if isinstance(step, Step):
        return replace(step, fn=_with_defaults(step.fn, defaults))
    if isinstance(step, MethodType):
        return MethodType(_with_defaults(step.__func__, defaults), step.__self__)
    if not isinstance(step, FunctionType):
        raise ok.DefinitionError(f"step {name_of(step)!r}: {step!r} is no plain function; wrap it in one with def")
    parameters = inspect.signature(step).parameters.values()
    plain = [one for one in parameters if one.kind is not one.KEYWORD_ONLY]
    kept = {one.name: one.default for one in parameters if one.default is not one.empty}
    new = {**kept, **{name: ref for name, ref in defaults.items() if name not in kept}}
    copied = FunctionType(step.__code__, step.__globals__, step.__name__, None, step.__closure__)
    # Python reads defaults from the last parameter backwards, so each has one; that of ctx and item is never looked at.
    copied.__defaults__ = tuple(new.get(one.name) for one in plain)
    copied.__kwdefaults__ = {one.name: new[one.name] for one in parameters if one not in plain and one.name in new}
    copied.__annotations__ = dict(step.__annotations__)
    copied.__dict__.update(step.__dict__)
    copied.__doc__, copied.__module__, copied.__qualname__ = step.__doc__, step.__module__, step.__qualname__
    return copied


def taking(*sources: Any, optional: bool = False) -> Callable[[Any], Any]:
    """Let a function ``def fn(**values)`` take these nodes by name, and ``ctx`` if it has it.

    Parameters
    ----------
    *sources : str or callable
    optional : bool
        Whether it runs without those that were skipped; they are None then.
    """

    def decorate(fn: Any) -> Any:
        own = [one for one in inspect.signature(fn).parameters.values() if one.kind is not one.VAR_KEYWORD]
        default = None if optional else inspect.Parameter.empty
        named = [inspect.Parameter(name_of(one), inspect.Parameter.KEYWORD_ONLY, default=default) for one in sources]
        fn.__signature__ = inspect.Signature([*own, *named])
        return fn

    return decorate


def like(step: Any) -> Callable[[Any], Any]:
    """Let a function return what a user's step returns, so that its value is checked and rebuilt alike."""

    def decorate(fn: Any) -> Any:
        inner = step.fn if isinstance(step, Step) else step
        if isinstance(step, str) or "return" not in getattr(inner, "__annotations__", {}):
            return fn
        try:
            fn.__annotations__["return"] = typing.get_type_hints(inner, include_extras=True)["return"]
        except Exception:  # one that cannot be read is told with its own step, when the graph is built
            pass
        return fn

    return decorate


def passed_on(name: str, source: Any) -> Any:
    """Make a step that delivers what another node has given: where a choice of routes needs a place to end."""

    @like(source)
    def pass_on(value=ok.ref(source)):  # type: ignore[no-untyped-def]  # its type is the source's
        return value

    pass_on.__name__ = pass_on.__qualname__ = name
    return pass_on

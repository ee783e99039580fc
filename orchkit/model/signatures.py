"""Signatures: what the standard library says of a function, found faster for the plain ones.

A thousand nodes are read each time that a graph is checked, and the general way costs 30 us a function.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

__all__ = ["NOTHING", "Asked", "hints_of", "parameters_of"]

NOTHING: Final = inspect.Parameter.empty
"""In place of a default."""

_NAMELESS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
_VARIADIC = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_NONE = type(None)


class Asked(NamedTuple):
    """A parameter: its name, its default or `NOTHING`, and how it is written if nobody can feed it by its name."""

    name: str
    default: Any
    nameless: str = ""


def parameters_of(fn: Callable[..., Any]) -> list[Asked]:
    """Give a callable's parameters, in order.

    Raises
    ------
    ValueError
        For a builtin that does not tell them.
    """
    code = fn.__code__ if type(fn) is FunctionType and not fn.__dict__ else None  # __wrapped__ and __signature__
    if code is None or code.co_flags & _VARIADIC or code.co_posonlyargcount:
        parameters = inspect.signature(fn).parameters.values()
        return [Asked(one.name, one.default, str(one) if one.kind in _NAMELESS else "") for one in parameters]
    defaults, positional = fn.__defaults__ or (), code.co_argcount
    given = dict(zip(code.co_varnames[positional - len(defaults) : positional], defaults, strict=True))
    given.update(fn.__kwdefaults__ or {})
    names = code.co_varnames[: positional + code.co_kwonlyargcount]
    return [Asked(name, given.get(name, NOTHING)) for name in names]


def hints_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """Give what a function annotates, by name: as ``typing.get_type_hints``, but of what is written only.

    Raises
    ------
    NameError
        For an annotation that names nothing.
    """
    raw = getattr(fn, "__annotations__", {})
    # Parameters of its own type (Python 3.12) hide what the module calls so.
    if type(fn) is FunctionType and "__wrapped__" not in fn.__dict__ and not getattr(fn, "__type_params__", ()):
        try:
            plain = {name: _read(annotation, fn.__globals__) for name, annotation in raw.items()}
        except Exception:  # the general way says what is wrong, in its own words
            plain = {"": ...}
        if all(map(_is_settled, plain.values())):
            return plain
    hints = typing.get_type_hints(fn, include_extras=True)
    # `-> None` and no annotation are different things, and get_type_hints turns None into NoneType.
    return {name: hint for name, hint in hints.items() if name in raw}


def _read(annotation: Any, scope: dict[str, Any]) -> Any:
    if type(annotation) is str:
        annotation = eval(_compiled(annotation), scope)
    return type(None) if annotation is None else annotation


@lru_cache(maxsize=4096)
def _compiled(annotation: str) -> CodeType:
    return compile(annotation, "<annotation>", "eval", dont_inherit=True)


def _is_settled(annotation: Any) -> bool:
    """Say whether an annotation is a class, or is made of nothing but classes: no text in it is still to be read."""
    if isinstance(annotation, type) or annotation is Any:
        return True
    if typing.get_origin(annotation) is typing.Literal:
        return True
    arguments = getattr(annotation, "__args__", ())
    return bool(arguments) and all(map(_is_settled, arguments))

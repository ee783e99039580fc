"""Shapes: what a value is for which nobody has written one annotation, and how shapes and annotations are named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from orchkit.model.codec import ANY

__all__ = ["OneOf", "Record", "elements", "is_open", "named"]

_MODULE: Final = re.compile(r"('[^']*')|(?:[\w<>]+\.)+(?=\w)")
"""What a name is looked up in; texts stay as they are."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """A value of one of these annotations. Not a union of Python's, which takes no shapes."""

    choices: tuple[Any, ...]

    def __repr__(self) -> str:
        return " | ".join(dict.fromkeys(map(named, self.choices)))


@dataclass(frozen=True, slots=True)
class Record:
    """A dict with just these keys, all of them there, and the annotations of their values."""

    fields: tuple[tuple[str, Any], ...]

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{name!r}: {named(one)}' for name, one in self.fields)}}}"


def is_open(annotation: Any) -> bool:
    """Say whether an annotation leaves everything open."""
    return annotation is ANY or annotation is Any or annotation is object


def elements(annotation: Any) -> Any:
    """Give the annotation of a list's elements; `ANY` where there is none, or one for each."""
    origin = getattr(annotation, "__origin__", None)
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())
    is_list = origin in (list, set, frozenset) or (origin is tuple and arguments[1:] == (...,))
    return arguments[0] if is_list else ANY


def named(annotation: Any) -> str:
    """Write an annotation as its user would."""
    if annotation is None or annotation is type(None):
        return "None"
    if annotation is ANY:
        return "Any"
    if isinstance(annotation, (OneOf, Record)):
        return repr(annotation)
    if isinstance(annotation, type) and not getattr(annotation, "__args__", ()):
        return annotation.__name__
    return _MODULE.sub(lambda found: found[1] or "", repr(annotation))

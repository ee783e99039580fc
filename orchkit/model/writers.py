"""Writers: which fields of the shared context a node writes, as it says or as its source shows."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType

from orchkit.model.merging import SharedModel
from orchkit.model.places import place_of, source_of
from orchkit.model.problems import Problem
from orchkit.model.steps import Node
from orchkit.model.wording import nearest

__all__ = ["fields_of", "wrong_fields"]


def wrong_fields(node: Node, shared: SharedModel | None) -> Iterator[Problem]:
    """Complain of each of ``writes=`` that is no field of the shared context."""
    for name in node.writes or ():
        if shared is None:
            text = f"{node.name!r} writes {name!r}, and the workflow has no shared context; give it wf.context(Model)"
            yield Problem(text, (node,), name)
        elif name not in shared.codecs:
            near = nearest(name, shared.codecs)
            text = f"{node.name!r} writes {name!r}, which is no field of {shared.model.__name__}: {near}"
            yield Problem(text, (node,), name)


def fields_of(node: Node) -> tuple[str, ...]:
    """Give the fields that a node writes: those it declares, else those of ``ctx.update(field=...)`` in its source."""
    if node.writes is not None:
        return node.writes
    if node.function is None or not node.function.wants_ctx:
        return ()
    place = place_of(node.function.fn)
    return () if place is None or place.code is None else _fields_in(place.code)


@lru_cache(maxsize=4096)
def _fields_in(code: CodeType) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_updated(source_of(code)))) if _mentions(code, "update") else ()


def _mentions(code: CodeType, name: str) -> bool:
    return name in code.co_names or any(isinstance(one, CodeType) and _mentions(one, name) for one in code.co_consts)


def _updated(source: str) -> Iterator[str]:
    try:
        tree = ast.parse(textwrap.dedent(source))
    except (SyntaxError, ValueError):
        return
    for call in ast.walk(tree):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="ctx"), attr="update"), keywords=keywords):
                yield from (keyword.arg for keyword in keywords if keyword.arg is not None)

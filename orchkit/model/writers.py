"""What a body does by its source: the fields of the shared context that it writes, and whether it asks a person."""

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

__all__ = ["asks", "fields_of", "wrong_fields"]


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
    code = _code_of(node)
    return () if code is None else _fields_in(code)


def asks(node: Node) -> bool:
    """Say whether a node's own body asks a person, as far as its source shows it."""
    code = _code_of(node)
    return code is not None and _asks_in(code)


def _code_of(node: Node) -> CodeType | None:
    if node.function is None or not node.function.wants_ctx:
        return None
    place = place_of(node.function.fn)
    return None if place is None else place.code


@lru_cache(maxsize=4096)
def _fields_in(code: CodeType) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_updated(source_of(code)))) if _mentions(code, "update") else ()


def _mentions(code: CodeType, name: str) -> bool:
    return name in code.co_names or any(isinstance(one, CodeType) and _mentions(one, name) for one in code.co_consts)


@lru_cache(maxsize=4096)
def _asks_in(code: CodeType) -> bool:
    return _mentions(code, "ask") and any(_calls(source_of(code), "ask"))


def _updated(source: str) -> Iterator[str]:
    for call in _calls(source, "update"):
        yield from (keyword.arg for keyword in call.keywords if keyword.arg is not None)


def _calls(source: str, name: str) -> Iterator[ast.Call]:
    """Find what is called as ``ctx.<name>(...)``."""
    try:
        tree = ast.parse(textwrap.dedent(source))
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="ctx"), attr=attr)) if attr == name:
                yield node

"""Signatures read the quick way are those that the standard library reads."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import orchkit as ok
from orchkit.model.signatures import Asked, hints_of, parameters_of

ANNOTATIONS = [
    "list['Here']",
    "'dict[str, list[Here]]'",
    "tuple[int, ...]",
    "Literal['Here', 3]",
    "Annotated[int, 'unit']",
    "typing.Optional['Here']",
    "Any",
    "object",
    "'Any'",
    "typing.Callable[[int], str]",
    "T",
    "'list[T] | None'",
    "int",
    "str",
    "None",
    "list[str]",
    "'int'",
    "'list[str] | None'",
    "'Here'",
    "Here",
    "'None'",
    "ok.Context",
]
PART = st.tuples(st.sampled_from(["", *(f": {one}" for one in ANNOTATIONS)]), st.sampled_from(["", " = 3", " = None"]))


class Here: ...


T = TypeVar("T")
LITERAL = {"Literal": Literal, "Annotated": Annotated}


def in_general(fn: Callable[..., Any]) -> list[Asked]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    parameters = inspect.signature(fn).parameters.values()
    return [Asked(one.name, one.default, str(one) if one.kind in kinds else "") for one in parameters]


@given(
    st.lists(PART, max_size=4),
    st.sampled_from(["", "*, ", "/, ", "*rest, "]),
    st.lists(PART, max_size=3),
    st.sampled_from(["", "**more"]),
    st.sampled_from(["", *(f" -> {one}" for one in ANNOTATIONS)]),
    st.booleans(),
)
@settings(max_examples=600, deadline=None, derandomize=True)
def test_the_quick_way_tells_the_same(
    first: Any, between: str, last: Any, more: str, returns: str, postponed: bool
) -> None:
    first = sorted(first, key=lambda one: bool(one[1]))  # what has a default comes last
    if between == "/, " and not first:
        return
    if between in ("", "/, "):  # one list then
        last = [(annotation, default or " = 1") for annotation, default in last]
    if (between == "*, " and not last) or (between == "*, " and more and not last):
        return
    asked = [f"a{i}{annotation}{default}" for i, (annotation, default) in enumerate(first)]
    named = [f"b{i}{annotation}{default}" for i, (annotation, default) in enumerate(last)]
    text = ", ".join([*asked, *filter(None, [between.rstrip(", ")]), *named, *filter(None, [more])])
    scope: dict[str, Any] = {"Here": Here, "ok": ok, "typing": typing, "Any": Any, "T": T, **LITERAL}
    exec(f"{'from __future__ import annotations' if postponed else ''}\ndef f({text}){returns}: ...", scope)
    assert parameters_of(scope["f"]) == in_general(scope["f"])
    assert hints_of(scope["f"]) == typing.get_type_hints(scope["f"], include_extras=True)


def test_wrappers_tell_what_they_wrap() -> None:
    def inner(one: int, *, other: str = "x") -> Here: ...

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any: ...

    made = functools.partial(inner, other="y")
    told = lambda **inputs: None  # noqa: E731 - a signature of its own is what is tested
    told.__signature__ = inspect.signature(inner)  # type: ignore[attr-defined]
    assert parameters_of(outer) == parameters_of(inner) == parameters_of(told)
    assert [one.name for one in parameters_of(made)] == ["one", "other"]
    assert hints_of(outer) == hints_of(inner) == {"one": int, "other": str, "return": Here}
    with pytest.raises(ValueError, match="signature"):
        parameters_of(max)

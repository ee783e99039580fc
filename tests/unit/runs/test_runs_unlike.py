"""Where two JSON values differ."""

from __future__ import annotations

import math
from typing import Any

import pytest

from orchkit.runs.accounts import NOTHING
from orchkit.runs.unlike import shown, shown_pair, unlike


@pytest.mark.parametrize(
    ("a", "b", "places"),
    [
        (1, 1, []),
        (1, 2, [("", 1, 2)]),
        (1, 1.0, [("", 1, 1.0)]),
        (1, True, [("", 1, True)]),
        (None, NOTHING, [("", None, NOTHING)]),
        (0.0, -0.0, [("", 0.0, -0.0)]),
        (math.nan, math.nan, []),
        (b"x", "x", [("", b"x", "x")]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a b": 1}, {"a b": 2}, [('["a b"]', 1, 2)]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3], "c": None}}, [(".a.b[1]", 2, 3), (".a.c", NOTHING, None)]),
        ([1, 2, 3], [1, 9, 2, 3], [("[1]", NOTHING, 9)]),
        ([1, 2, 3], [2, 3], [("[0]", 1, NOTHING)]),
        ([1, 1, 1], [1, 1], [("[2]", 1, NOTHING)]),
        ([], [{}], [("[0]", NOTHING, {})]),
        ([[1], {"x": 1}], [[2], {"x": 2}], [("[0][0]", 1, 2), ("[1].x", 1, 2)]),
        ({}, [], [("", {}, [])]),
    ],
)
def test_places(a: Any, b: Any, places: list[tuple[str, Any, Any]]) -> None:
    found = [(one.path, repr(one.a), repr(one.b)) for one in unlike(a, b)]
    assert found == [(path, repr(one), repr(other)) for path, one, other in places]


def test_what_is_long_is_shown_short_and_on_one_line() -> None:
    assert shown("a\nb\x1b[31m") == r"'a\nb\x1b[31m'"
    assert shown(b"x" * 1000) == "1000 bytes"
    assert len(shown(["x" * 50] * 1000)) <= 60
    one, other = shown_pair("x" * 500 + "a" * 500, "x" * 500 + "b" * 500)
    assert one != other
    assert max(len(one), len(other)) <= 60
    assert shown_pair("x" * 100, "x" * 200)[0] != shown_pair("x" * 100, "x" * 200)[1]
    assert shown_pair([1], [2]) == ("[1]", "[2]")

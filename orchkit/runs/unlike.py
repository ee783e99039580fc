"""Where two JSON values differ: paths such as ``.lookup[3].note``, and both sides of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from orchkit.runs.accounts import NOTHING

__all__ = ["Unlike", "shown", "shown_pair", "unlike"]


class Unlike(NamedTuple):
    """One place: its path, and what is there on either side, `NOTHING` where there is nothing."""

    path: str
    a: Any
    b: Any


def unlike(a: Any, b: Any, path: str = "") -> Iterator[Unlike]:
    """Give the places where two values differ, the innermost, in their order.

    Elements of lists are compared by their place, once what both begin and end with is left out: so one that was put
    in, or taken out, is one difference. The order of an object's keys is none.

    Examples
    --------
    >>> list(unlike({"lookup": [1, {"note": "a"}]}, {"lookup": [1, {"note": "b"}], "more": None}))
    [Unlike(path='.lookup[1].note', a='a', b='b'), Unlike(path='.more', a=nothing, b=None)]
    """
    if type(a) is dict and type(b) is dict:
        for key in dict.fromkeys([*a, *b]):
            yield from unlike(a.get(key, NOTHING), b.get(key, NOTHING), path + _step(key))
    elif type(a) is list and type(b) is list:
        yield from _in_lists(a, b, path)
    elif not _is_same(a, b):
        yield Unlike(path, a, b)


def _in_lists(a: list[Any], b: list[Any], path: str) -> Iterator[Unlike]:
    begin = 0
    least = min(len(a), len(b))
    while begin < least and _is_same(a[begin], b[begin]):
        begin += 1
    end = 0
    while end < least - begin and _is_same(a[-1 - end], b[-1 - end]):
        end += 1
    ours, theirs = a[begin : len(a) - end], b[begin : len(b) - end]
    for place in range(max(len(ours), len(theirs))):
        yield from unlike(_at(ours, place), _at(theirs, place), f"{path}[{begin + place}]")


def _at(values: Sequence[Any], place: int) -> Any:
    return values[place] if place < len(values) else NOTHING


def _is_same(a: Any, b: Any) -> bool:
    # As JSON: for Python True, 1 and 1.0 are equal, and no NaN is. What is nested is compared element by element.
    if type(a) is not type(b):
        return False
    if type(a) is dict:
        return a.keys() == b.keys() and all(_is_same(value, b[key]) for key, value in a.items())
    if type(a) is list:
        return len(a) == len(b) and all(map(_is_same, a, b))
    return repr(a) == repr(b) if type(a) is float else bool(a == b)


def _step(key: str) -> str:
    return f".{key}" if key.isidentifier() else f"[{json.dumps(key, ensure_ascii=False)}]"


def shown(value: Any, room: int = 60) -> str:
    """Show a value on one line of bounded length.

    Examples
    --------
    >>> shown({"note": "x" * 100}, 20)
    "{'note': 'xxxxxxxx …"
    """
    text = f"{len(value)} bytes" if type(value) is bytes and len(value) > room else repr(value)
    return text if len(text) <= room else text[: room - 2] + " …"


def shown_pair(a: Any, b: Any, room: int = 60) -> tuple[str, str]:
    """Show two values that differ; of long texts from shortly before where they do.

    Examples
    --------
    >>> shown_pair("x" * 90 + "refund is on its way", "x" * 90 + "sorry", 20)
    ("… 'xxxxxxrefund is …", "… 'xxxxxxsorry'")
    """
    before = 0
    if type(a) is str and type(b) is str and max(len(a), len(b)) > room - 2:
        part = next((i for i, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))
        before = max(0, part - room // 3)
    if not before:
        return shown(a, room), shown(b, room)
    return f"… {shown(a[before:], room - 2)}", f"… {shown(b[before:], room - 2)}"

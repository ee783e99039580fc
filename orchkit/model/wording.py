"""Wording: what messages say alike, whoever writes them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = ["first_line", "nearest", "one_line"]


def first_line(error: BaseException) -> str:
    """Give the first line of what an error says; its class if it says nothing."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def one_line(error: BaseException) -> str:
    """Give all that an error says as one line, without pydantic's links to its pages; cut where it is long."""
    # Several arguments, which pyarrow gives its errors, would be shown as a tuple.
    is_plain = type(error).__str__ is BaseException.__str__
    said = "\n".join(map(str, error.args)) if is_plain else str(error)
    lines = (" ".join(line.split()) for line in said.splitlines() if "errors.pydantic.dev" not in line)
    return ", ".join(filter(None, lines))[:300]


def nearest(name: Any, names: Iterable[str], *, most: int = 1, also: Iterable[str] = ()) -> str:
    """Say which name may have been meant by one that is not there, or which there are.

    Parameters
    ----------
    name : object
        What a user gave.
    names : iterable of str
        What there is, in the order in which it is to be listed.
    most : int, >= 1
        How many to suggest.
    also : iterable of str
        What may have been meant too, but is not listed.

    Examples
    --------
    >>> nearest("drft", ["draft", "send"])
    "did you mean 'draft'?"
    >>> nearest("x", ["draft", "send"])
    'there are: draft, send'
    """
    names = list(names)
    near = difflib.get_close_matches(str(name), dict.fromkeys((*names, *also)), n=most)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are: {', '.join(names)}"

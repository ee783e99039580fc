"""Items of a map: what is known of one by itself, and how many of them are enough."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

__all__ = ["ItemFailed", "is_failed_item", "needed_of"]


@dataclass(frozen=True, slots=True)
class ItemFailed:
    """What stands in the list of a map with ``on_error="collect"`` in the place of an item that has failed.

    Parameters
    ----------
    item : int
        Its index in the list that the map went over.
    error : str
        ``Type: message`` of what went wrong.

    Examples
    --------
    >>> import orchkit as ok
    >>> wf = ok.Workflow("sizes", input=list)
    >>> @wf.map(over="input", on_error="collect")
    ... def size(item: str) -> int:
    ...     return 10 // len(item)
    >>> @wf.step
    ... def bad(size: list[int | ok.ItemFailed]) -> list[int]:
    ...     return [one.item for one in size if isinstance(one, ok.ItemFailed)]
    >>> run = wf.simulate(["ab", ""], world=ok.World())
    >>> run.result(), run.status
    ([1], 'degraded')
    """

    item: int
    error: str


def is_failed_item(value: Any) -> bool:
    """Say whether a recorded element is an `ItemFailed`.

    Examples
    --------
    >>> is_failed_item({"item": 3, "error": "ConnectionError: down"}), is_failed_item("found")
    (True, False)
    """
    return (
        isinstance(value, dict)
        and value.keys() == {"item", "error"}
        and isinstance(value["item"], int)
        and isinstance(value["error"], str)
    )


def needed_of(quorum: int | float | None, size: int) -> int | None:
    """Say how many items of a list must deliver; of an empty one none, and None where all that can do.

    Examples
    --------
    >>> needed_of(3, 5), needed_of(0.5, 5), needed_of(0.07, 100), needed_of(3, 0), needed_of(None, 5)
    (3, 3, 7, 0, None)
    """
    if quorum is None or not size:
        return None if quorum is None else 0
    # By its digits: 0.07 * 100 is a little more than 7.
    return quorum if isinstance(quorum, int) else ceil(Fraction(repr(quorum)) * size)

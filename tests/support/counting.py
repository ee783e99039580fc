"""Counting what runs: a measure of work that is the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import orchkit

HOUSE = str(Path(orchkit.__file__).parent)


class Item(int):
    """An index that counts how often it is compared, for a scan of a list in C runs no line."""

    compared = 0

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Item.compared += 1
        return int.__eq__(self, other)  # type: ignore[arg-type]  # NotImplemented for what is no int

    def __lt__(self, other: int) -> bool:
        Item.compared += 1
        return int.__lt__(self, other)


def lines_run(work: Callable[[], object]) -> int:
    """Give how many lines of the package a piece of work runs, and how many items it compares."""
    lines = 0

    def look(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(HOUSE):
            return None
        lines += 1
        return look

    compared, before = Item.compared, sys.gettrace()
    sys.settrace(look)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines + Item.compared - compared

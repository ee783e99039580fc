"""What commands print: text that a terminal shows as it is, tables, numbers; and the refusal that is one line of it."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any, Final

__all__ = ["WIDTH", "Refusal", "megabytes", "plain", "replace_unprintable", "seconds", "table", "when"]

WIDTH: Final = 100
_GAP: Final = "  "
_NARROW: Final = 8


class Refusal(Exception):
    """What a command cannot work with: one line that says what, where and how to mend it."""


def plain(text: str, limit: int = 200) -> str:
    """Give text that a terminal shows as it is: one line, no control or direction characters, not too long."""
    shown = "".join(char if char.isprintable() else " " for char in text[: limit + 1])
    return shown if len(text) <= limit else shown[: limit - 1] + "…"


def replace_unprintable() -> None:
    """Let characters that the terminal's encoding lacks be question marks, and no errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and not stream.closed:
            stream.reconfigure(errors="replace")


def when(stamp: str | None) -> str:
    """Write a time as `orchkit.cli._common.records` gives it, to the minute; nothing for None."""
    return "" if stamp is None else stamp[:16].replace("T", " ")


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()) -> str:
    """Lay rows out for people: columns as wide as they need, at most `WIDTH` together; what is longer is cut."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(map(_wide, column)) for column in zip(columns, *cells, strict=True)]
    _fit(widths)
    lines = [
        _GAP.join(
            _padded(cell, width, name in right) for cell, width, name in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in [list(columns), *cells]
    ]
    return "\n".join(lines)


def _fit(widths: list[int]) -> None:
    while sum(widths) + len(_GAP) * (len(widths) - 1) > WIDTH and max(widths) > _NARROW:
        widths[widths.index(max(widths))] -= 1


def _text(value: Any) -> str:
    if value is None:
        return ""
    return plain(str(value), 4 * WIDTH)


def _wide(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _padded(text: str, width: int, right: bool) -> str:
    if _wide(text) > width:
        while _wide(text) > width - 1:
            text = text[:-1]
        text += "…"
    blank = " " * (width - _wide(text))
    return blank + text if right else text + blank


def seconds(value: float | None) -> str:
    """Write a length of time."""
    if value is None:
        return ""
    if value < 120:
        return f"{value:.2f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def megabytes(value: int) -> str:
    """Write a number of bytes."""
    return f"{value / 1e6:,.1f} MB" if value >= 100_000 else f"{value:,} B"

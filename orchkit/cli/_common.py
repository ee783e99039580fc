"""What the commands on a store share: how they open it, print, and end.

Exit codes, of all of them: 0 fine; 1 what was asked for failed, or something is wrong with the store; 2 it was asked
for wrongly, or there is no store that can be read; 130 after Ctrl-C. What went wrong is one line on stderr.
"""

from __future__ import annotations

import contextlib
import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchkit.cli.demo.documents import Refusal, plain
from orchkit.errors import DefinitionError, OrchkitError, RunUnknown, StoreUnreadable

if TYPE_CHECKING:
    import pandas as pd

    from orchkit.hall.store import Store

__all__ = [
    "WIDTH", "AsJson", "StorePath", "ending", "megabytes", "open_for_reading", "open_for_writing", "print_json",
    "records", "refuse_missing", "seconds", "table", "when", "whole_run_id",
]  # fmt: skip

WIDTH: Final = 100
_GAP: Final = "  "
_NARROW: Final = 8

StorePath = Annotated[Path, typer.Option("--store", help="The store's file.", metavar="FILE")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


@contextlib.contextmanager
def ending(command: str) -> Iterator[None]:
    """Run a command; whatever ends it becomes an exit code and one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # where it is a real stream
    try:
        yield
    except KeyboardInterrupt:
        _end(command, "stopped", 130)
    except BrokenPipeError:  # whoever reads has seen enough
        with contextlib.suppress(OSError):
            sys.stdout.close()
        raise typer.Exit(1) from None
    except (Refusal, DefinitionError, RunUnknown, StoreUnreadable) as error:
        _end(command, str(error), 2)
    except (OrchkitError, OSError) as error:
        _end(command, str(error), 1)


def _end(command: str, why: str, code: int) -> None:
    typer.echo(f"orchkit {command}: {plain(why, 1000)}", err=True)
    raise typer.Exit(code) from None


def refuse_missing(path: Path) -> None:
    """Refuse a path where no file is: a command on a store makes none."""
    if not path.exists():
        raise Refusal(f"{path} does not exist; give the path of a store by --store")


def open_for_writing(path: Path) -> Store:
    """Open a store that is there."""
    return _opened(path)


def open_for_reading(path: Path) -> Store:
    """Open a store that is there, to look at it only where that can be had."""
    return _opened(path, read_only=True)


def _opened(path: Path, **options: Any) -> Store:
    from orchkit.hall.opened import open_store

    refuse_missing(path)
    try:
        return open_store(path, **options)
    except StoreUnreadable:
        raise
    except OrchkitError as error:
        raise Refusal(str(error)) from error


def whole_run_id(store: Store, start: str) -> str:
    """Give the id of the one run that begins so.

    Raises
    ------
    Refusal
        If there is none, or several.
    """
    # Not by store.run: an id may be the beginning of another, and is meant then.
    found = [run for run in store.runs().run.tolist() if run.startswith(start)] if start else []
    if start in found or len(found) == 1:
        return start if start in found else str(found[0])
    if not found:
        raise Refusal(f"no run begins with {start!r} in {store.path.name}; `orchkit runs` lists what is there")
    listed = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
    raise Refusal(f"{len(found)} runs begin with {start!r}: {listed}; give more of the id")


def print_json(document: dict[str, Any]) -> None:
    """Print one document."""
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the rows of a frame as what JSON can say: nothing is null, times are ISO 8601 in UTC."""
    return [{str(key): _plain_value(value) for key, value in row.items()} for row in frame.to_dict("records")]


def _plain_value(value: Any) -> Any:
    import pandas as pd

    if isinstance(value, (str, bool, int)):
        return value
    if pd.isna(value):
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat() + "Z"
    return value.item() if hasattr(value, "item") else value


def when(stamp: str | None) -> str:
    """Write a time of `records`."""
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

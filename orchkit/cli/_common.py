"""What the commands on a store share: how they open it, answer in JSON, and end.

Exit codes, of all of them: 0 fine; 1 what was asked for failed, or something is wrong with the store; 2 it was asked
for wrongly, or there is no store that can be read; 130 after Ctrl-C. What went wrong is one line on stderr, and so is
each warning of the store: what is on stdout is the answer alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchkit.cli._terminal import Refusal, plain, replace_unprintable
from orchkit.errors import DefinitionError, OrchkitError, RunUnknown, StoreNotice, StoreUnreadable

if TYPE_CHECKING:
    import pandas as pd

    from orchkit.hall.store import Store

__all__ = [
    "AsJson", "StorePath", "asked_rightly", "ending", "open_for_reading", "open_for_writing", "print_json", "records",
    "refuse_missing", "whole_run_id",
]  # fmt: skip

StorePath = Annotated[Path, typer.Option("--store", help="The store's file.", metavar="FILE")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


@contextlib.contextmanager
def ending(command: str) -> Iterator[None]:
    """Run a command; whatever ends it becomes an exit code and one line on stderr, and so does a store's warning."""
    replace_unprintable()
    try:
        with _warnings_in_a_line(command):
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
    _say(command, why)
    raise typer.Exit(code) from None


def _say(command: str, what: str) -> None:
    typer.echo(f"orchkit {command}: {plain(what, 1000)}", err=True)


@contextlib.contextmanager
def _warnings_in_a_line(command: str) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("always", StoreNotice)  # also where warnings are errors: they end no command
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, StoreNotice):
                _say(command, f"warning: {message}")
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        yield


@contextlib.contextmanager
def asked_rightly() -> Iterator[None]:
    """Take what a store refuses at once for a slip of whoever asked, which has an exit code of its own."""
    try:
        yield
    except StoreUnreadable:
        raise
    except OrchkitError as error:
        raise Refusal(str(error)) from error


def refuse_missing(path: Path) -> None:
    """Refuse a path where no file is: a command on a store makes none. Of one that was lost opening it tells more."""
    if not os.path.exists(path):  # Path's own raises for a name that is too long
        from orchkit.store.lost import refuse_lost

        with contextlib.suppress(OSError):
            refuse_lost(path.absolute())
        raise Refusal(f"{path} does not exist; give the path of a store by --store")


def open_for_writing(path: Path) -> Store:
    """Open a store that is there."""
    return _opened(path, read_only=False)


def open_for_reading(path: Path) -> Store:
    """Open a store that is there, to look at it only where that can be had."""
    return _opened(path, read_only=True)


def _opened(path: Path, *, read_only: bool) -> Store:
    from orchkit.hall.opened import open_store

    refuse_missing(path)
    with asked_rightly():
        return open_store(path, read_only=read_only)


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

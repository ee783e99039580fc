"""``orchkit export``, ``compact``, ``prune`` and ``snapshot``: care for a store's file.

JSON of ``export``: ``store``, ``folder``, ``rescued`` (the file does not open as a store), ``files``: a list of name,
rows, bytes, problem. Of ``compact``: ``store``, ``before``, ``after`` (bytes). Of ``prune``: ``store``, ``dry_run``,
``runs``: a list of run, workflow, mode, status, started, ended (UTC), events. Of ``snapshot``: ``store``, ``snapshot``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchkit.cli._common import (
    AsJson,
    StorePath,
    asked_rightly,
    ending,
    open_for_reading,
    open_for_writing,
    print_json,
    records,
    refuse_missing,
)
from orchkit.cli._terminal import megabytes, table, when
from orchkit.errors import StoreUnreadable

__all__ = ["compact", "export", "prune", "snapshot"]


def export(
    folder: Annotated[str, typer.Argument(help="Where the files go; made if it is not there.", metavar="FOLDER")],
    store: StorePath = Path("orchkit.duckdb"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Use a folder that is not empty.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write all tables and views as Parquet files; also of a damaged file, as far as it can be read (then 1)."""
    with ending("export"):
        refuse_missing(store)
        target = _fit_folder(folder, store, overwrite)
        try:
            with open_for_reading(store) as opened:
                files, rescued = records(opened.export(target, overwrite=overwrite)), False
        except StoreUnreadable:
            files, rescued = _rescued(store, target, overwrite), True
        if as_json:
            print_json({"store": str(store), "folder": folder, "rescued": rescued, "files": files})
        else:
            _print(files)
        if rescued or any(one["problem"] for one in files):
            raise typer.Exit(1)


def _fit_folder(folder: str, store: Path, overwrite: bool) -> Path:
    from orchkit.hall import arguments
    from orchkit.store.targets import checked_folder

    with asked_rightly():
        return checked_folder(arguments.path("argument", "FOLDER", folder), store.resolve(), overwrite=overwrite)


def _fit_target(path: str, store: Path) -> Path:
    from orchkit.hall import arguments
    from orchkit.store.targets import checked_target

    with asked_rightly():
        return checked_target(arguments.path("argument", "FILE", path), store.resolve())


def _rescued(store: Path, folder: Path, overwrite: bool) -> list[Any]:
    from dataclasses import asdict

    from orchkit.store.exports import rescue

    return [asdict(one) for one in rescue(store.absolute(), folder, overwrite=overwrite)]


def _print(files: list[Any]) -> None:
    rows = [(one["name"], one["rows"], megabytes(one["bytes"]), one["problem"]) for one in files]
    typer.echo(table(("table", "rows", "size", "problem"), rows, right=("rows", "size")))


def compact(store: StorePath = Path("orchkit.duckdb"), as_json: AsJson = False) -> None:
    """Give the room of what was deleted back to the disk; refused while a run is executed."""
    with ending("compact"), open_for_writing(store) as opened:
        done = opened.compact()
        if as_json:
            print_json({"store": str(opened.path), "before": done.before, "after": done.after})
        else:
            typer.echo(f"{megabytes(done.before)} before, {megabytes(done.after)} now")


def prune(
    keep_days: Annotated[float | None, typer.Option(min=0, help="Keep runs that ended within so many days.")] = None,
    keep_runs: Annotated[int | None, typer.Option(min=0, help="Keep so many of the newest that have ended.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    store: StorePath = Path("orchkit.duckdb"),
    as_json: AsJson = False,
) -> None:
    """Delete runs that have ended and that no rule keeps; it cannot be undone."""
    with ending("prune"), open_for_writing(store) as opened:
        gone = records(opened.prune(keep_days, keep_runs, workflow=workflow, dry_run=dry_run))
        if as_json:
            print_json({"store": str(opened.path), "dry_run": dry_run, "runs": gone})
            return
        if gone:
            rows = [(one["run"], one["workflow"], one["status"], when(one["ended"]), one["events"]) for one in gone]
            typer.echo(table(("run", "workflow", "status", "ended (UTC)", "events"), rows, right=("events",)))
        typer.echo(f"{len(gone)} runs {'would be' if dry_run else 'were'} deleted")


def snapshot(
    path: Annotated[str, typer.Argument(help="The copy's file, which must not exist.", metavar="FILE")],
    store: StorePath = Path("orchkit.duckdb"),
    as_json: AsJson = False,
) -> None:
    """Copy a store into a new file, as it is at one moment; runs go on meanwhile."""
    with ending("snapshot"):
        refuse_missing(store)
        target = _fit_target(path, store)
        with open_for_reading(store) as opened:
            opened.snapshot(target)
        if as_json:
            print_json({"store": str(opened.path), "snapshot": str(target)})
        else:
            typer.echo(f"copied to {path}")

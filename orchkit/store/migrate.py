"""Migration: a file of an older schema becomes one of today's, by a copy into a new file; the old one stays beside it.

Kill it anywhere: under the store's name there is the old file, whole, or the new one, whole.
"""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import duckdb

from orchkit.errors import StoreUnreadable, StoreWriteError
from orchkit.model.wording import first_line
from orchkit.store.copies import discard, literal, sync_folder
from orchkit.store.look import connect, is_damage, unreadable, wal_size
from orchkit.store.schema import SCHEMA_VERSION, STATEMENTS

__all__ = ["create", "made_with", "migrate"]

# Of version 1: what it did not have is null, and an event's place in its run is counted anew.
_HEAD_1: Final = "seq, run, workflow, mode, seed, started, durability, fingerprints"
_EVENT_1: Final = (
    'seq, t, wall, run, kind, node, item, generation, leg, attempt, status, dur, cost, tokens, error, "by", body, "key"'
)
_OPENING_1: Final = "epoch, pid, opened, duckdb"
_FROM_1: Final = (
    f"insert into admission({_HEAD_1}) select {_HEAD_1} from {{old}}.admission order by seq",
    f"""insert into event_row({_EVENT_1}, n)
        select {_EVENT_1}, row_number() over (partition by run order by seq) from {{old}}.event order by seq""",
    f"insert into opening({_OPENING_1}) select {_OPENING_1} from {{old}}.opening order by epoch",
)
_STEPS: Final = {1: _FROM_1}


def migrate(path: Path, found: int, store_id: str) -> str:
    """Bring a file that nobody has open to the schema of today.

    Parameters
    ----------
    path : Path
    found : int
        Version of its schema.
    store_id : str
        The name that the store is given.

    Returns
    -------
    str
        Name of the old file now.

    Raises
    ------
    StoreUnreadable
        If the old file is damaged; it is left as it is.
    StoreWriteError
        If there is no room for a second file.
    """
    new = path.with_name(path.name + ".migrating")
    discard(new)
    try:
        _merge_log(path)
        _copy(path, new, found, store_id)
        kept = _keep(path, path.with_name(f"{path.name}.v{found}"))
        os.replace(new, path)
        sync_folder(path.parent)
    except OSError as error:
        raise _no_room(path, error.strerror or str(error)) from error
    finally:
        discard(new)
    return kept.name


def create(connection: duckdb.DuckDBPyConnection, store_id: str) -> None:
    """Make the tables and views of today."""
    for statement in STATEMENTS:
        connection.execute(statement)
    meta = [("schema_version", str(SCHEMA_VERSION)), ("store_id", store_id), ("created_with", made_with())]
    for row in meta:
        connection.execute("insert into meta values (?, ?)", row)


def made_with() -> str:
    """Name the orchkit that writes."""
    try:
        return version("orchkit")
    except PackageNotFoundError:  # run from its folder
        return ""


def _merge_log(path: Path) -> None:
    # The old file is to be whole under its new name, where nobody would look for its log.
    if not wal_size(path):
        return
    connection = connect(path)
    try:
        connection.execute("checkpoint")
    except duckdb.Error as error:
        raise _no_room(path, first_line(error)) from error
    finally:
        connection.close()


def _copy(path: Path, new: Path, found: int, store_id: str) -> None:
    try:
        connection = connect(new)
    except StoreUnreadable as error:  # it is new: nothing but the disk can be in the way
        raise _no_room(path, first_line(error.__cause__ or error)) from error
    old = f"old_{store_id}"  # a name that no file's can be
    try:
        connection.execute(f"attach {literal(path)} as {old} (read_only)")
        connection.execute("begin")
        create(connection, store_id)
        for statement in _STEPS[found]:
            connection.execute(statement.format(old=old))
        connection.execute("commit")
        connection.execute(f"detach {old}")
        connection.execute("checkpoint")
    except duckdb.Error as error:
        raise (unreadable(path, error) if is_damage(error) else _no_room(path, first_line(error))) from error
    finally:
        connection.close()


def _keep(path: Path, kept: Path) -> Path:
    stem, n = kept.name, 1
    while kept.exists() and not os.path.samefile(kept, path):
        n += 1
        kept = kept.with_name(f"{stem}-{n}")
    if not kept.exists():
        try:
            os.link(path, kept)
        except OSError:
            shutil.copyfile(path, kept)  # a disk that has no hard links
    return kept


def _no_room(path: Path, why: str) -> StoreWriteError:
    return StoreWriteError(
        f"{path} is of an older schema and cannot be moved to the one of today: {why}; see that the disk has room for "
        f"a second file and that {path.parent} lets you make files, or use the orchkit that wrote it"
    )

"""Copies: a store's file as a second file, whole or not at all; and what putting one file in another's place takes."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

import duckdb

from orchkit.errors import StoreError
from orchkit.model.wording import first_line
from orchkit.store.look import wal_path
from orchkit.store.schema import TABLES
from orchkit.store.targets import checked_target, part_of

__all__ = ["copy_database", "discard", "free_on_disk", "literal", "path_of", "snapshot", "sync_folder"]

_NAMES: Final = count(1)


def snapshot(cursor: duckdb.DuckDBPyConnection, target: Path) -> None:
    """Copy the database of a cursor into a new file, as it is at one moment; others go on writing.

    Raises
    ------
    StoreError
        If the file exists, or could not be written; nothing is left of it then.
    """
    # Under another name until it is whole: what has the name that was asked for is a store.
    part = part_of(checked_target(target, path_of(cursor)))
    try:
        discard(part)  # of a process that was killed
        copy_database(cursor, part)
        _name(part, target)
    except FileExistsError as error:
        raise StoreError(f"{target} exists and is left as it is; give another path") from error
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}; use another path") from error
    finally:
        with suppress(OSError):
            discard(part)


def _name(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # a rename would take the place of what was made there meanwhile
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links
        os.rename(part, target)
    sync_folder(target.parent)


def discard(path: Path) -> None:
    """Delete a database's file and its log, if they are there."""
    for one in (path, wal_path(path)):
        one.unlink(missing_ok=True)


def copy_database(cursor: duckdb.DuckDBPyConnection, target: Path, *, compare: bool = False) -> None:
    """Copy tables and views into a new file, in one transaction, and bring it to the disk.

    Parameters
    ----------
    cursor : duckdb.DuckDBPyConnection
    target : Path
    compare : bool
        Count the rows of both afterwards; for when nobody writes meanwhile.

    Raises
    ------
    StoreError
        If it could not be written.
    OSError
    """
    source, copy = _current_database(cursor), _quoted(f"orchkit copy {next(_NAMES)}")
    try:
        cursor.execute(f"attach {literal(target)} as {copy} (read_write)")  # also from a store that is only read
        try:
            cursor.execute(f"copy from database {source} to {copy}").fetchall()
            if compare:
                _compare(cursor, source, copy)
        except BaseException:
            with suppress(duckdb.Error):
                cursor.execute(f"detach {copy}")
            raise
        cursor.execute(f"detach {copy}")
    except duckdb.Error as error:
        raise StoreError(f"{target} cannot be written: {first_line(error)}; see that the disk has room") from error
    _sync(target)


def _compare(cursor: duckdb.DuckDBPyConnection, source: str, copy: str) -> None:
    for table in sorted(TABLES):
        counts = [
            cursor.execute(f"select count(*) from {database}.main.{table}").fetchall() for database in (source, copy)
        ]
        if counts[0] != counts[1]:
            raise StoreError(
                f"the copy of {table} has {counts[1][0][0]} of {counts[0][0][0]} rows; nothing was changed"
            )


def path_of(cursor: duckdb.DuckDBPyConnection) -> Path:
    """Say where the database of a cursor is."""
    ((path,),) = cursor.execute(
        "select path from duckdb_databases() where database_name = current_database()"
    ).fetchall()
    return Path(path)


def _current_database(cursor: duckdb.DuckDBPyConnection) -> str:
    """Give the quoted name of a cursor's database."""
    ((name,),) = cursor.execute("select current_database()").fetchall()
    return _quoted(name)


def _quoted(name: str) -> str:
    """Write a name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(path: Path) -> str:
    """Write a path in SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def _sync(path: Path) -> None:
    # It is no open database: the locks that DuckDB holds on the store's own file are not touched.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """See that a new name survives a power cut."""
    try:
        file = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # a system where folders cannot be opened
    try:
        os.fsync(file)
    finally:
        os.close(file)


def free_on_disk(folder: Path) -> int:
    """Give the bytes that are left on a folder's disk."""
    return shutil.disk_usage(folder).free

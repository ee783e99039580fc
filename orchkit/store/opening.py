"""Opening a store's file: what may be wrong with it is found here, and not at the first event.

The file is never opened, hashed or copied by Python while DuckDB has it open: closing any descriptor of it would drop
the POSIX lock that keeps other processes out. Looking at its inode is allowed.
"""

from __future__ import annotations

import os
import re
import threading
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import duckdb

from orchkit.clock.ids import here
from orchkit.errors import StoreBusy, StoreUnreadable, StoreWriteError
from orchkit.store.schema import SCHEMA_VERSION, STATEMENTS, TABLES
from orchkit.store.writer import first_line

__all__ = ["Inode", "inode_of", "open_file", "refuse_unfit", "release", "unreadable"]

Inode = tuple[int, int]

_CONFIG: dict[str, Any] = {
    "threads": min(4, os.cpu_count() or 1),
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "checkpoint_threshold": "64MB",
    # Opening replays the log at 55 us a commit, however small: this bounds it to a third of a second.
    "wal_autocheckpoint_entries": 5000,
    # A table takes a block at least, and a new store has seven; larger blocks were no faster at 3 million events, and
    # smaller ones slower.
    "default_block_size": 2**16,
    # A SELECT could otherwise turn on logging or profiling into a file: they are table functions.
    "lock_configuration": True,
}
_HEADERS = 3 * 4096  # bytes before a DuckDB file's first block
_HELD: dict[Inode, int] = {}
_LOCK = threading.Lock()


def open_file(path: Path) -> tuple[duckdb.DuckDBPyConnection, Inode]:
    """Open a store's file, make it if it is not there, and prove that it can be written.

    Returns
    -------
    connection : duckdb.DuckDBPyConnection
    inode : tuple of int
        To be given back to `release`.

    Raises
    ------
    StoreBusy
        If this or another process has it open.
    StoreUnreadable
        If it is no store, damaged, or newer than this orchkit.
    StoreWriteError
        If nothing can be written there.
    """
    refuse_unfit(path)
    _refuse_foreign(path)
    with _LOCK:
        _refuse_held(path)
        connection = _connect(path)
        inode = inode_of(path)
        assert inode is not None
        _HELD[inode] = os.getpid()
    try:
        _check_whole(connection, path)
        _prepare(connection, path)
        _probe(connection, path)
    except BaseException as error:
        connection.close()
        release(inode)
        if isinstance(error, duckdb.Error):
            raise unreadable(path, error) from error
        raise
    return connection, inode


def refuse_unfit(path: Path) -> None:
    """Refuse what can be no store, or is open in this process, before anything is made beside it.

    What is in the file is looked at by who has the owner's place: another process may be making it just now.

    Raises
    ------
    StoreBusy
        If this process has it open.
    StoreUnreadable
        If it is a directory, or in none.
    """
    if path.is_dir():
        raise StoreUnreadable(f"{path} is a directory; give the path of a file, such as lab.duckdb")
    if not path.parent.is_dir():
        raise StoreUnreadable(f"{path.parent} does not exist; make the directory first, or use another path")
    _refuse_held(path)


def inode_of(path: Path) -> Inode | None:
    """Tell a file from its namesakes; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def unreadable(path: Path, error: duckdb.Error) -> StoreUnreadable:
    """Say that a file is damaged."""
    return StoreUnreadable(f"{path} cannot be read: {first_line(error)}; restore it from a copy, or use another path")


def release(inode: Inode) -> None:
    """Say that a file is no longer open."""
    _HELD.pop(inode, None)


def _renew() -> None:
    # In a forked child the lock may be held by a thread that is not there.
    global _LOCK  # noqa: PLW0603 - it guards what one process holds
    _LOCK = threading.Lock()


os.register_at_fork(after_in_child=_renew)


def _refuse_held(path: Path) -> None:
    # Before DuckDB sees it: to open and close the file again by a second name would drop the lock of the first.
    inode = inode_of(path)
    pid = _HELD.get(inode) if inode is not None else None
    if pid is None:
        return
    if pid == os.getpid():
        raise StoreBusy(
            f"{path.name} is open in this process already; use that store, ok.open(path) shares it", pid=pid
        )
    raise StoreBusy(
        f"{path.name} is held by process {pid}, which this one was forked from; use spawn, or another path", pid=pid
    )


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        if not path.exists():
            _make(path)
        return duckdb.connect(str(path), config=_CONFIG)
    except duckdb.Error as error:
        held = re.search(r"held in (.*?) \(PID (\d+)\)", str(error))
        if held:
            raise StoreBusy(
                f"{path.name} is held by process {held[2]} ({held[1]}); close it there, or use another path",
                pid=int(held[2]),
            ) from error
        if "different configuration" in str(error):
            raise StoreBusy(
                f"{path.name} is open in this process by duckdb.connect; close that, and query it by store.sql",
                pid=os.getpid(),
            ) from error
        raise StoreUnreadable(
            f"{path} cannot be opened as a store: {first_line(error)}; use another path, or restore it from a copy"
        ) from error


def _make(path: Path) -> None:
    # Under another name first: a kill in the middle would leave a file that is no store, nor anything else.
    new = path.with_name(f"{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        duckdb.connect(str(new), config=_CONFIG).close()
        os.rename(new, path)
    except OSError as error:
        raise StoreWriteError(
            f"{path} cannot be written: {error.strerror}; see that {path.parent} lets you make files, or use another "
            "path"
        ) from error


def _refuse_foreign(path: Path) -> None:
    # DuckDB takes a short file of text for one of its own that was cut. This process does not have it open, or it
    # would have been refused by now, so reading it drops no lock.
    if path.is_file():
        with path.open("rb") as file:
            if file.read(12)[8:] != b"DUCK":
                raise StoreUnreadable(f"{path} is no DuckDB file, and is left as it is; give a store another path")


def _check_whole(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    # A file that was cut opens if its tail holds data only; the next checkpoint would then bury what is missing.
    # Free blocks at the end need not be there, so this finds a cut of what is used.
    query = "select used_blocks, block_size from pragma_database_size()"
    ((blocks, block_size),) = connection.execute(query).fetchall()
    missing = _HEADERS + blocks * block_size - path.stat().st_size
    if missing > 0:
        raise StoreUnreadable(f"{path} was cut: {missing} bytes are missing at its end; restore it from a copy")


def _prepare(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    tables = {row[0] for row in connection.execute("select table_name from duckdb_tables()").fetchall()}
    if not tables:
        _create(connection, path)
    elif not tables >= TABLES:
        raise StoreUnreadable(f"{path} is a DuckDB file but no orchkit store; use another path")
    else:
        meta = dict(connection.execute("select key, value from meta").fetchall())
        _check_version(meta.get("schema_version"), path)


def _check_version(found: str | None, path: Path) -> None:
    if found == str(SCHEMA_VERSION):
        return
    newer = found is not None and found.isdecimal() and int(found) > SCHEMA_VERSION
    way_out = "upgrade orchkit" if newer else "use the orchkit that wrote it"
    raise StoreUnreadable(
        f"{path} has schema version {found}, this orchkit knows {SCHEMA_VERSION}; {way_out}, or use another path"
    )


def _create(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        connection.execute("begin")
        for statement in STATEMENTS:
            connection.execute(statement)
        connection.execute("insert into meta values ('schema_version', ?)", [str(SCHEMA_VERSION)])
        connection.execute("commit")
        # A schema change must not sit in a log that may be replayed.
        connection.execute("checkpoint")
    except duckdb.Error as error:
        raise _unwritable(path, error) from error


def _probe(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    # A commit: a file that can be written in a directory that cannot opens well and fails at the first event.
    try:
        connection.execute(
            """insert into opening
               select coalesce(max(epoch), 0) + 1, ?, ?, make_timestamp(epoch_us(now())), version(), ?, 0
               from opening""",
            [os.getpid(), here(), _orchkit()],
        )
    except duckdb.Error as error:
        raise _unwritable(path, error) from error


def _orchkit() -> str:
    try:
        return version("orchkit")
    except PackageNotFoundError:  # run from its folder
        return ""


def _unwritable(path: Path, error: duckdb.Error) -> StoreWriteError:
    return StoreWriteError(
        f"{path} cannot be written: {first_line(error)}; see that the disk has room and that {path.parent} lets you "
        "make files, or use another path"
    )

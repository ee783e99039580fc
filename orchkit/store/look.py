"""Looking at a file: what it is and how far it goes, without writing a byte.

DuckDB is asked for reading only, for a file that it may write it also mends: a write-ahead log that it cannot read it
takes away, and with it what the log still held.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb

from orchkit.errors import StoreBusy, StoreUnreadable, StoreWriteError
from orchkit.model.wording import first_line
from orchkit.store.schema import NUMBERED, SCHEMA_VERSION

__all__ = [
    "Seen",
    "connect",
    "count_since",
    "inspect",
    "is_damage",
    "last_seq",
    "log_size",
    "look",
    "make",
    "unreadable",
    "wal_path",
    "wal_size",
]

_CONFIG: Final[dict[str, Any]] = {
    # One, as a commit is too small a thing to wake another for: with two a lone step takes a tenth longer. Who reads
    # much asks for more, for as long as it lasts.
    "threads": 1,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    # The store checkpoints by itself, earlier and in quiet moments; these are for when that fails.
    "checkpoint_threshold": "64MB",
    # Opening replays the log at 55 us a commit, however small: this bounds it to a third of a second.
    "wal_autocheckpoint_entries": 5000,
    # A table takes a block at least, and a new store has seven; larger blocks were no faster at 3 million events, and
    # smaller ones slower.
    "default_block_size": 2**16,
}
_HEADERS: Final = 3 * 4096  # bytes before a DuckDB file's first block

_EVERY_VERSION: Final = (
    "select seq, run, workflow, fingerprints from admission limit 0",
    "select seq, t, run, kind, node, generation, leg, attempt, body from event limit 0",
)


class Seen(NamedTuple):
    """What a file is.

    Attributes
    ----------
    version : int
        Of its schema; 0 if it is an empty DuckDB file.
    store_id : str
        "" if it has none yet.
    seq : int
        The last that is there.
    events : int
        How many are there.
    """

    version: int
    store_id: str = ""
    seq: int = 0
    events: int = 0


def look(path: Path) -> Seen:
    """Look at a file that nobody has open.

    Raises
    ------
    StoreBusy
        If somebody has.
    StoreUnreadable
        If it is no store, damaged, or newer than this orchkit.
    """
    connection = connect(path, read_only=True)
    try:
        return inspect(connection, path)
    finally:
        connection.close()


def make(path: Path) -> None:
    """Make an empty DuckDB file.

    Raises
    ------
    StoreWriteError
        If it cannot be made.
    """
    # Under another name first: a kill in the middle would leave a file that is no store, nor anything else.
    new = path.with_name(f"{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        connect(new).close()
        os.rename(new, path)
    except OSError as error:
        raise StoreWriteError(
            f"{path} cannot be written: {error.strerror}; see that {path.parent} lets you make files, or use another "
            "path"
        ) from error


def inspect(connection: duckdb.DuckDBPyConnection, path: Path) -> Seen:
    """Look at a file that is open.

    Raises
    ------
    StoreUnreadable
        If it is no store, damaged, or newer than this orchkit.
    """
    try:
        _check_whole(connection, path)
        return _seen(connection, path)
    except duckdb.Error as error:
        raise unreadable(path, error) from error


def connect(path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a file with DuckDB.

    Raises
    ------
    StoreBusy
        If this or another process has it open.
    StoreUnreadable
        If DuckDB refuses it.
    """
    try:
        return duckdb.connect(str(path), read_only=read_only, config=_CONFIG)
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
            f"{path} cannot be opened as a store: {first_line(error)}; use another path, or restore it from a copy",
            at_opening=True,  # it may be the log that is damaged
        ) from error


def _check_whole(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    # A file that was cut opens if its tail holds data only; the next checkpoint would then bury what is missing.
    # Free blocks at the end need not be there, so this finds a cut of what is used.
    query = "select used_blocks, block_size from pragma_database_size()"
    ((blocks, block_size),) = connection.execute(query).fetchall()
    missing = _HEADERS + blocks * block_size - path.stat().st_size
    if missing > 0:
        raise StoreUnreadable(f"{path} was cut: {missing} bytes are missing at its end; restore it from a copy")


def _seen(connection: duckdb.DuckDBPyConnection, path: Path) -> Seen:
    try:
        meta = dict(connection.execute("select key, value from meta").fetchall())
        version = _known_version(meta.get("schema_version"), path)
        for every in _EVERY_VERSION:  # others have a `meta` too
            connection.execute(every).fetchall()
        if version < SCHEMA_VERSION:
            return Seen(version)
        return Seen(version, meta.get("store_id", ""), *last_seq(connection))
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        # A table or a column is not there. To list them all takes as long as all the rest.
        if connection.execute("select 1 from duckdb_tables()").fetchall():
            raise StoreUnreadable(f"{path} is a DuckDB file but no orchkit store; use another path") from error
        return Seen(0)


def count_since(path: Path, base: int) -> dict[str, int]:
    """Count the events of each run that stand behind a `seq`, in a file that nobody has open."""
    connection = connect(path, read_only=True)
    try:
        counted = connection.execute("select run, count(*) from event where seq > ? group by run", [base]).fetchall()
        return dict(counted)
    except duckdb.Error as error:
        raise unreadable(path, error) from error
    finally:
        connection.close()


def last_seq(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Give the last `seq`, and how many events there are."""
    last = ", ".join(f"coalesce((select max(seq) from {name}), 0)" for name in NUMBERED)
    ((seq, events),) = connection.execute(f"select greatest({last}), (select count(*) from event)").fetchall()
    return seq, events


def _known_version(found: str | None, path: Path) -> int:
    version = int(found) if found is not None and found.isdecimal() else 0
    if 0 < version <= SCHEMA_VERSION:
        return version
    way_out = "upgrade orchkit" if version else "use the orchkit that wrote it"
    raise StoreUnreadable(
        f"{path} has schema version {found}, this orchkit knows {SCHEMA_VERSION}; {way_out}, or use another path"
    )


def is_damage(error: BaseException) -> bool:
    """Say whether it is the file that DuckDB blames, and not the query."""
    return "Corrupt database file" in str(error)


def unreadable(path: Path, error: BaseException) -> StoreUnreadable:
    """Say that a file is damaged, where, and what can still be had."""
    block = re.search(r"in block at location (\d+)", str(error))
    where = f"the block at byte {block[1]} is damaged ({first_line(error)})" if block else first_line(error)
    return StoreUnreadable(
        f"{path} cannot be read: {where}; restore it from a copy, or take out what does not lie there: store.runs(), "
        "store.events(id) and store.sql still give it"
    )


def wal_path(path: Path) -> Path:
    """Say where the write-ahead log of a file is."""
    return path.with_name(path.name + ".wal")


def wal_size(path: Path) -> int:
    """Give the bytes of the write-ahead log of a file, which may be open; 0 if there is none."""
    return log_size(wal_path(path))


def log_size(log: str | os.PathLike[str]) -> int:
    """Give the bytes of a write-ahead log; 0 if there is none."""
    try:
        return os.stat(log).st_size
    except OSError:
        return 0

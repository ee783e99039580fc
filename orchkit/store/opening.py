"""Opening a store's file: what may be wrong with it is found here, and not at the first event.

The file is never opened, hashed or copied by Python while DuckDB has it open: closing any descriptor of it would drop
the POSIX lock that keeps other processes out. Looking at its inode is allowed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb

from orchkit.clock.ids import here
from orchkit.errors import StoreDamaged, StoreNotice, StoreUnreadable, StoreWriteError
from orchkit.model.wording import first_line
from orchkit.store.damage import Damage, damage_of, is_whole
from orchkit.store.held import Inode, held, refuse_foreign, refuse_unfit, release
from orchkit.store.look import Seen, connect, inspect, look, make, unreadable, wal_size
from orchkit.store.lost import refuse_lost, refuse_missing
from orchkit.store.marks import Known, Marks, read_marks
from orchkit.store.migrate import create, made_with, migrate
from orchkit.store.names import refuse_linked
from orchkit.store.repair import Mended, mend, mend_header, set_aside
from orchkit.store.schema import SCHEMA_VERSION

__all__ = ["Opened", "open_file"]


class Opened(NamedTuple):
    """A file that was opened.

    Attributes
    ----------
    connection : duckdb.DuckDBPyConnection
    inode : tuple of int
        To be given back to `release`.
    seq : int
        The last that is there.
    marks : Marks or None
        Where to say how far it gets; None if it was opened for reading only.
    damage : Damage or None
        What is missing; then it was opened for reading only.
    notices : tuple of StoreNotice
        What its user should know.
    """

    connection: duckdb.DuckDBPyConnection
    inode: Inode
    seq: int
    marks: Marks | None
    damage: Damage | None
    notices: tuple[StoreNotice, ...]


def open_file(path: Path, *, read_only: bool = False, confirmed: bool = False) -> Opened:
    """Open a store's file; make it if it is not there, and mend or migrate it if it needs that.

    Nothing is written before it is known that nothing is missing; if something is, the file is opened for reading
    only, unless that was `confirmed`.

    Raises
    ------
    StoreBusy
        If this or another process has it open.
    StoreUnreadable
        If it is no store, damaged beyond repair, or newer than this orchkit; has a second name, or one that no store
        may have; or was taken away, and what lay beside it is still there. With `read_only` also if it is not there,
        or would have to be mended or migrated first.
    StoreWriteError
        If nothing can be written there.
    """
    refuse_unfit(path)
    refuse_foreign(path)
    if read_only:
        refuse_missing(path)
    if not path.exists():
        refuse_lost(path)
        make(path)
        return _open_to_write(path, Seen(0))
    refuse_linked(path, old=True)
    if not read_only and not wal_size(path):
        opened = _open_whole(path)
        if opened is not None:
            return opened
    seen, mended, notices = _made_fit(path, read_only)
    known = read_marks(path, seen.store_id)
    damage = damage_of(path, known, seen, mended=mended.cause, kept=mended.kept)
    if damage is not None and not read_only and not confirmed:
        seen, known, damage, header = _with_header(path, seen, known, damage)
        mended = header or mended
    if damage is not None and not confirmed:
        if known is None:
            # The log is cut now: at the next opening nothing would tell but this.
            _mark_lost(path, seen)
        return _open_to_read(path, seen, damage, (*notices, StoreDamaged(damage.report)))
    if read_only:
        return _open_to_read(path, seen, damage, notices)
    if mended.cause and damage is None:
        notices.append(StoreDamaged(_nothing_missing(path, mended)))
    if damage is not None and wal_size(path):
        _keep_log(path)
    return _open_to_write(path, seen, known, damage, notices)


def _made_fit(path: Path, read_only: bool) -> tuple[Seen, Mended, list[StoreNotice]]:
    mended, notices = Mended(), []
    try:
        seen = look(path)
    except StoreUnreadable as error:
        if not getattr(error, "at_opening", False) or not wal_size(path):
            raise
        if read_only:
            way_out = f"if that is its log, ok.open({path.name!r}) mends it"
            raise StoreUnreadable(f"{error}; {way_out}") from error
        mended = mend(path, error)
        seen = look(path)
    if read_only and seen.version != SCHEMA_VERSION:
        raise _not_as_it_is(path, seen)
    if 0 < seen.version < SCHEMA_VERSION:
        kept = migrate(path, seen.version, secrets.token_hex(8))
        notices.append(
            StoreNotice(
                f"{path.name} was written by an older orchkit and has been moved to schema version {SCHEMA_VERSION}; "
                f"{kept} is the file as it was"
            )
        )
        seen = look(path)
    return seen, mended, notices


def _not_as_it_is(path: Path, seen: Seen) -> StoreUnreadable:
    if not seen.version:
        return StoreUnreadable(f"{path} is an empty DuckDB file and no store yet; open it to write")
    return StoreUnreadable(
        f"{path} has schema version {seen.version}, and this orchkit reads {SCHEMA_VERSION}; open it once to write, by "
        f"ok.open({path.name!r}): that moves it and keeps the old file"
    )


def _with_header(
    path: Path, seen: Seen, known: Known | None, damage: Damage
) -> tuple[Seen, Known | None, Damage | None, Mended | None]:
    header = mend_header(path) if known is not None and not known.lost else None
    if header is None:
        return seen, known, damage, None
    seen = look(path)
    return seen, known, damage_of(path, known, seen, mended=header.cause, kept=header.kept), header


def _keep_log(path: Path) -> None:
    # DuckDB takes away what it cannot read of it; somebody else may read more.
    try:
        set_aside(path)
    except OSError as error:
        raise StoreWriteError(
            f"{path} cannot be copied as it is: {error.strerror}; see that the disk has room, and confirm again"
        ) from error


def _mark_lost(path: Path, seen: Seen) -> None:
    marks = Marks(path, seen.store_id)
    marks.begin(seen.seq, seen.events, lost=True)
    marks.close()


def _nothing_missing(path: Path, mended: Mended) -> str:
    return (
        f"{path.name}: {mended.cause}; it was mended, nothing that was acknowledged is missing, and {mended.kept} is a "
        "copy of how it was"
    )


def _open_to_read(path: Path, seen: Seen, damage: Damage | None, notices: Sequence[StoreNotice]) -> Opened:
    refuse_linked(path)
    with held(path) as hold:
        return Opened(connect(path, read_only=True), hold(), seen.seq, None, damage, tuple(notices))


def _open_whole(path: Path) -> Opened | None:
    # What has no log can be opened to write and looked at: DuckDB changes nothing before something is written.
    with held(path) as hold:
        connection, inode = connect(path), hold()
    with _closed_on_error(path, connection, inode):
        seen = inspect(connection, path)
        known = read_marks(path, seen.store_id)
        if seen.version in (0, SCHEMA_VERSION) and (known is None or is_whole(known, seen)):
            return _begun(path, connection, inode, seen)
    connection.close()
    release(inode)
    return None


def _open_to_write(
    path: Path,
    seen: Seen,
    known: Known | None = None,
    damage: Damage | None = None,
    notices: Sequence[StoreNotice] = (),
) -> Opened:
    pending = wal_size(path) > 0
    with held(path) as hold:
        connection, inode = connect(path), hold()
    with _closed_on_error(path, connection, inode):
        going_on = known if pending and damage is None else None
        missing = 0 if damage is None else damage.missing
        return _begun(path, connection, inode, seen, going_on, missing=missing, notices=notices, merged=not pending)


def _begun(
    path: Path,
    connection: duckdb.DuckDBPyConnection,
    inode: Inode,
    seen: Seen,
    known: Known | None = None,
    *,
    missing: int | None = 0,
    notices: Sequence[StoreNotice] = (),
    merged: bool = True,
) -> Opened:
    refuse_linked(path)  # a file that was moved to the schema of today has one name again
    store_id = _prepare(connection, path, seen)
    _probe(connection, path, missing)
    marks = Marks(path, store_id)
    if known is not None and known.last <= seen.seq:
        marks.go_on(known)
    else:
        marks.begin(seen.seq, seen.events, merged=merged)
    return Opened(connection, inode, seen.seq, marks, None, tuple(notices))


@contextmanager
def _closed_on_error(path: Path, connection: duckdb.DuckDBPyConnection, inode: Inode) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        connection.close()
        release(inode)
        if isinstance(error, duckdb.Error):
            raise unreadable(path, error) from error
        raise


def _prepare(connection: duckdb.DuckDBPyConnection, path: Path, seen: Seen) -> str:
    if seen.store_id:
        return seen.store_id
    store_id = secrets.token_hex(8)
    try:
        if seen.version:
            connection.execute("insert into meta values ('store_id', ?)", [store_id])
            return store_id
        connection.execute("begin")
        create(connection, store_id)
        connection.execute("commit")
        # A schema change must not sit in a log that may be replayed.
        connection.execute("checkpoint")
    except duckdb.Error as error:
        raise _unwritable(path, error) from error
    return store_id


def _probe(connection: duckdb.DuckDBPyConnection, path: Path, missing: int | None) -> None:
    # A commit: a file that can be written in a directory that cannot opens well and fails at the first event.
    try:
        connection.execute(
            """insert into opening
               select coalesce(max(epoch), 0) + 1, ?, ?, make_timestamp(epoch_us(now())), version(), ?, ?
               from opening""",
            [os.getpid(), here(), made_with(), missing],
        )
    except duckdb.Error as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: duckdb.Error) -> StoreWriteError:
    return StoreWriteError(
        f"{path} cannot be written: {first_line(error)}; see that the disk has room and that {path.parent} lets you "
        "make files, or use another path"
    )

"""Repair: a write-ahead log that DuckDB refuses is cut where it can still be read, and how it was is kept beside it.

Nothing is thrown away. Copies of the file and its log are set aside before anything is changed; the main file is not
changed at all; and the mended log is put in place only when DuckDB has opened it, for reading, beside the real one.
All of it happens while nobody has the file open.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from orchkit.errors import StoreUnreadable
from orchkit.store.look import connect, unreadable, wal_path, wal_size
from orchkit.store.rows import Row

__all__ = ["Mended", "mend", "mend_header", "set_aside"]

_FLIPPED: Final = 4  # bytes of a log's header that differ: more, and it is the log of another file
_SIBLINGS: Final = ("", ".wal", ".wal.checkpoint", ".wal.recovery")


class Mended(NamedTuple):
    """What was done.

    Attributes
    ----------
    cause : str
        What was wrong.
    kept : str
        Name of the copy of how it was.
    """

    cause: str = ""
    kept: str = ""


def mend(path: Path, refusal: StoreUnreadable) -> Mended:
    """Mend a file that DuckDB refused to open.

    Raises
    ------
    StoreUnreadable
        The refusal, if it is not the log that is damaged; or if there is no room to mend it.
    """
    try:
        if _was_checkpointing(path):
            return _recovered(path)
        with _bench(path) as bench:
            if not bench.opens(b""):
                raise refusal
            kept = set_aside(path)
            log = wal_path(path).read_bytes()
            whole = bench.longest(_with_header(log, _true_header(path)))
            if not bench.adds(whole):
                whole = bench.longest(log)
            bench.put_in_place(whole)
    except OSError as error:
        raise _no_room(path, error) from refusal
    return Mended(_cause(path, refusal, len(whole), len(log)), kept)


def _was_checkpointing(path: Path) -> bool:
    return any(path.with_name(path.name + sibling).exists() for sibling in _SIBLINGS[2:])


def _recovered(path: Path) -> Mended:
    # Whoever opens it for reading only may not finish what was begun.
    kept = set_aside(path)
    connect(path).close()
    return Mended("it was in the midst of a checkpoint", kept)


def mend_header(path: Path) -> Mended | None:
    """Mend a log whose first bytes are damaged: DuckDB takes it for no log, and what follows may be whole.

    Returns
    -------
    Mended or None
        None if that brings nothing back, and nothing was changed.
    """
    log = wal_path(path).read_bytes() if wal_size(path) else b""
    try:
        mended = _with_header(log, _true_header(path)) if log else log
        if mended == log:
            return None
        with _bench(path) as bench:
            whole = bench.longest(mended)
            if not bench.adds(whole):
                return None
            kept = set_aside(path)
            bench.put_in_place(whole)
    except OSError:
        return None  # no room for it; the log stays as it is, to be mended later
    return Mended(_first_bytes(path), kept)


def set_aside(path: Path) -> str:
    """Copy a file and its log as they are; give the name of the copy."""
    n = 1
    while (kept := path.with_name(f"{path.name}.damaged-{n}")).exists():
        n += 1
    for sibling in reversed(_SIBLINGS):
        source = path.with_name(path.name + sibling)
        if source.exists():
            shutil.copyfile(source, kept.with_name(kept.name + sibling))
    return kept.name


class _Bench:
    """A place beside a file where logs are tried on it: a second name of it, opened for reading only."""

    def __init__(self, path: Path, place: Path) -> None:
        self._path = path
        self._place = place
        self._refusal = ""

    def opens(self, log: bytes) -> bool:
        wal_path(self._place).write_bytes(log)
        try:
            connect(self._place, read_only=True).close()
        except StoreUnreadable as error:
            self._refusal = str(error.__cause__)
            return False
        return True

    def longest(self, log: bytes) -> bytes:
        """Cut a log to what can be read of it."""
        good, bad = 0, len(log) + 1
        at = len(log)
        while bad - good > 1:
            if self.opens(log[:at]):
                good = at
            else:
                bad = at
            named = re.search(r"byte position (\d+)", self._refusal)
            # Where DuckDB says, or else by halves: a log that is cut anywhere opens with what comes before.
            at = int(named[1]) if named and good < int(named[1]) < bad else (good + bad) // 2
            if named and good == int(named[1]):
                break
        return log[:good]

    def adds(self, log: bytes) -> bool:
        """Say whether a log brings events that come after those of the file, and none twice."""
        before, after = self._tally(b""), self._tally(log)
        return bool(after[0] > before[0] and after[1] == after[2])

    def _tally(self, log: bytes) -> Row:
        wal_path(self._place).write_bytes(log)
        connection = connect(self._place, read_only=True)
        try:
            tally = "select coalesce(max(seq), 0), count(*), count(distinct seq) from event"
            row: Row = connection.execute(tally).fetchall()[0]
            return row
        except duckdb.Error as error:
            raise unreadable(self._path, error) from error
        finally:
            connection.close()

    def put_in_place(self, log: bytes) -> None:
        """Make a log the real one; an empty one is none."""
        if not log:
            wal_path(self._path).unlink()
            return
        mended = wal_path(self._place)
        mended.write_bytes(log)
        with mended.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(mended, wal_path(self._path))


@contextmanager
def _bench(path: Path) -> Iterator[_Bench]:
    place = path.with_name(path.name + ".mending")
    _clear(place)
    try:
        _second_name(path, place)
        yield _Bench(path, place)
    finally:
        _clear(place)


def _second_name(path: Path, place: Path) -> None:
    try:
        os.link(path, place)
    except OSError:
        shutil.copyfile(path, place)  # a disk that has no hard links


def _clear(place: Path) -> None:
    for sibling in _SIBLINGS:
        place.with_name(place.name + sibling).unlink(missing_ok=True)


def _true_header(path: Path) -> bytes:
    """Give what a log of this file must begin with, by letting DuckDB begin one for a copy."""
    place = path.with_name(path.name + ".mending-header")
    _clear(place)
    try:
        shutil.copyfile(path, place)
        try:
            connection = connect(place)
        except StoreUnreadable:
            return b""
        try:
            connection.execute("create table begins(a integer)")
            return _header(wal_path(place).read_bytes())
        except duckdb.Error:
            return b""
        finally:
            connection.close()
    finally:
        _clear(place)


def _header(log: bytes) -> bytes:
    # Fields of a number and a value each: what it is (98: a version), which version, the database's 16 random numbers
    # of 7 bits a byte, its checkpoints so far; then the end.
    start = b"\x64\x00\x62\x65\x00\x02\x66\x00\x10"
    if not log.startswith(start):
        return b""  # a version of DuckDB that writes other logs: then its headers are not mended
    at = len(start)
    for number in range(17):
        at += 2 if number == 16 else 0
        while at < len(log) and log[at] & 0x80:
            at += 1
        at += 1
    return log[: at + 2] if log[at : at + 2] == b"\xff\xff" else b""


def _with_header(log: bytes, header: bytes) -> bytes:
    """Give a log the header that it must have, if all but a few of its bytes are that already."""
    differ = sum(a != b for a, b in zip(log, header, strict=False))
    return header + log[len(header) :] if 0 < differ <= _FLIPPED and len(log) > len(header) else log


def _first_bytes(path: Path) -> str:
    return f"the first bytes of its write-ahead log {wal_path(path).name} were damaged"


def _cause(path: Path, refusal: StoreUnreadable, size: int, whole: int) -> str:
    log = wal_path(path).name
    if size == whole:
        return _first_bytes(path)
    said = str(refusal.__cause__)
    if "older version" in said:
        return f"its write-ahead log {log} was one of earlier, which the file has in it already, and was taken away"
    if "does not match database" in said:
        return f"its write-ahead log {log} was that of another file, and was taken away"
    return f"its write-ahead log {log} was damaged and can be read up to byte {size} of {whole}"


def _no_room(path: Path, error: OSError) -> StoreUnreadable:
    return StoreUnreadable(
        f"{path} is damaged and cannot be mended here: {error.strerror or error}; see that the disk has room for two "
        f"copies of it and that {path.parent} lets you make files, or restore it from a copy"
    )

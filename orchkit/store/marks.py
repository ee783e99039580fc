"""Marks: how far a store's file had got, kept beside it, so that rows which go missing are missed.

DuckDB opens a file whose write-ahead log was deleted or cut, or had a bit flipped where it hurts, without a word and
without the rows. ``<path>.marks`` says after each commit, and before anybody is told, which ``seq`` was reached and
how many events of which runs were in it. It is not synced: what survives a power cut may say less than the file, never
more.

It begins anew whenever the write-ahead log has been merged into the file, so it covers a few thousand commits; a record
takes some twenty bytes a run, less than the rows that it speaks of take in the log, which is bounded to 64 MB, or in
the file, where DuckDB writes many at once.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from orchkit.store.look import log_size, wal_path

__all__ = ["Known", "Marks", "marks_path", "read_marks"]

_MAGIC: Final = "orchkit marks 1"
_FRAME: Final = struct.Struct("<II")  # length and checksum of what follows
_PACK: Final = msgspec.msgpack.Encoder().encode
_UNPACK: Final = msgspec.msgpack.Decoder().decode


class Known(msgspec.Struct, frozen=True):
    """What the marks of a file say.

    Attributes
    ----------
    base : int
        The `seq` that was reached when the marks began.
    events : int
        How many events there were then.
    lost : bool
        Whether a damaged log was mended while there were no marks: nobody knows what it held.
    commits : tuple
        Of each commit since, the `seq` that it reached and the number of its events by run.
    end : int, bytes
        Where the next record goes: behind it is nothing, or a torn one.
    merged : bool
        Whether everything up to `base` was in the file itself, and nothing of it in the log only.
    """

    base: int
    events: int
    lost: bool
    commits: tuple[tuple[int, dict[str, int]], ...]
    end: int
    merged: bool = False

    @property
    def runs(self) -> Counter[str]:
        """How many events the commits had, by run."""
        runs: Counter[str] = Counter()
        for _, counts in self.commits:
            runs.update(counts)
        return runs

    @property
    def acknowledged(self) -> int:
        """How many events there must be."""
        return self.events + sum(sum(counts.values()) for _, counts in self.commits)

    @property
    def last(self) -> int:
        """The `seq` that was reached."""
        return self.commits[-1][0] if self.commits else self.base


def marks_path(path: Path) -> Path:
    """Say where the marks of a file are."""
    return path.with_name(path.name + ".marks")


def read_marks(path: Path, store_id: str | None = None) -> Known | None:
    """Read the marks of a store's file; None if there are none, or they are those of another than `store_id`."""
    try:
        data = marks_path(path).read_bytes()
        records, end = _records(data)
        magic, store, base, events, lost, *merged = records[0]
        if magic != _MAGIC or store_id not in (None, store):
            return None
        return Known(base, events, lost, tuple((seq, runs) for seq, runs in records[1:]), end, merged == [True])
    except (OSError, IndexError, TypeError, ValueError):
        return None


def _records(data: bytes) -> tuple[list[Any], int]:
    records, at = [], 0
    while at + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, at)
        packed = data[at + _FRAME.size : at + _FRAME.size + length]
        if len(packed) < length or zlib.crc32(packed) != checksum:
            break
        records.append(_UNPACK(packed))
        at += _FRAME.size + length
    return records, at


def _framed(record: Any) -> bytes:
    packed = _PACK(record)
    return _FRAME.pack(len(packed), zlib.crc32(packed)) + packed


class Marks:
    """Keeps the marks of one open file.

    A disk that has no room for them takes no commit back: they are written later, or say less.

    Parameters
    ----------
    path : Path
        Of the store's file.
    store_id : str
    """

    def __init__(self, path: Path, store_id: str) -> None:
        self._path = marks_path(path)
        self._log = wal_path(path)
        self._store_id = store_id
        self._file = -1
        self._end = 0
        self._late = b""

    def go_on(self, known: Known) -> None:
        """Go on with the marks that are there: the log that they speak of is not merged yet."""
        try:
            self._open()
            os.ftruncate(self._file, known.end)
            self._end = known.end
        except OSError:
            self.close()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | getattr(os, "O_BINARY", 0))

    def begin(self, seq: int, events: int, *, lost: bool = False, merged: bool | None = None) -> None:
        """Begin anew: the file with its log reaches `seq`, and has so many events.

        Parameters
        ----------
        seq, events : int
        lost : bool
            A damaged log was mended while there were no marks.
        merged : bool, optional
            Whether all of it is in the file itself; without it the log says so, by being empty or not there.
        """
        self.close()
        merged = not log_size(self._log) if merged is None else merged
        first = _framed([_MAGIC, self._store_id, seq, events, lost, merged])
        new = self._path.with_name(self._path.name + ".new")
        try:
            # By a rename: whenever the process is killed, there are the old marks or the new ones.
            new.write_bytes(first)
            os.replace(new, self._path)
            self._open()
            self._end = len(first)
        except OSError:
            self.close()

    def add(self, seq: int, runs: Mapping[str, int]) -> None:
        """Say that a commit has reached `seq`, with so many events of those runs."""
        if self._file < 0:
            return
        record = self._late + _framed((seq, runs))
        try:
            written = _write_at(self._file, record, self._end)
        except OSError:
            written = 0
        if written < len(record):
            self._late = record  # from the same place again, or a torn record would hide those behind it
        else:
            self._late = b""
            self._end += written

    @property
    def size(self) -> int:
        """Bytes."""
        return self._end + len(self._late)

    def close(self) -> None:
        """Let the file go; safe to call twice, and in a forked child."""
        file, self._file, self._late = self._file, -1, b""
        if file >= 0:
            os.close(file)


def _write_at(file: int, record: bytes, end: int) -> int:
    # In one call where there is one: each gives up the interpreter's lock, and has to wait until it gets it back.
    if hasattr(os, "pwrite"):
        return os.pwrite(file, record, end)
    os.lseek(file, end, os.SEEK_SET)
    return os.write(file, record)

"""The wire between the processes of one store: frames of msgpack on a Unix socket."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from orchkit import errors
from orchkit.errors import OrchkitError, StoreError
from orchkit.store.holder import Holder
from orchkit.store.mail import OUTCOME
from orchkit.store.rows import LATEST, Entry
from orchkit.store.schema import APPENDED, EVENT_ROW, HEAD_COLUMNS

__all__ = ["OwnerGone", "OwnerSilent", "entries_of", "error_of", "receive", "refuse_unfit_holder", "send", "told_of"]

_LENGTH: Final = struct.Struct("!I")
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder().decode
_LONGEST: Final = 2**30  # bytes of a message
_STRANGER: Final = 4096  # bytes that are read from who has not shown the token
_TIMES: Final = {"event": 1, "admission": 4, "holder": 5, "mail": 9}
_NULL: Final = type(None)
# What a column may hold, by its type: the writer's commit holds rows of others too, and one bad row would end it.
_FITS: Final[dict[str, type | tuple[type, ...]]] = {
    "bigint": int,
    "integer": int,
    "double": (float, int),
    "varchar": str,
    "blob": bytes,
    "timestamp": datetime,
}
_DOUBLE: Final = sys.float_info.max
_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "bigint": (-(2**63), 2**63 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "double": (-_DOUBLE, _DOUBLE),
}
# Beyond these a row could be committed, and then nobody could read it back.
_SECONDS: Final = LATEST / 1e6
_NARROWER: Final = {("event", "t"): (-_SECONDS, _SECONDS), ("event", "dur"): (0.0, _SECONDS)}
# Columns that may be null; who reads the others counts on a value, and one row would end everybody's listing.
_NULLABLE: Final = {
    "admission": {"started", "parent", "holder"},
    "payload": {"text", "data"},
    "event": {"wall", "node", "item", "status", "dur", "error", "by", "body", "key", "ref"},
    "holder": set[str](),
    "lease": {"holder"},
    "mail": {"item"},
}


class _Column(NamedTuple):
    name: str
    type: str
    nullable: bool
    least: float
    most: float

    def fits(self, value: Any) -> bool:
        if value is None:
            return self.nullable
        if not isinstance(value, _FITS[self.type]) or isinstance(value, bool):
            return False
        if isinstance(value, (int, float)):
            return self.least <= value <= self.most
        return not isinstance(value, datetime) or value.tzinfo is None


def _columns(table: str, statement: str) -> tuple[_Column, ...]:
    words = [column.split() for column in statement.partition("(")[2].rpartition(")")[0].split(",")]
    named = [(name.strip('"'), kind) for name, kind in words[1:]]
    bounds = {name: _NARROWER.get((table, name), _BOUNDS.get(kind, (0, 0))) for name, kind in named}
    return tuple(_Column(name, kind, name in _NULLABLE[table], *bounds[name]) for name, kind in named)


_STATEMENTS: Final = {**APPENDED, "event": EVENT_ROW}
_TABLES: Final = {table: _columns(table, _STATEMENTS[table]) for table in _NULLABLE}


class OwnerGone(Exception):
    """The owner of the file does not answer any more; another will."""


class OwnerSilent(OwnerGone):
    """The owner of the file is there and says nothing, as one that was stopped."""


def send(link: socket.socket, message: Any) -> None:
    """Send one message.

    Raises
    ------
    OwnerGone
        If nobody is there to take it.
    StoreError
        If it is too long; nothing was sent.
    """
    packed = _ENCODE(message)
    if len(packed) > _LONGEST:
        raise StoreError(
            f"{len(packed)} bytes are too many to be sent between processes, which takes {_LONGEST}; ask for less at "
            "once, or do it in the process that holds the store"
        )
    try:
        link.sendall(_LENGTH.pack(len(packed)) + packed)
    except OSError as error:
        raise OwnerGone from error


def receive(link: socket.socket, *, stranger: bool = False) -> Any:
    """Wait for one message.

    Raises
    ------
    OwnerGone
        If the other side has gone, or sends what it may not.
    """
    try:
        (length,) = _LENGTH.unpack(_read(link, _LENGTH.size))
        if length > (_STRANGER if stranger else _LONGEST):
            raise OwnerGone
        return _DECODE(_read(link, length))
    except (OSError, msgspec.DecodeError) as error:
        raise OwnerGone from error


def _read(link: socket.socket, size: int) -> bytes:
    read = bytearray()
    while len(read) < size:
        part = link.recv(min(size - len(read), 2**20))
        if not part:
            raise OwnerGone
        read += part
    return bytes(read)


def entries_of(sent: Any) -> list[Entry]:
    """Check rows that came over the wire.

    Raises
    ------
    StoreError
        If one does not fit its table.
    """
    return [_entry(table, list(row)) for table, row in sent]


def _entry(table: str, row: list[Any]) -> Entry:
    columns = _TABLES.get(table)
    if columns is None or len(row) != len(columns):
        raise StoreError(f"a row for {table!r} has {len(row)} values, which is no row of this store")
    at = _TIMES.get(table)
    if at is not None and row[at] is not None:
        row[at] = datetime.fromisoformat(row[at])
    for value, column in zip(row, columns, strict=True):
        if not column.fits(value):
            raise StoreError(f"a row for {table!r} has {value!r:.80}, which does not fit its column {column.name!r}")
    _CHECKS.get(table, _anything)(row)
    return table, tuple(row)


def _anything(row: list[Any]) -> None:
    pass


def _refuse_unread(row: list[Any]) -> None:
    # Who lists the runs reads all of them.
    msgspec.json.decode(row[_FINGERPRINTS], type=dict[str, Any])


def _refuse_given(row: list[Any]) -> None:
    if row[1] is not None:
        raise StoreError(f"run {row[0]!r:.80} is given by its owner to who takes it, and cannot be given by a row")


def _refuse_letter(row: list[Any]) -> None:
    # When a letter was recorded decides whether it counts, and its owner says so.
    if row[5] != OUTCOME:
        raise StoreError(f"a letter to run {row[1]!r:.80} is recorded by its owner, and cannot be given by a row")


_FINGERPRINTS: Final = HEAD_COLUMNS.index("fingerprints") - 1  # a row lacks its seq
_CHECKS: Final[dict[str, Callable[[list[Any]], None]]] = {
    "admission": _refuse_unread,
    "lease": _refuse_given,
    "mail": _refuse_letter,
}


def refuse_unfit_holder(holder: Holder) -> None:
    """Refuse a holder whose row would not fit its table.

    Raises
    ------
    StoreError
    """
    table, row = holder.entry()
    for value, column in zip(row, _TABLES[table], strict=True):
        if not column.fits(value):
            raise StoreError(f"a holder has {value!r:.80}, which does not fit its column {column.name!r}")


def told_of(error: OrchkitError) -> Sequence[Any]:
    """Turn an error into what can be sent."""
    ids = {name: value for name, value in error.__dict__.items() if isinstance(value, (str, int, float, _NULL))}
    return [type(error).__name__, str(error), ids]


def error_of(name: str, text: str, ids: dict[str, Any]) -> OrchkitError:
    """Turn it back: one of our own errors, whatever was sent."""
    kind = getattr(errors, name, StoreError) if name in errors.__all__ else StoreError
    error: OrchkitError = kind(text, **ids)
    return error

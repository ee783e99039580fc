"""The wire between the processes of one store: frames of msgpack on a Unix socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from orchkit import errors
from orchkit.errors import OrchkitError, StoreError
from orchkit.store.rows import Entry
from orchkit.store.schema import APPENDED

__all__ = ["OwnerGone", "entries_of", "error_of", "receive", "send", "told_of"]

_LENGTH: Final = struct.Struct("!I")
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder().decode
_STRANGER: Final = 4096  # bytes that are read from who has not shown the token
_TIMES: Final = {"event": 1, "admission": 4, "holder": 5}
_NULL: Final = type(None)
# What a column may hold, by its type: the writer's commit holds rows of others too, and one bad row would end it.
_FITS: Final = {
    "bigint": (int, _NULL),
    "integer": (int, _NULL),
    "double": (float, int, _NULL),
    "varchar": (str, _NULL),
    "blob": (bytes, _NULL),
    "timestamp": (datetime, _NULL),
}


def _types(statement: str) -> tuple[tuple[type, ...], ...]:
    columns = statement.partition("(")[2].rpartition(")")[0].split(",")
    return tuple(_FITS[column.split()[-1]] for column in columns[1:])


_TABLES: Final = {table: _types(statement) for table, statement in APPENDED.items()}


class OwnerGone(Exception):
    """The owner of the file does not answer any more; another will."""


def send(link: socket.socket, message: Any) -> None:
    """Send one message.

    Raises
    ------
    OwnerGone
        If nobody is there to take it.
    """
    packed = _ENCODE(message)
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
        if stranger and length > _STRANGER:
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
    types = _TABLES.get(table)
    if types is None or len(row) != len(types):
        raise StoreError(f"a row for {table!r} has {len(row)} values, which is no row of this store")
    at = _TIMES.get(table)
    if at is not None and row[at] is not None:
        row[at] = datetime.fromisoformat(row[at])
    for value, fits in zip(row, types, strict=True):
        if not isinstance(value, fits) or (type(value) is int and not -(2**63) <= value < 2**63):
            raise StoreError(f"a row for {table!r} has {value!r:.80}, which does not fit its column")
    return table, tuple(row)


def told_of(error: OrchkitError) -> Sequence[Any]:
    """Turn an error into what can be sent."""
    ids = {name: value for name, value in error.__dict__.items() if isinstance(value, (str, int, float, _NULL))}
    return [type(error).__name__, str(error), ids]


def error_of(name: str, text: str, ids: dict[str, Any]) -> OrchkitError:
    """Turn it back: one of our own errors, whatever was sent."""
    kind = getattr(errors, name, StoreError) if name in errors.__all__ else StoreError
    error: OrchkitError = kind(text, **ids)
    return error

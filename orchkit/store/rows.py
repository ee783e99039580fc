"""Rows: how admissions and events are laid out for the tables of a store, and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from orchkit.errors import CodecError
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.store.schema import EVENT_COLUMNS

__all__ = [
    "INLINE",
    "Bulk",
    "Entry",
    "Item",
    "Layout",
    "Row",
    "body_of",
    "event_of",
    "head_of",
    "head_row",
    "micros",
    "row_by_row",
    "run_of",
    "stamp",
]

Row = tuple[Any, ...]
"""A row without its ``seq``, which the writer gives."""

Entry = tuple[str, Row]
"""A table and a row for it."""


class Bulk(NamedTuple):
    """Many events by their columns, each without its ``seq``: faster than row by row.

    Attributes
    ----------
    columns : tuple of list
        As in a row, but for the time by the wall, which is in microseconds since 1970.
    """

    columns: tuple[list[Any], ...]

    def entries(self) -> list[Entry]:
        """Give them row by row."""
        walls = [None if wall is None else stamp(wall) for wall in self.columns[1]]
        return [("event", row) for row in zip(self.columns[0], walls, *self.columns[2:], strict=True)]


Item = Entry | Bulk
"""What becomes durable together with others."""


def row_by_row(items: Sequence[Item]) -> list[Entry]:
    """Take bulks apart."""
    entries: list[Entry] = []
    for item in items:
        entries += item.entries() if isinstance(item, Bulk) else [item]
    return entries


def run_of(entry: Entry) -> str | None:
    """Give the run that a row goes on with or gives back; None for rows of other kinds."""
    table, row = entry
    run: str | None = row[_RUN] if table == "event" else row[0] if table == "lease" else None
    return run


INLINE: Final = 4096
"""Bytes of JSON that stand in the event's own row; a longer body is kept once, under the digest of what it holds."""

_RUN: Final = EVENT_COLUMNS.index("run") - 1  # a row lacks its seq
_EPOCH: Final = datetime(1970, 1, 1)
_MICRO: Final = timedelta(microseconds=1)
_JSON: Final = msgspec.json.Encoder()
_PARSE: Final = msgspec.json.Decoder()
_PACK: Final = msgspec.msgpack.Encoder()
_UNPACK: Final = msgspec.msgpack.Decoder()
_SURE: Final = 2**51
_INT64: Final = 2**63


def stamp(since: int) -> datetime:
    """Turn microseconds since 1970 into what DuckDB takes for a timestamp, in UTC."""
    return _EPOCH + timedelta(microseconds=since)


def micros(stamped: datetime) -> int:
    """Turn a timestamp back into microseconds since 1970."""
    return (stamped - _EPOCH) // _MICRO


def _seconds(since: int) -> float:
    # A double of seconds rounds back to each microsecond for 71 years, and later still to whole seconds.
    seconds = since / 1e6
    if round(seconds * 1e6) != since:
        raise ValueError(f"{since} microseconds are more than seconds can tell apart")
    return seconds


def _int64(value: int) -> int:
    if not -_INT64 <= value < _INT64:
        raise ValueError(f"{value} is beyond 64 bits")
    return value


class Layout:
    """Lays the events of one run out as rows.

    Parameters
    ----------
    head : Head
        Of the run.
    """

    __slots__ = ("_begin", "_run_id", "_started")

    def __init__(self, head: Head) -> None:
        self._run_id = head.run_id
        self._started = head.started
        self._begin = stamp(head.started) if head.started else None

    def rows(self, n: int, event: Event) -> tuple[Entry, ...]:
        """Give the rows that an event takes: its own, and before it that of a body too big to stand in it.

        Parameters
        ----------
        n : int, from 1
            Its place in the run's log.
        event : Event

        Returns
        -------
        tuple of tuple
            Tables and rows, each without its ``seq``; what does not apply is null.

        Raises
        ------
        CodecError
            If it would not read back as it is. It is found here, on the thread of the run that is to blame, and not
            by the writer, whose commit holds events of other runs too.
        """
        try:
            return self._rows(n, event)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise CodecError(
                f"event {event.kind!r} of {event.node or 'the run'!r} cannot be stored: {error}; return plain JSON "
                "values, and text without lone surrogates",
                node=event.node,
                run_id=self._run_id,
            ) from error

    def bulk(self, n: int, events: Sequence[Event]) -> tuple[Item, ...]:
        """Give the rows of many events in a row, the first of which stands at `n`.

        Raises
        ------
        CodecError
            If one would not read back as it is; of whichever it is, none has been taken then.
        """
        try:
            return self._bulk(n, events)
        except (TypeError, ValueError, OverflowError, RecursionError):
            # The slow way names the one that is to blame.
            return tuple(entry for k, event in enumerate(events, n) for entry in self.rows(k, event))

    def _bulk(self, n: int, events: Sequence[Event]) -> tuple[Item, ...]:
        times, durs = [event.t for event in events], [event.dur for event in events]
        tokens = [event.tokens for event in events]
        if max(times) > _SURE or max(durs) > _SURE or max(tokens) >= _INT64:
            raise ValueError("a number beyond what a column holds as it is")
        texts = [[getattr(event, name) for event in events] for name in ("node", "status", "error", "by", "key")]
        "".join(map("".join, texts)).encode()
        nodes, statuses, errors, bys, keys = ([text or None for text in column] for column in texts)
        bodies = [(None, None) if event.body is None else _laid(event.body) for event in events]
        size = len(events)
        columns = (
            [t / 1e6 for t in times],
            [self._started + t for t in times] if self._started else [None] * size,
            [self._run_id] * size,
            [event.kind for event in events],
            nodes,
            [event.item if event.item >= 0 else None for event in events],
            [event.generation for event in events],
            [event.leg for event in events],
            [event.attempt for event in events],
            statuses,
            [None if dur < 0 else dur / 1e6 for dur in durs],
            [event.cost for event in events],
            tokens,
            errors,
            bys,
            [inline for inline, _ in bodies],
            keys,
            list(range(n, n + size)),
            [None if payload is None else payload[0] for _, payload in bodies],
        )
        payloads = [("payload", payload) for _, payload in bodies if payload is not None]
        return (*payloads, Bulk(columns))

    def _rows(self, n: int, event: Event) -> tuple[Entry, ...]:
        t, node, item, status, dur, tokens, error, by, key, body = (
            event.t, event.node, event.item, event.status, event.dur, event.tokens, event.error, event.by, event.key,
            event.body,
        )  # fmt: skip
        text = f"{node}{status}{error}{by}{key}"
        if not text.isascii():
            text.encode()
        inline, payload = (None, None) if body is None else _laid(body)
        row = (
            t / 1e6 if t <= _SURE else _seconds(t),
            None if self._begin is None else self._begin + timedelta(0, 0, t),
            self._run_id,
            event.kind,
            node or None,
            item if item >= 0 else None,
            event.generation,
            event.leg,
            event.attempt,
            status or None,
            None if dur < 0 else dur / 1e6 if dur <= _SURE else _seconds(dur),
            event.cost,
            tokens if tokens < _INT64 else _int64(tokens),
            error or None,
            by or None,
            inline,
            key or None,
            n,
            None if payload is None else payload[0],
        )
        return (("event", row),) if payload is None else (("payload", payload), ("event", row))


def _laid(body: Any) -> tuple[str | None, Row | None]:
    if type(body) is bytes:
        return None, _payload("bytes", body)
    if _has_bytes(body):
        return None, _payload("msgpack", _PACK.encode(body))
    text = _JSON.encode(body)
    if len(text) <= INLINE:
        return text.decode(), None
    return None, _payload("json", text)


def _payload(codec: str, data: bytes) -> Row:
    # JSON as text, so that SQL can read it; DuckDB compresses both.
    ref = blake2b(data, digest_size=16, person=codec.encode()).hexdigest()
    return (ref, codec, data.decode(), None) if codec == "json" else (ref, codec, None, data)


def _has_bytes(body: Any) -> bool:
    kind = type(body)
    if kind is dict:
        return any(map(_has_bytes, body.values()))
    return any(map(_has_bytes, body)) if kind is list else kind is bytes


def event_of(row: Row, payloads: Mapping[str, Any]) -> Event:
    """Read an event back from a row of `EVENT_COLUMNS`, and the bodies that stand elsewhere, by their ``ref``."""
    (
        _,
        t,
        _,
        _,
        kind,
        node,
        item,
        generation,
        leg,
        attempt,
        status,
        dur,
        cost,
        tokens,
        error,
        by,
        body,
        key,
        _,
        ref,
    ) = row
    value = payloads[ref] if ref is not None else None if body is None else _PARSE.decode(body)
    return Event(
        round(t * 1e6),
        kind,
        node or "",
        -1 if item is None else item,
        generation,
        leg,
        attempt,
        status or "",
        -1 if dur is None else round(dur * 1e6),
        cost,
        tokens,
        error or "",
        by or "",
        key or "",
        value,
    )


def body_of(codec: str, text: str | None, data: bytes | None) -> Any:
    """Read a body back from a row of ``payload``."""
    if codec == "json":
        return _PARSE.decode(text or "")
    return data if codec == "bytes" else _UNPACK.decode(data or b"")


def head_row(head: Head, holder: str | None) -> Row:
    """Lay an admission out as a row, but for its ``seq``; `holder` names the process that executes it.

    Raises
    ------
    CodecError
        If it would not read back as it is.
    """
    try:
        f"{head.run_id}{head.workflow}{head.mode}{head.durability}{head.parent}".encode()
        fingerprints = _JSON.encode(head.fingerprints).decode()
        started = stamp(head.started) if head.started else None
        seed = _int64(head.seed)
        parent = head.parent or None
        return (head.run_id, head.workflow, head.mode, seed, started, head.durability, fingerprints, parent, holder)
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"run {head.run_id!r} of {head.workflow!r} cannot be stored: {error}") from error


def head_of(row: Row) -> Head:
    """Read an admission back from a row of `HEAD_COLUMNS`."""
    _, run, workflow, mode, seed, started, durability, fingerprints, parent = row
    begun = 0 if started is None else micros(started)
    return Head(run, workflow, mode, seed, begun, durability, _PARSE.decode(fingerprints), parent or "")

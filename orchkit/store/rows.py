"""Rows: how admissions and events are laid out for the tables of a store, and read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import chain, repeat
from typing import Any, Final

import msgspec

from orchkit.errors import CodecError
from orchkit.model.events import Event
from orchkit.model.plain import has_bytes
from orchkit.model.records import Head
from orchkit.store.schema import EVENT_COLUMNS

__all__ = [
    "INLINE",
    "LATEST",
    "Entry",
    "Item",
    "Laid",
    "Layout",
    "Logged",
    "Row",
    "Stretch",
    "body_of",
    "event_of",
    "head_of",
    "head_row",
    "micros",
    "one_by_one",
    "row_by_row",
    "run_of",
    "stamp",
]

Row = tuple[Any, ...]
"""A row: with its ``seq`` first as the file has it, without one as long as it waits to be committed there."""

Entry = tuple[str, Row]
"""A table and a row for it."""


class Logged(msgspec.Struct, frozen=True, gc=False):
    """An event of which it is certain that it can be stored, and that is laid out when it is committed.

    Of these a thousand wait while a commit is on. As rows they would be a thousand tuples, through which the garbage
    collector goes again and again: a tenth of what a durable step costs.

    Attributes
    ----------
    layout : Layout
        Of its run.
    n : int
        Its place in the run's log.
    event : Event
    body, ref : str or None
        Its body as JSON text, or the name of the payload.
    """

    layout: Layout
    n: int
    event: Event
    body: str | None
    ref: str | None

    def row(self) -> Row:
        """Make the row, but for its ``seq``."""
        event, started = self.event, self.layout.started
        return (
            event.t / 1e6,
            stamp(started + event.t) if started else None,
            self.layout.run_id,
            event.kind,
            event.node or None,
            event.item if event.item >= 0 else None,
            event.generation,
            event.leg,
            event.attempt,
            event.status or None,
            None if event.dur < 0 else event.dur / 1e6,
            event.cost,
            event.tokens,
            event.error or None,
            event.by or None,
            self.body,
            event.key or None,
            self.n,
            self.ref,
        )


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """Events of one run that follow one another, of which it is certain that they can be stored.

    What a run at the level "exit" has kept comes so, without an object more for each event.

    Attributes
    ----------
    layout : Layout
        Of their run.
    n : int
        The place of the first in the run's log.
    events : sequence of Event
    bodies, refs : sequence of str or None
        As of `Logged`, for each.
    """

    layout: Layout
    n: int
    events: Sequence[Event]
    bodies: Sequence[str | None]
    refs: Sequence[str | None]

    def logged(self) -> Iterator[Logged]:
        """Give them one by one."""
        places = range(self.n, self.n + len(self.events))
        return map(Logged, repeat(self.layout), places, self.events, self.bodies, self.refs)


Laid = Logged | Stretch
"""Events that were looked at, and wait to be laid out with others."""

Item = Entry | Laid
"""What becomes durable together with others."""


def one_by_one(items: Iterable[Item]) -> Iterator[Entry | Logged]:
    """Give the same without stretches."""
    return chain.from_iterable(item.logged() if isinstance(item, Stretch) else (item,) for item in items)


def row_by_row(items: Iterable[Item]) -> list[Entry]:
    """Make all the rows."""
    return [("event", item.row()) if isinstance(item, Logged) else item for item in one_by_one(items)]


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
_SURE: Final = 2**51  # microseconds, or tokens: up to here no column loses anything, and nothing need be looked at
_INT64: Final = 2**63
LATEST: Final = 2**62
"""Microseconds, which is 146,000 years: no event is later, and nothing takes longer."""


def stamp(since: int) -> datetime:
    """Turn microseconds since 1970 into what DuckDB takes for a timestamp, in UTC."""
    return _EPOCH + timedelta(microseconds=since)


def micros(stamped: datetime) -> int:
    """Turn a timestamp back into microseconds since 1970."""
    return (stamped - _EPOCH) // _MICRO


def _seconds(since: int) -> float:
    # A double of seconds rounds back to each microsecond for 71 years, and later still to whole seconds.
    seconds = since / 1e6
    if not -LATEST <= since <= LATEST:
        raise ValueError(f"{seconds:g} seconds are more than 146,000 years")
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

    Attributes
    ----------
    run_id : str
    started : int
        When it began by the wall, in microseconds since 1970; 0 for a virtual run.
    """

    __slots__ = ("run_id", "started")

    def __init__(self, head: Head) -> None:
        self.run_id = head.run_id
        self.started = head.started

    def items(self, n: int, event: Event) -> tuple[Item, ...]:
        """Give what an event takes: itself, and before it the row of a body too big to stand in its own.

        Parameters
        ----------
        n : int, from 1
            Its place in the run's log.
        event : Event

        Raises
        ------
        CodecError
            If it would not read back as it is. It is found here, on the thread of the run that is to blame, and not
            by the writer, whose commit holds events of other runs too.
        """
        try:
            text = f"{event.node}{event.status}{event.error}{event.by}{event.key}"
            if not text.isascii():
                text.encode()
            if not -_SURE < event.t < _SURE or event.dur > _SURE or not -_SURE < event.tokens < _SURE:
                self._check_numbers(event)
            body = event.body
            if body is None:
                return (Logged(self, n, event, None, None),)
            inline, payload = _encoded(body)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise CodecError(
                f"event {event.kind!r} of {event.node or 'the run'!r} cannot be stored: {error}; return plain JSON "
                "values, and text without lone surrogates",
                node=event.node,
                run_id=self.run_id,
            ) from error
        if payload is None:
            return (Logged(self, n, event, inline, None),)
        return ("payload", payload), Logged(self, n, event, None, payload[0])

    def whole(self, n: int, events: Sequence[Event]) -> tuple[Item, ...]:
        """Give what events take that follow one another: what `items` gives of each, as one stretch.

        Parameters
        ----------
        n : int, from 1
            The place of the first in the run's log.
        events : sequence of Event
            Kept as it is.

        Raises
        ------
        CodecError
            If one of them would not read back as it is.
        """
        try:
            texts = "".join([f"{one.node}{one.status}{one.error}{one.by}{one.key}" for one in events])
            if not texts.isascii():
                texts.encode()
            # What `items` asks of each.
            odd = [
                one
                for one in events
                if not -_SURE < one.t < _SURE or one.dur > _SURE or not -_SURE < one.tokens < _SURE
            ]
            if odd:
                return self._one_by_one(n, events)
            bodies: list[str | None] = [None] * len(events)
            refs: list[str | None] = [None] * len(events)
            payloads: list[Item] = []
            for place, event in enumerate(events):
                if event.body is not None:
                    bodies[place], payload = _encoded(event.body)
                    if payload is not None:
                        payloads.append(("payload", payload))
                        refs[place] = payload[0]
        except (TypeError, ValueError, OverflowError, RecursionError):
            return self._one_by_one(n, events)  # which says of which it is true
        return *payloads, Stretch(self, n, events, bodies, refs)

    def _one_by_one(self, n: int, events: Sequence[Event]) -> tuple[Item, ...]:
        return tuple(item for place, event in enumerate(events, n) for item in self.items(place, event))

    def _check_numbers(self, event: Event) -> None:
        _seconds(event.t)
        if self.started:
            stamp(self.started + event.t)
        _seconds(event.dur)
        _int64(event.tokens)


def _encoded(body: Any) -> tuple[str | None, Row | None]:
    if type(body) is bytes:
        return None, _payload("bytes", body)
    if has_bytes(body):
        return None, _payload("msgpack", _PACK.encode(body))
    text = _JSON.encode(body)
    if len(text) <= INLINE:
        return text.decode(), None
    return None, _payload("json", text)


def _payload(codec: str, data: bytes) -> Row:
    # JSON as text, so that SQL can read it; DuckDB compresses both.
    ref = blake2b(data, digest_size=16, person=codec.encode()).hexdigest()
    return (ref, codec, data.decode(), None) if codec == "json" else (ref, codec, None, data)


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

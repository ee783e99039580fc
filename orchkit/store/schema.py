"""The tables and views of a store file, and how events become rows.

Append-only, with no keys and no indexes: order is the order of ``seq``, and zone maps find a run without an index
(secondary indexes were found stale after a crash in older DuckDB, and cost size for nothing). What is analysed is a
typed column; the body stays JSON text, so that nothing depends on young types.

What ``store.sql`` sees. Times ``t`` and lengths ``dur`` are float seconds, ``t`` since the start of the run; ``wall``
and ``started`` are UTC; ``cost`` is in USD. What does not apply is null. ::

    event                         table: a row an event
        seq                       order in the store, from 1; admissions count too, so a run's numbers have gaps
        t                         seconds since the start of the run
        wall                      the same by the wall; null for a virtual run
        run, kind, node           node is a path, null for events of the run itself
        item                      index in the map's list
        generation, leg, attempt  of an instance, from 1; of a hedge, from 0; try, from 1, 0 where it does not apply
        status                    what it came to: ok, error, timeout, ... of an attempt, completed, ... of a node
        dur                       length of what ended here, or of the wait that begins here
        cost, tokens              of the attempt that ended here, else 0
        error, by, body           "Type: message"; who did it; JSON text
        key                       of an effect: its idempotency key without the run id

    attempt                       view: a row a try of a step
        run, node, item, generation, leg, attempt
        t, dur                    when it began; how long it took, null while it is open
        status                    completed, error, timeout, cancelled; open: no outcome is recorded
        cost, tokens, error       what it cost; why it failed
        injected                  how many faults were injected into it

    node_run                      view: a row a settled instance: a node, or an item of a map
        run, node, item, generation
        status                    completed, degraded, failed, skipped
        t, error                  when it settled; why it failed or was skipped

    effect                        view: a row an effect on the world outside, whatever attempts and generations it took
        run, node, item
        idempotency_key           what its receiver knows it by
        status                    completed if some attempt did, else of the last attempt: failed, cancelled, open
        attempts, completed       how many began; how many of them completed

    approval                      view: a row a question to a person
        run, node, item, generation
        asked, settled            when it was asked; when it was answered or expired, null while it is open
        timeout                   how many seconds it may stay open, null for ever
        status                    asked, answered, expired; one still asked in a run that has ended was withdrawn
        by, shown, answer         who answered; JSON text of what was shown, and of the answer

    run                           view: a row a run that has begun, in order of admission
        run, workflow, mode, seed, started, durability
        status                    completed, degraded, failed, cancelled, suspended; open: the log has no end
        t                         of the last event
        events, cost, tokens      how many events; sums over the attempts

Tables of the store's own: ``admission`` (a run's head), ``meta`` (the schema version), ``opening`` (who opened it
when).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from orchkit.errors import CodecError
from orchkit.model.events import Event
from orchkit.model.records import Head

__all__ = [
    "EVENT_COLUMNS",
    "HEAD_COLUMNS",
    "SCHEMA_VERSION",
    "STATEMENTS",
    "TABLES",
    "event_of",
    "event_row",
    "head_of",
    "head_row",
]

SCHEMA_VERSION: Final = 1
TABLES: Final = frozenset({"meta", "opening", "admission", "event"})

HEAD_COLUMNS: Final = ("seq", "run", "workflow", "mode", "seed", "started", "durability", "fingerprints")
EVENT_COLUMNS: Final = (
    "seq", "t", "wall", "run", "kind", "node", "item", "generation", "leg", "attempt", "status", "dur", "cost",
    "tokens", "error", "by", "body", "key",
)  # fmt: skip

STATEMENTS: Final = (
    "create table meta(key varchar, value varchar)",
    "create table opening(epoch integer, pid integer, opened timestamp, duckdb varchar)",
    """create table admission(
        seq bigint, run varchar, workflow varchar, mode varchar, seed bigint, started timestamp,
        durability varchar, fingerprints varchar)""",
    """create table event(
        seq bigint, t double, wall timestamp, run varchar, kind varchar, node varchar, item integer,
        generation integer, leg integer, attempt integer, status varchar, dur double, cost double, tokens bigint,
        error varchar, "by" varchar, body varchar, "key" varchar)""",
    """create view attempt as select
        run, node, item, generation, leg, attempt,
        min(t) filter (kind = 'started') as t,
        coalesce(arg_max(case kind when 'failed' then coalesce(status, 'error') else kind end, seq)
                 filter (kind in ('completed', 'failed', 'cancelled')), 'open') as status,
        arg_max(dur, seq) filter (kind in ('completed', 'failed', 'cancelled')) as dur,
        sum(cost) as cost, sum(tokens)::bigint as tokens,
        arg_max(error, seq) filter (kind = 'failed') as error,
        count(*) filter (kind = 'injected') as injected
        from event
        where attempt > 0 and kind in ('started', 'completed', 'failed', 'cancelled', 'injected')
        group by run, node, item, generation, leg, attempt order by run, t, node, item, leg, attempt""",
    """create view node_run as select
        run, node, item, generation,
        arg_max(case kind when 'skipped' then 'skipped' else status end, seq) as status,
        arg_max(t, seq) as t, arg_max(error, seq) as error
        from event where kind in ('settled', 'skipped')
        group by run, node, item, generation order by run, t, node, item""",
    """create view effect as select
        run, node, item, run || ':' || "key" as idempotency_key,
        case when bool_or(kind = 'completed') then 'completed'
             else arg_max(case kind when 'started' then 'open' else kind end, seq) end as status,
        count(*) filter (kind = 'started') as attempts, count(*) filter (kind = 'completed') as completed
        from event where "key" is not null and kind in ('started', 'completed', 'failed', 'cancelled')
        group by run, node, item, "key" order by run, node, item""",
    """create view approval as select
        run, node, item, generation,
        min(t) filter (kind = 'asked') as asked, min(dur) filter (kind = 'asked') as timeout,
        arg_max(kind, seq) as status,
        min(t) filter (kind in ('answered', 'expired')) as settled,
        arg_max("by", seq) filter (kind = 'answered') as "by",
        arg_min(body, seq) filter (kind = 'asked') as shown,
        arg_max(body, seq) filter (kind = 'answered') as answer
        from event where kind in ('asked', 'answered', 'expired')
        group by run, node, item, generation order by run, asked, node, item""",
    """create view run as select
        a.run, a.workflow, a.mode, a.seed, a.started, a.durability,
        case arg_max(e.kind, e.seq) when 'run_ended' then arg_max(e.status, e.seq) when 'suspended' then 'suspended'
            else 'open' end as status,
        max(e.t) as t, count(e.seq) as events,
        coalesce(sum(e.cost), 0) as cost, coalesce(sum(e.tokens), 0)::bigint as tokens
        from admission a join event e on e.run = a.run
        group by a.seq, a.run, a.workflow, a.mode, a.seed, a.started, a.durability order by a.seq""",
)

_EPOCH: Final = datetime(1970, 1, 1)
_MICRO: Final = timedelta(microseconds=1)
_JSON: Final = msgspec.json.Encoder()
_PARSE: Final = msgspec.json.Decoder()
_SURE: Final = 2**51
_INT64: Final = 2**63


def _stamp(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _seconds(micros: int) -> float:
    # A double of seconds rounds back to each microsecond for 71 years, and later still to whole seconds.
    seconds = micros / 1e6
    if micros > _SURE and round(seconds * 1e6) != micros:
        raise ValueError(f"{micros} microseconds are more than seconds can tell apart")
    return seconds


def _int64(value: int) -> int:
    if not -_INT64 <= value < _INT64:
        raise ValueError(f"{value} is beyond 64 bits")
    return value


def event_row(head: Head, event: Event) -> tuple[Any, ...]:
    """Lay an event out as a row, but for its ``seq``; what does not apply is null.

    Raises
    ------
    CodecError
        If it would not read back as it is. It is found here, on the thread of the run that is to blame, and not by
        the writer, whose commit holds events of other runs too.
    """
    try:
        return _event_row(head, event)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CodecError(
            f"event {event.kind!r} of {event.node or 'the run'!r} cannot be stored: {error}; return plain JSON values, "
            "and text without lone surrogates",
            node=event.node,
        ) from error


def _event_row(head: Head, event: Event) -> tuple[Any, ...]:
    t, kind, node, item, generation, leg, attempt, status, dur, cost, tokens, error, by, key, body = (
        event.t, event.kind, event.node, event.item, event.generation, event.leg, event.attempt, event.status,
        event.dur, event.cost, event.tokens, event.error, event.by, event.key, event.body,
    )  # fmt: skip
    text = f"{node}{status}{error}{by}{key}"
    if not text.isascii():
        text.encode()
    return (
        _seconds(t),
        _stamp(head.started + t) if head.started else None,
        head.run_id,
        kind,
        node or None,
        item if item >= 0 else None,
        generation,
        leg,
        attempt,
        status or None,
        _seconds(dur) if dur >= 0 else None,
        cost,
        _int64(tokens),
        error or None,
        by or None,
        None if body is None else _JSON.encode(body).decode(),
        key or None,
    )


def event_of(row: tuple[Any, ...]) -> Event:
    """Read an event back from a row of `EVENT_COLUMNS`."""
    (_, t, _, _, kind, node, item, generation, leg, attempt, status, dur, cost, tokens, error, by, body, key) = row
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
        None if body is None else _PARSE.decode(body),
    )


def head_row(head: Head) -> tuple[Any, ...]:
    """Lay an admission out as a row, but for its ``seq``.

    Raises
    ------
    CodecError
        If it would not read back as it is.
    """
    try:
        f"{head.run_id}{head.workflow}{head.mode}{head.durability}".encode()
        fingerprints = _JSON.encode(head.fingerprints).decode()
        started = _stamp(head.started) if head.started else None
        return (head.run_id, head.workflow, head.mode, _int64(head.seed), started, head.durability, fingerprints)
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"run {head.run_id!r} of {head.workflow!r} cannot be stored: {error}") from error


def head_of(row: tuple[Any, ...]) -> Head:
    """Read an admission back from a row of `HEAD_COLUMNS`."""
    _, run, workflow, mode, seed, started, durability, fingerprints = row
    micros = 0 if started is None else (started - _EPOCH) // _MICRO
    return Head(run, workflow, mode, seed, micros, durability, _PARSE.decode(fingerprints))

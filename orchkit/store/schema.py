"""The tables and views of a store file.

Append-only, with no keys and no indexes: order is the order of ``seq``, and zone maps find a run without an index
(secondary indexes were found stale after a crash in older DuckDB, and cost size for nothing). What is analysed is a
typed column; the body stays JSON text, so that nothing depends on young types.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Final

import msgspec

from orchkit.model.events import Event
from orchkit.model.records import Head

__all__ = ["EVENT_COLUMNS", "SCHEMA_VERSION", "STATEMENTS", "event_of", "event_row", "head_of", "head_row"]

SCHEMA_VERSION: Final = 1

EVENT_COLUMNS: Final = (
    "seq", "t", "wall", "run", "kind", "node", "item", "generation", "leg", "attempt", "status", "dur", "cost",
    "tokens", "error", "by", "body", "key",
)  # fmt: skip

STATEMENTS: Final = (
    "create table meta(key varchar, value varchar)",
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
        coalesce(max(case kind when 'completed' then 'completed' when 'failed' then status
                     when 'cancelled' then 'cancelled' end), 'open') as status,
        max(dur) filter (kind in ('completed', 'failed', 'cancelled')) as dur,
        coalesce(max(cost), 0) as cost, coalesce(max(tokens), 0) as tokens, max(error) as error,
        count(*) filter (kind = 'injected') as injected
        from event
        where attempt > 0 and kind in ('started', 'completed', 'failed', 'cancelled', 'injected')
        group by run, node, item, generation, leg, attempt order by run, t, node, item, attempt""",
    """create view node_run as select
        run, node, item, generation, arg_max(status, seq) as status, max(t) as t, max(error) as error
        from (select seq, t, run, node, item, generation, error,
                     case when kind = 'skipped' then 'skipped' else status end as status
              from event where kind in ('settled', 'skipped'))
        group by run, node, item, generation order by run, t, node, item""",
    """create view effect as select
        run, node, item, run || ':' || "key" as idempotency_key,
        case when count(*) filter (kind = 'completed') > 0 then 'completed' else 'open' end as status,
        count(*) filter (kind = 'started') as attempts, count(*) filter (kind = 'completed') as completed
        from event where "key" is not null
        group by run, node, item, "key" order by run, node, item""",
    """create view approval as select
        run, node, item, generation, min(t) filter (kind = 'asked') as asked,
        coalesce(arg_max(kind, seq), 'asked') as status,
        min(t) filter (kind in ('answered', 'expired')) as settled,
        max("by") as "by", max(body) filter (kind = 'asked') as shown, max(body) filter (kind = 'answered') as answer
        from event where kind in ('asked', 'answered', 'expired')
        group by run, node, item, generation order by run, asked""",
    """create view run as select
        a.run, a.workflow, a.mode, a.seed, a.started, a.durability,
        coalesce(max(e.status) filter (e.kind = 'run_ended'), 'open') as status,
        max(e.t) as t, count(e.seq) as events,
        coalesce(sum(e.cost), 0) as cost, coalesce(sum(e.tokens), 0) as tokens
        from admission a left join event e on e.run = a.run
        group by a.seq, a.run, a.workflow, a.mode, a.seed, a.started, a.durability order by a.seq""",
)

_EPOCH: Final = datetime(1970, 1, 1)
_JSON: Final = msgspec.json.Encoder()
_PARSE: Final = msgspec.json.Decoder()


def _stamp(micros: int) -> datetime | None:
    return _EPOCH + timedelta(microseconds=micros) if micros else None


def _micros(stamp: datetime | None) -> int:
    if stamp is None:
        return 0
    return (stamp.replace(tzinfo=timezone.utc) - _EPOCH.replace(tzinfo=timezone.utc)) // timedelta(microseconds=1)


def event_row(seq: int, head: Head, event: Event) -> tuple[Any, ...]:
    """Lay an event out as a row; what does not apply is null."""
    return (
        seq,
        event.t / 1e6,
        _stamp(head.started + event.t) if head.started else None,
        head.run_id,
        event.kind,
        event.node or None,
        event.item if event.item >= 0 else None,
        event.generation,
        event.leg,
        event.attempt,
        event.status or None,
        event.dur / 1e6 if event.dur >= 0 else None,
        event.cost,
        event.tokens,
        event.error or None,
        event.by or None,
        None if event.body is None else _JSON.encode(event.body).decode(),
        event.key or None,
    )


def event_of(row: tuple[Any, ...]) -> Event:
    """Read an event back from a row of `EVENT_COLUMNS`.

    Seconds are whole microseconds below 2**53, which a double holds exactly enough to be rounded back.
    """
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


def head_row(seq: int, head: Head) -> tuple[Any, ...]:
    """Lay an admission out as a row."""
    fingerprints = _JSON.encode(head.fingerprints).decode()
    return (seq, head.run_id, head.workflow, head.mode, head.seed, _stamp(head.started), head.durability, fingerprints)


def head_of(row: tuple[Any, ...]) -> Head:
    """Read an admission back from a row."""
    _, run, workflow, mode, seed, started, durability, fingerprints = row
    return Head(run, workflow, mode, seed, _micros(started), durability, _PARSE.decode(fingerprints))

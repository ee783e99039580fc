"""The tables and views of a store file.

Append-only but for what is moved or pruned, with no keys and no indexes: order is the order of ``seq``, and zone maps
find a run without an index (secondary indexes were found stale after a crash in older DuckDB, and cost size for
nothing). What is analysed is a typed column; a body is JSON text, so that nothing depends on young types, and one that
is long or binary is kept once.

A commit of up to 4,000 events puts them into one row of ``event_batch``, as JSON by columns: for one event DuckDB takes
half the time that a row of twenty typed columns needs, and for a thousand a third. They are moved to ``event_row`` ten
thousand at a time, or when it is quiet. Larger commits go there directly. The view ``event`` has both, so that it makes
no difference to who asks.

What ``store.sql`` sees. Times ``t`` and lengths ``dur`` are float seconds, ``t`` since the start of the run; ``wall``
and ``started`` are UTC; ``cost`` is in USD. What does not apply is null. ::

    event                         view: a row an event
        seq                       order in the store, from 1; other rows count too, so a run's numbers have gaps
        t                         seconds since the start of the run
        wall                      the same by the wall; null for a virtual run
        run, kind, node           node is a path, null for events of the run itself
        item                      index in the map's list
        generation, leg, attempt  of an instance, from 1; of a hedge, from 0; try, from 1, 0 where it does not apply
        status                    of an attempt ok, final (its node settled by it), error, ...; of a node its standing
        dur                       length of what ended here, or of the wait that begins here
        cost, tokens              of the attempt that ended here, else 0
        error, by, body           "Type: message"; who did it; JSON text of at most 4096 bytes, else see ref
        key                       of an effect: its idempotency key without the run id
        n                         place in the run's log, from 1, without gaps
        ref                       of a body that is longer, or holds bytes: names its row in payload

    payload                       table: a row a long body, once however many events have it
        seq, ref
        codec                     json, or how data is to be read: bytes as they are (Arrow IPC, npy, ...), msgpack
        text, data                the JSON; the bytes

    attempt                       view: a row a try of a step, in no order
        run, node, item, generation, leg, attempt
        t, dur                    when it began; how long it took, null while it is open
        status                    completed, error, timeout, cancelled; open: no outcome is recorded
        cost, tokens, error       what it cost; why it failed
        injected                  how many faults were injected into it

    node_run                      view: a row an instance: a node or an item of a map, in one generation
        run, node, item, generation
        status                    completed, degraded, failed, skipped; open: it has begun and not settled
        begun, t                  when it began, null if it never did; when it settled, null while it is open
        error                     why it failed or was skipped

    timeline                      view: a row a stretch of time, for drawing
        run, node, item, generation, leg, attempt
        what                      attempt, wait (of a retry), approval (while a person is asked)
        t, dur                    when it began; how long it took, null while it is open
        status                    of the attempt or the approval

    effect                        view: a row an effect on the world outside, whatever attempts and generations it took
        run, node, item
        idempotency_key           what its receiver knows it by
        status                    undone; completed if some attempt did; else of the last: failed, cancelled, open
        attempts, completed       how many began; how many of them completed

    approval                      view: a row a question to a person
        run, node, item, generation
        asked, settled            when it was asked; when it was answered or expired, null while it is open
        timeout                   how many seconds it may stay open, null for ever
        status                    asked, answered, expired; one still asked in a run that has ended was withdrawn
        by, via, shown, answer    who answered, and from where; JSON text of what was shown, and of the answer
        edited                    whether a field that was prefilled is another in the answer
        assigned                  to whom it was handed last, null if to nobody

    lineage                       view: a row a field that a step has written to the shared context, where that counts
        run, node, item, generation, attempt
        field, value              JSON text; both null of a write that holds bytes, for those are no JSON
        t                         when that was recorded, with the end of its attempt

    run                           view: a row a run that has begun, in order of admission
        run, workflow, mode, seed, started, durability
        parent                    the run that it was forked from
        status                    completed, degraded, failed, cancelled, suspended; open: the log has no end
        t                         of the last event
        events, cost, tokens      how many events; sums over the attempts

Tables of the store's own: ``event_row`` and ``event_batch``, ``admission`` (a run's head, and the process that began to
execute it), ``lease`` (which process took it later, or gave it back), ``holder`` (those processes, and until when their
word holds), ``mail`` (a row a letter to the questions of a run: kind answer or escalation, JSON text, when it was
recorded; and a row of kind outcome for what became of it), ``meta`` (the schema version), ``opening`` (who opened it
when, and what was missing then).
"""

from __future__ import annotations

from typing import Final

from orchkit.model.events import FINAL

__all__ = [
    "APPENDED",
    "EMPTY",
    "EVENT_COLUMNS",
    "EVENT_ROW",
    "EVENT_TYPES",
    "HEAD_COLUMNS",
    "MOVE",
    "NUMBERED",
    "SCHEMA_VERSION",
    "STATEMENTS",
    "TABLES",
    "VIEWS_OF_ROWS",
    "WITHIN",
    "ZERO",
    "batched",
]

SCHEMA_VERSION: Final = 2

HEAD_COLUMNS: Final = (
    "seq", "run", "workflow", "mode", "seed", "started", "durability", "fingerprints", "parent",
)  # fmt: skip
EVENT_TYPES: Final = {
    "seq": "bigint", "t": "double", "wall": "timestamp", "run": "varchar", "kind": "varchar", "node": "varchar",
    "item": "integer", "generation": "integer", "leg": "integer", "attempt": "integer", "status": "varchar",
    "dur": "double", "cost": "double", "tokens": "bigint", "error": "varchar", "by": "varchar", "body": "varchar",
    "key": "varchar", "n": "integer", "ref": "varchar",
}  # fmt: skip
EVENT_COLUMNS: Final = tuple(EVENT_TYPES)
_TYPED: Final = ", ".join(f'"{name}" {kind}' for name, kind in EVENT_TYPES.items())
EVENT_ROW: Final = f"create table event_row({_TYPED})"

APPENDED: Final = {
    "admission": """create table admission(
        seq bigint, run varchar, workflow varchar, mode varchar, seed bigint, started timestamp,
        durability varchar, fingerprints varchar, parent varchar, holder varchar)""",
    "payload": "create table payload(seq bigint, ref varchar, codec varchar, text varchar, data blob)",
    "event_batch": "create table event_batch(seq bigint, events varchar)",
    "holder": """create table holder(
        seq bigint, holder varchar, host varchar, boot varchar, pid integer, born varchar, until timestamp)""",
    "lease": "create table lease(seq bigint, run varchar, holder varchar)",
    "mail": """create table mail(
        seq bigint, id varchar, run varchar, node varchar, item integer, generation integer, kind varchar,
        text varchar, "by" varchar, via varchar, sent timestamp)""",
}
"""The tables that the writer appends to; ``seq`` comes first, in ``event_batch`` that of the last event of a row."""

NUMBERED: Final = ("admission", "payload", "event", "holder", "lease", "mail")
"""The tables, and the view, whose rows have a ``seq`` each, all different."""

WITHIN: Final = ("event_row", "event_batch")
"""What the view ``event`` is made of, and nobody need ask for."""

EMPTY: Final = ("node", "status", "error", "by", "key")
"""Columns that are null where an event has ""."""

ZERO: Final = ("leg", "attempt", "tokens")
"""Columns that are 0 where a batch does not have them."""

# A batch is such as {"runs": ["a1"], "begun": [1790000000000000], "seq": [7, 8], "t": [100000, 200000], "kind":
# ["started", "completed"], "item": [-1, -1], "dur": [-1, 100000], ...}. Of each event it says what an `Event` says,
# times in microseconds, and by `run` at which place of `runs` its run is, which began at that of `begun` since 1970 (0
# for a virtual one). Where a column says nothing of any event it is left out.
_BATCH_TYPES: Final = {name: kind for name, kind in EVENT_TYPES.items() if name != "wall"} | {"run": "integer"}
_SHAPE: Final = ", ".join(f'"{name}": ["{kind}"]' for name, kind in _BATCH_TYPES.items())
_QUOTED: Final = {name: f'"{name}"' for name in EVENT_TYPES}
_PLACE: Final = "coalesce(run, 0) + 1"
_SAYS: Final = {
    "t": "t / 1e6",
    "wall": f"case when begun[{_PLACE}] <> 0 then make_timestamp(begun[{_PLACE}] + t::bigint) end",
    "run": f"runs[{_PLACE}]",
    "item": "nullif(item, -1)",
    "dur": "case when dur >= 0 then dur / 1e6 end",
    **{name: f"nullif({_QUOTED[name]}, '')" for name in EMPTY},
    **{name: f"coalesce({_QUOTED[name]}, 0)" for name in ZERO},
}
_SAID: Final = ", ".join(f"{_SAYS.get(name, _QUOTED[name])} as {_QUOTED[name]}" for name in EVENT_TYPES)
_ALL: Final = ", ".join(f"unnest(batch.{_QUOTED[name]}) as {_QUOTED[name]}" for name in _BATCH_TYPES)


def batched(where: str = "") -> str:
    """Give a query for the events that are in batches, as rows: of all batches, or of those that a condition tells."""
    shape = f"""'{{{_SHAPE}, "runs": ["varchar"], "begun": ["bigint"]}}'"""
    return f"""select {_SAID} from (
        select {_ALL}, batch.runs as runs, batch.begun as begun
        from (select from_json(events, {shape}) as batch from event_batch{where}))"""


MOVE: Final = (f"insert into event_row {batched()} order by seq", "delete from event_batch")
"""What makes rows of the batches, in one transaction."""

_OWN: Final = (
    "create table meta(key varchar, value varchar)",
    """create table opening(
        epoch integer, pid integer, host varchar, opened timestamp, duckdb varchar, orchkit varchar, missing bigint)""",
)
TABLES: Final = frozenset({"meta", "opening", "event_row", *APPENDED})

_ENDS: Final = "kind in ('completed', 'failed', 'cancelled')"
_SETTLES: Final = f"(kind in ('settled', 'skipped') or (kind = 'completed' and status = '{FINAL}'))"
_TRY: Final = "run, node, item, generation, leg, attempt"
_EVENTS: Final = f"create view event as select * from event_row union all {batched()}"
_VIEWS: Final = (
    # The end of an attempt says all about it: to group its events would cost ten times as much in a large file. Only
    # in runs without an end can there be one that is open.
    f"""create view attempt as
        with going as (
            select run from event where kind in ('run_started', 'resumed', 'run_ended')
            group by run having arg_max(kind, seq) <> 'run_ended'),
        tried as (
            select {_TRY}, round(t - dur, 6) as t,
                case kind when 'failed' then coalesce(status, 'error') else kind end as status,
                dur, cost, tokens, error
            from event where {_ENDS} and attempt > 0
            union all
            select {_TRY}, min(t), 'open', null, 0.0, 0, null
            from event where (kind = 'started' or {_ENDS}) and attempt > 0 and run in (from going)
            group by {_TRY} having bool_and(kind = 'started')),
        struck as (select {_TRY}, count(*) as times from event where kind = 'injected' group by {_TRY})
        select t.*, coalesce(s.times, 0) as injected
        from tried t left join struck s on s.run = t.run and s.node = t.node and s.item is not distinct from t.item
            and s.generation = t.generation and s.leg = t.leg and s.attempt = t.attempt""",
    f"""create view node_run as select
        run, split_part(node, '/fallback:', 1) as node, item, generation,
        coalesce(arg_max(case kind when 'settled' then status else kind end, seq) filter ({_SETTLES}), 'open')
            as status,
        min(t) filter (kind in ('started', 'asked')) as begun,
        arg_max(t, seq) filter ({_SETTLES}) as t, arg_max(error, seq) filter ({_SETTLES}) as error
        from event where kind in ('started', 'asked') or {_SETTLES}
        group by all order by run, begun, t, node, item, generation""",
    """create view approval as select
        e.run, e.node, e.item, e.generation,
        min(t) filter (kind = 'asked') as asked, min(dur) filter (kind = 'asked') as timeout,
        arg_max(kind, e.seq) filter (kind <> 'escalated') as status,
        min(t) filter (kind in ('answered', 'expired')) as settled,
        arg_max("by", e.seq) filter (kind = 'answered') as "by",
        arg_max(split_part("key", ':', 1), e.seq) filter (kind = 'answered') as via,
        arg_min(coalesce(body, p.text), e.seq) filter (kind = 'asked') as shown,
        arg_max(coalesce(body, p.text), e.seq) filter (kind = 'answered') as answer,
        coalesce(bool_or(e.status = 'edited') filter (kind = 'answered'), false) as edited,
        arg_max(json_extract_string(body, '$.to'), e.seq) filter (kind = 'escalated') as assigned
        from event e left join payload p on p.ref = e.ref where kind in ('asked', 'answered', 'expired', 'escalated')
        group by e.run, e.node, e.item, e.generation order by e.run, asked, e.node, e.item""",
    f"""create view timeline as
        select {_TRY}, 'attempt' as what, min(t) as t,
            arg_max(dur, seq) filter ({_ENDS}) as dur,
            coalesce(arg_max(case kind when 'failed' then coalesce(status, 'error') else kind end, seq)
                     filter ({_ENDS}), 'open') as status
        from event where attempt > 0 and (kind = 'started' or {_ENDS}) group by {_TRY}
        union all
        select {_TRY}, 'wait', t, dur, null from event where kind = 'waiting'
        union all
        select run, node, item, generation, 0, 0, 'approval', asked, settled - asked, status from approval
        order by run, t, node, item, generation, leg, attempt""",
    """create view effect as select
        run, node, item, run || ':' || "key" as idempotency_key,
        case when bool_or(kind = 'undone' and status = 'completed') then 'undone'
             when bool_or(kind = 'completed') then 'completed'
             else arg_max(case kind when 'started' then 'open' else kind end, seq) end as status,
        count(*) filter (kind = 'started') as attempts, count(*) filter (kind = 'completed') as completed
        from event where "key" is not null and kind in ('started', 'completed', 'failed', 'cancelled', 'undone')
        group by run, node, item, "key" order by run, node, item""",
    # The last delta of the attempt that an instance's value came from, as the fold has it.
    f"""create view lineage as
        with going as (select distinct run from event where kind = 'context'),
        written as (
            select e.run, node, item, generation, leg, attempt, arg_max(t, e.seq) as t,
                arg_max({{delta: coalesce(body, p.text)}}, e.seq).delta as delta
            from event e left join payload p on p.ref = e.ref where kind = 'context' and attempt > 0
            group by e.run, node, item, generation, leg, attempt),
        won as (
            select run, split_part(node, '/fallback:', 1) as owner, item, generation,
                arg_max({{path: node, leg: leg, attempt: attempt}}, seq)
                    filter (kind = 'completed' or (kind = 'degraded' and status = 'value')) as by
            from event where run in (from going) and kind in ('completed', 'degraded', 'settled', 'skipped')
            group by run, owner, item, generation
            having bool_or({_SETTLES})
                and not bool_or(kind = 'skipped' or (kind = 'settled' and status = 'failed'))),
        counts as (
            select w.run, v.owner as node, w.item, w.generation, w.attempt, w.delta, w.t
            from written w join won v on v.run = w.run and v.by.path = w.node and v.item is not distinct from w.item
                and v.generation = w.generation and v.by.leg = w.leg and v.by.attempt = w.attempt)
        select run, node, item, generation, attempt, field,
            (delta::json -> ('$."' || field || '"'))::varchar as value, t
        from (select *, unnest(coalesce(json_keys(delta), [null])) as field from counts)
        order by run, t, node, item, generation, field""",
    """create view run as select
        a.run, a.workflow, a.mode, a.seed, a.started, a.durability, a.parent,
        case arg_max(e.kind, e.seq) when 'run_ended' then arg_max(e.status, e.seq) when 'suspended' then 'suspended'
            else 'open' end as status,
        max(e.t) as t, count(e.seq) as events,
        coalesce(fsum(e.cost), 0) as cost, coalesce(sum(e.tokens), 0)::bigint as tokens
        from admission a join event e on e.run = a.run
        group by a.seq, a.run, a.workflow, a.mode, a.seed, a.started, a.durability, a.parent order by a.seq""",
)

VIEWS_OF_ROWS: Final = tuple(
    view.replace("create view", "create temp view", 1) for view in ("create view event as from event_row", *_VIEWS)
)
"""The views for one connection, while there is no batch: DuckDB finds a quicker way through one table than through
two."""

STATEMENTS: Final = (*_OWN, EVENT_ROW, *APPENDED.values(), _EVENTS, *_VIEWS)

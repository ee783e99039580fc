create table meta(key varchar, value varchar);
create table opening(
        epoch integer, pid integer, host varchar, opened timestamp, duckdb varchar, orchkit varchar, missing bigint);
create table event_row("seq" bigint, "t" double, "wall" timestamp, "run" varchar, "kind" varchar, "node" varchar, "item" integer, "generation" integer, "leg" integer, "attempt" integer, "status" varchar, "dur" double, "cost" double, "tokens" bigint, "error" varchar, "by" varchar, "body" varchar, "key" varchar, "n" integer, "ref" varchar);
create table admission(
        seq bigint, run varchar, workflow varchar, mode varchar, seed bigint, started timestamp,
        durability varchar, fingerprints varchar, parent varchar, holder varchar);
create table payload(seq bigint, ref varchar, codec varchar, text varchar, data blob);
create table event_batch(seq bigint, events varchar);
create table holder(
        seq bigint, holder varchar, host varchar, boot varchar, pid integer, born varchar, until timestamp);
create table lease(seq bigint, run varchar, holder varchar);
create table mail(
        seq bigint, id varchar, run varchar, node varchar, item integer, generation integer, kind varchar,
        text varchar, "by" varchar, via varchar, sent timestamp);
create view event as select * from event_row union all select "seq" as "seq", t / 1e6 as "t", case when begun[coalesce(run, 0) + 1] <> 0 then make_timestamp(begun[coalesce(run, 0) + 1] + t::bigint) end as "wall", runs[coalesce(run, 0) + 1] as "run", "kind" as "kind", nullif("node", '') as "node", nullif(item, -1) as "item", "generation" as "generation", coalesce("leg", 0) as "leg", coalesce("attempt", 0) as "attempt", nullif("status", '') as "status", case when dur >= 0 then dur / 1e6 end as "dur", "cost" as "cost", coalesce("tokens", 0) as "tokens", nullif("error", '') as "error", nullif("by", '') as "by", "body" as "body", nullif("key", '') as "key", "n" as "n", "ref" as "ref" from (
        select unnest(batch."seq") as "seq", unnest(batch."t") as "t", unnest(batch."run") as "run", unnest(batch."kind") as "kind", unnest(batch."node") as "node", unnest(batch."item") as "item", unnest(batch."generation") as "generation", unnest(batch."leg") as "leg", unnest(batch."attempt") as "attempt", unnest(batch."status") as "status", unnest(batch."dur") as "dur", unnest(batch."cost") as "cost", unnest(batch."tokens") as "tokens", unnest(batch."error") as "error", unnest(batch."by") as "by", unnest(batch."body") as "body", unnest(batch."key") as "key", unnest(batch."n") as "n", unnest(batch."ref") as "ref", batch.runs as runs, batch.begun as begun
        from (select from_json(events, '{"seq": ["bigint"], "t": ["double"], "run": ["integer"], "kind": ["varchar"], "node": ["varchar"], "item": ["integer"], "generation": ["integer"], "leg": ["integer"], "attempt": ["integer"], "status": ["varchar"], "dur": ["double"], "cost": ["double"], "tokens": ["bigint"], "error": ["varchar"], "by": ["varchar"], "body": ["varchar"], "key": ["varchar"], "n": ["integer"], "ref": ["varchar"], "runs": ["varchar"], "begun": ["bigint"]}') as batch from event_batch));
create view attempt as
        with going as (
            select run from event where kind in ('run_started', 'resumed', 'run_ended')
            group by run having arg_max(kind, seq) <> 'run_ended'),
        tried as (
            select run, node, item, generation, leg, attempt, round(t - dur, 6) as t,
                case kind when 'failed' then coalesce(status, 'error') else kind end as status,
                dur, cost, tokens, error
            from event where kind in ('completed', 'failed', 'cancelled') and attempt > 0
            union all
            select run, node, item, generation, leg, attempt, min(t), 'open', null, 0.0, 0, null
            from event where (kind = 'started' or kind in ('completed', 'failed', 'cancelled')) and attempt > 0 and run in (from going)
            group by run, node, item, generation, leg, attempt having bool_and(kind = 'started')),
        struck as (select run, node, item, generation, leg, attempt, count(*) as times from event where kind = 'injected' group by run, node, item, generation, leg, attempt)
        select t.*, coalesce(s.times, 0) as injected
        from tried t left join struck s on s.run = t.run and s.node = t.node and s.item is not distinct from t.item
            and s.generation = t.generation and s.leg = t.leg and s.attempt = t.attempt;
create view node_run as select
        run, split_part(node, '/fallback:', 1) as node, item, generation,
        coalesce(arg_max(case kind when 'settled' then status else kind end, seq) filter ((kind in ('settled', 'skipped') or (kind = 'completed' and status = 'final'))), 'open')
            as status,
        min(t) filter (kind in ('started', 'asked')) as begun,
        arg_max(t, seq) filter ((kind in ('settled', 'skipped') or (kind = 'completed' and status = 'final'))) as t, arg_max(error, seq) filter ((kind in ('settled', 'skipped') or (kind = 'completed' and status = 'final'))) as error
        from event where kind in ('started', 'asked') or (kind in ('settled', 'skipped') or (kind = 'completed' and status = 'final'))
        group by all order by run, begun, t, node, item, generation;
create view approval as select
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
        group by e.run, e.node, e.item, e.generation order by e.run, asked, e.node, e.item;
create view timeline as
        select run, node, item, generation, leg, attempt, 'attempt' as what, min(t) as t,
            arg_max(dur, seq) filter (kind in ('completed', 'failed', 'cancelled')) as dur,
            coalesce(arg_max(case kind when 'failed' then coalesce(status, 'error') else kind end, seq)
                     filter (kind in ('completed', 'failed', 'cancelled')), 'open') as status
        from event where attempt > 0 and (kind = 'started' or kind in ('completed', 'failed', 'cancelled')) group by run, node, item, generation, leg, attempt
        union all
        select run, node, item, generation, leg, attempt, 'wait', t, dur, null from event where kind = 'waiting'
        union all
        select run, node, item, generation, 0, 0, 'approval', asked, settled - asked, status from approval
        order by run, t, node, item, generation, leg, attempt;
create view effect as select
        run, node, item, run || ':' || "key" as idempotency_key,
        case when bool_or(kind = 'undone' and status = 'completed') then 'undone'
             when bool_or(kind = 'completed') then 'completed'
             else arg_max(case kind when 'started' then 'open' else kind end, seq) end as status,
        count(*) filter (kind = 'started') as attempts, count(*) filter (kind = 'completed') as completed
        from event where "key" is not null and kind in ('started', 'completed', 'failed', 'cancelled', 'undone')
        group by run, node, item, "key" order by run, node, item;
create view lineage as
        with going as (select distinct run from event where kind = 'context'),
        written as (
            select e.run, node, item, generation, leg, attempt, arg_max(t, e.seq) as t,
                arg_max({delta: coalesce(body, p.text)}, e.seq).delta as delta
            from event e left join payload p on p.ref = e.ref where kind = 'context' and attempt > 0
            group by e.run, node, item, generation, leg, attempt),
        won as (
            select run, split_part(node, '/fallback:', 1) as owner, item, generation,
                arg_max({path: node, leg: leg, attempt: attempt}, seq)
                    filter (kind = 'completed' or (kind = 'degraded' and status = 'value')) as by
            from event where run in (from going) and kind in ('completed', 'degraded', 'settled', 'skipped')
            group by run, owner, item, generation
            having bool_or((kind in ('settled', 'skipped') or (kind = 'completed' and status = 'final')))
                and not bool_or(kind = 'skipped' or (kind = 'settled' and status = 'failed'))),
        counts as (
            select w.run, v.owner as node, w.item, w.generation, w.attempt, w.delta, w.t
            from written w join won v on v.run = w.run and v.by.path = w.node and v.item is not distinct from w.item
                and v.generation = w.generation and v.by.leg = w.leg and v.by.attempt = w.attempt)
        select run, node, item, generation, attempt, field,
            (delta::json -> ('$."' || field || '"'))::varchar as value, t
        from (select *, unnest(coalesce(json_keys(delta), [null])) as field from counts)
        order by run, t, node, item, generation, field;
create view run as select
        a.run, a.workflow, a.mode, a.seed, a.started, a.durability, a.parent,
        case arg_max(e.kind, e.seq) when 'run_ended' then arg_max(e.status, e.seq) when 'suspended' then 'suspended'
            else 'open' end as status,
        max(e.t) as t, count(e.seq) as events,
        coalesce(fsum(e.cost), 0) as cost, coalesce(sum(e.tokens), 0)::bigint as tokens
        from admission a join event e on e.run = a.run
        group by a.seq, a.run, a.workflow, a.mode, a.seed, a.started, a.durability, a.parent order by a.seq;

create table meta(key varchar, value varchar);
create table opening(epoch integer, pid integer, opened timestamp, duckdb varchar);
create table admission(
        seq bigint, run varchar, workflow varchar, mode varchar, seed bigint, started timestamp,
        durability varchar, fingerprints varchar);
create table event(
        seq bigint, t double, wall timestamp, run varchar, kind varchar, node varchar, item integer,
        generation integer, leg integer, attempt integer, status varchar, dur double, cost double, tokens bigint,
        error varchar, "by" varchar, body varchar, "key" varchar);
create view attempt as select
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
        group by run, node, item, generation, leg, attempt order by run, t, node, item, leg, attempt;
create view node_run as select
        run, node, item, generation,
        arg_max(case kind when 'skipped' then 'skipped' else status end, seq) as status,
        arg_max(t, seq) as t, arg_max(error, seq) as error
        from event where kind in ('settled', 'skipped')
        group by run, node, item, generation order by run, t, node, item;
create view effect as select
        run, node, item, run || ':' || "key" as idempotency_key,
        case when bool_or(kind = 'completed') then 'completed'
             else arg_max(case kind when 'started' then 'open' else kind end, seq) end as status,
        count(*) filter (kind = 'started') as attempts, count(*) filter (kind = 'completed') as completed
        from event where "key" is not null and kind in ('started', 'completed', 'failed', 'cancelled')
        group by run, node, item, "key" order by run, node, item;
create view approval as select
        run, node, item, generation,
        min(t) filter (kind = 'asked') as asked, min(dur) filter (kind = 'asked') as timeout,
        arg_max(kind, seq) as status,
        min(t) filter (kind in ('answered', 'expired')) as settled,
        arg_max("by", seq) filter (kind = 'answered') as "by",
        arg_min(body, seq) filter (kind = 'asked') as shown,
        arg_max(body, seq) filter (kind = 'answered') as answer
        from event where kind in ('asked', 'answered', 'expired')
        group by run, node, item, generation order by run, asked, node, item;
create view run as select
        a.run, a.workflow, a.mode, a.seed, a.started, a.durability,
        case arg_max(e.kind, e.seq) when 'run_ended' then arg_max(e.status, e.seq) when 'suspended' then 'suspended'
            else 'open' end as status,
        max(e.t) as t, count(e.seq) as events,
        coalesce(sum(e.cost), 0) as cost, coalesce(sum(e.tokens), 0)::bigint as tokens
        from admission a join event e on e.run = a.run
        group by a.seq, a.run, a.workflow, a.mode, a.seed, a.started, a.durability order by a.seq;

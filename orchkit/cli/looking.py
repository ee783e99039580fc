"""``orchkit runs`` and ``orchkit show``: what is in a store.

JSON of ``runs``: ``store``, ``runs``: a list of run, workflow, mode, seed, started (UTC), durability, parent, status,
t (s), events, cost (USD), tokens. JSON of ``show``: ``store``, ``run`` (one of those), ``nodes``: a list of node,
status, items, attempts, seconds, error; ``pending``: a list of node, item, asked (s), shown; ``events``: the last ones,
without their bodies; ``receipt``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchkit.cli._common import AsJson, StorePath, ending, open_for_reading, print_json, records, whole_run_id
from orchkit.cli._terminal import WIDTH, Refusal, plain, seconds, table, when

if TYPE_CHECKING:
    from orchkit.hall.store import Store

__all__ = ["runs", "show"]

_EVENT: Final = (
    "seq", "t", "kind", "node", "item", "generation", "leg", "attempt", "status", "dur", "cost", "tokens", "error",
    "by",
)  # fmt: skip
_LAST: Final = 10
# A step may have fallbacks, whose attempts are its own; a map settles after its items, and is not one of them.
_NODES: Final = """
    with tried as (
        select split_part(node, '/fallback:', 1) as node, count(*) as attempts from attempt
        where run = '{run}' group by all),
    stood as (
        select node, status, count(*) as items, min(begun) as begun, max(t) as ended,
            bool_or(t is null) as going, any_value(error) as error
        from node_run where run = '{run}' and (item is not null or node not in
            (select node from node_run where run = '{run}' and item is not null)) group by all)
    select node, string_agg(case when items > 1 then status || ' ' || items else status end, ', ' order by status)
            as status,
        sum(items)::bigint as items, coalesce(any_value(attempts), 0) as attempts,
        case when bool_or(going) then null else max(ended) - min(begun) end as seconds,
        any_value(error) as error
    from stood left join tried using (node) group by node order by min(begun), node"""


def runs(
    store: StorePath = Path("orchkit.duckdb"),
    status: Annotated[str | None, typer.Option(help="Only runs of this status.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many of the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs of a store, in order of admission."""
    with ending("runs"), open_for_reading(store) as opened:
        found = records(opened.runs())
        found = [run for run in found if status in (None, run["status"]) and workflow in (None, run["workflow"])]
        shown = found if limit is None else found[-limit:]
        if as_json:
            print_json({"store": str(opened.path), "runs": shown})
            return
        if shown:
            typer.echo(_runs_table(shown))
        typer.echo(f"{len(shown)} of {len(found)} runs" if len(shown) < len(found) else f"{len(found)} runs")


def _runs_table(found: list[dict[str, Any]]) -> str:
    rows = [
        (run["run"], run["workflow"], run["status"], when(run["started"]), seconds(run["t"]), run["events"],
         f"{run['cost']:.4f}", run["tokens"])
        for run in found
    ]  # fmt: skip
    columns = ("run", "workflow", "status", "started (UTC)", "took", "events", "cost $", "tokens")
    return table(columns, rows, right=("took", "events", "cost $", "tokens"))


def show(
    run: Annotated[str, typer.Argument(help="A run's id, or the beginning of it.", metavar="RUN")],
    store: StorePath = Path("orchkit.duckdb"),
    as_json: AsJson = False,
) -> None:
    """Show one run: its nodes, what it asks, its last events."""
    with ending("show"), open_for_reading(store) as opened:
        told = _told(opened, whole_run_id(opened, run))
        if as_json:
            print_json(told)
        else:
            _print(told)


def _told(store: Store, run_id: str) -> dict[str, Any]:
    if "'" in run_id:
        raise Refusal(f"{run_id!r} is no id that orchkit gives; `orchkit runs` lists what is there")
    (head,) = (run for run in records(store.runs()) if run["run"] == run_id)
    pending = store.pending()
    events = store.events(run_id).tail(_LAST)
    return {
        "store": str(store.path),
        "run": head,
        "nodes": records(store.sql(_NODES.format(run=run_id))),
        "pending": [_question(row) for row in records(pending[pending.run == run_id])],
        "events": records(events[list(_EVENT)]),
        "receipt": store.run(run_id).receipt,
    }


def _question(row: dict[str, Any]) -> dict[str, Any]:
    shown = row["shown"]
    asked = json.loads(shown) if isinstance(shown, str) else None
    value = asked.get("show") if isinstance(asked, dict) else asked
    return {"node": row["node"], "item": row["item"], "asked": row["asked"], "shown": value}


def _print(told: dict[str, Any]) -> None:
    run = told["run"]
    began = f", started {when(run['started'])} UTC" if run["started"] else f", seed {run['seed']}"
    typer.echo(plain(f"{run['run']}  {run['workflow']}  {run['status']}", WIDTH))
    spent = f"{run['events']} events, ${run['cost']:.4f}, {run['tokens']} tokens"
    typer.echo(f"{run['mode']}{began}, {seconds(run['t'])}, {spent}")
    if told["nodes"]:
        nodes = [
            (node["node"], node["status"], node["attempts"], seconds(node["seconds"]), node["error"])
            for node in told["nodes"]
        ]
        typer.echo("\n" + table(("node", "status", "attempts", "took", "error"), nodes, right=("attempts", "took")))
    if told["pending"]:
        asks = [
            (ask["node"], ask["item"], seconds(ask["asked"]), json.dumps(ask["shown"], ensure_ascii=False))
            for ask in told["pending"]
        ]
        typer.echo("\n" + table(("asks", "item", "since start", "shows"), asks, right=("item", "since start")))
    events = [
        (f"{event['t']:.3f}", event["kind"], event["node"], event["item"], event["attempt"] or None, event["status"],
         event["error"])
        for event in told["events"]
    ]  # fmt: skip
    columns = ("t", "last events", "node", "item", "attempt", "status", "error")
    typer.echo("\n" + table(columns, events, right=("t", "item", "attempt")))
    typer.echo(f"\nreceipt {told['receipt']}")

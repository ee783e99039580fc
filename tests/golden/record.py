"""Record logs by the schema of today: ``python tests/golden/record.py`` makes ``tests/golden/v<version>/``.

Run once, when a schema version is released; what it wrote is never written again. A folder holds the statements that
made the tables, each run's rows as JSON lines (the admission, then its payloads, then its events, those of every other
run in batches), and what reading them must come to.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from golden_workflows import WORKFLOWS, triage

import orchkit as ok
from orchkit.model.events import Event
from orchkit.model.fold import fold
from orchkit.model.records import Head
from orchkit.model.standings import WORDS
from orchkit.runs.handle import receipt
from orchkit.store.batches import batch_of
from orchkit.store.duck import DuckStore
from orchkit.store.schema import EVENT_COLUMNS, HEAD_COLUMNS, SCHEMA_VERSION, STATEMENTS

VIEWS = ("attempt", "node_run", "effect", "approval", "run")
EVERY = dict.fromkeys(VIEWS, "*")
PAYLOAD_COLUMNS = ("seq", "ref", "codec", "text", "data")
BY_HAND = "by hand"
"""The workflow of a run that no workflow has made: what it holds is all that a log may, whatever can be made today."""


def told(head: Head, events: list[Event]) -> dict[str, Any]:
    """Say what a log comes to: its receipt and its fold."""
    if head.workflow not in WORKFLOWS:
        return {"receipt": receipt(head, events), "status": "", "kinds": [event.kind for event in events]}
    graph = WORKFLOWS[head.workflow]().checked()
    state = fold(graph, events)
    return {
        "receipt": receipt(head, events),
        "status": state.status,
        "result": state.result,
        "last_t": state.last_t,
        "standing": {node.name: WORDS[state.standing[i]] for i, node in enumerate(graph.nodes)},
        "values": {node.name: state.values[i] for i, node in enumerate(graph.nodes)},
        "open": [[graph.nodes[node].name, item, len(one.events)] for (node, item), one in state.open.items()],
    }


def seen(store: DuckStore, run_id: str, columns: Mapping[str, str] = EVERY) -> dict[str, list[Any]]:
    """Say what the views show of a run, in the given columns."""
    return {
        view: [
            list(map(_plain, row)) for row in store.fetch(f"select {columns[view]} from {view} where run = ?", [run_id])
        ]
        for view in VIEWS
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else value


def _simulated(store: DuckStore) -> None:
    world = ok.World(
        plan=ok.fake(["order", "payment", "héros \U0001f680"], latency=1.5),
        lookup=ok.fake("found", latency=ok.dist.lognormal(p50=1, p99=9), error=0.4, cost=0.01),
        draft=ok.fake("A refund.", latency=ok.dist.lognormal(p50=6, p99=30), error=0.2, cost=0.02),
        review=ok.person(delay=ok.dist.lognormal(p50=600, p99=7200), approve=0.9),
        send=ok.skip_effect("sent"),
        apologise=ok.fake("sorry", latency=0.2, error=0.5),
    )
    storm = ok.Faults(ok.faults.fail("lookup", first=1), ok.faults.slow("draft", rate=0.5, factor=3))
    for seed in (1, 2, 3, 5, 8):
        run = triage().simulate("ticket 7", world=world, faults=storm if seed % 2 else None, seed=seed)
        journal = store.admit(run._handle.head)
        for event in run.log:
            journal.append(event)


def _live(store: ok.Store) -> None:
    wf = triage()
    asked = [wf.start(f"ticket {n}", store=store) for n in (1, 2)]
    for run in asked:
        run.wait_settled(10)
    asked[0].answer("review", True, by="dana")
    asked[0].result(10)
    # The second is left with its question open.


def _by_hand(store: DuckStore) -> None:
    long = {"text": "héros \U0001f680 " * 1000}
    mixed = {"table": bytes(range(256)) * 4, "rows": [1, None, {"of": b""}]}
    journal = store.admit(Head("vbyhand", BY_HAND, "virtual", 7, parent="v646ac5d2d722"))
    for event in (
        Event(0, "run_started", body={"input": long}),
        Event(0, "started", "read", attempt=1),
        Event(1, "completed", "read", attempt=1, status="ok", dur=1, cost=0.5, tokens=2**40, body=b"\x00\xff" * 3000),
        Event(1, "settled", "read", status="completed"),
        Event(1, "started", "pack", item=3, leg=1, attempt=2, key="pack[3]"),
        Event(9, "completed", "pack", item=3, leg=1, attempt=2, status="ok", dur=8, key="pack[3]", body=mixed),
        Event(9, "settled", "pack", item=3, status="completed"),
        Event(9, "invalidated", "read", by="dana", body={"why": "another table"}),
        Event(9, "started", "read", generation=2, attempt=1),
        Event(12, "completed", "read", generation=2, attempt=1, status="ok", dur=3, body=b""),
        Event(12, "settled", "read", generation=2, status="completed"),
        Event(13, "asked", "look", dur=60_000_000, body=long),
        Event(14, "answered", "look", by="héros", body=True),
        Event(15, "run_ended", status="completed", body=long),
    ):
        journal.append(event)


def main() -> None:
    """Write the folder of this schema version."""
    folder = Path(__file__).with_name(f"v{SCHEMA_VERSION}")
    if list(folder.glob("*.jsonl")):
        sys.exit(f"{folder} is recorded; a released log is never recorded again")
    folder.mkdir(exist_ok=True)
    folder.joinpath("schema.sql").write_text(";\n".join(STATEMENTS) + ";\n")
    expected = {}
    with tempfile.TemporaryDirectory() as place:
        opened = ok.open(f"{place}/lab.duckdb")
        store = opened._kept
        _simulated(store)
        _live(opened)
        _by_hand(store)
        for number, head in enumerate(store.heads(), 1):
            name = f"{number}-{head.mode}-{head.run_id}.jsonl"
            folder.joinpath(name).write_text("\n".join(_lines(store, head.run_id, batched=number % 2 == 0)) + "\n")
            expected[name] = {**told(head, store.events(head.run_id)), "views": seen(store, head.run_id)}
        opened.close()
    folder.joinpath("expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


def _lines(store: DuckStore, run_id: str, *, batched: bool) -> list[str]:
    lines = []
    for columns, query in (
        (HEAD_COLUMNS, "admission where run = ?"),
        (PAYLOAD_COLUMNS, "payload where ref in (select ref from event where run = ?)"),
        (EVENT_COLUMNS, "event where run = ?"),
    ):
        names = columns
        listed = ", ".join(f'"{name}"' for name in columns)
        rows = store.fetch(f"select {listed} from {query} order by seq", [run_id])
        if batched and columns == EVENT_COLUMNS:
            rows = [row for n in range(0, len(rows), 5) for row in batch_of((), (), rows[n : n + 5])]
            names = ("seq", "events")
        for row in rows:
            cells = dict(zip(names, map(_plain, row), strict=True))
            lines.append(
                json.dumps({name: cell for name, cell in cells.items() if cell is not None}, ensure_ascii=False)
            )
    return lines


if __name__ == "__main__":
    main()

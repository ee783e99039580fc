"""Record logs by the schema of today: ``python tests/golden/record.py`` makes ``tests/golden/v<version>/``.

Run once, when a schema version is released; what it wrote is never written again. A folder holds the statements that
made the tables, each run's rows as JSON lines (the admission first), and what reading them must come to.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from golden_workflows import WORKFLOWS, triage

import orchkit as ok
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.model.state import WORDS, fold
from orchkit.runs.handle import receipt
from orchkit.store.duck import DuckStore
from orchkit.store.schema import EVENT_COLUMNS, HEAD_COLUMNS, SCHEMA_VERSION, STATEMENTS

_VIEWS = ("attempt", "node_run", "effect", "approval", "run")


def told(head: Head, events: list[Event]) -> dict[str, Any]:
    """Say what a log comes to: its receipt and its fold."""
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


def seen(store: DuckStore, run_id: str) -> dict[str, list[Any]]:
    """Say what the views show of a run."""
    return {view: [list(map(_plain, row)) for row in _rows(store, view, run_id)] for view in _VIEWS}


def _rows(store: DuckStore, view: str, run_id: str) -> list[tuple[Any, ...]]:
    return store.fetch(f"select * from {view} where run = ?", [run_id])


def _plain(value: Any) -> Any:
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
        for number, head in enumerate(store.heads(), 1):
            name = f"{number}-{head.mode}-{head.run_id}.jsonl"
            folder.joinpath(name).write_text("\n".join(_lines(store, head.run_id)) + "\n")
            expected[name] = {**told(head, store.events(head.run_id)), "views": seen(store, head.run_id)}
        opened.close()
    folder.joinpath("expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


def _lines(store: DuckStore, run_id: str) -> list[str]:
    lines = []
    for table, columns in (("admission", HEAD_COLUMNS), ("event", EVENT_COLUMNS)):
        for row in store.fetch(f"select * from {table} where run = ? order by seq", [run_id]):
            cells = dict(zip(columns, map(_plain, row), strict=True))
            lines.append(
                json.dumps({name: cell for name, cell in cells.items() if cell is not None}, ensure_ascii=False)
            )
    return lines


if __name__ == "__main__":
    main()

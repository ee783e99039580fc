"""Logs that earlier schema versions recorded still open, and still come to the same."""

import json
from pathlib import Path

import duckdb
import pytest
from golden_workflows import WORKFLOWS
from record import BY_HAND, VIEWS, seen, told

from orchkit.store.duck import DuckStore
from orchkit.store.memory import MemoryStore
from orchkit.store.schema import SCHEMA_VERSION

HERE = Path(__file__).parent
VERSIONS = sorted(HERE.glob("v*"))


def built(folder, path):
    """Make the store file that an earlier version would have left, by its own statements."""
    with duckdb.connect(str(path)) as connection:
        connection.execute((folder / "schema.sql").read_text())
        connection.execute("insert into meta values ('schema_version', ?)", [folder.name[1:]])
        for file in sorted(folder.glob("*.jsonl")):
            for line in file.read_text().splitlines():
                cells = json.loads(line)
                if "data" in cells:
                    cells["data"] = bytes.fromhex(cells["data"])
                insert(connection, table_of(cells, folder.name), cells)
    return path


def table_of(cells, version):
    if "kind" in cells:
        return "event" if version == "v1" else "event_row"
    return "admission" if "workflow" in cells else "payload" if "codec" in cells else "event_batch"


def columns_of(path):
    """Name the columns that its views had then; columns may be added."""
    with duckdb.connect(str(path)) as connection:
        return {
            view: ", ".join(f'"{name}"' for name, *_ in connection.execute(f"describe {view}").fetchall())
            for view in VIEWS
        }


def insert(connection, table, cells):
    names = ", ".join(f'"{name}"' for name in cells)
    marks = ", ".join("?" * len(cells))
    connection.execute(f"insert into {table}({names}) values ({marks})", list(cells.values()))


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda folder: folder.name)
def opened(request, tmp_path_factory):
    path = built(request.param, tmp_path_factory.mktemp("golden") / "old.duckdb")
    columns = columns_of(path)
    store = DuckStore(path)
    store.columns = columns
    expected = json.loads((request.param / "expected.json").read_text())
    yield store, {Path(name).stem.split("-")[2]: one for name, one in expected.items()}
    store.close()


def test_an_older_version_is_migrated_and_says_so(opened):
    store, _ = opened
    version = dict(store.fetch("select key, value from meta"))["schema_version"]
    assert version == str(SCHEMA_VERSION)
    migrated = store.path.with_name("old.duckdb.v1").exists()
    assert len(store.notices) == migrated
    assert store.damage is None


def test_this_version_is_recorded():
    assert f"v{SCHEMA_VERSION}" in [folder.name for folder in VERSIONS]


def test_the_same_runs_are_there(opened):
    store, expected = opened
    assert [head.run_id for head in store.heads()] == list(expected)
    assert {head.workflow for head in store.heads()} <= {*WORKFLOWS, BY_HAND}
    assert {one["status"] for one in expected.values()} >= {"completed", "degraded", "running"}


def test_logs_fold_to_the_same_state_and_receipt(opened):
    store, expected = opened
    for head in store.heads():
        found = told(head, store.events(head.run_id))
        assert found == {name: expected[head.run_id][name] for name in found}


def test_views_show_the_same(opened):
    store, expected = opened
    for run_id, one in expected.items():
        found = seen(store, run_id, store.columns)
        if store.notices:
            # Version 1 did not list what was open; today it comes in the order in which it began.
            settled = [row for row in found["node_run"] if row[4] != "open"]
            assert sorted(settled, key=str) == sorted(one["views"].pop("node_run"), key=str)
            del found["node_run"]
        assert {view: in_order(rows) for view, rows in found.items()} == {
            view: in_order(rows) for view, rows in one["views"].items()
        }


def in_order(rows):
    """Sort rows; the last digit of a sum depends on what it was summed in."""
    return sorted(([round(cell, 12) if isinstance(cell, float) else cell for cell in row] for row in rows), key=str)


def test_logs_move_to_a_store_of_today_unchanged(opened, tmp_path):
    store, expected = opened
    for new in (DuckStore(tmp_path / "new.duckdb"), MemoryStore()):
        for head in store.heads():
            journal = new.admit(head)
            for event in store.events(head.run_id):
                journal.append(event)
        for head in new.heads():
            assert told(head, new.events(head.run_id))["receipt"] == expected[head.run_id]["receipt"]
        assert new.heads() == store.heads()
        new.close()

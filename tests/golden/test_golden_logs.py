"""Logs that earlier schema versions recorded still open, and still come to the same."""

import json
from pathlib import Path

import duckdb
import pytest
from golden_workflows import WORKFLOWS
from record import seen, told

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
            for number, line in enumerate(file.read_text().splitlines()):
                insert(connection, "event" if number else "admission", json.loads(line))
    return path


def insert(connection, table, cells):
    names = ", ".join(f'"{name}"' for name in cells)
    marks = ", ".join("?" * len(cells))
    connection.execute(f"insert into {table}({names}) values ({marks})", list(cells.values()))


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda folder: folder.name)
def opened(request, tmp_path_factory):
    store = DuckStore(built(request.param, tmp_path_factory.mktemp("golden") / "old.duckdb"))
    expected = json.loads((request.param / "expected.json").read_text())
    yield store, {Path(name).stem.split("-")[2]: one for name, one in expected.items()}
    store.close()


def test_this_version_is_recorded():
    assert f"v{SCHEMA_VERSION}" in [folder.name for folder in VERSIONS]


def test_the_same_runs_are_there(opened):
    store, expected = opened
    assert [head.run_id for head in store.heads()] == list(expected)
    assert {head.workflow for head in store.heads()} <= WORKFLOWS.keys()
    assert {one["status"] for one in expected.values()} >= {"completed", "degraded", "running"}


def test_logs_fold_to_the_same_state_and_receipt(opened):
    store, expected = opened
    for head in store.heads():
        found = told(head, store.events(head.run_id))
        assert found == {name: expected[head.run_id][name] for name in found}


def test_views_show_the_same(opened):
    store, expected = opened
    for run_id, one in expected.items():
        assert seen(store, run_id) == one["views"]


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

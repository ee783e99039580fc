"""``orchkit export``, ``compact``, ``prune``, ``snapshot`` and ``doctor``: exit codes, keys, and what is found."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import store_lab
from store_workflows import hello, settled

import orchkit as ok
from orchkit.errors import StoreError
from orchkit.hall.store import Store
from orchkit.model.events import Event
from orchkit.model.records import Head
from tests.support import nobody
from tests.support.nobody import STOP_BEING_ROOT, own

orchkit, path, lab = store_lab.orchkit, store_lab.path, store_lab.lab
public = nobody.public


def in_a_process(*arguments, **options):
    env = {**os.environ, "PYTHONPATH": str(Path(ok.__file__).parent.parent)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, **options)


def changed(path, *statements):
    """Change a store's file behind its back."""
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


def damaged(path):
    with ok.open(path) as store:
        journal = store._kept.admit(Head("big", "hello", started=1))
        for n in range(8000):
            journal.append(Event(n, "started", "draft", attempt=1, body=os.urandom(500).hex()))
        journal.append(Event(9000, "run_ended", status="completed"))
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(64))


# Export


def test_export(orchkit, path, lab, tmp_path):
    told = orchkit("export", tmp_path / "out", "--store", path, "--json")
    assert list(told) == ["store", "folder", "rescued", "files"]
    assert told["rescued"] is False
    assert list(told["files"][0]) == ["name", "rows", "bytes", "problem"]
    assert pd.read_parquet(tmp_path / "out" / "run.parquet").run.tolist() == list(lab.values())
    assert "is not empty" in orchkit("export", tmp_path / "out", "--store", path, code=2)
    assert "event" in orchkit("export", tmp_path / "out", "--store", path, "--overwrite")


def test_export_of_a_damaged_block(orchkit, path, tmp_path):
    damaged(path)
    told = orchkit("export", tmp_path / "out", "--store", path, "--json", code=1)
    problems = {one["name"]: one["problem"] for one in told["files"]}
    assert problems["event"].startswith("could not be read and is null: body of ")
    assert len(pd.read_parquet(tmp_path / "out" / "event.parquet")) == 8001


def test_export_of_a_file_that_does_not_open(orchkit, path, lab, tmp_path):
    changed(path, "update meta set value = '99'")
    assert "schema version 99" in orchkit("runs", "--store", path, code=2)
    told = orchkit("export", tmp_path / "out", "--store", path, "--json", code=1)
    assert told["rescued"] is True
    assert len(pd.read_parquet(tmp_path / "out" / "run.parquet")) == 3


# Compact, prune, snapshot


def test_compact(orchkit, path, lab):
    told = orchkit("compact", "--store", path, "--json")
    assert list(told) == ["store", "before", "after"]
    assert told["before"] > 0
    assert told["after"] > 0
    assert " before, " in orchkit("compact", "--store", path)


def test_prune(orchkit, path, lab):
    assert "would remove every run" in orchkit("prune", "--store", path, code=2)
    told = orchkit("prune", "--keep-runs", 1, "--dry-run", "--store", path, "--json")
    assert list(told) == ["store", "dry_run", "runs"]
    assert [run["run"] for run in told["runs"]] == [lab["completed"]]
    assert list(told["runs"][0]) == ["run", "workflow", "mode", "status", "started", "ended", "events"]
    assert told["runs"][0]["ended"].endswith("Z")
    assert orchkit("prune", "--keep-runs", 0, "--store", path).splitlines()[-1] == "2 runs were deleted"
    assert [run["status"] for run in orchkit("runs", "--store", path, "--json")["runs"]] == ["suspended"]
    assert orchkit("prune", "--keep-days", 0, "--store", path) == "0 runs were deleted\n"


def test_snapshot(orchkit, path, lab, tmp_path):
    copy = tmp_path / "copy.duckdb"
    told = orchkit("snapshot", copy, "--store", path, "--json")
    assert told == {"store": str(path), "snapshot": str(copy)}
    assert len(orchkit("runs", "--store", copy, "--json")["runs"]) == 3
    assert "exists and is left as it is" in orchkit("snapshot", copy, "--store", path, code=2)


# Where copies and exports cannot go

ODD = {
    "": "give a path as text",
    "a\0b": "no file can have that path",
    "x" * 300: "no file can have that path (File name too long)",
    "folder": "folder exists and is left as it is",
    "file": "file exists and is left as it is",
    "no/copy": "no does not exist; make the directory first",
    "file/copy": "file is no folder; use another path",
    "lab.duckdb": "is the store itself",
    "lab.duckdb.wal": "belongs to the store",
    "lab.duckdb.compacting": "belongs to the store",
}


@pytest.mark.parametrize("name", ODD, ids=lambda name: ascii(name)[:20])
def test_a_copy_with_an_odd_name(orchkit, path, lab, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"mine")
    before = sorted(os.listdir(tmp_path))
    for options in ([], ["--json"]):
        assert ODD[name] in orchkit("snapshot", name, "--store", path, *options, code=2)
    assert sorted(os.listdir(tmp_path)) == before
    assert len(orchkit("runs", "--store", path, "--json")["runs"]) == 3


@pytest.mark.parametrize("name", sorted(ODD.keys() - {"folder", "no/copy"}), ids=lambda name: ascii(name)[:20])
@pytest.mark.parametrize("version", ["2", "99"])
def test_an_export_to_an_odd_name(orchkit, path, lab, tmp_path, monkeypatch, name, version):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"mine")
    changed(path, f"update meta set value = '{version}' where key = 'schema_version'")
    before = sorted(os.listdir(tmp_path))
    said = orchkit("export", name, "--store", path, "--overwrite", code=2)
    assert ODD[name].replace("exists and is left as it is", "is a file; give a folder") in said
    assert sorted(os.listdir(tmp_path)) == before


UNPRIVILEGED = f"""
import sys
import orchkit as ok
from orchkit.cli._app import app
from typer.testing import CliRunner
folder = sys.argv[1]
ok.open(folder + "/other.duckdb").close()
for command in ("snapshot", "export"):  # so that all is imported
    CliRunner().invoke(app, [command, folder + "/" + command, "--store", folder + "/other.duckdb"])
{STOP_BEING_ROOT}
result = CliRunner().invoke(app, sys.argv[2:])
print(result.exit_code, result.stdout, result.stderr)
"""


@pytest.mark.parametrize("command", ["snapshot", "export"])
def test_a_folder_that_may_not_be_written(public, tmp_path, command):
    path, locked = public / "lab.duckdb", public / "locked"
    with ok.open(path):
        pass
    locked.mkdir()
    locked.chmod(0o555)
    own(public, path)
    done = in_a_process("-c", UNPRIVILEGED, tmp_path, command, locked / "copy", "--store", path)
    said = f"orchkit {command}: {locked} may not be written to; see who may, or use another path"
    assert done.stdout == f"2  {said}\n\n", done


# Damage


@pytest.mark.parametrize(
    "command",
    [["runs"], ["show"], ["snapshot", "copy"], ["export", "out"], ["prune", "--keep-runs", "9"]],
    ids=lambda command: command[0],
)
def test_what_is_missing_is_one_line_beside_the_answer(path, tmp_path, command):
    """In a process of its own, with the warnings that a user has."""
    with ok.open(path) as store:
        run_id = settled(store, hello, "Ada")
    shutil.copy(path, tmp_path / "old.duckdb")
    with ok.open(path) as store:
        settled(store, hello, "Bob")
    shutil.move(tmp_path / "old.duckdb", path)
    arguments = [*command, *([run_id] if command == ["show"] else []), "--store", str(path), "--json"]
    done = in_a_process("-m", "orchkit", *arguments, cwd=tmp_path)
    warning, *refusal = done.stderr.splitlines()
    assert warning.startswith(f"orchkit {command[0]}: warning: lab.duckdb: ")
    assert "acknowledged events are missing" in warning
    if command[0] == "prune":
        assert (done.returncode, done.stdout, len(refusal)) == (1, "", 1), "it writes, and nothing may be written"
    else:
        assert (done.returncode, refusal) == (0, []), done
        assert json.loads(done.stdout)["store"] == str(path)


# Doctor


def found(orchkit, path, *options, code=0):
    told = orchkit("doctor", "--store", path, "--json", *options, code=code)
    assert list(told) == ["store", "healthy", "owner", "schema_version", "size", "runs", "findings"]
    assert told["healthy"] is (code == 0)
    assert all(list(finding) == ["severity", "code", "what", "todo"] for finding in told["findings"])
    assert all(finding["todo"] for finding in told["findings"])
    return {finding["code"]: finding for finding in told["findings"]}


def test_a_healthy_store(orchkit, path):
    with ok.open(path):
        pass
    assert found(orchkit, path) == {}
    told = orchkit("doctor", "--store", path)
    assert "nobody has it open; schema version " in told
    assert "0 events of 0 runs" in told
    assert told.splitlines()[-1] == "nothing to find fault with"


def test_the_numbers_of_a_store(orchkit, path, lab):
    told = orchkit("doctor", "--store", path, "--json")
    assert told["healthy"] is True
    assert told["runs"] == {"completed": 1, "failed": 1, "suspended": 1}
    assert told["size"]["rows"]["admission"] == 3
    assert set(told["size"]) == {"file", "wal", "free", "beside", "rows", "disk"}


def test_a_run_that_was_cut_off(orchkit, path):
    with ok.open(path) as store:
        journal = store._kept.admit(Head("cut", "hello", started=1))
        journal.append(Event(1, "run_started", body={"input": "x"}))
        journal.release()
    finding = found(orchkit, path)["stuck"]
    assert finding["severity"] == "warning"
    assert finding["what"].startswith("run cut of hello is ")


def test_logs_that_are_torn(orchkit, path, lab):
    for run, what in (
        ("completed", "delete from event_row where n = 2"),
        ("failed", "insert into event_row select * from event"),
    ):
        changed(path, f"{what} {'and' if 'n = 2' in what else 'where'} run = '{lab[run]}'")
    findings = found(orchkit, path, code=1)
    assert f"{lab['completed']} (1)" in findings["log_gap"]["what"]
    assert lab["failed"] not in findings["log_gap"]["what"]
    assert lab["failed"] in findings["log_twice"]["what"]
    assert "error: events are missing within the logs" in orchkit("doctor", "--store", path, code=1)


def test_rows_without_their_other_half(orchkit, path, lab):
    with ok.open(path) as store:
        journal = store._kept.admit(Head("long", "hello", started=1))
        journal.append(Event(1, "run_ended", status="completed", body="x" * 9000))
    changed(
        path,
        f"delete from admission where run = '{lab['completed']}'",
        f"delete from event_row where run = '{lab['failed']}'",
        "delete from payload",
    )
    findings = found(orchkit, path, code=1)
    assert lab["completed"] in findings["run_without_admission"]["what"]
    assert lab["failed"] in findings["run_without_events"]["what"]
    assert "long (1)" in findings["payload_missing"]["what"]


def test_a_block_that_cannot_be_read(orchkit, path):
    damaged(path)
    finding = found(orchkit, path, code=1)["rows_unreadable"]
    assert "rows of event cannot be read" in finding["what"]
    assert "orchkit export" in finding["todo"]


def test_a_file_that_does_not_open(orchkit, path, lab):
    changed(path, "update meta set value = '99'")
    finding = found(orchkit, path, code=1)["unreadable"]
    assert "schema version 99" in finding["what"]


def test_what_lies_beside_it(orchkit, path, lab):
    left = ["compacting", "damaged-20261123", "marks.new", "mending", "mending.wal", "migrating", "new", "part"]
    for ending in left:
        path.with_name(f"lab.duckdb.{ending}").write_bytes(b"old")
    told = orchkit("doctor", "--store", path, "--json")
    assert told["healthy"] is True
    names = [finding["what"].split()[0] for finding in told["findings"] if finding["code"] == "leftover"]
    assert names == [f"lab.duckdb.{ending}" for ending in left]


@pytest.mark.parametrize("command", [["doctor"], ["runs"]])
def test_a_file_that_was_taken_away_is_told_with_what_is_missing(orchkit, path, lab, command):
    path.unlink()
    said = orchkit(*command, "--store", path, code=2)
    assert "lab.duckdb is not there, but lab.duckdb.marks beside it is" in said
    assert "acknowledged events are missing" in said


@pytest.mark.parametrize("name", ["what?.duckdb", "back\\slash.duckdb", "n" * 240])
def test_a_copy_by_a_name_that_no_store_can_have_is_refused(path, lab, name):
    with ok.open(path) as store, pytest.raises(StoreError, match=r"use a (path without it|shorter one)"):
        store.snapshot(path.with_name(name))
    assert not path.with_name(name).exists()


def test_room_that_a_compaction_would_give_back(orchkit, path):
    with ok.open(path) as store:
        journal = store._kept.admit(Head("big", "hello", started=1))
        for n in range(100):
            journal.append(Event(n, "started", "draft", attempt=1, body=os.urandom(100_000)))
        journal.append(Event(200, "run_ended", status="completed"))
    orchkit("prune", "--keep-runs", 0, "--store", path)
    finding = found(orchkit, path)["compact"]
    assert finding["severity"] == "advice"
    assert finding["todo"] == f"orchkit compact --store {path}"
    orchkit("compact", "--store", path)
    assert found(orchkit, path) == {}


def test_what_a_store_says_of_its_damage_is_told_and_confirmed(orchkit, path, lab, monkeypatch):
    said = ["3 acknowledged events missing"]
    monkeypatch.setattr(Store, "damage", property(lambda _: said[0] if said else None))
    monkeypatch.setattr(Store, "confirm", lambda _: said.clear())
    finding = found(orchkit, path, code=1)["damage"]
    assert finding["what"] == "3 acknowledged events missing"
    assert "--confirm" in finding["todo"]
    assert "damage" not in found(orchkit, path, "--confirm")

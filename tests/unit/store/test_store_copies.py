"""Copies: a snapshot is a store of its own, an export is read by others, and a damaged file gives what it can."""

import os
import subprocess
import threading

import duckdb
import pandas as pd
import pytest
from conformance import EVERY_FIELD, ended, head, note, wait_durable

import orchkit as ok
from orchkit.errors import DefinitionError, RunHeld, StoreBusy, StoreError, StoreUnreadable
from orchkit.store.duck import DuckStore
from orchkit.store.exports import rescue
from orchkit.store.holder import Holder

LONG = "y" * 9000
TABLES = ["admission", "event", "holder", "lease", "mail", "meta", "opening", "payload"]
VIEWS = ["approval", "attempt", "effect", "lineage", "node_run", "run", "timeline"]


# Snapshots


def test_a_snapshot_is_a_store_and_the_original_goes_on(store, tmp_path):
    ended(store, "r", EVERY_FIELD, note(1, body=LONG), note(2, body=b"\x00\x01"))
    store.snapshot(tmp_path / "copy.duckdb")
    ended(store, "later")
    copy = DuckStore(tmp_path / "copy.duckdb")
    assert [one.run_id for one in copy.heads()] == ["r"]
    assert copy.events("r") == store.events("r")
    ended(copy, "of its own")
    assert copy.fetch("select * from run where run = 'r'") == store.fetch("select * from run where run = 'r'")
    copy.close()
    assert [one.run_id for one in store.heads()] == ["r", "later"]
    assert not list(tmp_path.glob("*.part*"))


def test_it_shows_one_moment_while_others_write(store, tmp_path):
    stop = threading.Event()

    def write(name):
        n = 0
        while not stop.is_set():
            n += 1
            ended(store, f"{name}{n}", note(1, body=f"{name}{n}" * 1000))

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for turn in range(4):
        store.snapshot(tmp_path / f"copy{turn}.duckdb")
    stop.set()
    for thread in threads:
        thread.join()
    for turn in range(4):
        copy = DuckStore(tmp_path / f"copy{turn}.duckdb")
        ids = [one.run_id for one in copy.heads()]
        assert copy.fetch("select distinct run from event order by 1") == [(run,) for run in sorted(ids)]
        for run in ids:
            assert [event.kind for event in copy.events(run)] == ["started", "run_ended"]
        copy.close()


@pytest.mark.parametrize("there", ["copy.duckdb", "copy.duckdb.wal"])
def test_a_snapshot_overwrites_nothing(store, tmp_path, there):
    (tmp_path / there).write_bytes(b"mine")
    with pytest.raises(StoreError, match="exists and is left as it is"):
        store.snapshot(tmp_path / "copy.duckdb")
    assert (tmp_path / there).read_bytes() == b"mine"
    with pytest.raises(StoreError, match="is the store itself"):
        store.snapshot(store.path)


def test_a_run_that_is_executed_counts_as_executed_in_the_copy(store, tmp_path):
    journal = store.admit(head("going"))
    journal.append(note(1))
    store.snapshot(tmp_path / "copy.duckdb")
    copy = DuckStore(tmp_path / "copy.duckdb")
    assert copy.holders().keys() == {"going"}
    with pytest.raises(RunHeld):
        copy.take_for("going", Holder("elsewhere", "boot", 1, "born"))
    copy.close()


def test_odd_names(tmp_path):
    folder = tmp_path / 'it\'s; a "folder"'
    folder.mkdir()
    store = DuckStore(folder / "my lab'\"-1.duckdb")
    ended(store, "r")
    store.snapshot(folder / "'; drop table event; --.duckdb")
    store.compact()
    assert len(store.export(folder / "o'ut", overwrite=False)) == len(TABLES + VIEWS)
    store.close()
    copy = DuckStore(folder / "'; drop table event; --.duckdb")
    assert len(copy.events("r")) == 2
    copy.close()


FULL = """
import resource, signal
from conformance import head, note, wait_durable
from orchkit.errors import StoreError
from orchkit.store.duck import DuckStore
import os
from pathlib import Path
store = DuckStore(sys.argv[1])
journal = store.admit(head("r"))
for n in range(200):
    journal.append(note(n, body=os.urandom(9000)))
wait_durable(journal)
journal.release()
store._writer.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
for what in (lambda: store.snapshot(Path("copy.duckdb").absolute()), store.compact,
             lambda: store.export(Path("out").absolute(), overwrite=False)):
    try:
        what()
    except StoreError as error:
        print(type(error).__name__, str(error).replace(chr(10), "!"))
    else:
        print("done")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(sorted(name for name in os.listdir(".") if "copy" in name or "compacting" in name or ".part" in name))
journal = store.admit(head("s"))
journal.append(note(1))
wait_durable(journal)
print(len(store.events("r")), len(store.events("s")))
store.compact()
"""


def test_a_full_disk_leaves_nothing_behind_and_the_store_goes_on(script, path):
    done = script(FULL, path)
    *refusals, left, counts = done.stdout.splitlines()
    assert len(refusals) == 3, done.stderr
    assert all(line.startswith("StoreError ") and "cannot be written: " in line for line in refusals), refusals
    assert left == "[]"
    assert counts == "200 1"


# Exports


def test_every_table_and_view_as_a_file(store, tmp_path):
    ended(store, "r", EVERY_FIELD, note(1, body=LONG))
    told = store.export(tmp_path / "out", overwrite=False)
    assert [one.name for one in told] == TABLES + VIEWS
    assert not any(one.problem for one in told)
    assert sorted(os.listdir(tmp_path / "out")) == sorted(
        [f"{name}.parquet" for name in TABLES + VIEWS] + ["README.txt"]
    )
    for one in told:
        target = tmp_path / "out" / f"{one.name}.parquet"
        assert target.stat().st_size == one.bytes
        query = "select * from {} order by all"
        assert duckdb.sql(query.format(f"'{target}'")).fetchall() == store.fetch(query.format(one.name))
    assert pd.read_parquet(tmp_path / "out" / "run.parquet").run.tolist() == ["r"]
    assert "idempotency_key" in (tmp_path / "out" / "README.txt").read_text("utf-8")


def test_a_folder_that_holds_something(path, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (out / "event.parquet").write_text("old")
    with ok.open(path) as store:
        with pytest.raises(StoreError, match="is not empty; give another folder, or overwrite=True"):
            store.export(out)
        assert (out / "event.parquet").read_text() == "old"
        told = store.export(out, overwrite=True)
        assert told.columns.tolist() == ["name", "rows", "bytes", "problem"]
        assert len(pd.read_parquet(out / "event.parquet")) == 0
        assert (out / "mine.txt").read_text() == "mine"
        with pytest.raises(StoreError, match="is a file"):
            store.export(out / "mine.txt")
        with pytest.raises(DefinitionError, match="format='csv'"):
            store.export(tmp_path / "other", format="csv")


# Damage


def damaged(path):
    """Make a store with a block that cannot be read, among the bodies of its events."""
    store = DuckStore(path)
    journal = store.admit(head("r"))
    for n in range(8000):
        journal.append(note(n, body=os.urandom(500).hex()))
    wait_durable(journal)
    journal.release()
    store.close()
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(64))


def test_what_a_damaged_block_holds_is_null_and_said(path, tmp_path):
    damaged(path)
    with ok.open(path) as store:
        with pytest.raises(StoreUnreadable):
            store.events("r")
        told = store.export(tmp_path / "out").set_index("name")
    assert told.problem["event"].startswith("could not be read and is null: body of ")
    assert told.rows["event"] == 8000
    frame = pd.read_parquet(tmp_path / "out" / "event.parquet")
    assert frame.n.tolist() == list(range(1, 8001))
    lost = frame.body.isna().sum()
    assert 0 < lost <= 4 * 2048
    assert f"body of {lost} rows" in told.problem["event"]
    assert told.problem["admission"] == ""
    assert told.problem["attempt"] == "", "a view that needs no body is whole"


def test_a_file_whose_log_is_damaged_gives_what_is_before_it(path, tmp_path):
    store = DuckStore(path)
    ended(store, "merged")
    store.close()
    copy = tmp_path / "damaged.duckdb"
    store = DuckStore(path)
    ended(store, "in the log")
    # As a crash leaves them; copied by another process, for this one must not open the file.
    for end in ("", ".wal"):
        subprocess.run(["cp", f"{path}{end}", f"{copy}{end}"], check=True)
    store.close()
    wal = copy.with_name("damaged.duckdb.wal")
    data = bytearray(wal.read_bytes())
    data[len(data) // 2] ^= 255
    wal.write_bytes(data)
    before = copy.read_bytes(), wal.read_bytes()
    told = {one.name: one for one in rescue(copy, tmp_path / "out", overwrite=False)}
    assert told["damaged.duckdb.wal"].problem.startswith("not read, what was recorded last is missing")
    assert pd.read_parquet(tmp_path / "out" / "admission.parquet").run.tolist() == ["merged"]
    assert (copy.read_bytes(), wal.read_bytes()) == before


def test_what_no_rescue_can_read(path, tmp_path):
    path.write_bytes(b"\x00" * 8 + b"DUCK" + b"\x01" * 50_000)
    with pytest.raises(StoreUnreadable, match=r"nothing of .* can be read"):
        rescue(path, tmp_path / "out", overwrite=False)
    other = tmp_path / "sales.duckdb"
    with duckdb.connect(str(other)) as connection:
        connection.execute("create table sales(a integer)")
    with pytest.raises(StoreUnreadable, match="no orchkit store"):
        rescue(other, tmp_path / "out", overwrite=False)
    assert not (tmp_path / "out").exists()
    store = DuckStore(tmp_path / "open.duckdb")
    with pytest.raises(StoreBusy):
        rescue(store.path, tmp_path / "out", overwrite=False)
    store.close()


def test_a_foreign_name_of_a_table_is_no_name_of_a_file(path, tmp_path):
    DuckStore(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute('create table "../escaped"(a integer)')
    rescue(path, tmp_path / "out", overwrite=False)
    assert not (tmp_path / "escaped.parquet").exists()

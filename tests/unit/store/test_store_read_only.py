"""Reading only: nothing is written, readers share, owners wait, and what cannot be had is said."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from broken import EVENTS, RUNS, parts_of, with_a_flipped_body, write_and_die
from conformance import head, note

import orchkit as ok
from orchkit.errors import StoreBusy, StoreDamaged, StoreReadOnly, StoreUnreadable
from orchkit.store.duck import DuckStore
from tests.support.nobody import STOP_BEING_ROOT

HERE = Path(__file__)
PRELUDE = f"import sys; sys.path[:0] = {[str(HERE.parents[3]), str(HERE.parent)]!r}\n"


@contextmanager
def reading(path):
    store = DuckStore(path, read_only=True)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def process(code, *arguments):
    """Run Python in a process of its own until the block ends; it says "ready" when it is, and reads stdin."""
    command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        yield child
        child.stdin.close()
        child.wait(20)


@pytest.fixture
def pending(tmp_path):
    """A store whose owner was killed: its events are in its log."""
    path = tmp_path / "lab" / "lab.duckdb"
    path.parent.mkdir()
    write_and_die(path)
    return path


def all_bytes(path):
    return {name: path.with_name(name).read_bytes() for name in os.listdir(path.parent) if not name.endswith(".sock")}


def test_a_pending_log_is_read_and_nothing_is_written(pending):
    for leftover in ("lab.duckdb.owner", "lab.duckdb.sock"):
        pending.with_name(leftover).unlink(missing_ok=True)
    before = all_bytes(pending)
    with reading(pending) as store:
        assert {one.run_id: len(store.events(one.run_id)) for one in store.heads()} == dict.fromkeys(RUNS, EVENTS)
        assert store.damage is None
        assert store.notices == ()
        for write in (lambda: store.admit(head("new")), lambda: store.take("r0"), store.confirm):
            with pytest.raises(StoreReadOnly, match=r"open for reading only; close it, and open it by ok.open"):
                write()
        assert store.query("select count(*) as n from event").n[0] == EVENTS * len(RUNS)
    assert all_bytes(pending) == before


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(StoreUnreadable, match="does not exist, and reading makes none"):
        DuckStore(tmp_path / "lab.duckdb", read_only=True)
    with pytest.raises(StoreUnreadable, match="does not exist"):
        ok.open(tmp_path / "lab.duckdb", read_only=True)
    assert os.listdir(tmp_path) == []


READER = """
from orchkit.store.duck import DuckStore
store = DuckStore(sys.argv[1], read_only=True)
print("ready", flush=True)
sys.stdin.read()
store.close()
"""


def test_readers_share(pending):
    with process(READER, pending), process(READER, pending), reading(pending) as store:
        assert len(store.heads()) == len(RUNS)
    assert not pending.with_name("lab.duckdb.owner").exists()


KILLED_READER = READER.replace("sys.stdin.read()", "sys.stdin.read(); import os, signal; os.kill(os.getpid(), 9)")


def test_a_reader_that_was_killed_leaves_nothing_that_matters(pending):
    with process(KILLED_READER, pending):
        pass
    store = DuckStore(pending)
    assert len(store.heads()) == len(RUNS)
    store.close()


OWNER = """
from conformance import head, note, wait_durable
from orchkit.store.duck import DuckStore
print("ready", flush=True)
store = DuckStore(sys.argv[1])
journal = store.admit(head("theirs"))
journal.append(note(1))
wait_durable(journal)
print("written", flush=True)
sys.stdin.read()
store.close()
"""


def test_who_wants_to_own_it_waits_until_the_last_reader_is_gone(pending):
    with process(READER, pending) as reader, process(OWNER, pending) as owner:
        with reading(pending) as store:
            reader.stdin.close()
            reader.wait(20)
            assert len(store.heads()) == len(RUNS)
        assert owner.stdout.readline() == "written\n"
        # Now there is an owner, and who reads asks it.
        with reading(pending) as store:
            assert store.events("theirs") == [note(1)]
            with pytest.raises(StoreReadOnly):
                store.admit(head("ours"))


def test_who_waits_too_long_is_told_that_somebody_reads(pending, monkeypatch):
    monkeypatch.setattr("orchkit.store.elected._PATIENCE", 100_000)
    with process(READER, pending), pytest.raises(StoreBusy, match="another process, which reads it"):
        DuckStore(pending)


def test_a_reader_goes_on_when_the_owner_has_gone(pending):
    with process(OWNER, pending) as owner:
        assert owner.stdout.readline() == "written\n"
        with reading(pending) as store:
            assert store.events("theirs") == [note(1)]
            owner.kill()
            owner.wait(20)
            assert store.events("theirs") == [note(1)]
            assert type(store._elected.place).__name__ == "DuckFile"
            with pytest.raises(StoreReadOnly):
                store.admit(head("ours"))


def test_damage_is_told_and_not_to_be_confirmed(pending):
    pending.with_name("lab.duckdb.wal").unlink()
    before = all_bytes(pending)
    with reading(pending) as store:
        assert store.damage.missing == EVENTS * len(RUNS)
        assert [type(notice) for notice in store.notices] == [StoreDamaged]
        with pytest.raises(StoreReadOnly, match="for reading only"):
            store.confirm()
    with pytest.warns(StoreDamaged, match="acknowledged events are missing"):
        ok.open(pending, read_only=True).close()
    assert all_bytes(pending) == {name: data for name, data in before.items() if name != "lab.duckdb.owner"}


def test_a_log_that_must_be_mended_first(pending):
    parts = parts_of(pending)
    path = parts._replace(wal=with_a_flipped_body(parts.wal)).put(pending.parent)
    before = all_bytes(path)
    with pytest.raises(StoreUnreadable, match=r"if that is its log, ok.open\('lab.duckdb'\) mends it"):
        DuckStore(path, read_only=True)
    assert all_bytes(path) == before


def test_in_one_process_a_store_that_writes_serves_who_reads(tmp_path):
    path = tmp_path / "lab.duckdb"
    with ok.open(path) as store:
        assert ok.open(path, read_only=True) is store


def test_in_one_process_a_store_that_reads_stands_in_the_way_and_is_named(tmp_path):
    path = tmp_path / "lab.duckdb"
    ok.open(path).close()
    with ok.open(path, read_only=True) as store:
        assert ok.open(path, read_only=True) is store
        with pytest.raises(StoreBusy, match="for reading only; close that store, and open it again to write") as caught:
            ok.open(path)
        assert caught.value.pid == os.getpid()
        store.close()
    with ok.open(path) as again:
        assert again is not store
        assert not again._kept.read_only


UNPRIVILEGED = f"""
import duckdb, pandas, pyarrow
from orchkit.errors import StoreError
from orchkit.store import duck
import warnings; warnings.simplefilter("ignore")
{STOP_BEING_ROOT}
for read_only in (True, False):
    try:
        store = duck.DuckStore(sys.argv[1], read_only=read_only)
        print(len(store.heads()), store.query("select count(*) as n from event").n[0])
        store.close()
    except StoreError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize("owner_file", [False, True])
def test_a_folder_and_a_file_that_may_only_be_read(public, script, owner_file):
    path = public / "lab.duckdb"
    write_and_die(path)
    path.with_name("lab.duckdb.sock").unlink()
    if not owner_file:
        path.with_name("lab.duckdb.owner").unlink()
    for name in os.listdir(public):
        (public / name).chmod(0o444)
    public.chmod(0o555)
    before = all_bytes(path)
    ran = script(UNPRIVILEGED, path)
    assert ran.stderr == ""
    read, written = ran.stdout.splitlines()
    assert read == f"{len(RUNS)} {EVENTS * len(RUNS)}"
    assert written.startswith("Store")
    assert "ermission denied" in written
    assert all_bytes(path) == before


def test_a_log_that_cannot_be_mended_where_nothing_can_be_written(public, script):
    path = public / "lab.duckdb"
    write_and_die(path)
    parts = parts_of(path)
    parts._replace(wal=with_a_flipped_body(parts.wal)).put(public / "lab")
    path = public / "lab" / "lab.duckdb"
    before = all_bytes(path)
    path.parent.chmod(0o555)
    ran = script(UNPRIVILEGED, path)
    path.parent.chmod(0o755)
    assert ran.stderr == ""
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["StoreUnreadable", "StoreWriteError"]
    assert all_bytes(path) == before


def test_a_file_out_of_reach(public, script):
    path = public / "inner" / "lab.duckdb"
    path.parent.mkdir()
    DuckStore(path).close()
    path.chmod(0)
    hidden = script(UNPRIVILEGED, path)
    path.parent.chmod(0)
    out_of_reach = script(UNPRIVILEGED, path)
    path.parent.chmod(0o755)
    assert hidden.stderr + out_of_reach.stderr == ""
    assert [line.split()[0] for line in hidden.stdout.splitlines()] == ["StoreUnreadable", "StoreWriteError"]
    assert [line.split()[0] for line in out_of_reach.stdout.splitlines()] == ["StoreUnreadable"] * 2
    assert "out of reach" in out_of_reach.stdout

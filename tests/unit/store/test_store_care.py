"""Care: what is deleted and what stays, and that nobody notices when the file is swapped."""

import os
import random
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from conformance import START, end, ended, head, note, wait_durable

import orchkit as ok
from orchkit.clock.ids import wall_micro
from orchkit.errors import DefinitionError, RunHeld, RunUnknown, StoreBusy, StoreError, StoreWriteError
from orchkit.model.events import Event
from orchkit.store import care
from orchkit.store import file as duckfile
from orchkit.store.care import Keep
from orchkit.store.client import RemoteFile
from orchkit.store.duck import DuckStore

HERE = Path(__file__)
DAY = 86_400_000_000
LONG = "x" * 9000


def runs(store):
    return [one.run_id for one in store.heads()]


def gone(store, *, dry_run=False, **keep):
    return [row[0] for row in store.prune(Keep(**keep), dry_run=dry_run)]


# Pruning


def test_the_newest_that_have_ended_stay(store):
    for n in range(5):
        ended(store, f"r{n}")
    assert gone(store, runs=2, dry_run=True) == ["r0", "r1", "r2"]
    assert len(runs(store)) == 5, "a dry run deletes nothing"
    assert gone(store, runs=2) == ["r0", "r1", "r2"]
    assert runs(store) == ["r3", "r4"]
    assert store.events("r4") == [note(1), end()]
    with pytest.raises(RunUnknown):
        store.events("r0")
    assert store.fetch("select distinct run from event order by 1") == [("r3",), ("r4",)]
    assert store.fetch("select run from lease where run < 'r3'") == []
    assert gone(store, runs=2) == []


@pytest.mark.parametrize("status", ["completed", "degraded", "failed", "cancelled"])
def test_every_kind_of_end_is_one(store, status):
    ended(store, "r", status=status)
    assert gone(store, runs=0) == ["r"]


def test_what_has_no_end_stays(store):
    going = store.admit(head("going"))
    going.append(note(1))
    asked = store.admit(head("asked"))
    asked.append(Event(1, "asked", "review"))
    suspended = store.admit(head("suspended"))
    suspended.append(Event(1, "suspended"))
    late = store.admit(head("late", durability="exit"))
    late.append(note(1))
    orphaned = store.admit(head("orphaned"))
    orphaned.append(note(1))
    orphaned.release()
    ended(store, "ended")
    assert gone(store, runs=0) == ["ended"]
    late.append(end())
    wait_durable(late)
    assert runs(store) == ["going", "asked", "suspended", "orphaned", "late"]
    assert gone(store, runs=0) == ["late"]


def test_a_run_with_an_end_that_somebody_has_taken_stays(store):
    ended(store, "r")
    *_, journal = store.take("r")
    assert gone(store, runs=0) == []
    journal.release()
    assert gone(store, runs=0) == ["r"]
    with pytest.raises(RunUnknown):
        store.take("r")
    with pytest.raises(RunUnknown):
        store.take("r")  # and not RunHeld: the failed attempt holds nothing


def test_by_age(store):
    now = wall_micro()
    ended(store, "old", started=now - 3 * DAY)
    ended(store, "new", started=now - DAY)
    ended(store, "virtual", mode="virtual", started=0)
    assert gone(store, days=2.5, dry_run=True) == ["old"]
    assert gone(store, days=0.5, runs=2, dry_run=True) == ["old"], "each rule keeps what it says"
    assert gone(store, days=0.5, runs=0, dry_run=True) == ["old", "new", "virtual"]
    assert gone(store, days=2, runs=1, dry_run=True) == ["old"]
    assert gone(store, days=0) == ["old", "new"], "a virtual run has no date"


def test_of_one_workflow_only(store):
    for n in range(3):
        ended(store, f"a{n}", workflow="a")
        ended(store, f"b{n}", workflow="b")
    assert gone(store, runs=1, workflow="a") == ["a0", "a1"]
    assert gone(store, runs=0, workflow="no such") == []


def test_long_bodies_go_with_the_last_run_that_has_them_and_come_again(store):
    ended(store, "a", note(1, body=LONG), note(2, body=LONG + "a"))
    ended(store, "b", note(1, body=LONG))
    assert gone(store, runs=1) == ["a"]
    assert store.fetch("select count(*) from payload") == [(1,)]
    ended(store, "c", note(1, body=LONG + "a"))
    assert store.events("c")[0].body == LONG + "a", "the writer still took it for known"
    assert gone(store, runs=1) == ["b"]
    assert store.fetch("select count(*) from payload") == [(1,)]


def test_numbers_are_never_given_again(path):
    store = DuckStore(path)
    for n in range(3):
        ended(store, f"r{n}")
    ((last,),) = store.fetch("select greatest((select max(seq) from event), (select max(seq) from lease))")
    assert len(gone(store, runs=0)) == 3
    store.close()
    store = DuckStore(path)
    ended(store, "next")
    assert store.fetch("select min(seq) from event")[0][0] > last
    store.close()


def test_an_id_that_went_may_come_again(store):
    ended(store, "v1", mode="virtual", started=0)
    with pytest.raises(StoreError, match="already in"):
        store.admit(head("v1", mode="virtual", started=0))
    assert gone(store, runs=0) == ["v1"]
    ended(store, "v1", mode="virtual", started=0)


def test_rows_of_holders_go_when_nobody_needs_them(store):
    ended(store, "r")
    append = partial(store.append_durably, sender="elsewhere", again=False)
    append([("holder", ("dead", "elsewhere", "b", 1, "born", care.stamp(START)))])
    append([("holder", ("needed", "elsewhere", "b", 1, "born", care.stamp(START)))])
    append([("holder", ("needed", "elsewhere", "b", 1, "born", care.stamp(START + 1)))])
    journal = store.admit(head("open"))
    journal.append(note(1))
    store._writer.push([("lease", ("open", "needed"))])
    gone(store, runs=0)
    assert store.fetch("select until from holder where holder = 'needed'") == [(care.stamp(START + 1),)]
    assert store.fetch("select count(*) from holder where holder = 'dead'") == [(0,)]
    store.take_for("open", care.this_process())
    assert store.holders()["open"].pid == os.getpid()


@pytest.mark.parametrize(
    "keep",
    [{}, {"workflow": "a"}, {"days": -1}, {"days": True}, {"days": "3"}, {"days": float("nan")}, {"runs": -1},
     {"runs": 1.5}, {"runs": True}, {"runs": 2**63}, {"runs": 1, "workflow": 3}],
)  # fmt: skip
def test_rules_that_make_no_sense(keep):
    with pytest.raises(DefinitionError):
        Keep(**keep)


def test_a_write_that_fails_half_way_deletes_nothing(store, monkeypatch):
    ended(store, "r")
    monkeypatch.setattr(care, "_FORGOTTEN", "delete from no_such_table where ? is null")
    with pytest.raises(StoreError, match="was not changed"):
        gone(store, runs=0)
    assert store.events("r") == [note(1), end()]
    ended(store, "next")
    assert runs(store) == ["r", "next"]


def test_the_frame_of_the_hall(path):
    with ok.open(path) as store:
        ended(store._kept, "r", workflow="triage")
        frame = store.prune(keep_runs=0, dry_run=True)
        assert frame.columns.tolist() == list(care.PRUNED)
        (row,) = frame.to_dict("records")
        assert (row["run"], row["workflow"], row["status"], row["events"]) == ("r", "triage", "completed", 2)
        assert row["started"] == store.runs().started[0]
        assert [str(frame[name].dtype)[:10] for name in ("started", "ended")] == ["datetime64"] * 2
        assert len(store.prune(keep_days=1e5)) == 0
        with pytest.raises(DefinitionError, match="would remove every run"):
            store.prune()


# Compacting


def noise(seed, size=60_000):
    return random.Random(seed).randbytes(size)


def fill(store, count, size=0):
    for n in range(count):
        body = noise(n, size) if size else f"{n} " * 300
        ended(store, f"r{n}", *(note(k, body=body[: len(body) - k]) for k in range(1, 200)))


def test_a_file_shrinks_and_everything_else_stays(path, store):
    fill(store, 6, size=6000)
    kept = store.admit(head("kept"))
    kept.append(note(1, body=LONG))
    kept.append(Event(2, "suspended"))
    gone(store, runs=1)
    everything = "select * from {} order by all"
    tables = [
        "event",
        "admission",
        "payload",
        "lease",
        "meta",
        "run",
        "attempt",
        "timeline",
        "effect",
        "approval",
        "lineage",
    ]
    before = {table: store.fetch(everything.format(table)) for table in tables}
    columns = store.fetch("select table_name, column_name, data_type from duckdb_columns() order by all")
    done = store.compact()
    assert done.after < done.before / 2
    assert done.after == path.stat().st_size + path.with_name("lab.duckdb.wal").stat().st_size
    assert {table: store.fetch(everything.format(table)) for table in tables} == before
    assert store.fetch("select table_name, column_name, data_type from duckdb_columns() order by all") == columns
    assert not list(path.parent.glob("*.compacting*"))
    ended(store, "after", note(1, body=LONG))
    assert store.fetch("select count(*) from payload where ref in (select ref from event where run = 'after')") == [
        (1,)
    ]
    store.close()
    again = DuckStore(path)
    assert runs(again) == ["r5", "kept", "after"]
    assert again.events("kept") == [note(1, body=LONG), Event(2, "suspended")]
    again.close()


def test_readers_and_writers_of_other_threads_go_on(store):
    fill(store, 3)
    stop, failures, counts = threading.Event(), [], []

    def read():
        try:
            while not stop.is_set():
                counts.append(len(store.events("r1")))
        except BaseException as error:
            failures.append(error)

    def write():
        try:
            n = 0
            while not stop.is_set():
                n += 1
                ended(store, f"v{n}", mode="virtual", started=0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for work in (read, read, write)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        store.compact()
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert set(counts) == {200}
    told = store.fetch("select run, count(*), min(n), max(n) from event where run like 'v%' group by run")
    assert len(told) > 1
    assert {row[1:] for row in told} == {(2, 1, 2)}


def test_not_while_a_run_is_executed(store):
    journal = store.admit(head("going"))
    journal.append(note(1))
    with pytest.raises(StoreBusy, match="executes 'going'; wait for it, or suspend it"):
        store.compact()
    journal.append(end())
    wait_durable(journal)
    store.compact()


def test_not_while_a_query_runs(store, monkeypatch):
    fill(store, 1)
    file = store._elected.place
    with file.cursor(), pytest.raises(StoreBusy, match="is being read"), file.apart(patience=0):
        pytest.fail("apart from a reader")
    assert len(store.events("r0")) == 200
    with file.apart(patience=0):
        pass
    assert len(store.events("r0")) == 200


def test_a_log_that_cannot_be_merged_stops_it(path, store, monkeypatch):
    # The new file would take it up; what is in it is in the new file already.
    fill(store, 1)
    wal = path.with_name("lab.duckdb.wal")
    monkeypatch.setattr(care, "wal_path", lambda _: wal if wal.exists() else path)
    with pytest.raises(StoreError, match="could not be merged"):
        store.compact()
    assert len(store.events("r0")) == 200
    assert not list(path.parent.glob("*.compacting*"))


def test_a_file_that_does_not_open_again_ends_the_writer(path, store, monkeypatch):
    fill(store, 1)

    def refuse(_, **options):
        raise StoreBusy("somebody was faster")

    monkeypatch.setattr(duckfile, "open_file", refuse)
    with pytest.raises(StoreWriteError, match="could not be opened again: somebody was faster"):
        store.compact()
    monkeypatch.undo()
    assert store.is_closed()
    again = DuckStore(path)
    assert len(again.events("r0")) == 200
    again.close()


def test_a_copy_that_was_left_by_a_killed_process_is_no_hindrance(path, store):
    path.with_name("lab.duckdb.compacting").write_bytes(b"half a copy")
    path.with_name("lab.duckdb.compacting.wal").write_bytes(b"and more")
    fill(store, 1)
    store.compact()
    assert sorted(one.name for one in path.parent.iterdir() if "compacting" in one.name) == []
    assert len(store.events("r0")) == 200


def test_no_room_for_the_copy(store, monkeypatch):
    fill(store, 1)
    monkeypatch.setattr(care, "free_on_disk", lambda _: 10)
    with pytest.raises(StoreError, match=r"the disk has 10; free some"):
        store.compact()
    assert len(store.events("r0")) == 200


def test_through_a_link_the_file_is_replaced_and_not_the_link(tmp_path):
    real, link = tmp_path / "real.duckdb", tmp_path / "link.duckdb"
    with ok.open(real) as store:
        ended(store._kept, "r")
    link.symlink_to(real)
    with ok.open(link) as store:
        store.compact()
        ended(store._kept, "s")
    assert link.is_symlink()
    with ok.open(real) as store:
        assert runs(store._kept) == ["r", "s"]


# Something else on the writer's thread


def test_a_call_comes_between_commits_and_its_error_is_its_own(store):
    assert store._writer.call(store._writer.on_it) is True

    def fail():
        raise StoreError("no")

    with pytest.raises(StoreError, match=r"^no$"):
        store._writer.call(fail)
    ended(store, "r")
    told = []
    store._writer.when_durable(0, lambda _: None)

    def nested():
        with pytest.raises(StoreError, match="by a callback on its writer's thread"):
            store._writer.call(lambda: None)
        told.append(True)

    store._writer.call(nested)
    assert told == [True]


def test_another_error_ends_the_writer_as_that_of_a_commit(store):
    def fail():
        raise ZeroDivisionError("broken")

    with pytest.raises(StoreWriteError, match="broken"):
        store._writer.call(fail)
    with pytest.raises(StoreWriteError, match="broken"):
        store._writer.call(lambda: None)
    with pytest.raises(StoreWriteError):
        store.admit(head("r")).append(note(1))
    assert store.is_closed()


def test_no_call_after_the_end(path):
    store = DuckStore(path)
    store.close()
    with pytest.raises(StoreWriteError, match="is closed"):
        store._writer.call(lambda: None)
    with pytest.raises(StoreError, match="is closed"):
        gone(store, runs=0)


# Measuring


def test_sizes(path):
    store = DuckStore(path)
    fill(store, 4)
    path.with_name("lab.duckdb.damaged-1").write_bytes(b"12345")
    size = store.size()
    assert size.rows["event"] == store.fetch("select count(*) from event")[0][0]
    assert size.rows["admission"] == 4
    assert set(size.rows) == {"admission", "event", "holder", "lease", "mail", "meta", "opening", "payload"}
    assert size.wal == path.with_name("lab.duckdb.wal").stat().st_size > 0
    assert size.beside["lab.duckdb.damaged-1"] == 5
    assert {"lab.duckdb.owner"} <= size.beside.keys()
    assert size.total == size.file + size.wal + sum(size.beside.values())
    assert size.disk > 0
    assert size.hint == ""
    store.close()


def test_the_hint_to_compact_comes_and_goes(path):
    store = DuckStore(path)
    journal = store.admit(head("big"))
    for n in range(200):
        journal.append(note(n, body=noise(n)))
    journal.append(end())
    wait_durable(journal)
    store.close()
    store = DuckStore(path)
    assert store.size().hint == ""
    gone(store, runs=0)
    store.close()
    store = DuckStore(path)
    assert "store.compact() gives" in store.size().hint
    store.compact()
    assert store.size().hint == ""
    store.close()


# Through the owner

OWN = """
import orchkit as ok
store = ok.open(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
store.close()
"""


@pytest.fixture
def owned(path):
    """The same file owned by another process, which lives as long as the test."""
    prelude = f"import sys; sys.path[:0] = {[str(HERE.parents[3]), str(HERE.parent)]!r}\n"
    command = [sys.executable, "-c", prelude + OWN, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "open\n"
        store = DuckStore(path)
        assert isinstance(store._elected.place, RemoteFile)
        yield store
        store.close()
        owner.communicate("")
    assert owner.returncode == 0


def test_the_owner_does_it_for_the_others(owned, path, tmp_path):
    fill(owned, 3, size=9000)
    going = owned.admit(head("going"))
    going.append(note(1, body=LONG))
    wait_durable(going)
    with pytest.raises(StoreBusy, match="executes 'going'"):
        owned.compact()
    assert gone(owned, runs=1, dry_run=True) == ["r0", "r1"]
    assert gone(owned, runs=1) == ["r0", "r1"]
    going.append(end())
    wait_durable(going)
    done = owned.compact()
    assert 0 < done.after < done.before
    assert isinstance(owned._elected.place, RemoteFile)
    ended(owned, "next", note(1, body=LONG))
    assert runs(owned) == ["r2", "going", "next"]
    assert owned.events("going") == [note(1, body=LONG), end()]
    owned.snapshot(tmp_path / "copy.duckdb")
    told = owned.export(tmp_path / "out", overwrite=False)
    assert {one.name: one.rows for one in told}["admission"] == 3
    assert owned.size().rows["admission"] == 3
    copy = DuckStore(tmp_path / "copy.duckdb")
    assert runs(copy) == ["r2", "going", "next"]
    copy.close()


def test_what_the_owner_refuses_is_said_to_who_asked(owned, path, tmp_path):
    with pytest.raises(StoreError, match="is the store itself"):
        owned.snapshot(path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(StoreError, match="is not empty"):
        owned.export(tmp_path / "full", overwrite=False)
    with pytest.raises(StoreError, match="does not exist"):
        owned.snapshot(tmp_path / "nowhere" / "copy.duckdb")
    assert isinstance(owned._elected.place, RemoteFile), "the owner was taken for gone"


@pytest.mark.parametrize(
    "asked",
    [
        ("prune", {}, False), ("prune", {"runs": -1}, False), ("prune", {"runs": 1}, "yes"), ("prune", 3, False),
        ("prune", {"runs": "1"}, False), ("compact", 1), ("snapshot", "relative.duckdb"), ("snapshot", 3),
        ("snapshot", "/nul\x00.duckdb"), ("export", "relative", False), ("export", "/tmp", 1), ("export", "/tmp"),
        ("call", "x"), ("close",),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_not_understood(owned, asked):
    ended(owned, "r")
    with pytest.raises(StoreError, match="did not understand"):
        owned._elected.place._ask(*asked)
    assert runs(owned) == ["r"]


def test_a_client_holds_what_it_executes_against_the_owners_pruning(owned, path):
    ended(owned, "r")
    _, _, journal = owned.take("r")
    assert gone(owned, runs=0) == []
    with pytest.raises(RunHeld):
        owned.take("r")
    journal.release()
    assert gone(owned, runs=0) == ["r"]

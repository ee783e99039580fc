"""Damage: whatever happens to a store's files, nothing acknowledged goes missing without a word."""

import os
import random
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import duckdb
import pytest
from broken import EVENTS, RUNS, flipped, parts_of, places, with_a_flipped_body, write_and_die
from conformance import head, note

import orchkit as ok
from orchkit.errors import (
    OrchkitError,
    StoreBusy,
    StoreDamaged,
    StoreReadOnly,
    StoreUnreadable,
)
from orchkit.store.duck import DuckStore
from orchkit.store.file import DuckFile

ALL = EVENTS * len(RUNS)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The files of a store that was killed; all its events are in its log."""
    path = tmp_path_factory.mktemp("killed") / "lab.duckdb"
    DuckStore(path).close()
    write_and_die(path)
    return parts_of(path)


@contextmanager
def opened(path, **options):
    file = DuckFile(path, **options)
    try:
        yield file
    finally:
        file.let_go()


def logs(file):
    """Give the length of each run's log, which must be a prefix of what was written."""
    found = {}
    for one in file.heads():
        events = file.events(one.run_id)
        assert events == [note(n, body={"n": n, "text": "x" * (n % 50)}) for n in range(len(events))]
        found[one.run_id] = len(events)
    return found


def check(path):
    """Open what was broken: what is there and what is said to be missing must make up what was acknowledged."""
    with opened(path) as file:
        found = Counter(logs(file))
        if file.damage is None:
            assert found.total() == ALL
            return None
        assert file.damage.missing == ALL - found.total()
        assert found + Counter(file.damage.runs) == Counter(dict.fromkeys(RUNS, EVENTS))
        assert f"{file.damage.missing} acknowledged event" in file.damage.report
        with pytest.raises(StoreReadOnly, match=r"store.confirm\(\) to go on"):
            file.commit([])
        return file.damage


def test_without_damage_nothing_is_said(killed, tmp_path):
    path = killed.put(tmp_path / "lab")
    assert check(path) is None
    with opened(path) as file:
        assert file.notices == ()
    assert sorted(os.listdir(path.parent)) == ["lab.duckdb", "lab.duckdb.marks"]


@pytest.mark.parametrize("wal", [None, b""], ids=["deleted", "emptied"])
def test_a_log_that_was_taken_away(killed, tmp_path, wal):
    damage = check(killed._replace(wal=wal).put(tmp_path / "lab"))
    assert damage.runs == dict.fromkeys(RUNS, EVENTS)
    assert "lab.duckdb.wal was deleted or emptied, or an older copy of the file was put in its place" in damage.report


def test_a_log_that_was_cut_anywhere(killed, tmp_path):
    for at in places(1, 50, 1, len(killed.wal) - 1):
        damage = check(killed._replace(wal=killed.wal[:at]).put(tmp_path / "lab"))
        assert "was cut or damaged" in damage.report, at


def header_length(wal):
    # The first entry is written with its length, as the log's header has none.
    return wal.index(b"\xff\xff") + 2


def test_a_flip_in_the_first_bytes_of_a_log_loses_nothing(killed, tmp_path):
    for at in range(header_length(killed.wal)):
        path = killed._replace(wal=flipped(killed.wal, at)).put(tmp_path / "lab")
        with opened(path) as file:
            assert sum(logs(file).values()) == ALL, at
            assert file.damage is None
            (notice,) = file.notices
            assert "nothing that was acknowledged is missing" in str(notice)
        kept = path.with_name("lab.duckdb.damaged-1.wal")
        assert kept.read_bytes() == flipped(killed.wal, at)


def broken_anywhere(killed, folder, seed, count):
    saved = 0
    for at in places(seed, count, header_length(killed.wal), len(killed.wal)):
        wal = flipped(killed.wal, at, 1 << at % 8)
        path = killed._replace(wal=wal).put(folder)
        damage = check(path)
        assert damage is not None, at
        saved += ALL - damage.missing
        # All up to the commit that was hit is saved, but for what shares it.
        assert ALL - damage.missing >= ALL * at // len(wal) - 3 * len(RUNS)
        kept = sorted(name for name in os.listdir(folder) if "damaged" in name)
        assert kept in ([], ["lab.duckdb.damaged-1", "lab.duckdb.damaged-1.wal"])
        if kept:
            assert (folder / kept[1]).read_bytes() == wal
            assert kept[0] in damage.report
    return saved


def test_a_flip_anywhere_in_a_log(killed, tmp_path):
    assert broken_anywhere(killed, tmp_path / "lab", 2, 25) > 25 * ALL / 3


@pytest.mark.slow
def test_a_flip_anywhere_in_a_log_many_times(killed, tmp_path):
    broken_anywhere(killed, tmp_path / "lab", 3, 300)


def test_zeros_at_the_end_of_a_log(killed, tmp_path):
    damage = check(killed._replace(wal=killed.wal[:-4096] + bytes(4096)).put(tmp_path / "lab"))
    assert 0 < damage.missing < ALL / 2


@pytest.mark.parametrize("tail", [bytes(4096), random.Random(4).randbytes(4096)], ids=["zeros", "garbage"])
def test_what_a_power_cut_appends_to_a_log_harms_nothing(killed, tmp_path, tail):
    assert check(killed._replace(wal=killed.wal + tail).put(tmp_path / "lab")) is None


def test_the_log_of_another_store(killed, tmp_path):
    other = tmp_path / "other.duckdb"
    DuckStore(other).close()
    write_and_die(other, ["theirs"])
    damage = check(killed._replace(wal=parts_of(other).wal).put(tmp_path / "lab"))
    assert damage.missing == ALL
    assert "was that of another file" in damage.report
    assert (tmp_path / "lab" / "lab.duckdb.damaged-1.wal").read_bytes() == parts_of(other).wal


def test_an_old_log_put_back_after_a_checkpoint_is_not_replayed_twice(killed, tmp_path):
    path = killed.put(tmp_path / "lab")
    with opened(path):
        pass  # which merges the log as it closes
    merged = parts_of(path)
    assert merged.wal is None
    path = merged._replace(wal=killed.wal).put(tmp_path / "again")
    with opened(path) as file:
        assert logs(file) == dict.fromkeys(RUNS, EVENTS)
        assert file.damage is None
        (notice,) = file.notices
        assert isinstance(notice, StoreDamaged)
        assert "one of earlier" in str(notice)


def test_an_older_copy_of_the_file(killed, tmp_path):
    path = killed.put(tmp_path / "lab")
    with opened(path):
        pass
    older = parts_of(path)
    write_and_die(path, ["r3"])
    with opened(path):
        pass
    write_and_die(path, ["r4"], 7)
    newest = parts_of(path)
    path = newest._replace(main=older.main, wal=None).put(tmp_path / "lab")
    with opened(path) as file:
        assert file.damage.missing == EVENTS + 7
        assert file.damage.runs == {"r4": 7}
        assert f"{EVENTS} of runs that were written before the last checkpoint" in file.damage.report
        assert "; an older copy of the file was put in its place, or it was restored from one." in file.damage.report


def test_an_older_copy_of_a_file_that_was_closed_is_not_taken_for_a_log_that_was_deleted_alone(killed, tmp_path):
    # Closing merges the log, and the marks still begin where it did.
    path = killed.put(tmp_path / "lab")
    with opened(path):
        pass
    older = parts_of(path)
    store = DuckStore(path)
    store.admit(head("r3")).append(note(1))
    store.close()
    assert parts_of(path).wal is None
    path = parts_of(path)._replace(main=older.main).put(tmp_path / "again")
    with opened(path) as file:
        assert file.damage.runs == {"r3": 1}
        assert "deleted or emptied, or an older copy" in file.damage.report


def test_a_log_that_was_deleted_is_named_also_when_the_marks_began_behind_it(killed, tmp_path):
    # They begin anew without the log being merged: who confirms, or opens a file whose marks are lost.
    path = killed._replace(marks=None).put(tmp_path / "lab")
    write_and_die(path, ["r3"])
    for wal, was in ((None, "deleted or emptied"), (killed.wal[:2000], "cut or damaged")):
        path = parts_of(path)._replace(wal=wal).put(tmp_path / "lab")
        with opened(path) as file:
            assert file.damage.missing > 0
            assert f"its write-ahead log lab.duckdb.wal was {was}, or an older copy of the file" in file.damage.report


def test_a_restored_copy_that_is_whole_is_no_damage(killed, tmp_path):
    assert check(killed.put(tmp_path / "lab")) is None
    assert check(killed._replace(marks=None).put(tmp_path / "lab")) is None


def test_a_new_file_beside_the_marks_of_another_is_no_damage(killed, tmp_path):
    path = killed._replace(wal=None).put(tmp_path / "lab")
    DuckStore(tmp_path / "new.duckdb").close()
    os.replace(tmp_path / "new.duckdb", path)
    with opened(path) as file:
        assert file.damage is None
        assert file.heads() == []


def test_without_marks_a_log_that_was_cut_in_repair_is_told_until_it_is_confirmed(killed, tmp_path):
    path = killed._replace(wal=with_a_flipped_body(killed.wal), marks=None).put(tmp_path / "lab")
    for _ in range(2):
        with opened(path) as file:
            assert 0 < sum(logs(file).values()) < ALL
            assert file.damage.missing is None
            assert "no marks say which" in file.damage.report
    with opened(path, confirmed=True) as file:
        assert file.damage is None
        assert file.fetch("select missing from opening order by epoch desc limit 1") == [(None,)]
    with opened(path) as file:
        assert file.damage is None


def test_while_something_is_missing_nothing_is_written(killed, tmp_path):
    path = killed._replace(wal=killed.wal[:-1000]).put(tmp_path / "lab")
    for _ in range(3):
        with opened(path) as file:
            assert file.damage is not None
    assert parts_of(path) == killed._replace(wal=killed.wal[:-1000])


def test_what_is_confirmed_goes_on_and_is_recorded(killed, tmp_path):
    path = killed._replace(wal=killed.wal[:-1000]).put(tmp_path / "lab")
    missing = check(path).missing
    store = DuckStore(path)
    try:
        with pytest.raises(StoreReadOnly, match="acknowledged events are missing"):
            store.admit(head("new"))
        with pytest.raises(StoreReadOnly, match="acknowledged events are missing") as caught:
            store.take("r0")
        assert caught.value.missing == missing
        left = len(store.events("r0"))
        store.confirm()
        assert store.damage is None
        store.confirm()
        kept = path.with_name("lab.duckdb.damaged-1.wal")
        assert kept.read_bytes() == killed.wal[:-1000]
        _, events, journal = store.take("r0")
        assert len(events) == left
        journal.append(note(left))
        assert len(store.events("r0")) == left + 1
        rows = store.fetch("select missing from opening order by epoch")
        assert [n for (n,) in rows][-1] == missing
    finally:
        store.close()
    with opened(path) as file:
        assert file.damage is None
        assert len(file.events("r0")) == left + 1


def test_the_hall_warns_once_and_says_how_to_go_on(killed, tmp_path):
    path = killed._replace(wal=None).put(tmp_path / "lab")
    wf = ok.Workflow("one", input=str)

    @wf.step
    def greet(input: str) -> str:
        return f"Hello {input}"

    with pytest.warns(StoreDamaged, match=f"{ALL} acknowledged events are missing"):
        store = ok.open(path)
    try:
        assert ok.open(path) is store
        assert store.damage.missing == ALL
        assert str(store.damage) == store.damage.report
        assert len(store.runs()) == 0
        with pytest.raises(StoreReadOnly, match=r"store.confirm\(\)"):
            wf.start("Dana", store=store)
        store.confirm()
        assert store.damage is None
        assert wf.start("Dana", store=store).result(10) == "Hello Dana"
    finally:
        store.close()
    again = ok.open(path)
    assert len(again.runs()) == 1
    again.close()


CLIENT = """
import warnings
from conformance import head, note, wait_durable
from orchkit.errors import StoreDamaged, StoreReadOnly
from orchkit.hall.opened import open_store
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    store = open_store(sys.argv[1])
print([type(one.message).__name__ for one in caught], store.damage.missing, len(store._kept.events("r0")))
for write in (lambda: store._kept.admit(head("theirs")), lambda: store._kept.take("r0")):
    try:
        write()
    except StoreReadOnly as error:
        print("acknowledged events are missing" in str(error), error.missing)
try:
    store._kept._elected.place.commit([("lease", ("r0", None))])
except StoreReadOnly as error:
    print("refused by the owner", error.missing)
store.confirm()
print(store.damage)
journal = store._kept.admit(head("theirs"))
journal.append(note(1))
wait_durable(journal)
store.close()
"""


def test_other_processes_meet_the_same_and_may_confirm(killed, tmp_path, script):
    path = killed._replace(wal=killed.wal[:-1000]).put(tmp_path / "lab")
    store = DuckStore(path)
    try:
        missing, left = store.damage.missing, len(store.events("r0"))
        ran = script(CLIENT, path)
        assert ran.stderr == ""
        assert ran.stdout.splitlines() == [
            f"['StoreDamaged'] {missing} {left}",
            f"True {missing}",
            f"True {missing}",
            f"refused by the owner {missing}",
            "None",
        ]
        assert store.damage is None
        assert store.events("theirs") == [note(1)]
        store.admit(head("ours")).append(note(1))
        assert store.events("ours") == [note(1)]
    finally:
        store.close()


# What is wrong with the main file cannot be mended, and is said.


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """The files of a store whose events are in the main file: 3000 of two runs, with bodies that do not compress."""
    path = tmp_path_factory.mktemp("merged") / "lab.duckdb"
    store = DuckStore(path)
    dice = random.Random(5)
    for run in ("r0", "r1"):
        journal = store.admit(head(run))
        for n in range(1500):
            journal.append(note(n, body=dice.randbytes(150).hex()))
    store.close()
    return parts_of(path)


def ask_everything(path):
    """Use all of a store; give what it refused, which must be errors of ours that say a way out."""
    refused = []

    def note_refusal(error):
        assert ";" in str(error), f"no way out: {error}"
        assert "\n" not in str(error)
        refused.append(error)

    try:
        store = ok.open(path)
    except OrchkitError as error:
        note_refusal(error)
        return refused
    kept = store._kept
    asks = [
        store.runs,
        store.pending,
        lambda: store.sql("select sum(length(body)) from event"),
        lambda: store.sql("select * from attempt"),
        *(lambda run=run: store.events(run) for run in ("r0", "r1")),
        *(lambda run=run: store.run(run).status for run in ("r0", "r1")),
        lambda: kept.take("r0"),
        lambda: kept.admit(head("new")).append(note(1)),
        kept.heads,
        kept.holders,
        lambda: kept.arrow("select * from event", None),
        store.close,
    ]
    for ask in asks:
        try:
            ask()
        except OrchkitError as error:
            note_refusal(error)
    return refused


def test_a_flip_anywhere_in_the_main_file_is_an_error_of_ours(merged, tmp_path):
    told = Counter()
    for at in [8, 12, 100, 4096, 4200, 8192, 8300, *places(6, 25, 12_288, len(merged.main))]:
        path = merged._replace(main=flipped(merged.main, at)).put(tmp_path / "lab")
        for error in ask_everything(path):
            assert isinstance(error, StoreUnreadable), repr(error)
            assert str(path) in str(error)
            told["block" if "block at byte" in str(error) else "whole"] += 1
    assert told["block"] > 10
    assert told["whole"] >= 2


def test_a_damaged_block_is_named_and_what_lies_elsewhere_is_still_there(merged, tmp_path):
    # Bodies fill most of the file; the middle of it is theirs.
    path = merged._replace(main=flipped(merged.main, len(merged.main) // 2)).put(tmp_path / "lab")
    store = DuckStore(path)
    try:
        refused = []
        for run in ("r0", "r1"):
            try:
                assert len(store.events(run)) == 1500
            except StoreUnreadable as error:
                refused.append(str(error))
        assert refused
        assert "the block at byte" in refused[0]
        assert "still give it" in refused[0]
        assert [one.run_id for one in store.heads()] == ["r0", "r1"]
        assert store.fetch("select count(*) from event") == [(3000,)]
    finally:
        store.close()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.3, 0.7, 0.97])
def test_a_main_file_that_was_cut(merged, tmp_path, share):
    path = merged._replace(main=merged.main[: int(len(merged.main) * share)]).put(tmp_path / "lab")
    before = parts_of(path)
    (error,) = ask_everything(path)
    assert isinstance(error, StoreUnreadable)
    assert parts_of(path) == before


def test_a_damaged_main_file_with_a_log_is_left_as_it_is(killed, tmp_path):
    path = killed._replace(main=flipped(killed.main, 4200)).put(tmp_path / "lab")
    before = parts_of(path)
    (error,) = ask_everything(path)
    assert isinstance(error, StoreUnreadable)
    assert parts_of(path) == before
    assert not [name for name in os.listdir(path.parent) if "damaged" in name or "mending" in name]


@pytest.mark.parametrize(
    ("statements", "match"),
    [
        (["create table event(a integer)"], "no orchkit store"),
        ([f"create table {name}(a integer)" for name in ("meta", "opening", "admission", "event")], "no orchkit store"),
        (["create table t as select 1 as a"], "no orchkit store"),
        (
            ["create table meta as select 'schema_version' as key, '1' as value", "create table event(a integer)"],
            "no orchkit store",
        ),
        (["create table meta as select 'schema_version' as key, '2' as value"], "no orchkit store"),
        (["create table meta as select 'schema_version' as key, '3' as value"], "schema version 3"),
    ],
)
def test_a_foreign_file_is_left_as_it_is_with_its_log(tmp_path, statements, match):
    code = (
        "import duckdb, os, signal, sys\nconnection = duckdb.connect(sys.argv[1])\n"
        + "".join(f"connection.execute({statement!r})\n" for statement in statements)
        + "os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "sales.duckdb"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    before = parts_of(path)
    assert before.wal
    with pytest.raises(StoreUnreadable, match=match):
        DuckStore(path)
    assert parts_of(path) == before


FULL = """
import resource
from conformance import head, note, wait_durable
from orchkit.errors import StoreError
from orchkit.store import checkpoint
from orchkit.store.duck import DuckStore
dice = __import__("random").Random(7)
store = DuckStore(sys.argv[1])
journal = store.admit(head())
room = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
checkpoint._MOST_COMMITS = int(sys.argv[3])
acknowledged = 0
try:
    for n in range(400):
        journal.append(note(n, body=dice.randbytes(2000).hex()))
        wait_durable(journal)
        acknowledged += 1
except StoreError as error:
    print(type(error).__name__)
try:
    store.close()
except StoreError as error:
    print(type(error).__name__)
print(acknowledged)
"""


@pytest.mark.parametrize("commits", [10_000, 20], ids=["commit", "checkpoint"])
@pytest.mark.parametrize("room", [300_000, 600_000, 1_000_000])
def test_a_disk_that_is_full_loses_nothing_acknowledged(tmp_path, script, commits, room):
    path = tmp_path / "lab.duckdb"
    ran = script(FULL, path, room, commits)
    assert ran.stderr == ""
    *errors, acknowledged = ran.stdout.split()
    assert set(errors) <= {"StoreWriteError"}
    assert int(acknowledged) < 400
    with opened(path) as file:
        assert file.damage is None
        events = file.events("r1") if file.heads() else []
        assert len(events) >= int(acknowledged)
        dice = random.Random(7)
        assert events == [note(n, body=dice.randbytes(2000).hex()) for n in range(len(events))]


def test_no_room_to_mend(killed, tmp_path, script):
    path = killed._replace(wal=with_a_flipped_body(killed.wal)).put(tmp_path / "lab")
    before = parts_of(path)
    ran = script(
        "import resource\nfrom orchkit.errors import StoreError\nfrom orchkit.store.file import DuckFile\n"
        "from pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))\n"
        "try:\n    DuckFile(Path(sys.argv[1]))\nexcept StoreError as error:\n    print(type(error).__name__, error)",
        path,
    )
    assert ran.stderr == ""
    assert ran.stdout.startswith("StoreUnreadable")
    assert "the disk has room" in ran.stdout
    assert parts_of(path) == before
    assert check(path) is not None


def test_reading_the_file_by_sql_loses_nothing(tmp_path, script):
    """DuckDB's own lock is gone when the file is opened and closed; who owns it is settled by another one."""
    path = tmp_path / "lab.duckdb"
    store = DuckStore(path)
    try:
        journal = store.admit(head("ours"))
        journal.append(note(1))
        assert store.query(f"select size from read_blob('{path}')").iloc[0, 0] > 0
        ran = script(
            "from conformance import head, note, wait_durable\nfrom orchkit.store.duck import DuckStore\n"
            "store = DuckStore(sys.argv[1])\njournal = store.admit(head('theirs'))\n"
            "for n in range(50):\n    journal.append(note(n))\nwait_durable(journal)\n"
            "print(type(store._elected.place).__name__, len(store.events('ours')))\nstore.close()",
            path,
        )
        assert (ran.stdout, ran.stderr) == ("RemoteFile 1\n", "")
        journal.append(note(2))
        assert len(store.events("theirs")) == 50
    finally:
        store.close()
    with opened(path) as file:
        assert file.damage is None
        assert file.events("ours") == [note(1), note(2)]
        assert len(file.events("theirs")) == 50


def test_duckdb_in_this_process_is_told_apart(killed, tmp_path):
    path = killed.put(tmp_path / "lab")
    with duckdb.connect(str(path)), pytest.raises(StoreBusy, match=r"by duckdb.connect"):
        DuckStore(path)


@pytest.mark.parametrize(
    "change",
    [
        "update event_row set body = '{\"n\":' where run = 'r1' and n = 3",
        "update event_row set ref = 'nowhere', body = null where run = 'r1' and n = 3",
        "update event_row set t = null where run = 'r1' and n = 3",
    ],
)
def test_a_log_that_somebody_has_written_in_is_an_error_of_ours(killed, tmp_path, change):
    path = killed.put(tmp_path / "lab")
    with opened(path):
        pass
    with duckdb.connect(str(path)) as connection:
        connection.execute(change)
    store = DuckStore(path)
    try:
        with pytest.raises(StoreUnreadable, match=r"the log of run 'r\d' holds what no orchkit wrote .*; restore it"):
            [store.events(run) for run in RUNS]
    finally:
        store.close()


CUT_WHILE_OPEN = """
import os, signal
from conformance import head, note, wait_durable
from orchkit.store.duck import DuckStore
store = DuckStore("lab.duckdb")
for k in range(4):
    journal = store.admit(head(f"r{k}"))
    for n in range(3):
        journal.append(note(n))
    wait_durable(journal)
    if k == 2:
        os.truncate("lab.duckdb.wal", 0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_hole_in_a_log_that_was_emptied_while_it_was_open_is_seen(script, tmp_path):
    # What is written behind the hole has the highest seq: only the counts tell.
    script(CUT_WHILE_OPEN)
    with pytest.warns(ok.StoreDamaged, match="acknowledged events are missing"):
        store = ok.open(tmp_path / "lab.duckdb")
    assert store.damage is not None
    assert store.damage.missing == 9
    assert "9 of runs that were written before the last checkpoint" in store.damage.report
    assert [one.run_id for one in store._kept.heads()] == ["r3"]
    store.close()


def test_a_pipe_is_no_store(tmp_path):
    os.mkfifo(tmp_path / "lab.duckdb")
    with pytest.raises(ok.StoreUnreadable, match="is no file; give a store another path"):
        ok.open(tmp_path / "lab.duckdb")

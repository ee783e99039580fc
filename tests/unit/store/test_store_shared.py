"""Several processes on one store: one owns the file and serves the others; all real processes."""

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conformance import StoreConformance, head, note, wait_durable
from second import Second

import orchkit as ok
from orchkit.errors import RunHeld, StoreBusy, StoreError
from orchkit.model.events import Event
from orchkit.store import duck
from orchkit.store.duck import DuckStore
from orchkit.store.election import read_notice, take_reading_seat, take_seat
from orchkit.store.journal import DuckJournal, LateJournal
from orchkit.store.rows import head_row
from orchkit.store.wire import OwnerGone, receive, send


def role(store):
    return type(store._elected.place).__name__


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    with Second(tmp_path_factory.mktemp("second") / "first.duckdb") as second:
        yield second


class TestStoreOfAClient(StoreConformance):
    """A store whose file another process owns keeps every promise of a store."""

    @pytest.fixture
    def store(self, path, second):
        second.ask("open", str(path))
        store = DuckStore(path)
        assert role(store) == "RemoteFile"
        yield store
        store.close()


def test_the_first_owns_the_file_and_both_write_and_see_it_all(path):
    with Second(path) as second:
        store = DuckStore(path)
        assert (second.ask("role"), role(store)) == ("DuckFile", "RemoteFile")
        journal = store.admit(head("mine"))
        second.ask("admit", "theirs")
        for n in range(5):
            journal.append(note(n))
            second.ask("append", "theirs", n)
        wait_durable(journal)
        assert {one.run_id for one in store.heads()} == {"mine", "theirs"}
        assert [event.t for event in store.events("theirs")] == second.ask("events", "mine") == list(range(5))
        query = "select run, count(*), max(n) from event group by run order by run"
        assert store.query(query).to_numpy().tolist() == second.ask("sql", query) == [["mine", 5, 5], ["theirs", 5, 5]]
        store.close()


@pytest.mark.parametrize("how", ["kill", "close"])
def test_when_the_owner_goes_the_other_takes_its_place_and_goes_on(path, how):
    with Second(path) as second:
        second.ask("admit", "theirs")
        second.ask("append", "theirs", 1)
        store = DuckStore(path)
        journal = store.admit(head("mine"))
        journal.append(note(1))
        wait_durable(journal)
        second.kill() if how == "kill" else second.ask("close")
        journal.append(note(2))
        wait_durable(journal)
        assert role(store) == "DuckFile"
        assert [event.t for event in store.events("mine")] == [1, 2]
        assert [event.t for event in store.events("theirs")] == [1]
        # And it serves in its turn.
        with Second(path) as third:
            assert third.ask("role") == "RemoteFile"
            assert third.ask("events", "mine") == [1, 2]
        store.close()


def test_the_owner_may_go_while_another_opens(path, monkeypatch):
    with Second(path) as second:
        writer = duck.Writer

        def kill_first(place):
            assert type(place.place).__name__ == "RemoteFile"
            second.kill()
            return writer(place)

        monkeypatch.setattr(duck, "Writer", kill_first)
        store = DuckStore(path)
        assert (role(store), store.notices) == ("DuckFile", ())
        journal = store.admit(head("mine"))
        journal.append(note(0))
        wait_durable(journal)
        with Second(path) as third:  # it serves others, by one server
            assert third.ask("events", "mine") == [0]
        store.close()


def test_readers_find_the_next_owner_too(path):
    with Second(path) as second:
        second.ask("admit", "theirs")
        second.ask("append", "theirs", 1)
        store = DuckStore(path)
        second.kill()
        assert [event.t for event in store.events("theirs")] == [1]
        assert role(store) == "DuckFile"
        store.close()


def test_of_two_that_lose_the_owner_one_takes_its_place(path):
    with Second(path) as owner, Second(path) as second:
        store = DuckStore(path)
        journal = store.admit(head("mine"))
        second.ask("admit", "theirs")
        owner.kill()
        second.tell("append", "theirs", 1)
        journal.append(note(1))
        wait_durable(journal)
        assert second._answer() is None
        assert {second.ask("role"), role(store)} == {"DuckFile", "RemoteFile"}
        assert [event.t for event in store.events("theirs")] == second.ask("events", "mine") == [1]
        store.close()


def test_a_batch_whose_answer_was_lost_is_not_recorded_twice(path):
    store = DuckStore(path)
    journal = store.admit(head())
    batch = [("admission", ("r1", "triage", "live", 0, None, "group", "{}", None, None))]
    for n in range(1, 6):
        journal.append(note(n))
    wait_durable(journal)
    sent = list(store._elected.place.fetch("select * exclude (seq) from event order by seq"))
    new = (*sent[-1][:-2], 6, None)
    again = store._elected.place.unseen([*batch, *(("event", row) for row in sent), ("event", new)])
    assert again == [("event", new)]
    store.close()


# Who executes what


def test_a_run_that_another_process_executes_is_held(path):
    with Second(path) as second:
        second.ask("admit", "theirs")
        second.ask("append", "theirs", 1)
        store = DuckStore(path)
        with pytest.raises(RunHeld, match=f"is being executed by process {second.pid} on ") as caught:
            store.take("theirs")
        assert caught.value.pid == second.pid
        assert {run: holder.pid for run, holder in store.holders().items()} == {"theirs": second.pid}
        journal = store.admit(head("mine"))
        journal.append(note(1))
        wait_durable(journal)
        refused = second.ask("take", "mine")
        assert (refused["error"], refused["pid"]) == ("RunHeld", os.getpid())
        second.ask("release", "theirs")
        assert store.take("theirs")[1] == [note(1, body={"n": 1})]
        assert second.ask("holders") == {"mine": os.getpid(), "theirs": os.getpid()}
        store.close()


def test_a_lease_ends_with_its_process_however_it_ends(path):
    with Second(path) as second:
        second.ask("admit", "theirs")
        second.ask("append", "theirs", 1)
        store = DuckStore(path)
        second.kill()
        assert store.holders() == {}
        _, log, journal = store.take("theirs")
        journal.append(note(len(log) + 1))
        assert [event.t for event in store.events("theirs")] == [1, 2]
        store.close()


def test_a_lease_outlives_the_owner_of_the_file(path):
    with Second(path) as owner, Second(path) as second:
        second.ask("admit", "theirs")
        second.ask("append", "theirs", 1)
        owner.kill()
        store = DuckStore(path)
        with pytest.raises(RunHeld):
            store.take("theirs")
        store.close()


@pytest.mark.parametrize("how", ["suspended", "run_ended", "release"])
@pytest.mark.parametrize("kind", [DuckJournal, LateJournal])
def test_a_run_is_let_go_after_its_last_row_is_on_its_way(path, how, kind):
    # Who takes it then comes after that row; before it, it would end what has just begun.
    store, pushed = DuckStore(path), []
    first = [("admission", head_row(head(), None))]
    journal = kind(store._writer, head(), 0, first=first, released=lambda: pushed.append(store._writer._pushed))
    journal.append(note(1))
    journal.release() if how == "release" else journal.append(Event(2, how, status="completed"))
    journal.release()
    assert pushed == [store._writer._pushed]
    store.close()


def test_what_was_suspended_or_has_ended_is_free(path):
    store = DuckStore(path)
    for kind in ("suspended", "run_ended"):
        journal = store.admit(head(kind))
        journal.append(note(1))
        journal.append(Event(2, kind, status="completed"))
    assert store.holders() == {}
    store.close()


@pytest.mark.parametrize("last", ["append", "release"])
def test_what_a_dead_process_has_sent_does_not_come_after_its_run_was_taken(path, monkeypatch, last):
    # Its last words lie in the socket, or with a thread of the owner's that is not at work just now.
    arrived, gate, over = threading.Event(), threading.Event(), threading.Event()
    append_durably = DuckStore.append_durably

    def late(*arguments, **options):
        arrived.set()
        gate.wait(20)
        try:
            append_durably(*arguments, **options)
        finally:
            over.set()

    store = DuckStore(path)
    with Second(path) as second:
        second.ask("admit", "theirs")
        second.ask("append", "theirs", 1)
        monkeypatch.setattr(DuckStore, "append_durably", late)
        second.tell(last, "theirs", *([2] if last == "append" else []))
        assert arrived.wait(20)
        second.kill()
        _, log, journal = store.take("theirs")
        gate.set()
        assert over.wait(20)
        journal.append(note(len(log) + 1))
        wait_durable(journal)
        assert [event.t for event in store.events("theirs")] == list(range(1, len(log) + 2))
        assert {run: holder.pid for run, holder in store.holders().items()} == {"theirs": os.getpid()}
    store.close()


# The door


def test_the_notice_and_the_socket_are_for_their_user_only(path):
    store = DuckStore(path)
    notice = read_notice(path)
    for name in (f"{path}.owner", notice.address):
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600
    assert notice.address == f"{path}.sock"
    assert notice.pid == os.getpid()
    store.close()
    assert sorted(one.name for one in path.parent.iterdir()) == ["lab.duckdb", "lab.duckdb.marks"]


def test_a_path_too_long_for_a_socket_is_served_from_elsewhere(tmp_path):
    path = tmp_path.joinpath(*["x" * 50] * 3, "lab.duckdb")
    path.parent.mkdir(parents=True)
    store = DuckStore(path)
    address = read_notice(path).address
    assert not address.startswith(str(path))
    with Second(path) as second:
        assert second.ask("role") == "RemoteFile"
    store.close()
    assert not Path(address).exists()


def linked(path):
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(10)
    link.connect(read_notice(path).address)
    return link


@pytest.mark.parametrize(
    "hello", [["wrong", 2, "me"], ["", 2, "me"], None, "token", [1, 2, 3], ["x" * 5000, 2, "me"], {"token": 1}]
)
def test_a_stranger_is_not_served(path, hello):
    store = DuckStore(path)
    with linked(path) as link:
        send(link, hello)
        with pytest.raises(OwnerGone):
            receive(link)
    store.close()


def test_bytes_of_anything_end_the_connection_and_nothing_else(path):
    store = DuckStore(path)
    for rubbish in (b"", b"\xff" * 4, b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x01\xc1", os.urandom(1000)):
        with linked(path) as link:
            link.sendall(rubbish)
            link.shutdown(socket.SHUT_WR)
            with pytest.raises(OwnerGone):
                receive(link)
    with Second(path) as second:
        assert second.ask("role") == "RemoteFile"
    store.close()


ROW = [0.0, None, "r1", "started", "n", None, 1, 0, 1, None, None, 0.0, 0, None, None, None, None, 1, None]


@pytest.mark.parametrize(
    "asked",
    [
        ["drop"],
        [],
        "push",
        ["push"],
        ["push", [["meta", ["schema_version", "9"]]], False],
        ["push", [["event", ROW[:-1]]], False],
        ["push", [["event", [*ROW[:5], "not a number", *ROW[6:]]]], False],
        ["push", [["event", [*ROW[:6], 2**63, *ROW[7:]]]], False],
        ["push", [["event", ["t", *ROW[1:]]]], False],
        ["push", [["event", [0.0, "yesterday", *ROW[2:]]]], False],
        ["push", "rows", False],
        ["query", "delete from event", None],
        ["query", "select 1; select 2", None],
        ["query", 7, None],
        ["take", "r1", {"host": 3}],
        ["head", "nobody"],
    ],
    ids=repr,
)
def test_what_makes_no_sense_is_refused_and_harms_nobody(path, asked):
    store = DuckStore(path)
    journal = store.admit(head())
    journal.append(note(1))
    with linked(path) as link:
        send(link, [read_notice(path).token, 2, "me"])
        receive(link)
        send(link, asked)
        ok_, said = receive(link)
        assert not ok_
        assert said[0] in ok.__all__
        send(link, ["heads"])
        assert receive(link)[0]
    journal.append(note(2))
    assert store.events("r1") == [note(1), note(2)]
    store.close()


def test_an_owner_of_another_schema_is_named(path, monkeypatch):
    store = DuckStore(path)
    monkeypatch.setattr("orchkit.store.client.SCHEMA_VERSION", 99)
    monkeypatch.setattr("orchkit.store.elected.refuse_unfit", lambda path: None)
    with pytest.raises(StoreBusy, match=r"writes schema version 2 and this one 99; use the same orchkit"):
        DuckStore(path)
    store.close()


# The seat


def test_a_seat_is_taken_by_one_and_left_without_a_trace(path):
    seat = take_seat(path)
    assert take_seat(path) is None
    seat.leave()
    seat.leave()
    assert list(path.parent.iterdir()) == []
    take_seat(path).leave()


def test_readers_share_a_seat_and_keep_owners_from_it(path):
    readers = [take_reading_seat(path) for _ in range(2)]
    assert take_seat(path) is None
    for reader in readers:
        reader.leave()
    take_seat(path).leave()


def test_who_comes_while_the_first_makes_the_file_waits_for_it(path, monkeypatch):
    # DuckDB makes the file empty, and writes what it is known by a moment later.
    looked, opened = threading.Event(), []

    def look(at):
        looked.set()
        return read_notice(at)

    monkeypatch.setattr("orchkit.store.elected.read_notice", look)
    seat = take_seat(path)
    path.touch()

    def come():
        try:
            opened.append(DuckStore(path))
        except StoreError as error:
            opened.append(error)
            looked.set()

    second = threading.Thread(target=come)
    second.start()
    assert looked.wait(20)
    path.unlink()
    seat.leave()
    second.join(20)
    assert role(opened[0]) == "DuckFile"
    opened[0].close()


def test_many_that_race_for_the_seat_are_one_at_a_time(path):
    inside, most, turns = [], [], []

    def race():
        while len(turns) < 300:
            seat = take_seat(path)
            if seat is not None:
                inside.append(1)
                most.append(len(inside))
                turns.append(1)
                inside.pop()
                seat.leave()

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(most) == 1


# In the hall


def asking():
    wf = ok.Workflow("asking", input=str)
    wf.approval("sure", answer=bool)

    @wf.step
    async def act(sure: bool) -> str:
        return f"acted on {sure}"

    return wf


RUN = """
import orchkit as ok
wf = ok.Workflow("asking", input=str)
wf.approval("sure", answer=bool)
run = wf.start("x", store="lab.duckdb").wait_settled(20)
print(run.id, flush=True)
import os, signal
signal.pause()
"""


def test_a_run_of_another_process_is_seen_and_taken_over_when_that_is_gone(path, tmp_path):
    root = Path(__file__).parents[3]
    child = subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, stdout=-1, text=True
    )
    with child, ok.open(path) as store:
        run_id = child.stdout.readline().strip()
        there = store.run(run_id)
        assert (there.status, there.pending()) == ("waiting", ["sure"])
        assert store.runs().status.tolist() == ["waiting"]
        assert store.stuck().status.tolist() == ["waiting"]
        with pytest.raises(ok.RunError, match=f"executed by process {child.pid} on .*act on it there"):
            there.result(1)
        with pytest.raises(ok.AnswerInvalid, match="stays open"):
            there.answer("sure", "perhaps")
        wf = asking()
        with pytest.raises(RunHeld):
            store.resume(run_id)
        assert store.resume_all() == []
        child.kill()
        child.wait()
        stuck = store.stuck()
        assert stuck.status.tolist() == ["orphaned"]
        assert stuck.why[0] == f"process {child.pid} on {store._kept.fetch('select host from holder')[0][0]}, " + (
            "which executed it, is gone"
        )
        assert stuck.todo[0] == f"store.resume('{run_id}')"
        (run,) = store.resume_all(on_change="keep")
        assert run.id == run_id
        run.answer("sure", True)
        assert run.result(20) == "acted on True"
        assert wf.name == "asking"


def test_what_has_no_workflow_here_is_left_and_said(path):
    with ok.open(path) as store:
        asking().start("x", store=store).wait_settled(20)
    with ok.open(path) as store:
        store._kept.admit(head("far", workflow="of another notebook")).append(Event(0, "run_started"))
    with ok.open(path) as store:
        resumed = store.resume_all()
        assert [run.status for run in resumed] == ["waiting"]
        assert "no workflow 'of another notebook' is defined in this process" in resumed.left["far"]
        assert "left: far: no workflow" in repr(resumed)
        assert "define workflow 'of another notebook', then store.resume('far')" in store.stuck().todo.tolist()


def test_stuck_says_why(path):
    wf = asking()
    failing = ok.Workflow("failing", input=str)

    @failing.step
    async def draft(input: str) -> str:
        raise ValueError("no words")

    with ok.open(path) as store:
        run = wf.start("x", store=store).wait_settled(20)
        run.suspend(by="dana", why="lunch")
        wf.start("y", store=store).wait_settled(20)
        bad = failing.start("z", store=store)
        with pytest.raises(ok.RunError):
            bad.result(20)
        stuck = store.stuck()
        assert stuck.status.tolist() == ["suspended", "waiting", "failed"]
        assert stuck.why[0] == "by dana: lunch"
        assert stuck.why[1].startswith("asks sure, since ")
        assert stuck.why[2] == "ValueError: no words"
        assert stuck.todo[2] == f"mend what failed, then store.resume({bad.id!r})"


def test_a_store_without_runs_is_not_stuck(path):
    with ok.open(path) as store:
        assert store.stuck().empty
        assert store.resume_all() == []
        with pytest.raises(StoreError):
            store.resume("nobody")

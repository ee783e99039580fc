"""Between the processes of one store: what is interrupted, sent twice, comes too late or does not fit."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import warnings

import pytest
from conformance import head, note, wait_durable
from msgspec.structs import replace
from second import Second

from orchkit.errors import RunHeld, StoreBusy, StoreError, StoreUnreadable, StoreWriteError
from orchkit.store import client, elected, server
from orchkit.store.client import RemoteFile, next_serial
from orchkit.store.duck import DuckStore
from orchkit.store.election import read_notice, take_seat
from orchkit.store.holder import _born, this_process
from orchkit.store.rows import Layout, head_row, row_by_row
from orchkit.store.schema import EVENT_COLUMNS, SCHEMA_VERSION
from orchkit.store.wire import OwnerGone, receive, send

OTHER = replace(this_process(), pid=os.getppid(), born=_born(os.getppid()))
"""Another process that lives."""


@pytest.fixture
def peer(store, path, monkeypatch):
    """The way of another process to the file that this one owns."""
    monkeypatch.setattr(client, "this_process", lambda: OTHER)
    peer = RemoteFile(read_notice(path))
    yield peer
    peer.let_go()


def rows_of(run_id, *ns):
    layout = Layout(head(run_id))
    return row_by_row([item for n in ns for item in layout.items(n, note(n))])


def admission(run_id, holder=OTHER):
    return [holder.entry(), ("admission", head_row(head(run_id), holder.name))]


def recorded(store, run_id):
    return store.fetch("select n from event where run = ? order by seq", [run_id])


# Interrupted


def test_an_answer_that_was_not_read_is_nobodys_answer(store, peer, monkeypatch):
    def interrupted(link):
        monkeypatch.setattr(client, "receive", receive)
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        peer.fetch("select 1")
    assert [peer.fetch(f"select {n}") for n in (2, 3)] == [[(2,)], [(3,)]]


def test_a_link_that_broke_is_made_anew_while_the_owner_is_there(store, peer):
    for link in list(store._elected._server._links):
        server._shut(link)
    assert peer.fetch("select 1") == [(1,)]


def test_a_long_question_holds_up_no_other(store, peer, monkeypatch):
    begun, gate = threading.Event(), threading.Event()

    def long(*_):
        begun.set()
        gate.wait(20)

    monkeypatch.setitem(server._OPS, "heads", long)
    thread = threading.Thread(target=lambda: peer._ask("heads"))
    thread.start()
    assert begun.wait(20)
    assert peer.fetch("select 1") == [(1,)]
    gate.set()
    thread.join(20)


def test_whether_something_is_missing_is_asked_once(store, peer, monkeypatch):
    assert peer.damage is None
    monkeypatch.setitem(server._OPS, "damage", None)
    assert peer.known_damage is None


def test_an_answer_that_cannot_be_sent_is_an_error_and_not_the_end(store, peer, monkeypatch):
    def broken(*_):
        raise MemoryError

    monkeypatch.setitem(server._OPS, "heads", broken)
    with pytest.raises(StoreError, match="MemoryError"):
        peer.heads()
    monkeypatch.setitem(server._OPS, "heads", lambda *_: object())
    with pytest.raises(StoreError, match="the owner of the store did not"):
        peer.heads()
    monkeypatch.setattr("orchkit.store.wire._LONGEST", 1000)
    with pytest.raises(StoreError, match="bytes are too many to be sent between processes"):
        peer.fetch("select repeat('x', 1001)")
    assert peer.fetch("select 1") == [(1,)]


def test_an_owner_that_cannot_confirm_says_so(store, peer, monkeypatch):
    def full(*_):
        raise StoreWriteError("no room")

    monkeypatch.setitem(server._OPS, "confirm", full)
    with pytest.raises(StoreWriteError, match="no room"):
        peer.confirm()


# Sent twice


def test_a_batch_that_comes_twice_is_recorded_once_whichever_copy_comes_first(store, peer, monkeypatch):
    arrived, gate = threading.Event(), threading.Event()
    entries_of = server.entries_of

    def slow(sent):
        monkeypatch.setattr(server, "entries_of", entries_of)
        arrived.set()
        gate.wait(20)
        return entries_of(sent)

    monkeypatch.setattr(server, "entries_of", slow)
    batch, serial = [*admission("r1"), *rows_of("r1", 1, 2)], next_serial()
    first = threading.Thread(target=lambda: peer.commit(batch, serial=serial))
    first.start()
    assert arrived.wait(20)
    peer.commit(batch, again=True, serial=serial)
    gate.set()
    first.join(20)
    assert recorded(store, "r1") == [(1,), (2,)]
    assert store.fetch("select run from admission") == [("r1",)]
    peer.commit(rows_of("r1", 3))
    assert recorded(store, "r1") == [(1,), (2,), (3,)]


def test_a_batch_is_sent_in_parts_if_it_is_long(store, peer, monkeypatch):
    monkeypatch.setattr(client, "_PART", 1000)
    batch, serial = [*admission("r1"), *rows_of("r1", *range(1, 31))], next_serial()
    assert len(list(client._parts(batch))) > 3
    peer.commit(batch, serial=serial)
    peer.commit(batch, again=True, serial=serial)
    assert recorded(store, "r1") == [(n,) for n in range(1, 31)]


def test_a_process_that_became_the_owner_leaves_out_what_it_had_sent(path):
    with Second(path) as second:
        store = DuckStore(path)
        journal = store.admit(head("r1"))
        journal.append(note(1))
        wait_durable(journal)
        sent = [*admission("r1", this_process()), *rows_of("r1", 1)]
        second.kill()
        store.heads()
        store._elected._record(store._elected.place, sent, True, next_serial())
        assert recorded(store, "r1") == [(1,)]
        store.close()


# Too late


def test_a_release_that_is_sent_again_takes_the_run_from_nobody_else(store, peer):
    release = [("lease", ("r1", None))]
    peer.commit([*admission("r1"), *rows_of("r1", 1)])
    peer.commit(release)
    _, _, journal = store.take("r1")
    assert peer.commit(release, again=True) == {}
    # Nor by the process that sent it, if that owns the file now.
    store._elected._record(store._elected.place, [("lease", ("r1", None))], True, next_serial())
    assert store.holders() == {}
    journal.release()


def test_a_release_counts_against_its_giver_only(store, peer):
    peer.commit([*admission("r1"), *rows_of("r1", 1)])
    peer.commit([("lease", ("r1", None))])
    store.take("r1")
    peer.commit([("lease", ("r1", None))], again=True)
    assert [holder.pid for holder in store.holders().values()] == [os.getpid()]


def test_rows_of_a_run_that_was_given_away_are_left_out_and_the_others_are_not(store, peer):
    peer.commit([*admission("r1"), *rows_of("r1", 1), *admission("r2"), *rows_of("r2", 1)])
    peer.commit([("lease", ("r1", None))])
    store.take("r1")
    assert peer.commit([*rows_of("r1", 2), *rows_of("r2", 2)]) == {"r1": this_process().name}
    assert (recorded(store, "r1"), recorded(store, "r2")) == ([(1,)], [(1,), (2,)])


def test_whose_a_run_is_outlives_the_owner(path, monkeypatch):
    monkeypatch.setattr(client, "this_process", lambda: OTHER)
    store = DuckStore(path)
    peer = RemoteFile(read_notice(path))
    peer.commit([*admission("r1"), *rows_of("r1", 1)])
    peer.commit([("lease", ("r1", None))])
    store.take("r1")
    peer.let_go()
    store.close()
    store = DuckStore(path)
    peer = RemoteFile(read_notice(path))
    store._writer.push([("lease", ("r1", this_process().name))])  # it was given back when the store was opened
    store._writer.flush()
    assert peer.commit(rows_of("r1", 2)) == {"r1": this_process().name}
    peer.let_go()
    store.close()


def test_a_process_that_lives_hears_of_a_run_that_it_lost_and_goes_on_with_the_others(path):
    with Second(path) as second:
        store = DuckStore(path)
        lost, mine = store.admit(head("lost")), store.admit(head("mine"))
        for journal in (lost, mine):
            journal.append(note(1))
            wait_durable(journal)
        # As by a lease that has expired: on one machine a process that lives is never taken a run from.
        store._writer.push([("lease", ("lost", None))])
        store._writer.flush()
        second.ask("take", "lost")
        lost.append(note(2))
        with pytest.raises(RunHeld, match=r"was given to .*; what it did since is not recorded"):
            wait_durable(lost)
        assert lost.behind()
        with pytest.raises(RunHeld):
            lost.append(note(3))
        mine.append(note(2))
        wait_durable(mine)
        assert recorded(store, "lost") == [(1,)]
        assert recorded(store, "mine") == [(1,), (2,)]
        store.close()


# What does not fit


def event(**values):
    row = dict.fromkeys(EVENT_COLUMNS[1:])
    row |= {"t": 0.0, "run": "r1", "kind": "started", "generation": 1, "leg": 0, "attempt": 1, "cost": 0.0}
    return "event", tuple({**row, "tokens": 0, "n": 1, **values}.values())


@pytest.mark.parametrize(
    "entry",
    [
        event(item=2**31),
        event(n=-(2**31) - 1),
        event(tokens=2**63),
        event(cost=float("nan")),
        event(cost=10**400),
        event(t=1e303),
        event(t=9.2235e12, wall="2026-01-01T00:00:00"),
        event(dur=1e303),
        event(dur=-5.0),
        event(generation=None),
        event(cost=None),
        event(kind=None),
        event(attempt=True),
        event(wall="2026-01-01T00:00:00+02:00"),
        ("holder", ("zz", None, None, 1, None, None)),
        ("holder", ("zz", "h", "b", 2**40, "x", "2026-01-01T00:00:00")),
        ("lease", ("r1", "zz")),
        ("lease", (None, None)),
        ("admission", ("r9", "triage", "live", 0, None, "group", None, None, None)),
        ("admission", ("r9", "triage", "live", 0, None, "group", "no json", None, None)),
        ("payload", (None, "json", "{}", None)),
    ],
    ids=repr,
)
def test_a_row_that_does_not_fit_is_refused_before_it_is_pushed(store, peer, entry):
    journal = store.admit(head("mine"))
    with pytest.raises((StoreError, OverflowError)):
        peer.commit([*admission("r1"), entry])
    journal.append(note(1))
    wait_durable(journal)
    assert [one.run_id for one in store.heads()] == ["mine"]
    assert len(store.holders()) == 1


def test_a_taker_whose_pid_does_not_fit_is_refused(store, peer):
    peer.commit([*admission("r1"), *rows_of("r1", 1)])
    with pytest.raises(StoreError, match="does not fit its column 'pid'"):
        peer.take("r1", replace(OTHER, pid=2**40))
    assert store.heads()


# Taken, and not had


def test_a_run_that_cannot_be_read_is_not_given(store):
    journal = store.admit(head("r1"))
    journal.append(note(1))
    wait_durable(journal)
    journal.release()
    store._writer.push([event(n=2, body="no json")])
    for _ in range(2):
        with pytest.raises(StoreUnreadable):
            store.take("r1")
        assert store.holders() == {}


def test_a_take_that_is_interrupted_is_given_back(store, monkeypatch):
    journal = store.admit(head("r1"))
    journal.append(note(1))
    wait_durable(journal)
    journal.release()
    take_for = store.take_for

    def interrupted(*arguments):
        take_for(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "take_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.take("r1")
    assert store.holders() == {}


# Doors


def test_where_no_socket_can_be_made_the_store_works_alone_and_says_so(path, monkeypatch):
    monkeypatch.setattr(server, "_addresses", lambda path: [f"{path}{'x' * 200}"])
    store = DuckStore(path)
    store.admit(head()).append(note(1))
    assert len(store.events("r1")) == 1
    monkeypatch.setattr("orchkit.store.elected.refuse_unfit", lambda path: None)
    monkeypatch.setattr("orchkit.store.elected._AT_FIRST", 0)
    with pytest.raises(StoreBusy, match=f"held by process {os.getpid()}, which cannot share it"):
        DuckStore(path)
    store.close()


def test_a_long_path_and_a_long_folder_for_temporary_files_are_served_from_tmp(tmp_path, monkeypatch):
    long = tmp_path.joinpath(*["x" * 50] * 3)
    long.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    store = DuckStore(long / "lab.duckdb")
    assert read_notice(store.path).address.startswith("/tmp/orchkit-")
    with Second(store.path) as second:
        assert second.ask("role") == "RemoteFile"
    store.close()


@pytest.mark.parametrize("step", ["open_doors", "place", "_release_left"])
def test_a_store_that_could_not_be_opened_leaves_nothing_open(path, monkeypatch, step):
    def broken(*_):
        raise MemoryError

    before = set(threading.enumerate())
    with monkeypatch.context() as patched:
        owner = DuckStore if step == "_release_left" else elected.Elected
        name = {"place": "damage"}.get(step, step)
        patched.setattr(owner, name, property(broken) if step == "place" else broken)
        with pytest.raises(MemoryError):
            DuckStore(path)
    assert [one for one in set(threading.enumerate()) - before if one.name == "orchkit-writer"] == []
    DuckStore(path).close()


def test_a_server_that_has_no_more_files_serves_again_when_it_has(store, path, monkeypatch):
    served = store._elected._server
    tried, listener = threading.Event(), served._listener

    class Full:
        def accept(self):
            tried.set()
            raise OSError(24, "Too many open files")

    served._listener = Full()
    with socket.socket(socket.AF_UNIX) as last:  # takes the server out of its wait
        last.connect(read_notice(path).address)
        assert tried.wait(20)
    served._listener = listener
    peer = RemoteFile(read_notice(path))
    assert peer.fetch("select 1") == [(1,)]
    peer.let_go()


def test_who_says_nothing_is_not_waited_for(store, path, monkeypatch):
    monkeypatch.setattr(server, "_GREETING", 0.05)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(read_notice(path).address)
        assert stranger.recv(1) == b""


def test_more_than_so_many_are_not_served_at_once(store, path, monkeypatch):
    monkeypatch.setattr(server, "_MOST", 1)
    peer = RemoteFile(read_notice(path))
    with pytest.raises(OwnerGone):
        RemoteFile(read_notice(path))
    assert peer.fetch("select 1") == [(1,)]
    peer.let_go()


def test_a_message_that_is_too_long_is_not_read(store, path, monkeypatch):
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(read_notice(path).address)
        send(link, [read_notice(path).token, SCHEMA_VERSION, "me"])
        receive(link)
        link.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(OwnerGone):
            receive(link)


def test_a_link_in_the_place_of_the_seat_is_not_followed(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.with_name("lab.duckdb.owner").symlink_to(victim)
    with pytest.raises(StoreWriteError, match=r"lab\.duckdb\.owner"):
        DuckStore(path)
    assert read_notice(path) is None
    assert victim.read_text() == "precious"


def test_a_pipe_in_the_place_of_the_seat_is_refused(path):
    os.mkfifo(f"{path}.owner")
    with pytest.raises(StoreWriteError, match="no file of this user's"):
        DuckStore(path)


def test_a_file_of_another_user_in_the_place_of_the_seat_is_refused(path, monkeypatch):
    path.with_name("lab.duckdb.owner").touch()
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(path.parent).st_uid + 1)
    with pytest.raises(StoreWriteError, match="no file of this user's"):
        take_seat(path)
    assert read_notice(path) is None


def test_a_seat_that_others_might_read_is_closed_to_them(path):
    name = path.with_name("lab.duckdb.owner")
    name.touch(0o644)
    seat = take_seat(path)
    assert stat.S_IMODE(name.stat().st_mode) == 0o600
    seat.leave()


# Between two owners


def held_elsewhere(script_path):
    code = "import duckdb, sys\nc = duckdb.connect(sys.argv[1])\nprint('has it', flush=True)\nsys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(script_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "has it\n"
    return process


def test_rows_wait_for_whoever_looks_into_the_file_for_a_moment(path, monkeypatch):
    busy = threading.Event()
    sit = elected.Elected._sit

    def watched(self, seat):
        try:
            return sit(self, seat)
        except StoreBusy:
            busy.set()
            raise

    with Second(path) as second:
        store = DuckStore(path)
        journal = store.admit(head())
        journal.append(note(1))
        wait_durable(journal)
        second.kill()
        with held_elsewhere(path) as process:
            monkeypatch.setattr(elected.Elected, "_sit", watched)
            journal.append(note(2))
            assert busy.wait(20)
            process.stdin.close()
        wait_durable(journal)
        assert recorded(store, "r1") == [(1,), (2,)]
        store.close()


def test_a_store_is_closed_while_it_looks_for_an_owner(path, monkeypatch):
    looked, said = threading.Event(), []
    look = elected.Elected._look

    def watched(self):
        looked.set()
        return look(self)

    def read():
        try:
            store.heads()
        except StoreError as error:
            said.append(str(error))

    with Second(path) as second:
        store = DuckStore(path)
        monkeypatch.setattr(elected.Elected, "_look", watched)
        second.kill()
        seat = take_seat(path)
        reader = threading.Thread(target=read)
        reader.start()
        assert looked.wait(20)
        store.close()
        reader.join(20)
        seat.leave()
    assert said
    assert "is closed" in said[0]
    assert store._elected._seat is None
    DuckStore(path).close()


def test_an_owner_that_was_stopped_is_named_to_who_reads_and_waited_for_by_who_writes(path, monkeypatch):
    with Second(path) as second:
        store = DuckStore(path)
        journal = store.admit(head())
        journal.append(note(1))
        wait_durable(journal)
        monkeypatch.setattr(client, "_SILENCE", 0.05)
        monkeypatch.setattr(client, "_GREETING", 0.05)
        warned = threading.Event()
        monkeypatch.setattr(warnings, "warn", lambda *_, **__: warned.set())
        os.kill(second.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, second.pid, os.WSTOPPED)
        try:
            with pytest.raises(StoreBusy, match=f"process {second.pid} holds {path.name} and says nothing") as caught:
                store._elected.place.heads()
            assert caught.value.pid == second.pid
            journal.append(note(2))
            assert warned.wait(20)
        finally:
            os.kill(second.pid, signal.SIGCONT)
        wait_durable(journal)
        monkeypatch.undo()
        assert recorded(store, "r1") == [(1,), (2,)]
        store.close()

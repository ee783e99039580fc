"""The writer: group commit, order, back-pressure, and what happens when it cannot write."""

import asyncio
import json
import pickle
import threading

import pytest
from conformance import head, note, wait_durable

from orchkit.errors import CodecError, StoreBusy, StoreError, StoreWriteError
from orchkit.model.events import Event
from orchkit.store import checkpoint
from orchkit.store import writer as writer_module
from orchkit.store.duck import DuckStore
from orchkit.store.schema import NUMBERED


def seqs(store):
    every = " union all ".join(f"select seq from {table}" for table in NUMBERED)
    return [seq for (seq,) in store.fetch(f"{every} order by seq")]


def test_reopening_gives_the_same_and_seq_goes_on(path):
    log, written = [], 0
    for opening in range(4):
        store = DuckStore(path)
        assert seqs(store) == list(range(1, written + 1))
        journal = store.admit(head()) if not opening else store.take("r1")[2]
        extra = store.admit(head(f"extra{opening}"))
        for n in range(50):
            log.append(note(n + 100 * opening))
            journal.append(log[-1])
            extra.append(note(n))
        assert store.events("r1") == log
        assert store.fetch("select n from event where run = 'r1' order by seq") == [(n + 1,) for n in range(len(log))]
        journal.release()
        extra.release()
        written = len(seqs(store))
        store.close()
    with pytest.raises(StoreError, match="already"):
        DuckStore(path).admit(head("extra0"))


def test_a_row_has_the_seq_of_its_place(store):
    journals = [store.admit(head(f"r{n}")) for n in range(3)]
    for n in range(2000):
        journals[n % 3].append(note(n))
    rows = store.fetch("select t from event order by seq")
    assert [round(t * 1e6) for (t,) in rows] == list(range(2000))
    assert seqs(store) == list(range(1, len(seqs(store)) + 1))


def test_a_full_queue_holds_the_engine_back_and_nothing_locks_up(store, monkeypatch):
    # The thread that is held back is the one that the wakes are posted to.
    monkeypatch.setattr(writer_module, "_QUEUE", 50)
    told, longest = [], 0

    async def engine():
        nonlocal longest
        loop = asyncio.get_running_loop()
        journals = [store.admit(head(f"r{n}")) for n in range(4)]
        done = asyncio.Event()

        def arrived(n):
            told.append(n)
            if len(told) == 3000:
                done.set()

        for n in range(3000):
            journal = journals[n % 4]
            journal.append(note(n))
            longest = max(longest, len(store._writer._queue))
            journal.when_durable(lambda error, n=n: loop.call_soon_threadsafe(arrived, n))
            if n % 500 == 0:
                await asyncio.sleep(0)
        await asyncio.wait_for(done.wait(), 30)

    thread = threading.Thread(target=asyncio.run, args=(engine(),))
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert told == list(range(3000))
    assert longest == 50


def test_a_wake_may_append_although_the_queue_is_full(store, monkeypatch):
    monkeypatch.setattr(writer_module, "_QUEUE", 3)
    journal, done = store.admit(head()), threading.Event()

    def wake(error):
        for n in range(20):
            journal.append(note(100 + n))
        done.set()

    journal.append(note(1))
    journal.when_durable(wake)
    assert done.wait(20)
    assert len(store.events("r1")) == 21


def test_waits_are_told_in_order_whoever_asked_first(store):
    gate, told, done = threading.Event(), [], threading.Event()
    first, second, third = (store.admit(head(f"r{n}")) for n in range(3))
    wait_durable(third)
    first.append(note(1))
    first.when_durable(lambda error: gate.wait(20))  # holds the writer, so that what follows gathers
    second.append(note(1))
    third.append(note(1))
    third.when_durable(lambda error: (told.append("third"), done.set()))
    second.when_durable(lambda error: told.append("second"))
    gate.set()
    assert done.wait(20)
    assert told == ["second", "third"]


def test_a_wait_does_not_overtake_one_that_is_being_told(store):
    inside, gate, told, done = threading.Event(), threading.Event(), [], threading.Event()
    journal = store.admit(head())
    journal.append(note(1))
    journal.when_durable(lambda error: (inside.set(), gate.wait(20), told.append("early")))
    assert inside.wait(20)
    assert not journal.behind()
    journal.when_durable(lambda error: (told.append("late"), done.set()))
    gate.set()
    assert done.wait(20)
    assert told == ["early", "late"]


def test_a_wake_that_raises_is_reported_and_stops_nobody_else(store, monkeypatch):
    reported, told = [], []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_value))
    journal = store.admit(head())
    journal.append(note(1))

    def broken(error):
        raise ZeroDivisionError("the waiter is broken")

    def exits(error):
        raise SystemExit

    journal.when_durable(broken)
    journal.when_durable(exits)
    journal.when_durable(told.append)
    wait_durable(journal)
    journal.append(note(2))
    wait_durable(journal)
    assert told == [None]
    assert {type(error) for error in reported} <= {ZeroDivisionError, SystemExit}
    assert store.events("r1") == [note(1), note(2)]


@pytest.mark.parametrize("use", [lambda store: store.heads(), lambda store: store.close()], ids=["read", "close"])
def test_a_wake_that_would_wait_for_the_writer_is_told_so(store, use):
    journal, caught, done = store.admit(head()), [], threading.Event()

    def wake(error):
        journal.append(note(2))
        try:
            use(store)
        except StoreError as refusal:
            caught.append(str(refusal))
        done.set()

    journal.append(note(1))
    gate = threading.Event()
    journal.when_durable(lambda error: gate.wait(20))
    journal.when_durable(wake)
    gate.set()
    assert done.wait(20)
    assert "callback on its writer's thread; hand over" in caught[0]
    assert store.events("r1") == [note(1), note(2)]


BAD = {
    "surrogate in an error": note(1, error="\ud800"),
    "surrogate in a body": note(1, body={"a": ["\udfff"]}),
    "surrogate in a key of a body": note(1, body={"\udfff": 1}),
    "surrogate in who": note(1, by="\ud800"),
    "no JSON": note(1, body={"a": object()}),
    "tokens beyond 64 bits": note(1, tokens=2**63),
    "a time that seconds cannot tell": note(2**53 + 1),
    "a length that seconds cannot tell": note(1, dur=2**53 + 1),
    "a time after the year 9999": note(400_000_000_000 * 10**6),
}


@pytest.mark.parametrize("event", BAD.values(), ids=BAD.keys())
def test_an_event_that_cannot_be_stored_stops_its_own_run_only(store, event):
    good, bad = store.admit(head("good")), store.admit(head("bad"))
    bad.append(note(0))
    with pytest.raises(CodecError, match="cannot be stored") as caught:
        bad.append(event)
    assert caught.value.node == event.node
    good.append(note(1))
    wait_durable(good)
    bad.append(note(2))
    assert store.events("bad") == [note(0), note(2)]
    assert store.fetch("select n from event where run = 'bad' order by seq") == [(1,), (2,)]
    assert store.events("good") == [note(1)]


def test_a_body_that_never_ends_is_refused(store):
    body = []
    body.append(body)
    with pytest.raises(CodecError, match="cannot be stored"):
        store.admit(head()).append(note(1, body=body))


def test_a_question_may_stay_open_for_centuries(store):
    event = Event(0, "asked", "review", dur=10**10 * 10**6)
    store.admit(head()).append(event)
    assert store.events("r1") == [event]


def test_a_head_that_cannot_be_stored_is_refused(store):
    for bad in (head(seed=2**63), head(workflow="\ud800")):
        with pytest.raises(CodecError, match="cannot be stored"):
            store.admit(bad)
    store.admit(head())


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_a_file_that_vanishes_under_the_store_stops_it(path, how):
    store = DuckStore(path)
    journal = store.admit(head())
    journal.append(note(1))
    wait_durable(journal)
    path.rename(path.with_name("elsewhere.duckdb"))
    if how == "deleted":
        path.with_name("elsewhere.duckdb").unlink()
    elif how == "replaced":
        path.write_bytes(b"")
    journal.append(note(2))
    with pytest.raises(StoreWriteError, match=r"was deleted, moved or replaced"):
        wait_durable(journal)
    with pytest.raises(StoreWriteError, match="open it again"):
        journal.append(note(3))
    assert store.is_closed()


def test_a_folder_that_vanishes_when_it_is_time_to_merge_stops_the_store_as_a_file_does(tmp_path, monkeypatch):
    (tmp_path / "lab").mkdir()
    store = DuckStore(tmp_path / "lab" / "lab.duckdb")
    journal = store.admit(head())
    for n in range(1, 4):
        journal.append(note(n))
        wait_durable(journal)
    (tmp_path / "lab").rename(tmp_path / "elsewhere")
    monkeypatch.setattr(checkpoint, "_MOST_COMMITS", 2)  # only now: once merged, DuckDB would look for the log first
    assert store._elected.is_quick() in (True, False)  # a turn asks, and has nobody to raise to
    journal.append(note(4))
    with pytest.raises(StoreWriteError, match=r"was deleted, moved or replaced"):
        wait_durable(journal)


def test_who_appends_without_waiting_is_told_on_closing(path):
    store = DuckStore(path)
    journal = store.admit(head())
    wait_durable(journal)
    path.unlink()
    journal.append(note(1))
    with pytest.raises(StoreWriteError, match="could not be made durable"):
        _close_or_append(store, journal)
    store.close()


def _close_or_append(store, journal):
    # The writer may have found out before we get here.
    store.close()
    journal.append(note(2))


FULL = """
import json, resource, threading
from conformance import head, note
from orchkit.errors import StoreError, StoreWriteError
from orchkit.store import look
from orchkit.store.duck import DuckStore

limit, entries = int(sys.argv[1]), int(sys.argv[2])
look._CONFIG["wal_autocheckpoint_entries"] = entries
store = DuckStore("lab.duckdb")
journals = [store.admit(head(f"r{n}")) for n in range(3)]
acked, failures, unlimited = [0, 0, 0], [], resource.RLIM_INFINITY
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited))

def waited(k, n):
    done, seen = threading.Event(), []
    journals[k].when_durable(lambda error: (seen.append(error), done.set()))
    assert done.wait(20)
    if seen[0] is None:
        acked[k] = n
    return seen[0]

out, error, n = {}, None, 0
while error is None:
    n += 1
    for k in range(3):
        try:
            journals[k].append(note(n, error="x" * 300))
        except StoreWriteError:
            break
    # One waits for its own, so that several are under way when it fails.
    for k in range(3):
        error = error or waited(k, n)
out["first"] = repr(type(error).__name__), str(error)
out["all"] = [type(waited(k, n)).__name__ for k in range(3) if journals[k].behind()]
for name, use in {
    "append": lambda: journals[0].append(note(0)), "admit": lambda: store.admit(head("late")),
    "heads": store.heads, "query": lambda: store.query("select 1"),
}.items():
    try:
        use()
        out[name] = "taken"
    except StoreWriteError as refusal:
        out[name] = str(refusal)
out["closed"] = store.is_closed()
store.close()
resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
again = DuckStore("lab.duckdb")
out["acked"] = acked
out["found"] = [[event.t for event in again.events(f"r{k}")] for k in range(3)]
more = again.take("r0")[2]
more.append(note(10**6))
out["goes on"] = again.events("r0")[-1].t
again.close()
print(json.dumps(out))
"""


@pytest.mark.parametrize(
    ("limit", "entries", "cause"),
    [(60_000, 5000, "Failed to commit"), (330_000, 120, "autocheckpoint failed")],
    ids=["commit", "checkpoint"],
)
def test_a_full_disk_tells_everybody_and_loses_nothing_acknowledged(script, limit, entries, cause):
    # The limit on file sizes of a process is as real as a full disk, and needs no rights.
    ran = script(FULL, limit, entries)
    assert ran.stderr == ""
    out = json.loads(ran.stdout)
    assert out["first"][0] == "'StoreWriteError'"
    assert cause in out["first"][1]
    assert "open it again with ok.open(path), and resume" in out["first"][1]
    assert set(out["all"]) == {"StoreWriteError"}
    assert all("could not be made durable" in out[use] for use in ("append", "admit", "heads", "query"))
    assert out["closed"]
    for acked, found in zip(out["acked"], out["found"], strict=True):
        assert acked > 10
        assert found == list(range(1, len(found) + 1))
        assert len(found) >= acked
    assert out["goes on"] == 10**6


def test_a_failure_can_be_sent_elsewhere():
    failure = StoreWriteError("no room", run_id="r1")
    again = pickle.loads(pickle.dumps(failure))
    assert (str(again), again.run_id) == ("no room", "r1")


EXIT = """
import json, os
from conformance import head, note
from orchkit.store.duck import DuckStore

store = DuckStore("lab.duckdb")
journal = store.admit(head())
acked = []
for n in range(1, 3001):
    journal.append(note(n))
    if n % 10 == 0:
        journal.when_durable(lambda error, n=n: os.write(1, f"{n}\\n".encode()))
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "del store, journal"])
def test_what_is_queued_at_the_exit_of_python_is_written(script, tmp_path, end):
    ran = script(EXIT + end)
    assert ran.stderr == ""
    assert ran.returncode == 0
    assert [int(n) for n in ran.stdout.split()] == list(range(10, 3001, 10))
    store = DuckStore(tmp_path / "lab.duckdb")
    assert store.events("r1") == [note(n) for n in range(1, 3001)]
    store.close()


RUNS = """
import orchkit as ok
wf = ok.Workflow("w", input=int)

@wf.step
async def many(input: int) -> list[int]:
    return list(range(input))

@wf.map(over="many")
async def each(item: int, ctx: ok.Context) -> int:
    await ctx.sleep(item % 7 / 2000)
    return item

@wf.step(effect=True)
async def send(each: list[int], ctx: ok.Context) -> int:
    await ctx.sleep(60)
    return 1

runs = [wf.start(300, store="lab.duckdb") for _ in range(3)]
other = wf.start(300, store="other.duckdb")
if sys.argv[1] == "busy":
    while len(other.events) < 500:
        pass
"""


@pytest.mark.parametrize("moment", ["at once", "busy"])
def test_python_exits_quietly_while_runs_go_on(script, tmp_path, moment):
    ran = script(RUNS, moment)
    assert ran.stderr == ""
    assert ran.returncode == 0
    store = DuckStore(tmp_path / "lab.duckdb")
    assert len(store.heads()) == 3
    assert all(store.events(one.run_id)[0].kind == "run_started" for one in store.heads())
    store.close()


FORK = """
import json, os, signal
import orchkit as ok
from conformance import head, note, wait_durable
from orchkit.errors import StoreError
from orchkit.store.duck import DuckStore

store = DuckStore("lab.duckdb")
journal = store.admit(head())
for n in range(1, 6):
    journal.append(note(n))
wait_durable(journal)
read, write = os.pipe()
child = os.fork()
if child == 0:
    out = {}
    for name, use in {
        "append": lambda: journal.append(note(99)), "admit": lambda: store.admit(head("child")),
        "wait": lambda: store.take("r1"), "events": lambda: store.events("r1"),
        "query": lambda: store.query("select 1"), "open": lambda: ok.open("lab.duckdb"),
        "new": lambda: DuckStore("lab.duckdb"),
    }.items():
        try:
            use()
            out[name] = "taken"
        except StoreError as refusal:
            out[name] = f"{type(refusal).__name__}: {refusal}"
    store.close()
    mine = DuckStore("child.duckdb")
    mine.admit(head("child")).append(note(1))
    out["own file"] = len(mine.events("child"))
    mine.close()
    del store, journal, mine
    import gc; gc.collect()
    os.write(write, json.dumps(out).encode())
    sys.exit(0)  # the whole way through Python's finalization, destructors and all
os.close(write)
print(os.read(read, 65536).decode(), flush=True)
print(os.waitpid(child, 0)[1], flush=True)
for n in range(6, 11):
    journal.append(note(n))
wait_durable(journal)
print("acknowledged", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_forked_child_is_refused_and_the_parents_data_is_intact(script, tmp_path):
    # Without a store around it, DuckDB's destructor in the child deletes the log that the parent goes on writing.
    ran = script(FORK)
    said, status, acknowledged = ran.stdout.splitlines()
    out = json.loads(said)
    assert out.pop("own file") == 1
    for name in ("open", "new"):
        refusal = out.pop(name)
        assert refusal.startswith("StoreBusy: lab.duckdb is held by process")
        assert "forked" in refusal
    assert all("opened before a fork; open it in one process, or use spawn" in said for said in out.values())
    assert status == "0"
    assert acknowledged == "acknowledged"
    store = DuckStore(tmp_path / "lab.duckdb")
    assert store.events("r1") == [note(n) for n in range(1, 11)]
    store.close()


def test_a_file_has_one_writer_in_a_process(store, path, tmp_path):
    (tmp_path / "soft.duckdb").symlink_to(path)
    (tmp_path / "hard.duckdb").hardlink_to(path)
    for name in ("lab.duckdb", "soft.duckdb", "hard.duckdb"):
        with pytest.raises(StoreBusy, match="open in this process already"):
            DuckStore(tmp_path / name)
    store.admit(head()).append(note(1))
    store.close()
    path.unlink()
    again = DuckStore(tmp_path / "hard.duckdb")  # the name that is left
    assert again.heads() == [head()]
    again.close()

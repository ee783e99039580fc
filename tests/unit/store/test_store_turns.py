"""The writer and the turns of who pushes: nothing is left lying, and one at a time is in the place.

The test's own thread has turns, whose ends the test calls; the place stands still where a gate says so. So every
order of the two threads that are asked about here is one that the test has made.
"""

import threading

import pytest
from conformance import head, note, wait_durable

import orchkit as ok
from orchkit.clock import turns
from orchkit.errors import StoreWriteError
from orchkit.store import writer as writer_module
from orchkit.store.duck import DuckStore
from orchkit.store.elected import Elected
from orchkit.store.file import DuckFile
from orchkit.store.writer import Writer

PATIENCE = 20  # seconds, after which something has been lost


class Slow:
    """A place that says what was committed, and stands still while its gate is shut."""

    def __init__(self):
        self.committed = []
        self.error = None
        self.inside = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.letting_go = threading.Event()
        self.gone_gate = threading.Event()
        self.gone_gate.set()
        self.looks = []
        self.gone = 0
        self.together = False
        self._one = threading.Lock()

    def _alone(self):
        if not self._one.acquire(blocking=False):
            self.together = True
            raise AssertionError("two threads are in the place at once")

    def commit(self, batch):
        self._alone()
        try:
            self.inside.set()
            assert self.gate.wait(PATIENCE)
            error, self.error = self.error, None
            if error is not None:
                raise error
            self.committed += [row for _, row in batch]
        finally:
            self._one.release()

    def is_quick(self):
        return True

    def tend(self):
        pass

    def idle(self):
        self._alone()
        self.looks.append(len(self.committed))
        self._one.release()

    def let_go(self):
        self._alone()
        self.letting_go.set()
        assert self.gone_gate.wait(PATIENCE)
        self.gone += 1
        self._one.release()


@pytest.fixture
def ends():
    """Give this thread turns; what is to be called at the end of one is put here."""
    waiting = []
    turns.turns_of(threading.current_thread(), waiting.append)
    yield waiting
    del turns._TURNS[threading.current_thread()]


@pytest.fixture
def place():
    return Slow()


@pytest.fixture
def writer(place):
    writer = Writer(place)
    yield writer
    place.gate.set()
    place.gone_gate.set()
    if writer.refusal is None:
        writer.close()
    assert not place.together


def push(writer, n):
    return writer.push([("lease", (f"r{n}", None))])


def asked(writer, ticket):
    """Ask to be told; give where it will be said."""
    told, done = [], threading.Event()
    writer.when_durable(ticket, lambda error: (told.append(error), done.set()))
    return told, done


def until(true):
    for _ in range(PATIENCE * 1000):
        if true():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it has not come")


def elsewhere(work):
    """Do something on a thread without turns; give the thread and what it raised."""
    raised = []

    def run():
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, raised


def test_nobody_commits_between_a_commit_that_failed_and_the_end_of_the_writer(writer, place, ends):
    # What was lost would stand before what is kept, and be taken for durable as well: tickets only count.
    place.gate.clear()
    place.gone_gate.clear()
    place.error = OSError("no room")
    thread, raised = elsewhere(lambda: push(writer, 1))
    assert place.inside.wait(PATIENCE)
    first, one = asked(writer, 1)
    second, two = asked(writer, push(writer, 2))
    place.gate.set()
    assert place.letting_go.wait(PATIENCE)
    for end in ends:
        end(True)
    assert not place.together
    place.gone_gate.set()
    assert one.wait(PATIENCE)
    assert two.wait(PATIENCE)
    thread.join(PATIENCE)
    assert not raised
    assert [type(error) for error in first + second] == [StoreWriteError] * 2
    assert (place.committed, writer.durable, place.gone) == ([], 0, 1)


def test_closing_waits_for_the_turn_that_commits(writer, place, ends):
    # The writer's thread has left the place and does not know yet that all is over; the engine's enters it.
    left, go_on, rest = threading.Event(), threading.Event(), writer._rest

    def rest_and_wait():
        rest()
        if writer.on_it():
            left.set()
            assert go_on.wait(PATIENCE)

    writer._rest = rest_and_wait
    after, told = [], []
    elsewhere(lambda: push(writer, 1))
    assert left.wait(PATIENCE)
    writer.when_durable(push(writer, 2), told.append)
    place.inside.clear()
    place.gate.clear()

    def close():
        assert place.inside.wait(PATIENCE)
        writer.close()
        after.append(list(place.committed))

    def watch():
        until(lambda: writer._closing)
        go_on.set()
        writer._thread.join(0.2)  # it ends too soon, or does not
        place.gate.set()

    threads = [elsewhere(work) for work in (close, watch)]
    ends.pop()(True)
    for thread, raised in threads:
        thread.join(PATIENCE)
        assert not raised
    assert told == [None]
    assert after == [[("r1", None), ("r2", None)]]


def test_a_turn_that_goes_on_after_what_it_left_was_taken_is_still_watched(writer, ends, monkeypatch):
    # Two bodies in one turn of the loop: the first one's events are long durable when the second records and blocks.
    monkeypatch.setattr(writer_module, "_LOOK", 10 * PATIENCE)
    _, first = asked(writer, push(writer, 1))
    assert first.wait(PATIENCE)
    until(lambda: writer._cold)
    _, second = asked(writer, push(writer, 2))
    assert second.wait(PATIENCE)
    assert len(ends) == 1


def test_who_pushes_from_another_thread_does_not_wait_for_the_turn(writer, ends, monkeypatch):
    monkeypatch.setattr(writer_module, "_TURN", 10 * PATIENCE)
    _, mine = asked(writer, push(writer, 1))
    _, other = asked(writer, 2)
    elsewhere(lambda: push(writer, 2))
    assert other.wait(PATIENCE)
    assert mine.wait(PATIENCE)
    assert len(ends) == 1


def test_what_was_committed_at_the_end_of_a_turn_is_looked_after_in_a_quiet_moment(writer, place, ends, monkeypatch):
    monkeypatch.setattr(writer_module, "_LOOK", 0.01)
    elsewhere(lambda: push(writer, 1))
    until(lambda: 1 in place.looks)  # and not to be looked at again: there is nothing
    told, _ = asked(writer, push(writer, 2))
    ends.pop()(True)
    until(lambda: 2 in place.looks)
    assert told == [None]


def test_waits_are_told_one_at_a_time_and_in_order_whichever_thread_has_committed(writer, ends):
    told, second = [], threading.Event()

    def slow(error):
        # Another thread commits while this one tells.
        elsewhere(lambda: push(writer, 2))[0].join(PATIENCE)
        until(lambda: writer.durable == 2)
        assert not second.wait(0.1)
        told.append("first")

    first = push(writer, 1)
    writer.when_durable(first, slow)
    writer.when_durable(first + 1, lambda error: (told.append("second"), second.set()))
    ends.pop()(True)
    assert second.wait(PATIENCE)
    assert told == ["first", "second"]


def test_who_is_told_at_the_end_of_a_turn_may_read(writer, place, ends):
    told = []

    def reads(error):
        push(writer, 2)
        writer.flush()
        told.append(list(place.committed))

    writer.when_durable(push(writer, 1), reads)
    ends.pop()(True)
    assert told == [[("r1", None), ("r2", None)]]


def test_a_turn_that_cannot_commit_tells_everybody_and_ends_the_writer(writer, place, ends):
    place.error = OSError("no room")
    told, _ = asked(writer, push(writer, 1))
    ends.pop()(True)
    assert [type(error) for error in told] == [StoreWriteError]
    with pytest.raises(StoreWriteError, match="no room"):
        push(writer, 2)
    with pytest.raises(StoreWriteError, match="no room"):
        writer.flush()
    with pytest.raises(StoreWriteError, match="no room"):
        writer.close()
    assert place.gone == 1
    writer._thread.join(PATIENCE)
    assert not writer._thread.is_alive()


def alone(monkeypatch):
    """Let whoever is in a real place say so; give those who were not alone, and which threads committed."""
    inside, together, committed = {}, [], []

    def watched(name):
        real = getattr(Elected, name)

        def call(self, *arguments):
            lock = inside.setdefault(id(self), threading.RLock())
            if not lock.acquire(blocking=False):
                together.append((name, threading.current_thread().name))
                return real(self, *arguments)
            try:
                if name == "commit":
                    committed.append(threading.current_thread().name)
                return real(self, *arguments)
            finally:
                lock.release()

        monkeypatch.setattr(Elected, name, call)

    watched("commit")
    watched("idle")
    # Of a slow disk too: it is the order that is asked about.
    monkeypatch.setattr(DuckFile, "is_quick", lambda self: not self._checkpoints.due())
    monkeypatch.setattr(writer_module, "_LOOK", 0.02)
    return inside, together, committed


def chain():
    wf = ok.Workflow("chain", input=int)

    @wf.step(effect=True)
    async def first(input: int, ctx: ok.Context) -> int:
        if input % 5 == 0:
            ctx.deps.sql("select count(*) from event")  # on the engine's thread, in the midst of a turn
        return input

    @wf.step(effect=True)
    async def second(first: int) -> int:
        return first

    @wf.step
    async def last(second: int) -> int:
        return second

    return wf


@pytest.mark.parametrize("close", ["at rest", "in the midst"])
def test_runs_threads_and_care_are_never_in_the_file_at_once_and_nobody_waits_for_ever(tmp_path, monkeypatch, close):
    inside, together, committed = alone(monkeypatch)
    for turn in range(6):
        committed.clear()
        crowd(tmp_path / f"{turn}.duckdb", inside, committed, at_rest=close == "at rest")
    assert together == []


def crowd(path, inside, committed, *, at_rest):
    """Run, push and read at the same time until the store closes; what was acknowledged is there then."""
    store, wf, stop, ended, acked = ok.open(path), chain(), threading.Event(), [], [0]
    journal, lock = store._kept.admit(head("pushed")), inside.setdefault(id(store._kept._elected), threading.RLock())

    def runs():
        while not stop.is_set():
            run = wf.start(len(ended), store=store, deps=store)
            run.result(PATIENCE)
            ended.append(run.id)

    def pushes():
        while not stop.wait(0.007):
            journal.append(note(acked[0] + 1))
            wait_durable(journal)
            acked[0] += 1

    def enter():
        assert lock.acquire(blocking=False)
        lock.release()

    def reads():
        while not stop.wait(0.005):
            store._kept.heads()
            store._kept._writer.call(enter)

    threads = [elsewhere(work) for work in (runs, pushes, reads)]
    until(lambda: len(ended) > 3 and committed)
    if at_rest:
        stop.set()
        for thread, _ in threads:
            thread.join(PATIENCE)
    store.close()
    stop.set()
    for thread, raised in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert not [error for error in raised if not isinstance(error, ok.OrchkitError)]
    again = DuckStore(path)
    times = [event.t for event in again.events("pushed")]
    assert times == list(range(1, len(times) + 1))
    assert len(times) >= acked[0]
    assert {again.events(run_id)[-1].kind for run_id in ended} == {"run_ended"}
    again.close()

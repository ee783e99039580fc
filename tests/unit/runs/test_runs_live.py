"""Live runs under attack: many threads, errors that fight back, crashes, and steps that wait for themselves."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import orchkit as ok
from orchkit.clock.live import EngineThread, engine_thread
from orchkit.engine.program import Program
from orchkit.errors import StoreWriteError
from orchkit.model.events import Event, canonical_digest
from orchkit.model.records import Head
from orchkit.runs import live
from orchkit.store.memory import MemoryStore
from tests.support.engines import Broken, check_log

WAIT = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def one_step(step: Callable[..., Any], **options: Any) -> ok.Run:
    wf = ok.Workflow("attack")
    step.__name__ = "step"
    wf.step(**options)(step)
    return wf.start("x", durability="memory")


def still_serves() -> None:
    async def step(input):
        return "served"

    assert one_step(step).result(WAIT) == "served"


# People in a hurry


@pytest.mark.parametrize("durability", ["memory", "group"])
def test_a_flood_of_answers_around_the_deadline_is_told_the_truth(store: ok.Store, durability: str) -> None:
    wf = ok.Workflow("flood")
    questions = [f"q{i}" for i in range(20)]
    for question in questions:
        wf.approval(question, answer=int, timeout=0.15)
    run = wf.start("x", store=store, durability=durability).wait_settled(WAIT)
    gate = threading.Barrier(50)

    def answer(who: int) -> list[tuple[str, int, str]]:
        gate.wait()
        said = []
        for i in range(40):
            question, value = questions[(who * 7 + i) % 20], who * 100 + i
            try:
                run.answer(question, value, by=str(who))
                said.append((question, value, "yes"))
            except (ok.AnswerLate, ok.ApprovalUnknown):
                said.append((question, value, "no"))
        return said

    with ThreadPoolExecutor(50) as pool:
        said = [line for lines in pool.map(answer, range(50)) for line in lines]
    run.result(WAIT)
    log = run.log
    check_log(log)
    taken = {(event.node, event.body) for event in log if event.kind == "answered"}
    assert {(question, value) for question, value, word in said if word == "yes"} == taken
    assert len(said) == 50 * 40
    ends = Counter(event.node for event in log if event.kind in ("answered", "expired"))
    assert ends == dict.fromkeys(questions, 1)


def test_an_answer_sent_in_time_counts_though_the_engine_was_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six answers wait behind a step that computes until the deadline is long past: one counts, all are told."""
    sent = threading.Semaphore(0)
    submit = EngineThread.submit

    def submitting(engine: EngineThread, fn: Callable[[], Any]) -> Any:
        future = submit(engine, fn)
        sent.release()
        return future

    monkeypatch.setattr(EngineThread, "submit", submitting)
    wf = ok.Workflow("busy")
    wf.approval("q", answer=int, timeout=0.05)
    started, go = threading.Event(), asyncio.Event()
    # The engine's clock is set by hand, so that nothing here races the wall.
    now = [engine_thread().host.time()]
    monkeypatch.setattr(engine_thread().host, "time", lambda: now[0])

    @wf.step
    async def compute(input):
        await go.wait()
        started.set()
        for _ in range(6):
            assert sent.acquire(timeout=WAIT)
        now[0] += 150_000
        return "computed"

    run = wf.start("x", durability="memory")  # returns when it waits: it was begun on the engine's thread in one go
    assert run.pending() == ["q"]
    while sent.acquire(blocking=False):
        pass
    engine_thread().loop.call_soon_threadsafe(go.set)
    assert started.wait(WAIT)

    def answer(who: int) -> str:
        try:
            run.answer("q", who)
        except ok.AnswerLate:
            return "no"
        return "yes"

    with ThreadPoolExecutor(6) as pool:
        told = list(pool.map(answer, range(6)))
    run.result(WAIT)
    check_log(run.log)
    assert sorted(told) == ["no"] * 5 + ["yes"]
    (answered,) = (event for event in run.log if event.kind == "answered")
    assert told[answered.body] == "yes"
    assert answered.t > 50_000  # recorded when the engine was free again, and not counted as late


def test_a_cancelled_question_tells_whoever_was_just_answering() -> None:
    for _ in range(20):
        answer_while_cancelling()


def answer_while_cancelling() -> None:
    wf = ok.Workflow("cancelled")
    wf.approval("q", answer=int)
    run = wf.start("x", durability="memory").wait_settled(WAIT)
    gate = threading.Barrier(4)

    def answer(who: int) -> bool:
        gate.wait()
        try:
            run.answer("q", who)
        except ok.ApprovalError:
            return False
        return True

    def cancel() -> None:
        gate.wait()
        run.cancel()

    with ThreadPoolExecutor(4) as pool:
        said = [pool.submit(answer, who) for who in range(3)]
        pool.submit(cancel).result(WAIT)
        yes = [who for who, future in enumerate(said) if future.result(WAIT)]
    if yes:
        assert run.result(WAIT) == yes[0]
    else:
        with pytest.raises(ok.RunCancelled):
            run.result(WAIT)
    assert [event.body for event in run.log if event.kind == "answered"] == yes
    check_log(run.log)


def test_cancelling_from_many_threads_at_once_cancels_once() -> None:
    started = threading.Event()

    async def step(input):
        started.set()
        await asyncio.Event().wait()

    run = one_step(step)
    assert started.wait(WAIT)
    gate = threading.Barrier(10)

    def cancel(who: int) -> None:
        gate.wait()
        run.cancel(by=str(who))

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(cancel, range(10)))
    with pytest.raises(ok.RunCancelled):
        run.result(WAIT)
    assert [event.kind for event in run.log] == ["run_started", "started", "cancelled", "cancelled", "run_ended"]


@pytest.mark.parametrize("word", ["\ud800", 5, b"dana", None])
def test_a_name_or_reason_that_cannot_be_stored_is_refused_and_stops_nobody(store: ok.Store, word: Any) -> None:
    wf = ok.Workflow("words")
    wf.approval("q")
    run = wf.start("x", store=store).wait_settled(WAIT)
    with pytest.raises(ok.OrchkitError, match="by"):
        run.answer("q", True, by=word)
    with pytest.raises(ok.OrchkitError, match="why"):
        run.cancel(why=word)
    assert run.status == "waiting"
    run.answer("q", True, by="dana\x00\u2028\U0001f680")
    assert run.result(WAIT) is True


# Crashes


def counted() -> tuple[ok.Workflow, Counter[tuple[str, Any, int]]]:
    ran: Counter[tuple[str, Any, int]] = Counter()
    wf = ok.Workflow("counted", input=list)

    def count(ctx: ok.Context) -> None:
        ran[ctx.node, ctx.item, ctx.attempt] += 1

    @wf.map(over="input", limit=2, retry=ok.Retry(2, wait=ok.backoff(0)))
    async def each(item, ctx: ok.Context):
        count(ctx)
        if ctx.attempt == 1 and item == "b":
            raise ConnectionError("busy")
        return item.upper()

    @wf.step(effect=True)
    def send(each, ctx: ok.Context):
        count(ctx)
        return ctx.idempotency_key.partition(":")[2]

    @wf.step
    async def beside(input, ctx: ok.Context):
        count(ctx)
        await asyncio.sleep(0)
        return "beside"

    @wf.step(fallback="spare")
    def shaky(beside, ctx: ok.Context):
        count(ctx)
        raise ValueError("shaky")

    @wf.route(to=["left", "right"])
    def choose(send, shaky) -> str:
        return "left"

    @wf.step
    async def left(send, ctx: ok.Context):
        count(ctx)
        return send

    @wf.step
    def right(send): ...

    return wf, ran


@pytest.mark.parametrize("durability", ["group", "strict"])
def test_a_run_that_crashed_after_any_record_comes_to_the_same_log(store: ok.Store, durability: str) -> None:
    wf, ran = counted()
    value = ["a", "b", "c"]
    whole = wf.start(value, store=store, durability=durability)
    assert whole.result(WAIT) == "send"
    wanted = canonical_digest(whole.log)
    for record in range(1, len(whole.log)):
        crash = ok.Faults(ok.faults.crash(after=record))
        run = wf.start(value, store=store, durability=durability, faults=crash)
        with pytest.raises(ok.RunCrashed):
            run.result(WAIT)
        left = store._kept.events(run.id)
        assert len(left) == record
        done = [e for e in left if e.kind in ("completed", "failed")]
        recorded = {(e.node, None if e.item < 0 else e.item, e.attempt) for e in done}
        ran.clear()
        again = store.resume(run.id, wf)
        assert again.result(WAIT) == "send", f"crash after {record}"
        assert canonical_digest(again.log) == wanted, f"crash after {record}"
        assert not recorded & set(ran), f"crash after {record}"
        assert all(times == 1 for times in ran.values())
        assert store._kept.events(run.id) == again.log
        check_log(again.log)


def test_a_run_that_crashes_again_and_again_gets_there() -> None:
    wf, _ = counted()
    kept = MemoryStore()
    program = Program(wf.checked(), faults=ok.Faults(ok.faults.crash(after=1)))
    run = live.start(program, ["a", "b"], store=kept, durability="memory", deps=None)
    with pytest.raises(ok.RunCrashed):
        run.outcome().result(WAIT)
    for _ in range(100):
        crash = ok.Faults(ok.faults.crash(after=len(kept.events(run.head.run_id)) + 2))
        program = Program(wf.checked(), faults=crash)
        again = live.resume(program, run.head.run_id, store=kept, deps=None, on_change="error")
        if again is None:
            break
        try:
            again.outcome().result(WAIT)
        except ok.RunCrashed:
            continue
    log = kept.events(run.head.run_id)
    check_log([event for event in log if event.kind != "resumed"])
    assert (log[-1].status, log[-1].body) == ("degraded", "send")


def test_a_crash_after_the_very_first_record_is_told_by_the_run_and_not_by_start(store: ok.Store) -> None:
    wf, _ = counted()
    run = wf.start([], store=store, faults=ok.Faults(ok.faults.crash(after=1)))
    with pytest.raises(ok.RunCrashed):
        run.result(WAIT)
    assert store.resume(run.id, wf).result(WAIT) == "send"


@pytest.mark.parametrize("kind", ["slow", "fail"])
def test_a_run_with_faults_can_be_resumed_without_them(store: ok.Store, kind: str) -> None:
    wf = ok.Workflow("faulty")

    @wf.step(retry=ok.Retry(2, wait=ok.backoff(0)))
    async def step(input):
        return "done"

    fault = ok.faults.slow("step", add=60.0) if kind == "slow" else ok.faults.fail("step", first=1, after=60.0)
    run = wf.start("x", store=store, faults=ok.Faults(fault, ok.faults.crash(after=3)))
    with pytest.raises(ok.RunCrashed):
        run.result(WAIT)
    assert run.log[-1].kind == "injected"
    assert store.resume(run.id, wf).result(WAIT) == "done"


def test_of_many_that_resume_at_once_one_executes(store: ok.Store) -> None:
    wf = ok.Workflow("resumed")
    wf.approval("q")
    run = wf.start("x", store=store, faults=ok.Faults(ok.faults.crash(after=2)))
    with pytest.raises(ok.RunCrashed):
        run.result(WAIT)
    gate = threading.Barrier(8)

    def resume(_: int) -> ok.Run | None:
        gate.wait()
        try:
            return store.resume(run.id, wf)
        except ok.RunHeld:
            return None

    with ThreadPoolExecutor(8) as pool:
        got = [again for again in pool.map(resume, range(8)) if again is not None]
    assert len(got) == 1
    got[0].wait_settled(WAIT).answer("q", True)
    assert got[0].result(WAIT) is True
    assert [event.kind for event in got[0].log].count("resumed") == 1


def test_a_mismatch_is_raised_by_resume_and_leaves_a_log_that_still_resumes(store: ok.Store) -> None:
    def define(retry: int) -> ok.Workflow:
        wf = ok.Workflow("mismatch")

        @wf.step(retry=ok.Retry(retry, wait=ok.backoff(0)))
        async def step(input, ctx: ok.Context):
            if ctx.attempt < 3:
                raise ConnectionError
            return "done"

        @wf.step
        async def beside(input, ctx: ok.Context):
            await asyncio.Event().wait() if ctx.run_id in stuck else None

        return wf

    stuck: set[str] = set()
    wf = define(3)
    run = wf.start("x", store=store, faults=ok.Faults(ok.faults.crash(after=9)))
    with pytest.raises(ok.RunCrashed):
        run.result(WAIT)
    assert "waiting" in [event.kind for event in run.log]
    for _ in range(5):  # by every try, and not only when one thread happens to be faster than the other
        with pytest.raises(ok.ReplayMismatch):
            store.resume(run.id, define(1), on_change="keep")
        assert store.run(run.id).status == "orphaned"
    again = store.resume(run.id, wf)
    assert again.result(WAIT)["step"] == "done"
    check_log([event for event in again.log if event.kind != "resumed"])


def test_two_runs_of_one_store_do_not_mix(store: ok.Store) -> None:
    wf, _ = counted()
    values = [[f"{i}{k}" for k in range(5)] for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda value: wf.start(value, store=store), values))
    for run, value in zip(runs, values, strict=True):
        assert run.result(WAIT) == "send"
        check_log(run.log)
        assert store._kept.events(run.id) == run.log
        assert {e.body for e in run.log if (e.kind, e.node) == ("completed", "each")} == {v.upper() for v in value}


# Stores that break


class BrokenStore(MemoryStore):
    """Takes so many events of each run."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def admit(self, head: Head) -> Any:
        super().admit(head)
        return Broken(self.room)


def test_a_store_that_breaks_at_any_record_is_told_and_no_run_hangs() -> None:
    wf, _ = counted()
    program = Program(wf.checked())
    whole = live.start(program, ["a"], store=MemoryStore(), durability="memory", deps=None)
    whole.outcome().result(WAIT)
    with pytest.raises(StoreWriteError):
        live.start(program, ["a"], store=BrokenStore(0), durability="memory", deps=None)
    for room in range(1, len(whole.log())):
        run = live.start(program, ["a"], store=BrokenStore(room), durability="memory", deps=None)
        with pytest.raises(ok.RunError, match="the disk is full") as caught:
            run.outcome().result(WAIT)
        assert isinstance(caught.value.__cause__, StoreWriteError)
        assert run.status() == "orphaned"
        assert live.live_run(run.store, run.head.run_id) is None
        assert len(run.log()) == room
    still_serves()


# Steps that wait for themselves


def test_waiting_for_any_run_on_the_engines_thread_is_refused() -> None:
    other = asking().start("x", durability="memory").wait_settled(WAIT)

    async def step(input):
        return other.result()

    with pytest.raises(ok.RunError, match="would block the engine"):
        one_step(step).result(WAIT)

    async def settle(input):
        one_step(forever).wait_settled()

    with pytest.raises(ok.RunError, match="would block the engine"):
        one_step(settle).result(WAIT)
    other.answer("q", True)
    assert other.result(WAIT) is True

    async def done(input):
        return other.result()  # there is nothing to wait for

    assert one_step(done).result(WAIT) is True


def asking() -> ok.Workflow:
    wf = ok.Workflow("asking")
    wf.approval("q")
    return wf


async def forever(input):
    await asyncio.Event().wait()


@pytest.mark.parametrize("how", ["result", "wait_settled", "await"])
def test_a_step_that_waits_for_its_own_run_is_told_so(store: ok.Store, how: str) -> None:
    wf = ok.Workflow("own")

    if how == "await":

        @wf.step
        async def step(input, ctx: ok.Context):
            return await store.run(ctx.run_id)

    else:

        @wf.step
        def step(input, ctx: ok.Context):
            return getattr(store.run(ctx.run_id), how)()

    with pytest.raises(ok.RunError, match="waits for its own run"):
        wf.start("x", store=store).result(WAIT)


@pytest.mark.parametrize("plain", [False, True])
def test_a_step_may_start_another_run_and_wait_for_it(store: ok.Store, plain: bool) -> None:
    child, _ = counted()
    wf = ok.Workflow("parent")

    if plain:

        @wf.step
        def step(input):
            return child.start(["a"], store=store).result(WAIT)

    else:

        @wf.step
        async def step(input):
            return await child.start(["a"], store=store)

    assert wf.start("x", store=store).result(WAIT) == "send"
    assert sorted(store.runs().status) == ["completed", "degraded"]


def test_a_step_may_cancel_its_own_run() -> None:
    wf = ok.Workflow("suicide")
    handle: list[ok.Run] = []
    ready = asyncio.Event()

    @wf.step
    async def step(input):
        await ready.wait()
        handle[0].cancel(by="step")
        await asyncio.Event().wait()

    run = wf.start("x", durability="memory")
    handle.append(run)
    engine_thread().submit(ready.set).result(WAIT)
    with pytest.raises(ok.RunCancelled, match="by step"):
        run.result(WAIT)
    check_log(run.log)


# Errors that fight back


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class Loud(Exception):
    def __str__(self) -> str:
        return "loud " * 10**6


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class Spiteful(Exception):
    @property
    def status_code(self) -> int:
        raise RuntimeError("no status")

    @property
    def retry_after(self) -> float:
        raise RuntimeError("no time")


class Surrogate(Exception):
    def __str__(self) -> str:
        return "half \ud800 and \x00"


FIGHTING: list[tuple[BaseException, str]] = [
    (Mute(), "Mute: its message cannot be shown: __str__ raises ValueError"),
    (Loud(), "Loud: loud loud"),
    (Unpicklable(), "Unpicklable: locked"),
    (Spiteful("why"), "Spiteful: why .whether to retry could not be judged: RuntimeError: no status"),
    (Surrogate(), "Surrogate: half"),
    (ExceptionGroup("several", [ValueError("a"), KeyError("b")]), r"ExceptionGroup: several \(2 sub-exceptions\)"),
    (BaseExceptionGroup("worse", [KeyboardInterrupt()]), "BaseExceptionGroup: worse"),
    (StopIteration("x"), "StopIteration"),
    (StopAsyncIteration("x"), "StopAsyncIteration"),
    (RecursionError("deep"), "RecursionError: deep"),
    (MemoryError(), "MemoryError"),
]


@pytest.mark.parametrize(("error", "message"), FIGHTING, ids=[type(error).__name__ for error, _ in FIGHTING])
@pytest.mark.parametrize("plain", [False, True], ids=["async", "thread"])
def test_whatever_a_step_raises_is_one_run_error(
    store: ok.Store, error: BaseException, message: str, plain: bool
) -> None:
    wf = ok.Workflow("fighting")

    if plain:

        @wf.step
        def step(input):
            raise error

    else:

        @wf.step
        async def step(input):
            raise error

    run = wf.start("x", store=store)
    with pytest.raises(ok.RunError, match=message) as caught:
        run.result(WAIT)
    assert type(caught.value) is ok.RunError
    assert len(str(caught.value)) < 4000
    assert store.runs().status.tolist() == ["failed"]
    still_serves()


@pytest.mark.parametrize("plain", [False, True], ids=["async", "thread"])
def test_a_generator_exit_of_the_steps_own_is_a_failed_attempt(plain: bool) -> None:
    async def coroutine(input):
        raise GeneratorExit

    def function(input):
        raise GeneratorExit

    with pytest.raises(ok.RunError, match="GeneratorExit"):
        one_step(function if plain else coroutine).result(WAIT)


def test_a_retry_policy_that_raises_ends_the_attempt_and_not_the_engine() -> None:
    def judge(error: BaseException) -> bool:
        raise LookupError("cannot judge")

    async def step(input):
        raise ValueError("no")

    run = one_step(step, retry=ok.Retry(3, on=judge))
    with pytest.raises(ok.RunError, match=r"ValueError: no .whether to retry could not be judged: LookupError"):
        run.result(WAIT)


async def _coroutine() -> str:
    return "never"


def _generator() -> Iterator[int]:
    yield 1


RETURNED: list[tuple[Callable[[], Any], str]] = [
    (_coroutine, "TypeError: step 'step' returned a coroutine that nobody awaits"),
    (_generator, "CodecError: result of 'step' is <generator"),
    (threading.Lock, "CodecError"),
    (lambda: _generator, "CodecError"),
    (lambda: {"deep": [object()]}, r"CodecError: result of 'step' at .deep\[0\]"),
]


@pytest.mark.parametrize(("make", "message"), RETURNED, ids=["coroutine", "generator", "lock", "function", "object"])
@pytest.mark.parametrize("plain", [False, True], ids=["async", "thread"])
def test_what_cannot_be_a_result_is_told(make: Callable[[], Any], message: str, plain: bool) -> None:
    if plain:

        def step(input):
            return make()

    else:

        async def step(input):
            return make()

    with pytest.raises(ok.RunError, match=message):
        one_step(step).result(WAIT)


def test_a_watcher_sees_every_event_in_order() -> None:
    wf, _ = counted()
    wf.approval("q")
    run = live.start(Program(wf.checked()), ["a"], store=MemoryStore(), durability="memory", deps=None)
    seen: list[Event] = []
    engine_thread().submit(lambda: run.watch(seen.append)).result(WAIT)
    run.settled().result(WAIT)
    run.answer("q", True, by="")
    run.outcome().result(WAIT)
    log = run.log()
    assert seen == log[len(log) - len(seen) :]
    assert seen[-1].kind == "run_ended"


def test_a_watcher_who_leaves_sees_no_more() -> None:
    wf, _ = counted()
    wf.approval("q")
    run = live.start(Program(wf.checked()), ["a"], store=MemoryStore(), durability="memory", deps=None)
    seen: list[Event] = []
    run.watch(seen.append)
    run.settled().result(WAIT)
    run.unwatch(seen.append)
    run.unwatch(seen.append)
    run.answer("q", True, by="")
    run.outcome().result(WAIT)
    assert "answered" not in [event.kind for event in seen]


def test_what_a_step_sets_in_its_context_variables_does_not_reach_its_successors() -> None:
    """A resume would lose it: the predecessor does not run again."""
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    wf = ok.Workflow("context")

    @wf.step
    async def first(input):
        variable.set("by first")
        return 1

    @wf.step
    async def second(first):
        return variable.get()

    assert wf.start("x", durability="memory").result(WAIT) == "unset"


@pytest.mark.parametrize("durability", ["memory", "group", "strict"])
def test_a_run_that_has_ended_is_freed_without_the_garbage_collector(
    store: ok.Store, durability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[weakref.ref[Any]] = []

    class Seen(live.Execution):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            executed.append(weakref.ref(self))

    monkeypatch.setattr(live, "Execution", Seen)
    wf = ok.Workflow("freed", input=int)
    wf.approval("review", answer=bool, show="double")

    @wf.step
    async def double(input: int) -> int:
        return 2 * input

    @wf.step
    def keep(double: int, review: bool) -> int:
        return double

    def whole() -> None:
        run = wf.start(4, store=store, durability=durability).wait_settled(WAIT)
        run.answer("review", True)
        assert run.result(WAIT) == 8

    gc.disable()
    try:
        whole()
        for _ in range(5):  # what the engine and the writer still have in hand is let go
            engine_thread().call(lambda: None)
            store._kept._writer.call(lambda: None)
        assert [one() for one in executed] == [None]
    finally:
        gc.enable()

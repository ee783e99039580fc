"""Live runs as users hold them: real time, real threads, a real file."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.clock.ids import wall_micro
from orchkit.clock.live import engine_thread
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.runs import live
from orchkit.runs.fingerprint import fingerprints


class Decision(BaseModel):
    approve: bool
    note: str = ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def asking(timeout: float | None = None) -> ok.Workflow:
    wf = ok.Workflow("asking", input=str)

    @wf.step
    async def draft(input: str) -> str:
        return f"Dear {input}"

    wf.approval("review", answer=Decision, show="draft", timeout=timeout)

    @wf.step(effect=True)
    async def send(draft: str, review: Decision | None) -> str:
        return f"{draft}: {'sent' if review and review.approve else 'kept'}"

    return wf


def test_start_returns_before_the_run_is_done_and_result_gives_its_value(store: ok.Store) -> None:
    gate = threading.Event()
    wf = ok.Workflow("gated", input=int)

    @wf.step
    def wait(input: int) -> int:
        gate.wait()
        return input + 1

    run = wf.start(1, store=store)
    assert run.status == "running"
    assert store.runs().run.tolist() == [run.id]
    with pytest.raises(TimeoutError):
        run.result(timeout=0)
    gate.set()
    assert run.result(timeout=30) == 2
    assert run.status == "completed"


def test_an_approval_is_asked_answered_and_recorded(store: ok.Store) -> None:
    run = asking().start("Dana", store=store).wait_settled(30)
    assert run.status == "waiting"
    assert run.pending() == ["review"]
    assert run.question("review") == "Dear Dana"
    assert store.pending().node.tolist() == ["review"]
    run.answer("review", Decision(approve=True), by="lee")
    assert run.result(timeout=30) == "Dear Dana: sent"
    row = store.sql("select * from approval").iloc[0]
    assert (row["status"], row["by"]) == ("answered", "lee")
    assert store.pending().empty


def test_answers_as_dicts_are_validated_and_a_wrong_one_can_be_corrected(store: ok.Store) -> None:
    run = asking().start("Dana", store=store).wait_settled(30)
    with pytest.raises(ok.AnswerInvalid, match="stays open"):
        run.answer("review", {"approve": "perhaps"})
    run.answer("review", {"approve": False})
    assert run.result(timeout=30) == "Dear Dana: kept"


def test_an_answer_to_what_is_not_asked_names_what_is(store: ok.Store) -> None:
    run = asking().start("Dana", store=store).wait_settled(30)
    with pytest.raises(ok.ApprovalUnknown, match="did you mean 'review'"):
        run.answer("revue", Decision(approve=True))
    run.answer("review", Decision(approve=True))
    run.result(timeout=30)
    with pytest.raises((ok.AnswerLate, ok.ApprovalUnknown)):
        run.answer("review", Decision(approve=True))


def test_of_many_answers_at_once_exactly_one_is_taken(store: ok.Store) -> None:
    run = asking().start("Dana", store=store).wait_settled(30)
    start = threading.Barrier(8)

    def answer(who: int) -> str:
        start.wait()
        try:
            run.answer("review", Decision(approve=True), by=str(who))
        except ok.AnswerLate:
            return "late"
        return str(who)

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(answer, range(8)))
    run.result(timeout=30)
    taken = [who for who in said if who != "late"]
    answered = [event for event in run.log if event.kind == "answered"]
    assert len(taken) == len(answered) == 1
    assert answered[0].by == taken[0]


def test_an_approval_expires_and_the_value_is_none(store: ok.Store) -> None:
    run = asking(timeout=0.01).start("Dana", store=store)
    assert run.result(timeout=30) == "Dear Dana: kept"
    assert [event.kind for event in run.log if event.node == "review"] == ["asked", "expired", "settled"]


def test_a_question_is_durable_before_it_is_shown_and_an_answer_before_it_returns(tmp_path: Path) -> None:
    # Read through DuckDB itself: what another cursor sees is committed.
    with ok.open(tmp_path / "lab.duckdb") as store:
        run = asking().start("Dana", store=store).wait_settled(30)
        committed = store._kept._elected.place._connection.cursor().execute("select kind from event").fetchall()
        assert ("asked",) in committed
        run.answer("review", Decision(approve=True))
        committed = store._kept._elected.place._connection.cursor().execute("select kind from event").fetchall()
        assert ("answered",) in committed
        run.result(timeout=30)


def test_before_an_effect_acts_its_start_is_durable(tmp_path: Path) -> None:
    with ok.open(tmp_path / "lab.duckdb") as store:
        wf = ok.Workflow("effects", input=str)
        seen: list[list[tuple[Any, ...]]] = []

        @wf.step
        async def prepare(input: str) -> str:
            return input

        @wf.step(effect=True)
        def act(prepare: str) -> str:
            query = "select kind, node from event order by seq"
            seen.append(store._kept._elected.place._connection.cursor().execute(query).fetchall())
            return "done"

        wf.start("x", store=store).result(timeout=30)
        assert seen[0] == [
            ("run_started", None),
            ("started", "prepare"),
            ("completed", "prepare"),
            ("started", "act"),
        ]


def test_strict_makes_every_start_durable_before_its_body(tmp_path: Path) -> None:
    with ok.open(tmp_path / "lab.duckdb") as store:
        wf = ok.Workflow("strict", input=int)
        counts: list[tuple[int, int]] = []

        def count(expected: int) -> None:
            (found,) = store._kept._elected.place._connection.cursor().execute("select count(*) from event").fetchone()
            counts.append((expected, found))

        @wf.step
        def one(input: int) -> int:
            count(2)
            return input

        @wf.step
        def two(one: int) -> int:
            count(4)
            return one

        wf.start(1, store=store, durability="strict").result(timeout=30)
        assert all(expected == found for expected, found in counts)


def failing(error: Callable[[], BaseException], **policies: Any) -> ok.Workflow:
    wf = ok.Workflow("failing", input=str)

    @wf.step(**policies)
    async def break_it(input: str) -> str:
        raise error()

    return wf


def test_a_failure_is_one_plain_error_with_its_cause(store: ok.Store) -> None:
    run = failing(lambda: ValueError("no such thing"), retry=ok.Retry(2, wait=ok.backoff(0))).start("x", store=store)
    with pytest.raises(ok.RunError, match="break_it failed on attempt 2: ValueError: no such thing") as caught:
        run.result(timeout=30)
    assert (caught.value.node, caught.value.attempt, caught.value.run_id) == ("break_it", 2, run.id)
    assert isinstance(caught.value.__cause__, ValueError)
    assert run.status == "failed"


def test_programming_errors_are_not_retried(store: ok.Store) -> None:
    run = failing(lambda: TypeError("bad call"), retry=ok.Retry(5)).start("x", store=store)
    with pytest.raises(ok.RunError, match="TypeError"):
        run.result(timeout=30)
    assert sum(event.kind == "started" for event in run.log) == 1


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_what_would_kill_a_thread_or_a_loop_is_a_failed_attempt(error: type[BaseException]) -> None:
    run = failing(error).start("x", durability="memory")
    with pytest.raises(ok.RunError, match=error.__name__):
        run.result(timeout=30)
    # The engine still serves others:
    assert asking(timeout=0.001).start("x", durability="memory").result(timeout=30) == "Dear x: kept"


def test_a_body_that_eats_its_cancellation_holds_up_nobody() -> None:
    release = threading.Event()
    wf = ok.Workflow("stubborn", input=str)

    @wf.step(timeout=0.02, retry=ok.Retry(2, wait=ok.backoff(0)))
    async def stubborn(input: str, ctx: ok.Context) -> str:
        if ctx.attempt == 2:
            return "second"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.to_thread(release.wait)
        return "first, too late"

    run = wf.start("x", durability="memory")
    assert run.result(timeout=30) == "second"
    release.set()
    kinds = [(event.kind, event.status) for event in run.log if event.node]
    assert ("failed", "timeout") in kinds


def test_a_sync_step_that_times_out_is_dropped() -> None:
    release = threading.Event()
    wf = ok.Workflow("threads", input=str)

    @wf.step(timeout=0.02, fallback="gave up")
    def slow(input: str) -> str:
        release.wait()
        return "late"

    run = wf.start("x", durability="memory")
    assert run.result(timeout=30) == "gave up"
    release.set()
    assert run.status == "degraded"


def test_cancelling_keeps_what_is_recorded_and_stops_the_rest(store: ok.Store) -> None:
    started, ended, wf = threading.Event(), threading.Event(), ok.Workflow("long", input=str)

    @wf.step
    async def quick(input: str) -> str:
        return input

    @wf.step
    async def long(quick: str) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    run = wf.start("x", store=store)
    assert started.wait(30)
    run.cancel(by="lee", why="too dear")
    with pytest.raises(ok.RunCancelled, match="by lee: too dear"):
        run.result(timeout=30)
    assert run.status == "cancelled"
    kinds = [(event.kind, event.node) for event in run.log]
    assert kinds[-3:] == [("cancelled", ""), ("cancelled", "long"), ("run_ended", "")]
    assert ("completed", "quick") in kinds
    assert ended.wait(30)


def test_a_run_can_be_awaited_in_any_loop(store: ok.Store) -> None:
    async def main() -> str:
        run = asking().start("Dana", store=store)
        await run.settled()
        run.answer("review", Decision(approve=True))
        value: str = await run
        return value

    assert asyncio.run(main()) == "Dear Dana: sent"


def test_interrupting_an_awaiting_cell_suspends_the_run(store: ok.Store) -> None:
    async def main() -> ok.Run:
        run = asking().start("Dana", store=store)
        await run.settled()
        await _interrupt(run)
        return run

    run = asyncio.run(main())
    with pytest.raises(ok.RunSuspended, match="interrupted; go on with store"):
        run.result(timeout=30)
    assert run.status == "suspended"
    assert store.run(run.id).status == "suspended"
    resumed = store.resume(run.id, asking()).wait_settled(30)
    resumed.answer("review", Decision(approve=True))
    assert resumed.result(timeout=30) == "Dear Dana: sent"


@pytest.mark.parametrize(("act", "becomes"), [("detach", "waiting"), ("cancel", "cancelled"), ("suspend", "suspended")])
@pytest.mark.parametrize("resumed", [False, True], ids=["started", "resumed"])
def test_whoever_starts_a_run_says_what_an_interruption_does(
    store: ok.Store, act: str, becomes: str, resumed: bool
) -> None:
    async def main() -> ok.Run:
        run = asking().start("Dana", store=store, on_interrupt="detach" if resumed else act)
        await run.settled()
        if resumed:
            run.suspend()
            await run.settled()
            await asyncio.to_thread(store.resume, run.id, asking(), on_interrupt=act)
            run = store.run(run.id)
        await _interrupt(run)
        return run

    run = asyncio.run(main()).wait_settled(30)
    assert run.status == becomes
    if act == "detach":
        run.answer("review", Decision(approve=True))
        assert run.result(30) == "Dear Dana: sent"


def test_an_unknown_word_for_an_interruption_is_refused_before_anything_is_written(store: ok.Store) -> None:
    with pytest.raises(ok.DefinitionError, match="on_interrupt='stop'; use one of 'suspend', 'cancel', 'detach'"):
        asking().start("Dana", store=store, on_interrupt="stop")
    assert len(store.runs()) == 0


async def _await(run: ok.Run) -> Any:
    return await run


async def _interrupt(run: ok.Run) -> None:
    waiter = asyncio.ensure_future(_await(run))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter


def test_a_slow_sibling_holds_nobody_up_and_neither_does_a_person() -> None:
    gate = threading.Event()
    wf = ok.Workflow("branches", input=str)

    @wf.step
    def slow(input: str) -> str:
        gate.wait()
        return "slow"

    @wf.step
    async def fast(input: str) -> str:
        return "fast"

    @wf.step
    async def after_fast(fast: str) -> str:
        reached.set()
        return fast

    wf.approval("person", answer=bool)
    reached = threading.Event()
    run = wf.start("x", durability="memory")
    assert reached.wait(30)  # while `slow` runs and a person is asked
    gate.set()
    run.wait_settled(30)
    run.answer("person", True)
    assert run.result(timeout=30) == {"slow": "slow", "after_fast": "fast", "person": True}


def test_resuming_a_finished_run_gives_it_as_it_is(store: ok.Store) -> None:
    wf = asking(timeout=0.001)
    run = wf.start("Dana", store=store)
    run.result(timeout=30)
    again = store.resume(run.id, wf)
    assert again.result() == "Dear Dana: kept"
    assert again.log == run.log


def test_resuming_a_run_that_this_process_executes_is_refused(store: ok.Store) -> None:
    wf = asking()
    run = wf.start("Dana", store=store).wait_settled(30)
    with pytest.raises(ok.RunHeld, match=r"store\.run"):
        store.resume(run.id, wf)
    watched = store.run(run.id)
    assert watched.status == "waiting"
    watched.answer("review", Decision(approve=True))
    assert run.result(timeout=30) == "Dear Dana: sent"


def test_an_injected_crash_leaves_a_run_that_resumes(store: ok.Store) -> None:
    wf = asking()
    run = wf.start("Dana", store=store, faults=ok.Faults(ok.faults.crash(after=4)))
    with pytest.raises(ok.RunCrashed):
        run.result(timeout=30)
    assert run.status == "orphaned"
    assert store.runs().status.tolist() == ["orphaned"]
    assert store.run(run.id).status == "orphaned"
    resumed = store.resume(run.id, wf).wait_settled(30)
    resumed.answer("review", Decision(approve=True))
    assert resumed.result(timeout=30) == "Dear Dana: sent"
    started = [event.node for event in resumed.log if event.kind == "started"]
    assert sorted(started) == ["draft", "send"]


def test_a_changed_step_is_noticed_on_resume(store: ok.Store) -> None:
    wf = asking()
    run = wf.start("Dana", store=store, faults=ok.Faults(ok.faults.crash(after=4)))
    with pytest.raises(ok.RunCrashed):
        run.result(timeout=30)

    @wf.step
    async def draft(input: str) -> str:
        return f"Hello {input}"

    with pytest.raises(ok.DefinitionChanged, match="'draft'") as caught:
        store.resume(run.id, wf, on_change="error")
    assert caught.value.nodes == ("draft",)
    resumed = store.resume(run.id, wf, on_change="keep").wait_settled(30)
    resumed.answer("review", Decision(approve=True))
    assert resumed.result(timeout=30) == "Dear Dana: sent"


def test_comments_and_moved_lines_are_no_change(store: ok.Store) -> None:
    wf = ok.Workflow("one", input=int)

    @wf.step
    async def step(input: int) -> int:
        return input + 1

    other = ok.Workflow("one", input=int)

    @other.step()
    async def step(input: int) -> int:  # noqa: F811 - redefined on purpose, as cells do
        # a comment, and other
        # lines
        return input + 1

    assert fingerprints(wf.checked()) == fingerprints(other.checked())


def test_a_value_that_cannot_be_stored_is_named() -> None:
    wf = ok.Workflow("codec", input=str)

    @wf.step
    async def odd(input: str) -> dict[str, Any]:
        return {"scores": [1.0, float("nan")]}

    run = wf.start("x", durability="memory")
    with pytest.raises(ok.RunError, match=r"odd failed: CodecError: result of 'odd' at .scores\[1\] is nan"):
        run.result(timeout=30)


def test_the_input_is_checked_before_anything_is_written(store: ok.Store) -> None:
    wf = ok.Workflow("typed", input=Decision)

    @wf.step
    async def step(input: Decision) -> bool:
        return input.approve

    with pytest.raises(ok.DefinitionError, match="does not fit workflow 'typed'"):
        wf.start({"approve": "perhaps"}, store=store)
    assert store.runs().empty


def test_an_answer_that_does_not_fit_the_annotation_is_retried() -> None:
    wf = ok.Workflow("typed", input=str)

    @wf.step(retry=ok.Retry(2, wait=ok.backoff(0)))
    async def model(input: str, ctx: ok.Context) -> Decision:
        return {"approve": "perhaps"} if ctx.attempt == 1 else Decision(approve=True)  # type: ignore[return-value]

    run = wf.start("x", durability="memory")
    assert run.result(timeout=30) == Decision(approve=True)
    assert [event.status for event in run.log if event.kind == "failed"] == ["error"]


def test_costs_of_failed_attempts_are_recorded() -> None:
    wf = ok.Workflow("paid", input=str)

    @wf.step(retry=ok.Retry(2, wait=ok.backoff(0)))
    async def call(input: str, ctx: ok.Context) -> str:
        ctx.spend(cost=0.25, tokens_in=10, tokens_out=5)
        if ctx.attempt == 1:
            raise ConnectionError
        return "ok"

    run = wf.start("x", durability="memory")
    run.result(timeout=30)
    assert run.events.cost.sum() == 0.5
    assert run.events.tokens.sum() == 30


def test_deps_reach_steps_and_are_never_recorded(store: ok.Store) -> None:
    wf = ok.Workflow("deps", input=str)

    @wf.step
    async def use(input: str, ctx: ok.Context) -> str:
        return str(ctx.deps["greeting"])

    run = wf.start("x", store=store, deps={"greeting": "hello", "key": "s3cret"})
    assert run.result(timeout=30) == "hello"
    assert "s3cret" not in str(store.sql("select * from event").to_dict())


def test_a_run_that_was_cut_off_before_its_start_was_durable_is_not_there(store: ok.Store) -> None:
    # Admission and first event are one commit: resuming a run that had only the first once waited for ever.
    store._kept.admit(Head("ghost", "asking", started=1, durability="group")).release()
    with pytest.raises(ok.RunUnknown, match="ghost"):
        store.resume("ghost", asking())


def test_a_fault_that_can_hit_nothing_is_refused() -> None:
    slip = ok.Faults(ok.faults.fail("drafft", rate=0.5))
    with pytest.raises(ok.DefinitionError, match=r"'drafft'.* hits nothing in workflow 'asking'.*draft, send"):
        asking().start("x", durability="memory", faults=slip)
    world = ok.World(review=ok.person(1.0, approve=1.0), send=ok.skip_effect("sent"))
    with pytest.raises(ok.DefinitionError, match="hits nothing"):
        asking().simulate("x", world=world, faults=slip)


def test_a_suspended_run_goes_on_from_where_it_was(store: ok.Store) -> None:
    started, wf = threading.Event(), ok.Workflow("long", input=str)
    ran: list[str] = []

    @wf.step
    async def quick(input: str) -> str:
        ran.append("quick")
        return input

    @wf.step
    async def long(quick: str) -> str:
        ran.append("long")
        if len(ran) == 2:
            started.set()
            await asyncio.Event().wait()
        return quick

    run = wf.start("x", store=store)
    assert started.wait(30)
    run.suspend(by="lee", why="lunch")
    with pytest.raises(ok.RunSuspended, match="by lee: lunch"):
        run.result(timeout=30)
    assert run.log[-1].kind == "suspended"
    assert store.resume(run.id, wf).result(timeout=30) == "x"
    assert ran == ["quick", "long", "long"]


def test_what_an_attempt_has_spent_is_recorded_when_it_times_out_or_is_cancelled() -> None:
    wf = ok.Workflow("dear", input=str)

    @wf.step(timeout=5.0, on_error="skip")
    async def slow(input: str, ctx: ok.Context) -> str:
        ctx.spend(cost=0.5)
        await ctx.sleep(60)
        return "late"

    @wf.step
    async def other(input: str) -> str: ...

    dear = ok.fake("x", latency=60.0, cost=1.0)
    for model, cost in ((dear, 1.0), (ok.real, 0.5)):
        run = wf.simulate("x", world=ok.World(slow=model, other=ok.fake("y", latency=9.0)))
        assert run.events.cost.sum() == cost
        run = wf.simulate("x", world=ok.World(slow=model, other=ok.fake("y", latency=1.0)))
        assert run.events.cost.sum() == cost
    broken = ok.fake("y", latency=1.0, error=1.0)
    for model, cost in ((dear, 1.0), (ok.real, 0.5)):
        run = wf.simulate("x", world=ok.World(slow=model, other=broken))
        assert run.events.query("kind == 'cancelled'").cost.tolist() == [cost]


def test_a_key_that_is_pressed_in_a_simulated_body_reaches_whoever_simulates() -> None:
    wf = ok.Workflow("keys", input=str)

    @wf.step
    def press(input: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wf.simulate("x", world=ok.World())


# What a hard look from outside has found


LEFT_BY_EXIT = """
import sys, threading
import orchkit as ok

started = threading.Event()
wf = ok.Workflow("left", input=str)

@wf.step(retry=ok.Retry(2), fallback="canned")
async def slow(input: str, ctx: ok.Context) -> str:
    if len(sys.argv) > 2:
        return "in time"
    started.set()
    await ctx.sleep(3600)
    return "late"

@wf.step(effect=True)
def send(slow: str) -> str:
    with open(sys.argv[1] + ".sent", "a") as sent:
        sent.write(slow)
    return slow

if len(sys.argv) > 2:
    print(ok.open(sys.argv[1]).resume(sys.argv[2], wf).result(30))
else:
    run = wf.start("x", store=sys.argv[1])
    assert started.wait(30)
    print(run.id)
"""


def test_leaving_python_records_nothing_and_fires_nothing(tmp_path: Path) -> None:
    """Bodies that are cancelled at the exit once counted as failed: a fallback was delivered, and the effect acted."""
    script, path = tmp_path / "left.py", str(tmp_path / "lab.duckdb")
    script.write_text(LEFT_BY_EXIT)

    def python(*args: str) -> str:
        done = subprocess.run([sys.executable, str(script), *args], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.strip()

    run_id = python(path)
    with ok.open(path) as store:
        assert store.events(run_id).kind.tolist() == ["run_started", "started"]
    assert not Path(path + ".sent").exists()
    assert python(path, run_id) == "in time"
    assert Path(path + ".sent").read_text() == "in time"


def committed(store: ok.Store) -> list[str]:
    rows = store._kept._elected.place._connection.cursor().execute("select kind from event order by seq").fetchall()
    return [kind for (kind,) in rows]


@pytest.mark.parametrize("act", ["cancel", "suspend"])
def test_stopping_a_run_is_durable_before_it_returns(store: ok.Store, act: str) -> None:
    run = asking().start("Dana", store=store).wait_settled(30)
    getattr(run, act)(by="lee")
    assert ("cancelled" if act == "cancel" else "suspended") in committed(store)


def test_resuming_a_log_from_a_clock_that_is_ahead_delays_nobody(store: ok.Store) -> None:
    head = Head("ahead", "asking", started=wall_micro() + 3_600_000_000, fingerprints=fingerprints(asking().checked()))
    journal = store._kept.admit(head)
    journal.append(Event(0, "run_started", body={"input": "Dana"}))
    journal.release()
    resumed = store.resume("ahead", asking()).wait_settled(30)
    engine = engine_thread()
    assert engine.call(lambda: engine.host.kernel.now) <= engine.host.time()
    resumed.answer("review", Decision(approve=True))
    assert resumed.result(timeout=30) == "Dear Dana: sent"


def test_after_a_resume_too_an_effect_waits_until_its_start_is_durable(store: ok.Store) -> None:
    wf = ok.Workflow("spared", input=str)
    seen: list[list[str]] = []

    def spare(input: str) -> str:
        seen.append(committed(store))
        return "spare"

    @wf.step(effect=True, fallback=spare)
    async def send(input: str) -> str:
        raise ConnectionError("no")

    run = wf.start("x", store=store, faults=ok.Faults(ok.faults.crash(after=3)))
    with pytest.raises(ok.RunCrashed):
        run.result(timeout=30)
    assert store.resume(run.id, wf).result(timeout=30) == "spare"
    assert seen == [["run_started", "started", "failed", "resumed", "started"]]


def test_awaiting_asyncio_in_virtual_time_is_refused_by_name() -> None:
    wf = ok.Workflow("foreign", input=str)

    @wf.step(retry=ok.Retry(3), fallback="canned")
    async def nap(input: str) -> str:
        await asyncio.sleep(1)
        return "woken"

    async def under_a_loop() -> None:
        wf.simulate("x", world=ok.World())

    for simulate in (lambda: wf.simulate("x", world=ok.World()), lambda: asyncio.run(under_a_loop())):
        with pytest.raises(ok.SimulationError, match=r"step 'nap' .*World\(nap=ok\.fake"):
            simulate()


def test_a_broad_except_does_not_hide_an_escape_from_virtual_time() -> None:
    wf = ok.Workflow("greedy", input=str)

    @wf.step
    async def nap(input: str) -> str:
        try:
            await asyncio.sleep(1)
        except Exception:
            return "hidden"
        return "woken"

    async def under_a_loop() -> None:
        wf.simulate("x", world=ok.World())

    with pytest.raises(ok.SimulationError, match="step 'nap'"):
        asyncio.run(under_a_loop())


def test_a_plain_step_that_is_given_up_says_that_its_thread_runs_on() -> None:
    release, wf = threading.Event(), ok.Workflow("threads", input=str)

    @wf.step(timeout=0.02)
    def slow(input: str) -> str:
        release.wait()
        return "late"

    with pytest.raises(ok.RunError, match="its thread runs on and its result is dropped"):
        wf.start("x", durability="memory").result(timeout=30)
    release.set()


def test_closing_a_store_suspends_its_runs(tmp_path: Path) -> None:
    with ok.open(tmp_path / "lab.duckdb") as store:
        run = asking().start("Dana", store=store).wait_settled(30)
    assert run.status == "suspended"
    with ok.open(tmp_path / "lab.duckdb") as store:
        assert store.runs().status.tolist() == ["suspended"]
        resumed = store.resume(run.id, asking()).wait_settled(30)
        resumed.answer("review", Decision(approve=True))
        assert resumed.result(timeout=30) == "Dear Dana: sent"


def test_a_result_that_does_not_come_in_time_says_what_is_awaited(store: ok.Store) -> None:
    run = asking().start("Dana", store=store).wait_settled(30)
    with pytest.raises(TimeoutError, match=r"has not ended after 0.01 s; it waits for 'review': run.answer\('review'"):
        run.result(timeout=0.01)


def test_a_name_keeps_its_kind() -> None:
    wf = asking()
    with pytest.raises(ok.DefinitionError, match="'draft' is a step already"):
        wf.approval("draft")


def test_stopping_a_run_that_nobody_executes_is_refused_with_the_way_out(store: ok.Store) -> None:
    run = asking().start("Dana", store=store, faults=ok.Faults(ok.faults.crash(after=4)))
    with pytest.raises(ok.RunCrashed):
        run.result(timeout=30)
    left = store.run(run.id)
    for act in (left.cancel, left.suspend):
        with pytest.raises(ok.RunError, match="resume it first"):
            act(by="lee")


def test_a_long_run_keeps_its_latest_events_in_memory_and_shows_them_all(
    store: ok.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_ROOM", 100)
    wf = ok.Workflow("long", input=int)

    @wf.step
    async def many(input: int) -> list[int]:
        return list(range(input))

    @wf.map(over="many")
    async def each(item: int) -> int:
        if item == 199:
            raise ValueError("the last one")
        return item

    run = wf.start(200, store=store)
    with pytest.raises(ok.RunError, match=r"each\[199\] failed: ValueError: the last one"):
        run.result(30)
    assert len(run._handle._execution.events) <= 100  # type: ignore[attr-defined]
    assert run.log == store.run(run.id).log
    assert len(run.log) > 400
    assert run.events.kind.tolist()[0] == "run_started"

"""Stopping: cancelled at every instant, failing, crashed, or with a store that breaks at any record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import orchkit as ok
from orchkit.clock.kernel import SIGNAL
from orchkit.engine.approval import Answer
from orchkit.engine.plan import plan
from orchkit.engine.program import Program
from orchkit.errors import RunCrashed, StoreWriteError
from orchkit.model.events import Event, decode_log, encode_log, exact_digest
from orchkit.model.fold import apply, fold
from orchkit.runs.simulate import prepare
from tests.support.engines import Broken, Drive, Lagging, check_log
from tests.support.graphs import random_workflow


def programs(seeds: range) -> Iterator[tuple[int, Program]]:
    for seed in seeds:
        wf, world, faults, _ = random_workflow(seed, modelled=True, grid=bool(seed % 2))
        yield seed, prepare(wf.checked(), world, faults)


def napping() -> tuple[ok.Workflow, list[str]]:
    """Bodies that sleep, an effect among them, a map, a question; and what their bodies began and finished."""
    said: list[str] = []
    wf = ok.Workflow("napping", input=list)

    def body(name: str, nap: float, **options: Any) -> Any:
        async def step(ctx: ok.Context, **inputs: Any) -> str:
            said.append(f"{ctx.node}[{ctx.item}] {ctx.attempt} began")
            await ctx.sleep(nap)
            said.append(f"{ctx.node}[{ctx.item}] {ctx.attempt} finished")
            if ctx.attempt < options.get("fails", 0) + 1:
                raise ConnectionError(name)
            return name

        step.__name__ = name
        return step

    def named(name: str, nap: float, params: str, fails: int = 0) -> Any:
        scope: dict[str, Any] = {"inner": body(name, nap, fails=fails), "ok": ok}
        exec(f"async def {name}({params}, ctx: ok.Context): return await inner(ctx)", scope)
        return scope[name]

    wf.map(over="input", limit=2, retry=ok.Retry(2, wait=ok.backoff(1, jitter=None)))(named("each", 2, "item", 1))
    wf.step(effect=True)(named("send", 3, "each"))
    wf.step(timeout=4.0, fallback=named("spare", 1, "input"))(named("slow", 9, "input"))
    wf.step(on_error="skip")(named("shaky", 1, "input", 99))
    wf.approval("review", timeout=50.0)
    wf.step(named("last", 1, "review, slow"))
    return wf, said


def napping_program() -> tuple[Program, list[str]]:
    wf, said = napping()
    return prepare(wf.checked(), ok.World(review=ok.person(20.0, approve=1.0), send=ok.real)), said


def instants(log: list[Event]) -> list[int]:
    return sorted({event.t for event in log})


# The plan


def test_the_plan_is_pure_and_never_starts_a_step_twice() -> None:
    for seed, program in programs(range(60)):
        log = Drive(program, seed=seed).start("x").run().log
        state = fold(program.graph, [])
        started: set[tuple[int, int]] = set()
        for event in log:
            apply(state, event)
            before = (list(state.ready), list(state.standing), set(state.maps))
            action = plan(state)
            assert plan(state) == action
            assert (list(state.ready), list(state.standing), set(state.maps)) == before
            if action is not None and action.verb == "start":
                assert (action.node, action.item) not in state.open
                assert (action.node, action.item) not in started
            if event.kind in ("started", "asked") and event.node in program.graph.index:
                started.add((program.graph.index[event.node], event.item))
        assert plan(state) is None


def test_a_run_does_what_the_plan_says_and_nothing_else() -> None:
    for seed, program in programs(range(60, 90)):
        log = Drive(program, seed=seed).start("x").run().log
        state = fold(program.graph, [])
        seen: set[tuple[str, int]] = set()
        for event in log:
            if event.kind in ("started", "asked") and (event.node, event.item) not in seen:
                if event.node in program.graph.index:
                    action = plan(state)
                    assert action is not None
                    node = program.graph.nodes[action.node].name
                    assert (action.verb, node, action.item) == ("start", event.node, event.item)
                seen.add((event.node, event.item))
            apply(state, event)


# Cancelled from outside


def check_cancelled(drive: Drive) -> None:
    log, count = drive.log, len(drive.log)
    check_log(log)
    assert log[-1].status == "cancelled"
    assert drive.ends == [None]
    assert not drive.sleepers()
    assert not drive.execution.instances
    assert not drive.execution.pending
    drive.run()
    drive.execution.cancel("again")
    assert len(drive.log) == count


@pytest.mark.parametrize("block", range(3))
def test_cancelling_at_every_instant_ends_every_attempt_once(block: int) -> None:
    for seed, program in programs(range(block * 50, block * 50 + 50)):
        for t in instants(Drive(program, seed=seed).start("x").run().log):
            drive = Drive(program, seed=seed).start("x").until(t)
            if drive.log[-1].kind == "run_ended":
                continue
            drive.execution.cancel("dana", "too dear")
            check_cancelled(drive)


def test_cancelling_bodies_at_every_instant() -> None:
    program, _ = napping_program()
    for t in instants(Drive(program).start([1, 2, 3]).run().log)[:-1]:
        drive = Drive(program).start([1, 2, 3]).until(t)
        drive.execution.cancel()
        check_cancelled(drive)


def resumed(program: Program, prefix: list[Event], seed: int = 0) -> Drive:
    drive = Drive(program, events=decode_log(encode_log(prefix)), seed=seed).redrive().run()
    assert drive.execution.error is None
    return drive


@pytest.mark.parametrize("block", range(2))
def test_every_prefix_of_a_stopping_run_resumes_to_the_same_log(block: int) -> None:
    points = 0
    for seed, program in programs(range(block * 40, block * 40 + 40)):
        whole = Drive(program, seed=seed).start("x").run().log
        for t in instants(whole)[:: 1 + seed % 3]:
            drive = Drive(program, seed=seed).start("x").until(t)
            if drive.log[-1].kind == "run_ended":
                continue
            begin = len(drive.log)
            drive.execution.cancel()
            wanted = exact_digest(drive.log)
            for cut in range(begin + 1, len(drive.log)):
                assert exact_digest(resumed(program, drive.log[:cut], seed).log) == wanted, f"seed {seed}, {t}, {cut}"
                points += 1
    assert points > 300


def failing_program() -> tuple[Program, list[str]]:
    wf, said = napping()

    @wf.step
    async def fatal(input, ctx: ok.Context) -> None:
        await ctx.sleep(1.5)
        raise ValueError("fatal")

    return prepare(wf.checked(), ok.World(review=ok.person(20.0, approve=1.0), send=ok.real)), said


def test_resuming_a_stopping_run_starts_no_body() -> None:
    program, said = failing_program()
    whole = Drive(program).start([1, 2, 3]).run().log
    assert whole[-1].status == "failed"
    fatal = next(i for i, e in enumerate(whole) if (e.kind, e.status) == ("settled", "failed"))
    assert len(whole) - fatal > 4  # several are cancelled
    for cut in range(fatal + 1, len(whole)):
        said.clear()
        drive = resumed(program, whole[:cut])
        assert exact_digest(drive.log) == exact_digest(whole)
        assert not said, f"cut after {cut}"


# A store that breaks


def check_aborted(drive: Drive, room: int, kind: type[BaseException]) -> None:
    assert isinstance(drive.execution.error, kind)
    assert len(drive.log) == room
    assert len(drive.ends) == 1
    assert drive.ends[0] is drive.execution.error
    assert not drive.sleepers()
    assert not drive.execution.instances
    drive.run()
    drive.execution.cancel()
    drive.execution.advance()
    assert len(drive.log) == room
    assert len(drive.ends) == 1


@pytest.mark.parametrize("block", range(2))
def test_a_store_that_breaks_at_any_record_stops_the_run_there(block: int) -> None:
    for seed, program in programs(range(block * 20, block * 20 + 20)):
        whole = Drive(program, seed=seed).start("x").run().log
        for room in range(len(whole)):
            drive = Drive(program, seed=seed, journal=Broken(room)).start("x").run()
            check_aborted(drive, room, StoreWriteError)
            assert drive.log == whole[:room]


def test_a_store_that_breaks_while_a_run_is_stopping_stops_it_there_too() -> None:
    for make in (napping_program, failing_program):
        program, _ = make()
        for t in (0, 1_000_000, 3_000_000):
            drive = Drive(program).start([1, 2, 3]).until(t)
            if drive.log[-1].kind == "run_ended":
                continue
            begin = len(drive.log)
            drive.execution.cancel()
            for room in range(begin, len(drive.log)):
                broken = Drive(program, journal=Broken(room)).start([1, 2, 3]).until(t)
                broken.execution.cancel()
                check_aborted(broken, room, StoreWriteError)


def test_a_crash_after_any_record_the_last_included_leaves_just_that() -> None:
    for seed in range(10):
        wf, world, faults, _ = random_workflow(seed, modelled=True)
        whole = Drive(prepare(wf.checked(), world, faults), seed=seed).start("x").run().log
        for record in range(1, len(whole) + 1):
            plan_ = ok.Faults(*faults.faults, ok.faults.crash(after=record))
            drive = Drive(prepare(wf.checked(), world, plan_), seed=seed).start("x").run()
            check_aborted(drive, record, RunCrashed)


@pytest.mark.parametrize("durability", ["memory", "group"])
def test_a_crash_after_the_last_record_reaches_the_user_as_itself(durability: str) -> None:
    wf = ok.Workflow("w", input=int)

    @wf.step
    def step(input: int) -> int:
        return input + 1

    crash = ok.Faults(ok.faults.crash(after=4))
    run = wf.simulate(1, world=ok.World(), faults=crash, durability=durability)
    if durability == "group":
        assert run.result() == 2  # the log was complete
    else:
        with pytest.raises(ok.RunCrashed):
            run.result()


def test_a_store_that_fails_behind_a_fence_stops_the_run() -> None:
    program, _ = napping_program()
    error = StoreWriteError("gone")
    drive = Drive(program, journal=lambda kernel: Lagging(kernel, 10, error)).start([1]).run()
    assert drive.execution.error is error
    assert drive.ends == [error]
    assert not drive.sleepers()


# People who wait for a word


def asked(room: int = 10**9, people: int = 2) -> Drive:
    wf = ok.Workflow("people")
    for i in range(people):
        wf.approval(f"q{i}", timeout=100.0)

    @wf.step
    async def slow(input, ctx: ok.Context):
        await ctx.sleep(1000)

    drive = Drive(Program(wf.checked()), journal=Broken(room)).start("x")
    assert len(drive.execution.pending) == people
    return drive


def send(drive: Drive, node: int, t: int, value: Any = True) -> list[Any]:
    """An answer that is on its way: filed, and not yet taken up."""
    told: list[Any] = []
    inst = drive.execution.instances[node, -1]
    answer = Answer(value, "dana", told.append)
    inst.answers = [*inst.answers, answer]
    drive.kernel.arm(inst, t, SIGNAL, answer)
    return told


def test_of_two_answers_one_is_taken_and_the_other_is_told() -> None:
    drive = asked()
    first, second = send(drive, 0, 5), send(drive, 0, 5, value=False)
    drive.until(5)
    assert first == [None]
    assert [type(error) for error in second] == [ok.AnswerLate]
    assert [event.body for event in drive.log if event.kind == "answered"] == [True]


@pytest.mark.parametrize("how", ["cancel", "deadline", "store"])
def test_an_answer_that_comes_too_late_is_told_whatever_was_first(how: str) -> None:
    drive = asked(room=4 if how == "store" else 10**9)
    told = [send(drive, node, 200_000_000) for node in (0, 1)]
    if how == "cancel":
        drive.execution.cancel()
    elif how == "deadline":
        drive.until(100_000_000)
    else:
        drive.until(100_000_000)
        assert isinstance(drive.execution.error, StoreWriteError)
    assert [[type(error) for error in one] for one in told] == [[ok.AnswerLate], [ok.AnswerLate]]
    assert "answered" not in {event.kind for event in drive.log}


def test_at_the_deadline_an_answer_counts() -> None:
    drive = asked()
    told = send(drive, 0, 100_000_000)
    drive.until(100_000_000)
    assert told == [None]
    kinds = {(event.node, event.kind) for event in drive.log}
    assert ("q0", "answered") in kinds
    assert ("q1", "expired") in kinds


def test_yes_means_in_the_log_also_when_the_engine_dies_of_that_very_record() -> None:
    wf = ok.Workflow("people")
    wf.approval("q")
    for record in range(3, 6):
        program = Program(wf.checked(), faults=ok.Faults(ok.faults.crash(after=record)))
        drive = Drive(program).start("x")
        told = send(drive, 0, 5)
        drive.until(5)
        assert ("answered" in {event.kind for event in drive.log}) == (told == [None])
        assert len(told) == 1
        assert isinstance(drive.execution.error, RunCrashed)


# Fences: while one waits for the store, others go on


def effects() -> ok.Workflow:
    wf = ok.Workflow("effects", input=int)
    for name, params, options in (
        ("a", "input", {"effect": True, "retry": ok.Retry(2, wait=ok.backoff(0))}),
        ("b", "input", {}),
        ("c", "b", {}),
        ("d", "c", {"effect": True}),
        ("e", "a, d", {}),
    ):
        scope: dict[str, Any] = {"ok": ok}
        fails = "if ctx.attempt == 1: raise ConnectionError()" if name == "a" else "pass"
        lines = f"async def {name}({params}, ctx: ok.Context):", "await ctx.sleep(0.001)", fails, "return 1"
        exec("\n    ".join(lines), scope)
        wf.step(**options)(scope[name])
    wf.approval("q", timeout=0.004)
    return wf


@pytest.mark.parametrize("lag", [1, 500, 1500, 7000])
@pytest.mark.parametrize("strict", [False, True])
def test_every_prefix_of_a_log_with_fences_resumes(lag: int, strict: bool) -> None:
    program = Program(effects().checked())
    drive = Drive(program, journal=lambda kernel: Lagging(kernel, lag), strict=strict).start(1).run()
    whole = drive.log
    check_log(whole)
    assert drive.ends == [None]
    kinds = [(event.kind, event.node, event.status) for event in whole]
    for cut in range(1, len(whole)):
        for journal in (None, lambda kernel: Lagging(kernel, lag)):
            again = Drive(program, events=whole[:cut], journal=journal, strict=strict).redrive().run()
            assert again.execution.error is None, f"cut after {kinds[cut - 1]}"
            check_log(again.log)
            assert again.log[:cut] == whole[:cut]
            assert sorted((e.kind, e.node, e.status) for e in again.log) == sorted(kinds)


def test_cancelling_between_an_effects_outcome_and_its_durability_can_be_resumed() -> None:
    program = Program(effects().checked())
    for t in range(0, 12_000, 250):
        drive = Drive(program, journal=lambda kernel: Lagging(kernel, 1500)).start(1).until(t)
        if drive.log[-1].kind == "run_ended":
            continue
        begin = len(drive.log)
        drive.execution.cancel()
        check_log(drive.log)
        for cut in range(begin + 1, len(drive.log)):
            assert exact_digest(resumed(program, drive.log[:cut]).log) == exact_digest(drive.log)

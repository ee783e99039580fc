"""What a step may ask of its run, and what an engine leaves behind."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

import orchkit as ok
from orchkit.engine.program import Program
from orchkit.model.events import decode_log, encode_log
from orchkit.runs.checks import dump_input
from orchkit.runs.simulate import prepare, simulate
from tests.support.engines import Drive
from tests.support.graphs import random_workflow

Step = Callable[..., Any]


def run_of(step: Step, **options: Any) -> ok.Run:
    wf = ok.Workflow("w")
    wf.step(**options)(step)
    return wf.simulate("x", world=ok.World({step.__name__: ok.real}), seed=5)


def test_time_is_the_runs_own_and_exact() -> None:
    async def step(input, ctx: ok.Context):
        seen = [ctx.now()]
        for nap in (0.1, 0.2, 0, 3600):
            await ctx.sleep(nap)
            seen.append(ctx.now())
        return seen

    assert run_of(step).result() == [0.0, 0.1, 0.3, 0.3, 3600.3]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e300])
def test_a_sleep_that_makes_no_sense_is_refused(seconds: float) -> None:
    async def step(input, ctx: ok.Context):
        await ctx.sleep(seconds)

    with pytest.raises(ok.RunError, match=r"DefinitionError: ctx.sleep\("):
        run_of(step).result()


def test_remaining_counts_down_and_is_fresh_for_each_attempt() -> None:
    seen: list[Any] = []

    async def step(input, ctx: ok.Context):
        seen.append(ctx.remaining)
        await ctx.sleep(3)
        seen.append(ctx.remaining)
        await ctx.sleep(3 if ctx.attempt == 1 else 1)

    run_of(step, timeout=5.0, retry=ok.Retry(2, wait=ok.backoff(7, jitter=None))).result()
    assert seen == [5.0, 2.0, 5.0, 2.0]

    async def unbounded(input, ctx: ok.Context):
        return ctx.remaining

    assert run_of(unbounded).result() is None


def test_an_attempt_of_exactly_its_timeout_succeeds() -> None:
    async def step(input, ctx: ok.Context):
        await ctx.sleep(5)
        return ctx.remaining

    assert run_of(step, timeout=5.0).result() == 0.0


def test_who_it_is() -> None:
    wf = ok.Workflow("w", input=list)

    async def spare(item, ctx: ok.Context):
        return [ctx.node, ctx.item, ctx.attempt, ctx.leg, ctx.idempotency_key.partition(":")[2]]

    @wf.map(over="input", retry=ok.Retry(2, wait=ok.backoff(0)), fallback=spare)
    async def each(item, ctx: ok.Context):
        if item == "bad" or ctx.attempt < 2:
            raise ValueError
        return [ctx.node, ctx.item, ctx.attempt, ctx.leg, ctx.idempotency_key.partition(":")[2]]

    run = wf.simulate(["a", "bad"], world=ok.World())
    assert run.result() == [["each", 0, 2, 0, "each[0]"], ["each/fallback:spare", 1, 1, 0, "each/fallback:spare[1]"]]


def test_the_idempotency_key_is_the_same_for_every_attempt_and_begins_with_the_run() -> None:
    keys: list[str] = []

    def step(input, ctx: ok.Context):
        keys.append(ctx.idempotency_key)
        if ctx.attempt < 3:
            raise ConnectionError

    run = run_of(step, effect=True, retry=3)
    run.result()
    assert keys == [f"{run.id}:step"] * 3
    assert {event.key for event in run.log if event.kind == "started"} == {"step"}


def lucky() -> tuple[ok.Workflow, dict[tuple[str, Any, int], float]]:
    drawn: dict[tuple[str, Any, int], float] = {}
    wf = ok.Workflow("lucky", input=list)

    def draw(ctx: ok.Context) -> float:
        key, luck = (ctx.node, ctx.item, ctx.attempt), ctx.random.random()
        assert drawn.setdefault(key, luck) == luck, f"{key} has other luck than before"
        assert ctx.random is ctx.random
        return luck

    @wf.map(over="input", retry=ok.Retry(3, wait=ok.backoff(1)))
    async def each(item, ctx: ok.Context):
        await ctx.sleep(ctx.random.uniform(0, 3))
        draw(ctx)
        if ctx.attempt < 3:
            raise ConnectionError
        return item

    @wf.step
    async def alone(input, ctx: ok.Context):
        return draw(ctx)

    return wf, drawn


def test_luck_is_the_attempts_own_and_the_same_again_on_every_resume() -> None:
    wf, drawn = lucky()
    program = Program(wf.checked())
    whole = Drive(program, seed=3).start([1, 2, 3]).run().log
    assert len(set(drawn.values())) == len(drawn) == 10
    for cut in range(1, len(whole)):
        Drive(program, events=decode_log(encode_log(whole[:cut])), seed=3).redrive().run()
    before = dict(drawn)
    drawn.clear()
    Drive(program, seed=4).start([1, 2, 3]).run()
    assert drawn.keys() == before.keys()
    assert not set(drawn.values()) & set(before.values())


def test_what_is_spent_adds_up_and_is_recorded_with_every_outcome() -> None:
    def step(input, ctx: ok.Context):
        ctx.spend(cost=0.5, tokens_in=10)
        ctx.spend(cost=0.25, tokens_out=5)
        if ctx.attempt == 1:
            raise ConnectionError

    run = run_of(step, retry=2)
    assert [(e.cost, e.tokens) for e in run.log if e.kind in ("failed", "completed")] == [(0.75, 15)] * 2


def test_a_timed_out_attempt_has_no_bill_and_its_late_spending_is_dropped() -> None:
    async def step(input, ctx: ok.Context):
        await ctx.sleep(9)
        ctx.spend(cost=1.0)

    run = run_of(step, timeout=1.0, fallback="spare")
    run.result()
    assert run.events.cost.sum() == 0.0


@pytest.mark.parametrize(
    "wrong", [{"cost": -1}, {"cost": float("nan")}, {"cost": float("inf")}, {"tokens_in": -1}, {"tokens_out": 2**63}]
)
def test_spending_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    def step(input, ctx: ok.Context):
        ctx.spend(**wrong)

    with pytest.raises(ok.RunError, match=r"DefinitionError: ctx\.spend"):
        run_of(step).result()


def test_numbers_of_other_libraries_are_recorded_as_pythons_own() -> None:
    import numpy as np

    def step(input, ctx: ok.Context):
        ctx.spend(cost=np.float64(0.5), tokens_in=np.int64(3))

    run = run_of(step)
    (event,) = (e for e in run.log if e.kind == "completed")
    assert (type(event.cost), type(event.tokens)) == (float, int)


# What is left behind


def collected(work: Callable[[], Any]) -> float:
    """Objects a run that only the garbage collector finds; not what was there before, which other threads let go."""
    work()
    gc.collect()
    gc.disable()
    gc.freeze()
    try:
        for _ in range(200):
            work()
        return gc.collect() / 200
    finally:
        gc.unfreeze()
        gc.enable()


def modelled(seed: int) -> Callable[[], ok.Run]:
    wf, world, faults, _ = random_workflow(seed, modelled=True)
    program = prepare(wf.checked(), world, faults)
    value = dump_input(program, "x")
    return lambda: ok.Run(simulate(program, value, seed=seed))


@pytest.mark.parametrize("seed", [seed for seed in range(12) if modelled(seed)().status != "failed"])
def test_a_modelled_run_leaves_no_cycles(seed: int) -> None:
    assert collected(modelled(seed)) < 0.1


@pytest.mark.parametrize("seed", [seed for seed in range(12) if modelled(seed)().log[-2].kind == "cancelled"])
def test_a_run_that_cancels_others_leaves_no_cycles(seed: int) -> None:
    assert collected(modelled(seed)) < 0.1


def test_a_run_of_bodies_that_fail_and_recover_leaves_no_cycles() -> None:
    wf, _ = lucky()
    program = prepare(wf.checked(), ok.World())
    assert collected(lambda: simulate(program, [1, 2])) < 0.1


def test_a_cancelled_run_leaves_no_cycles() -> None:
    wf, _ = lucky()
    program = prepare(wf.checked(), ok.World())

    def cancelled() -> None:
        drive = Drive(program).start([1, 2]).until(1_000_000)
        drive.execution.cancel()
        drive.run()  # the heap lets go of those that were cancelled when their time comes
        drive.execution.on_end = None  # it belongs to the test, and holds the drive

    assert collected(cancelled) < 0.1


def test_a_body_may_take_its_time_to_clean_up_after_a_timeout() -> None:
    cleaned: list[float] = []

    async def step(input, ctx: ok.Context):
        if ctx.attempt == 2:
            return "second"
        try:
            await ctx.sleep(10)
        finally:
            await ctx.sleep(1)
            cleaned.append(ctx.now())

    run = run_of(step, timeout=2.0, retry=ok.Retry(2, wait=ok.backoff(0)))
    assert run.result() == "second"
    assert run.log[-1].t == 2_000_000  # nobody waited for it
    assert cleaned == [3.0]

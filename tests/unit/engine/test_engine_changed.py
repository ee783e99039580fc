"""A log and a workflow that is no longer the one that wrote it: refused in one way, and never spoiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import orchkit as ok
from orchkit.engine.program import Program
from orchkit.errors import ReplayMismatch
from orchkit.model.events import decode_log, encode_log
from orchkit.runs.simulate import prepare
from tests.support.engines import Broken, Drive, check_log


def original() -> ok.Workflow:
    wf = ok.Workflow("changing", input=list)

    @wf.step(retry=ok.Retry(3, wait=ok.backoff(1, jitter=None)))
    async def draft(input, ctx: ok.Context):
        await ctx.sleep(1)
        if ctx.attempt < 3:
            raise ConnectionError("busy")
        return "draft"

    @wf.map(over="input", limit=2)
    async def each(item, ctx: ok.Context):
        await ctx.sleep(2)
        return item

    @wf.step(fallback="spare", timeout=3.0)
    async def shaky(draft, ctx: ok.Context):
        await ctx.sleep(9)

    wf.approval("review", show="draft", timeout=60.0)

    @wf.route(to=["send", "keep"])
    def choose(review) -> str:
        return "send" if review else "keep"

    @wf.step
    async def send(draft, ctx: ok.Context):
        await ctx.sleep(1)
        return "sent"

    @wf.step
    def keep(draft):
        return "kept"

    return wf


WORLD = ok.World(review=ok.person(20.0, approve=1.0))


def without(name: str) -> Callable[[ok.Workflow], None]:
    return lambda wf: wf._nodes.pop(name) and None


def renamed(wf: ok.Workflow) -> None:
    del wf._nodes["shaky"]

    @wf.step(fallback="spare", timeout=3.0)
    async def wobbly(draft, ctx: ok.Context):
        await ctx.sleep(9)


def approval_turned_into_step(wf: ok.Workflow) -> None:
    del wf._nodes["review"]

    @wf.step
    def review(draft) -> bool:
        return True


def step_turned_into_approval(wf: ok.Workflow) -> None:
    del wf._nodes["draft"]  # as another workflow of the same name would have it
    wf.approval("draft", answer=str, timeout=60.0)


def map_turned_into_step(wf: ok.Workflow) -> None:
    @wf.step
    def each(input): ...


def step_turned_into_map(wf: ok.Workflow) -> None:
    @wf.map(over="input")
    def draft(item): ...


def route_turned_into_step(wf: ok.Workflow) -> None:
    @wf.step
    def choose(review): ...


def new_dependency(wf: ok.Workflow) -> None:
    @wf.step(fallback="spare", timeout=3.0)
    async def shaky(draft, review, ctx: ok.Context):
        await ctx.sleep(9)


def restacked(**stacks: Any) -> Callable[[ok.Workflow], ok.Workflow]:
    return lambda wf: wf.using(**stacks)


CHANGES: dict[str, Callable[[ok.Workflow], ok.Workflow | None]] = {
    "retry removed": restacked(draft=None),
    "retry shortened": restacked(draft=ok.Retry(2, wait=ok.backoff(1, jitter=None))),
    "timeout removed": restacked(shaky=ok.only(ok.Fallback("spare"))),
    "fallback removed": restacked(shaky=ok.only(ok.Timeout(3.0))),
    "fallback added": restacked(draft=[ok.Retry(2, wait=ok.backoff(1, jitter=None)), ok.Fallback("spare")]),
    "renamed": renamed,
    "node removed": without("shaky"),
    "approval turned into step": approval_turned_into_step,
    "step turned into approval": step_turned_into_approval,
    "map turned into step": map_turned_into_step,
    "step turned into map": step_turned_into_map,
    "route turned into step": route_turned_into_step,
    "new dependency": new_dependency,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_workflow_is_refused_or_goes_on_soundly(change: str) -> None:
    whole = Drive(prepare(original().checked(), WORLD)).start(["a", "b", "c"]).run().log
    wf = original()
    wf = CHANGES[change](wf) or wf
    world = ok.World(review=WORLD.models["review"], draft=ok.person(1.0, answers="d"))
    people = {name: m for name, m in world.models.items() if wf.checked().index.get(name) is not None}
    kinds = {node.name: node.kind for node in wf.checked().nodes}
    program = prepare(wf.checked(), ok.World({n: m for n, m in people.items() if kinds[n] == "approval"}))
    refused = 0
    for cut in range(1, len(whole)):
        prefix = decode_log(encode_log(whole[:cut]))
        journal = Broken(10**9)
        try:
            drive = Drive(program, events=prefix, journal=journal)
        except ReplayMismatch:  # found while it was folded; anything else would fail the test
            refused += 1
            continue
        drive.redrive()
        if drive.execution.error is not None:
            assert isinstance(drive.execution.error, ReplayMismatch), drive.execution.error
            assert not journal.kept  # not a word of the new one in the log of the old
            assert drive.ends == [drive.execution.error]
            assert not drive.sleepers()
            refused += 1
            continue
        drive.run()
        assert drive.log[:cut] == prefix
        check_log(drive.log)
    # A recorded time-out holds, whatever the bound is now; so that change is never in the way.
    assert refused or change == "timeout removed"


def test_a_mismatch_names_both_sides_and_the_way_out() -> None:
    whole = Drive(prepare(original().checked(), WORLD)).start([]).run().log
    cut = next(i for i, e in enumerate(whole) if (e.kind, e.node, e.attempt) == ("waiting", "draft", 1)) + 1
    drive = Drive(prepare(original().using(draft=None).checked(), WORLD), events=whole[:cut]).redrive()
    error = drive.execution.error
    assert isinstance(error, ReplayMismatch)
    assert "the log says waiting of 'draft', attempt 1, the workflow now wants settled (failed) of 'draft'" in str(
        error
    )
    assert "resume it with the workflow that recorded it" in str(error)
    assert (error.run_id, error.node) == ("run", "draft")  # type: ignore[attr-defined]


# Faults belong to the process that injects them; a resumed live run has none.


@pytest.mark.parametrize(
    "fault",
    [ok.faults.slow("step", add=1.0), ok.faults.hang("step", first=1), ok.faults.fail("step", first=1)],
    ids=["slow", "hang", "fail"],
)
@pytest.mark.parametrize("timeout", [None, 5.0])
def test_an_attempt_that_a_fault_had_struck_is_run_again_without_it(fault: Any, timeout: float | None) -> None:
    wf = ok.Workflow("faulty")

    @wf.step(retry=ok.Retry(2, wait=ok.backoff(0)), timeout=timeout)
    async def step(input, ctx: ok.Context):
        await ctx.sleep(1)
        return "done"

    whole = Drive(Program(wf.checked(), faults=ok.Faults(fault))).start("x").run().log
    for cut in range(1, len(whole) + 1):
        prefix = decode_log(encode_log(whole[:cut]))
        if prefix[-1].kind == "run_ended":
            continue
        drive = Drive(Program(wf.checked()), events=prefix).redrive().run()
        assert drive.execution.error is None, f"cut after {prefix[-1].kind}"
        check_log(drive.log)
        assert drive.log[:cut] == prefix
        assert drive.log[-1].body == "done"

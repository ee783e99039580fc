"""The deadline of a run: outermost of all, absolute, and durable."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchkit as ok
from orchkit.engine.program import Program
from orchkit.model.codec import codec_for
from orchkit.model.events import decode_log, encode_log
from orchkit.runs.simulate import prepare
from tests.support.engines import Drive, check_log

SECOND = 1_000_000


def slow() -> ok.Workflow:
    wf = ok.Workflow("slow", input=str)

    @wf.step(retry=ok.Retry(5), fallback="spare")
    async def draft(input: str, ctx: ok.Context) -> float:
        await ctx.sleep(4)
        return ctx.remaining or 0.0

    @wf.step
    async def send(draft: float, ctx: ok.Context) -> float:
        await ctx.sleep(30)
        return draft

    wf.approval("review", show="draft")
    return wf


def program() -> Program:
    return prepare(slow().using(draft=None).checked(), ok.World(review=ok.person(50.0, approve=1.0)))


def started(deadline: int) -> Drive:
    drive = Drive(program())
    drive.execution.start(codec_for(str).dump("a", ""), deadline)
    drive.execution.advance()
    return drive.run()


def test_what_is_in_flight_is_cancelled_when_the_run_has_taken_too_long() -> None:
    log = started(10 * SECOND).log
    check_log(log)
    assert [(e.kind, e.node, e.t // SECOND) for e in log[-3:]] == [
        ("rejected", "", 10),
        ("cancelled", "send", 10),
        ("run_ended", "", 10),
    ]
    assert (log[-1].status, log[-1].error) == ("failed", "DeadlineExceeded: the run took longer than 10 s")
    assert next(e.body for e in log if e.kind == "completed" and e.node == "draft") == 6.0


def test_a_run_that_ends_in_time_leaves_nothing_waiting() -> None:
    drive = started(60 * SECOND)
    assert drive.log[-1].status == "completed"
    assert not drive.sleepers()


def test_every_prefix_ends_at_the_same_deadline() -> None:
    whole = started(10 * SECOND).log
    for cut in range(1, len(whole)):
        again = Drive(program(), events=decode_log(encode_log(whole[:cut]))).redrive().run()
        assert [(e.kind, e.node) for e in again.log] == [(e.kind, e.node) for e in whole], cut
        assert again.log[-1].t == 10 * SECOND


def test_a_live_run_has_a_deadline_and_a_resume_goes_on_without(tmp_path: Path) -> None:
    wf = ok.Workflow("live", input=str)
    wf.approval("review")
    with ok.open(tmp_path / "lab.duckdb") as store:
        run = wf.start("a", store=store, deadline=0.05)
        with pytest.raises(ok.RunError, match=r"the run took longer than 0\.05 s") as caught:
            run.result(timeout=30)
        assert isinstance(caught.value.__cause__, ok.DeadlineExceeded)
        again = store.resume(run.id, wf).wait_settled(timeout=30)
        again.answer("review", True)
        assert again.result(timeout=30) is True


@pytest.mark.parametrize("deadline", [0, -1, "soon", float("nan")])
def test_a_deadline_that_makes_no_sense_is_refused(deadline: object) -> None:
    with pytest.raises(ok.DefinitionError, match="deadline="):
        slow().start("a", deadline=deadline, durability="memory")  # type: ignore[arg-type]

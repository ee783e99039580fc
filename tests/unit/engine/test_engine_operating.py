"""What the engine makes of acts on a run, in virtual time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.engine import operating
from orchkit.model.events import Event, canonical_digest, decode_log, encode_log
from orchkit.model.records import Head
from orchkit.runs.handle import PastRun, attempts_in_flight
from orchkit.runs.operating import Deed, prepared
from orchkit.runs.simulate import prepare
from tests.support.engines import Drive

SECOND = 1_000_000


def started(wf: ok.Workflow, world: ok.World, until: float) -> Drive:
    return Drive(prepare(wf.checked(), world)).start("x").until(int(until * SECOND))


def act(drive: Drive, verb: Any, node: str = "", **more: Any) -> None:
    prepared(drive.execution.program, "run", Deed(verb, node, by="lee", **more))(drive.execution)


def begun(drive: Drive) -> list[tuple[str, int, float]]:
    return [(e.node, e.item, e.t / SECOND) for e in drive.log if e.kind == "started"]


def listed() -> tuple[ok.Workflow, ok.World]:
    wf = ok.Workflow("listed")

    @wf.step
    def plan() -> list[str]: ...

    @wf.map(over="plan", limit=1)
    def lookup(item: str) -> str: ...

    @wf.step
    def end(lookup: list[str]) -> str: ...

    def named(inputs: dict[str, Any], _: Any) -> Any:
        return inputs["item"]

    models = {"plan": ok.fake(["a", "b", "c"], latency=1.0), "lookup": ok.fake(named, latency=2.0)}
    return wf, ok.World(models, end=ok.fake(lambda inputs, _: ",".join(inputs["lookup"]), latency=1.0))


def test_items_wait_while_a_run_is_paused_and_go_on_in_their_order() -> None:
    drive = started(*listed(), 2.0)
    act(drive, "pause")
    drive.run()
    assert begun(drive)[1:] == [("lookup", 0, 1.0)]
    assert operating.is_quiet(drive.execution)
    drive.until(10 * SECOND)
    act(drive, "unpause")
    drive.run()
    assert begun(drive)[2:] == [("lookup", 1, 10.0), ("lookup", 2, 12.0), ("end", -1, 14.0)]


def test_an_item_that_has_not_begun_may_be_decided() -> None:
    drive = started(*listed(), 2.0)
    act(drive, "override", "lookup[2]", value="z")
    act(drive, "skip", "lookup", item=1)
    drive.run()
    assert [row[:2] for row in begun(drive)] == [("plan", -1), ("lookup", 0), ("end", -1)]
    assert (drive.execution.state.result, drive.log[-1].status) == ("a,z", "degraded")


def test_an_item_of_a_map_that_has_settled_is_decided_anew() -> None:
    drive = started(*listed(), 7.5)
    act(drive, "override", "lookup", item=0, value="z")
    drive.run()
    assert drive.execution.state.result == "z,b,c"
    assert [e.status for e in drive.log if e.kind == "invalidated"] == ["override", "stale"]


def test_a_whole_map_is_decided() -> None:
    drive = started(*listed(), 2.0)
    act(drive, "override", "lookup", value=["y", "z"])
    drive.run()
    assert drive.execution.state.result == "y,z"
    assert [(e.item, e.status) for e in drive.log if e.kind == "cancelled"] == [(0, "operator")]


def test_what_is_decided_stays_when_its_input_changes_until_it_is_retried() -> None:
    drive = started(*listed(), 7.5)
    act(drive, "override", "end", value="mine")
    assert drive.log[-1].status == "completed"
    drive = started(*listed(), 2.0)
    act(drive, "override", "end", value="mine")
    act(drive, "override", "plan", value=["q"])
    drive.run()
    assert drive.execution.state.result == "mine"
    drive = started(*listed(), 2.0)
    act(drive, "override", "end", value="mine")
    act(drive, "retry", "end")
    drive.run()
    assert drive.execution.state.result == "a,b,c"


def test_a_route_is_overridden_by_its_targets() -> None:
    wf = ok.Workflow("routed")

    @wf.route(to=["one", "two"])
    def way() -> str: ...

    @wf.step
    def one() -> str: ...

    @wf.step
    def two() -> str: ...

    drive = started(wf, ok.World(way=ok.fake("one"), one=ok.fake("1", latency=5.0), two=ok.fake("2")), 1.0)
    act(drive, "override", "way", value="two")
    drive.run()
    assert drive.execution.state.result == "2"
    assert [e.kind for e in drive.log if e.node == "one"] == ["started", "cancelled", "invalidated", "skipped"]


def test_a_log_that_ends_before_the_event_that_decides_goes_on_as_if_nobody_had_acted() -> None:
    drive = started(*listed(), 2.0)
    act(drive, "skip", "lookup")
    cut = next(i for i, e in enumerate(drive.log) if e.kind == "cancelled") + 1
    again = Drive(drive.execution.program, events=decode_log(encode_log(drive.log[:cut]))).redrive().run()
    assert (again.execution.state.result, again.log[-1].status) == ("a,b,c", "completed")
    assert [e.status for e in again.log if e.kind == "invalidated"] == ["cancelled"]


def waiting_inside() -> tuple[ok.Workflow, dict[str, Any]]:
    inner = ok.Workflow("inner")

    @inner.step(retry=ok.Retry(2, wait=ok.backoff(base=100.0, jitter=None)))
    def slow(input: Any) -> str: ...

    @inner.step
    def broken(input: Any) -> str: ...

    @inner.step
    def both(slow: str, broken: str) -> str: ...

    wf = ok.Workflow("outer")
    wf.call("call", inner)
    slow_model = ok.fake("s", latency=1.0, error=1.0)
    return wf, {"call/slow": slow_model, "call/broken": ok.fake("b", latency=5.0, error=1.0), "call/both": ok.fake("x")}


def test_a_wait_within_a_node_that_failed_does_not_last_for_ever_after_a_resume() -> None:
    wf, models = waiting_inside()
    drive = started(wf, ok.World(models), 0).run()
    assert drive.log[-1].status == "failed"
    mended = {name: ok.fake("v", latency=1.0) for name in models}
    again = Drive(prepare(wf.checked(), ok.World(mended)), events=drive.log)
    again.execution.record(Event(again.execution.t(), "resumed"))
    again.redrive().run()
    assert again.log[-1].status == "completed"


class Notes(BaseModel):
    notes: list[str] = []
    tone: str = "warm"


def test_an_update_comes_behind_what_those_wrote_who_did_not_know_it() -> None:
    wf = ok.Workflow("noted")
    wf.context(Notes, merge={"notes": ok.append})
    seen: dict[str, Any] = {}

    async def write(ctx: ok.Context, tone: str) -> str:
        seen[ctx.node] = (ctx.shared.tone, ctx.shared.notes)
        ctx.update(tone=tone, notes=[ctx.node])
        await ctx.sleep(2)
        return tone

    @wf.step
    async def first(ctx: ok.Context) -> str:
        return await write(ctx, "first")

    @wf.step
    async def second(first: str, ctx: ok.Context) -> str:
        return await write(ctx, "second")

    @wf.step
    async def third(second: str, ctx: ok.Context) -> str:
        return await write(ctx, "third")

    drive = started(wf, ok.World(), 1.0)
    act(drive, "update_context", value={"tone": "op", "notes": ["op"]})
    drive.until(3 * SECOND)
    act(drive, "update_context", value={"notes": ["late"]})
    drive.run()
    assert seen == {
        "first": ("warm", []),
        "second": ("op", ["first", "op"]),
        "third": ("second", ["first", "op", "second", "late"]),
    }
    assert drive.execution.state.shared is not None
    assert drive.execution.state.shared.whole() == {
        "tone": "third",
        "notes": ["first", "op", "second", "late", "third"],
    }


def test_workflows_within_see_an_update_and_what_they_write_comes_behind_it() -> None:
    inner = ok.Workflow("inner")

    @inner.step
    async def before(input: Any, ctx: ok.Context) -> str:
        await ctx.sleep(2)
        return ctx.shared.tone

    @inner.step
    async def after(before: str, ctx: ok.Context) -> str:
        ctx.update(tone=ctx.shared.tone + "!")
        return before

    wf = ok.Workflow("outer")
    wf.context(Notes)
    wf.call("call", inner)

    @wf.step
    async def end(call: str, ctx: ok.Context) -> list[str]:
        return [call, ctx.shared.tone]

    drive = started(wf, ok.World(), 1.0)
    act(drive, "update_context", value={"tone": "op"})
    drive.run()
    assert drive.execution.state.result == ["warm", "op!"]


def test_acts_are_part_of_what_a_receipt_proves_but_not_who_did_them() -> None:
    one, other, none = started(*listed(), 2.0), started(*listed(), 2.0), started(*listed(), 2.0)
    act(one, "pause")
    prepared(other.execution.program, "run", Deed("pause", by="ann"))(other.execution)
    assert canonical_digest(one.log) == canonical_digest(other.log) != canonical_digest(none.log)


def test_what_another_process_executes_is_refused_by_its_name() -> None:
    drive = started(*listed(), 2.0)
    run = PastRun(Head("run", "listed"), drive.log, holder=SimpleNamespace(pid=7, host="here"))
    with pytest.raises(ok.RunError, match="is executed by process 7 on here"):
        run.operate(Deed("pause"))
    act(drive, "pause")
    assert PastRun(Head("run", "listed"), drive.log, holder=run._holder).status() == "running"
    drive.run()
    assert not attempts_in_flight(drive.log)
    assert PastRun(Head("run", "listed"), drive.log, holder=run._holder).status() == "waiting"


def test_an_abandoned_act_on_a_run_that_is_over_does_nothing() -> None:
    drive = started(*listed(), 100)
    before = list(drive.log)
    operating.pause(drive.execution)
    operating.update_context(drive.execution, {"x": 1})
    assert drive.log == before

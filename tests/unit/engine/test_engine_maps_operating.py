"""Stepping into maps with keys, quorums and streams; and what a body calls within a map with keys."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

import orchkit as ok
from orchkit.engine.program import Program
from orchkit.model.events import Event
from orchkit.runs.operating import Deed, prepared
from tests.support.engines import Drive


def sending() -> tuple[ok.Workflow, list[str]]:
    wf, keys = ok.Workflow("sending", input=list), list[str]()

    @wf.map(over="input", key=by_itself, effect=True)
    async def send(item: str, ctx: ok.Context) -> str:
        keys.append(ctx.idempotency_key.partition(":")[2])
        return item

    wf.approval("done", answer=bool, show="send")
    return wf, keys


def test_an_effect_wanted_once_more_keeps_the_key_of_its_item() -> None:
    wf, keys = sending()
    run = wf.start(["x", "a/b"], durability="memory").wait_settled(timeout=30)
    run.retry("send[1]", new_key=True)
    run.wait_settled(timeout=30)
    run.retry("send[1]", new_key=True)
    run.wait_settled(timeout=30)
    assert sorted(keys[:2]) == ["send[a/b]", "send[x]"]
    assert keys[2:] == ["send[a/b]#2", "send[a/b]#3"]
    run.retry("send", new_key=True)
    run.wait_settled(timeout=30)
    assert sorted(keys[4:]) == ["send[a/b]#4", "send[x]#4"]
    run.cancel()


def test_an_effect_within_a_keyed_map_is_wanted_once_more_by_the_key_of_its_item() -> None:
    keys = list[str]()
    inner = ok.Workflow("inner", input=str)

    @inner.step(effect=True)
    async def send(input: str, ctx: ok.Context) -> str:
        keys.append(ctx.idempotency_key.partition(":")[2])
        return input

    wf = ok.Workflow("outer", input=list)
    wf.map("each", over="input", body=inner, key=by_order)
    wf.approval("done", answer=bool, show="each")
    run = wf.start(["a", "b"], durability="memory").wait_settled(timeout=30)
    assert sorted(keys) == ["each[order-a]/send", "each[order-b]/send"]
    run.retry("each[1]/send", new_key=True)
    run.wait_settled(timeout=30)
    assert keys[2:] == ["each[order-b]/send#2"]
    run.cancel()


def test_what_a_body_calls_in_a_keyed_map_is_known_by_the_key_of_its_item() -> None:
    keys = list[str]()

    @ok.step
    async def send(text: str, ctx: ok.Context) -> str:
        keys.append(ctx.idempotency_key.partition(":")[2])
        return text

    wf = ok.Workflow("agents", input=list)

    @wf.map(over="input", key=by_itself)
    async def agent(item: str, ctx: ok.Context) -> str:
        return await ctx.call(send, item, key="once")

    wf.simulate(["a", "b"], world=ok.World()).result()
    assert sorted(keys) == ["agent[a]/send(once)", "agent[b]/send(once)"]


def test_calls_of_one_step_have_a_luck_of_their_own() -> None:
    async def draw(n: int, ctx: ok.Context) -> float: ...

    wf = ok.Workflow("agents", input=int)

    @wf.step
    async def agent(input: int, ctx: ok.Context) -> list[float]:
        return [await ctx.call(draw, n) for n in range(input)]

    drawn = ok.fake(lambda inputs, rng: rng.random(), latency=1.0)
    result = wf.simulate(3, world=ok.World({"agent/draw": drawn})).result()
    assert len(set(result)) == 3


def by_itself(item: str) -> str:
    return item


def by_order(item: str) -> str:
    return f"order-{item}"


def act(drive: Drive, verb: Any, node: str, **options: Any) -> None:
    """Step into a run."""
    prepared(drive.execution.program, "run", Deed(verb, node, **options))(drive.execution)


def untimed(event: Event) -> Event:
    """Give an event without its times."""
    return replace(event, t=0, dur=-1)


def voting(needed: int) -> Drive:
    """Give a run of which the first of three votes has come, after a second."""
    wf = ok.Workflow("votes", input=list)

    @wf.map(over="input", quorum=needed)
    async def vote(item: str, ctx: ok.Context) -> str:
        await ctx.sleep(1 if item == "quick" else 3600)
        return item

    return Drive(Program(wf.checked())).start(["quick", "slow", "slow"]).until(2_000_000)


def test_a_skipped_item_does_not_count_for_a_quorum_and_leaves_no_value() -> None:
    drive = voting(2)
    act(drive, "skip", "vote[1]", why="too slow")
    act(drive, "override", "vote[2]", value="by hand")
    drive.run()
    assert (drive.log[-1].status, drive.log[-1].body) == ("completed", ["quick", "by hand"])
    assert not [e for e in drive.log if e.t > 2_000_000]


def test_a_quorum_that_cannot_be_met_for_skips_fails_and_says_so() -> None:
    drive = voting(3)
    act(drive, "skip", "vote[1]", why="too slow")
    drive.run()
    (failed,) = [e for e in drive.log if e.kind == "settled" and e.status == "failed"]
    assert "QuorumMissed" in failed.error
    assert "item 1: somebody has skipped it" in failed.error


def test_every_prefix_of_a_vote_into_which_somebody_steps_goes_on_alike() -> None:
    drive = voting(2)
    begin = len(drive.log)
    act(drive, "skip", "vote[1]", why="too slow")
    drive.run()
    for cut in range(begin + 2, len(drive.log)):  # before the second event of the act nobody has acted
        again = Drive(drive.execution.program, events=drive.log[:cut]).redrive().run()
        assert [untimed(e) for e in again.log] == [untimed(e) for e in drive.log], cut  # a body sleeps anew


def test_an_item_that_has_not_come_down_the_stream_is_not_acted_on() -> None:
    wf = ok.Workflow("stream", input=list)

    @wf.map(over="input")
    async def fetch(item: int, ctx: ok.Context) -> int:
        await ctx.sleep(item)
        return item

    @wf.map(over="fetch", stream=True)
    async def read(item: int, ctx: ok.Context) -> int:
        await ctx.sleep(3600 if item == 1 else 0)
        return item

    drive = Drive(Program(wf.checked())).start([1, 3600]).until(2_000_000)
    with pytest.raises(ok.RunError, match="has not delivered that item"):
        act(drive, "override", "read[1]", value=7)
    act(drive, "override", "read[0]", value=5)
    act(drive, "override", "fetch[1]", value=2)
    drive.run()
    assert drive.log[-1].body == [5, 2]
    assert not [e for e in drive.log if e.t > 2_000_000]

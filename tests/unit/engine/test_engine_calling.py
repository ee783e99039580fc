"""What a body calls and asks as it goes: durable children, found again by what they were asked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.model.events import canonical_digest
from orchkit.runs.checks import dump_input
from orchkit.runs.simulate import continue_virtual, prepare, simulate
from orchkit.testing import every_prefix
from tests.support.engines import Broken, Drive


class Decision(BaseModel):
    approve: bool
    note: str = ""


class Notes(BaseModel):
    notes: list[str] = []


RAN: Counter[str] = Counter()


async def search(query: str, ctx: ok.Context) -> int:
    RAN[query] += 1
    await ctx.sleep(2)
    return len(query)


@ok.step
async def shaky(query: str, ctx: ok.Context) -> str:
    if ctx.attempt < 2:
        raise ConnectionError("down")
    return query.upper()


def agent(body: Any, **options: Any) -> ok.Workflow:
    wf = ok.Workflow("agents", input=str)
    wf.step(**options)(body)
    return wf


async def walk(input: str, ctx: ok.Context) -> int:
    found = 0
    for word in input.split():
        found += await ctx.call(search, word)
    return found


def test_a_child_has_a_path_of_its_own_and_its_own_record() -> None:
    run = agent(walk).simulate("an owl", world=ok.World())
    assert run.result() == 5
    called = [e for e in run.log if e.kind == "called"]
    assert [e.body["input"] for e in called] == [{"query": "an"}, {"query": "owl"}]
    ids = [e.body["id"] for e in called]
    assert [e.node for e in run.log if e.kind == "completed"] == [*ids, "walk"]
    assert all(one.startswith("walk/search(") for one in ids)


def test_equal_calls_are_told_apart_by_their_order() -> None:
    run = agent(walk).simulate("owl owl", world=ok.World())
    first, second = [e.body["id"] for e in run.log if e.kind == "called"]
    assert second == first[:-1] + ",2)"


async def keyed(input: str, ctx: ok.Context) -> int:
    return int(await ctx.call(search, input, key="the/one")) + int(await ctx.call(search, input, key=7))


def test_a_key_tells_calls_apart() -> None:
    ids = [e.body["id"] for e in agent(keyed).simulate("owl", world=ok.World()).log if e.kind == "called"]
    assert ids[1] == "keyed/search(7)"
    assert "/" not in ids[0].removeprefix("keyed/")


@pytest.mark.parametrize("body", [walk, keyed])
def test_every_prefix_resumes_to_the_same_end_and_runs_no_finished_child_again(body: Any) -> None:
    wf = agent(body)
    assert every_prefix(wf, "an owl", world=ok.World()).ok
    program = prepare(wf.checked(), ok.World())
    run = simulate(program, dump_input(program, "an owl"))
    log = run.log()
    for cut in range(1, len(log)):
        RAN.clear()
        done = [e.body["id"] for e in log[:cut] if e.kind == "called"]
        finished = sum(e.kind == "completed" and e.node in done for e in log[:cut])
        continue_virtual(program, "again", 0, log[:cut])
        assert sum(RAN.values()) == (2 - finished if log[cut - 1].node != "" or cut == 1 else RAN.total())


def test_a_world_and_faults_address_a_child() -> None:
    wf = agent(walk)
    run = wf.simulate("an owl", world=ok.World({"walk/search": ok.fake(10, latency=5.0)}))
    assert (run.result(), run.log[-1].t) == (20, 10_000_000)
    assert every_prefix(wf, "an owl", world=ok.World({"walk/search": ok.fake(10, latency=5.0)})).ok


@pytest.mark.parametrize("durability", ["group", "memory"])
def test_a_crash_while_a_body_calls_is_no_error_of_the_body(durability: str) -> None:
    wf = agent(walk, retry=ok.Retry(2))
    whole = wf.simulate("an owl", world=ok.World()).log
    for record, event in enumerate(whole, 1):
        faults = ok.Faults(ok.faults.crash(after=record))
        run = wf.simulate("an owl", world=ok.World(), faults=faults, durability=durability)
        if durability == "group":
            assert run.log == whole, f"crash after {record}: {event}"
        elif record < len(whole):
            assert (run.status, len(run.log)) == ("orphaned", record)


async def tries(input: str, ctx: ok.Context) -> str:
    return str(await ctx.call(shaky, input))


def test_a_childs_failure_reaches_the_body_and_a_new_attempt_calls_anew() -> None:
    run = agent(tries, retry=ok.Retry(2)).simulate("a", world=ok.World())
    with pytest.raises(ok.RunError, match=r"tries~2/shaky\(\w+\) failed: ConnectionError: down"):
        run.result()
    assert len({e.body["id"] for e in run.log if e.kind == "called"}) == 2


async def gets_over(input: str, ctx: ok.Context) -> str:
    try:
        return str(await ctx.call(shaky, input))
    except ok.CallFailed as error:
        return f"over it: {error.transient}"


def test_a_body_may_get_over_a_failed_child_also_on_resume() -> None:
    wf = agent(gets_over)
    assert wf.simulate("a", world=ok.World()).result() == "over it: True"
    assert every_prefix(wf, "a", world=ok.World()).ok


def inner() -> ok.Workflow:
    wf = ok.Workflow("inner", input=str)

    @wf.step
    async def extract(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(1)
        return input.upper()

    @wf.step
    async def check(extract: str) -> Decision:
        return Decision(approve=True, note=extract)

    return wf


INNER = inner()


async def delegates(input: str, ctx: ok.Context) -> str:
    decision = await ctx.call(INNER, input)
    assert isinstance(decision, Decision)
    return decision.note


def test_a_workflow_is_called_and_its_result_has_its_type() -> None:
    wf = agent(delegates)
    run = wf.simulate("a", world=ok.World())
    assert run.result() == "A"
    assert [e.node.rpartition("/")[2] for e in run.log if e.kind == "started"] == ["delegates", "extract", "check"]
    assert every_prefix(wf, "a", world=ok.World()).ok


async def greedy(input: str, ctx: ok.Context) -> int:
    try:
        return int(await ctx.call(search, input)) + int(await ctx.call(search, input * 2))
    except BaseException:
        return -1


@pytest.mark.parametrize("body", [walk, greedy])
def test_a_crash_after_a_call_is_no_failure_of_the_body(body: Any) -> None:
    wf = agent(body, retry=ok.Retry(2))
    wanted = wf.simulate("owl", world=ok.World())
    for record in range(1, len(wanted.log) + 1):
        crash = ok.Faults(ok.faults.crash(after=record))
        with pytest.raises(ok.RunCrashed):
            wf.simulate("owl", world=ok.World(), faults=crash).result()
        again = wf.simulate("owl", world=ok.World(), faults=crash, durability="group")
        assert again.result() == wanted.result(), f"crash after {record}"
        assert canonical_digest(again.log) == canonical_digest(wanted.log), f"crash after {record}"


def test_a_store_that_breaks_at_any_record_of_a_body_that_calls_stops_the_run_there() -> None:
    program = prepare(agent(greedy, retry=ok.Retry(2)).checked(), ok.World())
    whole = Drive(program).start("owl").run().log
    for room in range(len(whole)):
        drive = Drive(program, journal=Broken(room)).start("owl").run()
        assert isinstance(drive.execution.error, ok.StoreWriteError), f"room for {room}"
        assert drive.log == whole[:room]
        assert not drive.sleepers()


async def deep(input: str, ctx: ok.Context) -> int:
    return 1 + int(await ctx.call(walk, input))


def test_children_call_children() -> None:
    wf = agent(deep)
    assert wf.simulate("an owl", world=ok.World()).result() == 6
    assert every_prefix(wf, "an owl", world=ok.World()).ok


async def asks(input: str, ctx: ok.Context) -> str:
    decision = await ctx.ask(answer=Decision, show=input)
    if ctx.attempt == 1:
        raise ConnectionError("after the answer")
    return "yes" if decision and decision.approve else "no"


def test_nobody_is_asked_the_same_thing_twice() -> None:
    wf = agent(asks, retry=ok.Retry(2), timeout=5.0)
    world = ok.World({"asks/ask": ok.person(3600.0, approve=1.0)})
    run = wf.simulate("a letter", world=world)
    assert run.result() == "yes"  # and the time-out of 5 s stood still for an hour
    assert [e.kind for e in run.log if e.kind in ("asked", "answered")] == ["asked", "answered"]
    assert every_prefix(wf, "a letter", world=world).ok


async def asks_slowly(input: str, ctx: ok.Context) -> str:
    await ctx.sleep(ctx.leg)
    said = await ctx.ask(show=input)
    await ctx.sleep(3 - 2 * ctx.leg)
    return f"leg {ctx.leg} heard {said}"


@pytest.mark.parametrize("after", [1.0, 3.0])
def test_two_legs_ask_one_question_and_both_hear_the_answer(after: float) -> None:
    wf = agent(asks_slowly, hedge=after)
    world = ok.World({"asks_slowly/ask": ok.person(60.0, approve=1.0)})
    run = wf.simulate("a letter", world=world)
    assert run.result() == "leg 1 heard True"
    assert [e.kind for e in run.log if e.kind in ("asked", "answered")] == ["asked", "answered"]
    assert every_prefix(wf, "a letter", world=world).ok


async def asks_and_turns_away(input: str, ctx: ok.Context) -> str:
    asking = ctx.ask(show=input)
    if ctx.attempt == 1:
        asking.send(None)  # as a live body does that leaves a gather by an error
        asking.close()
        raise ConnectionError("before the answer")
    return str(await asking)


def test_a_question_that_an_attempt_has_left_open_is_waited_for_by_the_next() -> None:
    wf = agent(asks_and_turns_away, retry=ok.Retry(2, wait=ok.backoff(base=5, jitter=None)))
    for delay in (60.0, 2.0):
        world = ok.World({"asks_and_turns_away/ask": ok.person(delay, approve=1.0)})
        run = wf.simulate("a letter", world=world)
        assert run.result() == "True"
        assert [e.kind for e in run.log if e.kind in ("asked", "answered")] == ["asked", "answered"]
        assert run.log[-1].t == max(delay, 5.0) * 1e6
        assert every_prefix(wf, "a letter", world=world).ok


async def slow_after(input: str, ctx: ok.Context) -> str:
    await ctx.ask(show=input)
    await ctx.sleep(6)
    return "late"


def test_the_time_out_goes_on_after_the_answer() -> None:
    wf = agent(slow_after, timeout=5.0)
    run = wf.simulate("a", world=ok.World({"slow_after/ask": ok.person(100.0, approve=1.0)}))
    with pytest.raises(ok.RunError, match="AttemptTimeout"):
        run.result()
    assert run.log[-1].t == 105_000_000


def test_a_question_without_an_answer_in_time_gives_none() -> None:
    async def waits(input: str, ctx: ok.Context) -> str:
        return str(await ctx.ask(show=input, timeout=60))

    run = agent(waits).simulate("a", world=ok.World({"waits/ask": ok.person(1.0, approve=1.0, absent=1.0)}))
    assert run.result() == "None"
    with pytest.raises(ok.SimulationError, match="asks a person"):
        agent(waits).simulate("a", world=ok.World()).result()


def test_what_the_body_no_longer_asks_for_is_a_mismatch() -> None:
    words = ["an", "owl"]

    async def fickle(input: str, ctx: ok.Context) -> int:
        return int(await ctx.call(search, words[0]))

    wf = agent(fickle)
    program = prepare(wf.checked(), ok.World())
    log = simulate(program, dump_input(program, "x")).log()
    cut = next(i for i, e in enumerate(log) if e.kind == "called") + 1
    words.reverse()
    again = continue_virtual_error(program, log[:cut])
    assert isinstance(again, ok.ReplayMismatch)
    assert "'query': 'an'" in str(again)
    assert "fickle/search(" in str(again).partition("asked for")[2]


def continue_virtual_error(program: Any, log: Any) -> BaseException | None:
    try:
        return continue_virtual(program, "again", 0, log).error
    except ok.OrchkitError as error:
        return error


def test_a_child_writes_to_the_shared_context_with_its_caller() -> None:
    async def note(text: str, ctx: ok.Context) -> int:
        ctx.update(notes=[text])
        return len(ctx.shared.notes)

    async def writer(input: str, ctx: ok.Context) -> list[int]:
        ctx.update(notes=["mine"])
        return [await ctx.call(note, "one"), await ctx.call(note, "two"), len(ctx.shared.notes)]

    wf = agent(writer)
    wf.context(Notes, merge={"notes": ok.append})
    run = wf.simulate("a", world=ok.World())
    assert run.result() == [2, 3, 3]
    assert run.shared.notes == ["mine", "one", "two"]
    assert every_prefix(wf, "a", world=ok.World()).ok


async def gathers(input: str, ctx: ok.Context) -> int:
    return sum(await asyncio.gather(*(ctx.call(search, word) for word in input.split())))


async def quick(query: str) -> int:
    return len(query)


async def gathers_quickly(input: str, ctx: ok.Context) -> int:
    return sum(await asyncio.gather(*(ctx.call(quick, word) for word in input.split())))


def test_live_children_run_side_by_side() -> None:
    run = agent(gathers_quickly).start("an owl and a cat", durability="memory")
    assert run.result(timeout=30) == 12


async def asks_live(input: str, ctx: ok.Context) -> str:
    first = await ctx.call(quick, input)
    return f"{first} {await ctx.ask(show=input)}"


def test_a_live_question_is_answered_after_a_restart(tmp_path: Path) -> None:
    wf = agent(asks_live)
    with ok.open(tmp_path / "lab.duckdb") as store:
        run = wf.start("an owl", store=store).wait_settled(timeout=30)
        assert run.status == "waiting"
    with ok.open(tmp_path / "lab.duckdb") as store:
        run = store.resume(run.id, wf).wait_settled(timeout=30)
        (name,) = run.pending()
        run.answer(name, True, by="dana")
        assert run.result(timeout=30) == "6 True"
        assert run.events.kind.tolist().count("called") == 2


def test_a_cancelled_attempt_leaves_no_child_at_work() -> None:
    wf = agent(walk, timeout=3.0)
    run = wf.simulate("an owl", world=ok.World())
    assert run.status == "failed"
    started = [(e.node, e.attempt) for e in run.log if e.kind == "started"]
    ended = [(e.node, e.attempt) for e in run.log if e.kind in ("completed", "failed", "cancelled") and e.attempt]
    assert sorted(started) == sorted(ended)


def test_arguments_that_do_not_fit_are_refused_in_the_body() -> None:
    async def wrong(input: str, ctx: ok.Context) -> Any:
        return await ctx.call(search, 1, 2)

    with pytest.raises(ok.RunError, match=r"ctx\.call\(search\): it takes query"):
        agent(wrong).simulate("a", world=ok.World()).result()


def test_a_step_outside_any_graph_has_policies_of_its_own() -> None:
    tries: list[int] = []

    @ok.step(retry=3, timeout=5.0, provider="llm:a")
    async def flaky(query: str, ctx: ok.Context) -> str:
        tries.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ConnectionError("down")
        return query

    async def calls(input: str, ctx: ok.Context) -> str:
        return str(await ctx.call(flaky, input))

    wf = agent(calls)
    assert wf.simulate("a", world=ok.World()).result() == "a"
    assert tries == [1, 2, 3]
    assert every_prefix(wf, "a", world=ok.World()).ok
    with pytest.raises(ok.DefinitionError, match="after= makes sense for a node"):
        ok.step(after="x")(lambda: None)

"""What users of other engines suffered in parallel branches and forks; test_table.py says from which threads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import orchkit as ok

WAIT = 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def at(run: ok.Run, kind: str, node: str) -> float:
    (t,) = (event.t for event in run.log if (event.kind, event.node) == (kind, node))
    return t / 1e6


def test_a_slow_sibling_delays_no_branch_that_does_not_need_it() -> None:
    wf = ok.Workflow("branches", input=str)

    @wf.step
    async def slow(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(100)
        return "slow"

    @wf.step
    async def fast(input: str) -> str:
        return "fast"

    @wf.step
    async def after_fast(fast: str) -> str:
        return fast

    @wf.step
    async def both(slow: str, after_fast: str) -> str:
        return f"{slow} and {after_fast}"

    run = wf.simulate("x", world=ok.World())
    assert (at(run, "started", "after_fast"), at(run, "completed", "after_fast")) == (0.0, 0.0)
    assert at(run, "started", "both") == 100.0
    assert run.result() == "slow and fast"


def broken(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("broken", input=str)

    @wf.step(**options)
    async def shaky(input: str) -> str:
        raise ConnectionError("handled")

    return wf


def sibling(wf: ok.Workflow) -> None:
    @wf.step
    async def sound(input: Any, ctx: ok.Context) -> str:
        await ctx.sleep(5)
        return "sound"


def alone(**options: Any) -> tuple[ok.Workflow, Any]:
    return broken(**options), "x"


def beside(**options: Any) -> tuple[ok.Workflow, Any]:
    wf = broken(**options)
    sibling(wf)
    return wf, "x"


def in_a_map(**options: Any) -> tuple[ok.Workflow, Any]:
    wf = ok.Workflow("map", input=list[str])
    sibling(wf)

    @wf.map(over="input", **options)
    async def shaky(item: str, ctx: ok.Context) -> str:
        await ctx.sleep(1)
        if item == "bad":
            raise ConnectionError("handled")
        return item

    return wf, ["good", "bad", "better"]


def in_a_workflow(**options: Any) -> tuple[ok.Workflow, Any]:
    wf = ok.Workflow("outer", input=str)
    sibling(wf)
    wf.call("inner", broken(**options))
    return wf, "x"


def in_the_items_of_a_map(**options: Any) -> tuple[ok.Workflow, Any]:
    wf = ok.Workflow("outer", input=list[str])
    sibling(wf)
    wf.map("each", over="input", body=broken(**options))
    return wf, ["a", "b"]


PLACES = [alone, beside, in_a_map, in_a_workflow, in_the_items_of_a_map]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_an_error_that_a_fallback_handled_is_not_raised_again(place: Any) -> None:
    wf, value = place(fallback="canned")
    run = wf.simulate(value, world=ok.World())
    assert "canned" in str(run.result())
    assert run.status == "degraded"
    assert "cancelled" not in {event.kind for event in run.log}
    if place is not alone:
        assert at(run, "completed", "sound") == 5.0


@pytest.mark.parametrize("place", [beside, in_a_map], ids=lambda place: place.__name__)
def test_an_error_that_was_to_be_skipped_does_not_end_the_siblings(place: Any) -> None:
    wf, value = place(on_error="skip")
    run = wf.simulate(value, world=ok.World())
    wanted = {"sound": "sound"} if place is beside else {"sound": "sound", "shaky": ["good", "better"]}
    assert (run.result(), run.status) == (wanted, "degraded")


def gathering(order: list[str], ran: Counter[str]) -> ok.Workflow:
    """Call two steps side by side, in an order that may be another the next time."""
    wf = ok.Workflow("gathering", input=str)

    async def price(item: str) -> str:
        ran["price"] += 1
        return f"price of {item}"

    async def stock(item: str) -> str:
        ran["stock"] += 1
        return f"stock of {item}"

    callees = {"price": price, "stock": stock}

    @wf.step(version="1")
    async def agent(input: str, ctx: ok.Context) -> dict[str, str]:
        found = await asyncio.gather(*(ctx.call(callees[name], input) for name in order))
        return dict(zip(order, found, strict=True))

    return wf


def test_calls_made_in_another_order_on_recovery_are_not_mixed_up(store: ok.Store) -> None:
    order, ran = ["price", "stock"], Counter[str]()
    whole = gathering(order, ran).start("tea", store=store)
    assert whole.result(WAIT) == {"price": "price of tea", "stock": "stock of tea"}
    for record in range(1, len(whole.log)):
        order[:] = ["price", "stock"]
        wf = gathering(order, ran)
        run = wf.start("tea", store=store, faults=ok.Faults(ok.faults.crash(after=record)))
        with pytest.raises(ok.RunCrashed):
            run.result(WAIT)
        done = {event.node.split("(")[0][6:] for event in run.log if event.kind == "completed" and "/" in event.node}
        order.reverse()
        ran.clear()
        assert store.resume(run.id, wf).result(WAIT) == {"price": "price of tea", "stock": "stock of tea"}
        assert not done & set(ran), f"crash after {record}"


def enriching(ran: list[str]) -> ok.Workflow:
    inner = ok.Workflow("inner", input=str)

    @inner.step
    async def extract(input: str, ctx: ok.Context) -> str:
        ran.append(ctx.node)
        return input.upper()

    @inner.step
    async def check(extract: str, ctx: ok.Context) -> str:
        ran.append(ctx.node)
        return f"<{extract}>"

    wf = ok.Workflow("outer", input=list[str])
    wf.map("enrich", over="input", body=inner)
    wf.approval("review", answer=bool, show="enrich")

    @wf.step
    async def send(enrich: list[str], review: bool, ctx: ok.Context) -> str:
        ran.append(ctx.node)
        return f"sent {enrich}"

    return wf


def test_going_back_into_a_workflow_within_does_not_run_all_of_it_again(store: ok.Store) -> None:
    ran: list[str] = []
    wf = enriching(ran)
    run = wf.start(["a", "b"], store=store).wait_settled(WAIT)
    paths = ["enrich[0]/extract", "enrich[0]/check", "enrich[1]/extract", "enrich[1]/check"]
    assert sorted(ran) == sorted(paths)
    run.suspend()
    run = store.resume(run.id, wf).wait_settled(WAIT)  # a path is the same in every process
    ran.clear()
    run.retry("enrich[1]/check", by="lee")
    run.wait_settled(WAIT)
    assert ran == ["enrich[1]/check"]
    run.override("enrich[1]/extract", "Z", by="lee")
    assert run.wait_settled(WAIT).question("review") == ["<A>", "<Z>"]
    assert ran == ["enrich[1]/check"] * 2
    run.answer("review", True)
    assert run.result(WAIT) == "sent ['<A>', '<Z>']"


def test_a_fork_within_a_workflow_within_keeps_the_rest_of_it(store: ok.Store) -> None:
    ran: list[str] = []
    wf = enriching(ran)
    run = wf.start(["a", "b"], store=store).wait_settled(WAIT)
    run.answer("review", True)
    run.result(WAIT)
    before = run.log
    ran.clear()
    new = run.fork("enrich[1]/extract").wait_settled(WAIT)
    assert new.plan[["node", "why"]].values.tolist() == [
        ["enrich[1]/extract", "at"], ["enrich[1]/check", "follows"], ["review", "follows"], ["send", "follows"],
    ]  # fmt: skip
    assert new.go().wait_settled(WAIT).question("review") == ["<A>", "<B>"]
    assert ran == ["enrich[1]/extract", "enrich[1]/check"]
    new.answer("review", True)
    assert new.result(WAIT) == "sent ['<A>', '<B>']"
    other = run.fork(set={"enrich[0]/extract": "Z"}).go().wait_settled(WAIT)
    assert other.question("review") == ["<Z>", "<B>"]
    assert ran == ["enrich[1]/extract", "enrich[1]/check", "send", "enrich[0]/check"]
    assert run.log == before


def test_a_fork_behind_a_workflow_within_keeps_all_of_it(store: ok.Store) -> None:
    ran: list[str] = []
    wf = enriching(ran)
    run = wf.start(["a", "b"], store=store).wait_settled(WAIT)
    run.answer("review", True)
    assert run.result(WAIT) == "sent ['<A>', '<B>']"
    ran.clear()
    new = run.fork("send")
    assert new.result(WAIT) == "sent ['<A>', '<B>']"
    assert ran == ["send"]


def test_each_fork_has_an_id_of_its_own_and_its_ancestors_stay_as_they_were(store: ok.Store) -> None:
    wf = ok.Workflow("chain", input=str)

    @wf.step
    async def first(input: str) -> str:
        return input

    @wf.step
    async def second(first: str) -> str:
        return f"{first}!"

    run = wf.start("a", store=store)
    assert run.result(WAIT) == "a!"
    line, logs = [run], [run.log]
    for value in "bcd":
        line.append(line[-1].fork(set={"first": value}))
        assert line[-1].result(WAIT) == f"{value}!"
        logs.append(line[-1].log)
        assert [one.log for one in line] == logs
        assert [store.run(one.id).log for one in line] == logs
    ids = [one.id for one in line]
    assert len(set(ids)) == 4
    runs = store.runs()
    assert runs.run.tolist() == ids
    assert runs.parent.fillna("").tolist() == ["", *ids[:-1]]


def test_looking_back_calls_no_model_and_a_fork_says_first_what_it_will_call(store: ok.Store) -> None:
    wf, calls = ok.Workflow("models", input=str), Counter[str]()

    @wf.step
    async def plan(input: str) -> str:
        calls["plan"] += 1
        return f"plan for {input}"

    @wf.step
    async def write(plan: str) -> str:
        calls["write"] += 1
        return f"{plan}, written"

    run = wf.start("x", store=store)
    run.result(WAIT)
    calls.clear()
    values = [moment.values for moment in run.replay()]
    assert values[-1] == {"plan": "plan for x", "write": "plan for x, written"}
    assert not calls
    new = run.fork("write")
    assert new.plan.node.tolist() == ["write"]
    assert not calls
    new.result(WAIT)
    assert calls == {"write": 1}

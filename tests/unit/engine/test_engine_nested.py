"""Workflows within workflows: calls, loops and maps with a body, their policies, their failures, and every prefix."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.testing import every_prefix


class Case(BaseModel):
    id: int


class Notes(BaseModel):
    notes: list[str] = []


def inner(*, fails: int = 0, on_error: str = "fail") -> ok.Workflow:
    wf = ok.Workflow("inner", input=str)

    @wf.step
    async def extract(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(2)
        return input.upper()

    @wf.step(on_error=on_error)
    async def check(extract: str, ctx: ok.Context) -> str:
        await ctx.sleep(1)
        if ctx.node.count("~") == 0 and fails:
            raise ConnectionError("down")
        return f"<{extract}>"

    return wf


def outer(body: ok.Workflow, **options: Any) -> ok.Workflow:
    wf = ok.Workflow("outer", input=str)

    @wf.step
    def plan(input: str) -> str:
        return input + "!"

    wf.call("enrich", body, input="plan", **options)

    @wf.step
    def send(enrich: str) -> str:
        return f"sent {enrich}"

    return wf


def events(run: ok.Run) -> list[tuple[str, str, int]]:
    return [(e.kind, e.node, e.t // 1_000_000) for e in run.log if e.node]


def test_a_called_workflow_runs_under_its_own_paths() -> None:
    run = outer(inner()).simulate("a", world=ok.World())
    assert run.result() == "sent <A!>"
    assert events(run) == [
        ("started", "plan", 0),
        ("completed", "plan", 0),
        ("started", "enrich", 0),
        ("started", "enrich/extract", 0),
        ("completed", "enrich/extract", 2),
        ("started", "enrich/check", 2),
        ("completed", "enrich/check", 3),
        ("completed", "enrich", 3),
        ("settled", "enrich", 3),
        ("started", "send", 3),
        ("completed", "send", 3),
    ]


def test_a_failure_inside_fails_the_call_and_says_where() -> None:
    run = outer(inner(fails=9)).simulate("a", world=ok.World())
    with pytest.raises(ok.RunError, match=r"enrich/check failed: ConnectionError: down") as caught:
        run.result()
    assert caught.value.node == "enrich/check"
    assert isinstance(caught.value.__cause__, ConnectionError)
    settled = [e for e in run.log if e.kind == "settled" and e.status == "failed"]
    assert [e.node for e in settled] == ["enrich/check", "enrich"]


def test_a_retry_of_a_call_goes_through_it_anew() -> None:
    wf = outer(inner(fails=1), retry=ok.Retry(2, wait=ok.backoff(base=5, jitter=None)))
    run = wf.simulate("a", world=ok.World())
    assert run.result() == "sent <A!>"
    assert [e.node for e in run.log if e.kind == "started" and "/" in e.node] == [
        "enrich/extract",
        "enrich/check",
        "enrich~2/extract",
        "enrich~2/check",
    ]


def test_a_timeout_of_a_call_cancels_what_is_open_inside() -> None:
    run = outer(inner(), timeout=2.5, fallback="none").simulate("a", world=ok.World())
    assert run.result() == "sent none"
    assert run.status == "degraded"
    assert [(e.kind, e.status) for e in run.log if e.node == "enrich/check"] == [("started", ""), ("cancelled", "")]
    assert [(e.kind, e.status) for e in run.log if e.node == "enrich"][1:3] == [
        ("failed", "timeout"),
        ("degraded", "value"),
    ]


def test_a_skip_inside_degrades_the_call() -> None:
    body = inner()

    @body.step(on_error="skip")
    def extra(input: str) -> str:
        raise ValueError("no")

    body._output = "check"
    run = outer(body).simulate("a", world=ok.World())
    assert (run.result(), run.status) == ("sent <A!>", "degraded")
    assert [e.status for e in run.log if e.node == "enrich" and e.kind in ("degraded", "settled")] == [
        "inside",
        "degraded",
    ]


def test_calls_nest_to_any_depth() -> None:
    middle = ok.Workflow("middle", input=str)
    middle.call("deep", inner())
    wf = outer(middle)
    run = wf.simulate("a", world=ok.World())
    assert run.result() == "sent <A!>"
    assert "enrich/deep/extract" in {e.node for e in run.log}
    assert every_prefix(wf, "a", world=ok.World()).ok


def test_a_workflow_that_holds_itself_is_refused() -> None:
    wf = ok.Workflow("snake", input=str)
    wf.call("tail", wf)
    with pytest.raises(ok.GraphError, match="holds itself"):
        wf.checked()


def test_what_is_wrong_inside_is_told_with_its_place() -> None:
    body = ok.Workflow("inner", input=str)

    @body.step
    def check(extarct: str) -> str: ...

    with pytest.raises(ok.GraphError, match="in call 'enrich': 'check' has a parameter 'extarct'"):
        outer(body).checked()


def test_an_input_that_does_not_fit_fails_the_attempt() -> None:
    body = ok.Workflow("inner", input=Case)

    @body.step
    def read(input: Case) -> int:
        return input.id

    wf = ok.Workflow("outer", input=dict)
    wf.call("enrich", body)
    assert wf.simulate({"id": 3}, world=ok.World()).result() == 3
    with pytest.raises(ok.RunError, match="input does not fit"):
        wf.simulate({"id": "x"}, world=ok.World()).result()


def test_an_input_of_several_fields() -> None:
    body = ok.Workflow("inner", input=dict)

    @body.step
    def read(input: dict) -> str:
        return f"{input['who']} {input['what']}"

    wf = ok.Workflow("outer", input=str)

    @wf.step
    def who(input: str) -> str:
        return "dana"

    wf.call("enrich", body, input={"who": "who", "what": "input"})
    assert wf.simulate("asks", world=ok.World()).result() == "dana asks"


# Loops


def polish(until: Any, *, max: int = 3, then: Any = "last") -> ok.Workflow:
    body = ok.Workflow("round", input=str)

    @body.step
    async def critic(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(1)
        return input + "."

    wf = ok.Workflow("outer", input=str)

    @wf.step
    def draft(input: str) -> str:
        return input

    wf.loop("polish", body=body, input="draft", until=until, max=max, then=then)
    return wf


def dots(n: int) -> Any:
    def enough(result: str, round: int) -> bool:
        return result.count(".") >= n

    return enough


def test_a_loop_goes_on_until_it_is_good_enough() -> None:
    run = polish(dots(2)).simulate("a", world=ok.World())
    assert (run.result(), run.status) == ("a..", "completed")
    judged = [(e.status, e.body["round"], e.t // 1_000_000) for e in run.log if e.kind == "judged"]
    assert judged == [("again", 1, 1), ("done", 2, 2)]
    assert [e.node for e in run.log if e.kind == "started"] == ["draft", "polish", "polish#1/critic", "polish#2/critic"]


def test_the_last_round_counts_and_is_degraded() -> None:
    run = polish(dots(9)).simulate("a", world=ok.World())
    assert (run.result(), run.status) == ("a...", "degraded")


def test_or_the_loop_fails() -> None:
    run = polish(dots(9), then="fail").simulate("a", world=ok.World())
    with pytest.raises(ok.RunError, match="LoopExhausted: 'polish' was not good enough after 3 rounds"):
        run.result()


def test_an_until_that_raises_fails_the_attempt() -> None:
    def broken(result: str, round: int) -> bool:
        raise KeyError("score")

    with pytest.raises(ok.RunError, match="until= of round 1"):
        polish(broken).simulate("a", world=ok.World()).result()


@pytest.mark.parametrize(("n", "then"), [(1, "last"), (2, "last"), (3, "last"), (9, "last"), (9, "fail")])
def test_every_prefix_of_a_loop_resumes_to_the_same_end(n: int, then: str) -> None:
    report = every_prefix(
        polish(dots(n), then=then), "a", world=ok.World({"polish/critic": ok.fake(next_dots(), latency=1)})
    )
    assert report.ok, "\n".join(report.differences)


def next_dots() -> Any:
    def value(inputs: dict[str, Any], rng: Any) -> str:
        return inputs["input"] + "."

    return value


@pytest.mark.parametrize(("n", "then"), [(1, "last"), (2, "last"), (9, "last"), (9, "fail")])
def test_every_prefix_of_a_loop_that_writes_to_the_shared_context_resumes_to_the_same_end(n: int, then: Any) -> None:
    body = ok.Workflow("round", input=str)

    @body.step
    async def critic(input: str, ctx: ok.Context) -> str:
        ctx.update(notes=[input])
        await ctx.sleep(1)
        return input + "."

    wf = ok.Workflow("outer", input=str)
    wf.context(Notes, merge={"notes": ok.append})
    wf.loop("polish", body=body, until=dots(n), then=then)

    @wf.step
    async def beside(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(1.5)
        return input

    report = every_prefix(wf, "a", world=ok.World())
    assert report.ok, "\n".join(report.differences)
    if then == "last":
        assert wf.simulate("a", world=ok.World()).shared.notes == ["a", "a.", "a.."][:n]


# Maps with a body


def mapped(*, limit: int | None = None, **options: Any) -> ok.Workflow:
    wf = ok.Workflow("outer", input=list[str])

    @wf.step
    def plan(input: list[str]) -> list[str]:
        return input

    wf.map("lookup", over="plan", body=inner(), limit=limit, **options)
    return wf


def test_each_item_goes_through_the_body() -> None:
    run = mapped().simulate(["a", "b"], world=ok.World())
    assert run.result() == ["<A>", "<B>"]
    assert [e.node for e in run.log if e.kind == "started" and "/" in e.node] == [
        "lookup[0]/extract",
        "lookup[1]/extract",
        "lookup[0]/check",
        "lookup[1]/check",
    ]


def test_an_empty_list_goes_through_nothing() -> None:
    assert mapped().simulate([], world=ok.World()).result() == []


def test_items_do_not_wait_for_each_other() -> None:
    body = ok.Workflow("body", input=str)

    @body.step
    async def extract(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(100 if input == "a" else 1)
        return input

    @body.step
    async def check(extract: str) -> str:
        return f"<{extract}>"

    wf = ok.Workflow("items", input=list[str])
    wf.map("lookup", over="input", body=body)
    run = wf.simulate(["a", "b", "c"], world=ok.World())
    assert run.result() == ["<a>", "<b>", "<c>"]
    started = {e.node: e.t for e in run.log if e.kind == "started"}
    assert [started[f"lookup[{i}]/check"] for i in range(3)] == [100_000_000, 1_000_000, 1_000_000]


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_every_prefix_of_a_map_with_a_body_resumes_to_the_same_end(limit: int | None) -> None:
    world = ok.World(
        {
            "lookup/extract": ok.fake("x", latency=ok.dist.lognormal(p50=2, sigma=0.8), error=0.3),
            "lookup/check": ok.fake("y", latency=1.0, error=0.2),
        }
    )
    wf = mapped(limit=limit, on_error="skip", retry=ok.Retry(2), timeout=8.0)
    for seed in range(6):
        report = every_prefix(wf, ["a", "b", "c"], world=world, seed=seed)
        assert report.ok, "\n".join(report.differences)


@pytest.mark.parametrize("seed", range(4))
def test_every_prefix_of_a_call_with_policies_resumes_to_the_same_end(seed: int) -> None:
    world = ok.World(
        {
            "enrich/extract": ok.fake("x", latency=ok.dist.lognormal(p50=2, sigma=0.8), error=0.3),
            "enrich/check": ok.fake("y", latency=1.0, error=0.4),
            "plan": ok.fake("p"),
            "send": ok.fake("s"),
        }
    )
    wf = outer(inner(), retry=ok.Retry(3), timeout=5.0, fallback="none")
    report = every_prefix(wf, "a", world=world, seed=seed)
    assert report.ok, "\n".join(report.differences)
    assert report.exact == report.points


def test_faults_and_worlds_address_what_is_inside() -> None:
    wf = outer(inner())
    storm = ok.Faults(ok.faults.fail("enrich/check", first=1))
    with pytest.raises(ok.RunError, match="enrich/check"):
        wf.simulate("a", world=ok.World(), faults=storm).result()
    whole = wf.simulate("a", world=ok.World(enrich=ok.fake("E", latency=4.0)))
    assert whole.result() == "sent E"
    assert not any("/" in e.node for e in whole.log)
    with pytest.raises(ok.SimulationError, match="enrich/chekc"):
        wf.simulate("a", world=ok.World({"enrich/chekc": ok.fake("x")}))


def test_an_effect_inside_has_one_key_whatever_the_attempt() -> None:
    body = ok.Workflow("inner", input=str)
    keys: list[str] = []

    @body.step(effect=True)
    def pay(input: str, ctx: ok.Context) -> str:
        keys.append(ctx.idempotency_key.partition(":")[2])
        if len(keys) == 1:
            raise ConnectionError("down")
        return "paid"

    wf = ok.Workflow("outer", input=list[str])
    wf.map("lookup", over="input", body=body, retry=2)
    with pytest.raises(ok.SimulationError, match="'lookup/pay' has an effect"):
        wf.simulate(["a"], world=ok.World())
    assert wf.simulate(["a"], world=ok.World({"lookup/pay": ok.real})).result() == ["paid"]
    assert keys == ["lookup[0]/pay", "lookup[0]/pay"]


def test_the_shared_context_reaches_into_a_call_and_out_of_it() -> None:
    body = ok.Workflow("inner", input=str)

    @body.step
    def read(input: str, ctx: ok.Context) -> str:
        ctx.update(notes=["inside"])
        return ",".join(ctx.shared.notes)

    wf = ok.Workflow("outer", input=str)
    wf.context(Notes, merge={"notes": ok.append})

    @wf.step
    def plan(input: str, ctx: ok.Context) -> str:
        ctx.update(notes=["plan"])
        return input

    wf.call("enrich", body, input="plan")

    @wf.step
    def send(enrich: str, ctx: ok.Context) -> str:
        return f"{enrich} / {','.join(ctx.shared.notes)}"

    run = wf.simulate("a", world=ok.World())
    assert run.result() == "plan,inside / plan,inside"
    assert run.shared.notes == ["plan", "inside"]
    assert every_prefix(wf, "a", world=ok.World()).ok


def test_a_question_inside_is_awaited_while_the_rest_goes_on() -> None:
    body = ok.Workflow("inner", input=str)
    body.approval("review", answer=bool, show="input")

    wf = ok.Workflow("outer", input=str)
    wf.call("enrich", body)

    @wf.step
    def other(input: str) -> str:
        return "other"

    run = wf.start("a", durability="memory").wait_settled(timeout=30)
    assert (run.status, run.pending()) == ("waiting", ["enrich/review"])
    run.answer("review", True, by="dana")
    assert run.result(timeout=30) == {"enrich": True, "other": "other"}


def test_threads_that_check_one_workflow_at_once_do_not_take_it_for_a_snake() -> None:
    gate = threading.Barrier(8)

    def look(wf: ok.Workflow) -> int:
        gate.wait(30)
        return len(wf.checked().nodes)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            wf = outer(inner())
            assert set(pool.map(look, [wf] * 8)) == {3}

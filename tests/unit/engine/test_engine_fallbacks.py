"""Steps that stand in for a node that has failed: what they were made with holds, or is refused; nothing is dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import orchkit as ok
from orchkit.draw._of import describe_policy
from orchkit.runs.fingerprint import fingerprints
from orchkit.testing import every_prefix
from tests.support.engines import check_log

WAIT = 30.0


def one(fallback: Any, **options: Any) -> ok.Workflow:
    wf = ok.Workflow("one", input=str)

    @wf.step(fallback=fallback, **options)
    async def draft(input: str) -> str:
        raise ConnectionError("down")

    return wf


def spare(input: str, error: Exception) -> str:
    return f"{input} without: {error}"


def attempts(run: ok.Run) -> list[tuple[str, int, str]]:
    return [(e.node, e.attempt, e.status) for e in run.log if e.kind in ("completed", "failed", "rejected")]


# Time-outs and retries


def test_a_fallback_that_hangs_is_given_up_after_its_own_time_out_live() -> None:
    @ok.step(timeout=0.05)
    async def other(input: str) -> str:
        await asyncio.Event().wait()
        return input

    run = one(ok.Fallback(other, "sorry")).start("a", durability="memory")
    assert run.result(WAIT) == "sorry"
    assert attempts(run) == [("draft", 1, "error"), ("draft/fallback:other", 1, "timeout")]


def test_a_fallback_is_tried_as_often_as_its_own_retry_says_and_told_the_same_error_each_time() -> None:
    told = []

    def flaky(input: str, error: Exception) -> str:
        told.append(str(error))
        if len(told) < 3:
            raise TimeoutError("not yet")
        return "at last"

    again = ok.step(retry=ok.Retry(3, wait=ok.backoff(base=0.001)))(flaky)
    run = one(again).start("a", durability="memory")
    assert (run.result(WAIT), run.status) == ("at last", "degraded")
    assert len(told) == 3
    assert len(set(told)) == 1
    assert "down" in told[0]
    path = "draft/fallback:flaky"
    assert attempts(run) == [("draft", 1, "error"), (path, 1, "error"), (path, 2, "error"), (path, 3, "ok")]
    assert [e.node for e in run.log if e.kind == "waiting"] == [path, path]


def test_a_plain_function_has_none_of_its_nodes_policies() -> None:
    world = ok.World({"draft/fallback:spare": ok.fake("s", latency=9.0, error=1.0)}, draft=ok.fake("x", error=1.0))
    wf = one(spare, retry=ok.Retry(2, wait=ok.backoff(base=0.0)), timeout=5.0)
    run = wf.simulate("a", world=world)
    assert attempts(run) == [("draft", 1, "error"), ("draft", 2, "error"), ("draft/fallback:spare", 1, "error")]
    assert run.log[-1].t == 9_000_000


@pytest.mark.parametrize("seed", range(6))
def test_every_prefix_resumes_to_the_same_log(seed: int) -> None:
    @ok.step(retry=ok.Retry(3), timeout=5.0, breaker=ok.Breaker(2, reset=6.0), bulkhead=1, rate_limit=ok.RateLimit(1.0))
    def other(input: list[str], error: Exception) -> str: ...

    wf = ok.Workflow("many", input=list[str])

    @wf.map(over="input", hedge=2.0, retry=2, provider="a", fallback=ok.Fallback(other, "none"))
    async def draft(item: str) -> str: ...

    slow = ok.dist.lognormal(p50=3, sigma=0.8)
    other_model = {"draft/fallback:other": ok.fake("t", latency=slow, error=0.5)}
    world = ok.World(other_model, draft=ok.fake("x", latency=slow, error=0.8))
    run = wf.simulate(list("abcde"), world=world, seed=seed)
    check_log(run.log)
    assert any(event.node == "draft/fallback:other" for event in run.log)
    report = every_prefix(wf, list("abcde"), world=world, seed=seed)
    assert report.ok, "\n".join(report.differences[:3])
    assert report.exact == report.points


# Gates, providers, tags


def test_a_fallback_shares_what_its_provider_shares() -> None:
    second = ok.step(provider="b", breaker=ok.Breaker(1, reset=60.0))(spare)
    wf = ok.Workflow("two", input=str)

    @wf.step(provider="b", breaker=ok.Breaker(1, reset=60.0), on_error="skip")
    def first(input: str) -> str: ...

    @wf.step(after="first", provider="a", fallback=ok.Fallback(second, "sorry"))
    def draft(input: str) -> str: ...

    world = ok.World(
        {"draft/fallback:spare": ok.fake("z")}, first=ok.fake("x", error=1.0), draft=ok.fake("y", error=1.0)
    )
    run = wf.simulate("a", world=world)
    assert run.result() == "sorry"
    assert ("draft/fallback:spare", 1, "breaker") in attempts(run)


def test_a_fault_of_its_provider_or_tag_strikes_a_fallback_and_one_of_its_nodes_does_not() -> None:
    wf = one(ok.Fallback(ok.step(provider="b", tags=["cheap"])(spare), "sorry"), provider="a", tags=["dear"])
    world = ok.World({"draft/fallback:spare": ok.fake("spared")}, draft=ok.fake("x"))

    def under(*targets: str) -> object:
        storm = ok.Faults(*(ok.faults.fail(target) for target in targets))
        return wf.simulate("q", world=world, faults=storm).result()

    assert under("a") == under("dear") == "spared"
    assert under("a", "b") == under("a", "cheap") == "sorry"
    assert under("b") == under("cheap") == "x"


def test_a_budget_of_a_fallback_is_spent_by_it_alone() -> None:
    wf = ok.Workflow("many", input=list[int])

    @ok.step(budget=ok.Budget(calls=2))
    def paid(input: list[int]) -> int: ...

    @wf.map(over="input", limit=1, fallback=ok.Fallback(paid, 0))
    def draft(item: int) -> int: ...

    world = ok.World({"draft/fallback:paid": ok.fake(7)}, draft=ok.fake(1, error=1.0))
    assert wf.simulate([1, 2, 3, 4], world=world).result() == [7, 7, 0, 0]


# Resuming


def test_a_workflow_whose_fallback_failed_too_goes_on_with_attempts_of_new_numbers(tmp_path: Path) -> None:
    down = {"fetch", "spare"}
    inner = ok.Workflow("inner", input=str)

    @inner.step
    def fetch(input: str) -> str:
        if "fetch" in down:
            raise ConnectionError("no line")
        return "fetched"

    @ok.step(retry=ok.Retry(2, wait=ok.backoff(base=0.001)))
    def last(input: str) -> str:
        if "spare" in down:
            raise ConnectionError("none left")
        return "spared"

    wf = ok.Workflow("outer", input=str)
    wf.call("deep", inner, fallback=last)
    with ok.open(tmp_path / "lab.duckdb") as store:
        run = wf.start("a", store=store)
        with pytest.raises(ok.RunError):
            run.result(WAIT)
        down.discard("spare")
        again = store.resume(run.id, wf)
        assert again.result(WAIT) == "spared"
        begun = [(e.node, e.generation, e.attempt) for e in again.log if e.kind == "started"]
        assert len(set(begun)) == len(begun), begun


# What does not hold is refused


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hedge": 2.0}, "has hedge=, which does not hold in a fallback; retry, budget"),
        ({"deadline": 2.0}, "has deadline="),
        ({"fallback": "sorry"}, "has fallback="),
        ({"effect": True}, "is an effect, and 'draft' is none"),
    ],
)
def test_what_does_not_hold_in_a_fallback_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ok.GraphError, match=r"fallback 'spare' of 'draft' " + says):
        one(ok.step(**options)(spare)).start("a", durability="memory")


def test_an_effect_may_fall_back_to_an_effect() -> None:
    run = one(ok.step(effect=True)(spare), effect=True).start("a", durability="memory")
    assert run.result(WAIT).startswith("a without")


def test_what_does_not_hold_in_an_undo_is_refused_and_the_rest_holds(tmp_path: Path) -> None:
    tries = []

    def refund(charge: str) -> None:
        tries.append(charge)
        raise ConnectionError("down")

    def workflow(undo: Any) -> ok.Workflow:
        wf = ok.Workflow("shop", input=str)
        wf.step(effect=True, undo=undo)(charge)

        @wf.step
        def ship(charge: str) -> str:
            raise ValueError("no stock")

        return wf

    def charge(input: str) -> str:
        return input

    with pytest.raises(
        ok.DefinitionError, match="undo 'refund' of 'charge' has hedge=, which does not hold in an undo"
    ):
        workflow(ok.step(hedge=1.0)(refund)).start("a", durability="memory")
    run = workflow(ok.step(retry=ok.Retry(2, wait=ok.backoff(base=0.001)))(refund)).start("a", durability="memory")
    with pytest.raises(ok.RunError):
        run.result(WAIT)
    assert tries == ["a", "a"]


def test_a_stack_of_policies_is_no_retry() -> None:
    with pytest.raises(ok.DefinitionError, match=r"is a stack of policies; give it to wf\.using"):
        ok.Workflow("w").step(retry=ok.presets.sdk_default)(spare)


# What others see of it


def test_what_a_fallback_was_made_with_is_part_of_its_nodes_fingerprint() -> None:
    made = [
        spare,
        ok.step(retry=3)(spare),
        ok.step(retry=4)(spare),
        ok.step(timeout=3.0)(spare),
        ok.step(version="2")(spare),
    ]
    found = [fingerprints(one(ok.Fallback(step)).checked())["draft"] for step in made]
    assert len(set(found)) == len(found)
    assert fingerprints(one(ok.Fallback(ok.step(spare))).checked())["draft"] == found[0]


def test_its_own_policies_are_drawn_with_it() -> None:
    stack = ok.Fallback(ok.step(retry=3, timeout=5.0)(spare), "sorry")
    assert describe_policy(stack) == "fallback spare (retry 3, timeout 5 s), 'sorry'"

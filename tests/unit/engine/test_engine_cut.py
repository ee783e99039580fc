"""Cuts at which a resume once went another way; random workflows have found them, and small ones tell them here."""

from __future__ import annotations

from typing import Any

import pytest

import orchkit as ok
from orchkit.model.policies import in_order
from orchkit.model.steps import Step
from orchkit.testing import every_prefix

LONG = ok.World({"agent/search": ok.fake(1, latency=9.0, cost=0.5)})


def search(*policies: Any) -> Step:
    async def search(word: str) -> int:
        return 1

    return Step(search, (("policies", in_order(policies)),))


def agent(called: Any, *, calls: int = 2, **options: Any) -> ok.Workflow:
    """Make a workflow of one map, whose body calls a step."""
    wf = ok.Workflow("agents", input=list[int])

    @wf.map(over="input", on_error="skip", **options)
    async def agent(item: int, ctx: ok.Context) -> int:
        return sum([await ctx.call(called, f"{item}.{i}") for i in range(calls)])

    return wf


def exactly(wf: ok.Workflow, value: Any, world: ok.World, **options: Any) -> None:
    report = every_prefix(wf, value, world=world, **options)
    assert report.ok, "\n".join(report.differences[:3])
    assert report.exact == report.points


def test_a_cut_before_the_cancellations_of_a_deadline_forgets_no_child() -> None:
    exactly(agent(search(), deadline=3.0), [1], LONG)


def test_nor_one_that_waits_at_a_gate() -> None:
    wf = agent(search(ok.Bulkhead(1, key="k")), deadline=3.0)

    @wf.step(bulkhead=ok.Bulkhead(1, key="k"))
    async def holds(input: list[int]) -> int:
        return 1

    world = ok.World({"agent/search": ok.fake(1), "holds": ok.fake(1, latency=9.0)})
    run = wf.simulate([1, 2], world=world)
    assert [e.node.partition("(")[0] for e in run.log if e.status == "withdrawn"] == [
        "agent[0]/search",
        "agent[1]/search",
    ]
    exactly(wf, [1, 2], world)


def test_a_gate_of_a_called_step_is_one_whatever_it_is_called_with() -> None:
    wf = agent(search(ok.Bulkhead(1)), calls=1)
    run = wf.simulate([1, 2, 3], world=LONG)
    assert [e.t for e in run.log if e.kind == "started" and "/" in e.node] == [0, 9_000_000, 18_000_000]
    exactly(wf, [1, 2, 3], LONG)


def test_nor_what_a_child_has_called_in_its_turn() -> None:
    async def deep(word: str, ctx: ok.Context) -> int:
        return int(await ctx.call(search(), word))

    world = ok.World({"agent/deep/search": ok.fake(1, latency=9.0)})
    exactly(agent(deep, hedge=2.0, deadline=3.0), [1], world)


def test_a_body_that_is_found_again_may_be_cancelled_at_once() -> None:
    inner = ok.Workflow("inner", input=list[int])

    @inner.step(on_error="skip")
    async def breaks(input: list[int]) -> int:
        raise AssertionError

    wf = agent(search())
    wf.call("other", inner)
    storm = ok.Faults(ok.faults.fail("other/breaks", after=3.0))
    assert wf.simulate([1], world=LONG, faults=storm).status == "failed"
    exactly(wf, [1], LONG, faults=storm)


def test_a_gate_of_a_called_step_knows_what_went_through_it() -> None:
    world = ok.World({"agent/search": ok.fake(1, latency=0.5)})
    exactly(agent(search(ok.RateLimit(0.5, burst=2)), calls=4), [1], world)
    exactly(agent(search(ok.Budget(calls=3, key="searches")), calls=2), [1, 2, 3], world)


def test_a_rate_limit_that_is_due_at_the_cut_is_no_earlier_than_a_timer() -> None:
    wf = ok.Workflow("ties", input=list[int])

    @wf.step(hedge=1.0)
    async def asks(input: list[int]) -> int:
        return 1

    @wf.map(over="input", rate_limit=ok.RateLimit(1.0), limit=3)
    async def limited(item: int) -> int:
        return 1

    @wf.step
    async def ends(input: list[int]) -> int:
        return 1

    world = ok.World(asks=ok.fake(1, latency=5.0), limited=ok.fake(1, latency=3.0), ends=ok.fake(1, latency=1.0))
    exactly(wf, [1, 2, 3], world)


@pytest.mark.parametrize("policies", [{"hedge": 1.0}, {"deadline": 9.0}, {"deadline": 9.0, "hedge": 1.0}])
def test_the_answer_to_an_escalation_is_for_the_node_and_no_leg_of_it(policies: dict[str, Any]) -> None:
    wf = ok.Workflow("escalates", input=str)

    @wf.step(escalate="rescue", **policies)
    async def draft(input: str) -> str:
        return input

    wf.approval("rescue", answer=str)

    @wf.step
    async def other(input: str) -> str:
        return input

    world = ok.World(
        draft=ok.fake("x", latency=2.0, error=1.0),
        other=ok.fake("y", latency=9.0),
        rescue=ok.person(3.0, answers="by hand"),
    )
    exactly(wf, "a", world)


def test_a_time_out_is_recorded_before_what_it_ends() -> None:
    inner = ok.Workflow("inner", input=list[int])

    @inner.map(over="input", bulkhead=1)
    async def lookup(item: int) -> int:
        return item

    wf = ok.Workflow("bounded", input=list[int])
    wf.call("deep", inner, timeout=2.0, retry=2)
    world = ok.World({"deep/lookup": ok.fake(1, latency=ok.dist.empirical([0.5, 1.0, 9.0]), cost=0.1)})
    kinds = [(e.kind, e.node, e.status) for e in wf.simulate([1, 2, 3], world=world, seed=1).log]
    first = kinds.index(("failed", "deep", "timeout"))
    assert {kind for kind, *_ in kinds[first + 1 : first + 3]} == {"cancelled", "rejected"}
    for seed in range(6):
        exactly(wf, [1, 2, 3], world, seed=seed)


def test_a_time_out_of_a_body_is_recorded_before_what_it_has_called() -> None:
    wf = agent(search(ok.Bulkhead(1)), timeout=3.0)
    report = every_prefix(wf, [1, 2], world=LONG)
    assert report.ok, report.differences[0]


def test_a_person_answers_for_an_item_by_what_is_shown() -> None:
    wf = ok.Workflow("items", input=list[int])

    @wf.map(over="input", escalate="rescue")
    async def lookup(item: int) -> int:
        raise ConnectionError

    wf.approval("rescue", answer=int, show="input")
    world = ok.World(rescue=ok.person(3.0, answers=lambda inputs, rng: sum(inputs["input"])))
    assert wf.simulate([1, 2], world=world).result() == [3, 3]


def test_a_map_without_annotations_may_be_the_result_of_a_call() -> None:
    inner = ok.Workflow("inner", input=list[int])

    @inner.map(over="input")
    async def double(item):  # type: ignore[no-untyped-def]
        return 2 * item

    wf = ok.Workflow("outer", input=list[int])
    wf.call("deep", inner)
    assert wf.simulate([1, 2], world=ok.World()).result() == [2, 4]


def test_a_fault_may_hit_what_a_body_calls() -> None:
    wf = agent(search())
    world = ok.World({"agent/search": ok.fake(1)})
    assert wf.simulate([1], world=world, faults=ok.Faults(ok.faults.fail("agent/search"))).result() == []
    with pytest.raises(ok.DefinitionError, match="hits nothing"):
        wf.simulate([1], world=world, faults=ok.Faults(ok.faults.fail("agnet/search")))


@pytest.mark.parametrize("policies", [{}, {"hedge": 1.0}, {"deadline": 60.0}])
def test_a_waiter_that_a_failing_run_has_sent_away_is_not_let_in_by_a_resume(policies: dict[str, Any]) -> None:
    wf = ok.Workflow("fails", input=list[int])

    @wf.map(over="input", bulkhead=1, **policies)
    async def lookup(item: int) -> int:
        return item

    @wf.step
    async def breaks(input: list[int]) -> int:
        return 1

    world = ok.World(lookup=ok.fake(1, latency=9.0), breaks=ok.fake(1, latency=2.0, error=1.0))
    exactly(wf, [1, 2, 3], world)

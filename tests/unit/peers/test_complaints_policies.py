"""What users of other engines missed in defences and comparisons; test_table.py says from which threads."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import orchkit as ok


def asking(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("asking", input=str)

    @wf.step(provider="llm:a", **options)
    async def ask(input: str) -> str:
        return input

    return wf


def many(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("many", input=list[int])

    @wf.map(over="input", provider="llm:a", **options)
    async def ask(item: int) -> str:
        return str(item)

    return wf


def times(run: ok.Run, kind: str) -> list[float]:
    return [event.t / 1e6 for event in run.log if event.kind == kind]


def test_a_hedge_can_be_measured_before_it_is_adopted() -> None:
    wf = asking()
    world = ok.World(ask=ok.fake("x", latency=ok.dist.lognormal(p50=2.0, p99=40.0), cost=0.01))
    exp = ok.Experiment({"alone": wf, "hedge": wf.using(ask=ok.Hedge(after=6.0))}, inputs=["x"], world=world, seeds=600)
    table = exp.run().compare("p95", "cost", baseline="alone").set_index("metric")
    assert table.verdict.to_dict() == {"p95": "better", "cost": "worse"}
    assert (table.n == 600).all()
    assert (table.low < table.difference).all()
    assert (table.difference < table.high).all()


def test_too_few_runs_do_not_make_a_winner() -> None:
    wf = asking()
    world = ok.World(ask=ok.fake("x", latency=ok.dist.lognormal(p50=2.0, p99=40.0), error=0.3))
    exp = ok.Experiment({"alone": wf, "retry": wf.using(ask=ok.Retry(2))}, inputs=["x"], world=world, seeds=3)
    table = exp.run().compare("success", "p95", baseline="alone")
    assert set(table.verdict) == {"cannot tell"}
    assert (table.n == 3).all()


def test_a_provider_that_hangs_fails_over_and_is_left_alone_after_that() -> None:
    wf = many(timeout=10.0, breaker=ok.Breaker(2, reset=600.0), fallback="from the spare", limit=1)
    run = wf.simulate(list(range(6)), world=ok.World(), faults=ok.Faults(ok.faults.hang("llm:a")))
    assert (run.result(), run.status) == (["from the spare"] * 6, "degraded")
    assert times(run, "failed") == [10.0, 20.0]  # the others waited for nobody
    assert Counter(event.status for event in run.log if event.kind == "rejected") == {"breaker": 4}
    assert run.log[-1].t == 20_000_000


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 5.0, "fallback": "spare"},
        {"deadline": 5.0, "fallback": "spare"},
        {"timeout": 5.0, "retry": ok.Retry(2, wait=ok.backoff(base=0)), "fallback": "spare"},
        {"hedge": 1.0, "timeout": 5.0, "fallback": "spare"},
        {"bulkhead": 1, "rate_limit": ok.RateLimit(1.0), "timeout": 5.0, "fallback": "spare"},
    ],
    ids=" ".join,
)
def test_a_hang_ends_whatever_the_defences_around_it(options: dict[str, Any]) -> None:
    run = asking(**options).simulate("x", world=ok.World(), faults=ok.Faults(ok.faults.hang("ask")))
    assert (run.result(), run.status) == ("spare", "degraded")
    assert run.log[-1].t <= 11_000_000


def test_the_first_two_fail_and_then_it_succeeds_for_each_of_many_at_once() -> None:
    storm = ok.Faults(ok.faults.fail("ask", first=2))
    wf = many(retry=ok.Retry(3, wait=ok.backoff(base=1.0, jitter=None)))
    runs = [wf.simulate(list(range(5)), world=ok.World(), faults=storm, seed=seed) for seed in (1, 2)]
    for run in runs:
        assert run.result() == list("01234")
        failed = Counter((event.item, event.attempt) for event in run.log if event.kind == "failed")
        assert failed == {(item, attempt): 1 for item in range(5) for attempt in (1, 2)}
    assert asking().using(ask=ok.Retry(2)).simulate("x", world=ok.World(), faults=storm).status == "failed"


def test_a_rate_strikes_the_same_attempts_whatever_runs_beside_them() -> None:
    storm = ok.Faults(ok.faults.fail("ask", rate=0.4))

    def struck(limit: int | None) -> set[int]:
        run = many(limit=limit, on_error="skip").simulate(list(range(40)), world=ok.World(), faults=storm, seed=5)
        return {event.item for event in run.log if event.kind == "failed"}

    assert struck(1) == struck(7) == struck(None)
    assert 8 < len(struck(1)) < 24


SPENDING = ok.World(ask=ok.fake("x", latency=1.0, cost=1.0))


def test_a_budget_stops_what_would_exceed_it_also_among_many_at_once() -> None:
    wf = many(budget=ok.Budget(cost=3.0), limit=2)
    run = wf.simulate(list(range(20)), world=SPENDING)
    with pytest.raises(ok.RunError, match="BudgetExhausted"):
        run.result()
    assert run.events.cost.sum() <= 4.0  # what was in flight when it was reached counts
    assert len(times(run, "started")) <= 4
    exact = many(budget=ok.Budget(calls=3), on_error="skip").simulate(list(range(20)), world=SPENDING)
    assert len(times(exact, "started")) == 3


def test_a_budget_may_go_on_with_less() -> None:
    wf = many(budget=ok.Budget(cost=3.0, then="degrade"), limit=1)
    run = wf.simulate(list(range(6)), world=SPENDING)
    assert (run.status, len(run.result())) == ("degraded", 3)


def test_a_budget_may_ask_a_person_before_the_next_call() -> None:
    wf = ok.Workflow("asks", input=str)

    @wf.step(budget=ok.Budget(cost=1.0))
    async def plan(input: str, ctx: ok.Context) -> str:
        ctx.spend(cost=2.0)
        return input

    @wf.step(budget=ok.Budget(cost=1.0), escalate="purse")
    async def dear(plan: str) -> str:
        return "never called"

    wf.approval("purse", answer=str, show="plan", timeout=60.0)
    run = wf.simulate("x", world=ok.World(purse=ok.person(30.0, answers="decided by hand")))
    assert run.result() == "decided by hand"
    assert [event.node for event in run.log if event.kind == "asked"] == ["dear/escalate:purse"]
    assert "dear" not in {event.node for event in run.log if event.kind == "started"}

"""Policies at work: what each decides is an event, cancellation is exact, and every prefix resumes to the same log."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

import orchkit as ok
from orchkit.clock.kernel import Kernel
from orchkit.engine.gateroom import Gates
from orchkit.engine.program import Program
from orchkit.testing import every_prefix
from tests.support.engines import Drive, check_log

SLOW = ok.dist.lognormal(p50=4, sigma=1.0)


def one(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("one", input=str)

    @wf.step(**options)
    async def draft(input: str) -> str:
        return input

    return wf


def many(n: int = 6, **options: Any) -> ok.Workflow:
    wf = ok.Workflow("many", input=list[int])

    @wf.map(over="input", on_error="skip", **options)
    async def lookup(item: int) -> int:
        return item

    return wf


def told(run: ok.Run, *kinds: str) -> list[tuple[Any, ...]]:
    return [(e.kind, e.item, e.leg, e.attempt, e.status, e.t / 1e6) for e in run.log if e.kind in kinds]


STACKS = {
    "hedge": {"hedge": 3.0},
    "hedge and retry": {"hedge": 3.0, "retry": ok.Retry(2)},
    "deadline": {"deadline": 5.0, "retry": ok.Retry(4)},
    "deadline and hedge": {"deadline": 6.0, "hedge": 2.0, "retry": ok.Retry(3)},
    "breaker": {"breaker": ok.Breaker(2, reset=4.0), "retry": ok.Retry(3)},
    "bulkhead": {"bulkhead": ok.Bulkhead(2)},
    "bulkhead that rejects": {"bulkhead": ok.Bulkhead(1, queue=2)},
    "rate limit": {"rate_limit": ok.RateLimit(0.5, burst=2)},
    "budget": {"budget": ok.Budget(calls=4), "retry": ok.Retry(2)},
    "queues behind what rejects": {
        "budget": ok.Budget(calls=6),
        "breaker": ok.Breaker(1, reset=3.0),
        "bulkhead": 2,
        "rate_limit": ok.RateLimit(1.0),
        "retry": ok.Retry(3),
        "deadline": 8.0,
    },
    "budget that degrades": {"budget": ok.Budget(cost=2.5, then="degrade")},
    "all": {
        "deadline": 9.0,
        "hedge": 3.0,
        "retry": ok.Retry(2),
        "budget": ok.Budget(calls=9),
        "breaker": ok.Breaker(3, reset=3.0),
        "bulkhead": ok.Bulkhead(2),
        "rate_limit": ok.RateLimit(1.0, burst=2),
        "timeout": 6.0,
        "fallback": 0,
    },
}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("seed", range(4))
def test_every_prefix_resumes_to_the_same_log(name: str, seed: int) -> None:
    wf = many(**STACKS[name])
    world = ok.World(lookup=ok.fake(1, latency=SLOW, error=0.4, cost=1.0))
    run = wf.simulate([1, 2, 3, 4, 5], world=world, seed=seed)
    check_log(run.log)
    report = every_prefix(wf, [1, 2, 3, 4, 5], world=world, seed=seed)
    assert report.ok, "\n".join(report.differences[:3])
    assert report.exact == report.points


# Hedge


def test_a_hedge_takes_the_first_that_delivers_and_cancels_the_other() -> None:
    latency = ok.dist.empirical([1.0, 10.0])
    wf = one(hedge=2.0)
    runs = [wf.simulate("a", world=ok.World(draft=ok.fake("x", latency=latency)), seed=s) for s in range(20)]
    hedged = [run for run in runs if told(run, "hedged")]
    assert 0 < len(hedged) < 20
    for run in hedged:
        assert run.status == "completed"
        ends = told(run, "completed", "cancelled")
        assert Counter(kind for kind, *_ in ends) == {"completed": 1, "cancelled": 1}
        assert run.log[-1].t in (3_000_000, 10_000_000)
    assert all(run.log[-1].t == 1_000_000 for run in runs if run not in hedged)


def test_a_first_leg_that_fails_early_fails_the_node() -> None:
    run = one(hedge=5.0).simulate("a", world=ok.World(draft=ok.fake("x", latency=1.0, error=1.0)))
    assert run.status == "failed"
    assert not told(run, "hedged")


def test_the_node_fails_when_both_legs_have() -> None:
    storm = ok.Faults(ok.faults.fail("draft", after=4.0))
    run = one(hedge=3.0).simulate("a", world=ok.World(), faults=storm)
    assert run.status == "failed"
    assert [t for *_, t in told(run, "failed")] == [4.0, 7.0]


def test_a_cancelled_leg_of_a_call_leaves_nothing_at_work() -> None:
    inner = ok.Workflow("inner", input=str)

    @inner.step
    async def think(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(9 if ctx.node == "deep/think" else 1)
        return input

    wf = ok.Workflow("outer", input=str)
    wf.call("deep", inner, hedge=2.0)
    run = wf.simulate("a", world=ok.World())
    assert (run.result(), run.log[-1].t) == ("a", 3_000_000)
    assert {(e.kind, e.node) for e in run.log if e.kind == "cancelled"} == {
        ("cancelled", "deep"),
        ("cancelled", "deep/think"),
    }
    check_log(run.log)
    assert every_prefix(wf, "a", world=ok.World()).ok


# Deadline


def test_a_deadline_bounds_attempts_and_waits() -> None:
    wf = one(deadline=10.0, retry=ok.Retry(9, wait=ok.backoff(base=3, factor=1, jitter=None)), fallback="late")
    run = wf.simulate("a", world=ok.World(draft=ok.fake("x", latency=1.0, error=1.0)))
    assert (run.result(), run.status, run.log[-1].t) == ("late", "degraded", 10_000_000)
    assert [(kind, status, t) for kind, _, _, _, status, t in told(run, "rejected")] == [("rejected", "deadline", 10.0)]


def test_what_a_deadline_gives_up_says_so() -> None:
    run = one(deadline=2.0).simulate("a", world=ok.World(draft=ok.fake("x", latency=5.0)))
    with pytest.raises(ok.RunError, match="DeadlineExceeded: 'draft' took longer than 2 s") as caught:
        run.result()
    assert isinstance(caught.value.__cause__, ok.DeadlineExceeded)
    assert told(run, "cancelled") == [("cancelled", -1, 0, 1, "", 2.0)]


# Breaker


def test_a_breaker_opens_rejects_probes_and_closes() -> None:
    wf = many(breaker=ok.Breaker(2, reset=10.0), limit=1)
    storm = ok.Faults(ok.faults.fail("lookup", first=1))

    @wf.step
    def unrelated(input: list[int]) -> int:
        return 0

    world = ok.World(lookup=ok.fake(1, latency=4.0), unrelated=ok.fake(0))
    run = wf.simulate(list(range(4)), world=world, faults=storm)
    assert [(item, status) for _, item, _, _, status, _ in told(run, "tripped")] == [(1, "open")]
    assert [item for _, item, *_ in told(run, "rejected")] == [2, 3]


def test_a_probe_that_succeeds_closes_it() -> None:
    wf = ok.Workflow("probe", input=str)
    for name, after in (("a", ()), ("b", ("nap",)), ("c", ("b",))):

        async def ask(input: str) -> str:
            return input

        ask.__name__ = name
        wf.step(breaker=ok.Breaker(1, reset=10.0), provider="llm:a", after=after, on_error="skip")(ask)

    @wf.step
    async def nap(input: str, ctx: ok.Context) -> None:
        await ctx.sleep(10)

    run = wf.simulate("x", world=ok.World(), faults=ok.Faults(ok.faults.fail("a")))
    tripped = [(e.node, e.status, e.body) for e in run.log if e.kind == "tripped"]
    assert tripped == [("a", "open", "llm:a"), ("b", "half-open", "llm:a"), ("b", "closed", "llm:a")]
    assert every_prefix(wf, "x", world=ok.World(), faults=ok.Faults(ok.faults.fail("a"))).ok


# Bulkhead, rate limit, budget


def test_a_bulkhead_lets_so_many_in_in_the_order_of_arrival() -> None:
    run = many(bulkhead=2).simulate(list(range(5)), world=ok.World(lookup=ok.fake(1, latency=3.0)))
    assert [(item, t) for _, item, *_, t in told(run, "started")] == [(0, 0), (1, 0), (2, 3), (3, 3), (4, 6)]
    assert run.log[-1].t == 9_000_000


def test_a_full_queue_rejects() -> None:
    wf = many(bulkhead=ok.Bulkhead(1, queue=1), fallback=-1)
    run = wf.simulate(list(range(4)), world=ok.World(lookup=ok.fake(1, latency=3.0)))
    assert run.result() == [1, 1, -1, -1]
    assert [(item, status) for _, item, _, _, status, _ in told(run, "rejected")] == [(2, "bulkhead"), (3, "bulkhead")]


def test_the_next_item_queues_behind_the_one_that_gets_the_place() -> None:
    """With limit=2 item 2 arrives in the very instant in which item 0 leaves, and item 1 has waited for that."""
    wf = many(limit=2, bulkhead=ok.Bulkhead(1, queue=1))
    run = wf.simulate([1, 2, 3], world=ok.World(lookup=ok.fake(1, latency=1.0)))
    assert run.status == "completed"
    assert not told(run, "rejected")
    assert [t for *_, t in told(run, "started")] == [0.0, 1.0, 2.0]


def test_who_was_rejected_is_not_kept_as_somebody_before_the_gate() -> None:
    wf = many(bulkhead=ok.Bulkhead(1, queue=0))
    drive = Drive(Program(wf.checked(), ok.World(lookup=ok.fake(1, latency=1.0)).fit_to(wf.checked())))
    kept: list[object] = []
    gates = drive.execution.gatekeeper.gates
    drive.execution.on_end = lambda error: kept.extend(who for run in gates._through.values() for who in run)
    drive.start([1, 2, 3]).run()
    assert [event.kind for event in drive.log].count("rejected") == 2
    assert kept == []


def test_a_rate_limit_starts_the_ith_at_its_time() -> None:
    run = many(rate_limit=ok.RateLimit(2.0, burst=3)).simulate(list(range(8)), world=ok.World(lookup=ok.fake(1)))
    assert [t for *_, t in told(run, "started")] == [max(0.0, (i - 3) / 2) for i in range(1, 9)]


def test_a_deadline_takes_who_waits_out_of_the_queue() -> None:
    held = ok.Workflow("held", input=list[int])

    @held.step(bulkhead=ok.Bulkhead(1, key="shared"))
    async def first_in(input: list[int]) -> int:
        return 0

    @held.map(over="input", bulkhead=ok.Bulkhead(1, key="shared"), deadline=4.0, on_error="skip")
    async def waits(item: int) -> int:
        return item

    world = ok.World(first_in=ok.fake(0, latency=50.0), waits=ok.fake(1))
    run = held.simulate([1, 2], world=world)
    assert [(item, status) for _, item, _, _, status, _ in told(run, "rejected")] == [
        (0, "deadline"),
        (0, "withdrawn"),
        (1, "deadline"),
        (1, "withdrawn"),
    ]
    assert every_prefix(held, [1, 2], world=world).ok


def test_a_budget_of_calls_is_exact() -> None:
    wf = many(budget=ok.Budget(calls=3), retry=ok.Retry(2, wait=ok.backoff(base=0)))
    run = wf.simulate(list(range(6)), world=ok.World(lookup=ok.fake(1, latency=1.0, error=0.5)), seed=3)
    assert len(told(run, "started")) == 3
    assert len(told(run, "rejected")) >= 3


@pytest.mark.parametrize("queue", [{"bulkhead": 1}, {"rate_limit": ok.RateLimit(1.0)}], ids=["bulkhead", "rate limit"])
def test_who_has_queued_looks_at_the_budget_again(queue: dict[str, Any]) -> None:
    wf = many(budget=ok.Budget(calls=3), **queue)
    world = ok.World(lookup=ok.fake(1, latency=1.0, cost=1.0))
    run = wf.simulate(list(range(6)), world=world)
    assert len(told(run, "started")) == 3
    assert [(item, status) for _, item, _, _, status, _ in told(run, "rejected")] == [(i, "budget") for i in (3, 4, 5)]
    report = every_prefix(wf, list(range(6)), world=world)
    assert report.exact == report.points, "\n".join(report.differences[:3])


def test_who_has_queued_looks_at_the_breaker_again() -> None:
    wf = many(breaker=ok.Breaker(2, reset=3.0), bulkhead=1)
    world = ok.World(lookup=ok.fake(1, latency=1.0, error=1.0))
    run = wf.simulate(list(range(6)), world=world)
    assert [(item, t) for _, item, *_, t in told(run, "started")] == [(0, 0.0), (1, 1.0)]
    assert {status for _, _, _, _, status, _ in told(run, "rejected")} == {"breaker"}
    report = every_prefix(wf, list(range(6)), world=world)
    assert report.exact == report.points, "\n".join(report.differences[:3])


def test_who_has_queued_until_the_breaker_may_be_tried_is_its_probe() -> None:
    wf = many(breaker=ok.Breaker(1, reset=2.0), rate_limit=ok.RateLimit(0.5))
    world = ok.World(lookup=ok.fake(1, error=1.0))
    run = wf.simulate([0, 1, 2], world=world)
    turns = [(item, status, t) for _, item, _, _, status, t in told(run, "tripped")]
    assert turns == [(0, "open", 0.0), (1, "half-open", 2.0), (1, "open", 2.0), (2, "half-open", 4.0), (2, "open", 4.0)]
    check_log(run.log)
    report = every_prefix(wf, [0, 1, 2], world=world)
    assert report.exact == report.points, "\n".join(report.differences[:3])


def test_a_budget_that_stops_fails_the_run_and_one_that_degrades_does_not() -> None:
    def spends(then: Any) -> ok.Run:
        wf = ok.Workflow("spends", input=str, output="b")

        @wf.step
        async def a(input: str, ctx: ok.Context) -> str:
            ctx.spend(cost=2.0)
            return input

        @wf.step
        async def b(a: str) -> str:
            return a

        @wf.step(budget=ok.Budget(cost=1.0, then=then))
        async def c(a: str, ctx: ok.Context) -> str:
            ctx.spend(cost=2.0)
            return a

        @wf.step(budget=ok.Budget(cost=1.0, then=then))
        async def d(c: str) -> str:
            return c

        return wf.simulate("x", world=ok.World())

    with pytest.raises(ok.RunError, match=r"BudgetExhausted: \$2 of \$1 spent"):
        spends("stop").result()
    run = spends("degrade")
    assert (run.result(), run.status) == ("x", "degraded")


# Escalation


def escalates(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("escalates", input=str)

    @wf.step(escalate="rescue", **options)
    async def draft(input: str) -> str:
        raise ConnectionError("down")

    wf.approval("rescue", answer=str, show="input", timeout=60.0)

    @wf.step
    def send(draft: str) -> str:
        return f"sent {draft}"

    return wf


def test_a_person_delivers_what_a_failed_node_could_not() -> None:
    wf = escalates(retry=ok.Retry(2, wait=ok.backoff(base=0)))
    world = ok.World(rescue=ok.person(30.0, answers="by hand"))
    run = wf.simulate("a", world=world)
    assert run.result() == "sent by hand"
    asked = next(e for e in run.log if e.kind == "asked")
    assert (asked.node, asked.body["show"], asked.body["error"]) == (
        "draft/escalate:rescue",
        "a",
        "ConnectionError: down",
    )
    assert every_prefix(wf, "a", world=world).ok


def test_without_an_answer_it_has_failed() -> None:
    run = escalates().simulate("a", world=ok.World(rescue=ok.person(90.0, answers="late")))
    with pytest.raises(ok.RunError, match="draft failed: ConnectionError: down"):
        run.result()


def test_an_escalation_wants_an_approval_and_a_person() -> None:
    with pytest.raises(ok.GraphError, match="'draft' escalates to 'nobody', which is no node"):
        one(escalate="nobody").checked()
    with pytest.raises(ok.SimulationError, match=r"rescue=ok\.person"):
        escalates().simulate("a", world=ok.World())


def test_an_escalation_is_answered_by_its_name_live() -> None:
    run = escalates().start("a", durability="memory").wait_settled(timeout=30)
    assert run.status == "waiting"
    with pytest.raises(ok.AnswerInvalid):
        run.answer("draft/escalate:rescue", 3.5)
    run.answer("rescue", "by hand", by="dana")
    assert run.result(timeout=30) == "sent by hand"


# Live, and shared by runs


def test_runs_of_one_store_share_a_bulkhead() -> None:
    gate, inside, most = threading.Event(), [0], [0]
    wf = ok.Workflow("shared", input=int)

    @wf.step(bulkhead=2, provider="llm:shared")
    async def ask(input: int, ctx: ok.Context) -> int:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        while not gate.is_set():
            await ctx.sleep(0.001)
        inside[0] -= 1
        return input

    runs = [wf.start(i, durability="memory") for i in range(5)]
    gate.set()
    assert sorted(run.result(timeout=30) for run in runs) == [0, 1, 2, 3, 4]
    assert most[0] <= 2


def test_a_live_hedge_and_deadline_and_breaker_decide_by_the_wall() -> None:
    wf = ok.Workflow("live", input=str)
    hang = threading.Event()

    @wf.step(hedge=0.05)
    async def slow(input: str, ctx: ok.Context) -> str:
        if ctx.leg == 0:
            await ctx.sleep(30)
        return f"leg {ctx.leg}"

    @wf.step(deadline=0.05, fallback="given up")
    async def hangs(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(30)
        return "never"

    @wf.map(over="list", breaker=ok.Breaker(2, reset=1000.0), limit=1, fallback="canned")
    async def broken(item: int) -> str:
        raise ConnectionError("down")

    @wf.step
    def list(input: str) -> Any:
        return [1, 2, 3, 4]

    run = wf.start("x", durability="memory")
    assert run.result(timeout=30) == {"slow": "leg 1", "hangs": "given up", "broken": ["canned"] * 4}
    assert sum(e.kind == "started" and e.node == "broken" for e in run.log) == 2
    check_log(run.log)
    hang.set()


def test_a_plain_function_that_was_given_up_holds_its_place_until_it_ends() -> None:
    go, ended = threading.Event(), threading.Event()
    wf = ok.Workflow("holds", input=str)

    @wf.map(over="items", bulkhead=1, timeout=0.05, on_error="skip")
    def work(item: int) -> int:
        if item == 0:
            assert go.wait(30)
            ended.set()
        return item

    @wf.step
    def items(input: str) -> Any:
        return [0, 1]

    run = wf.start("x", durability="memory")
    while not any(e.kind == "failed" for e in run.log):
        pass
    assert [e.item for e in run.log if e.kind == "started" and e.node == "work"] == [0]
    go.set()
    assert run.result(timeout=30) == [1]
    assert ended.is_set()


def test_a_suspended_run_gives_its_places_back() -> None:
    wf = ok.Workflow("places", input=int)

    @wf.step(bulkhead=1, provider="llm:places")
    async def ask(input: int, ctx: ok.Context) -> int:
        if input == 0:
            await ctx.sleep(1000)
        return input

    first = wf.start(0, durability="memory")
    second = wf.start(1, durability="memory")
    first.suspend()
    assert second.result(timeout=30) == 1


def test_gates_are_kept_apart_by_their_settings() -> None:
    gates = Gates(Kernel())
    one_, two = ok.Bulkhead(1), ok.Bulkhead(2)
    name = (("bulkhead", "llm:a"),)
    assert gates.of("r", name, (one_,)).bulkhead is gates.of("s", name, (ok.Bulkhead(1),)).bulkhead
    assert gates.of("r", name, (one_,)).bulkhead is not gates.of("r", name, (two,)).bulkhead
    run, other = (gates.of(r, (("budget", "run"),), (ok.Budget(calls=1),)).budget for r in "rs")
    assert run is not other

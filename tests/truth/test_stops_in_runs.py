"""Breakers, budgets, escalation, nested retries and loops on the whole engine against their closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Any

import pytest

import orchkit as ok
from orchkit.model.events import Event
from tests.truth.oracle import attempts, calls_to_open, delivered, mean_agrees, rate_agrees, seconds, trials, tries
from tests.truth.test_policies import NOW, draft, fan_out, many, one_step

pytestmark = pytest.mark.slow  # minutes on a busy machine


def began(log: Sequence[Event], node: str) -> list[int]:
    """Say when the attempts at nodes whose path ends so began, in microseconds."""
    return [event.t for event in log if event.kind == "started" and event.node.rpartition("/")[2] == node]


# Breakers


def asks_until_open(failures: int) -> ok.Workflow:
    def said(error: Any) -> str:
        return str(error.type)

    body = ok.Workflow("round", input=str)

    @body.step(breaker=ok.Breaker(failures, reset=1e9), fallback=said)
    def ask(input: str) -> str: ...

    def is_open(result: str, round: int) -> bool:
        return result == "BreakerOpen"

    wf = ok.Workflow("until open", input=str)
    wf.loop("rounds", body=body, until=is_open, max=5_000)
    return wf


@many
@pytest.mark.parametrize(("failures", "p"), [(3, 0.4), (1, 0.2), (2, 0.5)])
def test_calls_until_failures_in_a_row_open_a_breaker(failures: int, p: float, n: int, seed: int) -> None:
    """(1-p^K) / ((1-p) p^K), and 24.375 for K = 3 and p = 0.4; a tenth of 5,000 runs each."""
    exact = calls_to_open(p, failures)
    world = ok.World({"rounds/ask": ok.fake("fine", error=p), "rounds/ask/fallback:said": ok.real})
    counts = []
    for run in trials(asks_until_open(failures), world, n // 10, value="go", seed=seed):
        log = run.log()
        counts.append(len(began(log, "ask")))
        assert [event.status for event in log if event.kind == "tripped"] == ["open"]
    mean_agrees(counts, exact, f"calls, K={failures} {p=}")
    if (failures, p) == (3, 0.4):
        assert round(exact, 9) == 24.375


@pytest.mark.parametrize("failures", [1, 3, 5])
@pytest.mark.parametrize(
    ("reset", "outage"), [(7, 0), (7, 6), (7, 7), (10, 29), (10, 30), (30, 59), (30, 60), (100, 60)]
)
def test_calls_in_a_total_outage(failures: int, reset: int, outage: int) -> None:
    """K + floor(T / reset) reach a provider that is down for T, however many want to in each second; exact."""
    body = ok.Workflow("visit", input=float)

    @body.step
    async def arrive(input: float, ctx: ok.Context) -> float:
        await ctx.sleep(input)
        return input

    @body.step(breaker=ok.Breaker(failures, reset=reset), fallback="down")
    async def ask(arrive: float) -> str:
        raise ConnectionError("down")

    wf = ok.Workflow("outage", input=list[float])
    wf.map("visit", over="input", body=body)
    visits = [1.0 + at for at in range(outage + 1) for _ in range(failures + 2)]
    log = wf.simulate(visits, world=ok.World()).log
    assert len(began(log, "ask")) == failures + outage // reset


def test_a_breaker_keeps_retries_off_a_dead_provider() -> None:
    """In a total outage N items of up to n attempts make K calls instead of N n; exact, N = 30, n = 4, K = 5."""
    world, retry = ok.World(lookup=ok.fake("x", error=1.0)), ok.Retry(4, wait=NOW)
    for options, calls in (({}, 30 * 4), ({"breaker": ok.Breaker(5, reset=1e6)}, 5)):
        wf = fan_out(retry=retry, fallback="down", limit=1, **options)
        assert len(began(wf.simulate(list(range(30)), world=world).log, "lookup")) == calls


# Budgets


@many
@pytest.mark.parametrize(("p", "share"), [(0.5, 0.3), (0.9, 0.5), (1.0, 0.2)])
def test_a_retry_budget_bounds_the_load(p: float, share: float, n: int, seed: int) -> None:
    """Never over N (1+b) calls in any run; without it N (1-p^4)/(1-p) on average; a twentieth of 5,000 runs, N = 20."""
    items, retry = list(range(20)), ok.Retry(4, wait=NOW)
    world = ok.World(lookup=ok.fake("x", error=p, latency=ok.dist.exponential(mean=1)))
    bound = round(20 * (1 + share))
    bounded = fan_out(retry=retry, fallback="none", budget=ok.Budget(calls=bound))
    runs = list(trials(bounded, world, n // 20, value=items, seed=seed))
    assert max(attempts(run) for run in runs) <= bound
    if p == 1:
        assert {attempts(run) for run in runs} == {bound}
    free = trials(fan_out(retry=retry, fallback="none"), world, n // 20, value=items, seed=seed)
    mean_agrees([attempts(run) for run in free], 20 * (tries(p, 4) if p < 1 else 4), f"calls without, {p=}")


@many
def test_a_budget_of_calls_on_one_step(n: int, seed: int) -> None:
    """A retry of 9 under a budget of 3 calls is a retry of 3: p^3 fail, (1-p^3)/(1-p) attempts; 5,000 runs."""
    p = 0.6
    wf = one_step(retry=ok.Retry(9, wait=NOW), budget=ok.Budget(calls=3))
    runs = list(trials(wf, draft(error=p), n, seed=seed))
    rate_agrees([not delivered(run) for run in runs], p**3, "failed")
    mean_agrees([attempts(run) for run in runs], tries(p, 3), "attempts")


@pytest.mark.parametrize("at_once", [1, 3, 10])
def test_a_budget_of_dollars_overshoots_by_what_is_under_way(at_once: int) -> None:
    """At least B is spent, and below B + c x, with c at once of x dollars each; 50 seeds, B = 5, x = 1."""
    wf = fan_out(budget=ok.Budget(cost=5.0), bulkhead=at_once, on_error="skip")
    world = ok.World(lookup=ok.fake("x", latency=ok.dist.exponential(mean=1), cost=1.0))
    for run in trials(wf, world, 50, value=list(range(40))):
        assert 5.0 <= sum(event.cost for event in run.log()) < 5.0 + at_once


# Retries within retries


def nested(inner: int, outer: int) -> ok.Workflow:
    body = ok.Workflow("inner", input=str)

    @body.step(retry=ok.Retry(inner, wait=NOW))
    def ask(input: str) -> str: ...

    wf = ok.Workflow("outer", input=str)
    wf.call("deep", body, retry=ok.Retry(outer, wait=NOW))
    return wf


@pytest.mark.parametrize(("inner", "outer"), [(3, 3), (1, 4), (4, 2)])
def test_retries_multiply_in_a_total_outage(inner: int, outer: int) -> None:
    """(n+1)^L calls: 9 for 3 x 3; exact."""
    run = nested(inner, outer).simulate("x", world=ok.World({"deep/ask": ok.fake("x", error=1.0)}))
    assert run.status == "failed"
    assert len(began(run.log, "ask")) == inner * outer


@many
def test_retries_within_retries(n: int, seed: int) -> None:
    """Success 1-p^9 and (1-p^9)/(1-p) calls, for who goes on to the first success does not see the layers; 5,000."""
    p = 0.7
    runs = list(trials(nested(3, 3), ok.World({"deep/ask": ok.fake("x", error=p)}), n, value="x", seed=seed))
    rate_agrees([delivered(run) for run in runs], 1 - p**9, "success")
    mean_agrees([len(began(run.log(), "ask")) for run in runs], tries(p, 9), "calls")


@many
def test_a_hedge_around_a_workflow(n: int, seed: int) -> None:
    """Two exponential steps in a row are an Erlang time; hedged, P(T > t) = S(t) S(t-d); 5,000 runs, d = 6 s."""
    body = ok.Workflow("inner", input=str)

    @body.step
    def ask(input: str) -> str: ...

    @body.step
    def check(ask: str) -> str: ...

    wf = ok.Workflow("outer", input=str)
    wf.call("deep", body, hedge=6.0)
    stay = ok.fake("x", latency=ok.dist.exponential(mean=2))
    runs = list(trials(wf, ok.World({"deep/ask": stay, "deep/check": stay}), n, value="x", seed=seed))

    def survival(t: float) -> float:
        return exp(-t / 2) * (1 + t / 2)

    for t in (7.0, 9.0):
        rate_agrees([seconds(run) <= t for run in runs], 1 - survival(t) * survival(t - 6), f"done by {t}")
    rate_agrees([any(e.kind == "hedged" for e in run.log()) for run in runs], survival(6), "hedged")


# Escalation


@many
def test_a_person_after_all_attempts(n: int, seed: int) -> None:
    """Fails with p^3 (a + (1-a) exp(-T/m)), and a person delivers the rest of p^3; 5,000 runs."""
    p, absent, mean, bound = 0.7, 0.1, 600.0, 900.0
    wf = ok.Workflow("escalates", input=str)

    @wf.step(retry=ok.Retry(3, wait=NOW), escalate="rescue")
    def ask(input: str) -> str: ...

    wf.approval("rescue", answer=str, timeout=bound)
    person = ok.person(ok.dist.exponential(mean=mean), answers="by hand", absent=absent)
    runs = list(trials(wf, ok.World(ask=ok.fake("x", error=p), rescue=person), n, value="x", seed=seed))
    lost = absent + (1 - absent) * exp(-bound / mean)
    rate_agrees([not delivered(run) for run in runs], p**3 * lost, "failed")
    rate_agrees([any(e.kind == "asked" for e in run.log()) for run in runs], p**3, "asked")
    wait = (1 - absent) * mean * (1 - exp(-bound / mean)) + absent * bound
    mean_agrees([seconds(run) for run in runs], p**3 * wait, "length")


# Loops, and effects


@many
def test_a_critic_loop(n: int, seed: int) -> None:
    """At most m rounds, each accepted with P: (1-P)^m escalate, (1-(1-P)^m)/P rounds; 5,000 runs, m = 3.

    With weak .64, accept-right .9, reject-wrong .8 as the reference has it: P = .648, 1.4759 rounds, .0436 are left.
    """
    accept = 0.64 * 0.9 + 0.36 * 0.2
    body = ok.Workflow("round", input=str)

    @body.step
    def answer(input: str) -> bool: ...

    @body.step
    async def judge(answer: bool, ctx: ok.Context) -> bool:
        return ctx.random.random() < (0.9 if answer else 0.2)

    @body.step
    def both(answer: bool, judge: bool) -> str:
        return f"{answer} {judge}"

    def accepted(result: str, round: int) -> bool:
        return result.endswith("True")

    wf = ok.Workflow("critic", input=str)
    wf.loop("polish", body=body, until=accepted, max=3)
    world = ok.World({"polish/answer": ok.fake(lambda inputs, rng: rng.random() < 0.64)})
    runs = list(trials(wf, world, n, value="x", seed=seed))
    rounds = [sum(e.kind == "judged" for e in run.log()) for run in runs]
    left = (1 - accept) ** 3
    right = 0.64 * 0.9 * (1 - left) / accept
    mean_agrees(rounds, (1 - left) / accept, "rounds")
    rate_agrees([run.status() == "degraded" for run in runs], left, "left over")
    rate_agrees([run.outcome().result() == "True True" for run in runs], right, "accepted and right")
    assert [round(x, 4) for x in (right, (1 - left) / accept, left)] == [0.8501, 1.4759, 0.0436]


@many
def test_an_effect_whose_answer_is_lost_happens_again_under_one_key(n: int, seed: int) -> None:
    """(1-p^6)/(1-p) - 1 = 0.24992 duplicates, and one effect for a receiver that knows the key; 5,000 runs."""
    sent: list[str] = []
    wf = ok.Workflow("sends", input=str)

    @wf.step(effect=True, retry=ok.Retry(6, wait=NOW))
    async def send(input: str, ctx: ok.Context) -> str:
        sent.append(ctx.idempotency_key)
        if ctx.random.random() < 0.2:
            raise ConnectionError("the acknowledgement is lost")
        return input

    duplicates = []
    for _ in trials(wf, ok.World(send=ok.real), n, value="x", seed=seed):
        assert len(set(sent)) == 1
        duplicates.append(len(sent) - 1)
        sent.clear()
    exact = tries(0.2, 6) - 1
    mean_agrees(duplicates, exact, "duplicates")
    assert exact == pytest.approx(0.24992, abs=1e-6)


# What must hold where there is no closed form


@pytest.mark.parametrize(
    "policy",
    [
        {"hedge": 1e6},
        {"deadline": 1e6},
        {"breaker": ok.Breaker(10_000)},
        {"bulkhead": 10_000},
        {"rate_limit": ok.RateLimit(1e5, burst=10_000)},
        {"budget": ok.Budget(calls=10_000)},
    ],
    ids=lambda policy: next(iter(policy)),
)
def test_a_policy_that_never_acts_changes_no_luck(policy: dict[str, Any]) -> None:
    """With common luck each of 100 runs ends the same, at the same time, with the same attempts."""
    world = ok.World(lookup=ok.fake("x", latency=ok.dist.exponential(mean=2), error=0.3))

    def ends(**options: Any) -> list[Any]:
        runs = trials(fan_out(retry=ok.Retry(3), **options), world, 100, value=[1, 2, 3], case=0)
        return [
            (run.status(), [(e.t, e.kind, e.item, e.attempt) for e in run.log() if e.kind in ("started", "failed")])
            for run in runs
        ]

    assert ends(**policy) == ends()

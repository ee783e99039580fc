"""Simulated policies against closed forms (`reference/failures.md` §5).

Each test states n, the number of simulated runs, and fixes its seeds. Every comparison asks for |simulated - exact| < 4
standard errors, so one that is right fails with probability 6.3e-5 under new seeds; the 90 or so comparisons of this
file together with 0.6 % (see `tests.truth.oracle`). ``-m slow`` repeats those that take an n with ten times the runs
and other seeds.
"""

from __future__ import annotations

from itertools import pairwise
from math import exp, log, sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats

import orchkit as ok
from tests.support.names import shown
from tests.truth.oracle import attempts, delivered, mean_agrees, rate_agrees, seconds, trials

NOW = ok.backoff(base=0.0)
many = pytest.mark.parametrize(
    ("n", "seed"), [(5_000, 0), pytest.param(50_000, 1_000_000, marks=pytest.mark.slow)], ids=["5k", "50k"]
)


def one_step(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("one")

    @wf.step(**options)
    def draft() -> str: ...

    return wf


def draft(**model: Any) -> ok.World:
    return ok.World(draft=ok.fake("done", **model))


def test_the_quick_way_is_the_public_way() -> None:
    """The runs of this file are those of ``wf.simulate``, event for event (20 seeds)."""
    wf = one_step(retry=ok.Retry(3), timeout=6.0, fallback="sorry")
    world = draft(latency=ok.dist.lognormal(p50=3, p99=15), error=0.3)
    storm = ok.Faults(ok.faults.hang("draft", rate=0.2))
    for seed, run in enumerate(trials(wf, world, 20, faults=storm, case=0)):
        assert run.log() == wf.simulate(None, world=world, faults=storm, seed=seed).log


# Retry


@many
@pytest.mark.parametrize(("p", "retries"), [(0.3, 3), (0.1, 1), (0.6, 2), (0.5, 0)])
def test_retry_of_independent_failures(p: float, retries: int, n: int, seed: int) -> None:
    """Success 1-p^(r+1), attempts (1-p^(r+1))/(1-p), and attempts given success; 5,000 runs each."""
    wf = one_step(retry=ok.Retry(retries + 1, wait=NOW))
    runs = list(trials(wf, draft(error=p), n, seed=seed))
    good = [delivered(run) for run in runs]
    tries = [attempts(run) for run in runs]
    fails = p ** (retries + 1)
    rate_agrees(good, 1 - fails, f"success p={p} r={retries}")
    mean_agrees(tries, (1 - fails) / (1 - p), "attempts")
    given = (1 - (retries + 2) * fails + (retries + 1) * fails * p) / ((1 - p) * (1 - fails))
    mean_agrees([t for t, g in zip(tries, good, strict=True) if g], given, "attempts given success")
    if (p, retries) == (0.3, 3):  # the figures that the reference prints
        assert [round(x, 5) for x in (1 - fails, (1 - fails) / (1 - p), given)] == [0.9919, 1.417, 1.39591]


@many
@pytest.mark.parametrize(("jitter", "share"), [("full", 0.5), ("equal", 0.75), ("sdk", 0.875), (None, 1.0)])
@pytest.mark.parametrize(("p", "base", "cap"), [(0.3, 1.0, 20.0), (0.6, 2.0, 5.0)])
def test_mean_total_wait(jitter: Any, share: float, p: float, base: float, cap: float, n: int, seed: int) -> None:
    """Sum over j of p^(j+1) min(cap, base 2^j), times the jitter's mean share; 5,000 runs each, 3 retries."""
    wf = one_step(retry=ok.Retry(4, wait=ok.backoff(base=base, cap=cap, jitter=jitter)))
    exact = share * sum(p ** (j + 1) * min(cap, base * 2**j) for j in range(3))
    mean_agrees([seconds(run) for run in trials(wf, draft(error=p), n, seed=seed)], exact, f"wait {jitter} p={p}")
    if (jitter, p) == ("full", 0.3):
        assert round(exact, 3) == 0.294


@pytest.mark.parametrize(("jitter", "low", "high"), [("full", 0, 1), ("equal", 0.5, 1), ("sdk", 0.75, 1)])
def test_a_jittered_wait_is_uniform(jitter: Any, low: float, high: float) -> None:
    """Kolmogorov-Smirnov on each of three waits of 3,000 runs that always fail; error rate 1e-4 each."""
    wf = one_step(retry=ok.Retry(4, wait=ok.backoff(base=1.0, cap=3.0, jitter=jitter)))
    logs = (run.log() for run in trials(wf, draft(error=1.0), 3_000))
    waits = np.array([[e.dur / 1e6 for e in log if e.kind == "waiting"] for log in logs])
    for drawn, nominal in zip(waits.T, (1.0, 2.0, 3.0), strict=True):
        assert stats.kstest(drawn / nominal, stats.uniform(low, high - low).cdf).pvalue > 1e-4
    assert np.abs(np.corrcoef(waits.T)[np.triu_indices(3, 1)]).max() < 4 / sqrt(3_000)


def test_cost_is_that_of_all_attempts() -> None:
    """c (1-p^n)/(1-p) dollars; 5,000 runs."""
    wf = one_step(retry=ok.Retry(3, wait=NOW))
    cost = [sum(event.cost for event in run.log()) for run in trials(wf, draft(error=0.4, cost=0.02), 5_000)]
    mean_agrees(cost, 0.02 * (1 - 0.4**3) / 0.6, "cost")


# Time-out

MU, SIGMA, TAU = 1.0, 0.6, 6.0
LOGNORMAL = ok.dist.lognormal(p50=exp(MU), sigma=SIGMA)
IN_TIME = float(stats.norm.cdf((log(TAU) - MU) / SIGMA))
MEAN_MIN = exp(MU + SIGMA**2 / 2) * float(stats.norm.cdf((log(TAU) - MU - SIGMA**2) / SIGMA)) + TAU * (1 - IN_TIME)


@many
def test_timeout_on_lognormal_answers(n: int, seed: int) -> None:
    """Success F(tau), mean length E min(X, tau); 5,000 runs."""
    runs = list(trials(one_step(timeout=TAU), draft(latency=LOGNORMAL), n, seed=seed))
    rate_agrees([delivered(run) for run in runs], IN_TIME, "in time")
    mean_agrees([seconds(run) for run in runs], MEAN_MIN, "E min")
    assert round(MEAN_MIN, 5) == 3.04762


@many
def test_timeout_and_retries(n: int, seed: int) -> None:
    """Success 1-q^4, mean length E min (1-q^4)/(1-q), q the chance of a time-out; 5,000 runs, 3 retries at once."""
    q = 1 - IN_TIME
    wf = one_step(timeout=TAU, retry=ok.Retry(4, wait=NOW))
    runs = list(trials(wf, draft(latency=LOGNORMAL), n, seed=seed))
    exact = MEAN_MIN * (1 - q**4) / (1 - q)
    rate_agrees([delivered(run) for run in runs], 1 - q**4, "success")
    mean_agrees([seconds(run) for run in runs], exact, "length")
    mean_agrees([attempts(run) for run in runs], (1 - q**4) / (1 - q), "attempts")
    assert round(exact, 5) == 3.36165


@many
def test_timeout_on_answers_that_also_fail(n: int, seed: int) -> None:
    """An attempt succeeds with (1-e) F(tau): an error comes after its latency, or as a time-out; 5,000 runs."""
    runs = list(trials(one_step(timeout=TAU), draft(latency=LOGNORMAL, error=0.25), n, seed=seed))
    kinds = [next(event.status for event in run.log() if event.kind in ("completed", "failed")) for run in runs]
    rate_agrees([kind == "final" for kind in kinds], 0.75 * IN_TIME, "in time and right")
    rate_agrees([kind == "error" for kind in kinds], 0.25 * IN_TIME, "in time and wrong")
    rate_agrees([kind == "timeout" for kind in kinds], 1 - IN_TIME, "late")
    mean_agrees([seconds(run) for run in runs], MEAN_MIN, "E min")


# Fallback


def canned() -> str: ...


def canned_too() -> str: ...


@many
def test_fallback_to_an_independent_step(n: int, seed: int) -> None:
    """Success 1-pa pb = 0.98, degraded pa (1-pb); its time is added; 5,000 runs."""
    wf = one_step(fallback=canned)
    world = ok.World(
        {"draft/fallback:canned": ok.fake("canned", latency=2.0, error=0.1)}, draft=ok.fake("x", latency=1.0, error=0.2)
    )
    runs = list(trials(wf, world, n, seed=seed))
    rate_agrees([delivered(run) for run in runs], 0.98, "success")
    rate_agrees([run.status() == "degraded" for run in runs], 0.2 * 0.9, "degraded")
    mean_agrees([seconds(run) for run in runs], 1.0 + 0.2 * 2.0, "length")


def test_a_chain_of_fallbacks_after_retries() -> None:
    """Fails with p^3 b c; ends with the last value never; 5,000 runs each."""
    model = {"draft": ok.fake("x", error=0.7)}
    options = {"draft/fallback:canned": ok.fake("c", error=0.6), "draft/fallback:canned_too": ok.fake("d", error=0.5)}
    wf = one_step(retry=ok.Retry(3, wait=NOW), fallback=ok.Fallback(canned, canned_too))
    runs = list(trials(wf, ok.World({**model, **options}), 5_000))
    first = 0.7**3
    rate_agrees([not delivered(run) for run in runs], first * 0.6 * 0.5, "failed")
    rate_agrees([run.status() == "degraded" for run in runs], first * (1 - 0.6 * 0.5), "degraded")
    safe = wf.using(draft=ok.Fallback(canned, canned_too, "sorry"))
    results = [run.outcome().result() for run in trials(safe, ok.World({**model, **options}), 5_000)]
    for said, share in (("x", 1 - first), ("c", first * 0.4), ("d", first * 0.6 * 0.5), ("sorry", first * 0.6 * 0.5)):
        rate_agrees([result == said for result in results], share, f"result {said}")


@many
def test_a_fallback_with_a_time_out_and_retries_of_its_own(n: int, seed: int) -> None:
    """Fails with pa b^3, b = 1 - F(tau) of an exponential; its attempts last m F(tau); 5,000 runs."""
    wf = one_step(fallback=ok.step(retry=ok.Retry(3, wait=NOW), timeout=2.0)(canned))
    spare = ok.fake("c", latency=ok.dist.exponential(mean=3.0))
    world = ok.World({"draft/fallback:canned": spare}, draft=ok.fake("x", latency=1.0, error=0.4))
    runs = list(trials(wf, world, n, seed=seed))
    lost = exp(-2.0 / 3.0)
    rate_agrees([not delivered(run) for run in runs], 0.4 * lost**3, "failed")
    each = 3.0 * (1 - lost)  # E min(X, tau)
    mean_agrees([seconds(run) for run in runs], 1.0 + 0.4 * each * (1 + lost + lost**2), "length")


def test_where_retry_and_fallback_cross() -> None:
    """p^3 against 0.05 p: equal at p = sqrt(0.05) = 0.2236; 8,000 runs each at that p."""
    p = sqrt(0.05)
    retried = [not delivered(run) for run in trials(one_step(retry=ok.Retry(3, wait=NOW)), draft(error=p), 8_000)]
    world = ok.World({"draft/fallback:canned": ok.fake("c", error=0.05)}, draft=ok.fake("x", error=p))
    spared = [not delivered(run) for run in trials(one_step(fallback=canned), world, 8_000)]
    for share in (retried, spared):
        rate_agrees(share, p**3, "failures at the crossing")
    # The first attempts are the same: whoever failed three times with the one, failed once with the other.
    assert p**3 == pytest.approx(0.05 * p)


# Graphs


def fan_out(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("fan", input=list[int])

    @wf.map(over="input", **options)
    def lookup(item: int) -> str: ...

    return wf


def test_all_items_of_a_map_succeed() -> None:
    """(1-p^2)^k with one retry an item, k = 12; 2,000 runs."""
    wf = fan_out(retry=ok.Retry(2, wait=NOW))
    runs = trials(wf, ok.World(lookup=ok.fake("x", error=0.2)), 2_000, value=list(range(12)))
    rate_agrees([delivered(run) for run in runs], (1 - 0.2**2) ** 12, "all of 12")


def test_all_items_of_a_map_over_a_map_succeed() -> None:
    """((1-p^2)(1-q))^k, k = 5; without failures 3 H_5 s, as the second waits for all of the first; 2,000 runs."""
    wf = fan_out(retry=ok.Retry(2, wait=NOW))

    @wf.map(over="lookup")
    def judge(item: str) -> str: ...

    def world(p: float, q: float) -> ok.World:
        return ok.World(
            lookup=ok.fake("x", error=p, latency=ok.dist.exponential(mean=2)),
            judge=ok.fake("y", error=q, latency=ok.dist.exponential(mean=1)),
        )

    runs = trials(wf, world(0.2, 0.03), 2_000, value=list(range(5)))
    rate_agrees([delivered(run) for run in runs], (0.96 * 0.97) ** 5, "all of 5, twice")
    flawless = trials(wf, world(0.0, 0.0), 2_000, value=list(range(5)))
    mean_agrees([seconds(run) for run in flawless], (2 + 1) * sum(1 / i for i in range(1, 6)), "two barriers")


def test_items_that_are_skipped_leave_the_rest() -> None:
    """The number of items that deliver is binomial: mean k(1-p); degraded with 1-(1-p)^k; 2,000 runs, k = 8."""
    wf = fan_out(on_error="skip")
    runs = list(trials(wf, ok.World(lookup=ok.fake("x", error=0.1)), 2_000, value=list(range(8))))
    mean_agrees([sum(x == "x" for x in run.outcome().result()) for run in runs], 7.2, "items")
    rate_agrees([run.status() == "degraded" for run in runs], 1 - 0.9**8, "degraded")


def test_a_map_waits_for_its_slowest_item() -> None:
    """The longest of 16 exponentials with mean 2: 2 H_16 = 6.7615 s; with limit=1 their sum, 32 s; 2,000 runs each."""
    world = ok.World(lookup=ok.fake("x", latency=ok.dist.exponential(mean=2)))
    exact = 2 * sum(1 / i for i in range(1, 17))
    mean_agrees([seconds(run) for run in trials(fan_out(), world, 2_000, value=list(range(16)))], exact, "max of 16")
    one_by_one = trials(fan_out(limit=1), world, 2_000, value=list(range(16)))
    mean_agrees([seconds(run) for run in one_by_one], 32.0, "sum of 16")
    assert round(exact, 4) == 6.7615


def test_the_tail_of_a_fan_out() -> None:
    """One leaf in a hundred is slow: of 100 leaves at least one is with 1-.99^100 = 0.634; 800 runs."""
    late = ok.Faults(ok.faults.slow("lookup", add=30.0, rate=0.01))
    runs = trials(fan_out(), ok.World(lookup=ok.fake("x", latency=1.0)), 800, faults=late, value=list(range(100)))
    rate_agrees([seconds(run) > 30 for run in runs], 1 - 0.99**100, "slow fan-out")


def test_a_pipeline_multiplies() -> None:
    """0.98^10 = 0.8171; 2,000 runs."""
    wf = ok.Workflow("pipeline", input=str)
    before = "input"
    for i in range(10):
        scope: dict[str, Any] = {}
        exec(f"def s{i}({before}: str) -> str: ...", scope)
        wf.step(scope[f"s{i}"])
        before = f"s{i}"
    world = ok.World(**{f"s{i}": ok.fake("x", error=0.02) for i in range(10)})
    rate_agrees([delivered(run) for run in trials(wf, world, 2_000, value="x")], 0.98**10, "pipeline")


def test_parallel_branches_take_as_long_as_the_longer() -> None:
    """max of two exponentials with means 2 and 3: 2 + 3 - 1/(1/2 + 1/3) = 3.8 s; 5,000 runs."""
    wf = ok.Workflow("two")

    @wf.step
    def a() -> str: ...

    @wf.step
    def b() -> str: ...

    @wf.step
    def join(a: str, b: str) -> str: ...

    exponential = ok.dist.exponential
    world = ok.World(
        a=ok.fake("a", latency=exponential(mean=2)), b=ok.fake("b", latency=exponential(mean=3)), join=ok.fake("j")
    )
    mean_agrees([seconds(run) for run in trials(wf, world, 5_000)], 3.8, "longer of two")


# People


def approval(timeout: float | None = None) -> ok.Workflow:
    wf = ok.Workflow("gate")
    wf.approval("review", answer=bool, timeout=timeout)
    return wf


@many
def test_a_persons_delay_and_verdict(n: int, seed: int) -> None:
    """Mean delay p50 exp(s^2/2), approved with 0.7, both independent; 5,000 runs."""
    world = ok.World(review=ok.person(ok.dist.lognormal(p50=600, sigma=0.8), approve=0.7))
    runs = list(trials(approval(), world, n, seed=seed))
    took, yes = np.array([seconds(run) for run in runs]), np.array([run.outcome().result() for run in runs])
    mean_agrees(took, 600 * exp(0.8**2 / 2), "delay")
    rate_agrees(yes, 0.7, "approved")
    assert abs(np.corrcoef(np.log(took), yes)[0, 1]) < 4 / sqrt(n)


@many
@pytest.mark.parametrize(("absent", "means"), [(0.1, 2.0), (0.0, 1.0), (0.4, 0.5)])
def test_questions_without_an_answer_in_time(absent: float, means: float, n: int, seed: int) -> None:
    """a+(1-a)exp(-T/m) expire (0.2218 for a=.1, T=2m); mean wait (1-a) m (1-exp(-T/m)) + a T; 5,000 runs."""
    mean, deadline = 600.0, 600.0 * means
    world = ok.World(review=ok.person(ok.dist.exponential(mean=mean), approve=0.5, absent=absent))
    runs = list(trials(approval(timeout=deadline), world, n, seed=seed))
    late = exp(-means)
    rate_agrees([run.outcome().result() is None for run in runs], absent + (1 - absent) * late, "expired")
    rate_agrees([bool(run.outcome().result()) for run in runs], 0.5 * (1 - absent) * (1 - late), "approved in time")
    mean_agrees([seconds(run) for run in runs], (1 - absent) * mean * (1 - late) + absent * deadline, "wait")
    if (absent, means) == (0.1, 2.0):
        assert round(absent + (1 - absent) * late, 4) == 0.2218


# Faults


@many
@pytest.mark.parametrize(("f", "e"), [(0.2, 0.1), (0.0, 0.3), (0.5, 0.0), (0.05, 0.05)])
def test_a_fault_and_a_model_that_fails(f: float, e: float, n: int, seed: int) -> None:
    """An attempt fails with 1-(1-f)(1-e), three do with its cube; injections f an attempt; 5,000 runs."""
    wf = one_step(retry=ok.Retry(3, wait=NOW))
    runs = list(trials(wf, draft(error=e), n, faults=ok.Faults(ok.faults.fail("draft", rate=f)), seed=seed))
    p = 1 - (1 - f) * (1 - e)
    rate_agrees([delivered(run) for run in runs], 1 - p**3, f"success f={f} e={e}")
    mean_agrees([attempts(run) for run in runs], (1 - p**3) / (1 - p), "attempts")
    struck = [sum(event.kind == "injected" for event in run.log()) for run in runs]
    mean_agrees(struck, f * (1 - p**3) / (1 - p), "injections")


def test_two_faults_the_first_decides() -> None:
    """Of rates f and g the first strikes f, the second (1-f) g of the attempts; 5,000 runs."""
    storm = ok.Faults(ok.faults.fail("draft", rate=0.3), ok.faults.hang("draft", rate=0.4))
    runs = list(trials(one_step(timeout=5.0), draft(latency=1.0), 5_000, faults=storm))
    status = [next(event.status for event in run.log() if event.kind in ("completed", "failed")) for run in runs]
    rate_agrees([s == "error" for s in status], 0.3, "failed")
    rate_agrees([s == "timeout" for s in status], 0.7 * 0.4, "hung")
    rate_agrees([s == "final" for s in status], 0.7 * 0.6, "went well")


@many
@pytest.mark.parametrize(
    ("factor", "add", "rate"), [(4.0, 0.0, 0.25), (1.0, 10.0, 0.1), (3.0, 2.0, 0.5), (2.0, 1.0, 1.0)]
)
def test_slow_answers(factor: float, add: float, rate: float, n: int, seed: int) -> None:
    """Mean length m + r ((F-1) m + A): who is hit does not hang on how long it takes; 5,000 runs."""
    late = ok.Faults(ok.faults.slow("draft", factor=factor, add=add, rate=rate))
    runs = trials(one_step(), draft(latency=LOGNORMAL), n, faults=late, seed=seed)
    mean = exp(MU + SIGMA**2 / 2)
    mean_agrees([seconds(run) for run in runs], mean + rate * ((factor - 1) * mean + add), f"slow x{factor} +{add}")


def test_two_slow_faults_add_up() -> None:
    """Independent factors: m (1+r(F-1)) (1+s(G-1)); 5,000 runs."""
    late = ok.Faults(ok.faults.slow("draft", factor=3, rate=0.5), ok.faults.slow("draft", factor=2, rate=0.25))
    runs = trials(one_step(), draft(latency=ok.dist.exponential(mean=2)), 5_000, faults=late)
    mean_agrees([seconds(run) for run in runs], 2.0 * (1 + 0.5 * 2) * (1 + 0.25 * 1), "two factors")


@many
@pytest.mark.parametrize("h", [0.1, 0.4])
def test_hangs_under_a_timeout_and_retries(h: float, n: int, seed: int) -> None:
    """Success 1-h^3; mean length (h tau + (1-h) L) (1-h^3)/(1-h); 5,000 runs, answers of 2 s, time-out 20 s."""
    wf = one_step(timeout=20.0, retry=ok.Retry(3, wait=NOW))
    storm = ok.Faults(ok.faults.hang("draft", rate=h))
    runs = list(trials(wf, draft(latency=2.0), n, faults=storm, seed=seed))
    rate_agrees([delivered(run) for run in runs], 1 - h**3, f"success h={h}")
    mean_agrees([seconds(run) for run in runs], (20 * h + 2 * (1 - h)) * (1 - h**3) / (1 - h), "length")


# Distributions, through the engine


@pytest.mark.parametrize(
    ("made", "exact"),
    [
        (ok.dist.exponential(mean=4), stats.expon(scale=4)),
        (ok.dist.lognormal(p50=3, p99=15), stats.lognorm(log(5) / stats.norm.ppf(0.99), scale=3)),
        (ok.dist.gamma(shape=2.078, scale=3.015), stats.gamma(2.078, scale=3.015)),
        (ok.dist.weibull(shape=0.6, scale=60), stats.weibull_min(0.6, scale=60)),
    ],
    ids=shown,
)
def test_an_attempt_takes_as_long_as_the_distribution_says(made: Any, exact: Any) -> None:
    """Kolmogorov-Smirnov on 5,000 runs, error rate 1e-4 each; times are rounded to microseconds."""
    took = [seconds(run) for run in trials(one_step(), draft(latency=made), 5_000)]
    assert stats.kstest(took, exact.cdf).pvalue > 1e-4


# Where there is no closed form: what must hold for each seed


def test_more_retries_never_lower_success() -> None:
    """With common luck, for each of 1,000 seeds: who succeeds with k attempts does with k+1, by the same first k."""
    logs = [
        [run.log() for run in trials(one_step(retry=ok.Retry(k, wait=NOW)), draft(error=0.5), 1_000, case=0)]
        for k in range(1, 5)
    ]
    for fewer, more in pairwise(logs):
        for a, b in zip(fewer, more, strict=True):
            assert a[-1].status != "completed" or a == b


def test_a_fault_that_never_strikes_leaves_the_log_as_it_is() -> None:
    """200 seeds, each kind at rate 0."""
    wf = one_step(retry=ok.Retry(3), timeout=6.0, fallback="sorry")
    world = draft(latency=LOGNORMAL, error=0.3)
    kinds = (ok.faults.fail("draft", rate=0), ok.faults.hang("draft", rate=0), ok.faults.slow("draft", add=9, rate=0))
    calm = [run.log() for run in trials(wf, world, 200, case=0)]
    assert calm == [run.log() for run in trials(wf, world, 200, faults=ok.Faults(*kinds), case=0)]


def test_doubling_all_durations_doubles_the_run() -> None:
    """200 seeds: latency, waits and time-out times two, to the rounding of each to a microsecond."""

    def lengths(scale: float) -> list[float]:
        wf = one_step(retry=ok.Retry(4, wait=ok.backoff(base=scale, cap=60 * scale)), timeout=6.0 * scale)
        world = draft(latency=ok.dist.lognormal(p50=3 * scale, sigma=0.8), error=0.3)
        return [seconds(run) for run in trials(wf, world, 200, case=0)]

    assert np.allclose(np.array(lengths(2.0)), 2 * np.array(lengths(1.0)), rtol=0, atol=2e-5)

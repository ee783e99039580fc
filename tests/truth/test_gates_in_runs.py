"""Bulkheads and rate limits in whole runs against queueing theory: a map sends its items in at random times.

An item first sleeps until its arrival, then goes through the gate. Each run is one stretch of arrivals, of which the
first are left out while the queue fills; the runs are independent, and their means are what is held against the form.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import exp
from typing import Any

import numpy as np
import pytest

import orchkit as ok
from orchkit.model.events import Event
from orchkit.runs.checks import dump_input
from orchkit.runs.simulate import prepare, simulate
from tests.truth.oracle import erlang_b, erlang_c, general_wait, mean_agrees

pytestmark = pytest.mark.slow  # minutes on a busy machine

STAYS = ok.dist.exponential(mean=1)
START = 250
"""Arrivals left out at the start of each run: these queues forget their empty start by a factor of e in 75 or less."""

many = pytest.mark.parametrize(
    ("runs", "seed"), [(30, 0), pytest.param(400, 1_000, marks=pytest.mark.slow)], ids=["30", "400"]
)


def visits(**options: Any) -> ok.Workflow:
    body = ok.Workflow("visit", input=float)

    @body.step
    async def arrive(input: float, ctx: ok.Context) -> float:
        await ctx.sleep(input)
        return input

    @body.step(**options)
    def serve(arrive: float) -> str: ...

    wf = ok.Workflow("queue", input=list[float])
    wf.map("visit", over="input", body=body)
    return wf


def stretches(wf: ok.Workflow, stays: Any, rate: float, runs: int, seed: int) -> Iterator[tuple[Event, ...]]:
    """Give the logs of runs with 1,000 Poisson arrivals each; the rate is a second's, and seeds count from `seed`."""
    program = prepare(wf.checked(), ok.World({"visit/serve": ok.fake("served", latency=stays)}))
    for luck in range(seed, seed + runs):
        times = np.cumsum(np.random.default_rng(luck).exponential(1 / rate, 1_000)).tolist()
        yield tuple(simulate(program, dump_input(program, times), seed=luck).log())


def waits(log: tuple[Event, ...]) -> np.ndarray:
    """Give how long each arrival waited, in seconds, in the order of arrival."""
    came, began = {}, {}
    for event in log:
        name, _, place = event.node.partition("/")
        if place == "arrive" and event.kind == "completed":
            came[name] = event.t
        elif place == "serve" and event.kind == "started":
            began[name] = event.t
    assert came.keys() == began.keys()
    return np.array([began[name] - at for name, at in came.items()]) / 1e6


# Bulkheads


@many
def test_a_bulkhead_without_a_queue_rejects_as_erlang_b_says(runs: int, seed: int) -> None:
    """a = 4, c = 5: 0.1991 of the arrivals; 30 runs."""
    exact = erlang_b(4.0, 5)
    assert round(exact, 4) == 0.1991
    shares = []
    for log in stretches(visits(bulkhead=ok.Bulkhead(5, queue=0), fallback="full"), STAYS, 4.0, runs, seed):
        ends = [event.kind for event in log if event.node.endswith("/serve") and event.kind in ("started", "rejected")]
        shares.append(np.mean([end == "rejected" for end in ends[START:]]))
    mean_agrees(shares, exact, "Erlang B")


@many
def test_a_bulkhead_with_a_queue_makes_wait_as_erlang_c_says(runs: int, seed: int) -> None:
    """Rate 2.4, stays of 1 s, c = 3: 0.6472 wait, 1.0787 s on average, 0.3552 over 1 s; 30 runs."""
    rate, places = 2.4, 3
    waiting, slack = erlang_c(rate, places), places - rate
    exact = (waiting, waiting / slack, waiting * exp(-slack))
    assert [round(x, 4) for x in exact] == [0.6472, 1.0787, 0.3552]
    kept = [waits(log)[START:] for log in stretches(visits(bulkhead=places), STAYS, rate, runs, seed)]
    mean_agrees([np.mean(w > 0) for w in kept], exact[0], "share that waits")
    mean_agrees([np.mean(w) for w in kept], exact[1], "mean wait")
    mean_agrees([np.mean(w > 1) for w in kept], exact[2], "share that waits over 1 s")


@many
def test_a_bulkhead_of_one_with_other_stays(runs: int, seed: int) -> None:
    """M/G/1 at load 0.7, lognormal stays with sigma 0.6: 1.6722 s on average; 30 runs."""
    sigma = 0.6
    variation = np.sqrt(np.expm1(sigma**2))
    exact = general_wait(0.7, 1.0, float(variation))
    assert round(exact, 4) == 1.6722
    stays = ok.dist.lognormal(p50=exp(-(sigma**2) / 2), sigma=sigma)
    kept = [waits(log)[START:] for log in stretches(visits(bulkhead=1), stays, 0.7, runs, seed)]
    mean_agrees([np.mean(w) for w in kept], exact, "M/G/1")


def test_a_bulkhead_never_holds_more_than_it_may_and_keeps_the_order_of_arrival() -> None:
    """In each of 10 runs of 500 arrivals at twice what it bears, whatever fails on the way."""
    wf = visits(bulkhead=3, retry=ok.Retry(2, wait=ok.backoff(base=0)), fallback="sorry")
    program = prepare(wf.checked(), ok.World({"visit/serve": ok.fake("x", latency=STAYS, error=0.3)}))
    for seed in range(10):
        times = np.cumsum(np.random.default_rng(seed).exponential(1 / 6, 500)).tolist()
        inside, line = 0, []
        for event in simulate(program, dump_input(program, times), seed=seed).log():
            who = (event.node, event.attempt)
            if not event.node.endswith("/serve"):
                continue
            if event.kind == "waiting" and event.status == "bulkhead":
                line.append(who)
            elif event.kind == "started":
                inside += 1
                assert inside <= 3
                assert not line or line.pop(0) == who  # nobody overtakes
            elif event.kind in ("completed", "failed"):
                inside -= 1
        assert (inside, line) == (0, [])


# Rate limits


@pytest.mark.parametrize(("per_second", "burst", "n"), [(2.0, 3, 20), (3.0, 1, 100), (0.7, 5, 30), (1000.0, 10, 500)])
def test_the_ith_of_many_at_once_starts_at_its_time(per_second: float, burst: int, n: int) -> None:
    """max(0, (i-b)/r), to the microsecond that follows; exact."""
    program = prepare(
        visits(rate_limit=ok.RateLimit(per_second, burst=burst)).checked(), ok.World({"visit/serve": ok.fake("x")})
    )
    log = simulate(program, dump_input(program, [1.0] * n)).log()
    began = [e.t - 1_000_000 for e in log if e.kind == "started" and e.node.endswith("/serve")]
    tenths = round(per_second * 10)  # whole numbers, so that the ceiling is that of the form itself
    assert began == [max(0, -(-(i - burst) * 10_000_000 // tenths)) for i in range(1, n + 1)]


@many
def test_a_rate_limit_spaces_random_arrivals_as_a_queue_of_equal_stays(runs: int, seed: int) -> None:
    """M/D/1: rho / (2 mu (1-rho)), 1.1667 s at 1/s and rho 0.7; 30 runs."""
    exact = general_wait(0.7, 1.0, 0.0)
    assert round(exact, 4) == 1.1667
    kept = [waits(log)[START:] for log in stretches(visits(rate_limit=ok.RateLimit(1.0)), STAYS, 0.7, runs, seed)]
    mean_agrees([np.mean(w) for w in kept], exact, "M/D/1")


def test_no_stretch_of_time_sees_more_than_the_bucket_and_what_flows_in() -> None:
    """At most b + r w begin in any w seconds, retries included; 10 runs of 300 arrivals, at thrice the rate."""
    limit = ok.RateLimit(2.0, burst=4)
    wf = visits(rate_limit=limit, retry=ok.Retry(3, wait=ok.backoff(base=0.5)), fallback="sorry")
    program = prepare(wf.checked(), ok.World({"visit/serve": ok.fake("x", latency=STAYS, error=0.4)}))
    for seed in range(10):
        times = np.cumsum(np.random.default_rng(seed).exponential(1 / 6, 300)).tolist()
        log = simulate(program, dump_input(program, times), seed=seed).log()
        began = np.array([e.t for e in log if e.kind == "started" and e.node.endswith("/serve")])
        for ahead in (4, 5, 8, 20, 100):
            assert (began[ahead:] - began[:-ahead]).min() >= (ahead - limit.burst + 1 - 1) / limit.per_second * 1e6 - 1


# Both in one run


def test_gates_of_one_key_are_one_gate() -> None:
    """Two maps on one provider together bear what one bears: 8 s for 2 x 8 items of 1 s at two places; exact."""
    wf = ok.Workflow("shared", input=list[int])

    @wf.map(over="input", bulkhead=ok.Bulkhead(2), provider="llm:a")
    def one(item: int) -> str: ...

    @wf.map(over="input", bulkhead=ok.Bulkhead(2), provider="llm:a")
    def two(item: int) -> str: ...

    world = ok.World(one=ok.fake("x", latency=1.0), two=ok.fake("y", latency=1.0))
    log = wf.simulate(list(range(8)), world=world).log
    began = defaultdict(int)
    for event in log:
        if event.kind == "started":
            began[event.t] += 1
    assert set(began.values()) == {2}
    assert log[-1].t == 8_000_000

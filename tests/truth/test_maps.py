"""Simulated maps against closed forms (`reference/failures.md` §5): quorums, and who is last.

As in `tests.truth.test_policies`: n is stated, seeds are fixed, and |simulated - exact| < 4 standard errors; a
comparison that is right fails with probability 6.3e-5 under new seeds, those of this file together with 0.1 %.
"""

from __future__ import annotations

from itertools import product
from math import comb, prod
from typing import Any

import pytest

import orchkit as ok
from tests.truth.oracle import attempts, delivered, mean_agrees, rate_agrees, seconds, trials

many = pytest.mark.parametrize(
    ("n", "seed"), [(4_000, 0), pytest.param(40_000, 1_000_000, marks=pytest.mark.slow)], ids=["4k", "40k"]
)


def harmonic(n: int) -> float:
    return sum(1 / k for k in range(1, n + 1))


def calls(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("calls", input=list)

    @wf.map(over="input", **options)
    def call(item: int) -> str: ...

    return wf


@many
def test_quorum_2_of_3_unlike_voters(n: int, seed: int) -> None:
    """The sum over the sets of at least two of .9, .8 and .7: 0.902; 4,000 runs."""
    wf = ok.Workflow("vote", input=list)

    @wf.map(over="input", quorum=2)
    def vote(item: float, ctx: ok.Context) -> str:
        if ctx.random.random() >= item:
            raise ConnectionError("down")
        return "yes"

    rates = [0.9, 0.8, 0.7]
    sets = [ways for ways in product([True, False], repeat=3) if sum(ways) >= 2]
    exact = sum(prod(p if yes else 1 - p for p, yes in zip(rates, ways, strict=True)) for ways in sets)
    assert round(exact, 3) == 0.902
    rate_agrees([delivered(run) for run in trials(wf, ok.World(), n, value=rates, seed=seed)], exact, "quorum 2 of 3")


@many
@pytest.mark.parametrize(("size", "k", "p"), [(5, 3, 0.3), (8, 7, 0.1), (4, 1, 0.6)])
def test_quorum_of_like_voters_and_what_they_cost(size: int, k: int, p: float, n: int, seed: int) -> None:
    """The binomial tail; one after the other, until k have delivered or cannot: 4,000 runs each."""
    world = ok.World(call=ok.fake("x", latency=1.0, error=p))
    runs = list(trials(calls(quorum=k, limit=1), world, n, value=list(range(size)), seed=seed))
    tail = sum(comb(size, j) * (1 - p) ** j * p ** (size - j) for j in range(k, size + 1))
    rate_agrees([delivered(run) for run in runs], tail, f"quorum {k} of {size}")
    # The k-th success at trial m, or the (size - k + 1)-th failure.
    lost = size - k + 1
    met = sum(m * comb(m - 1, k - 1) * (1 - p) ** k * p ** (m - k) for m in range(k, size + 1))
    missed = sum(m * comb(m - 1, lost - 1) * p**lost * (1 - p) ** (m - lost) for m in range(lost, size + 1))
    mean_agrees([attempts(run) for run in runs], met + missed, "calls")


@many
@pytest.mark.parametrize(("size", "k"), [(16, 12), (16, 1), (16, 16), (3, 2)])
def test_the_kth_of_n_to_come(size: int, k: int, n: int, seed: int) -> None:
    """2 (H_n - H_(n-k)) of exponentials with mean 2: 2.5948 for 12 of 16, 6.7615 for all (map-reduce); 4,000 runs."""
    world = ok.World(call=ok.fake("x", latency=ok.dist.exponential(mean=2)))
    exact = 2 * (harmonic(size) - harmonic(size - k))
    assert {12: 2.5948, 16: 6.7615}.get(k, round(exact, 4)) == round(exact, 4)
    quorum = {} if k == size else {"quorum": k}
    runs = trials(calls(**quorum), world, n, value=list(range(size)), seed=seed)
    mean_agrees([seconds(run) for run in runs], exact, f"{k} of {size}")


@many
def test_a_share_is_the_same_as_its_number(n: int, seed: int) -> None:
    """12 of 16 as 0.75: the same 2.5948; 4,000 runs."""
    world = ok.World(call=ok.fake("x", latency=ok.dist.exponential(mean=2)))
    runs = trials(calls(quorum=0.75), world, n, value=list(range(16)), seed=seed + 500_000)
    mean_agrees([seconds(run) for run in runs], 2 * (harmonic(16) - harmonic(4)), "0.75 of 16")


@many
def test_a_stream_waits_for_no_list(n: int, seed: int) -> None:
    """Two exponentials in a row, the last of 4 pairs; without a stream the sum of two maxima: 4,000 runs each."""

    def two(stream: bool) -> ok.Workflow:
        wf = calls()

        @wf.map(over="call", stream=stream)
        def then(item: str) -> str: ...

        return wf

    latency = ok.dist.exponential(mean=1)
    world = ok.World(call=ok.fake("x", latency=latency), then=ok.fake("y", latency=latency))
    value = list(range(4))
    waits = [seconds(run) for run in trials(two(False), world, n, value=value, seed=seed)]
    mean_agrees(waits, 2 * harmonic(4), "two maxima")
    # E max of 4 with F(t) = 1 - (1 + t) e^-t, by inclusion and exclusion: integral of (1 + t)^j e^(-jt).
    integral = {j: sum(comb(j, i) * _factorial(i) / j ** (i + 1) for i in range(j + 1)) for j in range(1, 5)}
    exact = sum((-1) ** (j + 1) * comb(4, j) * integral[j] for j in range(1, 5))
    streamed = [seconds(run) for run in trials(two(True), world, n, value=value, seed=seed)]
    mean_agrees(streamed, exact, "the last of four pairs")


def _factorial(i: int) -> int:
    return prod(range(1, i + 1))

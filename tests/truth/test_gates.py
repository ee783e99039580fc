"""The gates against their closed forms, before any engine is around them: failures in a row, outages, queues."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import factorial

import numpy as np
import pytest

from orchkit.engine.gates.breaker import BreakerGate
from orchkit.engine.gates.bulkhead import BulkheadGate
from orchkit.engine.gates.ratelimit import RateLimitGate
from tests.truth.oracle import mean_agrees

SECOND = 1_000_000


def calls_to_open(failures: int, fails: Callable[[], bool]) -> int:
    gate = BreakerGate(failures, SECOND)
    n = 0
    while gate.due() is None:
        gate.admitted(n, n)
        gate.ended(n, not fails(), n)
        n += 1
    return n


@pytest.mark.parametrize(("failures", "p"), [(3, 0.4), (1, 0.2), (5, 0.6), (2, 0.1)])
def test_calls_until_failures_in_a_row_open_it(failures: int, p: float) -> None:
    """(1-p^K) / ((1-p) p^K) calls on average, and 24.375 for K = 3 and p = 0.4; 20,000 trials each, seed 0."""
    draws = iter(np.random.default_rng(0).random(4_000_000) < p)
    exact = (1 - p**failures) / ((1 - p) * p**failures)
    mean_agrees(
        [calls_to_open(failures, lambda: bool(next(draws))) for _ in range(20_000)], exact, f"K={failures} {p=}"
    )
    if (failures, p) == (3, 0.4):
        assert round(exact, 9) == 24.375


@pytest.mark.parametrize("failures", [1, 3, 5])
@pytest.mark.parametrize("reset", [7, 10, 30, 100])
@pytest.mark.parametrize("outage", [0, 6, 7, 29, 30, 31, 599, 600])
def test_calls_in_a_total_outage(failures: int, reset: int, outage: int) -> None:
    """K + floor(T / reset) calls reach a provider that is down for T, however many want to; exact."""
    gate = BreakerGate(failures, reset)
    calls = 0
    for at in range(outage + 1):
        for caller in range(failures + 2):  # each instant more than it takes to open it
            who, verdict = (at, caller), gate.verdict(at)
            if verdict == "reject":
                continue
            calls += 1
            gate.probing(who, at) if verdict == "probe" else gate.admitted(who, at)
            gate.ended(who, False, at)
            if gate.due() == "open":
                gate.opened(at)
    assert calls == failures + outage // reset


# Queues: one long path, whose first tenth is left out, in batches that are long against its memory


class Path:
    """Attempts that come at random to a bulkhead, and stay for exponential times."""

    def __init__(self, gate: BulkheadGate, rate: float, n: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.gate = gate
        self.arrivals = np.cumsum(rng.exponential(1 / rate, n))
        self.stays = rng.exponential(1.0, n)
        self.waits = np.full(n, np.nan)  # of those who were rejected there is none
        self.leaving: list[tuple[float, int]] = []
        for who, at in enumerate(self.arrivals):
            self._leave(at)
            verdict = gate.verdict()
            if verdict == "admit":
                self._enter(who, at)
            elif verdict == "queue":
                gate.queued(who)
        self._leave(float("inf"))

    def _leave(self, until: float) -> None:
        while self.leaving and self.leaving[0][0] <= until:
            at, who = heappop(self.leaving)
            self.gate.left(who)
            following = self.gate.next()
            if isinstance(following, int):
                self._enter(following, at)

    def _enter(self, who: int, at: float) -> None:
        self.gate.admitted(who)
        self.waits[who] = at - self.arrivals[who]
        heappush(self.leaving, (at + self.stays[who], who))


def batches(values: np.ndarray, count: int = 100) -> np.ndarray:
    """Give the means of batches."""
    kept = values[len(values) // 10 :]
    return kept[: len(kept) // count * count].reshape(count, -1).mean(axis=1)


def test_a_bulkhead_without_a_queue_rejects_as_erlang_b_says() -> None:
    """a = 4, c = 5: 0.1991 of arrivals; 200,000 of them in 100 batches, seed 1."""
    load, places = 4.0, 5
    terms = [load**k / factorial(k) for k in range(places + 1)]
    exact = terms[-1] / sum(terms)
    assert round(exact, 4) == 0.1991
    path = Path(BulkheadGate(places, queue=0), load, 200_000, 1)
    mean_agrees(batches(np.isnan(path.waits)), exact, "Erlang B")


def test_a_bulkhead_with_a_queue_makes_wait_as_erlang_c_says() -> None:
    """Rate 2.4, service 1, c = 3: 0.6472 wait, 1.0787 on average; 200,000 arrivals in 100 batches, seed 2."""
    load, places = 2.4, 3
    term = load**places / factorial(places) * places / (places - load)
    waiting = term / (sum(load**k / factorial(k) for k in range(places)) + term)
    assert (round(waiting, 4), round(waiting / (places - load), 4)) == (0.6472, 1.0787)
    path = Path(BulkheadGate(places), load, 200_000, 2)
    mean_agrees(batches(path.waits > 0), waiting, "share that waits")
    mean_agrees(batches(path.waits), waiting / (places - load), "mean wait")


def test_a_rate_limit_spaces_random_arrivals_as_a_queue_of_equal_services() -> None:
    """M/D/1: the mean wait is rho / (2 mu (1 - rho)), 1.1667 s at 1/s and rho 0.7; 200,000 in 100 batches, seed 3."""
    rho, n = 0.7, 200_000
    arrivals = np.cumsum(np.random.default_rng(3).exponential(SECOND / rho, n)).astype(int).tolist()
    gate = RateLimitGate(1.0)
    began: dict[int, int] = {}
    for who, at in enumerate(arrivals):
        _drain(gate, at, began)
        if gate.verdict(at) == "admit":
            gate.admitted(who, at)
            began[who] = at
        else:
            gate.queued(who)
    _drain(gate, 10**18, began)
    waits = np.array([began[who] - at for who, at in enumerate(arrivals)]) / SECOND
    mean_agrees(batches(waits), rho / (2 * (1 - rho)), "M/D/1")


def _drain(gate: RateLimitGate, until: int, began: dict[int, int]) -> None:
    while (due := gate.due(0)) is not None and due <= until:
        who = gate.next(due)
        assert isinstance(who, int)
        gate.admitted(who, due)
        began[who] = due

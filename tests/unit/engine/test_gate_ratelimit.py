"""The rate limit's gate: exact to the microsecond, however long it goes on."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchkit.engine.gates.ratelimit import RateLimitGate

RATES = [0.1, 0.3, 0.5, 2.0, 3.0, 10 / 60, 7.0, 1000.0, 300_000.0, 1e6, 7e6, 1e-9]


def per_micro(rate: float) -> Fraction:
    """Give the rate as the decimal that it is written as, per microsecond."""
    return Fraction(repr(rate)) / 1_000_000


def starts(gate: RateLimitGate, arrivals: list[int]) -> list[int]:
    """Let attempts come, and give when each begins."""
    found: list[int] = []

    def drain(until: int, at: int) -> None:
        while (due := gate.due(at)) is not None and due <= until:
            who: Any = gate.next(due)
            assert who == len(found)
            assert due == at or gate.next(due - 1) is None  # no sooner
            gate.admitted(who, due)
            found.append(due)
            at = due

    last = arrivals[0]
    for n, at in enumerate(arrivals):
        drain(at, last)
        if gate.verdict(at) == "admit":
            gate.admitted(n, at)
            found.append(at)
        else:
            gate.queued(n)
        last = at
    drain(10**30, last)
    assert gate.waiting == 0
    return found


@pytest.mark.parametrize("burst", [1, 2, 10])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("begin", [0, 7, 123_456_789])
def test_of_many_at_once_the_ith_begins_when_it_should(rate: float, burst: int, begin: int) -> None:
    """The i-th of N at once begins at max(0, (i - b) / r), rounded up to a microsecond and no further: exact."""
    found = starts(RateLimitGate(rate, burst), [begin] * 1000)
    assert found == [begin + max(0, ceil((i - burst) / per_micro(rate))) for i in range(1, 1001)]


def test_the_bucket_fills_while_nobody_comes_and_holds_no_more_than_its_burst() -> None:
    gate = RateLimitGate(2, burst=3)
    assert starts(gate, [0] * 3) == [0, 0, 0]
    found = starts(RateLimitGate(2, burst=3), [0] * 3 + [1_000_000] * 3 + [60_000_000] * 5)
    assert found == [0, 0, 0, 1_000_000, 1_000_000, 1_500_000, *[60_000_000] * 3, 60_500_000, 61_000_000]


def test_who_gives_up_leaves_its_turn_to_the_next_and_its_token_where_it_is() -> None:
    gate = RateLimitGate(1)
    gate.admitted("a", 0)
    for who in "bc":
        gate.queued(who)
    assert gate.due(0) == 1_000_000
    gate.left("b")
    assert (gate.due(0), gate.next(999_999), gate.next(1_000_000)) == (1_000_000, None, "c")
    gate.left("a")  # it has begun: its token stays taken
    gate.left("c")
    assert (gate.due(0), gate.verdict(999_999), gate.verdict(1_000_000)) == (None, "queue", "admit")


def test_nobody_overtakes_those_who_wait() -> None:
    gate = RateLimitGate(1)
    gate.admitted("a", 0)
    gate.queued("b")
    assert gate.verdict(5_000_000) == "queue"
    assert gate.next(5_000_000) == "b"


def test_who_was_let_in_late_saves_up_no_more_than_the_bucket_holds() -> None:
    gate = RateLimitGate(3, burst=2)
    for who in range(10):
        gate.admitted(who, 0) if who < 2 else gate.queued(who)
    late = 3_600_000_000  # the engine stood still for an hour
    found = []
    while (who := gate.next(late)) is not None:
        gate.admitted(who, late)
        found.append(who)
    assert found == [2, 3]


@given(
    rate=st.sampled_from(RATES) | st.floats(0.001, 1e5),
    burst=st.integers(1, 5),
    gaps=st.lists(st.sampled_from([0, 0, 1, 5]) | st.integers(0, 3_000_000), min_size=1, max_size=60),
)
@settings(max_examples=200, deadline=None)
def test_no_window_sees_more_than_the_bucket_and_the_rate_give(rate: float, burst: int, gaps: list[int]) -> None:
    arrivals = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    found = starts(RateLimitGate(rate, burst), arrivals)
    assert found == sorted(found)
    assert all(began >= came for came, began in zip(arrivals, found, strict=True))
    for i, first in enumerate(found):
        for j in range(i, len(found)):
            assert j - i + 1 <= burst + per_micro(rate) * (found[j] - first + 1)


@given(
    rate=st.sampled_from(RATES), gaps=st.lists(st.integers(0, 3_000_000), min_size=1, max_size=40),
    burst=st.integers(1, 4),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_it_is_the_bucket_of_the_textbook(rate: float, gaps: list[int], burst: int) -> None:
    """A bucket in fractions, which nothing rounds: each begins at the next microsecond after it should."""
    arrivals = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    level, then, exact = Fraction(burst), Fraction(arrivals[0]), []
    for came in arrivals:
        now = max(Fraction(came), then)
        level = min(Fraction(burst), level + (now - then) * per_micro(rate))
        if level < 1:
            now, level = now + (1 - level) / per_micro(rate), Fraction(1)
        level, then = level - 1, now
        exact.append(now)
    found = starts(RateLimitGate(rate, burst), arrivals)
    assert all(0 <= began - should < 1 for began, should in zip(found, exact, strict=True))

"""The budget's gate: exact sums, and words for what has been reached."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchkit as ok
from orchkit.engine.gates.budget import BudgetGate


def test_calls_count_when_they_begin_and_so_are_exact() -> None:
    gate = BudgetGate()
    begun = 0
    while gate.exhausted(ok.Budget(calls=7)) is None:
        gate.began(begun)
        begun += 1
    assert (begun, gate.calls) == (7, 7)
    gate.began(3)  # again, after a crash: under the same number
    assert gate.calls == 7


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (ok.Budget(cost=0.6), None),
        (ok.Budget(cost=0.5), "$0.5 of $0.5"),
        (ok.Budget(cost=0.25), "$0.5 of $0.25"),
        (ok.Budget(tokens=1001), None),
        (ok.Budget(tokens=1000), "1000 of 1000 tokens"),
        (ok.Budget(calls=3), None),
        (ok.Budget(calls=2), "2 of 2 calls"),
        (ok.Budget(cost=0.6, tokens=900, calls=1), "1000 of 900 tokens, 2 of 1 calls"),
    ],
)
def test_any_bound_that_is_reached_is_told(limits: ok.Budget, said: str | None) -> None:
    gate = BudgetGate()
    for who, cost in enumerate((0.125, 0.375)):
        gate.began(who)
        gate.spent(cost, 500)
    assert gate.exhausted(limits) == said
    assert (gate.cost, gate.tokens) == (0.5, 1000)


@given(cents=st.lists(st.integers(1, 100), min_size=1, max_size=50))
def test_dollars_add_up_as_they_are_written(cents: list[int]) -> None:
    gate = BudgetGate()
    for price in cents:
        gate.spent(price / 100, 0)
    total = sum(cents)
    assert gate.exhausted(ok.Budget(cost=total / 100))
    assert gate.exhausted(ok.Budget(cost=(total + 1) / 100)) is None


def test_small_prices_are_not_lost() -> None:
    gate = BudgetGate()
    price = float(Fraction(375, 10**10))  # a token at 0.0375 dollars a million
    for _ in range(10_000):
        gate.spent(price, 1)
    assert gate.exhausted(ok.Budget(cost=0.000375)) == "$0.000375 of $0.000375"

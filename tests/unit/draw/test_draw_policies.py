"""What is drawn on a node: each policy in a few characters, outermost first."""

from __future__ import annotations

from typing import Any

import pytest

import orchkit as ok
from orchkit.draw._of import describe_policy, picture_of
from orchkit.model.policies import POLICIES

SAID: list[tuple[Any, str]] = [
    (ok.Escalate("review"), "escalates to review"),
    (ok.Fallback("sorry"), "fallback 'sorry'"),
    (ok.Deadline(60), "deadline 60 s"),
    (ok.Hedge(15), "hedge 15 s"),
    (ok.Hedge(0.25), "hedge 250 ms"),
    (ok.Retry(3), "retry 3"),
    (ok.Budget(cost=0.5), "budget $0.5"),
    (ok.Budget(tokens=200_000, calls=40), "budget 200,000 tokens, 40 calls"),
    (ok.Breaker(5, 30), "breaker 5 / 30 s"),
    (ok.Bulkhead(4), "bulkhead 4"),
    (ok.Bulkhead(4, 0), "bulkhead 4 + 0"),
    (ok.RateLimit(2), "2/s"),
    (ok.RateLimit(10 / 60, burst=5), "0.167/s"),
    (ok.Timeout(20), "timeout 20 s"),
]


@pytest.mark.parametrize(("policy", "said"), SAID, ids=[said for _, said in SAID])
def test_a_policy_says_what_it_does(policy: Any, said: str) -> None:
    assert describe_policy(policy) == said


def test_every_kind_is_drawn() -> None:
    assert {type(policy) for policy, _ in SAID} == set(POLICIES)


def test_the_stack_is_drawn_outermost_first() -> None:
    wf = ok.Workflow("w", input=str)

    @wf.step(timeout=20, hedge=15, bulkhead=4)
    def draft(input: str) -> str: ...

    shape = picture_of(wf.checked()).shapes[1]
    assert shape.note == "hedge 15 s · bulkhead 4 · timeout 20 s"

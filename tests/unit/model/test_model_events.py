"""Digests of logs: which differences count."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import orchkit as ok
from orchkit.model.events import KINDS, Event, canonical_digest, exact_digest
from orchkit.model.fold import _APPLY

LOG = [
    Event(0, "run_started", body={"input": "x"}),
    Event(0, "started", "a", attempt=1),
    Event(0, "started", "b", attempt=1),
    Event(5, "failed", "a", attempt=1, status="error", dur=5, error="E: e", body={"type": "E", "message": "e"}),
    Event(5, "waiting", "a", attempt=1, dur=7),
    Event(9, "completed", "b", attempt=1, status="ok", dur=9, cost=0.5, tokens=3, body=[1, {"k": None}]),
    Event(9, "settled", "b", status="completed"),
    Event(12, "asked", "q", body={"show": None}),
    Event(13, "answered", "q", by="dana", body=True),
]


def changed(i: int, **fields: Any) -> list[Event]:
    log = list(LOG)
    log[i] = msgspec.structs.replace(log[i], **fields)
    return log


def swapped(i: int, j: int) -> list[Event]:
    log = list(LOG)
    log[i], log[j] = log[j], log[i]
    return log


def test_exact_leaves_out_who_acted_and_that_it_was_resumed_and_nothing_else() -> None:
    wanted = exact_digest(LOG)
    assert len(wanted) == 32
    assert exact_digest(changed(8, by="lee")) == wanted
    assert exact_digest([*LOG[:4], Event(5, "resumed"), *LOG[4:]]) == wanted
    different: dict[str, Any] = {
        "t": 99, "kind": "expired", "node": "z", "item": 0, "generation": 2, "leg": 1, "attempt": 2, "status": "z",
        "dur": 99, "cost": 9.0, "tokens": 9, "error": "z", "key": "z", "body": [2],
    }  # fmt: skip
    assert set(different) | {"by"} == set(Event.__struct_fields__)
    for name, value in different.items():
        assert exact_digest(changed(5, **{name: value})) != wanted, name
    assert exact_digest(swapped(5, 6)) != wanted
    assert exact_digest(LOG[:-1]) != wanted


def test_canonical_ignores_times_and_the_order_of_unrelated_instances() -> None:
    wanted = canonical_digest(LOG)
    assert wanted != exact_digest(LOG)
    assert canonical_digest([msgspec.structs.replace(event, t=event.t * 3 + 1) for event in LOG]) == wanted
    assert canonical_digest(changed(5, dur=12345)) == wanted  # measured, so never twice the same
    assert canonical_digest(swapped(1, 2)) == wanted
    assert canonical_digest([*LOG[:1], *LOG[5:], *LOG[1:5]]) != wanted  # b's start after its end
    assert canonical_digest(sorted(LOG, key=lambda event: event.node)) == wanted
    assert canonical_digest([*LOG[:4], Event(5, "resumed"), *LOG[4:]]) == wanted
    assert canonical_digest(changed(8, by="lee")) == wanted


@pytest.mark.parametrize(
    ("i", "fields"),
    [
        (0, {"body": {"input": "y"}}), (3, {"error": "E: f"}), (3, {"body": {"type": "E"}}), (3, {"status": "timeout"}),
        (3, {"attempt": 2}), (4, {"dur": 8}), (5, {"body": [1, {"k": 0}]}), (5, {"cost": 0.6}), (5, {"tokens": 4}),
        (6, {"status": "degraded"}), (8, {"body": False}), (8, {"kind": "expired"}),
    ],
)  # fmt: skip
def test_canonical_keeps_values_outcomes_and_waits(i: int, fields: dict[str, Any]) -> None:
    assert canonical_digest(changed(i, **fields)) != canonical_digest(LOG)


def test_canonical_keeps_the_order_within_an_instance() -> None:
    assert canonical_digest(swapped(3, 4)) != canonical_digest(LOG)


def test_one_and_one_point_zero_and_true_are_different_values() -> None:
    digests = {exact_digest([Event(0, "completed", "a", body=value)]) for value in (1, 1.0, True, "1", 0.0, -0.0)}
    assert len(digests) == 6


def test_an_exact_digest_does_not_depend_on_who_made_the_run() -> None:
    wf = ok.Workflow("digest", input=dict)

    @wf.map(over="plan")
    def each(item):
        return {item: {"b": 1, "a": 2}}

    @wf.step
    def plan(input):
        return sorted(input)

    one, other = (wf.simulate({"x": 1, "y": 2}, world=ok.World(), seed=seed) for seed in (1, 2))
    assert one.id != other.id
    assert one.receipt == other.receipt
    assert one.receipt.startswith("exact:")


def test_every_kind_that_the_engine_writes_is_a_known_one() -> None:
    assert set(_APPLY) <= KINDS

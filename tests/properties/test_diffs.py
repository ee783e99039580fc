"""Laws of comparing: what is told differs exactly where the logs do, and something is always first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import orchkit as ok
from orchkit.hall.comparing import _side
from orchkit.model.events import Event, canonical_digest, exact_digest
from orchkit.model.records import Head
from orchkit.runs.comparing import Compared, Side, compare
from tests.support.graphs import random_workflow
from tests.support.interventions import mindful


def check(a: Side, b: Side, where: str) -> Compared:
    compared = compare(a, b)
    exact = a.head.mode == b.head.mode == "virtual"
    digest: Any = exact_digest if exact else canonical_digest
    assert compared.exact == exact
    assert compared.equal == (digest(a.events) == digest(b.events)), where
    told = [one for one in compared.differences if one.what not in ("definition", "workflow", "answered by")]
    assert bool(told) != compared.equal, f"{where}: {told}"
    marks = [one.first for one in compared.differences]
    assert not told or any(one.first for one in told), f"{where}: {told}"
    heads = [(one.node, one.item) for one in compared.differences if one.first]
    keys = list(dict.fromkeys((one.node, one.item) for one in compared.differences))
    assert keys[: len(set(heads))] == list(dict.fromkeys(heads)), f"{where}: {marks}"
    if not exact:
        assert not [one for one in told if one.what in ("began", "took")], where
    return compared


def live(side: Side) -> Side:
    """See the same log as that of a run whose times do not count."""
    return replace(side, head=Head(side.head.run_id, side.head.workflow))


def unknown(side: Side) -> Side:
    return replace(side, graph=None, fingerprints={})


@pytest.mark.parametrize("grid", [False, True], ids=["continuous", "grid"])
def test_two_runs_differ_where_their_logs_do(grid: bool) -> None:
    differing = 0
    for shape in range(40):
        wf, world, faults, _ = random_workflow(shape, modelled=True, grid=grid)
        graph = wf.checked()
        world = mindful(graph, world, {})
        sides = [
            _side(wf.simulate("x", world=world, faults=None if seed == 2 else faults, seed=seed)) for seed in (1, 1, 2)
        ]
        assert not check(sides[0], sides[1], f"shape {shape}").differences
        for see in (lambda side: side, live, unknown, lambda side: unknown(live(side))):
            differing += bool(check(see(sides[0]), see(sides[2]), f"shape {shape}").differences)
    assert differing > 100


def test_another_value_is_where_they_part_and_the_rest_follows() -> None:
    parted = 0
    for shape in range(60):
        wf, world, _, _ = random_workflow(shape, modelled=True)
        graph = wf.checked()
        nodes = [node.name for node in graph.nodes if node.kind == "step"]
        if not nodes:
            continue
        name = nodes[shape % len(nodes)]
        one, other = (
            _side(wf.simulate("x", world=mindful(graph, world, salts), seed=1)) for salts in ({}, {name: 7 + shape})
        )
        found = check(one, other, f"shape {shape}").differences
        first = {one.node for one in found if one.first}
        if any(one.what.startswith("value") and one.node == name for one in found):
            # Whatever else differs is below it, or the run's own: and so it alone is first.
            below = {graph.nodes[i].name for i in graph.descendants([graph.index[name]])}
            assert first == {name}, f"shape {shape}: {found}"
            assert {one.node for one in found} <= {name, "", *below}
            parted += 1
    assert parted > 20


def test_any_change_of_one_event_is_told() -> None:
    for shape in range(15):
        wf, world, faults, _ = random_workflow(shape, modelled=True)
        side = _side(wf.simulate("x", world=world, faults=faults, seed=shape))
        for see in (lambda side: side, live):
            for place in range(len(side.events)):
                for changed in ([], [changed_event(side.events[place])]):
                    events = [*side.events[:place], *changed, *side.events[place + 1 :]]
                    check(see(side), see(replace(side, events=events)), f"shape {shape}, event {place}")


def changed_event(event: Event) -> Event:
    return Event(**{**{name: getattr(event, name) for name in Event.__struct_fields__}, "key": "other"})


def test_an_order_that_differs_is_told() -> None:
    wf = ok.Workflow("two")
    for name in ("left", "right"):
        wf.step()(named(name))
    side = _side(wf.simulate("x", world=ok.World()))
    events = [side.events[i] for i in (0, 2, 1, *range(3, len(side.events)))]
    assert {event.t for event in events} == {0}
    (told,) = check(side, replace(side, events=events), "order").differences
    assert (told.node, told.what, told.first) == ("", "event", True)
    assert not check(live(side), live(replace(side, events=events)), "order").differences


def named(name: str) -> Any:
    def step() -> str:
        return name

    step.__name__ = name
    return step

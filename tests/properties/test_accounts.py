"""Laws of accounts: what a log tells without its workflow is what the fold over the workflow's graph comes to."""

from __future__ import annotations

from typing import Any

import pytest
from test_generations import LAWS
from test_shared_context import writers

import orchkit as ok
from orchkit.model.events import Event
from orchkit.model.fold import fold
from orchkit.model.graph import Graph
from orchkit.model.standings import COMPLETED, DEGRADED, FAILED, IDLE, OPEN, READY, SKIPPED, WORDS
from orchkit.runs.accounts import NOTHING, Accounts
from tests.support.graphs import random_workflow
from tests.support.interventions import Story

pytestmark = pytest.mark.filterwarnings("ignore::orchkit.GraphWarning")  # conflicts are meant

SETTLED = (COMPLETED, DEGRADED, SKIPPED, FAILED)


def check(graph: Graph, log: list[Event], accounts: Accounts, where: str) -> int:
    """Compare a prefix's accounts with its fold; give how many nodes and items were compared."""
    state, compared = fold(graph, log), 0
    if state.status in ("completed", "degraded", "failed", "cancelled"):
        assert accounts.status == state.status, where
    assert accounts.input == state.input, where
    for index, node in enumerate(graph.nodes):
        whole, standing = accounts.of.get((node.name, -1)), state.standing[index]
        if standing in SETTLED:
            assert whole is not None, f"{where}: {node.name}"
            assert whole.status == WORDS[standing], f"{where}: {node.name}"
            assert value(whole) == (state.values[index] if standing < FAILED else None), f"{where}: {node.name}"
        elif standing in (IDLE, READY):
            assert whole is None or whole.status == "idle", f"{where}: {node.name}"
        elif standing == OPEN and state.status == "running":
            assert whole is not None, f"{where}: {node.name}"
            assert whole.status in ("running", "waiting", "cancelled"), f"{where}: {node.name} is {whole.status}"
        if index in state.maps:
            items = {one.item: value(one) for one in accounts.items(node.name) if one.listed}
            progress = state.maps[index]
            begun = {i for i in range(progress.size) if progress.has_begun(i) and (index, i) not in state.open}
            done = {i for i in begun - progress.failed - set(progress.again) if progress.has_delivered(i)}
            assert items == {i: progress.values[i] for i in done}, f"{where}: {node.name}"
        compared += 1
    if state.shared is not None:
        written = {
            (graph.index[one.node], one.item): one.writes
            for one in accounts.of.values()
            if one.delivered and one.writes
        }
        assert written == {
            (n, i): delta
            for n, by_item in state.shared.writes.items()
            for i, delta in by_item.items()
            if n not in state.shared.before
        }, where
    return compared


def value(account: Any) -> Any:
    return None if account.value is NOTHING else account.value


def every_moment(graph: Graph, log: list[Event], where: str) -> int:
    accounts, compared = Accounts(), 0
    for cut, event in enumerate(log, 1):
        accounts.take(event)
        compared += check(graph, log[:cut], accounts, f"{where}, after {cut} ({event})")
    return compared


@pytest.mark.parametrize("modelled", [True, False], ids=["modelled", "bodies"])
def test_accounts_of_every_prefix_are_the_fold(modelled: bool) -> None:
    compared = 0
    for seed in range(60):
        wf, world, faults, _ = random_workflow(seed, modelled=modelled)
        run = wf.simulate("x", world=world, faults=faults, seed=seed)
        compared += every_moment(wf.checked(), run.log, f"seed {seed}")
    assert compared > 5_000


@pytest.mark.parametrize("law", LAWS[:3])
def test_accounts_of_runs_that_were_mended_are_the_fold(law: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def look(story: Story) -> int:
        compared.append(every_moment(story.graph, story.log, f"seed {story.seed}"))
        return 0

    monkeypatch.setattr(Story, "check_prefixes", look)
    for seed in range(60):
        law(seed, bool(seed % 2))
    assert sum(compared) > 3_000


def test_accounts_of_writers_are_the_fold() -> None:
    compared = 0
    for shape in range(40):
        wf, _ = writers(shape)
        run = wf.simulate("x", world=ok.World(), seed=shape)
        compared += every_moment(wf.checked(), run.log, f"shape {shape}")
    assert compared > 1_000

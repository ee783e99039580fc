"""Laws of lineage: what it says that a step sees is what the step saw, and the store tells the same writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_generations import LAWS
from test_shared_context import Case, writers

import orchkit as ok
from orchkit.engine.program import Program
from orchkit.model.events import Event
from orchkit.model.paths import FALLBACK
from orchkit.runs.lineage import Passage, context_arrows, lineage
from orchkit.store.duck import DuckStore
from tests.support.interventions import Story

pytestmark = pytest.mark.filterwarnings("ignore::orchkit.GraphWarning")  # conflicts are meant


def put_together(passages: list[Passage]) -> dict[str, Any]:
    """Fold what somebody is said to see, in whatever order."""
    of = {field: [one.value for one in passages if one.field == field] for field in Case.model_fields}
    assert len(of["status"]) <= 1
    return {
        "notes": sorted(note for notes in of["notes"] for note in notes),
        "spent": pytest.approx(sum(of["spent"])),
        "status": of["status"][0] if of["status"] else "new",
        "most": max([0, *of["most"]]),
    }


def writes(passages: list[Passage]) -> set[tuple[str, str, str, float]]:
    return {(one.field, one.writer, json.dumps(one.value), one.t / 1e6) for one in passages}


@pytest.mark.parametrize("replacing", [0.0, 0.2])
def test_a_step_sees_what_lineage_says(replacing: float) -> None:
    looked = replaced = 0
    for shape in range(80):
        wf, seen = writers(shape, replacing=replacing)
        run = wf.simulate("x", world=ok.World(), seed=shape)
        program = run._handle.program
        assert program is not None
        passages = lineage(program, run.log)
        readers = {one.reader for one in passages}
        for (path, _), (before, _) in seen.items():
            name = path.partition(FALLBACK)[0]
            told = put_together([one for one in passages if one.reader == name])
            assert {**before, "notes": sorted(before["notes"])} == told, f"shape {shape}: {path}"
            looked += bool(before["notes"])
            replaced += before["status"] != "new"
        names = {node.name for node in program.graph.nodes}
        assert readers <= {"", *names}
        assert writes(passages) == writes(lineage(None, run.log)), f"shape {shape}"
        assert all(one.reader is None for one in lineage(None, run.log))
        for writer, reader, fields in context_arrows(passages):
            assert program.graph.index[writer] < program.graph.index[reader]
            assert fields
    assert looked > 100
    assert not replacing or replaced > 10


def test_the_store_tells_the_same_writes(tmp_path: Path) -> None:
    store = DuckStore(tmp_path / "lab.duckdb")
    wanted: dict[str, set[tuple[str, str, str, float]]] = {}
    for shape in range(25):
        wf, _ = writers(shape, replacing=0.2)
        run = wf.simulate("x", world=ok.World(), seed=shape)
        journal = store.admit(run._handle.head)
        for event in run.log:
            journal.append(event)
        wanted[run.id] = writes(lineage(None, run.log))
    found: dict[str, set[tuple[str, str, str, float]]] = {run: set() for run in wanted}
    for run_id, node, item, field, value, t in store.fetch("select run, node, item, field, value, t from lineage"):
        writer = node if item is None else f"{node}[{item}]"
        found[run_id].add((field, writer, json.dumps(json.loads(value)), t))
    store.close()
    assert found == wanted
    assert sum(map(len, wanted.values())) > 200


@pytest.mark.parametrize("law", LAWS)
def test_any_log_has_a_lineage(law: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(story: Story) -> int:
        events: list[Event] = story.log
        assert lineage(Program(story.graph), events) == lineage(None, events) == []
        return 1

    monkeypatch.setattr(Story, "check_prefixes", look)
    for seed in range(10):
        law(seed, bool(seed % 2))

"""Runs that nothing executes: what they say of themselves, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import orchkit as ok
from orchkit.hall.run import Run
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.runs.handle import PastRun


def past(*events: Event) -> Run:
    return Run(PastRun(Head("r1", "w", "virtual", 0), (Event(0, "run_started", body={"input": 1}), *events)))


ASKED = Event(5, "asked", "review", body={"show": "Dear Dana"})


def test_a_question_that_is_not_open_is_unknown_as_its_answer_would_be() -> None:
    run = past(ASKED)
    assert (run.pending(), run.question("review")) == (["review"], "Dear Dana")
    with pytest.raises(ok.ApprovalUnknown, match="'r1' does not ask 'reviw' now; open: review") as caught:
        run.question("reviw")
    assert (caught.value.run_id, caught.value.node) == ("r1", "reviw")
    with pytest.raises(ok.ApprovalUnknown, match="open: review"):
        run.question("review", item=3)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([Event(9, "run_ended", status="failed")], r"no step of it is recorded as failed; look at .*run\.events"),
        (
            [Event(8, "cancelled", by="Dana", body="too late"), Event(9, "run_ended", status="cancelled")],
            r"was cancelled by Dana: too late; what it recorded is kept in run\.events; go on with store\.resume",
        ),
        ([], r"go on with store\.resume\('r1', workflow\)"),
    ],
    ids=["nothing failed", "cancelled", "orphaned"],
)
def test_an_end_without_a_result_says_what_to_do_next(events: list[Event], says: str) -> None:
    with pytest.raises(ok.RunError, match=says):
        past(*events).result()


def test_events_are_as_documented() -> None:
    frame = past(ASKED).events
    assert frame.seq.tolist() == [1, 2]
    assert frame.node.tolist() == ["", "review"]
    assert frame.body.tolist() == [{"input": 1}, {"show": "Dear Dana"}]
    assert frame.wall.isna().all()
    assert {*frame.status, *frame.error, *frame.by} == {""}
    assert "key" not in frame


def test_the_question_of_a_suspended_run_is_still_open(tmp_path: Path) -> None:
    wf = ok.Workflow("asking")
    wf.approval("review")
    with ok.open(tmp_path / "lab.duckdb") as store:
        run = wf.start(None, store=store).wait_settled(30)
        run.suspend()
        assert store.pending()[["run", "node"]].to_numpy().tolist() == [[run.id, "review"]]
        assert store.run(run.id).pending() == ["review"]


@pytest.mark.parametrize("workflow", ["asking", 3], ids=repr)
def test_only_a_workflow_goes_on_with_a_run(workflow: Any, tmp_path: Path) -> None:
    with ok.open(tmp_path / "lab.duckdb") as store, pytest.raises(ok.DefinitionError, match=r"give the ok\.Workflow"):
        store.resume("r1", workflow)

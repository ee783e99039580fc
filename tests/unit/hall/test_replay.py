"""Replays: a run's log as moments, without anything executing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.hall import registry
from orchkit.hall.run import Run
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.runs.handle import PastRun

WAIT = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


class Notes(BaseModel):
    said: list[str] = []


def letter(ran: list[str]) -> ok.Workflow:
    wf = ok.Workflow("letter", input=str)
    wf.context(Notes, merge={"said": ok.append})

    @wf.step
    def plan(input: str, ctx: ok.Context) -> list[str]:
        ran.append("plan")
        ctx.update(said=["planned"])
        return [input, "<b>"]

    @wf.map(over="plan")
    def lookup(item: str) -> str:
        ran.append("lookup")
        return f"found {item}"

    wf.approval("review", answer=bool, show="lookup")

    @wf.step(effect=True)
    def send(lookup: list[str], review: bool) -> str:
        ran.append("send")
        return "sent"

    return wf


def finished(store: ok.Store, ran: list[str]) -> Run:
    run = letter(ran).start("Dana", store=store).wait_settled(WAIT)
    run.answer("review", True, by="ana")
    run.result(WAIT)
    return run


def test_moments_tell_what_was_known_by_then(store: ok.Store) -> None:
    run = finished(store, [])
    replay = run.replay()
    assert len(replay) == len(run.log)
    assert [moment.event.kind for moment in replay] == [event.kind for event in run.log]
    assert [moment.t for moment in replay] == [event.t / 1e6 for event in run.log]
    asked = next(moment for moment in replay if moment.event.kind == "asked")
    assert (asked.status, asked.pending) == ("waiting", ["review"])
    assert asked.values == {"plan": ["Dana", "<b>"], "lookup": ["found Dana", "found <b>"]}
    assert asked.shared.said == ["planned"]
    assert list(zip(asked.nodes.node, asked.nodes.item.fillna(-1), asked.nodes.status, strict=True)) == [
        ("plan", -1, "completed"), ("lookup", -1, "completed"), ("lookup", 0, "completed"), ("lookup", 1, "completed"),
        ("review", -1, "waiting"), ("send", -1, "idle"),
    ]  # fmt: skip
    assert (replay[-1].status, replay[-1].values["send"], replay[-1].pending) == ("completed", "sent", [])
    assert replay[0].status == "running"


def test_a_replay_executes_nothing_and_records_nothing(store: ok.Store) -> None:
    ran: list[str] = []
    run = finished(store, ran)
    before = [*ran]
    run_id, log = run.id, run.log
    query = "select * from event order by seq"
    rows = store.sql(query)
    for replay in (run.replay(), store.run(run_id).replay(), store.run(run_id).replay(workflow=letter(ran))):
        for moment in replay:
            assert moment.nodes is not None
            assert moment.values is not None
            assert moment.shared is not None
            assert moment._repr_mimebundle_()["text/plain"]
    assert ran == before
    assert run.log == log
    pd.testing.assert_frame_equal(store.sql(query), rows)


def test_going_back_tells_the_same_as_going_forward(store: ok.Store) -> None:
    replay = finished(store, []).replay()
    forward = [(moment.values, moment.status, moment.nodes.status.tolist()) for moment in replay]
    backward = [(moment.values, moment.status, moment.nodes.status.tolist()) for moment in replay[::-1]]
    assert backward[::-1] == forward


def test_each_event_is_folded_once_on_the_way_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchkit.runs.accounts import Accounts

    taken: list[Event] = []
    take = Accounts.take
    monkeypatch.setattr(Accounts, "take", lambda self, event: (taken.append(event), take(self, event))[1])
    replay = letter([]).simulate("x", world=WORLD).replay()
    assert [moment.status for moment in replay]
    assert [moment.status for moment in replay[-3:]]
    assert len(taken) == 2 * len(replay)


WORLD = ok.World(review=ok.person(delay=60.0, approve=1.0), send=ok.skip_effect("sent"))


def test_a_time_gives_the_last_moment_by_then() -> None:
    run = letter([]).simulate("x", world=WORLD)
    replay = run.replay()
    assert replay.at(59.9).event.kind == "asked"
    assert replay.at(60).event.kind == "run_ended"
    assert replay.at(float("inf")).event.kind == "run_ended"
    for t in (-1.0, float("nan"), float("-inf")):
        with pytest.raises(ok.DefinitionError, match="its log begins at 0 s"):
            replay.at(t)
    with pytest.raises(IndexError):
        replay[len(replay)]
    assert replay[-1].event.seq == len(replay)


def past(*events: Event) -> Run:
    return Run(PastRun(Head("r1", "nobody knows it", "virtual", 0), events))


def test_a_log_is_enough_and_says_why_there_is_no_picture() -> None:
    run = past(
        Event(0, "run_started", body={"input": 1}),
        Event(1_000_000, "started", "draft", attempt=1),
        Event(2_000_000, "context", "draft", attempt=1, body={"said": ["x"]}),
        Event(2_000_000, "completed", "draft", attempt=1, status="final", body="<script>"),
        Event(2_500_000, "asked", "review", body={"show": None}),
    )
    replay = run.replay()
    assert replay[-1].nodes.node.tolist() == ["draft", "review"]
    assert (replay[-1].values, replay[-1].pending, replay[-1].status) == ({"draft": "<script>"}, ["review"], "waiting")
    assert replay[-1].shared == {"draft": {"said": ["x"]}}
    bundle: dict[str, Any] = replay[-1]._repr_mimebundle_()
    assert "no picture: a store holds no code; run.replay(workflow=wf) draws it" in bundle["text/plain"]
    assert set(bundle) == {"text/plain"}
    assert repr(replay) == "Replay('nobody knows it', r1, 5 moments, 2.5 s)"
    assert repr(replay[1]) == "Moment(2 of 5, 1 s, started draft; running)"


def test_a_moment_is_drawn_as_a_run_is(store: ok.Store) -> None:
    replay = finished(store, []).replay()
    last = replay[-1]._repr_mimebundle_()
    assert last["image/svg+xml"].startswith("<svg")
    assert "completed" in last["text/plain"]
    assert "idle" in replay[2]._repr_mimebundle_()["text/plain"]
    whole = replay._repr_mimebundle_()
    assert whole["image/svg+xml"] == last["image/svg+xml"]


def test_another_shape_of_the_workflow_is_not_drawn_and_says_so(store: ok.Store) -> None:
    run_id = finished(store, []).id
    other = ok.Workflow("letter", input=str)
    other.approval("unlike")
    moment = store.run(run_id).replay(workflow=other)[-1]
    bundle = moment._repr_mimebundle_()
    assert "no picture: the log says" in bundle["text/plain"]
    assert moment.values["send"] == "sent"


def test_a_broken_workflow_of_the_name_does_not_stop_who_looks(store: ok.Store) -> None:
    run_id = finished(store, []).id
    broken = ok.Workflow("letter", input=str)

    @broken.step
    def send(nowhere: str) -> str:
        return nowhere

    registry.register(broken)
    moment = store.run(run_id).replay()[-1]
    assert moment.values["send"] == "sent"
    assert moment.shared == {"plan": {"said": ["planned"]}}


def test_an_empty_log_has_no_moments() -> None:
    replay = past().replay()
    assert (len(replay), list(replay)) == (0, [])
    assert repr(replay) == "Replay('nobody knows it', r1, 0 moments)"
    assert replay._repr_mimebundle_() == {"text/plain": repr(replay)}
    with pytest.raises(ok.DefinitionError, match="its log is empty"):
        replay.at(0)


def test_a_run_that_goes_on_is_replayed_as_far_as_it_is(store: ok.Store) -> None:
    run = letter([]).start("Dana", store=store).wait_settled(WAIT)
    replay = run.replay()
    run.answer("review", True)
    run.result(WAIT)
    assert replay[-1].event.kind == "asked"
    assert len(run.replay()) > len(replay)


def test_only_a_workflow_is_taken_for_one() -> None:
    with pytest.raises(ok.DefinitionError, match=r"replay\(workflow='x'\): give the ok\.Workflow"):
        past().replay(workflow="x")  # type: ignore[arg-type]  # that is the point

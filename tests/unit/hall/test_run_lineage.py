"""Lineage of the shared context: who wrote, who sees, as a frame and as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.hall.run import Run
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.runs.handle import PastRun

WAIT = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


class Case(BaseModel):
    notes: list[str] = []
    mood: str = ""


def case(name: str = "case") -> ok.Workflow:
    wf = ok.Workflow(name, input=str)
    wf.context(Case, merge={"notes": ok.append})

    @wf.step
    def read(input: str, ctx: ok.Context) -> list[str]:
        ctx.update(notes=["read"], mood="calm")
        return ["a", "b"]

    @wf.map(over="read")
    def look(item: str, ctx: ok.Context) -> str:
        ctx.update(notes=[item])
        return item

    @wf.step
    def judge(look: list[str], ctx: ok.Context) -> str:
        ctx.update(mood="angry")
        return ctx.shared.mood

    @wf.step
    def blind(judge: str) -> str:
        return judge

    @wf.step
    def reply(blind: str, ctx: ok.Context) -> str:
        return f"{ctx.shared.mood}: {', '.join(ctx.shared.notes)}"

    return wf


ROWS = [
    ("notes", "read", "look", ["read"]), ("notes", "read", "judge", ["read"]), ("notes", "read", "reply", ["read"]),
    ("mood", "read", "look", "calm"), ("mood", "read", "judge", "calm"),
    ("notes", "look[0]", "judge", ["a"]), ("notes", "look[0]", "reply", ["a"]),
    ("notes", "look[1]", "judge", ["b"]), ("notes", "look[1]", "reply", ["b"]),
    ("mood", "judge", "reply", "angry"),
]  # fmt: skip


def told(run: ok.Run) -> list[tuple[Any, ...]]:
    frame = run.lineage
    assert list(frame.columns) == ["field", "writer", "reader", "value", "t"]
    assert frame.t.is_monotonic_increasing
    return sorted(frame[["field", "writer", "reader", "value"]].itertuples(index=False, name=None), key=str)


def test_writers_and_those_who_see(store: ok.Store) -> None:
    run = case().start("x", store=store)
    assert run.result(WAIT) == "angry: read, a, b"
    assert told(run) == sorted(ROWS, key=str)
    assert told(store.run(run.id)) == told(run)  # its workflow is known to this process
    sql = store.sql(f"select field, value from lineage where run = '{run.id}' order by t, node, item, field")
    assert set(zip(sql.field, sql.value, strict=True)) == {
        ("mood", '"calm"'), ("notes", '["read"]'), ("notes", '["a"]'), ("notes", '["b"]'), ("mood", '"angry"'),
    }  # fmt: skip


def test_what_a_world_stands_for_sees_nothing_and_an_unread_write_says_so() -> None:
    world = ok.World(judge=ok.fake("j"), reply=ok.fake("r"), look=ok.fake("l"))
    assert told(case().simulate("x", world=world)) == [("mood", "read", "", "calm"), ("notes", "read", "", ["read"])]


def test_without_the_workflow_nobody_knows_who_sees() -> None:
    events = [
        Event(0, "run_started", body={"input": 1}),
        Event(5, "started", "read", attempt=1),
        Event(9, "context", "read", attempt=1, body={"mood": "calm"}),
        Event(9, "completed", "read", attempt=1, status="final"),
    ]
    run = Run(PastRun(Head("r1", "nobody knows it"), events))
    (row,) = run.lineage.itertuples(index=False)
    assert (row.field, row.writer, row.value, row.t) == ("mood", "read", "calm", 9e-6)
    assert row.reader is pd.NA
    with pytest.raises(ok.RunError, match="define workflow 'nobody knows it' in this process"):
        run.draw_lineage()


def test_a_workflow_without_context_has_none() -> None:
    wf = ok.Workflow("bare", input=str)

    @wf.step
    def echo(input: str, ctx: ok.Context) -> str:
        return input

    run = wf.simulate("x", world=ok.World())
    assert len(run.lineage) == 0
    assert "context" not in run.draw_lineage().svg.partition("</style>")[2].replace("shared context", "")


def test_what_passes_is_drawn(store: ok.Store) -> None:
    run = case().start("x", store=store)
    run.result(WAIT)
    drawing = run.draw_lineage()
    assert "judge  step" in drawing.text
    assert "notes & mood by read" in drawing.text
    assert "mood by judge" in drawing.text
    root = ET.fromstring(drawing.svg)
    wires = [part.get("class") for part in root.iter() if "okd-context" in (part.get("class") or "")]
    # read to look and judge, look to judge and reply, judge to reply, read to reply: a line and a head each.
    assert len(wires) == 12
    assert drawing._repr_mimebundle_() == {"text/plain": drawing.text, "image/svg+xml": drawing.svg}
    assert repr(drawing) == drawing.text
    assert ".okd-context" not in run._repr_mimebundle_()["image/svg+xml"]


def test_a_run_that_goes_on_has_the_lineage_so_far(store: ok.Store) -> None:
    wf = ok.Workflow("asking", input=str)
    wf.context(Case)

    @wf.step
    def read(input: str, ctx: ok.Context) -> str:
        ctx.update(mood="calm")
        return input

    wf.approval("sure", show="read")

    @wf.step
    def reply(read: str, sure: bool, ctx: ok.Context) -> str:
        return ctx.shared.mood

    run = wf.start("x", store=store).wait_settled(WAIT)
    assert told(run) == [("mood", "read", "", "calm")]
    run.answer("sure", True)
    run.result(WAIT)
    assert told(run) == [("mood", "read", "reply", "calm")]

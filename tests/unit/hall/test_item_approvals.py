"""Approvals for each item of a list: all asked at once, answered in any order, and kept one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.testing import every_prefix


class Decision(BaseModel):
    approve: bool
    note: str = ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def reviewing(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("reviewing", input=list)

    @wf.step
    def plan(input: list) -> list[str]:
        return [f"letter {name}" for name in input]

    wf.approval("review", over="plan", **({"answer": Decision} | options))

    @wf.step
    def end(review: list[Decision | None]) -> list[str]:
        return ["-" if one is None else f"{one.approve} {one.note}" for one in review]

    return wf


def test_each_item_is_a_question_of_its_own(store: ok.Store) -> None:
    run = reviewing().start(["a", "b", "c"], store=store).wait_settled(30)
    assert run.status == "waiting"
    assert run.pending() == ["review[0]", "review[1]", "review[2]"]
    assert [run.question("review", item=i) for i in range(3)] == ["letter a", "letter b", "letter c"]
    assert run.question("review[1]") == "letter b"
    assert store.pending()[["node", "item"]].values.tolist() == [["review", 0], ["review", 1], ["review", 2]]
    run.answer("review", Decision(approve=True, note="last"), item=2, by="lee")
    run.answer("review[0]", {"approve": False, "note": "first"})
    assert run.pending() == ["review[1]"]
    with pytest.raises(ok.AnswerLate):
        run.answer("review", Decision(approve=True), item=2)
    with pytest.raises(ok.ApprovalUnknown, match=r"does not ask 'review\[9\]' now; did you mean 'review\[1\]'"):
        run.answer("review[9]", Decision(approve=True))
    run.answer("review", Decision(approve=True, note="middle"))  # only one is left
    assert run.result(timeout=30) == ["False first", "True middle", "True last"]
    rows = store.sql('select item, "by", status from approval order by item')
    assert rows.status.tolist() == ["answered"] * 3


def test_which_item_is_meant_must_be_said(store: ok.Store) -> None:
    run = reviewing().start(["a", "b"], store=store).wait_settled(30)
    with pytest.raises(ok.ApprovalUnknown, match=r"asks 2 questions: review\[0\], review\[1\]; name one of them"):
        run.answer("review", Decision(approve=True))
    with pytest.raises(ok.AnswerInvalid, match="the question stays open"):
        run.answer("review", {"approve": "perhaps"}, item=0)
    run.cancel()


def test_what_was_answered_stays_answered_over_a_resume(store: ok.Store) -> None:
    run = reviewing().start(["a", "b"], store=store).wait_settled(30)
    run.answer("review[1]", Decision(approve=True, note="b"))
    run.suspend()
    past = store.run(run.id)
    assert past.pending() == ["review[0]"]
    again = store.resume(run.id, reviewing()).wait_settled(30)
    assert again.pending() == ["review[0]"]
    again.answer("review[0]", Decision(approve=False, note="a"))
    assert again.result(timeout=30) == ["False a", "True b"]


def test_those_that_come_too_late_are_none() -> None:
    wf = reviewing(timeout=60.0)
    later = ok.person(ok.dist.exponential(mean=60), approve=0.5, absent=0.2)
    run = wf.simulate(list("abcdef"), world=ok.World(review=later), seed=2)
    expired = {e.item for e in run.log if e.kind == "expired"}
    assert 0 < len(expired) < 6
    assert [i for i, one in enumerate(run.result()) if one == "-"] == sorted(expired)
    assert {e.dur for e in run.log if e.kind == "asked"} == {60_000_000}
    assert every_prefix(wf, list("abc"), world=ok.World(review=later), seed=2).ok


def test_the_answers_have_their_type_again() -> None:
    wf = ok.Workflow("w", input=list)
    wf.approval("review", over="input", answer=Decision, timeout=60.0)
    run = wf.simulate([1, 2], world=ok.World(review=ok.person(1.0, answers={"approve": True})))
    assert run.result() == [Decision(approve=True)] * 2
    late = wf.simulate([1, 2], world=ok.World(review=ok.person(100.0, approve=1.0)))
    assert late.result() == [None, None]


def test_a_person_has_luck_of_each_items_own() -> None:
    delays = ok.person(ok.dist.exponential(mean=60), approve=0.5)
    log = reviewing().simulate(list("abcdefgh"), world=ok.World(review=delays), seed=1).log
    assert len({e.t for e in log if e.kind == "answered"}) == 8
    assert {e.body["approve"] for e in log if e.kind == "answered"} == {True, False}


def test_something_else_may_be_shown_and_prefilled() -> None:
    wf = reviewing(show="input", prefill={"note": "item"})
    run = wf.simulate(["a"], world=ok.World(review=ok.person(1.0, approve=1.0)))
    (asked,) = [e for e in run.log if e.kind == "asked"]
    assert asked.body == {"show": ["a"], "prefill": {"note": "letter a"}}


def test_a_list_is_needed_and_an_item_shown_needs_one() -> None:
    wf = ok.Workflow("w")
    wf.approval("review", over="input")
    run = wf.simulate("abc", world=ok.World(review=ok.person(1.0, approve=1.0)))
    with pytest.raises(ok.RunError, match="approval 'review' goes over 'input', which gave a str; it needs a list"):
        run.result()
    wf = ok.Workflow("w", input=str)
    wf.approval("review", over="input")
    with pytest.raises(ok.GraphError, match="approval 'review' goes over 'input', which gives str; it needs a list"):
        wf.checked()
    wf = ok.Workflow("w", input=str)
    wf.approval("review", show="item")
    with pytest.raises(ok.GraphError, match="shows 'item', which only an approval with over= has"):
        wf.checked()


def test_a_map_may_stream_over_the_answers() -> None:
    wf = ok.Workflow("w", input=list)
    wf.approval("review", over="input")

    @wf.map(over="review", stream=True)
    def send(item: bool) -> str: ...

    world = ok.World(review=ok.person(ok.dist.exponential(mean=60), approve=0.5), send=ok.fake("sent", latency=1.0))
    log = wf.simulate([1, 2, 3], world=world).log
    answered = {e.item: e.t for e in log if e.kind == "answered"}
    assert {e.item: e.t for e in log if e.kind == "started"} == answered
    assert every_prefix(wf, [1, 2, 3], world=world).ok


def test_a_step_must_take_the_none_of_an_answer_that_did_not_come() -> None:
    wf = ok.Workflow("w", input=list)
    wf.approval("review", over="input", answer=str, timeout=60)

    @wf.step
    def end(review: list[str]) -> int: ...

    said = "without an answer in time an item of 'review' is None, and 'end' takes items of str; annotate it "
    with pytest.warns(ok.GraphWarning, match=rf"{said}review: list\[str \| None\]"):
        wf.checked()

"""Approvers: who answers when nobody sits there, through the same door as people."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.clock.live import engine_thread

WAIT = 30.0


class Decision(BaseModel):
    approve: bool
    note: str = ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def twice() -> ok.Workflow:
    """draft -> review and check, two questions; what was said of both is the result."""
    wf = ok.Workflow("twice", input=str)

    @wf.step
    def draft(input: str) -> str:
        return f"Dear {input}"

    wf.approval("review", answer=Decision, show="draft")
    wf.approval("check", answer=Decision, show="draft", after="review")

    @wf.step
    def tell(review: Decision, check: Decision) -> str:
        return f"{review.note} {check.note}"

    return wf


def test_auto_answers_all(store: ok.Store) -> None:
    run = twice().start("Dana", store=store, approver=ok.approvers.auto({"approve": True, "note": "fine"}))
    assert run.result(WAIT) == "fine fine"
    assert run.answers[["by", "via", "status"]].values.tolist() == [["auto", "approver", "answered"]] * 2


def test_a_function_sees_the_question_and_may_leave_it_open(store: ok.Store) -> None:
    seen: list[ok.Question] = []

    def careful(question: ok.Question) -> Decision | None:
        seen.append(question)
        return Decision(approve=True, note="f") if question.node == "review" else None

    run = twice().start("Dana", store=store, approver=careful)
    run.wait_settled(WAIT)
    while run.pending() != ["check"]:
        threading.Event().wait(0.01)
    run.answer("check", Decision(approve=True, note="p"), by="lee")
    assert run.result(WAIT) == "f p"
    assert [(one.id, one.shown, one.run_id) for one in seen] == [
        ("review", "Dear Dana", run.id), ("check", "Dear Dana", run.id),
    ]  # fmt: skip
    assert run.answers.by.tolist() == ["careful", "lee"]


def test_a_script_begins_anew_with_each_run(store: ok.Store) -> None:
    script = ok.approvers.scripted({"review": [Decision(approve=True, note="a")], "check": Decision(approve=False)})
    assert [twice().start("Dana", store=store, approver=script).result(WAIT) for _ in range(2)] == ["a ", "a "]


def test_a_file_is_read_when_it_is_asked(store: ok.Store, tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    approver = ok.approvers.from_file(file)
    run = twice().start("Dana", store=store, approver=approver).wait_settled(WAIT)
    assert run.pending() == ["review"], "no file answers nothing"
    run.suspend()
    file.write_text(json.dumps({"review": [{"approve": True, "note": "f"}], "check": {"approve": True, "note": "g"}}))
    again = store.resume(run.id, twice(), approver=approver)
    assert again.result(WAIT) == "f g"


def test_resume_all_takes_one(store: ok.Store) -> None:
    wf = twice()
    runs = [wf.start("Dana", store=store).wait_settled(WAIT) for _ in range(3)]
    for run in runs:
        run.suspend()
    approver = ok.approvers.auto({"approve": True, "note": "x"})
    assert [run.result(WAIT) for run in store.resume_all(approver=approver)] == ["x x"] * 3


@pytest.mark.parametrize("answer", [{"approve": "perhaps"}, RuntimeError("no model there")], ids=["invalid", "raises"])
def test_what_fails_is_printed_and_the_question_stays_open(
    store: ok.Store, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    told: list[Any] = []
    heard = threading.Event()

    def hear(args: Any) -> None:
        told.append(args)
        heard.set()

    monkeypatch.setattr(threading, "excepthook", hear)

    def approver(_: ok.Question) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    run = twice().start("Dana", store=store, approver=approver).wait_settled(WAIT)
    assert heard.wait(WAIT)
    assert isinstance(told[0].exc_value, (ok.AnswerInvalid, RuntimeError))
    assert run.pending() == ["review"]
    assert len(told) == 1, "it is not asked again and again"
    del told[:]


@pytest.mark.parametrize(
    ("approver", "match"),
    [
        (True, "approvers.auto"),
        (ok.approvers.scripted({"revew": [True]}), "did you mean 'review'"),
        (Decision, "give a function"),
    ],
)
def test_what_is_no_approver_is_refused_before_anything_runs(store: ok.Store, approver: Any, match: str) -> None:
    with pytest.raises(ok.DefinitionError, match=match):
        twice().start("Dana", store=store, approver=approver)
    assert store.runs().empty


def test_async_functions_are_refused() -> None:
    async def later(question: ok.Question) -> bool:
        return True

    with pytest.raises(ok.DefinitionError, match="is async"):
        ok.approvers.auto(later)
    with pytest.raises(ok.DefinitionError, match="is async"):
        twice().start("Dana", durability="memory", approver=later)
    with pytest.raises(ok.DefinitionError, match="leaves every question open"):
        ok.approvers.auto(None)
    with pytest.raises(ok.DefinitionError, match="give a dict"):
        ok.approvers.scripted([True])  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_a_file_that_holds_no_answers(tmp_path: Path, text: str) -> None:
    file = tmp_path / "answers.json"
    file.write_text(text)
    with pytest.raises(ok.DefinitionError, match="stays open"):
        ok.approvers.from_file(file)(ok.Question("a1", "review"))


def test_an_item_has_its_own_line_in_a_script() -> None:
    script = ok.approvers.scripted({"review[3]": "third", "review": ["one", "two"]})
    questions = [ok.Question("a1", "review", item) for item in (0, 3, 1, 2)]
    assert [script(one) for one in questions] == ["one", "third", "two", None]


def test_an_answer_to_what_was_asked_anew_meanwhile_does_not_count(store: ok.Store) -> None:
    asked, go_on = threading.Event(), threading.Event()
    answers = iter(["old", "new"])

    def slow(question: ok.Question) -> Decision:
        note = next(answers)
        asked.set()
        assert go_on.wait(WAIT)
        return Decision(approve=True, note=note)

    wf = ok.Workflow("again", input=str)
    wf.approval("review", answer=Decision)

    @wf.step
    def tell(review: Decision) -> str:
        return review.note

    run = wf.start("Dana", store=store, approver=slow)
    assert asked.wait(WAIT)
    execution = run._handle._execution  # type: ignore[attr-defined]  # until there is run.retry
    engine_thread().call(lambda: execution.invalidate(wf.checked().index["review"]))
    go_on.set()
    assert run.result(WAIT) == "new"

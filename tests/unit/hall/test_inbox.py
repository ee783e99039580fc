"""The inbox over all runs of a store: what is open, answers to one and to several, handing on; and what is recorded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from pydantic import BaseModel, field_validator

import orchkit as ok
from orchkit.model.events import canonical_digest
from orchkit.model.questions import fate
from orchkit.model.records import Letter
from orchkit.testing import every_prefix

WAIT = 30.0


class Decision(BaseModel):
    approve: bool
    text: str = ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def asking(name: str = "asking", timeout: float | None = None, prefill: bool = True) -> ok.Workflow:
    wf = ok.Workflow(name, input=str)

    @wf.step
    def draft(input: str) -> str:
        return f"Dear {input}"

    wf.approval(
        "review", answer=Decision, show="draft", prefill={"text": "draft"} if prefill else None, timeout=timeout
    )

    @wf.step
    def send(review: Decision | None) -> str:
        return review.text if review else "expired"

    return wf


def test_the_queue_over_all_runs_comes_in_order_of_deadline(store: ok.Store) -> None:
    never, later, soon = (
        wf.start("Dana", store=store).wait_settled(WAIT)
        for wf in (asking("never"), asking("later", 7200.0), asking("soon", 600.0))
    )
    inbox = ok.inbox(store)
    frame = inbox.frame
    assert frame.run.tolist() == [soon.id, later.id, never.id]
    assert frame.workflow.tolist() == ["soon", "later", "never"]
    assert frame.id.tolist() == [f"{run}/review" for run in frame.run]
    assert frame.deadline.isna().tolist() == [False, False, True]
    assert (frame.deadline - frame.asked).dt.total_seconds().tolist()[:2] == [600.0, 7200.0]
    assert 0 < frame.left[0] <= 600 < frame.left[1] <= 7200
    assert frame["shown"].tolist() == ['"Dear Dana"'] * 3
    assert frame.prefill.tolist() == ['{"text": "Dear Dana"}'] * 3
    assert frame.executed_by.notna().all()
    assert len(inbox) == 3
    assert repr(inbox) == "Inbox('lab.duckdb', 3 open)"


def test_several_are_answered_at_once(store: ok.Store) -> None:
    runs = [asking().start(name, store=store).wait_settled(WAIT) for name in "abc"]
    told = ok.inbox(store).answer({f"{run.id}/review": {"approve": True, "text": run.id} for run in runs}, by="lee")
    assert set(told.values()) == {"taken"}
    assert [run.result(WAIT) for run in runs] == [run.id for run in runs]
    assert {(row.by, row.via) for run in runs for row in run.answers.itertuples()} == {("lee", "inbox")}
    assert len(ok.inbox(store)) == 0


def test_of_several_those_that_fail_do_not_stop_the_others(store: ok.Store) -> None:
    one, other = (asking().start(name, store=store).wait_settled(WAIT) for name in "ab")
    inbox = ok.inbox(store)
    with pytest.raises(ok.AnswerInvalid, match=rf"1 of 2 answers were not taken.*{one.id}/review"):
        inbox.answer({f"{one.id}/review": 7, f"{other.id}/review": {"approve": True, "text": "b"}})
    assert other.result(WAIT) == "b"
    with pytest.raises(ok.ApprovalError, match="3 of 3"):
        inbox.answer({f"{one.id}/review": 7, f"{other.id}/review": {"approve": True}, "nothing": True})
    assert inbox.frame.run.tolist() == [one.id]
    inbox.answer(f"{one.id}/review", {"approve": True, "text": "a"})
    assert one.result(WAIT) == "a"


def test_arguments_that_make_no_sense(store: ok.Store) -> None:
    inbox = ok.inbox(store)
    with pytest.raises(ok.DefinitionError, match="give a value too"):
        inbox.answer("a/review")
    with pytest.raises(ok.DefinitionError, match="or a dict"):
        inbox.answer({"a/review": True}, True)
    for id in ("review", "/review", "a/", 7):
        with pytest.raises(ok.ApprovalUnknown, match=r"inbox\.frame\.id"):
            inbox.answer(id, True)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ok.RunUnknown):
        inbox.answer("a/review", True)


def test_what_models_wrote_is_escaped(store: ok.Store) -> None:
    asking(prefill=False).start("<script>alert(1)</script>", store=store).wait_settled(WAIT)
    inbox = ok.inbox(store)
    assert "<script>" not in inbox._repr_html_()
    assert "&lt;script&gt;" in inbox._repr_html_()
    bundle = inbox._repr_mimebundle_()
    assert bundle["text/plain"].startswith("Inbox('lab.duckdb', 1 open)\n")
    assert "\x1b" not in bundle["text/plain"]


def test_handed_on_it_says_so_and_goes_on_after_a_resume(store: ok.Store) -> None:
    wf = asking(timeout=600.0)
    run = wf.start("Dana", store=store).wait_settled(WAIT)
    inbox = ok.inbox(store)
    inbox.escalate(f"{run.id}/review", to="night shift", by="lee", why="unsure")
    assert inbox.frame.assigned.tolist() == ["night shift"]
    assert run.answers.assigned.tolist() == ["night shift"]
    assert run.status == "waiting"
    deadline = inbox.frame.deadline.tolist()
    run.suspend()
    again = store.resume(run.id, wf).wait_settled(WAIT)
    assert inbox.frame.deadline.tolist() == deadline
    again.escalate("review", to="day shift")
    assert inbox.frame.assigned.tolist() == ["day shift"]
    again.answer("review", {"approve": True, "text": "x"}, by="sam")
    assert again.result(WAIT) == "x"
    kinds = [event.kind for event in again.log if event.node == "review"]
    assert kinds == ["asked", "escalated", "escalated", "answered", "settled"]
    with pytest.raises(ok.AnswerLate, match="answered by 'sam'"):
        inbox.escalate(f"{run.id}/review", to="nobody")


def test_handed_on_while_nobody_executes_it(store: ok.Store) -> None:
    wf = asking()
    run = wf.start("Dana", store=store).wait_settled(WAIT)
    run.suspend()
    inbox = ok.inbox(store)
    assert inbox.frame.executed_by.isna().all()
    assert str(inbox.escalate(f"{run.id}/review", to="night shift", by="lee")).startswith("kept")
    assert str(inbox.answer(f"{run.id}/review", {"approve": True, "text": "x"}, by="sam")).startswith("kept")
    assert inbox.frame.kept.tolist() == [1]
    again = store.resume(run.id, wf)
    assert again.result(WAIT) == "x"
    kinds = [event.kind for event in again.log if event.node == "review"]
    assert kinds == ["asked", "escalated", "answered", "settled"]


def test_an_answer_is_validated_before_it_is_kept_where_the_workflow_is_known(store: ok.Store) -> None:
    wf = asking("known")
    run = wf.start("Dana", store=store).wait_settled(WAIT)
    run.suspend()
    with pytest.raises(ok.AnswerInvalid, match="does not fit Decision"):
        store.run(run.id).answer("review", {"approve": "perhaps"})
    assert store._kept.unread([run.id]) == []


def test_what_is_no_json_is_refused_where_it_is_not(store: ok.Store) -> None:
    run = asking("gone").start("Dana", store=store).wait_settled(WAIT)
    run.suspend()
    ok.Workflow("gone", input=str)  # what this process has under that name asks nothing of the kind
    looked = store.run(run.id)
    with pytest.raises(ok.AnswerInvalid, match="is no JSON"):
        looked.answer("review", object())
    with pytest.raises(ok.AnswerInvalid, match="holds bytes"):
        looked.answer("review", {"approve": b"yes"})
    assert str(looked.answer("review", Decision(approve=True, text="m"))).startswith("kept"), "a model is JSON"


def test_what_was_edited_is_told_and_what_was_not_is_not(store: ok.Store) -> None:
    wf = asking()
    same, other = (wf.start("Dana", store=store).wait_settled(WAIT) for _ in range(2))
    same.answer("review", Decision(approve=True, text="Dear Dana"), by="lee")
    other.answer("review", Decision(approve=True, text="Hello"), by="lee")
    for run in (same, other):
        run.result(WAIT)
    assert [run.answers.status[0] for run in (same, other)] == ["answered", "edited"]
    assert [run.answers["diff"][0] for run in (same, other)] == [{}, {"text": ["Dear Dana", "Hello"]}]
    view = store.sql("select run, status, edited, via, assigned from approval order by edited")
    assert view.run.tolist() == [same.id, other.id]
    assert view.status.tolist() == ["answered"] * 2
    assert view.edited.tolist() == [False, True]
    assert view.via.tolist() == ["python"] * 2


def test_the_audit_trail_of_a_run(store: ok.Store) -> None:
    run = asking(timeout=0.05).start("Dana", store=store)
    assert run.result(WAIT) == "expired"
    row = run.answers.iloc[0]
    assert (row["status"], row["by"], row["shown"]) == ("expired", "", "Dear Dana")
    assert pd.isna(row["answered"])
    assert row["wait"] >= 0.05
    assert str(run.answers.asked.dtype).startswith("datetime64")


def test_edited_answers_and_what_follows_resume_from_everywhere() -> None:
    world = ok.World(review=ok.person(delay=3.0, answers=lambda inputs, rng: {"approve": True, "text": "Hi"}))
    assert every_prefix(asking(timeout=60.0), "Dana", world=world).ok


def test_killed_after_any_record_an_answer_by_letter_comes_to_the_same(store: ok.Store) -> None:
    # Each prefix of the log of a run that was handed on and then answered, as a run of its own.
    wf = asking()
    run = wf.start("Dana", store=store).wait_settled(WAIT)
    run.escalate("review", to="lee")
    run.answer("review", {"approve": True, "text": "x"})
    run.result(WAIT)
    log = run.log
    asked = next(n for n, event in enumerate(log) if event.kind == "asked")
    for cut in range(asked + 1, len(log)):
        head = type(run._handle.head)(f"cut{cut}", wf.name, started=run._handle.head.started,
                                      fingerprints=run._handle.head.fingerprints)  # fmt: skip
        journal = store._kept.admit(head)
        for event in log[:cut]:
            journal.append(event)
        journal.release()
        if not any(event.kind == "answered" for event in log[:cut]):
            assert str(store.run(head.run_id).answer("review", {"approve": True, "text": "x"})).startswith("kept")
        again = store.resume(head.run_id, wf)
        assert again.result(WAIT) == "x"
        if any(event.kind == "escalated" for event in log[:cut]):
            assert canonical_digest(again.log) == canonical_digest(log)


def test_in_memory_nobody_else_can_answer() -> None:
    run = asking().start("Dana", durability="memory").wait_settled(WAIT)
    run.suspend()
    with pytest.raises((ok.RunError, ok.ApprovalUnknown)):
        run.answer("review", {"approve": True})


def test_letters_that_are_late_or_wrong_leave_the_run_as_it_is(store: ok.Store) -> None:
    wf = asking()
    run = wf.start("Dana", store=store).wait_settled(WAIT)
    kept = store._kept
    for n, (generation, node) in enumerate([(2, "review"), (1, "nothing")]):
        kept.post(Letter(f"x{n}", run.id, node, -1, generation, "answer", '{"approve": true}', "dana", "cli"))
    while kept.unread([run.id]):
        threading.Event().wait(0.02)
    assert [kept.outcome(f"x{n}")[:4] for n in range(2)] == ["late", "late"]
    assert run.pending() == ["review"]


def test_a_store_that_is_gone_ends_a_run_whose_question_expires(tmp_path: Path) -> None:
    store = ok.open(tmp_path / "gone.duckdb")
    run = asking(timeout=1.0).start("Dana", store=store).wait_settled(WAIT)
    (tmp_path / "gone.duckdb").unlink()
    with pytest.raises(ok.StoreError):
        asking().start("Dana", store=store)
    with pytest.raises(ok.RunError):
        run.result(WAIT)
    with suppress(ok.StoreError):
        store.close()


def test_of_a_run_that_promises_nothing_a_letter_is_not_said_to_be_taken(store: ok.Store) -> None:
    wf = asking()
    run = wf.start("Dana", store=store, durability="exit").wait_settled(WAIT)
    run.suspend()
    again = store.resume(run.id, wf).wait_settled(WAIT)
    kept = store._kept
    letter = Letter("x", run.id, "review", -1, 1, "answer", '{"approve": true, "text": "x"}', "dana", "cli")
    kept.post(letter)
    assert again.result(WAIT) == "x"
    assert kept.outcome("x") is None
    assert fate(again._handle.head, again.log, letter) == "taken", "the log says so"


class Odd(BaseModel):
    approve: bool

    @field_validator("approve")
    @classmethod
    def _look(cls, approve: bool) -> bool:
        return {True: True}[approve]  # a KeyError for False


def test_a_letter_that_breaks_a_validator_stops_nobody(store: ok.Store) -> None:
    wf = ok.Workflow("odd", input=str)
    wf.approval("review", answer=Odd)
    run, other = wf.start("x", store=store).wait_settled(WAIT), asking().start("y", store=store).wait_settled(WAIT)
    texts = ['{"approve": false}', '{"approve": true}']
    for n, (one, text) in enumerate([(run, texts[0]), (run, texts[1]), (other, texts[1])]):
        store._kept.post(Letter(f"x{n}", one.id, "review", -1, 1, "answer", text, "dana", "cli"))
    store._kept.post(Letter("x3", other.id, "review", -1, 1, "escalation", "7", "dana", "cli"))
    assert run.result(WAIT) == Odd(approve=True)
    assert other.result(WAIT) == ""
    while None in (said := [store._kept.outcome(f"x{n}") for n in range(3)]):
        threading.Event().wait(0.02)
    assert "KeyError" in str(said[0])
    assert said[1:] == ["taken", "taken"]

"""Answers from other processes, and to runs that nobody executes; with real processes that are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mail_child import WAIT, Child, letters

import orchkit as ok
from orchkit.clock.ids import wall_micro

ROOT = Path(__file__).parents[2]
SOON = 1.5  # seconds that a question stays open where a test waits for its end
LONG_ENOUGH = 15.0  # the same where a command has to answer before, on a machine that is busy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lab.duckdb"


def orchkit(*arguments: object, code: int = 0) -> Any:
    command = [sys.executable, "-m", "orchkit", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=WAIT)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def kinds(run: ok.Run) -> list[str]:
    return [event.kind for event in run.log if event.node == "review"]


def wait_past(run: ok.Run) -> None:
    (asked,) = [event for event in run.log if event.kind == "asked"]
    ends = run._handle.head.started + asked.t + asked.dur
    while wall_micro() <= ends:
        threading.Event().wait(0.02)


def outcomes(store: ok.Store) -> list[tuple[str, str]]:
    return store._kept.fetch("select kind, text from mail order by seq")


def test_the_command_line_answers_a_run_that_another_process_executes(path: Path) -> None:
    with Child(path) as child:
        run = child.ask("start", 600)
        (question,) = orchkit("inbox", "--store", path)["questions"]
        assert (question["id"], question["shown"], question["executed_by"]) == (
            f"{run}/review", "Dear Dana", child.process.pid,
        )  # fmt: skip
        assert 0 < question["left"] <= 600
        told = orchkit("answer", run[:6], "review", '{"approve": 7}', "--store", path, code=1)
        assert told["outcome"] == "invalid"
        assert "stays open" in told["error"]
        told = orchkit("answer", run, "review", '{"approve": true}', "--by", "lee", "--store", path)
        assert told["outcome"] == "taken"
        assert child.ask("result", run) == "Dear Dana: True"
        told = orchkit("answer", run, "review", '{"approve": false}', "--store", path, code=1)
        assert told["outcome"] == "late"
        assert "was answered by 'lee' at 20" in told["error"]
    with ok.open(path) as store:
        row = store.run(run).answers.iloc[0]
        assert (row["by"], row["via"], row["status"], row["shown"]) == ("lee", "cli", "edited", "Dear Dana")
        said = [text.partition(":")[0] for kind, text in outcomes(store) if kind == "outcome"]
        assert list(dict.fromkeys(said)) == ["invalid", "taken"]


def test_another_kernel_answers_and_hands_on_where_it_owns_the_file_itself(path: Path) -> None:
    with ok.open(path) as store, Child(path) as child:
        run = child.ask("start", 600)
        looked = store.run(run)
        assert looked.escalate("review", to="the night shift", by="lee", why="unsure") is None
        assert ok.inbox(store).frame.assigned.tolist() == ["the night shift"]
        with pytest.raises(ok.AnswerInvalid, match="stays open"):
            looked.answer("review", {"approve": "perhaps"})
        assert ok.inbox(store).answer({f"{run}/review": {"approve": True, "text": "Hello"}}, by="sam") == {
            f"{run}/review": "taken"
        }
        assert child.ask("result", run) == "Hello: True"
        row = store.run(run).answers.iloc[0]
        assert (row["via"], row["diff"], row["assigned"]) == (
            "inbox",
            {"text": ["Dear Dana", "Hello"]},
            "the night shift",
        )
        with pytest.raises(ok.AnswerLate, match="answered by 'sam'"):
            looked.answer("review", {"approve": True})


def test_another_workflow_of_the_name_here_does_not_judge_the_answer(path: Path) -> None:
    other = ok.Workflow("letters", input=str)
    other.approval("review", answer=bool)
    with ok.open(path) as store, Child(path) as child:
        run = child.ask("start", 600)
        looked = store.run(run)
        with pytest.raises(ok.AnswerInvalid, match="stays open"):  # who executes it says so
            looked.answer("review", {"approve": "perhaps"})
        assert looked.answer("review", {"approve": True, "text": "Hello"}) is None
        assert child.ask("result", run) == "Hello: True"


def test_what_another_workflow_of_the_name_redacts_is_not_sent_unread(path: Path) -> None:
    other = ok.Workflow("letters", input=str, redact=("text",))
    other.approval("review", answer=bool)
    with ok.open(path) as store, Child(path) as child:
        run = child.ask("start", 600)
        with pytest.raises(ok.AnswerInvalid, match="does not fit bool"):
            store.run(run).answer("review", {"approve": True, "text": "s3cret"})
        assert outcomes(store) == []


def test_an_answer_while_nobody_lives_counts_after_the_deadline(path: Path) -> None:
    with Child(path) as child:
        run = child.ask("start", LONG_ENOUGH)
        child.kill()
    told = orchkit("answer", run, "review", '{"approve": true}', "--by", "lee", "--store", path)
    assert told["outcome"].startswith("kept: nobody executes run")
    with ok.open(path) as store:
        wait_past(store.run(run))
        with pytest.raises(ok.AnswerLate, match="could be answered until"):
            store.run(run).answer("review", {"approve": False})
        assert len(ok.inbox(store)) == 1, "what is kept is shown"
        again = store.resume(run, letters(LONG_ENOUGH))
        assert again.result(WAIT) == "Dear Dana: True"
        assert kinds(again) == ["asked", "answered", "settled"]
        assert again.answers.by.tolist() == ["lee"]


def test_without_one_it_expires(path: Path) -> None:
    with Child(path) as child:
        run = child.ask("start", SOON)
        child.kill()
    with ok.open(path) as store:
        wait_past(store.run(run))
        again = store.resume(run, letters(SOON))
        assert again.result(WAIT) == "expired"
        assert kinds(again) == ["asked", "expired", "settled"]


def test_of_several_that_are_kept_the_first_valid_one_is_taken(path: Path) -> None:
    with Child(path) as child:
        run = child.ask("start", 600)
        child.kill()
    answers = ['{"approve": 7}', '{"approve": true, "text": "first"}', '{"approve": true, "text": "second"}']
    told = [orchkit("answer", run, "review", one, "--by", "lee", "--store", path)["outcome"] for one in answers]
    assert all(one.startswith("kept") for one in told)
    assert "unless the one that 'lee' sent before" in told[1]
    with ok.open(path) as store:
        again = store.resume(run, letters(600))
        assert again.result(WAIT) == "first: True"
        assert kinds(again).count("answered") == 1


@pytest.mark.parametrize("where", ["before", "after"])
def test_killed_between_the_answer_and_its_mark_it_is_taken_once(path: Path, where: str) -> None:
    with Child(path) as child, ThreadPoolExecutor(1) as pool:
        run = child.ask("start", 600)
        child.ask("die", where)
        with ok.open(path) as store:
            told = pool.submit(store.run(run).answer, "review", {"approve": True}, by="lee")
            assert child.end() == -signal.SIGKILL
            assert told.result(WAIT) is None, "it is in the log, and so it is taken"
    with ok.open(path) as store:
        again = store.resume(run, letters(600))
        assert again.result(WAIT) == "Dear Dana: True"
        assert kinds(again) == ["asked", "answered", "settled"]
        said = [text for kind, text in outcomes(store) if kind == "outcome"]
        assert set(said) == {"taken"}


def test_before_a_question_expires_its_letters_are_looked_for(path: Path) -> None:
    # The child would look for letters in an hour; the file is ours, so nothing wakes it but the deadline.
    with ok.open(path) as store, Child(path) as child, ThreadPoolExecutor(1) as pool:
        child.ask("pause", 3600)
        run = child.ask("start", SOON)
        told = pool.submit(store.run(run).answer, "review", {"approve": True}, by="lee")
        assert child.ask("result", run) == "Dear Dana: True"
        assert told.result(WAIT) is None
        assert kinds(store.run(run)) == ["asked", "answered", "settled"]


def test_the_owner_is_killed_while_answers_are_sent(path: Path) -> None:
    # One process owns the file and only that, another executes, and this one sends.
    with Child(path) as owner, Child(path) as child, ok.open(path) as store, ThreadPoolExecutor(4) as pool:
        runs = [child.ask("start", 600) for _ in range(6)]
        told = {run: pool.submit(store.run(run).answer, "review", {"approve": True}, by="lee") for run in runs}
        owner.kill()
        assert {run: one.result(WAIT) for run, one in told.items()} == dict.fromkeys(runs)
        for run in runs:
            assert child.ask("result", run) == "Dear Dana: True"
            assert kinds(store.run(run)) == ["asked", "answered", "settled"]
        sent = [kind for kind, _ in outcomes(store)]
        assert sent.count("answer") == len(runs), "each was recorded once"


def test_an_answer_to_a_run_that_was_suspended_waits_for_its_resume(path: Path) -> None:
    with ok.open(path) as store:
        run = letters(600).start("Dana", store=store).wait_settled(WAIT)
        run.suspend()
        assert str(run.answer("review", {"approve": True}, by="lee")).startswith("kept")
        again = store.resume(run.id, letters(600))
        assert again.result(WAIT) == "Dear Dana: True"
        assert again.answers.via.tolist() == ["python"]

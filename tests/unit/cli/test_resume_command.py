"""``orchkit resume``: it imports a workflow, goes on, and says what came of it."""

import sys
from pathlib import Path

import pytest
import store_lab
import store_workflows
from store_workflows import asking, hello, settled

import orchkit as ok
from orchkit.cli.resuming import load_workflow
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.runs.fingerprint import fingerprints

orchkit, path, lab = store_lab.orchkit, store_lab.path, store_lab.lab

FILE = Path(store_workflows.__file__)


def test_a_run_that_waits_for_a_person(orchkit, path, lab):
    told = orchkit("resume", lab["suspended"][:7], "--workflow", "store_workflows:asking", "--store", path, "--json")
    assert list(told) == ["store", "runs"]
    assert told["runs"] == [
        {"run": lab["suspended"], "status": "waiting", "result": None, "error": "", "asks": ["review"]}
    ]
    assert "asks review" in orchkit("resume", lab["suspended"], "--workflow", f"{FILE}:asking", "--store", path)
    with ok.open(path) as store:
        assert store.runs().status.tolist()[-1] == "suspended"


def test_a_run_that_has_ended_is_told_as_it_is(orchkit, path, lab):
    told = orchkit("resume", lab["completed"], "--workflow", "store_workflows:hello", "--store", path)
    assert '"Hello Ada"' in told
    told = orchkit("resume", lab["failed"], "--workflow", "store_workflows:hello", "--store", path, "--json", code=1)
    assert "nobody's name" in told["runs"][0]["error"]


def test_all_that_stopped(orchkit, path, tmp_path):
    source = tmp_path / "later.py"
    source.write_text(
        "import orchkit as ok\n"
        "wf = ok.Workflow('later', input=str)\n"
        "@wf.step\n"
        "def greet(input: str) -> str:\n"
        "    if input == 'bad':\n"
        "        raise ValueError('still bad')\n"
        "    return f'Hello {input}'\n"
    )
    wf = load_workflow(f"{source}:wf")
    with ok.open(path) as store:
        settled(store, hello, "of another workflow")
        for run_id, value in (("r1", "Ada"), ("r2", "bad"), ("r3", "Cy")):
            journal = store._kept.admit(Head(run_id, "later", started=1, fingerprints=fingerprints(wf.checked())))
            journal.append(Event(1, "run_started", body={"input": value}))
            journal.release()
    told = orchkit("resume", "--all", "--workflow", f"{source}:wf", "--store", path, "--json", code=1)["runs"]
    assert [(one["run"], one["status"], one["result"]) for one in told] == [
        ("r1", "completed", "Hello Ada"), ("r2", "failed", None), ("r3", "completed", "Hello Cy"),
    ]  # fmt: skip
    again = orchkit("resume", "--all", "--workflow", f"{source}:wf", "--store", path)
    assert again == "no run of the workflow has stopped\n"


def test_a_workflow_that_changed(orchkit, path, lab, monkeypatch):
    changed = ok.Workflow("asking", input=str)

    @changed.step
    def draft(input: str) -> str:
        return input.lower()

    changed.approval("review", answer=store_workflows.Decision, show="draft")

    @changed.step
    def send(draft: str, review: store_workflows.Decision) -> str:
        return f"sent {draft}: {review.approve}"

    monkeypatch.setattr(store_workflows, "asking", changed)
    arguments = ["resume", lab["suspended"], "--workflow", "store_workflows:asking", "--store", path]
    assert "draft" in orchkit(*arguments, code=1)
    assert "asks review" in orchkit(*arguments, "--on-change", "keep")
    assert "on_change='no such'" in orchkit(*arguments, "--on-change", "no such", code=2)
    assert asking is not changed


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("store_workflows", "give FILE.py:name or module:name"),
        ("store_workflows:", "give FILE.py:name or module:name"),
        ("store_workflows:nothing", "has no workflow 'nothing'; there are: asking, hello"),
        ("store_workflows:settled", "has no workflow 'settled'"),
        ("no_such_module:wf", "cannot be imported: ModuleNotFoundError"),
        ("no_such_file.py:wf", "cannot be imported: FileNotFoundError"),
        ("broken.py:wf", "cannot be imported: SyntaxError"),
        ("leaving.py:wf", "cannot be imported: SystemExit"),
    ],
)
def test_what_is_no_workflow(orchkit, path, lab, where, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("def (:\n")
    Path("leaving.py").write_text("raise SystemExit(3)\n")
    assert said in orchkit("resume", "--all", "--workflow", where, "--store", path, code=2)


def test_a_file_is_not_taken_for_the_module_of_its_name(orchkit, path, lab, tmp_path):
    import json

    (tmp_path / "json.py").write_text(FILE.read_text())
    orchkit("resume", lab["completed"], "--workflow", f"{tmp_path / 'json.py'}:hello", "--store", path)
    assert sys.modules["json"] is json


def test_one_run_or_all_of_them(orchkit, path, lab):
    said = "give either a run or --all"
    assert said in orchkit("resume", "--workflow", "store_workflows:hello", "--store", path, code=2)
    assert said in orchkit("resume", "x", "--all", "--workflow", "store_workflows:hello", "--store", path, code=2)
    assert "no run begins with" in orchkit(
        "resume", "zzz", "--workflow", "store_workflows:hello", "--store", path, code=2
    )
    assert "is of workflow 'asking', not 'hello'" in orchkit(
        "resume", lab["suspended"], "--workflow", "store_workflows:hello", "--store", path, code=2
    )

"""``orchkit inbox`` and ``orchkit answer``: what they print for people and for machines, and what they refuse."""

import pytest
import store_lab
from store_workflows import asking

import orchkit as ok

orchkit, path, lab = store_lab.orchkit, store_lab.path, store_lab.lab


def test_inbox_for_people(orchkit, path, lab):
    told = orchkit("inbox", "--store", path).splitlines()
    assert told[0].split()[:2] == ["question", "workflow"]
    assert told[1].split()[0] == f"{lab['suspended']}/review"
    assert '"REFUND?"' in told[1]
    assert told[-1] == "1 open"


def test_inbox_for_machines(orchkit, path, lab):
    told = orchkit("inbox", "--store", path, "--json")
    assert list(told) == ["store", "questions"]
    (question,) = told["questions"]
    assert list(question) == [
        "run", "workflow", "node", "item", "id", "asked", "deadline", "left", "shown", "prefill", "assigned", "kept",
        "executed_by",
    ]  # fmt: skip
    assert question["asked"].endswith("Z")
    assert (question["shown"], question["deadline"], question["executed_by"]) == ("REFUND?", None, None)


def test_an_answer_is_kept_and_taken_at_the_next_resume(orchkit, path, lab):
    run = lab["suspended"]
    told = orchkit("answer", run[:8], "review", '{"approve": true}', "--by", "lee", "--store", path, "--json")
    assert (told["run"], told["node"]) == (run, "review")
    assert told["outcome"].startswith("kept: nobody executes run")
    assert "kept" in orchkit("answer", run, "review", '{"approve": false}', "--store", path)
    assert orchkit("inbox", "--store", path, "--json")["questions"][0]["kept"] == 2
    with ok.open(path) as store:
        again = store.resume(run, asking)
        assert again.result(30) == "sent REFUND?: True"
        assert again.answers[["by", "via"]].values.tolist() == [["lee", "cli"]]
    late = orchkit("answer", run, "review", "true", "--store", path, "--json", code=1)
    assert late["outcome"] == "late"
    assert "answered by 'lee'" in late["error"]
    assert "0 open" in orchkit("inbox", "--store", path)


def test_an_answer_that_does_not_fit_is_told_where_the_workflow_is_known(orchkit, path, lab):
    told = orchkit("answer", lab["suspended"], "review", "perhaps", "--store", path, "--json", code=1)
    assert told["outcome"] == "invalid"
    assert "does not fit Decision" in told["error"]


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (["suspended", "revue", "true"], 1, "did you mean 'review'"),
        (["suspended", "review[3]", "true"], 1, "did you mean 'review'"),
        (["completed", "review", "true"], 1, "is completed; it has ended and asks nothing"),
        (["nobody", "review", "true"], 2, "no run begins with 'nobody'"),
    ],
)
def test_what_is_refused(orchkit, path, lab, arguments, code, match):
    run, *more = arguments
    told = orchkit("answer", lab.get(run, run), *more, "--store", path, code=code)
    assert match in told

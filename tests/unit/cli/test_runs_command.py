"""``orchkit runs`` and ``orchkit show``: what they print for people and for machines, and what they refuse."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import store_lab
from store_workflows import hello

import orchkit as ok
from orchkit.cli._terminal import WIDTH, table
from orchkit.model.events import Event
from orchkit.model.records import Head

orchkit, path, lab = store_lab.orchkit, store_lab.path, store_lab.lab

KEYS = ["run", "workflow", "mode", "seed", "started", "durability", "parent", "status", "t", "events", "cost", "tokens"]
COMMANDS = [
    ["runs"], ["show", "x"], ["export", "out"], ["compact"], ["doctor"], ["prune", "--keep-runs", "1"],
    ["snapshot", "copy"], ["resume", "x", "--workflow", "store_workflows:hello"], ["inbox"], ["answer", "x", "y", "1"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_store_that_is_not_there_is_refused_and_not_made(orchkit, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for options in ([], ["--json"], ["--store", tmp_path / "other.duckdb"]):
        assert "does not exist" in orchkit(*command, *options, code=2)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", [one for one in COMMANDS if one[0] != "doctor"], ids=lambda command: command[0])
def test_a_file_that_is_no_store(orchkit, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "orchkit.duckdb"
    path.write_bytes(b"a,b\n1,2\n")
    assert "is no DuckDB file" in orchkit(*command, code=2)
    assert os.listdir(tmp_path) == ["orchkit.duckdb"]


def test_runs_for_people(orchkit, path, lab):
    told = orchkit("runs", "--store", path)
    head, *rows, count = told.splitlines()
    assert head.split()[:3] == ["run", "workflow", "status"]
    assert [row.split()[0] for row in rows] == list(lab.values()), "in order of admission"
    assert [row.split()[2] for row in rows] == ["completed", "failed", "suspended"]
    assert count == "3 runs"


def test_runs_for_machines(orchkit, path, lab):
    told = orchkit("runs", "--store", path, "--json")
    assert list(told) == ["store", "runs"]
    assert told["store"] == str(path)
    assert [list(run) for run in told["runs"]] == [KEYS] * 3
    first = told["runs"][0]
    assert (first["run"], first["status"], first["workflow"]) == (lab["completed"], "completed", "hello")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", first["started"])


def test_fewer_runs(orchkit, path, lab):
    def ids(*options):
        return [run["run"] for run in orchkit("runs", "--store", path, "--json", *options)["runs"]]

    assert ids("--status", "failed") == [lab["failed"]]
    assert ids("--workflow", "hello") == [lab["completed"], lab["failed"]]
    assert ids("--limit", "1") == [lab["suspended"]], "the newest"
    assert ids("--workflow", "hello", "--limit", "1") == [lab["failed"]]
    assert ids("--status", "no such") == []
    assert orchkit("runs", "--store", path, "--limit", "2").splitlines()[-1] == "2 of 3 runs"
    assert orchkit("runs", "--store", path, "--status", "no such") == "0 runs\n"


def test_show_for_people(orchkit, path, lab):
    told = orchkit("show", lab["failed"][:6], "--store", path)
    assert told.startswith(f"{lab['failed']}  hello  failed\nlive, started ")
    assert re.search(r"^greet +failed +1 +.* ValueError: nobody's name$", told, re.MULTILINE)
    assert "run_ended" in told
    assert re.search(r"^receipt canonical:[0-9a-f]+$", told, re.MULTILINE)


def test_show_what_a_person_is_asked(orchkit, path, lab):
    told = orchkit("show", lab["suspended"], "--store", path, "--json")
    assert list(told) == ["store", "run", "nodes", "pending", "events", "receipt"]
    assert list(told["run"]) == KEYS
    (ask,) = told["pending"]
    assert (ask["node"], ask["shown"]) == ("review", "REFUND?")
    assert [(node["node"], node["status"], node["attempts"]) for node in told["nodes"]] == [
        ("draft", "completed", 1), ("review", "open", 0),
    ]  # fmt: skip
    assert list(told["nodes"][0]) == ["node", "status", "items", "attempts", "seconds", "error"]
    assert told["events"][-1]["kind"] == "suspended"
    assert '"REFUND?"' in orchkit("show", lab["suspended"], "--store", path)


def test_which_run_is_meant(orchkit, path):
    with ok.open(path) as store:
        for run_id in ("ab", "abc", "abd", "xyz", "it's"):
            store._kept.admit(Head(run_id, "hello", started=1)).append(Event(1, "run_ended", status="completed"))

    def meant(start):
        return orchkit("show", start, "--store", path, "--json")["run"]["run"]

    assert meant("ab") == "ab", "a whole id is meant, though others begin so"
    assert meant("abc") == "abc"
    assert meant("x") == "xyz"
    assert "3 runs begin with 'a': ab, abc, abd; give more" in orchkit("show", "a", "--store", path, code=2)
    assert "no run begins with 'q'" in orchkit("show", "q", "--store", path, code=2)
    assert "no run begins with ''" in orchkit("show", "", "--store", path, code=2)
    orchkit("show", "it", "--store", path, code=2)


def test_items_of_a_map_are_counted(orchkit, path):
    wf = ok.Workflow("many", input=list[int])

    @wf.map(over="input", on_error="skip")
    def halve(item: int) -> int:
        if item % 2:
            raise ValueError("odd")
        return item // 2

    with ok.open(path) as store:
        run = wf.start([1, 2, 4, 6], store=store).wait_settled(20)
    (node,) = orchkit("show", run.id, "--store", path, "--json")["nodes"]
    assert node["items"] == 4
    assert node["attempts"] == 4
    assert sorted(node["status"].split(", ")) == ["completed 3", "skipped"]


def test_text_of_models_cannot_act_on_the_terminal(orchkit, path):
    wf = ok.Workflow("evil", input=str)

    @wf.step
    def speak(input: str) -> str:
        raise ValueError("\x1b[2J\x1b]0;owned\x07\n" + "long " * 100)

    with ok.open(path) as store:
        run = wf.start("x", store=store).wait_settled(20)
    for command in (["runs"], ["show", run.id]):
        told = orchkit(*command, "--store", path)
        assert not {"\x1b", "\x07"} & set(told)
    assert "…" in told


def test_a_table_fits():
    rows = [("a" * 80, "漢字" * 40, 1), ("b", None, 22)]
    told = table(("one", "two", "n"), rows, right=("n",)).splitlines()
    assert told[0].split() == ["one", "two", "n"]
    assert all(len(line) + line.count("漢") + line.count("字") <= WIDTH for line in told)
    assert told[1].count("…") == 2
    assert told[2].endswith(" 22")


def test_another_process_owns_it(orchkit, path, lab):
    root = str(Path(ok.__file__).parent.parent)
    code = "import sys, orchkit as ok; s = ok.open(sys.argv[1]); print('open', flush=True); sys.stdin.read(); s.close()"
    command = [sys.executable, "-c", code, str(path)]
    env = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as owner:
        assert owner.stdout.readline() == "open\n"
        assert len(orchkit("runs", "--store", path, "--json")["runs"]) == 3
        assert orchkit("doctor", "--store", path, "--json")["owner"]["pid"] == owner.pid
        assert orchkit("compact", "--store", path, "--json")["after"] > 0
        owner.communicate("")
    assert orchkit("doctor", "--store", path, "--json")["owner"] is None


def test_as_a_module(path, lab):
    env = {**os.environ, "PYTHONPATH": str(Path(ok.__file__).parent.parent)}
    command = [sys.executable, "-m", "orchkit", "runs", "--store", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    assert done.stdout.splitlines()[-1] == "3 runs"
    assert done.stderr == ""
    command[-1] = str(path) + "x"
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert hello.name == "hello"

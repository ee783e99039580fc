"""The demo's live part is killed for real, anywhere, and goes on to the same end.

The killing signal comes from outside, at a seeded number of progress lines; among these is one for each reply that is
on disk and not yet in the log, the moment at which an effect can be repeated.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import orchkit as ok
from orchkit.cli.demo import story
from orchkit.cli.demo.child import Child
from orchkit.cli.demo.documents import read_documents
from orchkit.cli.demo.live import Report, recorded
from orchkit.cli.demo.pipeline import Outbox
from orchkit.cli.demo.place import Place
from orchkit.sim.shipped import shipped

COUNT = 40
KILLS = 10


@dataclass
class End:
    """What a store and an outbox come to, by document: runs have new ids each time."""

    statuses: dict[str, str]
    results: dict[str, Any]
    questions: dict[str, str]
    effects: set[tuple[str, str]]
    received: dict[str, str]


@pytest.fixture(autouse=True, scope="module")
def _found() -> Iterator[None]:
    """Let child processes find a checkout that is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(ok.__file__).parent.parent))
        patch.delenv("ORCHKIT_MODEL_URL", raising=False)
        yield


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty of the messages: those about much money, and others as they come."""
    rows = [json.loads(line) for line in Path(str(shipped("datasets/messages.jsonl"))).read_text("utf-8").splitlines()]
    rows.sort(key=lambda row: -(row["amount"] or 0))  # stable: ties stay in the order of the file
    path = tmp_path_factory.mktemp("input") / "forty.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:COUNT]), "utf-8")
    return path


@pytest.fixture(scope="module")
def undisturbed(messages: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[End, int]:
    """The end that must be reached, and how many progress lines lead to it."""
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    with Child(place, messages, COUNT, resume=False) as child:
        lines = list(child.lines())
        child.finish()
    end = end_of(place)
    assert len(end.questions) >= 3
    assert len(end.effects) >= 10
    return end, len(lines)


def end_of(place: Place) -> End:
    with ok.open(place.store) as store:
        known = recorded(store)
        of_run = {run: id_ for id_, (run, _, _) in known.items()}
        ends = store.sql("select run, body from event where kind = 'run_ended'").to_dict("records")
        pending = store.pending().to_dict("records")
        effects = store.sql("select run, node from effect where completed > 0").to_dict("records")
        check_log(store)
    received = Outbox(place.outbox).received().values()
    assert len({line["to"] for line in received}) == len(received), "one message has two keys: two runs sent for it"
    return End(
        {id_: status for id_, (_, status, _) in known.items()},
        {of_run[row["run"]]: row["body"] for row in ends},
        {of_run[row["run"]]: row["shown"] for row in pending},
        {(of_run[row["run"]], row["node"]) for row in effects},
        {line["to"]: line["text"] for line in received},
    )


def check_log(store: ok.Store) -> None:
    """Nothing that has a recorded outcome was done again."""
    assert store.sql("select * from effect where completed > 1").empty
    starts = store.sql("select body from event where kind = 'run_started'").body
    assert max(Counter(json.loads(body)["input"]["id"] for body in starts).values()) == 1
    done: set[tuple[str, str]] = set()
    events = store.sql("select run, node, kind from event where attempt > 0 order by seq").to_dict("records")
    for event in events:
        execution = event["run"], event["node"]
        assert execution not in done, f"{event['node']} of {event['run']} has an outcome, and then {event['kind']}"
        if event["kind"] == "completed":
            done.add(execution)


def kill_after(place: Place, messages: Path, lines: int, *, resume: bool) -> None:
    with Child(place, messages, COUNT, resume=resume) as child:
        for number, _ in enumerate(child.lines(), 1):
            if number == lines:
                child.kill()
                return
    pytest.fail(f"the live part ended before its progress line {lines}")


def go_on(place: Place, messages: Path) -> Report:
    with Child(place, messages, COUNT, resume=True) as child:
        *_, last = child.lines()
        child.finish()
    return Report.from_line(last)


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_demo_goes_on_to_the_same_end(
    number: int, messages: Path, undisturbed: tuple[End, int], tmp_path: Path
) -> None:
    end, lines = undisturbed
    # One kill in each tenth of the way, at a moment of its own.
    after = int((number + random.Random(number).random()) * (lines - 1) / KILLS) + 1
    place = Place(tmp_path)
    kill_after(place, messages, after, resume=False)
    report = go_on(place, messages)
    assert end_of(place) == end
    assert report.twice == 0
    assert sum(tally.again for tally in report.tallies) == 0
    assert report.keys == report.sent == len(end.effects)


def test_a_demo_that_is_killed_again_and_again_gets_there(
    messages: Path, undisturbed: tuple[End, int], tmp_path: Path
) -> None:
    end, _ = undisturbed
    place = Place(tmp_path)
    for attempt in range(3):
        kill_after(place, messages, 15, resume=attempt > 0)
    go_on(place, messages)
    assert end_of(place) == end


def test_going_on_with_a_finished_store_does_nothing(
    messages: Path, undisturbed: tuple[End, int], tmp_path: Path
) -> None:
    end, _ = undisturbed
    place = Place(tmp_path)
    with Child(place, messages, COUNT, resume=False) as child:
        assert [line["at"] for line in child.lines()][-1] == "report"
    report = go_on(place, messages)
    assert end_of(place) == end
    assert sum(tally.after + tally.again for tally in report.tallies) == 0


def test_the_live_part_does_not_begin_twice_in_one_store(messages: Path, tmp_path: Path) -> None:
    place = Place(tmp_path)
    kill_after(place, messages, 5, resume=False)
    with Child(place, messages, COUNT, resume=False) as child, pytest.raises(Exception, match="already holds runs"):
        child.finish()


def tell(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchkit", "demo", "--yes", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)


def test_the_whole_story_and_then_once_more(messages: Path, tmp_path: Path) -> None:
    once = tell(tmp_path, "--input", messages)
    assert (once.returncode, once.stderr) == (0, "")
    assert "0 of them ran again" in once.stdout
    assert "0 recorded twice" in once.stdout
    assert "retry + fallback" in once.stdout
    assert "\x1b" not in once.stdout, "plain where there is no terminal"
    assert max(map(len, once.stdout.splitlines())) <= max(80, len(str(tmp_path)) + 40)
    report = tmp_path / "orchkit-demo" / "report.html"
    assert str(report) in once.stdout
    assert "http" not in report.read_text("utf-8").replace("http://www.w3.org/", ""), "it needs no network"
    again = tell(tmp_path, "--input", messages)
    assert again.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["orchkit-demo", "orchkit-demo-2"]


def test_the_story_goes_on_where_an_earlier_one_stopped(
    messages: Path, undisturbed: tuple[End, int], tmp_path: Path
) -> None:
    end, _ = undisturbed
    place = Place(tmp_path / "here")
    place.folder.mkdir()
    kill_after(place, messages, 40, resume=False)
    told = tell(tmp_path, "--input", messages, "--out", "here")
    assert (told.returncode, told.stderr) == (0, "")
    assert "An earlier demo stopped here" in told.stdout
    finished = end_of(place)
    assert set(finished.statuses.values()) == {"completed"}
    assert finished.effects >= end.effects
    assert finished.questions == {}


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_key_that_is_pressed_while_something_is_finalized_stops_the_demo_too(
    messages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []

    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)  # Python reports the KeyboardInterrupt as unraisable, and goes on

    def show(self: Any) -> None:
        told.append("workflow")
        Dying()

    monkeypatch.setattr(sys, "unraisablehook", lambda _: told.append("lost"))
    monkeypatch.setattr(story._Story, "show_workflow", show)
    assert story.run_demo(messages, tmp_path / "out", ask=False, seed=0) == 130
    assert told == ["workflow", "lost"]
    assert "the store is kept" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_the_child_keeps_the_store_and_says_so(messages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "orchkit", "demo", "--yes", "--input", str(messages), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Run it, and kill" in line:
                os.kill(demo.pid, signal.SIGINT)
                break
        _, said = demo.communicate(timeout=60)
    assert demo.returncode == 130, said
    assert said.strip().count("\n") == 0
    assert "the store is kept" in said
    if (out / "demo.duckdb").exists():
        ok.open(out / "demo.duckdb").close()  # nobody holds it any more
    assert len(read_documents(messages)) == COUNT

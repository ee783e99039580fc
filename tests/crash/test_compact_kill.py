"""Kill a process that compacts a store, anywhere: one good file is left, with everything in it."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from compact_child import POINTS

from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.store.duck import DuckStore

CHILD = Path(__file__).with_name("compact_child.py")
ROOT = Path(__file__).parents[2]
RUNS = 40


def event(run, n):
    return Event(n, "completed", "draft", attempt=n, body=random.Random(run * 1000 + n).randbytes(3000).hex())


def filled(path):
    store = DuckStore(path)
    for run in range(RUNS):
        journal = store.admit(Head(f"r{run}", "kill", started=1))
        for n in range(1, 40):
            journal.append(event(run, n))
        journal.append(Event(40, "run_ended", status="completed"))
    store.close()


def check(path):
    """Open the file as the next process would; all of it must be there, and it takes more."""
    store = DuckStore(path)
    try:
        found = {one.run_id for one in store.heads()}
        assert {f"r{run}" for run in range(RUNS)} <= found
        for run in range(RUNS):
            assert store.events(f"r{run}") == [
                *(event(run, n) for n in range(1, 40)), Event(40, "run_ended", status="completed")
            ]  # fmt: skip
        journal = store.admit(Head(f"more{len(found)}", "kill", started=1))
        journal.append(Event(1, "run_ended", status="completed"))
    finally:
        store.close()


def start(path, *point):
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(path), *point],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def killed_within(path, seconds):
    """Kill a child some time after it began to compact."""
    with start(path) as child:
        assert child.stdout.readline() == "begin\n", child.stderr.read()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        child.communicate()
    assert child.returncode == -signal.SIGKILL


def test_at_random_moments(tmp_path):
    path = tmp_path / "lab.duckdb"
    filled(path)
    dice, left = random.Random(2026), 0
    for _ in range(12):
        killed_within(path, dice.uniform(0, 0.4))
        left += path.with_name("lab.duckdb.compacting").exists()
        check(path)
    assert left, "none was killed while it copied"
    store = DuckStore(path)
    store.compact()
    store.close()
    assert not list(tmp_path.glob("*compacting*"))
    check(path)


@pytest.mark.parametrize("point", POINTS)
def test_at_every_step(tmp_path, point):
    path = tmp_path / "lab.duckdb"
    filled(path)
    with start(path, point) as child:
        told, errors = child.communicate()
    assert (child.returncode, told) == (-signal.SIGKILL, "begin\n"), errors
    check(path)
    check(path)

"""Kill a process that writes to a store, anywhere, and open the file again: what it acknowledged is there."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from store_child import event

from orchkit.store.duck import DuckStore
from orchkit.store.schema import APPENDED

CHILD = Path(__file__).with_name("store_child.py")
ROOT = Path(__file__).parents[2]
RUNS = 4


def killed_after(path, turn, lines):
    """Let a child write until it has acknowledged that many events; give how many it did, by run."""
    command = [sys.executable, str(CHILD), str(path), str(turn), str(RUNS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    acknowledged = Counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
        for line in child.stdout:
            if line.endswith(b"\n"):
                run_id, n = line.split()
                assert int(n) == acknowledged[run_id.decode()] + 1, "acknowledged out of order"
                acknowledged[run_id.decode()] += 1
            if acknowledged.total() == lines:
                child.send_signal(signal.SIGKILL)
        errors = child.stderr.read()
        child.wait()
    assert child.returncode == -signal.SIGKILL, errors.decode()
    return acknowledged


def check(path, acknowledged):
    """Open the file as the next process would, and look for every event that was promised."""
    store = DuckStore(path)
    try:
        for run_id, count in acknowledged.items():
            found = store.events(run_id)
            assert len(found) >= count, f"{count - len(found)} acknowledged events of {run_id} are lost"
            assert found == [event(run_id, n) for n in range(1, len(found) + 1)]
        every = " union all ".join(f"select seq from {table}" for table in APPENDED)
        taken = store.fetch(f"{every} order by seq")
        assert [seq for (seq,) in taken] == list(range(1, len(taken) + 1))
        assert store.fetch("select count(*) from event")[0][0] == sum(
            events for (events,) in store.fetch("select events from run")
        )
    finally:
        store.close()


def kill_often(path, seed, kills, most):
    dice, acknowledged = random.Random(seed), Counter()
    for turn in range(kills):
        acknowledged += killed_after(path, turn, dice.randrange(1, most))
        # Not after each: sometimes a child finds the log of a killed one, and is killed too.
        if dice.random() < 0.6 or turn == kills - 1:
            check(path, acknowledged)
    return acknowledged


def test_no_acknowledged_event_is_lost_when_the_writer_is_killed(tmp_path):
    acknowledged = kill_often(tmp_path / "lab.duckdb", seed=2026, kills=10, most=1500)
    assert acknowledged.total() > 2000


@pytest.mark.slow
def test_none_is_lost_in_many_kills(tmp_path):
    # Up to 30,000 events: long enough for automatic checkpoints to be hit.
    acknowledged = Counter()
    for seed in range(4):
        acknowledged += kill_often(tmp_path / f"lab{seed}.duckdb", seed=seed, kills=15, most=30_000)
    assert acknowledged.total() > 200_000

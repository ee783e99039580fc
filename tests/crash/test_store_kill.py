"""Kill a process that writes to a store, anywhere, and open the file again: what it acknowledged is there."""

import random
from collections import Counter
from pathlib import Path

import pytest
from store_child import event
from store_kills import killed_after

from orchkit.store.duck import DuckStore
from orchkit.store.schema import NUMBERED

CHILD = Path(__file__).with_name("store_child.py")
ROOT = Path(__file__).parents[2]
RUNS = 4


def check(path, acknowledged):
    """Open the file as the next process would, and look for every event that was promised."""
    store = DuckStore(path)
    try:
        for run_id, count in acknowledged.items():
            found = store.events(run_id)
            assert len(found) >= count, f"{count - len(found)} acknowledged events of {run_id} are lost"
            assert found == [event(run_id, n) for n in range(1, len(found) + 1)]
        every = " union all ".join(f"select seq from {table}" for table in NUMBERED)
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
        acknowledged += killed_after("store_child.py", RUNS, path, turn, dice.randrange(1, most))
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

"""Kill a process that writes, checkpoints and marks, anywhere: no false alarm; take its log away: an exact one."""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from store_child import event
from store_kills import killed_after

from orchkit.errors import StoreReadOnly
from orchkit.model.records import Head
from orchkit.store.duck import DuckStore

CHILD = Path(__file__).with_name("marks_child.py")
ROOT = Path(__file__).parents[2]
RUNS = 3


def check(path, acknowledged, *, taken=False):
    """Open it: with its log nothing is missing; without, what is said to be missing is what was acknowledged."""
    store = DuckStore(path)
    try:
        found = Counter({head.run_id: len(store.events(head.run_id)) for head in store.heads()})
        for run_id, n in found.items():
            assert store.events(run_id) == [event(run_id, k) for k in range(1, n + 1)]
        if not taken:
            assert store.damage is None
            assert store.notices == ()
        missing = Counter() if store.damage is None else Counter(store.damage.runs)
        assert store.damage is None or store.damage.missing == missing.total()
        for run_id, n in acknowledged.items():
            assert found[run_id] + missing[run_id] >= n, f"{run_id}: {n} acknowledged, {found[run_id]} there"
        store.confirm()
    finally:
        store.close()
    return found


def kill_often(path, seed, kills, most):
    dice, acknowledged, checkpoints = random.Random(seed), Counter(), 0
    for turn in range(kills):
        acknowledged += killed_after("marks_child.py", RUNS, path, turn, dice.randrange(1, most))
        wal = path.with_name(path.name + ".wal")
        checkpoints += not wal.exists() or wal.stat().st_size < 40_000
        if dice.random() < 0.4 and wal.exists():
            wal.unlink()
            acknowledged = check(path, acknowledged, taken=True)
        elif dice.random() < 0.7:
            check(path, acknowledged)
    check(path, acknowledged)
    return checkpoints


def test_marks_raise_no_false_alarm_and_miss_nothing(tmp_path):
    assert kill_often(tmp_path / "lab.duckdb", seed=31, kills=10, most=600) > 0


@pytest.mark.slow
def test_nor_in_many_kills(tmp_path):
    for seed in range(4):
        kill_often(tmp_path / f"lab{seed}.duckdb", seed=seed, kills=25, most=3000)


OWNERS = """
import os, sys
sys.path[:0] = sys.argv[1:3]
from marks_child import checkpoint
from orchkit.store.duck import DuckStore
DuckStore(sys.argv[3])
print("ready", flush=True)
sys.stdin.read()
"""


def test_who_takes_the_place_of_a_killed_owner_misses_what_is_missing(tmp_path):
    """A client becomes the owner of a file that meanwhile lost its log: it refuses to write, and says why."""
    path = tmp_path / "lab.duckdb"
    DuckStore(path).close()
    arguments = [str(ROOT), str(CHILD.parent), str(path)]
    with subprocess.Popen(
        [sys.executable, "-c", OWNERS, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout.readline() == "ready\n"
        store = DuckStore(path)
        try:
            journal = store.admit(Head("r1", "w", started=1))
            for n in range(1, 31):
                journal.append(event("r1", n))
            assert len(store.events("r1")) == 30
            owner.kill()
            owner.wait()
            path.with_name("lab.duckdb.wal").unlink()
            assert store.damage.missing == 30
            assert store.damage.runs == {"r1": 30}
            with pytest.raises(StoreReadOnly, match="30 acknowledged events are missing"):
                store.admit(Head("r2", "w", started=1))
            failures = []
            journal.append(event("r1", 31))
            journal.when_durable(failures.append)
            store._writer._thread.join(20)
            assert [type(failure) for failure in failures] == [StoreReadOnly]
            assert failures[0].missing == 30
            assert "open it again with ok.open(path)" in str(failures[0])
        finally:
            store.close()

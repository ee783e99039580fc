"""Kill a process that records whole runs at the level "exit", of which thousands are committed together.

So many that DuckDB writes their columns into the file at once, and not into its log: another way than that of all else.
"""

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from flood_child import LENGTH, log_of

from orchkit.store.duck import DuckStore

CHILD = Path(__file__).with_name("flood_child.py")
ROOT = Path(__file__).parents[2]


def killed_within(path, name, seconds, *, after_first):
    """Kill a child some time after it began, or after its first run was durable; give those that it called durable."""
    told = path.with_name(f"{name}.txt")
    with told.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, str(CHILD), str(path), name],
            stdout=out,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        with child:
            assert child.stderr.readline() == b"begin\n", child.stderr.read()
            while after_first and not told.stat().st_size:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(0.01)
                    pytest.fail(child.stderr.read().decode())
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
            errors = child.stderr.read()
    assert child.returncode == -signal.SIGKILL, errors
    whole, _, _ = told.read_text().rpartition("\n")  # the last line may be cut
    return {f"{name}-{line}" for line in whole.splitlines()}


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_each_run_is_there_whole_or_not_at_all(tmp_path, kills):
    path = tmp_path / "lab.duckdb"
    dice = random.Random(kills)
    durable = set()
    for turn in range(kills):
        durable |= killed_within(path, f"k{turn}", dice.uniform(0.1, 2.0), after_first=turn % 3 != 1)
        store = DuckStore(path)
        assert not store.notices
        counts = dict(store.fetch("select run, count(*) from event group by run"))
        assert set(counts.values()) <= {LENGTH}
        assert durable <= counts.keys()
        assert {run for (run,) in store.fetch("select run from admission")} == counts.keys()
        assert store.fetch("select count(*) from (select distinct run, n from event)") == [(sum(counts.values()),)]
        for run in dice.sample(sorted(counts), min(3, len(counts))):
            assert store.events(run) == log_of(run, int(run.rpartition("-")[2]))
        store.close()
    assert durable, "it recorded too little for the kills to say anything"

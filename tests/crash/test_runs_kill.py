"""Kill a process that executes runs of every kind, anywhere, again and again: they reach the end of the unkilled."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kill_child import EFFECTS, ends, snapshot
from kill_witness import Child, Witness

import orchkit as ok

NEW = 2  # cases that each process begins
MOMENTS = {
    "line": (1, 80),
    "before a commit": (1, 25),
    "commit": (1, 25),
    "after a commit": (1, 25),
    "after a push": (1, 80),
    "before rows": (1, 3),
    "after rows": (1, 3),
    "began": (1, 30),
    "received": (1, 6),
    "saw an effect": (1, 3),
    "opening": (1, 2),
    "closing": (1, 2),
}
"""By kind of moment at which a kill may come: how many of them to let pass, at least and less than."""


def kill_once(child: Child, witness: Witness, path: Path, turn: int, dice: random.Random) -> str:
    """Let a child go on and begin more, until it is killed; say at which kind of moment that was."""
    kind = dice.choice(list(MOMENTS))
    nth = dice.randrange(*MOMENTS[kind])
    acts = [("open", str(path), witness.level), ("snapshot",), ("resume",), ("begin", *range((turn + 1) * NEW))]
    if kind != "closing":
        acts.append(("wait",))
    elif dice.random() < 0.5:
        acts = acts[:3]  # while what it has resumed is at work
    child.tell(("strike", kind, nth), *acts, ("close",) if kind == "closing" else ("snapshot",))
    lines = 0
    for said in child.lines():
        if said[0] not in ("snapshot", "open", "resumed"):
            lines += 1
        witness.hear(said)
        if said[0] in ("strike", "done", "closed") or (kind == "line" and lines == nth):
            child.kill()
            break
    for said in child.lines():
        witness.hear(said)
    assert child.end() == -signal.SIGKILL, child.errors()
    return kind if said[0] != "done" else "idle"


def finish(child: Child, witness: Witness, path: Path, cases: int) -> None:
    """Let a child bring everything to its end."""
    acts = [("open", str(path), witness.level), ("snapshot",), ("resume",), ("begin", *range(cases)), ("wait",)]
    child.tell(*acts, ("snapshot",), ("close",))
    for said in child.lines():
        witness.hear(said)
        if said == ["closed"]:
            break
    assert child.end() == 0, child.errors()
    assert said == ["closed"], child.errors()


def end_of(path: Path) -> dict[int, Any]:
    """Give what every case has come to, and check the ledger against what was received."""
    with ok.open(path) as store:
        check_effects(store, path)
        return ends(store)


def check_effects(store: ok.Store, path: Path) -> None:
    """Each effect is completed once, and its receiver knows it by one key."""
    ledger = store.sql("select run, node, idempotency_key as key, status, attempts, completed from effect")
    assert (ledger.completed == 1).all()
    assert (ledger.status == "completed").all()
    assert set(ledger.node) == set(EFFECTS)
    received = [json.loads(line)[0] for line in Path(f"{path}.received").read_text().splitlines()]
    assert set(received) == set(ledger.key)
    assert ledger.key.is_unique
    assert store.sql("select * from attempt where status = 'open'").empty


def kill_often(folder: Path, level: str, seed: int, kills: int) -> Counter[str]:
    """Kill a child again and again, and compare the end with that of one that nobody kills."""
    dice, path, calm = (
        random.Random(f"{level} {seed}"),
        folder / f"{level}-{seed}.duckdb",
        folder / f"calm-{level}-{seed}.duckdb",
    )
    witness, came, cases = Witness(level), Counter[str](), kills * NEW
    following = Child()  # made while the one before it is at work
    try:
        for turn in range(kills):
            with following as child:
                following = Child()
                came[kill_once(child, witness, path, turn, dice)] += 1
        with following as child:
            following = Child()
            finish(child, witness, path, cases)
        with following as child:
            finish(child, Witness(level), calm, cases)
    finally:
        following.__exit__()
    killed = end_of(path)
    assert killed == end_of(calm)
    assert sorted(killed) == list(range(cases))
    with ok.open(path) as store:
        witness.look(snapshot(store))
    assert any(row[1] == "resumed" for log in witness.kept.values() for row in log), "nothing was left to go on with"
    return came


@pytest.mark.parametrize("level", ["strict", "group", "both"])
def test_runs_reach_the_same_end_however_often_their_process_is_killed(tmp_path, level):
    kills = {"strict": 12, "group": 14, "both": 14}[level]
    came = kill_often(tmp_path, level, seed=2026, kills=kills)
    assert came.total() == kills


@pytest.mark.slow
@pytest.mark.parametrize("level", ["strict", "group"])
def test_they_do_in_many_kills(tmp_path, level):
    with ThreadPoolExecutor(2) as two:
        came = sum(two.map(lambda seed: kill_often(tmp_path / "", f"{level}", seed, 10), range(10)), Counter())
    assert came.total() == 100
    assert set(came) >= set(MOMENTS)

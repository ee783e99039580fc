"""Many at once on one store: eight threads in each of three processes, and a thousand runs in one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kill_child import snapshot
from kill_witness import Child, Witness
from test_runs_kill import end_of, finish

import orchkit as ok

PROCESSES, THREADS, RUNS = 3, 8, 2
MANY = 1000


def test_eight_threads_of_three_processes_at_once(tmp_path: Path) -> None:
    path, witness = tmp_path / "lab.duckdb", Witness("both")
    with ExitStack() as stack:
        children = [stack.enter_context(Child()) for _ in range(PROCESSES)]
        for k, child in enumerate(children):
            crowd = ("crowd", THREADS, k * THREADS * RUNS, RUNS)
            child.tell(("open", str(path), "both"), crowd, ("wait",))
        for until in (["done"], ["closed"]):
            for child in children:
                if until == ["closed"]:
                    child.tell(("close",))
                hear(child, witness, until)
        assert [child.end() for child in children] == [0] * PROCESSES
    cases = PROCESSES * THREADS * RUNS
    with Child() as child:
        finish(child, Witness("both"), tmp_path / "calm.duckdb", cases)
    assert end_of(path) == end_of(tmp_path / "calm.duckdb")
    with ok.open(path) as store:
        witness.check(snapshot(store))
    assert sorted(witness.started) == list(range(cases))
    assert len(witness.results) == cases


def hear(child: Child, witness: Witness, until: list[Any]) -> None:
    for said in child.lines():
        witness.hear(said)
        if said == until:
            return
    raise AssertionError(child.errors())


def test_a_thousand_runs_wait_for_people_at_once(tmp_path: Path) -> None:
    wf = ok.Workflow("many", input=int)
    wf.approval("sure", answer=int, show="ready")

    @wf.step
    async def ready(input: int) -> int:
        return input + 1

    @wf.step
    async def done(ready: int, sure: int) -> int:
        return ready * sure

    dice, numbers = random.Random(2026), list(range(MANY))
    with ok.open(tmp_path / "lab.duckdb") as store, ThreadPoolExecutor(8) as eight:

        def every(what: Callable[[int], Any], order: Iterable[int]) -> list[Any]:
            return list(eight.map(what, order))

        runs = every(lambda number: wf.start(number, store=store), numbers)
        every(lambda number: runs[number].wait_settled(60), numbers)
        assert len(store.pending()) == MANY
        assert set(store.runs().status) == {"waiting"}
        every(lambda number: runs[number].answer("sure", number, by="dana"), dice.sample(numbers, MANY))
        assert every(lambda number: runs[number].result(60), numbers) == [(n + 1) * n for n in numbers]
        assert store.pending().empty
        assert set(store.runs().status) == {"completed"}
        assert store.sql("select count(*) as n from event where kind = 'answered'").n.tolist() == [MANY]
        assert len({run.id for run in runs}) == MANY

"""What users of other engines suffered from what is kept, and how; test_table.py says from which threads."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import BaseModel

import orchkit as ok

WAIT = 30
ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lab.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[ok.Store]:
    with ok.open(path) as opened:
        yield opened


DIES = """
import os, sys
import orchkit as ok

wf = ok.Workflow("accepted", input=str)

@wf.step
async def answer(input: str, ctx: ok.Context) -> str:
    await ctx.sleep(3600)
    return "not here"

run = wf.start("Dana", store=sys.argv[1])
print(run.id, flush=True)
os._exit(9)
"""


def test_a_run_that_was_accepted_is_there_though_its_process_died_at_once(path: Path) -> None:
    command = [sys.executable, "-c", DIES, str(path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    died = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert died.returncode == 9, died.stderr
    wf = ok.Workflow("accepted", input=str)

    @wf.step
    async def answer(input: str) -> str:
        return f"Dear {input}"

    with ok.open(path) as store:
        assert store.runs().status.tolist() == ["orphaned"]
        assert store.resume(died.stdout.strip(), wf, on_change="keep").result(WAIT) == "Dear Dana"


def test_a_crash_between_attempts_neither_repeats_nor_forgets_one(store: ok.Store) -> None:
    wf, ran = ok.Workflow("shaky", input=str), Counter[int]()

    @wf.step(retry=ok.Retry(3, wait=ok.backoff(base=0.001)))
    async def shaky(input: str, ctx: ok.Context) -> str:
        ran[ctx.attempt] += 1
        if ctx.attempt < 3:
            raise ConnectionError("again")
        return f"attempt {ctx.attempt}"

    whole = wf.start("x", store=store)
    assert whole.result(WAIT) == "attempt 3"
    for record in range(1, len(whole.log)):
        ran.clear()
        run = wf.start("x", store=store, faults=ok.Faults(ok.faults.crash(after=record)))
        with pytest.raises(ok.RunCrashed):
            run.result(WAIT)
        ended = {event.attempt for event in run.log if event.kind in ("failed", "completed")}
        ran.clear()
        assert store.resume(run.id, wf).result(WAIT) == "attempt 3"
        assert ran == dict.fromkeys({1, 2, 3} - ended, 1), f"crash after {record}"
    assert store.stuck().empty


def test_a_fork_that_nobody_started_is_told_and_can_be_taken_up(path: Path) -> None:
    wf = ok.Workflow("forked", input=str)

    @wf.step
    async def draft(input: str) -> str:
        return f"Dear {input}"

    with ok.open(path) as store:
        run = wf.start("Dana", store=store)
        run.result(WAIT)
        new = run.fork("draft")
    with ok.open(path) as store:
        (row,) = store.stuck().to_dict("records")
        assert (row["run"], row["status"], row["why"]) == (new.id, "suspended", f"forked from {run.id}")
        assert row["todo"] == f"store.resume({new.id!r})"
        (again,) = store.resume_all()
        assert again.result(WAIT) == "Dear Dana"
        assert store.stuck().empty


class Tone(Enum):
    WARM = "warm"


@dataclass
class Line:
    text: str
    price: Decimal


class Letter(BaseModel):
    tone: Tone
    lines: list[Line]
    at: datetime
    tags: set[str] = set()


class Signed(Letter):
    by: str = ""


def test_values_are_what_they_were_after_a_restart_without_a_server(path: Path) -> None:
    letter = Letter(
        tone=Tone.WARM, lines=[Line("tea", Decimal("1.10"))], at=datetime(2026, 1, 2, tzinfo=UTC), tags={"a"}
    )
    seen: list[Any] = []
    wf = ok.Workflow("letters", input=Letter)

    @wf.step
    async def copies(input: Letter) -> dict[Tone, tuple[Letter, ...]]:
        return {input.tone: (input, input)}

    wf.approval("review", answer=Line)

    @wf.step
    async def look(copies: dict[Tone, tuple[Letter, ...]], review: Line) -> Letter:
        seen.extend([copies, review])
        return copies[Tone.WARM][0]

    with ok.open(path) as store:
        run_id = wf.start(letter, store=store).wait_settled(WAIT).id
    with ok.open(path) as store:
        run = store.resume(run_id, wf).wait_settled(WAIT)
        run.answer("review", {"text": "cake", "price": "2.50"})
        assert run.result(WAIT) == letter
    assert seen == [{Tone.WARM: (letter, letter)}, Line("cake", Decimal("2.50"))]


@pytest.mark.parametrize(
    ("returns", "value", "place"),
    [
        (dict[str, Any], lambda letter: {"drafts": [letter]}, r"at \.drafts\[0\] is .*\(Signed\)"),
        (list, lambda letter: [letter.at], r"at \[0\] is .*\(datetime\)"),
        (object, lambda letter: {"tags": letter.tags}, r"at \.tags is .*\(set\)"),
        (Letter, lambda letter: letter, r"\(Signed\): it would come back as Letter"),
    ],
    ids=["model", "datetime", "set", "subclass"],
)
def test_a_type_that_the_annotation_does_not_name_is_refused_and_not_turned_into_another(
    returns: Any, value: Any, place: str
) -> None:
    wf = ok.Workflow("loose", input=str)

    def draft(input: str) -> Any:
        return value(Signed(tone=Tone.WARM, lines=[], at=datetime(2026, 1, 2, tzinfo=UTC), by="Dana"))

    draft.__annotations__["return"] = returns
    wf.step(draft)
    run = wf.simulate("x", world=ok.World())
    with pytest.raises(
        ok.RunError, match=f"CodecError: result of 'draft' {place if place[0] == 'a' else '.*' + place}"
    ):
        run.result()


LOADERS = {"pickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "yaml"}
READERS = ("model", "store", "engine", "runs", "hall")
OF_USERS = {"model/signatures.py"}  # it evaluates the annotations that stand in the user's own source


def dangers(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from LOADERS & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            yield from LOADERS & {(node.module or "").partition(".")[0]}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield from {"eval", "exec", "compile"} & {node.func.id}


def test_no_room_that_reads_a_store_can_load_code_from_it() -> None:
    rooms = ROOT / "orchkit"
    found = {
        str(module.relative_to(rooms)): [*dangers(module)]
        for room in READERS
        for module in (rooms / room).rglob("*.py")
    }
    assert len(found) > 50
    assert {module for module, names in found.items() if names} == OF_USERS


def test_a_large_value_that_many_steps_hand_on_is_stored_once(store: ok.Store) -> None:
    noise = random.Random(7).randbytes(200_000).hex()  # which nothing can compress by much
    wf = ok.Workflow("large", input=str)
    for i in range(20):
        scope: dict[str, Any] = {}
        exec(
            f"async def s{i}({f's{i - 1}' if i else 'input'}: str) -> str: return {f's{i - 1}' if i else 'input'}",
            scope,
        )
        wf.step(scope[f"s{i}"])
    before = store.size()
    assert wf.start(noise, store=store).result(WAIT) == noise
    after = store.size()
    assert after.total - before.total < 3 * len(noise)  # recorded 22 times, and in the log besides
    assert after.rows["payload"] == 2  # as the run's input, and as a result


def test_what_is_no_longer_needed_can_be_removed(store: ok.Store) -> None:
    wf = ok.Workflow("many", input=int)

    @wf.step
    async def double(input: int) -> int:
        return input * 2

    runs = [wf.start(i, store=store) for i in range(4)]
    assert [run.result(WAIT) for run in runs] == [0, 2, 4, 6]
    assert set(store.prune(keep_runs=1).run) == {run.id for run in runs[:3]}
    assert store.runs().run.tolist() == [runs[3].id]
    assert store.size().rows["event"] == len(runs[3].log)


def test_others_can_read_a_copy_while_a_notebook_holds_the_file(store: ok.Store, tmp_path: Path) -> None:
    wf, gate = ok.Workflow("held", input=str), threading.Event()

    @wf.step
    def wait(input: str) -> str:
        gate.wait(WAIT)
        return input

    run = wf.start("x", store=store)
    store.snapshot(tmp_path / "copy.duckdb")
    with duckdb.connect(tmp_path / "copy.duckdb", read_only=True) as plain:
        assert plain.execute("select run, workflow from run").fetchall() == [(run.id, "held")]
    gate.set()
    assert run.result(WAIT) == "x"

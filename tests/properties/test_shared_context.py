"""Laws of the shared context: no outcome depends on timing, no cut loses or doubles a write, and deltas stay small."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.clock.bare import BareHost
from orchkit.clock.kernel import Kernel
from orchkit.engine.execution import Execution
from orchkit.engine.journal import MemoryJournal
from orchkit.model.events import Event, decode_log, encode_log
from orchkit.model.fold import fold
from orchkit.model.shared import SharedState
from orchkit.model.state import RunState
from orchkit.runs.simulate import prepare
from orchkit.testing import every_prefix

# Its writers conflict on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::orchkit.GraphWarning")


class Case(BaseModel):
    notes: list[str] = []
    spent: float = 0.0
    status: str = "new"
    most: int = 0


def larger(old: int, new: int) -> int:
    return max(old, new)


Seen = dict[tuple[str, Any], Any]


def writer(name: str, params: list[str], fails: int, value: Any, replaces: bool, seen: Seen) -> Callable[..., Any]:
    """Make a body that sleeps as its luck has it, looks, writes, and fails its first attempts."""

    async def body(**inputs: Any) -> Any:
        ctx: ok.Context = inputs["ctx"]
        await ctx.sleep(ctx.random.uniform(0, 9))
        before = ctx.shared.model_dump()
        ctx.update(notes=[f"{name}[{ctx.item}] try {ctx.attempt}"], spent=0.1 * len(name) + 0.01)
        ctx.update(most=len(before["notes"]))
        if replaces:
            ctx.update(status=name)
        if ctx.attempt <= fails:
            raise ConnectionError
        seen[ctx.node, ctx.item] = before, ctx.shared.model_dump()
        return value

    body.__name__ = name
    body.__annotations__ = {}
    asked = [inspect.Parameter(param, inspect.Parameter.KEYWORD_ONLY) for param in [*params, "ctx"]]
    body.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]  # inspect reads it
    return body


def writers(shape: int, *, replacing: float = 0.0) -> tuple[ok.Workflow, Seen]:
    """Make a random graph of writers: steps, maps, routes, orders, retries, fallbacks and skipped failures."""
    rng = random.Random(shape)
    seen: Seen = {}
    wf = ok.Workflow(f"writers-{shape}")
    wf.context(Case, merge={"notes": ok.append, "spent": ok.add, "most": larger})
    names: list[str] = []
    lists: list[str] = []

    def add(kind: Any, name: str, params: list[str], value: Any, **extra: Any) -> None:
        fails = rng.choice([0, 0, 0, 1, 2])
        retry = ok.Retry(rng.randint(1, 3), wait=ok.backoff(1))
        replaces = rng.random() < replacing
        spare = writer(f"spare_{name}", [], 0, value, replaces, seen) if rng.random() < 0.3 else None
        after = rng.sample(names, min(len(names), rng.choice([0, 0, 1])))
        options = {"retry": retry, "fallback": spare, "after": after, "on_error": "skip", **extra}
        if kind == wf.route:
            options["fallback"], fails = None, 0
        kind(**options)(writer(name, params, fails, value, replaces, seen))
        names.append(name)

    for i in range(rng.randint(4, 10)):
        name, sources = f"n{i}", rng.sample(names, min(len(names), rng.randint(0, 3)))
        roll = rng.random()
        if roll < 0.3 and lists:
            limit = rng.choice([None, 1, 2])
            add(wf.map, name, ["item", *sources[:1]], f"v{i}", over=rng.choice(lists), limit=limit)
        elif roll < 0.45:
            targets = [f"{name}a", f"{name}b"]
            add(wf.route, name, sources, rng.choice([targets, targets[:1]]), to=targets)
            for target in targets:
                add(wf.step, target, sources[:1], target)
        else:
            several = [f"e{k}" for k in range(rng.randint(0, 4))] if rng.random() < 0.6 else None
            add(wf.step, name, sources, several or f"v{i}")
            lists += [name] if several else []
    return wf, seen


def outcome(wf: ok.Workflow, seen: Seen, seed: int) -> tuple[Any, ...]:
    """Run once with the luck of a seed, and give all that should not depend on it."""
    seen.clear()
    run = wf.simulate("x", world=ok.World(), seed=seed)
    try:
        shared = run.shared
    except ok.ContextConflict as error:
        shared = str(error).partition(" (run")[0]
    return run.status, shared, dict(seen), run.log[-1].body


@pytest.mark.parametrize("block", range(4))
def test_no_outcome_depends_on_the_order_in_which_steps_finish(block: int) -> None:
    orders: set[tuple[Any, ...]] = set()
    for shape in range(block * 15, block * 15 + 15):
        wf, seen = writers(shape)
        first = outcome(wf, seen, 0)
        assert first[0] in ("completed", "degraded", "failed")
        assert not isinstance(first[1], str)
        for seed in range(1, 6):
            assert outcome(wf, seen, seed) == first, f"shape {shape}, seed {seed}"
            orders.add(tuple(seen))
    assert len(orders) > 40  # or the schedules would all have been alike


def test_whether_writers_conflict_does_not_depend_on_it_either() -> None:
    statuses = []
    for shape in range(60):
        wf, seen = writers(shape, replacing=0.25)
        conflicts = set()
        for seed in range(5):
            status, shared, _, _ = outcome(wf, seen, seed)
            conflicts.add((status, isinstance(shared, str)))
        assert len(conflicts) == 1, f"shape {shape}: {conflicts}"
        statuses.append(conflicts.pop()[1])
    assert 10 < sum(statuses) < 50


@pytest.mark.parametrize("block", range(4))
def test_every_prefix_resumes_to_the_same_log_and_context(block: int) -> None:
    for shape in range(block * 6, block * 6 + 6):
        wf, _ = writers(shape, replacing=0.15)
        faults = ok.Faults(ok.faults.fail("n1", nth=1), ok.faults.slow("n2", add=3))
        step = next((node.name for node in wf.checked().nodes if node.kind == "step"), None)
        world = ok.World({step: ok.fake(["a", "b"], latency=2.0)} if step else {})
        report = every_prefix(wf, "x", world=world, faults=faults, seed=shape)
        assert report.ok, f"shape {shape}: {report.differences[0]}"


def test_a_crash_after_any_record_neither_loses_nor_doubles_a_write() -> None:
    wf, _ = writers(3)
    whole = wf.simulate("x", world=ok.World(), seed=1)
    for record in range(1, len(whole.log)):
        plan = ok.Faults(ok.faults.crash(after=record))
        crashed = wf.simulate("x", world=ok.World(), seed=1, faults=plan, durability="group")
        assert crashed.shared == whole.shared, f"crash after {record}"


def plainly(shared: SharedState | None) -> Any:
    assert shared is not None
    return shared.writes, shared.begun, shared.live, shared.values(shared.everyone)


def watched(shape: int) -> int:
    """Simulate a random workflow and compare its context with the fold of its log after every event."""
    wf, _ = writers(shape)
    program = prepare(wf.checked(), ok.World())
    kernel = Kernel()
    host = BareHost(kernel)

    def look(event: Event) -> None:
        state: RunState = fold(program.graph, decode_log(encode_log(execution.events)))
        assert plainly(execution.state.shared) == plainly(state.shared), f"after {event}"

    execution = Execution(program, kernel, host, MemoryJournal(), run_id="r", dice_base=shape, on_event=look)
    execution.start("x")
    execution.advance()
    host.run()
    assert execution.error is None
    return len(execution.events)


def test_the_running_context_is_the_fold_of_its_log_after_every_event() -> None:
    assert sum(watched(shape) for shape in range(12)) > 200


# What it costs


def kilobyte(rng: random.Random) -> str:
    """Give a text that does not compress."""
    return "".join(chr(rng.randrange(0x20, 0x7F)) for _ in range(1000))


def talkers(size: int) -> ok.Workflow:
    """Make a chain of steps that each append 1 kB, and read what there is."""
    wf = ok.Workflow("talkers")
    wf.context(Case, merge={"notes": ok.append})
    source = "input"
    for i in range(size):

        async def body(*, ctx: ok.Context, **_: Any) -> int:
            before = len(ctx.shared.notes)
            ctx.update(notes=[kilobyte(random.Random(before))])
            return before

        body.__name__ = f"s{i}"
        body.__annotations__ = {"return": int}
        asked = [inspect.Parameter(param, inspect.Parameter.KEYWORD_ONLY) for param in (source, "ctx")]
        body.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]  # inspect reads it
        wf.step(body)
        source = body.__name__
    return wf


def test_200_steps_that_each_append_a_kilobyte_record_less_than_a_megabyte() -> None:
    run = talkers(200).simulate("x", world=ok.World())
    assert run.result() == 199
    assert len(run.shared.notes) == 200
    assert sum(map(len, run.shared.notes)) == 200_000
    assert len(encode_log(run.log)) < 300_000


def test_and_so_does_the_file(tmp_path: Path) -> None:
    def size(workflow: ok.Workflow | None, name: str) -> int:
        path = tmp_path / name
        with ok.open(path) as store:
            if workflow is not None:
                assert workflow.start("x", store=store).result(60) == 199
        return path.stat().st_size

    assert size(talkers(200), "talk.duckdb") - size(None, "empty.duckdb") < 1_000_000

"""One engine, several hosts: the same workflows on the bare heap and live on asyncio give the same logs."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from itertools import pairwise
from typing import Any

import pytest

import orchkit as ok
from orchkit.clock.dice import base_of
from orchkit.clock.live import LiveHost
from orchkit.engine.execution import Execution
from orchkit.engine.journal import MemoryJournal
from orchkit.engine.program import Program
from orchkit.model.events import Event, canonical_digest, decode_log, encode_log
from orchkit.runs import live
from orchkit.runs.simulate import _drive, continue_virtual
from orchkit.store.memory import MemoryStore
from tests.support.graphs import random_workflow

# Everything that could race the wall is left out on purpose: bodies end in their first turn, nothing times out but
# hangs, failures are skipped instead of stopping siblings. What is left must not depend on the host at all.
UNIT = 0.001


def workflow(seed: int) -> tuple[Program, Any]:
    wf, world, faults, bodies = random_workflow(seed, modelled=False, failing=False, unit=UNIT)
    people = ok.World({name: model for name, model in world.models.items() if name in wf.checked().index})
    plan = ok.Faults(*(fault for fault in faults.faults if fault.kind != "slow"))
    return Program(wf.checked(), people.fit_to(wf.checked()), plan), bodies


def live_log(program: Program, seed: int) -> tuple[str, list[Event]]:
    # The luck of a live run follows from its id: a drawn one would make each run of the test another test.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "fresh_run_id", lambda: f"seed{seed}")
        run = live.start(program, "x", store=MemoryStore(), durability="memory", deps=None)
    try:
        run.outcome().result(timeout=60)
    except ok.RunError:
        pass
    return run.head.run_id, run.log()


@pytest.mark.parametrize("block", range(5))
def test_live_and_bare_logs_are_canonically_equal(block: int) -> None:
    for seed in range(block * 12, block * 12 + 12):
        program, _ = workflow(seed)
        run_id, log = live_log(program, seed)
        bare = _drive(program, run_id, base_of(0, run_id), (), "x").events
        assert canonical_digest(log) == canonical_digest(bare), f"seed {seed}"


def stumbling_log(program: Program, run_id: str, rng: random.Random) -> list[Event]:
    """Run live in a process that stands still, now and again, for longer or shorter than any time-out."""
    stood = 0

    def clock() -> int:
        nonlocal stood
        if rng.random() < 0.3:
            stood += rng.randrange(300_000)
        return time.monotonic_ns() // 1000 + stood

    async def main() -> list[Event]:
        host, done = LiveHost(asyncio.get_running_loop(), clock), asyncio.Event()
        execution = Execution(
            program, host.kernel, host, MemoryJournal(), run_id=run_id, base=host.kernel.now,
            dice_base=base_of(0, run_id), on_end=lambda _: done.set(),
        )  # fmt: skip
        execution.start("x")
        execution.advance()
        host.pump()
        await asyncio.wait_for(done.wait(), 60)
        return execution.events

    return asyncio.run(main())


def test_a_process_that_stands_still_times_nothing_out_that_takes_no_time() -> None:
    for seed in range(24):
        program, _ = workflow(seed)
        log = stumbling_log(program, f"seed{seed}", random.Random(seed))
        bare = _drive(program, f"seed{seed}", base_of(0, f"seed{seed}"), (), "x").events
        assert canonical_digest(log) == canonical_digest(bare), f"seed {seed}"


def test_time_never_goes_back_and_every_attempt_ends_once() -> None:
    for seed in range(100, 140):
        program, _ = workflow(seed)
        _, log = live_log(program, seed)
        assert all(one.t <= other.t for one, other in pairwise(log))
        started = [(e.node, e.item, e.leg, e.attempt) for e in log if e.kind == "started"]
        ended = [
            (e.node, e.item, e.leg, e.attempt) for e in log if e.kind in ("completed", "failed", "cancelled") and e.node
        ]
        assert sorted(started) == sorted(ended)
        assert len(set(started)) == len(started)
        assert log[-1].kind == "run_ended"


def test_every_prefix_of_a_live_log_resumes_without_losing_or_doubling() -> None:
    points = 0
    for seed in range(200, 215):
        program, bodies = workflow(seed)
        run_id, log = live_log(program, seed)
        wanted = canonical_digest(log)
        for cut in range(1, len(log)):
            prefix = decode_log(encode_log(log[:cut]))
            recorded = {(e.node, e.item, e.attempt) for e in prefix if e.kind in ("completed", "failed")}
            bodies.ran.clear()
            resumed = continue_virtual(program, run_id, base_of(0, run_id), prefix).events
            assert canonical_digest(resumed) == wanted, f"seed {seed}, cut {cut}"
            assert not recorded & set(bodies.ran)
            points += 1
    assert points > 200


def test_many_live_runs_share_one_engine_thread() -> None:
    before = {thread.name for thread in threading.enumerate()}
    runs = []
    for seed in range(300, 320):
        program, _ = workflow(seed)
        runs.append((program, live.start(program, "x", store=MemoryStore(), durability="memory", deps=None)))
    for program, run in runs:
        try:
            run.outcome().result(timeout=60)
        except ok.RunError:
            pass
        bare = _drive(program, run.head.run_id, base_of(0, run.head.run_id), (), "x").events
        assert canonical_digest(run.log()) == canonical_digest(bare)
    engines = [t.name for t in threading.enumerate() if t.name == "orchkit-engine"]
    assert len(engines) == 1, before

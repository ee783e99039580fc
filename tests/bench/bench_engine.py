"""What a step costs, and what importing costs: ratios inside one run, medians of several passes.

Run it alone: ``python tests/bench/bench_engine.py``. These figures are never asserted in a test, because the
machines that run tests are noisy.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import simpy

import orchkit as ok
from orchkit.clock.live import LiveHost
from orchkit.engine.execution import Execution
from orchkit.engine.journal import MemoryJournal
from orchkit.engine.program import Program
from orchkit.runs import live
from orchkit.runs.checks import dump_input
from orchkit.runs.simulate import prepare, simulate
from orchkit.store.memory import MemoryStore

PASSES = 7


def median_us(work: Callable[[], None], units: int) -> tuple[float, float, float]:
    """Give the median, smallest and largest microseconds a unit over several passes, after a warm-up."""
    work()
    taken = []
    for _ in range(PASSES):
        begin = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begin) / units * 1e6)
    return statistics.median(taken), min(taken), max(taken)


def chain(length: int, **policies: object) -> ok.Workflow:
    """Make a chain of steps with trivial bodies."""
    wf = ok.Workflow("chain", input=int)
    source = "input"
    for i in range(length):
        scope: dict[str, object] = {}
        exec(f"async def s{i}({source}: int) -> int:\n    return {source} + 1", scope)
        wf.step(**policies)(scope[f"s{i}"])
        source = f"s{i}"
    return wf


def engine_chain(**policies: object) -> Callable[[], None]:
    """Run a chain of 200 on a loop of this thread: the engine alone, without the hop from thread to thread."""
    program = Program(chain(200, **policies).checked())

    async def once() -> None:
        host = LiveHost(asyncio.get_running_loop())
        done = asyncio.Event()
        execution = Execution(
            program, host.kernel, host, MemoryJournal(), run_id="r", base=host.kernel.now, on_end=lambda _: done.set()
        )
        execution.start(0)
        execution.advance()
        host.pump()
        await done.wait()
        assert execution.state.result == 200
        assert len(execution.events) == 402

    async def several() -> None:
        for _ in range(10):
            await once()

    return lambda: asyncio.run(several())


def bare_tasks() -> None:
    """Create and await 2,000 asyncio tasks one after another: what a step costs without any engine."""

    async def step(value: int) -> int:
        return value + 1

    async def main() -> None:
        value = 0
        for _ in range(2000):
            value = await asyncio.get_running_loop().create_task(step(value))

    asyncio.run(main())


def live_chain(**policies: object) -> Callable[[], None]:
    """Run a chain of 200 live in memory, events recorded."""
    program = Program(chain(200, **policies).checked())

    def work() -> None:
        run = live.start(program, 0, store=MemoryStore(), durability="memory", deps=None)
        assert run.outcome().result() == 200

    return work


def simulated() -> Callable[[], None]:
    """Simulate 200 runs of eight steps with lognormal latency, 5 % failures and up to five attempts."""
    wf = chain(8, retry=ok.Retry(5))
    model = ok.fake(1, latency=ok.dist.lognormal(p50=4.0, sigma=0.6), error=0.05)
    program = prepare(wf.checked(), ok.World({f"s{i}": model for i in range(8)}))
    value = dump_input(program, 0)

    def work() -> None:
        for seed in range(200):
            simulate(program, value, seed=seed)

    return work


def simpy_runs() -> None:
    """Run the same in SimPy, a process a step, without records, luck by one generator."""
    import random

    rng = random.Random(1)

    def step(env: simpy.Environment) -> object:
        for _ in range(5):
            yield env.timeout(rng.lognormvariate(1.386, 0.6))
            if rng.random() >= 0.05:
                return
            yield env.timeout(rng.random())

    def flow(env: simpy.Environment) -> object:
        for _ in range(8):
            yield env.process(step(env))  # type: ignore[arg-type]  # a generator function

    for _ in range(200):
        env = simpy.Environment()
        env.process(flow(env))  # type: ignore[arg-type]  # a generator function
        env.run()


def import_seconds(statement: str) -> float:
    """Give the median seconds that a fresh interpreter takes for a statement."""
    taken = []
    for _ in range(PASSES):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def main() -> None:
    """Print the table."""
    bare = import_seconds("pass")
    for name in (
        "import orchkit",
        "import orchkit; orchkit.Workflow, orchkit.World",
        "from pydantic import BaseModel",
    ):
        print(f"{name:60s} {import_seconds(name) - bare:8.3f} s over bare Python ({bare:.3f} s)")
    rows = {
        "a bare asyncio task, awaited": median_us(bare_tasks, 2000),
        "live step in memory, events recorded": median_us(engine_chain(), 2000),
        "the same with retry and timeout": median_us(engine_chain(retry=ok.Retry(3), timeout=20.0), 2000),
        "the same through wf.start, admission and threads": median_us(live_chain(), 200),
        "simulated run of 8 steps, events, no receipt": median_us(simulated(), 200),
        "SimPy, a process a step, no records": median_us(simpy_runs, 200),
    }
    for name, (middle, low, high) in rows.items():
        print(f"{name:60s} {middle:8.1f} us ({low:.1f}-{high:.1f})")
    ratio = rows["simulated run of 8 steps, events, no receipt"][0] / rows["SimPy, a process a step, no records"][0]
    print(f"{'simulated run / SimPy':60s} {ratio:8.2f}")


if __name__ == "__main__":
    main()

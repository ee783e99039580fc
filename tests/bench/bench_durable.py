"""What durability costs where users meet it: a step, a fan-out, many runs at once, a resume, a large file.

``python tests/bench/bench_durable.py [what ...] [--folder FOLDER]`` with ``steps``, ``hand``, ``resume``, ``large``,
``memory``, ``exit``, ``share`` or ``takeover``; all without a name. Run it alone, with the folder on the disk that is
meant. Figures are medians with their range; what the disk and DuckDB take by themselves is timed by turns with them,
and ratios are to that.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter

import duckdb

import orchkit as ok
from orchkit.model.events import Event, settles
from orchkit.model.records import Head
from orchkit.store.batches import table_of
from orchkit.store.duck import DuckStore
from orchkit.store.file import DuckFile
from orchkit.store.look import connect
from orchkit.store.rows import Layout
from orchkit.store.schema import EVENT_COLUMNS, EVENT_ROW

ROUNDS = 7
_CHAIN = 200


def chain(length: int) -> ok.Workflow:
    """Make a chain of steps with trivial bodies."""
    wf = ok.Workflow(f"chain{length}", input=int)
    source = "input"
    for i in range(length):
        scope: dict[str, object] = {}
        exec(f"async def s{i}({source}: int) -> int:\n    return {source} + 1", scope)
        wf.step(scope[f"s{i}"])
        source = f"s{i}"
    return wf


def fan(width: int) -> ok.Workflow:
    """Make a map over so many items, and a join."""
    wf = ok.Workflow(f"fan{width}", input=int)

    @wf.step
    async def many(input: int) -> list[int]:
        return list(range(width))

    @wf.map(over="many")
    async def each(item: int) -> int:
        return item + 1

    @wf.step
    async def join(each: list[int]) -> int:
        return len(each)

    return wf


def at_once(wf: ok.Workflow, count: int, store: ok.Store, durability: str) -> list[ok.Run]:
    """Start many runs without waiting for each admission in turn: from inside a step, where none is waited for."""
    hub = ok.Workflow("hub", input=int)
    runs: list[ok.Run] = []

    @hub.step
    async def go(input: int) -> int:
        runs.extend(wf.start(1, store=store, durability=durability) for _ in range(count))
        return count

    hub.start(0, durability="memory").result(60)
    return runs


def timed(work: Callable[[], object]) -> float:
    """Time one call, in seconds."""
    begin = perf_counter()
    work()
    return perf_counter() - begin


def said(what: str, took: list[float], unit: str = "us", scale: float = 1e6, more: str = "") -> None:
    """Print one line of the report."""
    low, mid, high = (pick(took) * scale for pick in (min, median, max))
    print(f"{what:46} {mid:10.1f} {unit:8} ({low:.1f} to {high:.1f})  {more}", flush=True)


def bare_commit(folder: Path) -> Callable[[], object]:
    """Give a bare one-row commit of DuckDB's into a table like ours."""
    connection = duckdb.connect(str(folder / "bare.duckdb"))
    connection.execute(EVENT_ROW)
    insert = f"insert into event_row values ({', '.join('?' * len(EVENT_COLUMNS))})"
    event = Event(1, "completed", "draft", attempt=1, status="ok", dur=900_000, body={"text": "x" * 180})
    (logged,) = Layout(Head("bare", "bench", started=1)).items(1, event)
    return lambda: connection.execute(insert, (1, *logged.row()))


def bare_sync(folder: Path) -> Callable[[], object]:
    """Give a bare write and fdatasync of 300 bytes."""
    file = os.open(folder / "bare.bin", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def act() -> None:
        os.write(file, b"x" * 300)
        getattr(os, "fdatasync", os.fsync)(file)

    return act


def steps(folder: Path) -> None:
    """A lone step, a fan-out and many runs at once, at each level."""
    lone, wide, short = chain(_CHAIN), fan(500), chain(10)
    commit, sync = bare_commit(folder), bare_sync(folder)
    took: dict[str, list[float]] = {}

    def note(what: str, seconds: float) -> None:
        took.setdefault(what, []).append(seconds)

    with ok.open(folder / "lab.duckdb") as store:
        for _ in range(ROUNDS):
            note("commit", timed(lambda: [commit() for _ in range(100)]) / 100)
            note("sync", timed(lambda: [sync() for _ in range(100)]) / 100)
            for level in ("memory", "group", "strict"):
                note(f"lone {level}", _run(lone, store, level) / _CHAIN)
                note(f"fan {level}", _run(wide, store, level) / 500)
                note(f"many {level}", _run_many(short, store, level) / 2000)
    bare = median(took["commit"])
    said("fdatasync of 300 bytes", took["sync"])
    said("bare one-row commit into the same table", took["commit"])
    ratios = [step / commit for step, commit in zip(took["lone strict"], took["commit"], strict=True)]
    said("strict: a lone step", took["lone strict"], more=f"{median(ratios):.2f} bare commits (median of pairs)")
    added = [group - memory for group, memory in zip(took["lone group"], took["lone memory"], strict=True)]
    said("memory: a lone step", took["lone memory"])
    said("group: a lone step", took["lone group"], more=f"{median(added) * 1e6:.1f} us more than in memory")
    for level in ("memory", "group", "strict"):
        ratios = [500 * step / commit for step, commit in zip(took[f"fan {level}"], took["commit"], strict=True)]
        more = f"{median(ratios):.1f} bare commits for all 500 (median of pairs)"
        said(f"{level}: fan-out of 500, a step", took[f"fan {level}"], more=more)
    for level in ("memory", "group", "strict"):
        rate = 1 / median(took[f"many {level}"])
        said(f"{level}: 200 runs of 10 steps at once, a step", took[f"many {level}"], more=f"{rate:,.0f} steps/s")
    print(f"{'':46} (a bare commit is {bare * 1e6:.0f} us)")


def hand_over(folder: Path) -> None:
    """What handing a lone event to the writer's thread costs, beside a commit on the thread that has it."""
    store, file = DuckStore(folder / "thread.duckdb"), DuckFile(folder / "inline.duckdb")
    head = Head("lone", "bench", started=1)
    journal, layout = store.admit(head), Layout(head)

    def handed(event: Event) -> None:
        done = threading.Event()
        journal.append(event)
        journal.when_durable(lambda error: done.set())
        done.wait()

    took: list[list[float]] = [[], []]
    for n in range(1, 1001):
        event = Event(n, "completed", "draft", attempt=1, status="ok", dur=5, body={"text": "x" * 180})
        took[0].append(timed(partial(handed, event)))
        took[1].append(timed(partial(lambda n, event: file.commit(layout.items(n, event)), n, event)))
    store.close()
    file.let_go()
    ratio = median(thread / inline for thread, inline in zip(*took, strict=True))
    said("a lone event by the writer's thread", took[0], more=f"{ratio:.2f} times the same inline (median of pairs)")
    said("the same on its own thread", took[1])


def _run(wf: ok.Workflow, store: ok.Store, level: str) -> float:
    return timed(lambda: wf.start(1, store=store, durability=level).result(60))


def _run_many(wf: ok.Workflow, store: ok.Store, level: str) -> float:
    return timed(lambda: [run.result(60) for run in at_once(wf, 200, store, level)])


def bare_insert(folder: Path, log: list[Event]) -> Callable[[], object]:
    """Give the insertion of 5,000 such logs from Arrow tables, 10,000 rows a commit, with the store's settings."""
    connection = connect(folder / "bare-exit.duckdb")
    connection.execute(EVENT_ROW)
    layouts = [Layout(Head(f"r{n}", "bench", started=1)) for n in range(5000)]
    logged = [item for one in layouts for n, event in enumerate(log, 1) for item in one.items(n, event)]
    parts = [logged[at : at + 10_000] for at in range(0, len(logged), 10_000)]
    tables = [table_of(range(len(part)), part) for part in parts]

    def act() -> None:
        for table in tables:
            connection.register("many", table)
            connection.execute("insert into event_row select * from many")

    return act


def at_exit(folder: Path) -> None:
    """How fast whole runs go in at the level "exit"."""
    log = [
        Event(n * 1000, kind, "draft", item=n, attempt=1, status=status, dur=dur, body=body)
        for n in range(10)
        for kind, status, dur, body in (
            ("started", "", -1, None),
            ("completed", "ok", 5000, {"text": "x" * 20}),
            ("settled", "completed", -1, None),
        )
    ] + [Event(99_000, "run_ended", status="completed")]
    rates, bare = [], []
    store = DuckStore(folder / "exit.duckdb")
    insert = bare_insert(folder, log)
    for turn in range(ROUNDS):
        bare.append(timed(insert) / (5000 * len(log)))

        def whole(turn: int = turn) -> None:
            for n in range(5000):
                journal = store.admit(Head(f"r{turn}-{n}", "bench", started=1, durability="exit"))
                for event in log:
                    journal.append(event)
            store.fetch("select 1")  # waits for all of it

        rates.append(timed(whole) / (5000 * len(log)))
    store.close()
    said("the same rows by DuckDB alone, laid out before", bare, more=f"{1 / median(bare):,.0f} events/s")
    ratio = median(mine / alone for mine, alone in zip(rates, bare, strict=True))
    said("exit: an event of 5,000 runs of 31", rates, more=f"{1 / median(rates):,.0f} events/s, {ratio:.2f} times that")


_RESUME = """
import sys
import orchkit as ok
from gated import wf
with ok.open(sys.argv[1]) as store:
    run = store.resume(sys.argv[2], wf)
    assert run.result(60) == 200
    print("done", flush=True)
    sys.stdin.readline()
"""


def gated() -> str:
    """Write a chain of 200 as a module; its last step waits for its file, so that a run can be cut before it."""
    lines = ["import asyncio, os", "import orchkit as ok", 'wf = ok.Workflow("gated", input=str)']
    source, kind, body = "input", "str", "1"
    for i in range(_CHAIN - 1):
        lines.append(f"@wf.step\nasync def s{i}({source}: {kind}) -> int:\n    return {body}\n")
        source, kind, body = f"s{i}", "int", f"s{i} + 1"
    lines.append("""@wf.step
async def last(input: str, s198: int) -> int:
    while not os.path.exists(input):
        await asyncio.sleep(0.005)
    return s198 + 1
""")
    return "\n".join(lines)


def resume(folder: Path) -> None:
    """A run of 200 steps, of which 199 are recorded, goes on in a new process: from its start to the result."""
    (folder / "gated.py").write_text(gated())
    sys.path.insert(0, str(folder))
    wf = import_module("gated").wf
    gate = folder / "gate"
    bare, took = [], []
    for _ in range(ROUNDS):
        gate.unlink(missing_ok=True)
        with ok.open(folder / "resume.duckdb") as store:
            run = wf.start(str(gate), store=store)
            while "s198" not in {event.node for event in run.log if settles(event)}:
                threading.Event().wait(0.01)
        gate.touch()
        took.append(_first_line(folder, [sys.executable, "-c", _RESUME, "resume.duckdb", run.id]))
        bare.append(_first_line(folder, [sys.executable, "-c", "import duckdb, pydantic, asyncio; print('done')"]))
    said("Python with duckdb, pydantic, asyncio imported", bare, "ms", 1e3)
    said("resume of 200 steps, from the process's start", took, "ms", 1e3)


def _first_line(folder: Path, command: list[str]) -> float:
    # With the bytecode that an installation has; some forbid Python to write any, and all is compiled anew then.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, env=env) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == b"done\n"
        took = perf_counter() - begin
        child.stdin.close()
    return took


def large(folder: Path) -> None:
    """Open a file of 10 million events, and ask it what users ask."""
    path = folder / "large.duckdb"
    DuckStore(path).close()
    with duckdb.connect(str(path), config={"threads": 2}) as connection:
        connection.execute("""insert into admission select i * 21 + 1, 'r' || i, 'w', 'live', 0,
            make_timestamp(1790000000000000 + i), 'group', '{}', null, null from range(500000) r(i)""")
        connection.execute("""insert into event_row select i + i // 20 + 2, (i % 20) * 0.7,
            make_timestamp(1790000000000000 + i), 'r' || (i // 20),
            case i % 20 when 0 then 'run_started' when 19 then 'run_ended'
                else ['started', 'completed', 'settled'][1 + (i - 1) % 3] end,
            case when i % 20 in (0, 19) then null else 'step' || ((i % 20) // 3) end, null, 1, 0,
            case when i % 20 in (0, 19) then 0 else 1 end, case when i % 20 = 19 then 'completed' else 'ok' end,
            random() * 10, 0.001, 100, null, null, '{"text": "' || md5(i::varchar) || '"}', null, 1 + i % 20, null
            from range(10000000) r(i)""")
        connection.execute("checkpoint")
    print(f"{'a file of 10 million events':46} {path.stat().st_size / 1e6:10.0f} MB")
    quantiles = "select node, quantile_cont(dur, [0.5, 0.95])"
    asked = {
        "the timeline of one run": "select * from timeline where run = '{run}'",
        "p50 and p95 by step over all attempts": f"{quantiles} from attempt group by node",
        "the same over the table": f"{quantiles} from event group by node",
    }
    took: dict[str, list[float]] = {}
    for n in range(ROUNDS):
        begin = perf_counter()
        store = DuckStore(path)
        took.setdefault("open it", []).append(perf_counter() - begin)
        run = f"r{100_000 + n * 1003}"
        took.setdefault("the log of one run", []).append(timed(partial(store.events, run)))
        for what, query in asked.items():
            took.setdefault(what, []).append(timed(partial(store.query, query.format(run=run))))
        store.close()
    for what, times in took.items():
        said(what, times, "ms", 1e3)


_MEMORY = """
import os, sys
import orchkit as ok

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6

wf = ok.Workflow("long", input=int)

@wf.step
async def many(input: int) -> list[int]:
    return list(range(input))

@wf.map(over="many", limit=50)
async def each(item: int, ctx: ok.Context) -> None:
    if item % 33_333 == 0:
        print(f"{item * 3:9,} events {rss():8.1f} MB", flush=True)

@wf.step
async def end(each: list[None]) -> int:
    return len(each)

with ok.open(sys.argv[1]) as store:
    wf.start(333_334, store=store).result(3600)
    print(f"{1_000_000:9,} events {rss():8.1f} MB", flush=True)
"""


def memory(folder: Path) -> None:
    """Resident memory of one run of a million events, as it goes on."""
    begin = perf_counter()
    subprocess.run([sys.executable, "-c", _MEMORY, str(folder / "memory.duckdb")], check=True)
    print(f"{'a run of a million events':46} {perf_counter() - begin:10.1f} s")


_CLIENT = """
import sys, threading
from orchkit.model.events import Event, settles
from orchkit.model.records import Head
from orchkit.store.duck import DuckStore
store = DuckStore(sys.argv[1])
waiters, each = int(sys.argv[2]), int(sys.argv[3])
print("open", flush=True); sys.stdin.readline()
left, done = [waiters], threading.Event()
def chain(name):
    journal, state = store.admit(Head(name, "bench", started=1)), [0]
    def step(error=None):
        assert error is None
        if state[0] == each:
            left[0] -= 1
            if not left[0]: done.set()
            return
        state[0] += 1
        journal.append(Event(state[0], "completed", "draft", attempt=1, body={"text": "x" * 180}))
        journal.when_durable(step)
    return step
for start in [chain(f"{sys.argv[4]}-{k}") for k in range(waiters)]: start()
done.wait(); print("done", flush=True); sys.stdin.readline()
"""


def share(folder: Path) -> None:
    """Durable events of client processes beside those of the owner."""
    path = folder / "share.duckdb"
    owner = DuckStore(path)
    for clients, waiters, each in ((1, 1, 300), (1, 100, 100), (2, 100, 100)):
        rates = []
        for turn in range(3):
            command = [sys.executable, "-c", _CLIENT, str(path), str(waiters), str(each)]
            children = [
                subprocess.Popen(
                    [*command, f"c{clients}-{waiters}-{turn}-{k}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                for k in range(clients)
            ]
            for child in children:
                child.stdout.readline()
            begin = perf_counter()
            for child in children:
                child.stdin.write(b"\n")
                child.stdin.flush()
            for child in children:
                child.stdout.readline()
            rates.append((perf_counter() - begin) / (clients * waiters * each))
            for child in children:
                child.communicate(b"\n")
        said(f"{clients} client(s), {waiters} at once, an event", rates, more=f"{1 / median(rates):,.0f} events/s")
    owner.close()


_OWNER = """
import sys
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.store.duck import DuckStore
store = DuckStore(sys.argv[1])
journal, n = store.admit(Head(sys.argv[2], "bench", started=1)), 0
print("open", flush=True)
while True:
    n += 1
    journal.append(Event(n, "completed", "draft", attempt=1, body={"text": "x" * 180}))
    store.heads()  # waits for it
"""


def takeover(folder: Path) -> None:
    """From the SIGKILL of the owner to the next durable event of a client, which has taken its place."""
    took = []
    for turn in range(15):
        path = folder / f"taken{turn}.duckdb"
        with subprocess.Popen([sys.executable, "-c", _OWNER, str(path), "theirs"], stdout=subprocess.PIPE) as owner:
            owner.stdout.readline()
            store = DuckStore(path)
            journal = store.admit(Head("mine", "bench", started=1))
            for n in range(1, 100 + 40 * turn):  # the owner writes on meanwhile: up to some thousand commits in its log
                journal.append(Event(n, "completed", "draft", attempt=1, body={"text": "x" * 180}))
                store.heads()
            owner.kill()
            begin = perf_counter()
            journal.append(Event(n + 1, "completed", "draft", attempt=1))
            store.heads()
            took.append(perf_counter() - begin)
            assert [event.t for event in store.events("mine")] == list(range(1, n + 2))
            store.close()
    said("takeover after a SIGKILL of the owner", took, "ms", 1e3)


PARTS = {
    "steps": steps,
    "hand": hand_over,
    "exit": at_exit,
    "resume": resume,
    "large": large,
    "memory": memory,
    "share": share,
    "takeover": takeover,
}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=[[], *PARTS], default=[])
    parser.add_argument("--folder", help="where the files go; on the disk that is meant")
    asked = parser.parse_args()
    for name in asked.what or PARTS:
        folder = Path(tempfile.mkdtemp(dir=asked.folder))
        print(f"-- {name}")
        try:
            PARTS[name](folder)
        finally:
            shutil.rmtree(folder)
    print(f"largest resident memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


if __name__ == "__main__":
    main()

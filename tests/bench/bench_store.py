"""What durability costs, beside a bare one-row DuckDB commit and a bare fdatasync in the same run.

``python tests/bench/bench_store.py [folder]``: put the folder on the disk that is meant. Figures are medians, and
ratios to the bare ones; a shared machine makes milliseconds vary, ratios less.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import duckdb

from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.store.duck import DuckStore
from orchkit.store.schema import EVENT_COLUMNS, STATEMENTS, event_row

_BODY = {"text": "x" * 180}
_ROUNDS = 3


def _event(n: int) -> Event:
    return Event(n, "completed", "draft", attempt=1, status="ok", dur=900_000, cost=0.01, tokens=800, body=_BODY)


def _in_turns(acts: list[Callable[[int], object]], times: int) -> list[list[float]]:
    """Time several things by turns, so that whoever else uses the disk slows all of them alike."""
    took: list[list[float]] = [[] for _ in acts]
    for n in range(times):
        for act, its in zip(acts, took, strict=True):
            begin = perf_counter()
            act(n)
            its.append(perf_counter() - begin)
    return took


def _sync(folder: Path) -> Callable[[int], object]:
    file = os.open(folder / "bare.bin", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def act(n: int) -> None:
        os.write(file, b"x" * 300)
        getattr(os, "fdatasync", os.fsync)(file)

    return act


def _bare(folder: Path) -> Callable[[int], object]:
    connection = duckdb.connect(str(folder / "bare.duckdb"))
    connection.execute(next(statement for statement in STATEMENTS if statement.startswith("create table event")))
    head = Head("bare", "bench", started=1)
    insert = f"insert into event values ({', '.join('?' * len(EVENT_COLUMNS))})"
    return lambda n: connection.execute(insert, [n, *event_row(head, _event(n))])


def _lone(store: DuckStore) -> Callable[[int], object]:
    journal = store.admit(Head(f"lone{len(store.heads())}", "bench", started=1))

    def act(n: int) -> None:
        done = threading.Event()
        journal.append(_event(n))
        journal.when_durable(lambda error: done.set())
        done.wait()

    return act


def _at_once(store: DuckStore, waiters: int, each: int) -> tuple[list[float], float]:
    """Let so many runs each append, wait for it, and append again: from wakes, as an engine would."""
    took: list[float] = []
    left, done = [waiters], threading.Event()

    def chain(name: str) -> Callable[[], None]:
        journal = store.admit(Head(name, "bench", started=1))
        state = {"n": 0, "begin": 0.0}

        def step(error: BaseException | None = None) -> None:
            now = perf_counter()
            if state["n"]:
                took.append(now - state["begin"])
            if state["n"] == each:
                left[0] -= 1
                if not left[0]:
                    done.set()
                return
            state["n"] += 1
            state["begin"] = now
            journal.append(_event(int(state["n"])))
            journal.when_durable(step)

        return step

    chains = [chain(f"c{waiters}-{k}-{len(store._known)}") for k in range(waiters)]
    store.heads()  # admissions are written: they are not what is measured
    begin = perf_counter()
    for start in chains:
        start()
    done.wait()
    return took, waiters * each / (perf_counter() - begin)


def _bulk(store: DuckStore, events: int) -> tuple[float, float]:
    journal = store.admit(Head(f"bulk{len(store._known)}", "bench", started=1))
    begin = perf_counter()
    for n in range(events):
        journal.append(_event(n))
    appended = perf_counter() - begin
    done = threading.Event()
    journal.when_durable(lambda error: done.set())
    done.wait()
    return events / appended, events / (perf_counter() - begin)


def _cell(name: str, took: list[float], commit: float, sync: float) -> None:
    cuts = quantiles(took, n=100)
    p50, p99 = cuts[49], cuts[98]
    print(
        f"{name:28} p50 {p50 * 1e3:7.3f} ms  p99 {p99 * 1e3:8.3f} ms  "
        f"{p50 / commit:6.2f} commits  {p50 / sync:7.2f} syncs"
    )


def _round(folder: Path) -> None:
    store = DuckStore(folder / "lab.duckdb")
    sync, commit, lone = _in_turns([_sync(folder), _bare(folder), _lone(store)], 600)
    p_sync, p_commit = median(sync), median(commit)
    _cell("fdatasync of 300 bytes", sync, p_commit, p_sync)
    _cell("bare commit of such a row", commit, p_commit, p_sync)
    _cell("a lone event, waited for", lone, p_commit, p_sync)
    for waiters, each in ((1, 500), (10, 200), (100, 100)):
        took, rate = _at_once(store, waiters, each)
        _cell(f"{waiters} at once, from wakes", took, p_commit, p_sync)
        print(f"{'':28} {rate:10,.0f} events/s")
    appended, durable = _bulk(store, 50_000)
    print(
        f"{'bulk, 50,000 events':28} {durable:10,.0f} durable events/s "
        f"({1e6 / appended:.1f} us an append, back-pressure included)"
    )
    begin = perf_counter()
    store.close()
    print(f"{'close':28} {(perf_counter() - begin) * 1e3:7.1f} ms")
    begin = perf_counter()
    store = DuckStore(folder / "lab.duckdb")
    print(f"{'open again':28} {(perf_counter() - begin) * 1e3:7.1f} ms")
    store.close()


def main() -> None:
    """Print the figures of a few rounds."""
    for n in range(_ROUNDS):
        with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
            print(f"-- round {n + 1}")
            _round(Path(folder))


if __name__ == "__main__":
    main()

"""Record whole runs as fast as they go in, and say of some when they are durable."""

import os
import sys
from functools import partial

from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.store.duck import DuckStore

LENGTH = 40


def log_of(run, n):
    """Give a run's log; that of each fiftieth has a body that stands elsewhere."""
    body = {"text": f"{run} " + ("y" * 6000 if n % 50 == 0 else "x" * 20)}
    log = [Event(k * 1000, "completed", "draft", item=k, attempt=1, status="ok", dur=5) for k in range(LENGTH - 2)]
    return [
        *log,
        Event(98_000, "completed", "last", attempt=1, body=body),
        Event(99_000, "run_ended", status="completed"),
    ]


def main():
    """Go on until somebody kills it."""
    store, name = DuckStore(sys.argv[1]), sys.argv[2]
    print("begin", file=sys.stderr, flush=True)
    for n in range(10**9):
        run = f"{name}-{n}"
        journal = store.admit(Head(run, "flood", started=1, durability="exit"))
        for event in log_of(run, n):
            journal.append(event)
        if n % 7 == 0:
            journal.when_durable(partial(tell, f"{n}\n".encode()))


def tell(line, error):
    """Say it past all buffers."""
    assert error is None
    os.write(1, line)


if __name__ == "__main__":
    main()

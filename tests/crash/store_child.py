"""Appends events to several runs at once and says on stdout which are acknowledged, until it is killed.

Run as a script: ``store_child.py FILE ROUND RUNS``. A line is ``run number``; what is not on a line by the time of the
kill was promised to nobody.
"""

import os
import sys
import threading

from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.store import file as file_module
from orchkit.store.duck import DuckStore

_UNANSWERED = 20


def event(run_id: str, n: int) -> Event:
    """Number `n` of a run; its text makes rows of many sizes, so that a torn one would show."""
    return Event(
        n, "completed", f"node{n % 7}", attempt=n, error=f"{run_id}/{n} " * (n % 13), body={"n": n, "of": run_id}
    )


def _work(store: DuckStore, run_id: str) -> None:
    journal = store.admit(Head(run_id, "kill", started=1))
    room = threading.Semaphore(_UNANSWERED)
    n = 0
    while True:
        n += 1
        room.acquire()
        journal.append(event(run_id, n))

        def acknowledge(error: BaseException | None, n: int = n) -> None:
            assert error is None
            # One write a line: the pipe keeps it whole.
            os.write(1, f"{run_id} {n}\n".encode())
            room.release()

        journal.when_durable(acknowledge)


if __name__ == "__main__":
    file, turn, runs = sys.argv[1:]
    file_module._MOVED = (10_000, 300)[int(turn) % 2]  # rows are made of batches as ever, or often
    opened = DuckStore(file)
    for k in range(int(runs)):
        threading.Thread(target=_work, args=(opened, f"r{turn}-{k}"), daemon=True).start()
    threading.Event().wait()

"""Compacts a store again and again and says so on stdout, until it is killed.

Run as a script: ``compact_child.py FILE [POINT]``. At a POINT it kills itself: before or after what it names.
"""

import os
import signal
import sys

from orchkit.store import care
from orchkit.store.duck import DuckStore
from orchkit.store.file import DuckFile


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _before(owner: object, name: str) -> None:
    setattr(owner, name, _die)


def _after(owner: object, name: str) -> None:
    real = getattr(owner, name)
    setattr(owner, name, lambda *args, **options: (real(*args, **options), _die()))


POINTS = {
    "before the copy": lambda: _before(care, "copy_database"),
    "after the copy": lambda: _after(care, "copy_database"),
    "before the old file is closed": lambda: _before(DuckFile, "_shut"),
    "after the old file is closed": lambda: _after(DuckFile, "_shut"),
    "before the new one takes its place": lambda: _before(care.os, "replace"),
    "after the new one took its place": lambda: _after(care.os, "replace"),
    "before the new one is opened": lambda: _before(DuckFile, "_open"),
    "after the new one is opened": lambda: _after(DuckFile, "_open"),
}

if __name__ == "__main__":
    store = DuckStore(sys.argv[1])
    for point in sys.argv[2:]:
        POINTS[point]()
    while True:
        print("begin", flush=True)
        store.compact()
        print("done", flush=True)

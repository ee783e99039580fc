"""A store that was killed with a full log, to be broken in many ways."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
RUNS = ("r0", "r1", "r2")
EVENTS = 40  # of each run

WRITE_AND_DIE = """
import os, signal, sys
sys.path[:0] = sys.argv[1:3]
from conformance import head, note
from orchkit.store.duck import DuckStore
path, runs, events = sys.argv[3], sys.argv[4].split(), int(sys.argv[5])
store = DuckStore(path)
journals = [store.admit(head(run)) for run in runs]
for n in range(events):
    for journal in journals:
        journal.append(note(n, body={"n": n, "text": "x" * (n % 50)}))
    store._writer.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def write_and_die(path, runs=RUNS, events=EVENTS):
    """Write to a store in a process of its own, that many acknowledged events a run, and kill it."""
    arguments = [str(HERE.parents[2]), str(HERE), str(path), " ".join(runs), str(events)]
    ran = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, *arguments], capture_output=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()


class Parts(NamedTuple):
    """The bytes of a store's files; None for one that is not there."""

    main: bytes
    wal: bytes | None
    marks: bytes | None

    def put(self, folder):
        """Write them to a folder of their own; give the path of the store."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        path = folder / "lab.duckdb"
        for suffix, data in (("", self.main), (".wal", self.wal), (".marks", self.marks)):
            if data is not None:
                path.with_name(path.name + suffix).write_bytes(data)
        return path


def parts_of(path):
    """Read them, while nobody has the store open."""
    return Parts(*(_read(path.with_name(path.name + suffix)) for suffix in ("", ".wal", ".marks")))


def _read(path):
    return path.read_bytes() if path.exists() else None


def flipped(data, at, bits=0xFF):
    """Flip bits of one byte."""
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def places(seed, count, start, end):
    """Draw places, the same each time."""
    return sorted(random.Random(seed).sample(range(start, end), count))


def with_a_flipped_body(wal):
    """Flip a byte of a body in the middle, which a checksum tells; a flipped length would pass for the end."""
    return flipped(wal, wal.index(b"started", len(wal) // 2))

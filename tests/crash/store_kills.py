"""Kill a child that writes to a store and says what is acknowledged to it, a ``run number`` a line."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def killed_after(child, runs, path, turn, lines):
    """Let a child write until it has acknowledged that many events; give how many it did, by run."""
    command = [sys.executable, str(HERE / child), str(path), str(turn), str(runs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    acknowledged = Counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        for line in process.stdout:
            if line.endswith(b"\n"):
                run_id, n = line.split()
                assert int(n) == acknowledged[run_id.decode()] + 1, "acknowledged out of order"
                acknowledged[run_id.decode()] += 1
            if acknowledged.total() == lines:
                process.send_signal(signal.SIGKILL)
        errors = process.stderr.read()
        process.wait()
    assert process.returncode == -signal.SIGKILL, errors.decode()
    return acknowledged

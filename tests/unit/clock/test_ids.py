"""Ids of runs: drawn many at a time, and never the same twice."""

import os
import re
import subprocess
import sys
import threading

import pytest

from orchkit.clock import ids
from orchkit.clock.ids import fresh_run_id


def test_they_are_twelve_hex_digits_and_differ():
    drawn = [fresh_run_id() for _ in range(2500)]
    assert len(set(drawn)) == len(drawn)
    assert all(re.fullmatch("[0-9a-f]{12}", one) for one in drawn)


def test_threads_draw_different_ones(monkeypatch):
    # Few at a time, and taking turns as often as can be: one empties what another has just drawn.
    monkeypatch.setattr(ids, "_AT_ONCE", 2)
    before, drawn = sys.getswitchinterval(), []
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=lambda: drawn.extend(fresh_run_id() for _ in range(5000))) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    sys.setswitchinterval(before)
    assert len(set(drawn)) == 40_000


FORKED = """
import os
from orchkit.clock.ids import fresh_run_id

fresh_run_id()  # some are left, to both
if os.fork():
    os.wait()
print(*[fresh_run_id() for _ in range(50)], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_draws_others_than_its_parent():
    told = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True).stdout
    theirs, ours = map(str.split, told.splitlines())
    assert len({*theirs, *ours}) == 100

"""Compensation against its closed form (`reference/failures.md` §5); fixed n and seeds, see `tests.truth.oracle`."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

import orchkit as ok
from tests.truth.oracle import trials

FAILS = (0.02, 0.05, 0.1)


def saga() -> tuple[ok.Workflow, ok.World]:
    wf, models = ok.Workflow("saga"), {}
    for i, p in enumerate(FAILS):

        def act() -> str: ...
        def act_after(before: str = ok.ref(f"s{i - 1}")) -> str: ...
        def take_back() -> None: ...

        step = act_after if i else act
        step.__name__ = f"s{i}"
        wf.step(effect=True, undo=take_back)(step)
        models |= {f"s{i}": ok.fake("done", error=p), f"s{i}/undo:take_back": ok.skip_effect(None)}
    return wf, ok.World(models)


@pytest.mark.parametrize(("n", "seed"), [(5_000, 0), pytest.param(50_000, 1_000_000, marks=pytest.mark.slow)])
def test_mean_number_of_compensations(n: int, seed: int) -> None:
    """Sum of i q_i prod(1 - q_j), j < i: 0.2352 a run; and none in a run that delivers; 5,000 runs."""
    wf, world = saga()
    exact, square, left = 0.0, 0.0, 1.0
    for i, p in enumerate(FAILS):
        exact += i * p * left
        square += i * i * p * left
        left *= 1 - p
    assert exact == pytest.approx(0.2352)
    counts = []
    for run in trials(wf, world, n, seed=seed):
        counts.append(sum(event.kind == "undone" for event in run.log()))
        assert not (counts[-1] and run.status() == "completed")
    assert abs(np.mean(counts) - exact) < 4 * sqrt((square - exact**2) / n)

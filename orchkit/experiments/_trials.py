"""Trials: run them all, and keep of each what is measured, in plain columns."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import inf
from typing import TYPE_CHECKING, Any, Final

from orchkit.errors import RunStuck
from orchkit.experiments._plan import Plan
from orchkit.model.events import ATTEMPT_ENDS, Event, exact_digest
from orchkit.runs.handle import PastRun, failed_end, last_try
from orchkit.runs.simulate import simulate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["OUTCOMES", "STATUSES", "Trials", "run_one", "run_trials"]

STATUSES: Final = ("completed", "degraded", "failed", "cancelled", "orphaned")
OUTCOMES: Final = ("completed", "degraded", "timed out", "failed")
"""From the best to the worst."""

_DIGEST_BYTES: Final = 16


class Trials:
    """What was measured, one entry a trial, in the order in which they ran; 58 bytes each."""

    def __init__(self) -> None:
        self.status = array("b")
        self.outcome = array("b")
        self.latency = array("d")
        self.cost = array("d")
        self.human_minutes = array("d")
        self.tokens = array("q")
        self.attempts = array("q")
        self.receipts = bytearray()

    def __len__(self) -> int:
        # The receipt comes last: an interrupt between two columns leaves a trial that is not counted.
        return len(self.receipts) // _DIGEST_BYTES

    def add(self, run: PastRun) -> None:
        """Measure one finished run."""
        events, status = run.log(), run.status()
        cost, tokens, attempts, people = _totals(events)
        self.status.append(STATUSES.index(status))
        self.outcome.append(OUTCOMES.index(_outcome(status, events)))
        self.latency.append(inf if _is_stuck(run) else events[-1].t / 1e6)
        self.cost.append(cost)
        self.human_minutes.append(people / 60e6)
        self.tokens.append(tokens)
        self.attempts.append(attempts)
        self.receipts += bytes.fromhex(exact_digest(events))

    def receipt(self, position: int) -> str:
        """Give the receipt of one trial."""
        start = position * _DIGEST_BYTES
        return f"exact:{self.receipts[start : start + _DIGEST_BYTES].hex()}"

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Give a column as numbers; "success", "full" and "degraded" are 0 or 1."""
        import numpy as np

        outcome = np.frombuffer(self.outcome, dtype=np.int8)[: len(self)]
        match name:
            case "success":
                values = outcome <= OUTCOMES.index("degraded")
            case "full":
                values = outcome == OUTCOMES.index("completed")
            case "degraded":
                values = outcome == OUTCOMES.index("degraded")
            case _:
                values = np.array(getattr(self, name)[: len(self)])
        return values.astype(np.float64)


def _totals(events: Sequence[Event]) -> tuple[float, int, int, int]:
    cost, tokens, attempts, people = 0.0, 0, 0, 0
    asked: dict[tuple[str, int], int] = {}
    for event in events:
        kind = event.kind
        if kind == "started":
            attempts += 1
        elif kind in ATTEMPT_ENDS:  # the cancelled too: the leg of a hedge that lost has cost what it cost
            cost += event.cost
            tokens += event.tokens
            if kind == "failed" and event.body["type"] == "KeyboardInterrupt":
                # The engine records it as a failure of the body that it happened to hit; here it means: stop.
                raise KeyboardInterrupt
        elif kind == "asked":
            asked[event.node, event.item] = event.t
        elif kind in ("answered", "expired"):
            people += event.t - asked.pop((event.node, event.item))
    return cost, tokens, attempts, people


def _outcome(status: str, events: Sequence[Event]) -> str:
    if status in ("completed", "degraded"):
        return status
    return "timed out" if status == "failed" and _ended_by_timeout(events) else "failed"


def _ended_by_timeout(events: Sequence[Event]) -> bool:
    end = failed_end(events)
    tried = None if end is None else last_try(events, end)
    return tried is not None and tried.status == "timeout"


def _is_stuck(run: PastRun) -> bool:
    return run.status() == "orphaned" and isinstance(run.outcome().exception(), RunStuck)


def run_one(plan: Plan, seed: int, case: int, faults: int, arm: int) -> PastRun:
    """Run one trial; all but the seed are positions.

    Raises
    ------
    SimulationError
        If the world does not fit what the run comes to, with a note that names the trial.
    """
    try:
        return simulate(plan.programs[arm][faults], plan.inputs[arm][case], seed=seed, case=case)
    except Exception as error:
        error.add_note(f"in the trial arm={[*plan.arms][arm]!r}, faults={[*plan.faults][faults]!r}, {case=}, {seed=}")
        raise


def run_trials(plan: Plan, *, progress: bool = False) -> Trials:
    """Run all trials; an interrupt keeps what is done.

    Raises
    ------
    KeyboardInterrupt
        If none is done.
    """
    trials = Trials()
    try:
        for which in _with_progress(plan, progress):
            trials.add(run_one(plan, *which))
    except KeyboardInterrupt:
        if not len(trials):
            raise
        print(f"interrupted: {len(trials)} of {plan.size} trials are done and kept", file=sys.stderr)
    return trials


def _with_progress(plan: Plan, progress: bool) -> Iterator[tuple[int, int, int, int]]:
    _, cases, faults, arms = plan.shape
    order: Iterable[Any] = product(plan.seeds, range(cases), range(faults), range(arms))
    if progress:
        from tqdm.auto import tqdm

        order = tqdm(order, total=plan.size, unit=" trials")
    yield from order

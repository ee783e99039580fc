"""How a simulated number is held against an exact one: fixed seeds, four standard errors, and what that risks.

A comparison that is right fails with probability 6.3e-5 (two-sided normal, 4 standard errors) if its seeds were drawn
anew. They are fixed, so a test never fails by chance; the rate says how surprising a new failure is. For a rate the
standard error is the exact one, for a mean it is the sample's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from math import comb, exp, factorial, prod, sqrt
from typing import Any

import numpy as np

import orchkit as ok
from orchkit.runs.checks import dump_input
from orchkit.runs.handle import PastRun
from orchkit.runs.simulate import prepare, simulate

LIMIT = 4.0


def trials(
    wf: ok.Workflow,
    world: ok.World,
    n: int,
    *,
    faults: ok.Faults | None = None,
    value: Any = None,
    seed: int = 0,
    case: int | str | None = None,
) -> Iterator[PastRun]:
    """Run a workflow n times in a world, with seeds from `seed` on; what ``wf.simulate`` does, prepared once.

    Without a `case` each world, plan of faults and stack of policies has luck of its own, so that the comparisons of a
    file are independent; ``case=0`` is the luck of ``wf.simulate``, common to all.
    """
    program = prepare(wf.checked(), world, faults)
    given = dump_input(program, value)
    if case is None:
        stacks = [(policy, getattr(policy, "wait", None)) for node in wf.checked().nodes for policy in node.policies]
        case = f"{world!r} {faults!r} {stacks}"
    for i in range(seed, seed + n):
        yield simulate(program, given, seed=i, case=case)


def cases(wf: ok.Workflow, world: ok.World, values: Iterable[Any]) -> Iterator[PastRun]:
    """Run a workflow once for each value, with seeds from 0 on."""
    program = prepare(wf.checked(), world)
    for i, value in enumerate(values):
        yield simulate(program, dump_input(program, value), seed=i, case=repr(world))


def seconds(run: PastRun) -> float:
    """Give a run's length."""
    return run.log()[-1].t / 1e6


def delivered(run: PastRun) -> bool:
    """Say whether a run has a result, degraded or not."""
    return run.status() in ("completed", "degraded")


def attempts(run: PastRun) -> int:
    """Count the attempts that were started."""
    return sum(event.kind == "started" for event in run.log())


def rate_agrees(hits: Sequence[bool] | Any, exact: float, what: str = "rate") -> None:
    """Hold a share against its exact value."""
    n, share = len(hits), float(np.mean(hits))
    _hold(share, exact, sqrt(exact * (1 - exact) / n), n, what)


def mean_agrees(sample: Sequence[float] | Any, exact: float, what: str = "mean") -> None:
    """Hold a mean against its exact value."""
    values = np.asarray(sample, dtype=float)
    _hold(float(values.mean()), exact, float(values.std(ddof=1)) / sqrt(len(values)), len(values), what)


def _hold(simulated: float, exact: float, error: float, n: int, what: str) -> None:
    z = (simulated - exact) / error if error else 0.0 if abs(simulated - exact) < 1e-9 else float("inf")
    line = f"{what}: simulated {simulated:.5f}, exact {exact:.5f}, z {z:+.2f}, n {n}"
    print(line)  # pytest -s shows how close they are
    assert abs(z) < LIMIT, line


# Closed forms


def tries(p: float, most: int) -> float:
    """How many attempts of failure probability p there are on average, of at most so many."""
    return (1 - p**most) / (1 - p)


def calls_to_open(p: float, failures: int) -> float:
    """How many attempts it takes until so many in a row have failed."""
    return (1 - p**failures) / ((1 - p) * p**failures)


def erlang_b(load: float, places: int) -> float:
    """What share of arrivals finds all places taken, if nobody waits."""
    terms = [load**k / factorial(k) for k in range(places + 1)]
    return terms[-1] / sum(terms)


def erlang_c(load: float, places: int) -> float:
    """What share of arrivals has to wait, if everybody does."""
    refused = erlang_b(load, places)
    return refused / (1 - load / places * (1 - refused))


def general_wait(load: float, service: float, variation: float) -> float:
    """How long an arrival waits on average for one server (Pollaczek and Khinchine).

    Parameters
    ----------
    load : float, below 1
    service : float, seconds
        Its mean.
    variation : float
        Its standard deviation over its mean: 0 if all are equal, 1 if they are exponential.
    """
    return load * service * (1 + variation**2) / (2 * (1 - load))


def hedged_survival(survival: Callable[[Any], Any], after: float) -> Callable[[Any], Any]:
    """Give the survival function of the first of two, the second begun so much later."""
    return lambda t: survival(t) * survival(np.asarray(t) - after)


def mean_of(survival: Callable[[Any], Any], end: float = 400.0, steps: int = 400_000) -> float:
    """Give the mean of what is positive and survives so: its integral, by the trapezoid rule."""
    t = np.linspace(0.0, end, steps + 1)
    return float(np.trapezoid(survival(t), t))


# Closed forms (`reference/failures.md` §5)


def accepted(w: float, a: float, r: float) -> float:
    """Give how often a check accepts: what is right, in w, with a; what is wrong with 1-r."""
    return w * a + (1 - w) * (1 - r)


def bayes(w: float, a: float, r: float) -> float:
    """Give how often that which a check accepts is right."""
    return w * a / accepted(w, a, r)


def cascade_accuracy(w: float, s: float, a: float, r: float) -> float:
    """w a + (1-P) s."""
    return w * a + (1 - accepted(w, a, r)) * s


def majority_of(n: int, p: float) -> float:
    """Give the binomial tail above n/2."""
    return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n // 2 + 1, n + 1))


def at_least(need: int, ps: Sequence[float]) -> float:
    """Sum over the sets of at least so many of the product of p inside and 1-p outside."""
    ways = (way for way in product((True, False), repeat=len(ps)) if sum(way) >= need)
    return sum(prod(p if up else 1 - p for p, up in zip(ps, way, strict=True)) for way in ways)


def rounds_of(p: float, most: int) -> float:
    """Give the mean of a geometric number of rounds that is cut at so many: (1-(1-p)^m)/p."""
    return (1 - (1 - p) ** most) / p


def unanswered(absent: float, mean: float, timeout: float) -> float:
    """a+(1-a) exp(-T/m)."""
    return absent + (1 - absent) * exp(-timeout / mean)


def harmonic(n: int) -> float:
    """1 + 1/2 + .. + 1/n: the longest of n exponentials with mean 1."""
    return sum(1 / i for i in range(1, n + 1))


def undoings(q: Sequence[float]) -> float:
    """Give the mean number of compensations: the sum of i q_i, times the product of 1-q_j before i."""
    return sum(i * qi * prod(1 - qj for qj in q[:i]) for i, qi in enumerate(q))

"""Keyed dice: as good as independent draws, the same on every machine, and nobody's luck hangs on anybody else.

20,000 keys (20 seeds x 10 node paths x 20 items x 5 attempts) and their draws for eight purposes. Each p-value must be
above 1e-4, each correlation within 4 standard errors (6.3e-5): the about 80 comparisons of this file would fail by
chance with 0.8 % under other seeds; with these, never.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from itertools import product
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

import orchkit as ok
from orchkit.clock.dice import CHOICE, ERROR, JITTER, LATENCY, VALUE, Stream, base_of, path_of, unit
from orchkit.model.events import Event, exact_digest

ALPHA = 1e-4
Draws = npt.NDArray[np.float64]
SEEDS, PATHS, ITEMS, ATTEMPTS = 20, 10, 20, 5
BLOCKS = (0, 2)  # the model's words, and those of the first eight faults
PURPOSES = {"latency": LATENCY, "error": ERROR, "jitter": JITTER, "value": VALUE, "choice": CHOICE}


@cache
def draws(leg: int = 0) -> Draws:
    """Give all draws, by seed, path, item, attempt, block and purpose."""
    shape = (SEEDS, PATHS, ITEMS, ATTEMPTS, len(BLOCKS), 8)
    made = np.empty(shape)
    bases = [base_of(seed) for seed in range(SEEDS)]
    paths = [path_of(f"n{i}") for i in range(PATHS)]
    for s, p, i, a in product(*map(range, shape[:4])):
        stream = Stream(bases[s], paths[p], i, leg, a + 1)
        for b, block in enumerate(BLOCKS):
            made[s, p, i, a, b] = [stream.uniform(purpose, block) for purpose in range(8)]
    return made


def independent(one: Draws, other: Draws) -> None:
    """Chi-square on a 16 x 16 table, and both correlations."""
    x, y = one.ravel(), other.ravel()
    table, _, _ = np.histogram2d(x, y, bins=16, range=((0, 1), (0, 1)))
    expected = len(x) / 256
    assert stats.chi2.sf(((table - expected) ** 2 / expected).sum(), 255) > ALPHA
    assert abs(np.corrcoef(x, y)[0, 1]) < 4 / sqrt(len(x))
    # Of |u - 1/2| as well: two draws that are both extreme or both not have no correlation of their own.
    assert abs(np.corrcoef(np.abs(x - 0.5), np.abs(y - 0.5))[0, 1]) < 4 / sqrt(len(x))


@pytest.mark.parametrize("purpose", range(8))
@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_each_purpose_is_uniform(block: int, purpose: int) -> None:
    """Kolmogorov-Smirnov on 20,000 draws, and chi-square of their highest and of their lowest byte."""
    u = draws()[..., block, purpose].ravel()
    assert stats.kstest(u, "uniform").pvalue > ALPHA
    bits = np.array([int(x * 2**52) for x in u])
    for byte in (bits >> 44, bits & 255):
        assert stats.chisquare(np.bincount(byte, minlength=256)).pvalue > ALPHA


def transposed(square: Draws) -> tuple[Draws, Draws]:
    """Give the upper triangles of a square and of its mirror image: a key must know which number is the item."""
    upper = np.triu(np.ones((ATTEMPTS, ATTEMPTS), dtype=bool), 1)
    return square[:, :, upper], np.swapaxes(square, 2, 3)[:, :, upper]


PAIRS: dict[str, Any] = {
    "latency x error": lambda d: (d[..., 0, LATENCY], d[..., 0, ERROR]),
    "latency x jitter": lambda d: (d[..., 0, LATENCY], d[..., 0, JITTER]),
    "error x value": lambda d: (d[..., 0, ERROR], d[..., 0, VALUE]),
    "choice x latency": lambda d: (d[..., 0, CHOICE], d[..., 0, LATENCY]),
    "error x first fault": lambda d: (d[..., 0, ERROR], d[..., 1, 0]),
    "latency x second fault": lambda d: (d[..., 0, LATENCY], d[..., 1, 1]),
    "attempt x next": lambda d: (d[:, :, :, :-1, 0], d[:, :, :, 1:, 0]),
    "attempt 1 x attempt 2, errors": lambda d: (d[:, :, :, 0, 0, ERROR], d[:, :, :, 1, 0, ERROR]),
    "item x next": lambda d: (d[:, :, :-1, :, 0], d[:, :, 1:, :, 0]),
    "node x next": lambda d: (d[:, :-1, ..., 0, :], d[:, 1:, ..., 0, :]),
    "seed x next": lambda d: (d[:-1, ..., 0, :], d[1:, ..., 0, :]),
    "leg 0 x leg 1": lambda d: (d[..., 0, :], draws(leg=1)[..., 0, :]),
    "item n, attempt m x item m, attempt n": lambda d: transposed(d[:, :, :ATTEMPTS, :, 0, LATENCY]),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_draws_of_different_keys_are_independent(pair: str) -> None:
    independent(*PAIRS[pair](draws()))


def test_no_draw_comes_twice() -> None:
    """640,000 draws of 52 bits: two would be equal with probability 5e-5."""
    u = np.concatenate([draws().ravel(), draws(leg=1).ravel()])
    assert len(np.unique(u)) == len(u) == 640_000


def test_sums_over_a_key_part_are_normal() -> None:
    """Whole seeds, nodes and attempts are as scattered as independent draws: chi-square of their means."""
    d = draws()[..., 0, LATENCY]
    for axis, size in ((0, SEEDS), (1, PATHS), (2, ITEMS), (3, ATTEMPTS)):
        means = np.moveaxis(d, axis, 0).reshape(size, -1).mean(axis=1)
        z = (means - 0.5) * sqrt(12 * d.size / size)
        assert ALPHA < stats.chi2.sf((z**2).sum(), size) < 1 - ALPHA


def test_generators_of_neighbours_are_independent() -> None:
    """The first two numbers of 4,000 steps' own generators, next to each other's and to the attempt's latency."""
    streams = [Stream(base_of(seed), path_of("n"), item, 0, 1) for seed in range(20) for item in range(200)]
    pairs = np.array([[(g := s.generator()).random(), g.random(), s.uniform(LATENCY)] for s in streams])
    assert stats.kstest(pairs[:, 0], "uniform").pvalue > ALPHA
    independent(pairs[:, 0], pairs[:, 1])
    independent(pairs[:, 0], pairs[:, 2])
    independent(pairs[:-1, 0], pairs[1:, 0])


# The same on every machine


def test_golden_draws() -> None:
    """Literal numbers: whoever changes one changes every receipt, and says so in the changelog."""
    assert base_of(0) == 13012756464941942387
    assert base_of(7, 3, "storm") == 11907262178841215194
    assert path_of("draft") == 13531159847658150611
    assert path_of("draft/fallback:canned") == 4845591736955335880
    draft, again, lookup, hedged = (
        Stream(base_of(7), path_of("draft"), -1, 0, 1),
        Stream(base_of(7), path_of("draft"), -1, 0, 2),
        Stream(base_of(7), path_of("lookup"), 3, 0, 1),
        Stream(base_of(7), path_of("lookup"), 3, 1, 1),
    )
    assert [draft.uniform(i) for i in PURPOSES.values()] == [
        0.3909164921604634, 0.23353377396869768, 0.9902427338180272, 0.7588190168690897, 0.14986567522548244,
    ]  # fmt: skip
    assert [s.uniform(LATENCY) for s in (again, lookup, hedged)] == [
        0.012195099171126933, 0.9298517427577132, 0.17180009702820997,
    ]  # fmt: skip
    assert [draft.uniform(0, 2), draft.uniform(7, 2)] == [0.7613903575481055, 0.09950494684225097]
    assert draft.generator().random() == 0.4469827281712869
    assert [unit(0), unit(2**63), unit(2**64 - 1)] == [2**-53, 0.5 + 2**-53, 1 - 2**-53]


def test_purposes_and_blocks_stay_where_they_are() -> None:
    assert PURPOSES == {"latency": 0, "error": 1, "jitter": 2, "value": 3, "choice": 4}
    struck = ok.Faults(ok.faults.fail("*", rate=0.7614), ok.faults.fail("*", rate=0.0))
    missed = ok.Faults(ok.faults.fail("*", rate=0.7613), ok.faults.fail("*", rate=0.0))
    draft = Stream(base_of(7), path_of("draft"), -1, 0, 1)  # its first word of block 2 is 0.76139...
    assert struck.strike(draft, 1) is not None
    assert missed.strike(draft, 1) is None


# Common random numbers, through the engine


NOW = ok.backoff(base=0.5)


def flow(order: str = "plan lookup draft", extra: bool = False, **options: Any) -> ok.Workflow:
    wf = ok.Workflow("crn", input=str)

    def plan(input: str) -> list[int]: ...

    def lookup(item: int) -> str: ...

    def draft(lookup: list[str | None]) -> str: ...

    def bystander(input: str) -> str: ...

    nodes = {"plan": (wf.step, plan, {}), "lookup": (wf.map, lookup, {"over": "plan"}), "draft": (wf.step, draft, {})}
    if extra:
        nodes |= {"bystander": (wf.step, bystander, {})}
    for name in (order + " bystander").split() if extra else order.split():
        add, function, given = nodes[name]
        add(**given, **({"on_error": "skip"} | options.get(name, {})))(function)
    return wf


def world(items: int = 6, **models: Any) -> ok.World:
    def model(value: Any) -> Any:
        return ok.fake(value, latency=ok.dist.exponential(mean=3), error=0.3)

    return ok.World(**({"plan": ok.fake(list(range(items))), "lookup": model("x"), "draft": model("d")} | models))


Luck = dict[tuple[str, int, int], tuple[str, int, Any]]


def luck(log: list[Event]) -> Luck:
    """Give each attempt's outcome, length and value, by who made it."""
    return {(e.node, e.item, e.attempt): (e.status, e.dur, e.body) for e in log if e.kind in ("completed", "failed")}


def paired(one: Any, other: Any, seeds: int = 100) -> list[tuple[Luck, Luck]]:
    """Run two arms, each (workflow, world, faults), with the same seeds."""
    runs = []
    for arm in (one, other):
        wf, world, faults = arm
        runs.append([luck(wf.simulate("x", world=world, faults=faults, seed=seed).log) for seed in range(seeds)])
    return list(zip(*runs, strict=True))


def same_where_both(pairs: list[tuple[Luck, Luck]], least: int) -> None:
    """Hold what both arms attempted to be equal, and to be much."""
    common = 0
    for one, other in pairs:
        shared = one.keys() & other.keys()
        assert {key: one[key] for key in shared} == {key: other[key] for key in shared}
        common += len(shared)
    assert common >= least


def test_a_retry_shifts_nobodys_luck() -> None:
    pairs = paired((flow(), world(), None), (flow(lookup={"retry": ok.Retry(3, wait=NOW)}), world(), None))
    same_where_both(pairs, 600)
    assert all(one.keys() <= other.keys() for one, other in pairs)
    assert any(len(one) < len(other) for one, other in pairs)


def test_a_timeout_or_a_limit_shifts_nobodys_luck() -> None:
    limited = flow(lookup={"limit": 2, "timeout": 1000.0})
    same_where_both(paired((flow(), world(), None), (limited, world(), None)), 700)


def test_another_order_of_definition_shifts_nobodys_luck() -> None:
    pairs = paired((flow(), world(), None), (flow("draft lookup plan"), world(), None))
    same_where_both(pairs, 700)
    assert all(one.keys() == other.keys() for one, other in pairs)


def test_another_node_or_more_items_shift_nobodys_luck() -> None:
    fake = ok.fake("b", latency=ok.dist.exponential(mean=1), error=0.5)
    same_where_both(paired((flow(), world(), None), (flow(extra=True), world(bystander=fake), None)), 700)
    pairs = paired((flow(), world(), None), (flow(), world(items=9), None))
    lookups = [[{k: v for k, v in one.items() if k[0] == "lookup"} for one in pair] for pair in pairs]
    same_where_both([(one, other) for one, other in lookups], 600)


def test_another_error_rate_keeps_latencies_and_strikes_a_subset() -> None:
    rare = world(lookup=ok.fake("x", latency=ok.dist.exponential(mean=3), error=0.1))
    for one, other in paired((flow(), world(), None), (flow(), rare, None)):
        for key in one.keys() & other.keys():
            assert one[key][1] == other[key][1]
            assert one[key][0] == "error" or other[key][0] == "final"


def test_a_fault_in_the_plan_draws_apart_from_everything() -> None:
    """At rate 0 it leaves the log as it is; at another it changes only whom it strikes."""
    wf = flow(lookup={"retry": ok.Retry(2, wait=NOW)})
    for seed in range(50):
        calm = wf.simulate("x", world=world(), seed=seed).log
        off = wf.simulate("x", world=world(), faults=ok.Faults(ok.faults.fail("*", rate=0.0)), seed=seed).log
        assert exact_digest(calm) == exact_digest(off)
        storm = wf.simulate("x", world=world(), faults=ok.Faults(ok.faults.fail("*", rate=0.3)), seed=seed).log
        struck = {(e.node, e.item, e.attempt) for e in storm if e.kind == "injected"}
        before, after = luck(calm), luck(storm)
        assert all(after[key] == before[key] for key in (after.keys() & before.keys()) - struck if key[0] != "draft")


def test_arms_with_common_luck_differ_by_less() -> None:
    """The variance of a paired difference is below a hundredth of that of two independent samples: 300 seeds."""
    wf = flow()
    ends: dict[str, list[float]] = defaultdict(list)
    for seed in range(300):
        ends["one"].append(wf.simulate("x", world=world(), seed=seed).log[-1].t)
        slow = ok.Faults(ok.faults.slow("draft", add=1.0))
        ends["other"].append(wf.simulate("x", world=world(), faults=slow, seed=seed).log[-1].t)
        ends["apart"].append(wf.simulate("x", world=world(), faults=slow, seed=seed + 10_000).log[-1].t)
    common = np.var(np.subtract(ends["one"], ends["other"]))
    assert common < 0.01 * np.var(np.subtract(ends["one"], ends["apart"]))

"""Distributions: each quantile function is scipy's, wrong parameters are refused, and the text says it all."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import orchkit as ok
from orchkit.clock.dice import unit
from orchkit.sim.dist import Dist, of

LAST = unit(2**64 - 1)
uniforms = st.integers(0, 2**64 - 1).map(unit)
seconds = st.floats(1e-3, 1e4)
shapes = st.floats(0.3, 20)


def same(ours: float, theirs: Any) -> bool:
    # scipy's ppf loses digits where 1 - u does; both are within 1e-9 of each other over the whole range of draws.
    return math.isclose(ours, float(theirs), rel_tol=1e-9, abs_tol=1e-15)


@given(seconds, uniforms)
def test_the_exponential_is_scipys(mean: float, u: float) -> None:
    assert same(ok.dist.exponential(mean=mean).quantile(u), stats.expon.ppf(u, scale=mean))


@given(seconds, st.floats(1e-6, 2.5), uniforms)
def test_the_lognormal_by_its_sigma_is_scipys(p50: float, sigma: float, u: float) -> None:
    ours = ok.dist.lognormal(p50=p50, sigma=sigma).quantile(u)
    assert same(ours, min(stats.lognorm.ppf(u, sigma, scale=p50), 1e12))


@given(seconds, st.floats(1, 100))
def test_the_lognormal_by_its_p99_has_that_median_and_that_p99(p50: float, ratio: float) -> None:
    made = ok.dist.lognormal(p50=p50, p99=p50 * ratio)
    assert made.quantile(0.5) == p50
    assert same(made.quantile(0.99), p50 * ratio)


@given(shapes, seconds, uniforms)
@settings(deadline=None)  # the first draw imports scipy
def test_the_gamma_is_scipys(shape: float, scale: float, u: float) -> None:
    assert same(ok.dist.gamma(shape=shape, scale=scale).quantile(u), stats.gamma.ppf(u, shape, scale=scale))


@given(shapes, seconds, uniforms)
def test_the_weibull_is_scipys(shape: float, scale: float, u: float) -> None:
    ours = ok.dist.weibull(shape=shape, scale=scale).quantile(u)
    assert same(ours, stats.weibull_min.ppf(u, shape, scale=scale))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), uniforms)
def test_the_empirical_is_the_inverse_of_the_step_function(xs: list[float], u: float) -> None:
    # numpy's name for it, but for ties: at u = k/n exactly either neighbour is an inverse, and ours is the upper.
    drawn = ok.dist.empirical(xs).quantile(u)
    below, upto = sum(x < drawn for x in xs), sum(x <= drawn for x in xs)
    assert below / len(xs) <= u * (1 + 1e-15)
    assert u <= upto / len(xs)


@given(st.integers(1, 3000))
def test_the_empirical_ends_at_its_longest_value(n: int) -> None:
    drawn = ok.dist.empirical(np.arange(n))
    assert drawn.quantile(LAST) == n - 1
    assert drawn.quantile(unit(0)) == 0.0


@given(seconds, uniforms)
def test_a_constant_is_constant(value: float, u: float) -> None:
    assert ok.dist.constant(value).quantile(u) == value


QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


def test_a_mixture_has_the_distribution_of_its_parts_taken_by_weight() -> None:
    body, tail = ok.dist.lognormal(p50=1.01, sigma=0.19), ok.dist.exponential(mean=20)
    mixed = ok.dist.mixture((9.61, body), (0.39, tail))
    grid = (np.arange(200_000) + 0.5) / 200_000
    drawn = np.sort([mixed.quantile(u) for u in grid])
    for q in QUANTILES:
        x = drawn[int(q * len(drawn))]
        cdf = 0.961 * stats.lognorm.cdf(x, 0.19, scale=1.01) + 0.039 * stats.expon.cdf(x, scale=20)
        assert abs(cdf - q) < 2e-5, q  # no chance in it: the grid's own step is 5e-6


@given(st.lists(st.one_of(st.floats(1e-300, 1e300), st.floats(0.1, 10)), min_size=1, max_size=6), uniforms)
def test_every_draw_of_a_mixture_falls_into_one_part(weights: list[float], u: float) -> None:
    mixed = ok.dist.mixture(*((weight, float(i)) for i, weight in enumerate(weights)))
    total = sum(weights)
    part = int(mixed.quantile(u))
    upto = sum(weights[:part]) / total
    assert upto <= u * (1 + 1e-12) + 1e-15
    assert u <= (upto + weights[part] / total) * (1 + 1e-12) + 1e-15


def test_a_mixture_at_its_edges_stays_finite() -> None:
    tails = [ok.dist.exponential(mean=1), ok.dist.lognormal(p50=1, sigma=2), ok.dist.weibull(0.5, 1)]
    # Thirds, sevenths and tenths do not add up to 1 in floats; the last part may have no width at all.
    for weights in ((1, 1, 1), (0.1, 0.2, 0.7), (1 / 7, 2 / 7, 4 / 7), (1, 1e-17, 1e-300), (1e-300, 1e-17, 1)):
        mixed = ok.dist.mixture(*zip(weights, tails, strict=True))
        inner = np.cumsum(weights)[:-1] / sum(weights)
        near = [v for edge in inner for v in (math.nextafter(edge, 0), edge, math.nextafter(edge, 1)) if 0 < v < 1]
        for u in [unit(0), *near, LAST]:
            assert 0 <= mixed.quantile(u) < 1e9


def test_a_mixture_takes_seconds_for_constants() -> None:
    assert repr(ok.dist.mixture((3, 1.5), (1, 30))) == (
        "ok.dist.mixture((3, ok.dist.constant(1.5)), (1, ok.dist.constant(30)))"
    )


MADE = [
    ok.dist.constant(0.1234567891),
    ok.dist.constant(3.0),
    ok.dist.exponential(mean=1234567.5),
    ok.dist.lognormal(p50=3, p99=15),
    ok.dist.lognormal(p50=2.5, sigma=1 / 3),
    ok.dist.gamma(shape=2.078, scale=3.015),
    ok.dist.weibull(shape=0.6, scale=1e-7),
    ok.dist.empirical([3, 1, 2.25]),
    ok.dist.mixture((0.961, ok.dist.lognormal(p50=1.01, sigma=0.19)), (0.039, 30.0)),
]


@pytest.mark.parametrize("made", MADE, ids=repr)
def test_a_repr_is_the_code_that_makes_it(made: Dist) -> None:
    again = eval(repr(made), {"ok": ok})
    assert repr(again) == repr(made)
    assert all(again.quantile(u) == made.quantile(u) for u in (unit(0), *QUANTILES, LAST))


def test_long_records_are_told_apart_by_a_digest() -> None:
    one, other = ok.dist.empirical(range(1000)), ok.dist.empirical([*range(999), 999.5])
    assert repr(one) == repr(ok.dist.empirical(range(1000)[::-1]))
    assert repr(one) != repr(other)
    assert "1000 values" in repr(one)
    assert len(repr(one)) < 60


def test_a_short_number_is_printed_as_it_was_given() -> None:
    assert repr(ok.dist.lognormal(p50=3, p99=15)) == "ok.dist.lognormal(p50=3, p99=15)"
    assert repr(ok.dist.constant(3.0)) == "ok.dist.constant(3)"


INF, NAN = float("inf"), float("nan")
WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: ok.dist.constant(-1), "constant(-1): seconds must be 0 or more"),
    (lambda: ok.dist.constant(INF), "finite"),
    (lambda: ok.dist.constant(NAN), "finite"),
    (lambda: ok.dist.constant("3"), "constant('3')"),
    (lambda: ok.dist.constant(True), "constant(True)"),
    (lambda: ok.dist.constant(1e13), "1e12 seconds"),
    (lambda: ok.dist.exponential(mean=0), "mean must be above 0"),
    (lambda: ok.dist.exponential(mean=None), "mean must be above 0"),
    (lambda: ok.dist.lognormal(p50=3), "give either p99 or sigma"),
    (lambda: ok.dist.lognormal(p50=3, p99=4, sigma=1), "give either p99 or sigma"),
    (lambda: ok.dist.lognormal(p50=0, p99=4), "p50 must be above 0"),
    (lambda: ok.dist.lognormal(p50="3", p99=4), "p50 must be above 0"),
    (lambda: ok.dist.lognormal(p50=3, p99=2), "p99 must be at least p50"),
    (lambda: ok.dist.lognormal(p50=3, p99=INF), "p99 must be at least p50"),
    (lambda: ok.dist.lognormal(p50=3, sigma=-0.1), "sigma must be 0 or more"),
    (lambda: ok.dist.lognormal(p50=3, sigma=NAN), "sigma must be 0 or more"),
    (lambda: ok.dist.lognormal(p50=3, sigma=500), "1e12 seconds"),
    (lambda: ok.dist.gamma(shape=0, scale=1), "above 0"),
    (lambda: ok.dist.gamma(shape=1, scale=INF), "above 0 and finite"),
    (lambda: ok.dist.gamma(shape=1e12, scale=1), "1e10 seconds"),
    (lambda: ok.dist.weibull(shape=1, scale=-1), "above 0"),
    (lambda: ok.dist.weibull(shape=1e-3, scale=1), "1e12 seconds"),
    (lambda: ok.dist.empirical([]), "at least one value"),
    (lambda: ok.dist.empirical([1, -1]), "0 or more"),
    (lambda: ok.dist.empirical([1, NAN]), "finite"),
    (lambda: ok.dist.empirical([NAN, 1]), "finite"),
    (lambda: ok.dist.empirical(["one"]), "list of seconds"),
    (lambda: ok.dist.empirical(3), "list of seconds"),
    (ok.dist.mixture, "weights above 0"),
    (lambda: ok.dist.mixture((0, 1.0)), "weight above 0"),
    (lambda: ok.dist.mixture((NAN, 1.0)), "weight above 0"),
    (lambda: ok.dist.mixture((1e308, 1.0), (1e308, 2.0)), "weights above 0"),
    (lambda: ok.dist.mixture(ok.dist.constant(1)), "no (weight, dist) pair"),
    (lambda: ok.dist.mixture((1, "slow")), "'slow' is no duration"),
    (lambda: of("3 s"), "'3 s' is no duration"),
    (lambda: of(True), "True is no duration"),
    (lambda: of(-2), "seconds must be 0 or more"),
]


@pytest.mark.parametrize(("wrong", "says"), WRONG)
def test_wrong_parameters_are_refused_at_the_call(wrong: Callable[[], Any], says: str) -> None:
    with pytest.raises(ok.DefinitionError) as caught:
        wrong()
    assert says in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


@given(st.sampled_from(MADE), uniforms, uniforms)
@settings(deadline=None)
def test_more_luck_is_never_a_shorter_time(made: Dist, u: float, v: float) -> None:
    if "mixture" not in repr(made):
        assert made.quantile(min(u, v)) <= made.quantile(max(u, v))


def test_a_wide_tail_ends_where_the_log_does() -> None:
    slow = ok.dist.lognormal(p50=1200, sigma=3)
    assert slow.quantile(LAST) == 1e12
    assert same(slow.quantile(0.999), stats.lognorm.ppf(0.999, 3, scale=1200))
    assert ok.dist.weibull(shape=0.1, scale=1).quantile(LAST) == 1e12


def test_the_longest_draw_fits_the_log() -> None:
    wf = ok.Workflow("heavy")

    @wf.step
    def wait() -> str: ...

    run = wf.simulate(None, world=ok.World(wait=ok.fake("there", latency=9.99e11)))
    assert run.log[-1].t == 999 * 10**15
    assert run.receipt.startswith("exact:")

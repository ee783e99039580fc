"""Tables: estimates, differences, verdicts, and what they say when there is little to say."""

import math

import numpy as np
import pytest
from experiment_arms import arms, greeting, world

import orchkit as ok
from orchkit.experiments._compare import minus
from orchkit.experiments._holm import holm
from orchkit.experiments._intervals import Draws, Normal, Wider, bonett_price
from orchkit.experiments._quantiles import order_statistics, quantile_of
from orchkit.experiments._resamples import resamples

COLUMNS = ["metric", "arm", "faults", "estimate", "base", "difference", "low", "high", "n", "verdict"]


def run(**changes):
    given = {"inputs": ["Dana"], "world": world(), "seeds": 100} | changes
    return ok.Experiment(given.pop("arms", None) or arms(), **given).run()


def test_compare_has_a_row_per_metric_arm_and_plan(res):
    table = res.compare("success", "p50", baseline="plain")
    assert list(table) == COLUMNS
    assert table[["metric", "arm", "faults"]].apply(tuple, axis=1).tolist() == [
        ("success", "retry", "calm"),
        ("success", "retry", "storm"),
        ("p50", "retry", "calm"),
        ("p50", "retry", "storm"),
    ]
    assert (table.n == 80).all()
    frame = res.frame
    for row in table.itertuples():
        own, base = (
            frame[(frame.arm == arm) & (frame.faults == row.faults)].sort_values(["case", "seed"])
            for arm in ("retry", "plain")
        )
        column = own.success if row.metric == "success" else own.latency
        other = base.success if row.metric == "success" else base.latency
        if row.metric == "success":
            assert row.estimate == pytest.approx(column.mean())
            assert row.difference == pytest.approx((column.astype(float).values - other.values).mean())
        else:
            assert row.estimate == np.quantile(column, 0.5, method="inverted_cdf")


def test_unasked_the_degraded_share_stands_beside_success(res):
    headline = ["success", "degraded", "full", "p95", "cost"]
    assert list(res.compare(baseline="plain").metric.unique()) == headline
    assert list(res.table().metric.unique()) == headline


def test_pooling_averages_over_the_plans(res):
    apart = res.compare("success", "latency", "p95", baseline="plain")
    pooled = res.compare("success", "latency", "p95", baseline="plain", pool=True)
    assert pooled.faults.tolist() == ["all"] * 3
    means = apart.groupby("metric", sort=False).difference.mean()
    np.testing.assert_allclose(pooled.difference, means)
    assert (pooled.n == 160).all()
    assert ((pooled.low <= pooled.difference) & (pooled.difference <= pooled.high)).all()


def test_equal_arms_do_not_differ_and_nobody_can_tell():
    wf = greeting()
    metrics = ["success", "full", "degraded", "latency", "p50", "p95", "p99", "cost", "attempts", "human_minutes"]
    table = run(arms={"a": wf, "b": wf.using()}).compare(*metrics, baseline="a").set_index("metric")
    assert (table.difference == 0).all()
    assert set(table.verdict) == {"cannot tell"}
    assert (table.loc[["latency", "p50", "cost", "attempts"], ["low", "high"]] == 0).all(axis=None)
    # No pair differs, which does not show that none ever would.
    for name in ("success", "full", "degraded"):
        assert 0.01 < table.high[name] < 0.06
        assert table.low[name] == -table.high[name]


def test_verdicts_know_which_way_is_up():
    wf = greeting()
    given = {"base": wf.using(greet=ok.Retry(2)), "good": wf.using(greet=ok.Retry(6)), "bad": wf}
    table = run(arms=given, world=world(error=0.5), seeds=300).compare("success", "attempts", baseline="base")
    verdicts = table.set_index(["metric", "arm"]).verdict.to_dict()
    assert verdicts == {
        ("success", "good"): "better",
        ("success", "bad"): "worse",
        ("attempts", "good"): "worse",
        ("attempts", "bad"): "better",
    }


def test_verdict_and_interval_agree(res):
    table = res.compare(
        *["success", "full", "degraded", "latency", "p50", "p95", "p99", "cost", "attempts"], baseline="plain"
    )
    covers = (table.low <= 0) & (table.high >= 0)
    assert (covers == (table.verdict == "cannot tell")).all()
    assert 0 < covers.sum() < len(table)


def test_more_questions_give_wider_answers(res):
    alone = res.compare("latency", baseline="plain")
    among = res.compare("latency", "p50", "p95", "cost", "degraded", "tokens", baseline="plain")
    among = among[among.metric == "latency"]
    assert (among.high.values - among.low.values > alone.high.values - alone.low.values).all()


def test_the_same_experiment_gives_the_same_numbers(res):
    before = res.compare(baseline="plain")
    resamples.cache_clear()  # they are drawn again
    storm = ok.Faults(ok.faults.fail("greet", rate=0.4, after=1.0))
    again = run(faults={"calm": None, "storm": storm}, inputs=["Dana", "Ines"], seeds=40)
    assert again.compare(baseline="plain").equals(before)
    resamples.cache_clear()
    assert resamples(5, 3, 7)[0].tolist() == [[0, 1, 0, 2, 2], [1, 2, 2, 0, 0], [3, 0, 0, 0, 2]]


def test_the_digest_sees_what_decides_the_numbers():
    def digest(**changes):
        given = {"inputs": ["Dana"], "world": world(), "seeds": 5} | changes
        return ok.Experiment(given.pop("arms", None) or arms(), **given)._plan.digest

    wf = greeting()
    fail = ok.faults.fail
    others = [
        digest(arms={"plain": wf, "retry": wf.using(greet=ok.Retry(3, wait=ok.backoff(base=2)))}),
        digest(arms={"plain": wf, "again": wf.using(greet=ok.Retry(3))}),
        digest(inputs=["Ines"]),
        digest(world=world(error=0.2)),
        digest(world=ok.World(world().models, name="other")),
        digest(seeds=6),
        digest(seeds=range(1, 6)),
        digest(faults=ok.Faults(fail("greet", rate=0.1))),
        digest(faults=ok.Faults(fail("greet", rate=0.1, error=ValueError))),
    ]
    assert digest() == digest()
    assert digest(world=ok.World(greet=ok.fake(lambda i, r: "a"))) == digest(
        world=ok.World(greet=ok.fake(lambda i, r: "a"))
    )
    assert len({digest(), *others}) == len(others) + 1


@pytest.mark.parametrize("metric", ["success", "latency", "p95", "cost"])
def test_one_pair_tells_nothing(metric):
    (row,) = run(seeds=1).compare(metric, baseline="plain").itertuples()
    assert row.verdict == "cannot tell"
    assert row.low < 0 < row.high


def test_a_few_equal_differences_are_no_proof():
    retries = {"plain": greeting(), "retry": greeting().using(greet=ok.Retry(2, wait=ok.backoff(base=0)))}
    few = run(arms=retries, world=world(error=1.0), seeds=5).compare("attempts", baseline="plain")
    assert few.verdict.tolist() == ["cannot tell"]
    many = run(arms=retries, world=world(error=1.0), seeds=6).compare("attempts", baseline="plain")
    assert many[["low", "high", "verdict"]].values.tolist() == [[1.0, 1.0, "worse"]]


def test_runs_that_never_end_leave_quantiles_usable_and_means_open():
    wf = greeting()
    given = {"hangs": wf, "guarded": wf.using(greet=ok.Timeout(30))}
    res = run(arms=given, world=world(error=0.0), faults=ok.Faults(ok.faults.hang("greet", rate=0.2)), seeds=200)
    table = res.compare("latency", "p50", "p95", baseline="hangs").set_index("metric")
    assert table.base["latency"] == math.inf
    assert table.verdict["latency"] == "cannot tell"
    assert (table.low["latency"], table.high["latency"]) == (-math.inf, math.inf)
    assert math.isfinite(table.difference["p50"])
    assert table.difference["p95"] == -math.inf
    assert table.verdict["p95"] == "better"


def test_rounding_is_no_difference():
    own = np.array([0.1 + 0.2, math.inf, math.inf, 2.0, -math.inf])
    base = np.array([0.3, math.inf, 1.0, 1.0, 5.0])
    assert minus(own, base).tolist() == [0.0, 0.0, math.inf, 1.0, -math.inf]


def test_a_far_quantile_needs_many_runs():
    slow = {"plain": greeting(), "slow": greeting().using(greet=ok.Retry(3, wait=ok.backoff(base=60, jitter=None)))}
    few = run(arms=slow, seeds=300).compare("p99", baseline="plain")
    assert few.verdict.tolist() == ["cannot tell"]
    assert few.high.tolist() == [math.inf]
    assert run(arms=slow, seeds=400).compare("p99", baseline="plain").verdict.tolist() == ["worse"]


def test_many_cases_are_resampled_and_few_are_held_fixed():
    def by_case(inputs, rng):
        return inputs["input"]

    def unit(cases, seeds):
        exp = ok.Experiment(arms(), inputs=["x"] * cases, world=ok.World(greet=ok.fake(by_case)), seeds=seeds)
        return exp.run()._blocks.unit

    assert [unit(1, 12), unit(3, 12), unit(10, 12), unit(3, 3), unit(3, 1)] == [
        "seeds", "seeds", "cases", "cases", "cases",
    ]  # fmt: skip


def test_summary_and_table(res):
    one = res.summary("success")
    assert list(one) == ["metric", "arm", "faults", "estimate", "low", "high", "n"]
    assert len(one) == 4
    all_ = res.table("success", "p50", "cost", "human_minutes")
    assert len(all_) == 16
    assert ((all_.low <= all_.estimate) & (all_.estimate <= all_.high)).all()
    assert (res.table("p99").high == math.inf).all()  # 80 runs do not bound it
    means = res.frame.groupby(["faults", "arm"], sort=False).cost.mean().sort_index()
    found = res.table("cost").set_index(["faults", "arm"]).estimate.sort_index()
    np.testing.assert_allclose(found, means)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda res: res.compare("sucess", baseline="plain"), "'sucess' is no metric; there are: success, full"),
        (lambda res: res.compare(baseline="retri"), "'retri'.*no such arm; there are: plain, retry"),
        (lambda res: res.summary("p96"), "'p96' is no metric"),
        (lambda res: res.worst("retri"), "no such arm; there are: plain, retry"),
    ],
)
def test_wrong_names_are_refused_with_the_right_ones(res, call, says):
    with pytest.raises(ok.DefinitionError, match=says):
        call(res)


def test_a_comparison_needs_two_arms():
    with pytest.raises(ok.DefinitionError, match="only arm"):
        run(arms={"plain": greeting()}, seeds=3).compare(baseline="plain")


def test_the_worst_run_is_the_recorded_one(res):
    for arm in ("plain", "retry"):
        own = res.frame[res.frame.arm == arm]
        failed = own[own.outcome == "failed"]
        longest = failed[failed.latency == failed.latency.max()].iloc[0]
        worst = res.worst(arm)
        assert (worst.receipt, worst.status) == (longest.receipt, "failed")


def test_a_world_that_is_not_decided_by_its_seed_is_found_out():
    calls = iter(range(10_000))
    wf = ok.Workflow("w", input=str)

    @wf.step
    def greet(input: str) -> str: ...

    res = run(arms={"plain": wf}, world=ok.World(greet=ok.fake(lambda i, r: f"call {next(calls)}")), seeds=2)
    with pytest.raises(ok.ReplayMismatch, match="depends on something else than its seed"):
        res.worst("plain")


def test_results_show_themselves_as_text_and_as_html(res):
    bundle = res._repr_mimebundle_()
    lines = bundle["text/plain"].splitlines()
    assert lines[0] == repr(res)
    assert len(lines) == 6
    assert lines[2].split()[:2] == ["plain", "calm"]
    assert lines[2].endswith("80")
    assert bundle["text/html"].count("<tr>") == 5
    assert res._repr_mimebundle_() == bundle


# The parts


def test_holm_by_hand():
    # m = 4: 0.005 <= 0.05/4, 0.01 <= 0.05/3, 0.03 > 0.05/2 stops; the last two share its level.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005], 0.05), [0.05 / 3, 0.025, 0.025, 0.0125])
    # Bonferroni (0.0125) would decide one of these, Holm decides all.
    np.testing.assert_allclose(holm([0.012, 0.016, 0.024, 0.049], 0.05), [0.0125, 0.05 / 3, 0.025, 0.05])
    # Once stopped, a small p afterwards does not count: they are in order.
    assert holm([0.2, 0.3], 0.05) == [0.025, 0.025]
    assert holm([0.05], 0.05) == [0.05]
    assert holm([], 0.05) == []


@pytest.mark.parametrize(
    "interval",
    [
        Normal(1.0, 0.5, 7),
        Normal(-1.0, 0.5),
        Draws(np.sort(np.random.RandomState(1).normal(1.5, 1.0, 1999))),
        bonett_price(9, 2, 60),
        Wider([Normal(1.0, 0.3), Draws(np.sort(np.random.RandomState(2).normal(1.0, 0.5, 1999)))]),
    ],
)
def test_p_is_where_the_bounds_meet_zero(interval):
    low, high = interval.bounds(min(1.0, interval.p * 1.001))
    assert low > 0 or high < 0
    low, high = interval.bounds(interval.p * 0.99)
    assert low <= 0 <= high


def test_no_pair_that_differs_is_no_certainty():
    for n in (10, 200, 5000):
        low, high = bonett_price(0, 0, n).bounds(0.05)
        assert -low == high
        assert 2.5 / n < high * (n + 2) / n < 3.0 / n  # close to the rule of three
    assert bonett_price(0, 0, 200).p == 1.0
    assert bonett_price(5, 0, 200).p > 0.05  # as McNemar's exact test: 2 * 0.5**5 = 0.0625


def test_quantiles_are_values_and_their_bounds_ranks():
    values = np.arange(1.0, 201.0)
    assert [quantile_of(values, q) for q in (0.5, 0.95, 0.99, 1.0)] == [100, 190, 198, 200]
    found = order_statistics(values, 0.95, 0.05)
    assert (found.low, found.high) == (184.0, 197.0)
    chances = [math.comb(200, k) * 0.95**k * 0.05 ** (200 - k) for k in range(201)]  # k of 200 lie below it
    assert sum(chances[184:197]) >= 0.95
    assert max(sum(chances[:184]), sum(chances[197:])) <= 0.025 < min(sum(chances[:185]), sum(chances[196:]))
    assert order_statistics(values[:50], 0.99, 0.05).high == math.inf
    assert order_statistics(values[:50], 0.01, 0.05).low == -math.inf

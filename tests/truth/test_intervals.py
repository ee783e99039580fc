"""Do simulated shares meet their closed form, and do intervals cover as often as they say?

Seeds are fixed. Unless said otherwise a test would fail for an unlucky choice of seed with a chance below 1e-4: by
four standard errors, or by the number of intervals that miss being above the 0.9999 quantile of binomial(sets, 0.05).
"""

from math import sqrt

import numpy as np
import pytest
from scipy.stats import binom

import orchkit as ok
from orchkit.experiments._results import Results
from orchkit.experiments._trials import Trials

SETS = 400
MOST = binom.ppf(0.9999, SETS, 0.05)  # 37


def greeting():
    wf = ok.Workflow("hello", input=str)

    @wf.step
    def greet(input: str) -> str: ...

    return wf


def experiment(cases=1, seeds=2000, error=0.3):
    wf = greeting()
    return ok.Experiment(
        {"none": wf, "retry": wf.using(greet=ok.Retry(4))},
        inputs=[f"case {i}" for i in range(cases)],
        world=ok.World(greet=ok.fake("Hello", latency=1.0, error=error)),
        seeds=seeds,
    )


def recorded(plan, cases_by_arm):
    """Results of made-up trials: for each arm success and latency, as (case, seed)."""
    trials = Trials()
    success, latency = (np.stack([arm[i] for arm in cases_by_arm], axis=-1).swapaxes(0, 1) for i in (0, 1))
    size = success.size
    trials.outcome.extend(np.where(success.ravel(), 0, 3).tolist())
    trials.latency.extend(latency.ravel().tolist())
    trials.status.extend([0] * size)
    trials.cost.extend([0.0] * size)
    trials.human_minutes.extend([0.0] * size)
    trials.tokens.extend([0] * size)
    trials.attempts.extend([1] * size)
    trials.receipts += bytes(16 * size)
    return Results(plan, trials)


def test_retry_meets_its_closed_form():
    """Success 1 - p**(n + 1), attempts (1 - p**(n + 1)) / (1 - p): p = 0.3, n = 3 retries, 2,000 seeds."""
    frame = experiment().run().frame.set_index("arm")
    p, n = 0.3, 2000
    for arm, retries in (("none", 0), ("retry", 3)):
        exact = 1 - p ** (retries + 1)
        assert abs(frame.success[arm].mean() - exact) < 4 * sqrt(exact * (1 - exact) / n)
        tries = np.arange(1, retries + 2)
        chances = p ** (tries - 1) * np.where(tries <= retries, 1 - p, 1.0)
        mean = (tries * chances).sum()
        assert mean == pytest.approx((1 - p ** (retries + 1)) / (1 - p))
        sd = sqrt((tries**2 * chances).sum() - mean**2)
        assert abs(frame.attempts[arm].mean() - mean) <= 4 * sd / sqrt(n)


def test_the_difference_of_retry_is_found_and_its_interval_holds_it():
    (row,) = experiment().run().compare("success", baseline="none").itertuples()
    exact = (1 - 0.3**4) - 0.7
    assert row.low < exact < row.high
    assert row.verdict == "better"
    # Common random numbers: a pair differs only if the first attempt failed, so the variance is that of one share.
    assert row.high - row.low < 2 * 2.1 * sqrt(exact * (1 - exact) / 2000)


def test_wilson_covers():
    """60 independent runs with success 0.9: the exact coverage is 0.957; a chance of 1e-4 each way."""
    plan = experiment(seeds=60)._plan
    luck = np.random.RandomState(11)
    missed = 0
    for _ in range(SETS):
        success = luck.random_sample((2, 1, 60)) < 0.9
        (low, high) = recorded(plan, [(arm, np.ones((1, 60))) for arm in success]).summary("success").loc[
            0, ["low", "high"]
        ]  # fmt: skip
        missed += not low <= 0.9 <= high
    assert binom.ppf(0.0001, SETS, 0.043) <= missed <= MOST


def clustered(luck, cases, seeds):
    """Two arms, paired: how hard a case is decides both; success 0.7 and 0.8, intra-case correlation about 0.5."""
    hard = luck.beta(0.7, 0.3, cases)[:, None]
    bonus = luck.random_sample((cases, 1)) < 1 / 3  # a third of the cases that fail can be mended
    first = luck.random_sample((cases, seeds)) < hard
    return first, first | bonus


def test_the_cluster_bootstrap_covers_where_repeats_on_a_case_are_alike():
    """40 cases x 5 seeds; the difference is 0.3 / 3 = 0.1, and whether it comes is a matter of the case."""
    plan = experiment(cases=40, seeds=5)._plan
    luck = np.random.RandomState(12)
    missed = naive = 0
    for _ in range(SETS):
        base, own = clustered(luck, 40, 5)
        res = recorded(plan, [(base, np.ones((40, 5))), (own, np.ones((40, 5)))])
        assert res._blocks.unit == "cases"
        (row,) = res.contrasts("success", baseline="none")
        missed += not row.low <= 0.1 <= row.high
        gaps = own.astype(float) - base
        naive += abs(gaps.mean() - 0.1) > 1.96 * gaps.std(ddof=1) / sqrt(gaps.size)
    assert missed <= MOST
    assert naive > MOST  # pairs taken as independent: this test would see it


def test_shares_of_arms_cover_too_when_repeats_are_alike():
    plan = experiment(cases=40, seeds=5)._plan
    luck = np.random.RandomState(13)
    missed = 0
    for _ in range(SETS):
        base, own = clustered(luck, 40, 5)
        res = recorded(plan, [(base, np.ones((40, 5))), (own, np.ones((40, 5)))])
        missed += not res.levels("success")[0].low <= 0.7 <= res.levels("success")[0].high
    assert missed <= MOST


@pytest.mark.parametrize(("metric", "seeds"), [("latency", 30), ("p50", 100), ("p95", 200)])
def test_differences_of_latency_cover(metric, seeds):
    """Two lognormal arms of the same distribution, correlated by common luck; the true difference is 0."""
    plan = experiment(seeds=seeds)._plan
    luck = np.random.RandomState(14)
    missed = 0
    for _ in range(SETS):
        shared = luck.normal(size=(1, seeds))
        latency = [np.exp(1 + 0.7 * (0.7 * shared + 0.714 * luck.normal(size=(1, seeds)))) for _ in range(2)]
        res = recorded(plan, [(np.ones((1, seeds), bool), arm) for arm in latency])
        (row,) = res.contrasts(metric, baseline="none")
        missed += row.verdict != "cannot tell"
    assert missed <= MOST


def test_a_family_of_verdicts_is_rarely_wrong():
    """Equal arms, five metrics asked at once: by Holm's rule at most one family in twenty has a false verdict."""
    plan = experiment(seeds=60)._plan
    luck = np.random.RandomState(15)
    wrong = 0
    for _ in range(SETS):
        arms = [(luck.random_sample((1, 60)) < 0.8, luck.exponential(size=(1, 60))) for _ in range(2)]
        rows = recorded(plan, arms).contrasts("success", "full", "latency", "p50", "p95", baseline="none")
        wrong += any(row.verdict != "cannot tell" for row in rows)
    assert wrong <= MOST

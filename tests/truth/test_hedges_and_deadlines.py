"""Hedges and deadlines on the whole engine against their closed forms; n is stated with each test, seeds are fixed."""

from __future__ import annotations

from collections import Counter
from math import exp

import numpy as np
import pytest
from scipy import stats

import orchkit as ok
from tests.truth.oracle import attempts, delivered, hedged_survival, mean_agrees, mean_of, rate_agrees, seconds, trials
from tests.truth.test_policies import LOGNORMAL, MU, NOW, SIGMA, draft, many, one_step

pytestmark = pytest.mark.slow  # minutes on a busy machine

ANSWERS = stats.lognorm(SIGMA, scale=exp(MU))
D = float(ANSWERS.ppf(0.9))


# Hedges


@many
@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.95])
def test_a_hedge_on_lognormal_answers(quantile: float, n: int, seed: int) -> None:
    """P(T > t) = S(t) S(t-d), a second call with S(d), its mean the integral; 5,000 runs each.

    At the 90th percentile: 0.9594 are done by 7.36 s, 0.100 calls more, 3.18294 s on average.
    """
    after = float(ANSWERS.ppf(quantile))
    runs = list(trials(one_step(hedge=after), draft(latency=LOGNORMAL), n, seed=seed))
    took = np.array([seconds(run) for run in runs])
    survival = hedged_survival(ANSWERS.sf, after)
    mean_agrees([attempts(run) - 1 for run in runs], 1 - quantile, f"extra calls, d={after:.2f}")
    mean_agrees(took, mean_of(survival), "length")
    for t in (after * 0.8, after * 1.2, 7.36):
        rate_agrees(took <= t, 1 - float(survival(t)), f"done by {t:.2f}")
    assert stats.kstest(took, lambda t: 1 - survival(t)).pvalue > 1e-4
    if quantile == 0.9:
        assert round(mean_of(survival), 5) == 3.18294
        assert 1 - float(survival(7.36)) == pytest.approx(0.9594, abs=2e-4)  # the reference rounds its 7.36 too


@many
def test_two_at_once(n: int, seed: int) -> None:
    """S(t)^2, for exponential answers half the mean: a hedge after a microsecond, mean 4 s; 5,000 runs."""
    wf = one_step(hedge=1e-6)
    runs = list(trials(wf, draft(latency=ok.dist.exponential(mean=4)), n, seed=seed))
    mean_agrees([seconds(run) for run in runs], 2.0, "the faster of two")
    assert stats.kstest([seconds(run) for run in runs], stats.expon(scale=2).cdf).pvalue > 1e-4


@many
def test_a_hedge_is_not_against_failures(n: int, seed: int) -> None:
    """The node fails with e F(d) + e^2 S(d): a first leg that fails early starts no second; 5,000 runs, e = 0.3."""
    e = 0.3
    runs = list(trials(one_step(hedge=D), draft(latency=LOGNORMAL, error=e), n, seed=seed))
    rate_agrees([not delivered(run) for run in runs], e * 0.9 + e * e * 0.1, "failed")
    rate_agrees([attempts(run) == 2 for run in runs], 0.1, "second legs")


@many
def test_each_leg_of_a_hedge_has_its_own_retries(n: int, seed: int) -> None:
    """Attempts of 1 s, one retry, a second leg at 1.5 s: done at 1, 2, 2.5, 3.5 s with 1-e, e(1-e), e^2(1-e),
    e^3(1-e), failed with e^4, and 1 + 2e + e^3 attempts; 5,000 runs, e = 0.4."""
    e = 0.4
    wf = one_step(hedge=1.5, retry=ok.Retry(2, wait=NOW))
    runs = list(trials(wf, draft(latency=1.0, error=e), n, seed=seed))
    when = Counter((delivered(run), seconds(run)) for run in runs)
    shares = {(True, 1.0): 1 - e, (True, 2.0): e * (1 - e), (True, 2.5): e**2 * (1 - e), (True, 3.5): e**3 * (1 - e)}
    assert set(when) == {*shares, (False, 3.5)}
    for key, share in {**shares, (False, 3.5): e**4}.items():
        rate_agrees([(delivered(run), seconds(run)) == key for run in runs], share, f"{key}")
    # One attempt; after a failure the retry and, half a second later, the second leg; after two more its retry.
    mean_agrees([attempts(run) for run in runs], 1 + 2 * e + e * e * e, "attempts")


@many
def test_a_call_that_is_given_up_has_a_time_out_of_its_own(n: int, seed: int) -> None:
    """Hangs with h under a time-out tau, hedged at d < tau: fails with h^2, and takes d + L with h (1-h); 5,000."""
    h, tau, d = 0.3, 10.0, 4.0
    storm = ok.Faults(ok.faults.hang("draft", rate=h))
    runs = list(trials(one_step(hedge=d, timeout=tau), draft(latency=1.0), n, faults=storm, seed=seed))
    for length, share in ((1.0, 1 - h), (d + 1.0, h * (1 - h)), (d + tau, h * h)):
        rate_agrees([seconds(run) == length for run in runs], share, f"takes {length}")
    rate_agrees([not delivered(run) for run in runs], h * h, "failed")


# Deadlines


@many
@pytest.mark.parametrize("bound", [2.0, 6.0])
def test_no_answer_by_a_deadline(bound: float, n: int, seed: int) -> None:
    """S(T), and nothing takes longer; with a fallback that is the degraded share; 5,000 runs each."""
    runs = list(trials(one_step(deadline=bound, fallback="late"), draft(latency=LOGNORMAL), n, seed=seed))
    rate_agrees([run.status() == "degraded" for run in runs], float(ANSWERS.sf(bound)), f"late at {bound}")
    assert max(seconds(run) for run in runs) == bound
    assert all(seconds(run) == bound for run in runs if run.status() == "degraded")


@many
@pytest.mark.parametrize(("e", "means"), [(0.5, 2.0), (0.2, 1.0)])
def test_a_deadline_over_retries(e: float, means: float, n: int, seed: int) -> None:
    """Attempts of exponential length that fail with e are a thinned stream: no answer by T with
    exp(-(1-e) T/m), length (1 - that) m/(1-e), attempts 1 + e/m times it; 5,000 runs each, at most 60 attempts."""
    mean = 3.0
    wf = one_step(deadline=mean * means, retry=ok.Retry(60, wait=NOW))
    runs = list(trials(wf, draft(latency=ok.dist.exponential(mean=mean), error=e), n, seed=seed))
    late = exp(-(1 - e) * means)
    length = (1 - late) * mean / (1 - e)
    rate_agrees([not delivered(run) for run in runs], late, f"no answer, e={e}")
    mean_agrees([seconds(run) for run in runs], length, "length")
    mean_agrees([attempts(run) for run in runs], 1 + e / mean * length, "attempts")


@many
def test_a_deadline_over_waits(n: int, seed: int) -> None:
    """Attempts at 0, 1, 3, 7 s, all at once or failed: by 5 s three have been; 5,000 runs, p = 0.6."""
    wf = one_step(deadline=5.0, retry=ok.Retry(9, wait=ok.backoff(base=1.0, cap=60, jitter=None)))
    runs = list(trials(wf, draft(error=0.6), n, seed=seed))
    rate_agrees([not delivered(run) for run in runs], 0.6**3, "no answer")
    mean_agrees([seconds(run) for run in runs], 0.6 * 1 + 0.36 * 2 + 0.216 * 2, "length")


@many
def test_a_deadline_over_a_hedge(n: int, seed: int) -> None:
    """S(T) S(T-d), and all that is open is given up then; 5,000 runs."""
    bound = 6.5
    runs = list(trials(one_step(deadline=bound, hedge=3.0), draft(latency=LOGNORMAL), n, seed=seed))
    late = float(ANSWERS.sf(bound) * ANSWERS.sf(bound - 3.0))
    rate_agrees([not delivered(run) for run in runs], late, "no answer")
    for run in runs:
        gone = sum(event.kind == "cancelled" and event.attempt > 0 for event in run.log())
        assert gone == attempts(run) - delivered(run)  # nobody fails here: a leg delivers, or is cancelled

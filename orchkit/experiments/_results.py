"""Results: what an experiment came to."""

from __future__ import annotations

from dataclasses import asdict, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchkit.errors import DefinitionError, ReplayMismatch
from orchkit.experiments._compare import Contrast, contrasts
from orchkit.experiments._levels import Level, levels
from orchkit.experiments._metrics import metrics_of
from orchkit.experiments._plan import Plan
from orchkit.experiments._trials import OUTCOMES, STATUSES, Trials, run_one
from orchkit.hall.run import Run
from orchkit.runs.handle import receipt

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import pandas as pd

    from orchkit.experiments._blocks import Blocks

__all__ = ["Results"]


class Results:
    """The trials of an experiment, and what follows from them; `Experiment.run` makes it.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row a trial: arm, faults, case, seed; status (of the run); outcome, the first that applies of "timed out"
        (it failed, and what ended it was a time-out), "failed", "degraded", "completed"; success (completed or
        degraded), full (completed), degraded; latency (seconds from start to end, whatever the outcome; inf for a
        run that would wait for ever), cost (USD), tokens, attempts (all that began), human_minutes (from each
        question to its answer or deadline) and receipt.
    partial : bool
        Whether an interrupt left trials undone.

    Notes
    -----
    Whether a result is *correct* is not modelled yet, so there is no column for it: `success` says that something
    was delivered. Every interval is about the world that was simulated; it shrinks with more seeds, and how far the
    world is from reality does not.

    Examples
    --------
    >>> import orchkit as ok
    >>> wf = ok.Workflow("hello", input=str)
    >>> @wf.step
    ... def greet(input: str) -> str: ...
    >>> world = ok.World(greet=ok.fake("Hello", latency=2.0, error=0.3))
    >>> arms = {"plain": wf, "retry": wf.using(greet=ok.Retry(3))}
    >>> res = ok.Experiment(arms, inputs=["Dana"], world=world, seeds=100).run()
    >>> res.compare("success", baseline="plain")[["arm", "difference", "n", "verdict"]]
         arm  difference    n verdict
    0  retry        0.26  100  better
    """

    def __init__(self, plan: Plan, trials: Trials) -> None:
        self._plan = plan
        self._trials = trials

    @property
    def partial(self) -> bool:
        """Whether an interrupt left trials undone."""
        return len(self._trials) < self._plan.size

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a trial, by arm, faults, case and seed; columns as documented in the class."""
        import numpy as np
        import pandas as pd

        plan, trials = self._plan, self._trials
        done = len(trials)
        seed, case, faults, arm = np.unravel_index(np.arange(done), plan.shape)
        order = np.lexsort((seed, case, faults, arm))
        status, outcome = (np.frombuffer(codes, np.int8)[:done] for codes in (trials.status, trials.outcome))
        columns = {
            "arm": np.array([*plan.arms], object)[arm],
            "faults": np.array([*plan.faults], object)[faults],
            "case": case,
            "seed": np.array(plan.seeds)[seed],
            "status": np.array(STATUSES, object)[status],
            "outcome": np.array(OUTCOMES, object)[outcome],
            **{name: trials.column(name).astype(bool) for name in ("success", "full", "degraded")},
            **{name: trials.column(name) for name in ("latency", "cost")},
            **{name: trials.column(name).astype(np.int64) for name in ("tokens", "attempts")},
            "human_minutes": trials.column("human_minutes"),
            "receipt": np.array([trials.receipt(i) for i in range(done)], object),
        }
        return pd.DataFrame({name: values[order] for name, values in columns.items()})

    def compare(self, *metrics: str, baseline: str, pool: bool = False) -> pd.DataFrame:
        """Compare every arm with a baseline, pair by pair.

        Parameters
        ----------
        *metrics : str
            "success", "full", "degraded" (shares); "latency" (mean), "p50", "p95", "p99" (of latency); "cost",
            "tokens", "attempts", "human_minutes" (means). Without any: success, degraded,
            full, p95 and cost.
        baseline : str
            The arm to compare with.
        pool : bool, default False
            Average over the plans of faults, instead of a row for each.

        Returns
        -------
        pandas.DataFrame
            A row per metric, plan of faults and arm: metric, arm, faults ("all" when pooled), estimate, base (the
            baseline's), difference (estimate - base), low, high, n (pairs), verdict.

        Raises
        ------
        DefinitionError
            For an unknown metric or arm.

        Notes
        -----
        A pair is one case and seed: both arms had the same luck. What is resampled are cases, when there are ten or
        more (or at least as many as seeds), so that repeats on one case do not pose as new evidence [1]_. With
        fewer cases it is seeds, and what is said then holds for these cases only; with a single case there is no
        other way.

        Means and shares: the bootstrap's percentile interval (1,999 resamples or more, seeded by the plan) or
        Student's t over the resampled units, the wider one at each end; below ten units Student's t alone. Shares
        also have the interval of Bonett and Price [2]_, the wider one again: without a single pair that differs
        it still has the width ``±2.8 / (n + 2)``. It takes pairs as independent.
        Quantiles: percentile interval of the difference of quantiles, both from the same resample; unbounded below
        ten units, and where the n values may well all lie below the quantile (``q**n > alpha / 2``: at least 368
        pairs for "p99" at 95 %).

        The rows of one call are one family: at 95 %, all its verdicts are right. By Holm's rule [3]_ the row with
        the k-th smallest p of m is judged at ``0.05 / (m - k + 1)``, up to the first that is not decided, whose
        level holds for all after it. `low` and `high` are at that same level, so a row is "better" or "worse"
        exactly if they leave out zero; each covers its difference at 95 % or more. Fewer questions give narrower
        answers. More success and full is better; of all else, less.

        References
        ----------
        .. [1] A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8.
        .. [2] D. G. Bonett, R. M. Price, Journal of Educational and Behavioral Statistics 37, 2012.
        .. [3] S. Holm, Scandinavian Journal of Statistics 6, 1979.
        """
        return _framed(self.contrasts(*metrics, baseline=baseline, pool=pool), Contrast)

    def contrasts(self, *metrics: str, baseline: str, pool: bool = False) -> list[Contrast]:
        """Give what `compare` lays out, as plain values."""
        return contrasts(self._blocks, metrics_of(metrics, "compare"), baseline, pool)

    def summary(self, metric: str) -> pd.DataFrame:
        """Estimate one metric of each arm under each plan of faults.

        Parameters
        ----------
        metric : str
            As in `compare`.

        Returns
        -------
        pandas.DataFrame
            metric, arm, faults, estimate, low, high, n.

        Raises
        ------
        DefinitionError
            For an unknown metric.

        Notes
        -----
        Intervals are at 95 %, each for itself; to tell arms apart use `compare`, which is sharper: these intervals
        may overlap where the arms differ clearly.

        Shares: Wilson [1]_. It takes trials as independent, which repeats on one case are not: with several seeds
        on ten or more cases it is the wider one of Wilson and the cluster bootstrap on cases. Quantiles: order
        statistics [2]_, with the cluster bootstrap in the same way; inf where n is too small to bound it. Means:
        Student's t and bootstrap, as in `compare`.

        References
        ----------
        .. [1] E. B. Wilson, JASA 22, 1927.
        .. [2] H. A. David, H. N. Nagaraja, "Order Statistics", 3rd edition, 2003, section 7.1.
        """
        return self.table(metric)

    def table(self, *metrics: str) -> pd.DataFrame:
        """Estimate several metrics as `summary` does; without any: success, degraded, full, p95, cost."""
        return _framed(self.levels(*metrics), Level)

    def levels(self, *metrics: str) -> list[Level]:
        """Give what `table` lays out, as plain values."""
        return levels(self._blocks, metrics_of(metrics, "table"))

    def worst(self, arm: str) -> Run:
        """Run the worst trial of an arm again, to look at.

        Parameters
        ----------
        arm : str

        Returns
        -------
        Run
            The one with the worst outcome (failed, timed out, degraded, completed); of these, with the longest
            latency; of these, the first.

        Raises
        ------
        DefinitionError
            If there is no such arm, or an interrupt came before its first trial.
        ReplayMismatch
            If it comes out differently now: something in the world or in a step is not decided by the seed.
        """
        if arm not in self._plan.arms:
            raise DefinitionError(f"worst({arm!r}): no such arm; there are: {', '.join(self._plan.arms)}")
        number = [*self._plan.arms].index(arm)
        if number >= len(self._trials):
            raise DefinitionError(f"worst({arm!r}): the interrupt came before its first trial")
        position = self._worst_position(number)
        which = self._which(position)
        past = run_one(self._plan, *which)
        again, before = receipt(past.head, past.log()), self._trials.receipt(position)
        if again != before:
            raise ReplayMismatch(
                f"the trial of arm {arm!r} with seed {which[0]} and case {which[1]} gave {before} in the experiment "
                f"and {again} now: a function of the world or a step depends on something else than its seed; use "
                "the rng that it gets",
                run_id=past.head.run_id,
            )
        return Run(past)

    def report(self, path: str | os.PathLike[str], *, baseline: str | None = None) -> Path:
        """Write one self-contained HTML file: no scripts, nothing from elsewhere, light and dark.

        Parameters
        ----------
        path : path
            Of the file; one that is there is replaced. Its folder must exist.
        baseline : str, optional
            The arm that the others are compared with; without it the first.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        DefinitionError
            If the path is a folder or lies in none, there is no such arm, or an interrupt came before every arm had
            a trial.
        ReplayMismatch
            As in `worst`: the timelines are of runs that are made again.

        Notes
        -----
        The same results give the same bytes, with the same versions of orchkit, numpy and scipy. All text that came
        from outside is escaped.
        """
        from orchkit.experiments._report import write_report

        return write_report(self, path, baseline)

    def _worst_position(self, arm: int) -> int:
        outcome, latency = self._trials.outcome, self._trials.latency
        own = range(arm, len(self._trials), len(self._plan.arms))
        return max(own, key=lambda i: (outcome[i], latency[i]))

    def _which(self, position: int) -> tuple[int, int, int, int]:
        """Give seed, and the positions of case, faults and arm."""
        rest, arm = divmod(position, len(self._plan.arms))
        rest, faults = divmod(rest, len(self._plan.faults))
        seed, case = divmod(rest, self._plan.cases)
        return self._plan.seeds[seed], case, faults, arm

    @cached_property
    def _blocks(self) -> Blocks:
        from orchkit.experiments._blocks import Blocks

        return Blocks(self._plan, self._trials)

    def __repr__(self) -> str:
        done, size = len(self._trials), self._plan.size
        trials = f"{size} trials" if done == size else f"{done} of {size} trials, interrupted"
        return f"Results({self._plan.shape_text}: {trials})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from orchkit.experiments._show import html_table, text_table

        rows = self.levels()
        return {"text/plain": text_table(repr(self), rows), "text/html": html_table(repr(self), rows)}


def _framed(rows: list[Any], kind: type[Any]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(kind)])

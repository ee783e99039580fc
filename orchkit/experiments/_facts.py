"""The facts of a report: what its sentences, tables and pictures are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchkit.experiments._compare import Contrast
from orchkit.experiments._levels import Level
from orchkit.experiments._plan import Plan
from orchkit.experiments._words import gap_of, join, measure_of

if TYPE_CHECKING:
    from orchkit.experiments._results import Results

__all__ = ["SIGNS", "Facts"]

SIGNS: Final = {"better": "▲", "worse": "▼"}
_TABLED: Final = ("success", "full", "p95", "cost", "attempts", "human_minutes")


class Facts:
    """Results, with all that a report says about them worked out once.

    Parameters
    ----------
    results : Results
    baseline : str, optional
        The first arm without it.

    Attributes
    ----------
    metrics : list of str
        Those in the tables.
    levels, contrasts : list
        Their rows.
    measures, gaps : dict of str to Measure
        How estimates and differences of each metric are written.
    """

    def __init__(self, results: Results, baseline: str | None) -> None:
        self.results = results
        self.plan: Plan = results._plan
        self.arms = [*self.plan.arms]
        self.faults = [*self.plan.faults]
        self.baseline = self.arms[0] if baseline is None else baseline
        self.workflow = next(iter(self.plan.arms.values())).name
        self.metrics = [name for name in _TABLED if name not in ("cost", "human_minutes") or self._has(name)]
        self.levels = results.levels(*self.metrics)
        self.contrasts: list[Contrast] = []
        if len(self.arms) > 1:
            self.contrasts = results.contrasts(*self.metrics, baseline=self.baseline)
        self.measures = {name: measure_of(name, self.of(name)) for name in self.metrics}
        self.gaps = {name: gap_of(name, self.contrasts) for name in self.metrics}

    def _has(self, column: str) -> bool:
        return any(getattr(self.results._trials, column))

    @property
    def subjects(self) -> str:
        """What the report is about, in words."""
        return join(["success", "latency", *(["cost"] if "cost" in self.metrics else [])])

    def of(self, metric: str) -> list[Level]:
        """Give the estimates of one metric."""
        return [row for row in self.levels if row.metric == metric]

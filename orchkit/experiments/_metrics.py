"""Metrics: what can be asked of trials, and which way is up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from orchkit.errors import DefinitionError
from orchkit.experiments._plan import Plan
from orchkit.experiments._trials import Trials

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["HEADLINE", "METRICS", "Metric", "cube_of", "metrics_of"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One question to a set of trials.

    Attributes
    ----------
    column : str
        Which column it is about.
    kind : {"rate", "mean", "quantile"}
    unit : {"share", "s", "USD", "min", ""}
    words : str
        How it is called in a report.
    q : float, 0..1
        Of a quantile.
    """

    name: str
    column: str
    kind: Literal["rate", "mean", "quantile"]
    unit: str
    words: str
    q: float = 0.0

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is good."""
        return self.name in ("success", "full")


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("success", "success", "rate", "share", "success"),
        Metric("full", "full", "rate", "share", "full success"),
        Metric("degraded", "degraded", "rate", "share", "degraded"),
        Metric("latency", "latency", "mean", "s", "mean latency"),
        Metric("p50", "latency", "quantile", "s", "median latency", 0.50),
        Metric("p95", "latency", "quantile", "s", "p95 latency", 0.95),
        Metric("p99", "latency", "quantile", "s", "p99 latency", 0.99),
        Metric("cost", "cost", "mean", "USD", "cost a run"),
        Metric("tokens", "tokens", "mean", "", "tokens a run"),
        Metric("attempts", "attempts", "mean", "", "attempts a run"),
        Metric("human_minutes", "human_minutes", "mean", "min", "waiting for people"),
    )
}
HEADLINE: Final = ("success", "degraded", "full", "p95", "cost")
"""What is shown unless something else is asked for; the degraded share stands beside success, which contains it."""


def metrics_of(names: Sequence[str], where: str) -> list[Metric]:
    """Find metrics by name; without any, the headline.

    Raises
    ------
    DefinitionError
        For a name that is none.
    """
    for name in names:
        if name not in METRICS:
            raise DefinitionError(f"{where}: {name!r} is no metric; there are: {', '.join(METRICS)}")
    return [METRICS[name] for name in dict.fromkeys(names or HEADLINE)]


def cube_of(plan: Plan, trials: Trials, column: str) -> npt.NDArray[np.float64]:
    """Give a column by arm, faults, case and seed; NaN where a trial was not run."""
    import numpy as np

    values = trials.column(column)
    cube = np.full(plan.size, np.nan)
    cube[: len(values)] = values
    return cube.reshape(plan.shape).transpose(3, 2, 1, 0)

"""Levels: what each arm comes to by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan

from orchkit.experiments._blocks import Blocks
from orchkit.experiments._intervals import Draws, Interval, Wider, Wilson
from orchkit.experiments._means import ALPHA, DRAWS, estimate, of_mean
from orchkit.experiments._metrics import Metric
from orchkit.experiments._quantiles import order_statistics

__all__ = ["Level", "levels"]


@dataclass(frozen=True, slots=True)
class Level:
    """One metric of one arm under one plan of faults."""

    metric: str
    arm: str
    faults: str
    estimate: float
    low: float
    high: float
    n: int


def levels(blocks: Blocks, metrics: Sequence[Metric]) -> list[Level]:
    """Estimate each metric of each arm under each plan of faults."""
    return [
        _level(blocks, metric, arm, cell)
        for metric in metrics
        for cell in range(len(blocks.plan.faults))
        for arm in range(len(blocks.plan.arms))
    ]


def _level(blocks: Blocks, metric: Metric, arm: int, cell: int) -> Level:
    values = blocks.column(metric.column)[arm, cell]
    names = metric.name, [*blocks.plan.arms][arm], [*blocks.plan.faults][cell]
    if not len(values):
        return Level(*names, nan, nan, nan, 0)
    low, high = _knowledge(blocks, metric, arm, cell).bounds(ALPHA)
    top = 1.0 if metric.kind == "rate" else inf
    return Level(*names, estimate(metric, values), max(0.0, low), min(top, high), blocks.n)


def _knowledge(blocks: Blocks, metric: Metric, arm: int, cell: int) -> Interval:
    import numpy as np

    values = blocks.column(metric.column)[arm, cell]
    if metric.kind == "mean":
        return of_mean(blocks, values, DRAWS)
    if metric.kind == "rate":
        single: Interval = Wilson(int(values.sum()), len(values))
        return Wider([single, of_mean(blocks, values, DRAWS)]) if blocks.clustered else single
    single = order_statistics(np.sort(values), metric.q, ALPHA)
    if not blocks.clustered:
        return single
    return Wider([single, Draws(np.sort(blocks.quantile_draws(metric.column, arm, cell, metric.q, DRAWS)))])

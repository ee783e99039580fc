"""Comparisons: every arm against a baseline, pair by pair, judged as one family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import TYPE_CHECKING, Final

from orchkit.errors import DefinitionError
from orchkit.experiments._blocks import Blocks
from orchkit.experiments._holm import holm
from orchkit.experiments._intervals import UNBOUNDED, Draws, Interval, Wider, bonett_price
from orchkit.experiments._means import ALPHA, DRAWS, FEW, estimate, of_mean
from orchkit.experiments._metrics import Metric

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["Contrast", "contrasts", "minus"]

_ROUNDING: Final = 1e-12  # costs are sums of floats, whose order differs from arm to arm


@dataclass(frozen=True, slots=True)
class Contrast:
    """One metric of one arm against the baseline."""

    metric: str
    arm: str
    faults: str
    estimate: float
    base: float
    difference: float
    low: float
    high: float
    n: int
    verdict: str


@dataclass(frozen=True, slots=True)
class _Question:
    metric: Metric
    arm: int
    base: int
    cells: tuple[int, ...]


def contrasts(blocks: Blocks, metrics: Sequence[Metric], baseline: str, pool: bool) -> list[Contrast]:
    """Compare each arm with the baseline, pair by pair, and judge them as one family.

    Raises
    ------
    DefinitionError
        If the baseline is no arm, or is the only one.
    """
    arms = [*blocks.plan.arms]
    if baseline not in arms:
        raise DefinitionError(f"compare(baseline={baseline!r}): no such arm; there are: {', '.join(arms)}")
    if len(arms) == 1:
        raise DefinitionError(f"compare(baseline={baseline!r}): it is the only arm; a comparison needs a second one")
    questions = list(_questions(blocks, metrics, arms.index(baseline), pool))
    count = max(DRAWS, 200 * len(questions) - 1)  # so that the strictest level still has five draws beyond it
    known = [_difference(blocks, question, count) for question in questions]
    shares = holm([interval.p for interval in known], ALPHA)
    return [_contrast(blocks, *one) for one in zip(questions, known, shares, strict=True)]


def _questions(blocks: Blocks, metrics: Sequence[Metric], base: int, pool: bool) -> Iterator[_Question]:
    every = tuple(range(len(blocks.plan.faults)))
    for metric in metrics:
        for cells in [every] if pool else [(cell,) for cell in every]:
            for arm in range(len(blocks.plan.arms)):
                if arm != base:
                    yield _Question(metric, arm, base, cells)


def _difference(blocks: Blocks, ask: _Question, count: int) -> Interval:
    if not blocks.n:
        return UNBOUNDED
    if ask.metric.kind == "quantile":
        return _of_quantiles(blocks, ask, count)
    own, base = _sides(blocks, ask)
    gaps = minus(own, base)
    mean = of_mean(blocks, gaps.mean(axis=0), count)
    if ask.metric.kind == "mean":
        return mean
    cells = len(ask.cells)
    return Wider([mean, bonett_price((gaps > 0).sum() / cells, (gaps < 0).sum() / cells, blocks.n)])


def _sides(blocks: Blocks, ask: _Question) -> tuple[Floats, Floats]:
    values, cells = blocks.column(ask.metric.column), list(ask.cells)
    return values[ask.arm, cells], values[ask.base, cells]


def minus(own: Floats, base: Floats) -> Floats:
    """Subtract pair by pair: rounding is no difference, and two runs that never end do not differ."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        gaps = own - base
        same = (own == base) | (np.abs(gaps) <= _ROUNDING * np.minimum(np.abs(own), np.abs(base)))
    return np.where(same, 0.0, gaps)


def _of_quantiles(blocks: Blocks, ask: _Question, count: int) -> Interval:
    """Bound a difference of quantiles by resampling both arms together."""
    import numpy as np

    if blocks.units < FEW:
        return UNBOUNDED
    draws = np.zeros(count)
    for cell in ask.cells:
        own, base = (
            blocks.quantile_draws(ask.metric.column, arm, cell, ask.metric.q, count) for arm in (ask.arm, ask.base)
        )
        draws += minus(own, base) / len(ask.cells)
    if np.isnan(draws).any():  # an average over cells in which either arm never ended
        return UNBOUNDED
    return _Enough(Draws(np.sort(draws)), ask.metric.q**blocks.n)


@dataclass(frozen=True, slots=True)
class _Enough:
    """Draws of a quantile, which mean nothing where the sample may well lie below it altogether."""

    draws: Draws
    miss: float

    def bounds(self, alpha: float) -> tuple[float, float]:
        return self.draws.bounds(alpha) if self.miss <= alpha / 2 else (-inf, inf)

    @property
    def p(self) -> float:
        return min(1.0, max(self.draws.p, 2 * self.miss))


def _contrast(blocks: Blocks, ask: _Question, known: Interval, alpha: float) -> Contrast:
    names = ask.metric.name, [*blocks.plan.arms][ask.arm]
    faults = [*blocks.plan.faults]
    cell = faults[ask.cells[0]] if len(ask.cells) == 1 else "all"
    own, base = (_mean_estimate(ask.metric, side) for side in _sides(blocks, ask))
    low, high = known.bounds(alpha)
    edge = 1.0 if ask.metric.kind == "rate" else inf
    low, high = max(-edge, low), min(edge, high)
    n = blocks.n * len(ask.cells)
    gap = own - base  # unknown, NaN, if both are without end
    gap = 0.0 if abs(gap) <= _ROUNDING * min(abs(own), abs(base)) < inf else gap
    return Contrast(*names, cell, own, base, gap, low, high, n, _verdict(ask.metric, low, high))


def _mean_estimate(metric: Metric, side: Floats) -> float:
    if not side.size:
        return nan
    return sum(estimate(metric, values) for values in side) / len(side)


def _verdict(metric: Metric, low: float, high: float) -> str:
    if low <= 0 <= high:
        return "cannot tell"
    return "better" if (low > 0) == metric.higher_is_better else "worse"

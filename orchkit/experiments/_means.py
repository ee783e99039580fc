"""Means, and what a sample says about them."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final

from orchkit.experiments._blocks import Blocks
from orchkit.experiments._intervals import UNBOUNDED, Draws, Interval, Normal, Wider
from orchkit.experiments._metrics import Metric
from orchkit.experiments._quantiles import quantile_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["ALPHA", "DRAWS", "FEW", "estimate", "of_mean"]

ALPHA: Final = 0.05
"""Every interval is at 95 %, every family of verdicts too."""

DRAWS: Final = 1999
FEW: Final = 10
"""Below so many units a bootstrap covers less than it says."""

_SIGNS: Final = 6  # so many equal differences it takes until chance alone (2 * 2**-6) is below 5 %


def estimate(metric: Metric, values: Floats) -> float:
    """Give a metric of some values."""
    import numpy as np

    return quantile_of(np.sort(values), metric.q) if metric.kind == "quantile" else float(values.mean())


def of_mean(blocks: Blocks, values: Floats, count: int) -> Interval:
    """Bound a mean over units: by Student's t and the bootstrap, whichever is wider."""
    import numpy as np

    if not np.isfinite(values).all() or blocks.units < 2:
        return UNBOUNDED
    mean = float(values.mean())
    rest = blocks.sums(values) - mean * blocks.sizes
    rest[np.abs(rest) <= 1e-12 * np.abs(values).max()] = 0.0  # rounding is not luck
    scale = blocks.units / (blocks.units - 1)
    student = Normal(mean, sqrt(scale * float(rest @ rest)) / blocks.n, blocks.units - 1)
    if student.se == 0:
        return student if blocks.units >= _SIGNS or mean == 0 else UNBOUNDED
    if blocks.units < FEW:
        return student
    return Wider([student, Draws(blocks.mean_draws(values, count))])

"""Resamples of the bootstrap."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["resamples"]

_CHUNK: Final = 2_000_000


@lru_cache(maxsize=2)
def resamples(units: int, count: int, seed: int) -> tuple[npt.NDArray[np.uint8], ...]:
    """Draw `count` bootstrap resamples: how often each unit is in each, in chunks of rows.

    Notes
    -----
    By NumPy's legacy generator, whose stream is frozen: the same seed gives the same resamples with every version.
    A unit is in a resample about once, by Poisson's law, so a byte holds the number.
    """
    import numpy as np

    luck = np.random.RandomState(seed)
    step = max(1, _CHUNK // units)
    chunks = []
    for start in range(0, count, step):
        rows = min(step, count - start)
        picks = luck.randint(0, units, size=(rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(picks.ravel(), minlength=rows * units).reshape(rows, units)
        chunks.append(counts.astype(np.uint8))
    return tuple(chunks)

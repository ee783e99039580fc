"""Blocks: the trials that every arm has, laid out by what may be resampled."""

from __future__ import annotations

from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Final

from orchkit.experiments._metrics import cube_of
from orchkit.experiments._plan import Plan
from orchkit.experiments._resamples import resamples
from orchkit.experiments._trials import Trials

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["Blocks"]

_CASES_TO_CLUSTER: Final = 10


class Blocks:
    """The trials of an experiment, less what an interrupt left without its counterpart.

    Parameters
    ----------
    plan : Plan
    trials : Trials

    Attributes
    ----------
    unit : {"cases", "seeds"}
        What is independent of each other, and so is resampled as a whole. Cases, when there are ten or more, or at
        least as many as seeds: then repeats on one case do not pose as new evidence. Else seeds: a bootstrap of a
        handful of cases covers far less than it says, so what is said then holds for these cases only.
    n : int
        Trials in one arm under one plan of faults.

    Notes
    -----
    Arrays are ``(arm, faults, unit, repeat)`` flattened to ``(arm, faults, n)``, with `owner` naming each one's unit.
    """

    def __init__(self, plan: Plan, trials: Trials) -> None:
        import numpy as np

        self.plan = plan
        self.trials = trials
        seeds, cases, faults, arms = plan.shape
        self.unit = "cases" if cases >= min(_CASES_TO_CLUSTER, seeds) else "seeds"
        done = len(trials) // (faults * arms)
        seed, case = np.unravel_index(np.arange(done), (seeds, cases))
        self._places = (case, seed)
        _, self.owner = np.unique(case if self.unit == "cases" else seed, return_inverse=True)
        self.units = int(self.owner.max()) + 1 if done else 0
        self.sizes = np.bincount(self.owner, minlength=self.units)
        self.n = done
        self._columns: dict[str, Floats] = {}
        self._quantiles: dict[tuple[str, int, int, float, int], Floats] = {}

    @cached_property
    def seed(self) -> int:
        """Of the bootstrap: from the digest of the plan."""
        return int(self.plan.digest[:8], 16)

    @property
    def clustered(self) -> bool:
        """Whether a unit holds several trials that are not independent of each other."""
        return self.unit == "cases" and self.n > self.units

    def column(self, name: str) -> Floats:
        """Give a column as (arm, faults, n)."""
        if name not in self._columns:
            cube = cube_of(self.plan, self.trials, name)
            self._columns[name] = cube[:, :, self._places[0], self._places[1]]
        return self._columns[name]

    def sums(self, values: Floats) -> Floats:
        """Add up (n) values within each unit."""
        import numpy as np

        sums: Floats = np.bincount(self.owner, weights=values, minlength=self.units).astype(np.float64)
        return sums

    def mean_draws(self, values: Floats, count: int) -> Floats:
        """Give the mean of (n) values in each resample, sorted."""
        import numpy as np

        sums = self.sums(values)
        chunks = resamples(self.units, count, self.seed)
        return np.sort(np.concatenate([(chunk @ sums) / (chunk @ self.sizes) for chunk in chunks]))

    def quantile_draws(self, column: str, arm: int, cell: int, q: float, count: int) -> Floats:
        """Give the q-quantile of one arm's trials in each resample, in order of the resamples."""
        key = (column, arm, cell, q, count)
        if key not in self._quantiles:
            self._quantiles[key] = self._draw_quantiles(self.column(column)[arm, cell], q, count)
        return self._quantiles[key]

    def _draw_quantiles(self, values: Floats, q: float, count: int) -> Floats:
        import numpy as np

        order = np.argsort(values, kind="stable")
        owner, ordered = self.owner[order], values[order]
        found = []
        for chunk in resamples(self.units, count, self.seed):
            step = ceil(4_000_000 / self.n)
            for start in range(0, len(chunk), step):
                upto = np.cumsum(chunk[start : start + step][:, owner], axis=1, dtype=np.int32)
                wanted = np.ceil(q * upto[:, -1] - 1e-9)
                found.append(ordered[(upto >= wanted[:, None]).argmax(axis=1)])
        return np.concatenate(found)

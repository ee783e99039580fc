"""Experiments: the same workflow under several policies, over many simulated runs, with intervals.

Everything is crossed: arms x faults x cases (the inputs) x seeds. The same seed and case bring the same luck to every
arm, so arms are compared pair by pair. pandas, numpy and scipy are imported when a result is first looked at.
"""

from orchkit.experiments._experiment import Experiment
from orchkit.experiments._results import Results

__all__ = ["Experiment", "Results"]

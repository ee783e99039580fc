"""The experiment: what is compared, under which luck, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchkit.experiments._checks import plan_of
from orchkit.experiments._results import Results
from orchkit.experiments._trials import run_trials
from orchkit.faults.plan import Faults
from orchkit.hall.workflow import Workflow
from orchkit.sim.world import World

__all__ = ["Experiment"]


class Experiment:
    """Compare variants of a workflow over many simulated runs.

    Everything is crossed: a trial is one arm, under one plan of faults, on one case, with one seed.

    Parameters
    ----------
    arms : mapping of str to Workflow
        By name: the same nodes each, up to their policies (``wf.using(...)`` makes such variants). What a workflow
        is now is what runs: later changes to it do not reach the experiment.
    inputs : sequence
        One workflow input a case; a case is known by its position.
    world : World
        How nodes and people behave. Each arm gets the names that it has; a name that no arm has is refused.
    faults : Faults or None, or mapping of str to them
        What goes wrong; a mapping crosses several plans, of which None is one without faults.
    seeds : int or sequence of int, default 200
        ``n`` means seeds 0 to n - 1. Seed and case decide all luck: the same in every arm.

    Raises
    ------
    DefinitionError
        If something is missing or does not fit; nothing has run. Among it a fault that can hit nothing in any arm,
        and inputs that do not fit the workflow.
    SimulationError
        If something real could happen by accident in an arm.

    Notes
    -----
    A simulation knows what its world says and no more: the numbers are about that world. Whether results are
    *correct* is not modelled yet, so a run that delivers nonsense in time counts as a success.

    Examples
    --------
    >>> import orchkit as ok
    >>> wf = ok.Workflow("hello", input=str)
    >>> @wf.step
    ... def greet(input: str) -> str: ...
    >>> exp = ok.Experiment(
    ...     {"plain": wf, "retry": wf.using(greet=ok.Retry(3))},
    ...     inputs=["Dana"],
    ...     world=ok.World(greet=ok.fake("Hello", latency=2.0, error=0.3)),
    ...     seeds=100,
    ... )
    >>> exp
    Experiment(2 arms x 1 faults x 1 cases x 100 seeds = 200 trials)
    >>> exp.run().frame.groupby("arm").success.mean().to_dict()
    {'plain': 0.72, 'retry': 0.98}
    """

    def __init__(
        self,
        arms: Mapping[str, Workflow],
        *,
        inputs: Sequence[Any],
        world: World,
        faults: Faults | Mapping[str, Faults | None] | None = None,
        seeds: int | Sequence[int] = 200,
    ) -> None:
        self._plan = plan_of(arms, inputs=inputs, world=world, faults=faults, seeds=seeds)

    def run(self, progress: bool = False) -> Results:
        """Run every trial in this thread; blocks, and works under a running event loop.

        Parameters
        ----------
        progress : bool, default False
            Show a tqdm bar.

        Returns
        -------
        Results
            Of all trials; or, after an interrupt, of those that were done: its `partial` is then True, and a line
            on stderr says so.

        Raises
        ------
        SimulationError
            If the world does not fit what a trial came to; a note names the trial.
        KeyboardInterrupt
            If the interrupt came before the first trial was done.

        Notes
        -----
        The arms take turns on one seed and case after the other, so an interrupt leaves them paired.
        """
        return Results(self._plan, run_trials(self._plan, progress=progress))

    def __repr__(self) -> str:
        return f"Experiment({self._plan.shape_text} = {self._plan.size} trials)"

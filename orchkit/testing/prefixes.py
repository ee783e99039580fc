"""Cut a simulated run's log after every event, resume it, and compare: ``wf.check`` for tests."""

from __future__ import annotations

from typing import Any

from orchkit.faults import Faults
from orchkit.hall.checking import CheckReport
from orchkit.hall.workflow import Workflow
from orchkit.sim.world import World

__all__ = ["every_prefix"]


def every_prefix(
    workflow: Workflow, input: Any, *, world: World, faults: Faults | None = None, seed: int = 0
) -> CheckReport:
    """Resume a simulated run from every prefix of its log.

    It is ``workflow.check`` at all points, under the name by which tests ask for it.

    Parameters
    ----------
    workflow : Workflow
    input : object
    world : World
    faults : Faults, optional
    seed : int

    Returns
    -------
    CheckReport

    Examples
    --------
    >>> import orchkit as ok
    >>> from orchkit.testing import every_prefix
    >>> wf = ok.Workflow("hello", input=str)
    >>> @wf.step(retry=ok.Retry(2))
    ... def greet(input: str) -> str:
    ...     return f"Hello {input}"
    >>> every_prefix(wf, "Dana", world=ok.World(greet=ok.fake("hi", latency=3.0, error=0.4)), seed=2).ok
    True
    """
    return workflow.check(input, world=world, faults=faults, seed=seed)

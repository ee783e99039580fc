"""Cut a simulated run's log after every event, resume it, and compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchkit.clock.dice import base_of
from orchkit.engine.program import Site
from orchkit.errors import OrchkitError
from orchkit.faults import Faults
from orchkit.hall.workflow import Workflow
from orchkit.model.events import Event, canonical_digest, decode_log, encode_log, exact_digest
from orchkit.runs.checks import dump_input
from orchkit.runs.simulate import continue_virtual, prepare, simulate
from orchkit.sim.world import World

__all__ = ["PrefixReport", "every_prefix"]


@dataclass(frozen=True, slots=True)
class PrefixReport:
    """What came of resuming every prefix of a log.

    Attributes
    ----------
    points : int
        Prefixes tried.
    exact : int
        How many came to the same log to the last digit of each time. Where bodies of the workflow run for real and
        take time, an attempt that was cut starts again, so its log is equal but for the times.
    differences : tuple of str
        One line for each prefix that went on to another log.
    """

    points: int
    exact: int
    differences: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every prefix came to the same log."""
        return not self.differences


def every_prefix(
    workflow: Workflow, input: Any, *, world: World, faults: Faults | None = None, seed: int = 0
) -> PrefixReport:
    """Resume a simulated run from every prefix of its log.

    Each prefix passes through the codec first, so nothing but what was recorded can carry over; and the resumed
    log is compared whole and in order, to the last digit of each time if every node is modelled.

    Parameters
    ----------
    workflow : Workflow
    input : object
    world : World
    faults : Faults, optional
    seed : int

    Returns
    -------
    PrefixReport

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
    program = prepare(workflow.checked(), world, faults)
    value = dump_input(program, input)
    whole = simulate(program, value, seed=seed, survive=True).log()
    wanted, alike = exact_digest(whole), canonical_digest(whole)
    timed = all(_is_modelled(option) for seat in program.seats for option in (seat.site, *seat.fallbacks))
    exact = 0
    dice = base_of(seed, 0, world.name)
    differences = []
    for cut in range(1, len(whole)):
        prefix = decode_log(encode_log(whole[:cut]))
        try:
            resumed = continue_virtual(program, "prefix", dice, prefix).events
        except OrchkitError as error:
            differences.append(f"cut after {cut} ({_brief(whole[cut - 1])}): {error}")
            continue
        if exact_digest(resumed) == wanted:
            exact += 1
        elif timed or canonical_digest(resumed) != alike:
            differences.append(f"cut after {cut} ({_brief(whole[cut - 1])}): {_first_difference(whole, resumed)}")
    return PrefixReport(len(whole) - 1, exact, tuple(differences))


def _is_modelled(option: Any) -> bool:
    return not isinstance(option, Site) or option.model is not None


def _brief(event: Event) -> str:
    return f"{event.kind} {event.node}" + (f"[{event.item}]" if event.item >= 0 else "")


def _first_difference(whole: list[Event], resumed: list[Event]) -> str:
    for i, (one, other) in enumerate(zip(whole, resumed, strict=False)):
        if one != other:
            return f"event {i + 1} is {other} instead of {one}"
    return f"{len(resumed)} events instead of {len(whole)}"

"""Laws of stepping in: whatever is done to a run and whenever, every prefix of its log resumes to the same end."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from orchkit.model.events import Event
from tests.properties.test_generations import once_per_generation
from tests.support.interventions import Story
from tests.support.operators import NestedStory, Operated

pytestmark = pytest.mark.filterwarnings("ignore:.*both retry:orchkit.GraphWarning")


class Notes(BaseModel):
    notes: list[str] = []
    last: str = ""


def flat(seed: int, grid: bool) -> int:
    story = Story(seed, grid=grid)
    return lawful(Operated(story, story.program(error=None, faults=story.faults)))


def nested(seed: int, grid: bool) -> int:
    story = NestedStory(seed, grid=grid, shared=Notes if seed % 2 else None)
    return lawful(Operated(story, story.program()))


def undone(seed: int, grid: bool) -> int:
    """Fail late, so that much is undone; then go on, and have it all done again."""
    story = NestedStory(seed, grid=grid, shared=Notes if seed % 2 else None, failing=True)
    operated = Operated(story, story.program())
    points = lawful(operated)
    log = operated.log
    if log[-1].status != "failed":
        return points
    if [e.kind for e in log if e.kind in ("paused", "unpaused")][-1:] == ["paused"]:
        return points  # a resume finds it paused still
    drive = story.drive(operated.program, log)
    drive.execution.record(Event(drive.execution.t(), "resumed"))
    drive.redrive().run()
    assert drive.execution.error is None, f"seed {seed}: {drive.execution.error!r}"
    assert drive.execution.is_over, f"seed {seed}: it waits for ever\n{operated.told(drive.log)}"
    once_per_generation(drive.log)
    operated.log, operated.moments = list(drive.log), []
    return points + operated.check_prefixes(begin=len(log) + 1)


def lawful(operated: Operated) -> int:
    operated.run(acts=operated.rng.randint(1, 5), longest=6_000_000)
    once_per_generation(operated.log)
    return operated.check_prefixes() if operated.moments else 0


@pytest.mark.parametrize("grid", [False, True], ids=["continuous", "grid"])
@pytest.mark.parametrize("law", [flat, nested, undone])
def test_every_prefix_of_runs_that_were_stepped_into(law, grid: bool) -> None:
    assert sum(law(seed, grid) for seed in range(20)) > 100


@pytest.mark.slow
@pytest.mark.parametrize("law", [flat, nested, undone])
def test_every_prefix_of_many_runs_that_were_stepped_into(law) -> None:
    assert sum(law(seed, bool(seed % 2)) for seed in range(1000, 1150)) > 2_000

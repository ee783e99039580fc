"""Laws of stepping in: whatever is done to a run and whenever, every prefix of its log resumes to the same end."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from tests.properties.test_generations import once_per_generation
from tests.support.interventions import Story
from tests.support.operators import NestedStory, Operated


class Notes(BaseModel):
    notes: list[str] = []
    last: str = ""


def flat(seed: int, grid: bool) -> int:
    story = Story(seed, grid=grid)
    return lawful(Operated(story, story.program(error=None, faults=story.faults)))


def nested(seed: int, grid: bool) -> int:
    story = NestedStory(seed, grid=grid, shared=Notes if seed % 2 else None)
    return lawful(Operated(story, story.program()))


def lawful(operated: Operated) -> int:
    operated.run(acts=operated.rng.randint(1, 5), longest=6_000_000)
    once_per_generation(operated.log)
    return operated.check_prefixes() if operated.moments else 0


@pytest.mark.parametrize("grid", [False, True], ids=["continuous", "grid"])
@pytest.mark.parametrize("law", [flat, nested])
def test_every_prefix_of_runs_that_were_stepped_into(law, grid: bool) -> None:
    assert sum(law(seed, grid) for seed in range(20)) > 100


@pytest.mark.slow
@pytest.mark.parametrize("law", [flat, nested])
def test_every_prefix_of_many_runs_that_were_stepped_into(law) -> None:
    assert sum(law(seed, bool(seed % 2)) for seed in range(1000, 1150)) > 2_000

"""Laws of generations: every prefix of a run into which somebody stepped resumes to the same log."""

from __future__ import annotations

from collections import Counter

import pytest

from orchkit.model.events import Event
from orchkit.model.state import COMPLETED, DEGRADED, SKIPPED
from tests.support.engines import Drive
from tests.support.interventions import Story


def once_per_generation(log: list[Event]) -> None:
    settled = Counter((e.node, e.item, e.generation) for e in log if e.kind in ("settled", "skipped"))
    assert set(settled.values()) <= {1}, settled.most_common(3)
    started = Counter((e.node, e.item, e.generation, e.leg, e.attempt) for e in log if e.kind == "started")
    assert set(started.values()) <= {1}, started.most_common(3)
    opened = Counter((e.node, e.item, e.generation) for e in log if e.kind == "invalidated")
    assert set(opened.values()) <= {1}
    assert all(one.t <= other.t for one, other in zip(log, log[1:], strict=False))


def lawful(story: Story) -> int:
    """Check what must hold of the last log; give how many prefixes were resumed."""
    once_per_generation(story.log)
    if story.log[-1].status in ("completed", "degraded"):
        story.check_inputs()
    return story.check_prefixes()


def failed_and_mended(seed: int, grid: bool) -> int:
    """Fail as it comes, mend some values, fail again perhaps, then mend all."""
    story = Story(seed, grid=grid)
    story.begin()
    for error in (None, 0.0, 0.0):
        if story.log[-1].status not in ("failed", "cancelled"):
            break
        story.resume(story.program(salted=2, error=error, faults=None if error == 0.0 else story.faults))
    return lawful(story) if len(story.legs) > 1 else 0


def cancelled_and_resumed(seed: int, grid: bool) -> int:
    story = Story(seed, grid=grid)
    story.begin(until=story.rng.randint(0, 8_000_000))
    if story.log[-1].kind == "run_ended":
        return 0
    program = story.program()
    drive = story.drive(program, story.log).redrive()
    drive.execution.cancel(by="dana", why="too late")
    story.log = list(drive.log)
    story.legs.clear()
    story.resume(program)
    assert story.log[-1].kind == "run_ended"
    return lawful(story)


def stepped_in(seed: int, grid: bool) -> int:
    """Invalidate something that has begun, now and again, and go on with other values."""
    story = Story(seed, grid=grid)
    story.begin(until=story.rng.randint(1_000_000, 9_000_000))
    story.legs.clear()
    for _ in range(2):
        if story.log[-1].kind == "run_ended":
            break
        story.step_in(_program := story.program(salted=3, error=0.0), lambda drive: invalidate_something(story, drive))
        if story.log[-1].status in ("failed", "cancelled"):
            story.resume(_program)
    return lawful(story)


def invalidate_something(story: Story, drive: Drive) -> None:
    state = drive.execution.state
    begun = [(node, -1) for node, standing in enumerate(state.standing) if standing in (COMPLETED, DEGRADED, SKIPPED)]
    begun += list(state.open)
    begun += [(node, item) for node, one in state.maps.items() for item in range(one.next) if item not in one.again]
    if begun and state.failing is None:
        node, item = story.rng.choice(sorted(begun))
        drive.execution.invalidate(node, item, "retry", why="look again", by="dana")


LAWS = [failed_and_mended, cancelled_and_resumed, stepped_in]


@pytest.mark.parametrize("grid", [False, True], ids=["continuous", "grid"])
@pytest.mark.parametrize("law", LAWS)
def test_every_prefix_with_generations(law, grid: bool) -> None:
    points = sum(law(seed, grid) for seed in range(30))
    assert points > 100


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_every_prefix_of_many_runs_with_generations(law) -> None:
    assert sum(law(seed, bool(seed % 2)) for seed in range(1000, 1300)) > 2_000



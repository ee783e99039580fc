"""Laws of generations: every prefix of a run into which somebody stepped resumes to the same log."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

import orchkit as ok
from orchkit.model.events import Event, settles
from orchkit.model.standings import COMPLETED, DEGRADED, OPEN, SKIPPED
from tests.support.engines import Drive
from tests.support.interventions import Story


def once_per_generation(log: list[Event]) -> None:
    settled = Counter((e.node, e.item, e.generation) for e in log if settles(e))
    assert set(settled.values()) <= {1}, settled.most_common(3)
    started = Counter((e.node, e.item, e.generation, e.leg, e.attempt) for e in log if e.kind == "started")
    assert set(started.values()) <= {1}, started.most_common(3)
    opened = Counter((e.node, e.item, e.generation) for e in log if e.kind == "invalidated")
    assert set(opened.values()) <= {1}
    assert all(one.t <= other.t for one, other in pairwise(log))


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
        story.resume(story.program(salted=story.some(3), error=error, faults=None if error == 0.0 else story.faults))
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
    """Invalidate some of what has begun, now and again, while the rest goes on, and go on with other values."""
    story = Story(seed, grid=grid)
    story.faults, story.error = None, 0.0
    story.begin(until=story.rng.randint(1_000_000, 12_000_000))
    story.legs.clear()
    for _ in range(2):
        if story.log[-1].kind == "run_ended":
            break
        names = story.some(4)
        story.step_in(
            story.program(salted=names, error=0.0), lambda drive, names=names: invalidate(story, drive, names)
        )
    return lawful(story)


def invalidate(story: Story, drive: Drive, names: list[str]) -> None:
    execution = drive.execution
    for name in names:
        node = story.graph.index[name]
        standing, progress = execution.state.standing[node], execution.state.maps.get(node)
        items = [] if progress is None else [i for i in range(progress.next) if i not in progress.again]
        if standing in (OPEN, COMPLETED, DEGRADED, SKIPPED):
            item = story.rng.choice([-1, *items])
            execution.invalidate(node, item, "retry", why="look again", by="dana")


def changed_and_resumed(seed: int, grid: bool) -> int:
    """Cut a run off anywhere, or let it fail, and go on with another graph."""
    story = Story(seed, grid=grid)
    story.begin(until=story.rng.choice([None, story.rng.randint(0, 9_000_000)]))
    if story.log[-1].status in ("completed", "degraded"):
        return 0
    story.legs.clear()
    try:
        going = story.change()
    except ok.GraphError:
        return 0  # a node that can never run
    story.resume_changed(going, story.program(salted=story.some(2), error=0.0))
    if story.log[-1].status == "failed":
        story.resume(story.program(error=0.0))
    return lawful(story)


LAWS = [failed_and_mended, cancelled_and_resumed, stepped_in, changed_and_resumed]


@pytest.mark.parametrize("grid", [False, True], ids=["continuous", "grid"])
@pytest.mark.parametrize("law", LAWS)
def test_every_prefix_with_generations(law, grid: bool) -> None:
    points = sum(law(seed, grid) for seed in range(30))
    assert points > 100


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_every_prefix_of_many_runs_with_generations(law) -> None:
    assert sum(law(seed, bool(seed % 2)) for seed in range(1000, 1300)) > 2_000


def test_while_its_list_comes_anew_a_map_spares_nobody_after_a_resume_either() -> None:
    assert stepped_in(1041, True) > 10  # its quorum was met, and the resume cancelled what the run had let end

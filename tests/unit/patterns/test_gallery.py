"""What holds for every pattern: it runs, live as simulated, resumes from anywhere, is drawn, and bears variants."""

from __future__ import annotations

import inspect

import pytest

import orchkit as ok
from orchkit.testing import every_prefix
from tests.unit.patterns.gallery import Shown, gallery

NAMES = sorted(gallery())


@pytest.fixture(params=NAMES)
def shown(request: pytest.FixtureRequest) -> Shown:
    return gallery()[request.param]


def test_the_gallery_is_complete() -> None:
    functions = [name for name in ok.patterns.__all__ if inspect.isfunction(getattr(ok.patterns, name))]
    assert sorted(functions) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_theory_expects_and_where_from(name: str) -> None:
    doc = inspect.getdoc(getattr(ok.patterns, name)) or ""
    for section in ("Parameters", "Returns", "Raises", "Notes", "References", "Examples"):
        assert f"\n{section}\n---" in doc


def test_it_does_what_it_is_for(shown: Shown) -> None:
    run = shown.wf.simulate(shown.given, world=shown.people)
    assert run.result() == shown.result
    assert run.status == "completed"


@pytest.mark.parametrize("seed", range(6))
def test_every_prefix_resumes_to_the_same_end(shown: Shown, seed: int) -> None:
    report = every_prefix(shown.wf, shown.given, world=shown.world, seed=seed)
    assert report.ok, "\n".join(report.differences)


def test_the_worlds_lead_to_more_than_one_end(shown: Shown) -> None:
    runs = [shown.wf.simulate(shown.given, world=shown.world, seed=seed) for seed in range(12)]
    assert len({tuple((e.kind, e.node, e.item, e.status) for e in run.log) for run in runs}) > 1


def test_it_is_drawn_with_the_users_names(shown: Shown) -> None:
    picture = shown.wf.svg()
    assert picture.startswith("<svg")
    for node in shown.wf.checked().nodes:
        assert node.name in picture


def test_the_same_pattern_is_made_anew_with_equal_logs(shown: Shown) -> None:
    again = next(one for one in gallery().values() if one.wf.name == shown.wf.name)
    one = shown.wf.simulate(shown.given, world=shown.world, seed=3)
    assert one.log == again.wf.simulate(shown.given, world=shown.world, seed=3).log


def test_live_it_comes_to_the_same(shown: Shown) -> None:
    run = shown.wf.start(shown.given, durability="memory").wait_settled(timeout=30)
    for name in run.pending():
        run.answer(name, True if name == "review" else "by hand", by="dana")
    assert run.result(timeout=30) == shown.result

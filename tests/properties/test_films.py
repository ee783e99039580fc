"""Laws of films: over random workflows they end as the picture of the run does, and never overlap or go back."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchkit.draw import picture_of
from orchkit.model.events import Event
from orchkit.model.graph import Graph
from orchkit.runs.filming import MOST_LANES, Film
from orchkit.runs.simulate import prepare, simulate
from tests.support.interventions import Story
from tests.support.wild import Traits, wild_workflow

pytestmark = pytest.mark.filterwarnings("ignore::orchkit.GraphWarning")  # nested retries are meant

FILMS = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
traits = st.builds(Traits, modelled=st.sampled_from([1.0, 0.5, 0.0]), grid=st.booleans())
OPEN = ("running", "waiting")  # a film also knows of people who are asked within a node
generators = st.randoms(use_true_random=False)


def wild_log(rng: random.Random, given_traits: Traits) -> tuple[Graph, list[Event]]:
    wild = wild_workflow(rng, given_traits)
    graph = wild.wf.checked()
    return graph, simulate(prepare(graph, wild.world, wild.faults), "x", seed=3).log()


def shown(graph: Graph, log: list[Event]) -> dict[str, str]:
    shapes = picture_of(graph, log).shapes
    return {one.name: "open" if one.status in OPEN else one.status for one in shapes if one.kind != "input"}


def as_shown(film: Film) -> dict[str, str]:
    last = {name: faces[-1].status for name, faces in film.faces.items()}
    return {name: "open" if status in OPEN else status for name, status in last.items()}


@FILMS
@given(generators, traits)
def test_a_film_shows_what_the_picture_of_the_same_prefix_shows(rng: random.Random, given_traits: Traits) -> None:
    graph, log = wild_log(rng, given_traits)
    film = Film(graph)
    for count, event in enumerate(log, 1):
        film.take(event)
        if count % 7 and count != len(log):
            continue
        assert as_shown(film) == shown(graph, log[:count])


@FILMS
@given(generators, traits)
def test_bars_lie_in_time_and_side_by_side(rng: random.Random, given_traits: Traits) -> None:
    graph, log = wild_log(rng, given_traits)
    film = Film(graph, log)
    assert all(0 <= bar.start <= bar.end <= log[-1].t for bar in film.bars)
    tries = sum(event.kind == "started" for event in log)
    assert sum(bar.kind in ("attempt", "hedge", "inner") for bar in film.bars) == tries == film.totals[-1].calls
    for row in film.faces:
        for lane in range(MOST_LANES - 1):
            bars = sorted((b for b in film.bars if (b.row, b.lane) == (row, lane)), key=lambda b: (b.start, b.n))
            assert all(a.end <= b.start for a, b in itertools.pairwise(bars))


@FILMS
@given(generators, traits)
def test_the_news_of_a_film_make_the_film(rng: random.Random, given_traits: Traits) -> None:
    graph, log = wild_log(rng, given_traits)
    film = Film(graph)
    rows = {name: list(faces) for name, faces in film.faces.items()}
    bars = {}
    for event in log:
        film.take(event)
        if rng.random() < 0.3:
            catch_up(film, rows, bars)
    catch_up(film, rows, bars)
    assert rows == film.faces
    assert bars == {bar.n: (bar.start, bar.end, bar.status, bar.words) for bar in film.bars}


@pytest.mark.parametrize("grid", [False, True], ids=["continuous", "grid"])
def test_films_of_runs_that_were_cut_and_went_on_show_the_same_too(grid: bool) -> None:
    cut = 0
    for seed in range(40):
        story = Story(seed, grid=grid)
        story.begin(until=story.rng.randint(0, 9_000_000))
        if story.log[-1].kind == "run_ended":
            continue
        cut += 1
        story.resume(story.program(error=0.0))
        film = Film(story.graph)
        for count, event in enumerate(story.log, 1):
            film.take(event)
            assert as_shown(film) == shown(story.graph, story.log[:count]), f"seed {seed}: after {event}"
        assert film.totals[-1].degraded == sum(faces[-1].status == "degraded" for faces in film.faces.values())
        assert all(0 <= bar.start <= bar.end for bar in film.bars)
    assert cut > 10


def catch_up(film: Film, rows: dict, bars: dict) -> None:
    faces, changed = film.news()
    for name, known in faces.items():
        rows[name] = [*rows[name][:known], *film.faces[name][known:]]
    for bar in changed:
        bars[bar.n] = (bar.start, bar.end, bar.status, bar.words)

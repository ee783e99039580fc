"""Films: where time went, also while nobody executed the run; and what a long one leaves out."""

from __future__ import annotations

import orchkit as ok
from orchkit.model.events import FINAL, Event
from orchkit.runs.filming import MOST_BARS, MOST_FACES, Film

BEGUN = Event(0, "run_started", body={"input": "x"})


def bars(film: Film) -> list[tuple[str, int, int, str]]:
    return [(bar.kind, bar.start, bar.end, bar.status) for bar in film.bars]


def test_a_suspended_run_has_a_gap_and_begins_anew_behind_it() -> None:
    film = Film(None, [BEGUN, Event(1, "started", "a", attempt=1), Event(2, "asked", "b"), Event(5, "suspended")])
    assert {name: faces[-1].status for name, faces in film.faces.items()} == {"a": "cancelled", "b": "waiting"}
    assert bars(film) == [("attempt", 1, 5, "cancelled"), ("person", 2, 5, "open")]
    for event in (
        Event(90, "resumed"),
        Event(95, "completed", "a", attempt=1, status=FINAL),
        Event(99, "answered", "b"),
    ):
        film.take(event)
    assert bars(film)[:2] == [("attempt", 1, 5, "cancelled"), ("person", 2, 5, "open")]
    assert bars(film)[2:] == [("attempt", 90, 95, "completed"), ("person", 90, 99, "answered")]


def test_what_a_killed_process_was_at_ends_with_the_last_that_is_known_of_it() -> None:
    film = Film(None, [BEGUN, Event(1, "started", "a", attempt=1), Event(3, "started", "b", attempt=1)])
    film.take(Event(90, "resumed"))
    assert bars(film) == [("attempt", 1, 3, "lost"), ("attempt", 3, 3, "lost"), *2 * [("attempt", 90, -1, "open")]]
    assert film.faces["a"][-1].status == "running"


def test_a_wait_that_was_cut_short_ends_where_the_next_attempt_begins() -> None:
    film = Film(None, [BEGUN, Event(1, "waiting", "a", attempt=1, dur=50), Event(9, "started", "a", attempt=2)])
    assert bars(film) == [("wait", 1, 9, "open"), ("attempt", 9, -1, "open")]


def test_faults_are_absorbed_where_the_node_delivers_all_the_same() -> None:
    wf = ok.Workflow("one", input=str)

    @wf.step(retry=ok.Retry(3))
    def draft(input: str) -> str: ...

    world = ok.World(draft=ok.fake("x", latency=1.0, cost=0.5))
    for first, status, absorbed in ((2, "completed", 2), (3, "failed", 0)):
        run = wf.simulate("x", world=world, faults=ok.Faults(ok.faults.fail("draft", first=first)))
        total = Film(wf.checked(), run.log).totals[-1]
        assert (total.status, total.faults, total.absorbed, total.calls) == (status, first, absorbed, 3)


def test_a_long_run_is_thinned_and_says_what_it_left_out() -> None:
    wf = ok.Workflow("many", input=list[int])

    @wf.map(over="input", limit=7)
    def square(item: int) -> int: ...

    n = MOST_BARS + 500
    run = wf.simulate(list(range(n)), world=ok.World(square=ok.fake(1, latency=ok.dist.exponential(mean=1.0))))
    film = Film(wf.checked(), run.log)
    faces = film.faces["square"]
    assert len(faces) <= MOST_FACES
    assert (faces[0].status, faces[1].badge, faces[-1][1:3]) == ("idle", f"0/{n}", ("completed", f"{n}/{n}"))
    assert [face.t for face in faces] == sorted(face.t for face in faces)
    assert (len(film.bars), film.left_out) == (MOST_BARS, 500)
    assert film.totals[-1].status == "completed"

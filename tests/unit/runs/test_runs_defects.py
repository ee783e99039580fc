"""What a review found: each of these once lost, doubled or hid something."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

import orchkit as ok
from orchkit.model.events import Event
from orchkit.model.fold import apply, fold
from orchkit.model.generations import invalidated
from orchkit.runs import live

WAIT = 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as store:
        yield store


def waiting(items: int) -> ok.Workflow:
    wf = ok.Workflow("long", input=int)
    wf.approval("sure")

    @wf.step
    async def many(input: int) -> list[int]:
        return list(range(input))

    @wf.map(over="many")
    async def each(item: int) -> int:
        return item

    @wf.step
    async def end(each: list[int], sure: bool) -> int:
        return len(each)

    return wf


def test_a_long_run_resumes_though_something_is_open_since_its_begin(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(live, "_ROOM", 100)
    wf = waiting(200)
    path = tmp_path / "lab.duckdb"
    with ok.open(path) as store:
        run = wf.start(200, store=store).wait_settled(WAIT)
    with ok.open(path) as store:
        again = store.resume(run.id, wf).wait_settled(WAIT)
        again.answer("sure", True)
        assert again.result(WAIT) == 200
        assert len(again._handle._execution.events) <= 100  # type: ignore[attr-defined]


def test_a_long_run_that_fails_while_its_store_closes_tells_whoever_waits(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(live, "_ROOM", 50)
    wf = ok.Workflow("failing", input=int)

    @wf.step
    async def many(input: int) -> list[int]:
        return list(range(input))

    @wf.map(over="many")
    async def each(item: int, ctx: ok.Context) -> int:
        if item == 150:
            raise ValueError("no")
        return item

    for _ in range(10):
        store = ok.open(tmp_path / "lab.duckdb")
        run = wf.start(200, store=store)
        closing = threading.Thread(target=store._kept.close)
        closing.start()
        with pytest.raises(ok.OrchkitError):
            run.result(WAIT)
        closing.join(WAIT)


def test_a_copy_of_a_store_has_runs_of_its_own(tmp_path: Path) -> None:
    wf = waiting(2)
    with ok.open(tmp_path / "a.duckdb") as one:
        run = wf.start(2, store=one).wait_settled(WAIT)
        run.suspend()
        one.snapshot(tmp_path / "b.duckdb")
        with ok.open(tmp_path / "b.duckdb") as other:
            copied = other.resume(run.id, wf).wait_settled(WAIT)
            assert one.run(run.id).status == "suspended"
            again = one.resume(run.id, wf).wait_settled(WAIT)
            one.run(run.id).answer("sure", True)
            assert again.result(WAIT) == 2
            assert copied.status == "waiting"
            other.run(run.id).answer("sure", False)
            assert copied.result(WAIT) == 2
            assert sum(body is False for body in other.events(run.id).body) == 1


def test_looking_into_a_store_does_not_stop_the_runs_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "lab.duckdb"
    run = waiting(2).start(2, store=path).wait_settled(WAIT)
    with ok.open(path, read_only=True) as store:
        assert store.runs().status.tolist() == ["waiting"]
    with ok.open(path) as store:
        assert len(store.runs()) == 1
    assert run.status == "waiting"
    run.answer("sure", True)
    assert run.result(WAIT) == 2
    ok.open(path).close()


def test_a_line_that_nobody_takes_leaves_the_run_free(store: ok.Store) -> None:
    wf = waiting(2)
    run = wf.start(2, store=store).wait_settled(WAIT)
    run.suspend()

    @wf.step
    async def many(input: int) -> list[int]:
        return [7]

    def closed(line: str) -> None:
        raise ValueError("I/O operation on closed file")

    with pytest.raises(ValueError, match="closed file"):
        store.resume(run.id, wf, tell=closed)
    told: list[str] = []
    again = store.resume(run.id, wf, tell=told.append).wait_settled(WAIT)
    assert "many" in told[0]
    again.answer("sure", True)
    assert again.result(WAIT) == 1


def test_what_does_not_fit_the_context_is_not_told_to_the_log(store: ok.Store) -> None:
    class Case(BaseModel):
        token: SecretStr = SecretStr("")
        notes: list[str] = []

    wf = ok.Workflow("secret", input=str)
    wf.context(Case)

    @wf.step
    async def write(input: str, ctx: ok.Context) -> str:
        ctx.update(token=["sk-SECRET-1"])
        return input

    run = wf.start("x", store=store)
    with pytest.raises(ok.RunError):
        run.result(WAIT)
    assert "SECRET" not in str(store.sql("select * from event").to_dict())


def test_an_event_that_cannot_be_stored_leaves_what_led_to_it_at_exit_too(store: ok.Store) -> None:
    from orchkit.model.records import Head

    journal = store._kept.admit(Head("late", "w", started=1, durability="exit"))
    journal.append(Event(0, "run_started", body={"input": 1}))
    journal.append(Event(1, "started", "draft", attempt=1))
    journal.append(Event(2, "failed", "draft", attempt=1, error="\ud800"))
    journal.append(Event(3, "settled", "draft"))
    with pytest.raises(ok.CodecError):
        journal.append(Event(4, "run_ended"))
    journal.release()
    assert [event.kind for event in store._kept.events("late")] == ["run_started", "started"]


def test_an_item_that_is_skipped_the_second_time_has_written_nothing() -> None:
    class Case(BaseModel):
        notes: list[str] = []

    wf = ok.Workflow("w", input=list)
    wf.context(Case, merge={"notes": ok.append})

    @wf.map(over="input", on_error="skip")
    async def each(item: int, ctx: ok.Context) -> int: ...

    graph = wf.checked()
    log = [
        Event(0, "run_started", body={"input": [1, 2]}),
        Event(0, "started", "each", 0, attempt=1),
        Event(0, "started", "each", 1, attempt=1),
        Event(1, "context", "each", 0, attempt=1, body={"notes": ["old"]}),
        Event(1, "completed", "each", 0, attempt=1, status="ok", body=1),
        Event(1, "settled", "each", 0, status="completed"),
    ]
    state = fold(graph, log)
    assert state.shared is not None
    assert state.shared.writes == {0: {0: {"notes": ["old"]}}}
    invalidated(state, Event(2, "invalidated", "each", 0, generation=2, status="retry"))
    apply(state, Event(2, "started", "each", 0, 2, attempt=1))
    apply(state, Event(3, "failed", "each", 0, 2, attempt=1, status="error", error="E: no"))
    apply(state, Event(3, "skipped", "each", 0, 2, status="error", error="E: no"))
    assert state.shared.writes == {}


def test_a_map_of_which_an_item_started_again_after_it_was_closed_may_become_a_step() -> None:
    wf = ok.Workflow("w", input=list)

    @wf.step
    async def each(input: list) -> list: ...

    ends = [("completed", 1, "ok"), ("settled", 0, "completed")]
    log = [
        Event(0, "run_started", body={"input": [1, 2]}),
        *(Event(0, "started", "each", item, attempt=1) for item in (0, 1)),
        *(Event(1, kind, "each", item, attempt=n, status=was, body=item) for item in (0, 1) for kind, n, was in ends),
        Event(1, "settled", "each", status="completed"),
        Event(2, "invalidated", "each", 0, generation=2, status="retry"),
        Event(2, "started", "each", 0, generation=2, attempt=1),
        *(Event(3, kind, "each", 0, 2, attempt=n, status=was, body=7) for kind, n, was in ends),
        Event(3, "settled", "each", generation=2, status="completed"),
    ]
    for cut in range(2, len(log) + 1):
        changed = Event(4, "resumed", body={"fingerprints": {}, "rerun": ["each"]})
        assert fold(wf.checked(), [*log[:cut], changed]).stale == {(0, -1): "changed"}
    assert fold(wf.checked(), log, changed=True).values == [[7, 1]]
    assert not fold(wf.checked(), log, changed=True).maps

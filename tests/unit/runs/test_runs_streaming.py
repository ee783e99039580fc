"""Streams: every reader gets every event once, and none is waited for."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import orchkit as ok
from orchkit.clock.live import engine_thread
from orchkit.errors import StoreWriteError
from orchkit.hall.run import Run
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.runs import live, streaming
from orchkit.runs.handle import PastRun
from orchkit.runs.partials import Partials, Piece
from orchkit.runs.sources import Bell

WAIT = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def asking() -> ok.Workflow:
    wf = ok.Workflow("asking", input=str)

    @wf.step
    async def draft(input: str) -> str:
        return f"Dear {input}"

    wf.approval("review", answer=bool, show="draft")

    @wf.step
    def send(draft: str, review: bool) -> str:
        return draft

    return wf


def kinds(events: Any) -> list[tuple[int, str, str]]:
    return [(event.seq, event.kind, event.node) for event in events]


def logged(run: ok.Run) -> list[tuple[int, str, str]]:
    return [(seq, event.kind, event.node) for seq, event in enumerate(run.log, 1)]


def followers(run: ok.Run) -> int:
    return len(run._handle._followers._all)  # type: ignore[attr-defined]  # a live one


@pytest.mark.parametrize("durability", ["memory", "exit", "group", "strict"])
def test_a_live_run_is_streamed_to_its_end(store: ok.Store, durability: str) -> None:
    run = asking().start("Dana", store=store, durability=durability)

    async def read() -> list[Any]:
        events = []
        async for event in run.stream():
            events.append(event)
            if event.kind == "asked":
                await asyncio.to_thread(run.wait_settled, WAIT)
                await asyncio.to_thread(run.answer, "review", True, by="ana")
        return events

    events = asyncio.run(read())
    assert kinds(events) == logged(run)
    assert (events[-1].kind, run.status) == ("run_ended", "completed")
    frame = run.events
    assert [event.t for event in events] == frame.t.tolist()
    assert [event.wall for event in events] == [wall.to_pydatetime() for wall in frame.wall]
    assert [event.body for event in events] == frame.body.tolist()
    assert list(events[0]._fields[:-1]) == list(frame.columns)
    assert followers(run) == 0


def test_a_plain_for_reads_the_same(store: ok.Store) -> None:
    run = asking().start("Dana", store=store)
    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(lambda: kinds(run.stream())) for _ in range(4)]
        run.wait_settled(WAIT)
        run.answer("review", True)
        run.result(WAIT)
        assert [reader.result(WAIT) for reader in readers] == [logged(run)] * 4
    assert kinds(run.stream(since=3)) == logged(run)[3:]
    assert kinds(run.stream(since=10_000)) == []
    assert kinds(store.run(run.id).stream()) == logged(run)
    assert all(event.durable for event in store.run(run.id).stream())


def test_a_simulated_run_gives_its_log() -> None:
    run = asking().simulate("Dana", world=ok.World(review=ok.person(delay=60.0, approve=1.0)))
    assert kinds(run.stream()) == logged(run)
    assert next(run.stream()).wall is None

    async def read() -> list[Any]:
        return [event async for event in run.stream(partial=True)]

    assert kinds(asyncio.run(read())) == logged(run)


def test_a_stream_ends_where_the_run_is_suspended_and_a_later_one_goes_on(store: ok.Store) -> None:
    wf = asking()
    run = wf.start("Dana", store=store)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(lambda: kinds(run.stream()))
        run.wait_settled(WAIT).suspend()
        seen = reader.result(WAIT)
    assert seen[-1][1] == "suspended"
    again = store.resume(run.id, wf)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(lambda: kinds(again.stream(since=len(seen))))
        again.wait_settled(WAIT).answer("review", True)
        assert seen + reader.result(WAIT) == logged(again)


def test_a_stream_ends_where_the_store_gives_up(store: ok.Store) -> None:
    run = asking().start("Dana", store=store).wait_settled(WAIT)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(lambda: kinds(run.stream()))
        engine_thread().submit(lambda: run._handle._execution.abort(StoreWriteError("no room"))).result(WAIT)
        assert reader.result(WAIT)[-1][1] == "asked"
    with pytest.raises(ok.RunError, match="no room"):
        run.result(WAIT)


def test_leaving_early_leaves_nothing_behind(store: ok.Store) -> None:
    run = asking().start("Dana", store=store).wait_settled(WAIT)

    async def leave() -> None:
        async for _ in run.stream(partial=True):
            break
        reading = asyncio.create_task(anext(aiter(run.stream(since=10_000, partial=True))))
        for _ in range(20):
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(leave())
    for _ in run.stream():
        break
    kept = run.stream()
    next(kept)
    assert followers(run) == 1
    kept.close()
    kept.close()
    gc.collect()
    assert followers(run) == 0
    assert run._handle._execution.on_partial is None
    assert run.status == "waiting"
    run.answer("review", True)
    assert run.result(WAIT) == "Dear Dana"


def test_a_stream_that_is_kept_goes_on_where_it_was(store: ok.Store) -> None:
    run = asking().start("Dana", store=store).wait_settled(WAIT)
    stream = run.stream()
    first = [next(stream), next(stream)]
    run.answer("review", True)
    run.result(WAIT)
    assert kinds(first + list(stream)) == logged(run)
    assert list(stream) == []


def counting(items: int) -> ok.Workflow:
    wf = ok.Workflow("many", input=int)

    @wf.step
    def plan(input: int) -> list[int]:
        return list(range(input))

    @wf.map(over="plan")
    async def double(item: int) -> int:
        return 2 * item

    return wf


def test_what_memory_has_forgotten_is_read_from_the_store(store: ok.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_ROOM", 60)
    monkeypatch.setattr(streaming, "_AT_ONCE", 17)
    run = counting(300).start(300, store=store)
    slow, fast = run.stream(), run.stream()
    first = next(slow)
    fast_seen = kinds(fast)
    run.result(WAIT)
    assert run._handle._execution.forgot
    assert [first.seq, *(event.seq for event in slow)] == list(range(1, len(run.log) + 1))
    assert fast_seen == logged(run)


def test_a_bell_rings_once_until_somebody_looks() -> None:
    bell = Bell(None)
    heard = bell.heard()
    assert heard is bell.heard()
    assert not heard.done()
    for _ in range(1000):
        bell.ring()
    assert heard.done()
    assert bell.heard().done()
    bell.quiet()
    assert not bell.heard().done()


def test_a_reader_who_does_not_read_is_neither_waited_for_nor_queued_for(store: ok.Store) -> None:
    run = counting(200).start(200, store=store, durability="memory")
    stream = run.stream(partial=True)
    next(stream)
    run.result(WAIT)
    (bell,) = run._handle._followers._all
    assert not bell._partials._kept
    assert len(list(stream)) == len(run.log) - 1


def test_a_step_may_follow_another_run_and_not_its_own(store: ok.Store) -> None:
    other = asking().start("Dana", store=store).wait_settled(WAIT)
    mine: list[ok.Run] = []
    begun, told = threading.Event(), threading.Event()
    wf = ok.Workflow("watching")

    @wf.step
    async def watch(input: Any) -> int:
        return len([event async for event in other.stream()])

    @wf.step
    async def block(input: Any) -> str:
        with pytest.raises(ok.RunError, match="by a plain for inside an async step would block the engine"):
            next(other.stream(since=10_000))
        return "refused"

    @wf.step
    def itself(input: Any) -> str:
        begun.set()
        told.wait(WAIT)
        with pytest.raises(ok.RunError, match="waits for its own run"):
            next(mine[0].stream())
        return "refused"

    mine.append(wf.start("x", durability="memory"))
    begun.wait(WAIT)
    told.set()
    other.answer("review", True)
    assert mine[0].result(WAIT) == {"watch": len(other.log), "block": "refused", "itself": "refused"}


@pytest.mark.parametrize("since", [-1, 1.0, True, "3"])
def test_a_place_in_the_log_is_a_number(since: Any) -> None:
    run = Run(PastRun(Head("r1", "w", "virtual"), (Event(0, "run_started", body={"input": 1}),)))
    with pytest.raises(ok.DefinitionError, match="give the seq of the last event that is known"):
        run.stream(since=since)


# What steps emit


def telling(gate: threading.Event, tell: Callable[[ok.Context], Any], **options: Any) -> ok.Workflow:
    wf = ok.Workflow("telling", input=str)

    @wf.step(**options)
    def speak(input: str, ctx: ok.Context) -> str:
        gate.wait(WAIT)
        tell(ctx)
        return "said"

    @wf.step
    def follow(speak: str) -> str:
        return speak

    return wf


def read_all(run: ok.Run, gate: threading.Event) -> list[Any]:
    """Read from before the gate opens to the end."""
    stream = run.stream(partial=True)
    seen = [next(stream)]
    gate.set()
    return [*seen, *stream]


def test_what_a_step_emits_comes_between_the_events_of_its_attempt() -> None:
    gate = threading.Event()

    def tell(ctx: ok.Context) -> None:
        for chunk in ("once ", "upon", {"a": [1]}):
            ctx.emit(chunk)

    run = telling(gate, tell).start("x", durability="memory")
    seen = read_all(run, gate)
    told = [item for item in seen if item.kind == "partial"]
    assert [(p.node, p.item, p.attempt, p.leg, p.n, p.chunk, p.missed) for p in told] == [
        ("speak", None, 1, 0, 1, "once ", 0),
        ("speak", None, 1, 0, 2, "upon", 0),
        ("speak", None, 1, 0, 3, {"a": [1]}, 0),
    ]
    names = [f"{item.kind} {item.node}" for item in seen]
    assert names[1:6] == ["started speak", *["partial speak"] * 3, "completed speak"]
    assert kinds(item for item in seen if item.kind != "partial") == logged(run)
    assert seen[1].t <= told[0].t <= told[-1].t <= seen[5].t
    assert not any(event.kind == "partial" for event in run.log)
    assert [item.kind for item in run.stream()].count("partial") == 0


def test_emitting_without_a_reader_or_in_simulation_shows_nothing() -> None:
    gate = threading.Event()
    gate.set()
    chatty, silent = (telling(gate, tell) for tell in (lambda ctx: ctx.emit("x"), lambda ctx: None))
    one, other = (wf.simulate("x", world=ok.World()) for wf in (chatty, silent))
    assert one.receipt == other.receipt
    run = chatty.start("x", durability="memory")
    run.result(WAIT)
    assert [item.kind for item in run.stream(partial=True)].count("partial") == 0


@pytest.mark.parametrize("world", [None, ok.World()], ids=["live", "simulated"])
def test_what_is_no_json_is_refused_whoever_listens(world: Any) -> None:
    gate = threading.Event()
    gate.set()
    wf = telling(gate, lambda ctx: ctx.emit(object()))
    run = wf.start("x", durability="memory") if world is None else wf.simulate("x", world=world)
    with pytest.raises(ok.RunError, match=r"ctx\.emit in 'speak' shows JSON, and this is none"):
        run.result(WAIT)


def test_what_is_redacted_is_not_shown() -> None:
    gate = threading.Event()
    wf = ok.Workflow("secret", redact=["password"])

    @wf.step
    def speak(ctx: ok.Context) -> str:
        gate.wait(WAIT)
        ctx.emit({"password": "hunter2", "user": "ana"})
        return "done"

    seen = read_all(wf.start("x", durability="memory"), gate)
    (told,) = (item.chunk for item in seen if item.kind == "partial")
    assert "hunter2" not in str(told)
    assert told["user"] == "ana"


def test_a_thread_that_was_given_up_is_not_heard_any_more() -> None:
    gate, late, said = threading.Event(), threading.Event(), threading.Event()
    times: list[int] = []

    def tell(ctx: ok.Context) -> None:
        times.append(ctx.generation)
        ctx.emit(f"generation {ctx.generation}")
        if ctx.generation == 1:
            late.wait(WAIT)
            ctx.emit("too late")
            said.set()
        else:
            late.set()  # while this attempt, of the same number, is under way
            said.wait(WAIT)

    run = telling(gate, tell).start("x", durability="memory")
    stream = run.stream(partial=True)
    seen = [next(stream)]
    gate.set()
    while seen[-1].kind != "partial":
        seen.append(next(stream))
    handle: Any = run._handle
    engine_thread().submit(lambda: handle._execution.invalidate(handle.program.graph.index["speak"])).result(WAIT)
    seen += stream
    assert times == [1, 2]
    told = [(item.generation, item.chunk) for item in seen if item.kind == "partial"]
    assert told == [(1, "generation 1"), (2, "generation 2")]


def pieces(who: tuple[str, int, int, int, int], *chunks: Any) -> list[Piece]:
    return [Piece(who, n, n, chunk) for n, chunk in enumerate(chunks, 1)]


A, B = ("a", -1, 1, 0, 1), ("b", 3, 1, 0, 1)


def test_text_of_a_slow_reader_is_joined_attempt_by_attempt() -> None:
    kept = Partials()
    both = zip(pieces(A, *(f"a{n} " for n in range(400))), pieces(B, *(f"b{n} " for n in range(400))), strict=True)
    for one, other in both:
        kept.put(one, 2)
        kept.put(other, 2)
    taken = [one.told(0) for one in kept.take()]
    assert len(taken) < 513
    assert "".join(p.chunk for p in taken if p.node == "a") == "".join(f"a{n} " for n in range(400))
    assert "".join(p.chunk for p in taken if p.node == "b") == "".join(f"b{n} " for n in range(400))
    assert taken[0].n > 1
    assert {(p.node, p.item) for p in taken} == {("a", None), ("b", 3)}
    assert not kept.take()


def test_what_cannot_be_joined_is_dropped_and_counted() -> None:
    kept = Partials()
    for piece in pieces(A, *({"n": n} for n in range(1, 2001))):
        kept.put(piece, 2)
    last, told = 0, []
    for one in kept.take():
        told.append(one.told(last))
        last = one.last
    assert len(told) <= 512
    assert told[-1].chunk == {"n": 2000}
    assert told[0].missed == told[0].n - 1 > 0
    assert {p.missed for p in told[1:]} == {0}


def test_text_beyond_all_bounds_is_dropped_and_the_newest_kept() -> None:
    kept = Partials()
    for piece in pieces(A, *["x" * 10_000] * 1000):
        kept.put(piece, 2)
    taken = list(kept.take())
    assert sum(one.size for one in taken) < 2 * 2**20
    assert taken[-1].last == 1000
    kept.put(Piece(B, 1, 1, "y" * 2**22), 2)
    assert [one.told(0).missed for one in kept.take()] == [0]


def test_text_is_not_joined_across_what_lies_between() -> None:
    kept = Partials()
    for piece in pieces(A, "one", {"two": 2}, *["x"] * 600):
        kept.put(piece, 2)
    assert [one.told(0).chunk for one in kept.take()][:2] == ["one", {"two": 2}]


def test_who_comes_late_is_told_how_much_it_missed() -> None:
    gate, emitted, go = threading.Event(), threading.Event(), threading.Event()

    def tell(ctx: ok.Context) -> None:
        ctx.emit("one")
        ctx.emit("two")
        emitted.set()
        go.wait(WAIT)
        ctx.emit("three")

    gate.set()
    run = telling(gate, tell).start("x", durability="memory")
    emitted.wait(WAIT)
    stream = run.stream(since=1, partial=True)
    first = next(stream)
    go.set()
    seen = [first, *stream]
    assert [(p.n, p.chunk, p.missed) for p in seen if p.kind == "partial"] == [(3, "three", 2)]
    assert kinds(item for item in seen if item.kind != "partial") == logged(run)[1:]

"""Whoever blocks the engine's loop is named while he does, and nobody else is."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

import orchkit as ok
from orchkit.clock.kernel import Fibre
from orchkit.clock.live import EngineThread, engine_thread
from orchkit.clock.watch import Watch

WAIT = 30.0


class Told(logging.Handler):
    """Keeps what is told, and says that something was."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.any = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        self.any.set()


@pytest.fixture
def told() -> Iterator[Told]:
    handler, log = Told(), logging.getLogger("orchkit")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = engine_thread().host.watch
    assert watch is not None
    monkeypatch.setattr(watch, "patience", 0.05)
    return watch


def test_an_async_step_that_blocks_is_named_with_its_line_while_it_does(told: Told, watch: Watch) -> None:
    wf = ok.Workflow("blocked", input=str)

    @wf.step
    async def greedy(input: str) -> bool:
        return told.any.wait(WAIT)  # on the engine's own thread: it ends only because it is told of

    run = wf.start("x", durability="memory")
    assert run.result(WAIT) is True
    (text,) = told.texts
    assert text.startswith(f"'greedy' of run '{run.id}' has held up the engine for over 0.05 s")
    assert f"{__file__}:" in text
    assert "in greedy; await what takes long" in text


def test_a_route_runs_on_the_engine_and_is_named_too(told: Told, watch: Watch) -> None:
    wf = ok.Workflow("routed", input=str)

    @wf.route(to=["end"])
    def choose(input: str) -> str:
        told.any.wait(WAIT)
        return "end"

    @wf.step
    def end(input: str) -> str:
        return input

    assert wf.start("x", durability="memory").result(WAIT) == "x"
    assert "'choose' of run" in told.texts[0]


def test_a_task_that_a_step_has_made_is_named_by_its_line(told: Told, watch: Watch) -> None:
    wf = ok.Workflow("tasks", input=str)

    async def helper() -> bool:
        return told.any.wait(WAIT)

    @wf.step
    async def maker(input: str) -> bool:
        return await asyncio.create_task(helper())

    assert wf.start("x", durability="memory").result(WAIT) is True
    assert told.texts[0].startswith("something has held up the engine")
    assert "in helper;" in told.texts[0]


def test_who_awaits_or_runs_in_a_thread_of_its_own_is_not_named(
    told: Told, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, seen, ask = [], threading.Event(), engine_thread().host.ask

    def counted(answer: threading.Event) -> bool:
        looks.append(answer)
        if len(looks) > 3:
            seen.set()
        return ask(answer)

    monkeypatch.setattr(engine_thread().host, "ask", counted)
    wf = ok.Workflow("patient", input=str)

    @wf.step
    async def awaits(input: str) -> bool:
        return await asyncio.to_thread(seen.wait, WAIT)

    @wf.step
    def threaded(input: str) -> bool:
        return seen.wait(WAIT)

    assert wf.start("x", durability="memory").result(WAIT) == {"awaits": True, "threaded": True}
    assert told.texts == []


def test_it_rests_while_nothing_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EngineThread()  # its own: on the one that all tests share somebody may still be at work
    watch, rests = engine.host.watch, threading.Event()
    assert watch is not None
    end = watch.end

    def ended() -> None:
        end()
        rests.set()

    async def body() -> None:
        return None

    def begin() -> None:
        fibre = Fibre((0,))
        engine.host.begin(fibre, body)
        fibre.token += 1  # nobody waits for what it gives

    monkeypatch.setattr(watch, "patience", 0.05)
    monkeypatch.setattr(watch, "end", ended)
    for _ in range(2):
        rests.clear()
        engine.call(begin)
        assert rests.wait(WAIT)
        assert engine.call(lambda: engine.host.watched) is False
        assert watch.look() == ""
    engine.close()

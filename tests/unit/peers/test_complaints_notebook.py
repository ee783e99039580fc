"""What users of other engines suffered in notebooks; test_table.py says from which threads."""

from __future__ import annotations

import ast
import asyncio
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import pytest

import orchkit as ok
from orchkit.clock.live import engine_thread
from orchkit.engine.execution import Execution

WAIT = 30
ROOT = Path(__file__).parents[3]


def hello() -> ok.Workflow:
    wf = ok.Workflow("hello", input=str)

    @wf.step
    async def greet(input: str) -> str:
        return f"Hello {input}"

    return wf


def triage() -> ok.Workflow:
    wf = ok.Workflow("triage", input=str)

    @wf.step
    async def draft(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(2)
        return input

    @wf.route(to=["send", "review"])
    def risk(draft: str) -> Literal["send", "review"]:
        return "review" if "refund" in draft else "send"

    wf.approval("review", show="draft")

    @wf.step(after="review")
    def send(draft: str) -> str:
        return f"sent {draft}"

    return wf


def test_the_first_example_runs_where_a_loop_runs_already() -> None:
    async def cell() -> list[str]:
        wf = hello()
        awaited = await wf.start("a", durability="memory")
        blocking = wf.start("b", durability="memory").result(WAIT)
        return [awaited, blocking, wf.simulate("c", world=ok.World()).result()]

    patched = asyncio.run, asyncio.get_running_loop, asyncio.BaseEventLoop.run_until_complete
    assert asyncio.run(cell()) == ["Hello a", "Hello b", "Hello c"]
    assert (asyncio.run, asyncio.get_running_loop, asyncio.BaseEventLoop.run_until_complete) == patched
    assert "nest_asyncio" not in sys.modules


def test_what_other_threads_say_is_taken_on_the_engines_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    record, threads = Execution.record, set[int]()

    def spied(self: Execution, event: Any) -> None:
        threads.add(threading.get_ident())
        record(self, event)

    monkeypatch.setattr(Execution, "record", spied)
    ask = ok.Workflow("ask", input=str)
    ask.approval("review", answer=int)
    wf = ok.Workflow("many", input=list[str])
    wf.map("each", over="input", body=ask)

    @wf.step
    def plain(each: list[int]) -> int:  # it runs in a thread of its own
        return sum(each)

    run = wf.start(list("abcdefgh"), durability="memory").wait_settled(WAIT)
    start = threading.Barrier(8)

    def click(i: int) -> None:
        start.wait()
        run.answer(f"each[{i}]/review", i)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(click, range(8)))
    assert run.result(WAIT) == sum(range(8))
    engine = engine_thread()
    assert threads == {engine.call(threading.get_ident)}
    assert threads != {threading.get_ident()}


def test_a_cell_that_blocks_the_kernels_loop_does_not_stop_a_run() -> None:
    async def cell() -> str:
        done = threading.Event()
        wf = ok.Workflow("beside", input=str)

        @wf.step
        async def first(input: str, ctx: ok.Context) -> str:
            await ctx.sleep(0)
            return input

        @wf.step
        async def second(first: str) -> str:
            done.set()
            return first

        run = wf.start("x", durability="memory")
        assert done.wait(WAIT)  # this loop stands still all the while
        return str(await run)

    assert asyncio.run(cell()) == "x"


def test_a_drawing_asks_no_server_and_starts_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("drawing went outside")

    for owner, name in ((socket, "socket"), (socket, "create_connection"), (subprocess, "Popen")):
        monkeypatch.setattr(owner, name, refuse)
    wf = triage()
    assert wf.svg() == triage().svg()
    assert ElementTree.fromstring(wf.svg()).tag.endswith("svg")
    run = wf.simulate("refund", world=ok.World(review=ok.person(60.0, approve=1.0)))
    assert "image/svg+xml" in run._repr_mimebundle_()


def test_the_arrows_of_a_route_are_the_targets_that_it_declares() -> None:
    wf = triage()
    routes = {(a, b) for a, b, kind in wf.graph().edges.data("kind") if kind == "route"}
    assert routes == {("risk", "send"), ("risk", "review")}

    @wf.route(to=["send", "revue"])
    def risk(draft: str) -> str:
        return "send"

    with pytest.raises(ok.GraphError, match=r"'revue'.*did you mean 'review'"):
        wf.svg()


def test_a_route_that_returns_what_it_did_not_declare_fails_the_run_and_names_it() -> None:
    wf = ok.Workflow("slip", input=str)

    @wf.route(to=["send"])
    def risk(input: str) -> str:
        return "sent"

    @wf.step
    def send(input: str) -> str:
        return input

    with pytest.raises(ok.RunError, match=r"route 'risk' picked 'sent'.*'send'"):
        wf.simulate("x", world=ok.World()).result()


def test_naming_an_object_shows_it(tmp_path: Path) -> None:
    wf = triage()
    world = ok.World(draft=ok.fake("x", latency=2.0), review=ok.person(60.0, approve=1.0))
    run = wf.simulate("refund", world=world)
    for drawn in (wf, run):
        shown = drawn._repr_mimebundle_()
        assert {"text/plain", "image/svg+xml"} <= shown.keys()
        for node in ("draft", "risk", "review", "send"):  # async or plain, a person or a route
            assert all(node in shown[kind] for kind in ("text/plain", "image/svg+xml"))
    exp = ok.Experiment({"one": wf}, inputs=["x"], world=world, seeds=2)
    assert "2 trials" in repr(exp)
    assert {"text/plain", "text/html"} <= exp.run()._repr_mimebundle_().keys()
    with ok.open(tmp_path / "lab.duckdb") as store:
        assert {"text/plain", "text/html"} <= ok.inbox(store)._repr_mimebundle_().keys()


def test_drawing_needs_nothing_but_python() -> None:
    for module in (ROOT / "orchkit" / "draw").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"orchkit"}
            assert not foreign, f"{module.name}:{node.lineno}"

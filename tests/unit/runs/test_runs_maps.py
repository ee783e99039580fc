"""Forks and pictures of runs with maps that stream, collect, or need only some of their items."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import orchkit as ok
from orchkit.model.records import Head
from orchkit.runs.changes import go_on_from
from orchkit.runs.fingerprint import fingerprints


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def pipeline(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("pipeline", input=list)

    @wf.map(over="input", on_error="skip")
    def fetch(item: int) -> int:
        return 10 // item

    @wf.map(over="fetch", stream=True, **options)
    def read(item: int) -> str:
        if item > 9:
            raise ValueError("too much")
        return f"read {item}"

    return wf


def test_a_fork_that_sets_the_source_streams_nothing(store: ok.Store) -> None:
    wf = pipeline()
    run = wf.start([2, 0, 5], store=store)
    assert run.result(timeout=30) == ["read 5", "read 2"]
    forked = run.fork(set={"fetch": [7, 8, 9]})
    assert forked.result(timeout=30) == ["read 7", "read 8", "read 9"]
    again = store.run(forked.id)
    assert again.log[-1].body == ["read 7", "read 8", "read 9"]


def test_a_fork_at_the_stream_keeps_the_source(store: ok.Store) -> None:
    run = pipeline().start([2, 0, 5], store=store)
    run.result(timeout=30)
    forked = run.fork(at="read")
    assert forked.result(timeout=30) == ["read 5", "read 2"]
    begun = [e.node for e in forked.log if e.kind == "started"]
    assert (begun.count("fetch"), begun.count("read")) == (3, 2)
    assert [e.item for e in forked.log if e.kind == "started" and e.node == "read"] == [0, 2]


def test_a_collected_failure_can_be_set(store: ok.Store) -> None:
    wf = pipeline(on_error="collect")

    @wf.step
    def end(read: list[str | ok.ItemFailed]) -> str:
        return ", ".join(one.error if isinstance(one, ok.ItemFailed) else one for one in read)

    run = wf.start([1, 5], store=store)
    assert run.result(timeout=30) == "ValueError: too much, read 2"
    forked = run.fork(set={"read": ["fine", ok.ItemFailed(item=1, error="ValueError: no")]})
    assert forked.result(timeout=30) == "fine, ValueError: no"


def test_a_failed_source_does_not_put_the_effects_of_its_stream_in_doubt() -> None:
    wf = ok.Workflow("w", input=list)

    @wf.map(over="input")
    async def fetch(item: int, ctx: ok.Context) -> int:
        await ctx.sleep(item)
        if item == 2:
            raise ConnectionError("down")
        return item

    @wf.map(over="fetch", stream=True, effect=True)
    def send(item: int) -> int:
        return item

    log = wf.simulate([1, 2], world=ok.World(send=ok.real)).log
    assert [(e.node, e.item) for e in log if e.kind == "completed"] == [("fetch", 0), ("send", 0)]
    graph = wf.checked()
    recorded = fingerprints(graph) | {"fetch": "another"}
    # Nothing has changed: what was sent is not sent again. A new `fetch` would send all of it again, and is refused.
    assert not go_on_from(Head("r", "w", fingerprints=fingerprints(graph)), log, graph, "rerun").news
    with pytest.raises(ok.ChangedEffect, match="'send' of run 'r' is half done"):
        go_on_from(Head("r", "w", fingerprints=recorded), log, graph, "rerun")


def test_a_picture_says_how_a_map_goes() -> None:
    def by_value(item: int) -> int:
        return item

    wf = pipeline(quorum=2, key=by_value)
    wf.approval("review", over="read")
    text = str(wf._repr_mimebundle_()["image/svg+xml"])
    for word in ("streams fetch", "quorum 2", "key by_value", "over read"):
        assert word in text
    wf = ok.Workflow("w", input=list)

    @wf.map(over="input", on_error="collect")
    def each(item: int) -> int: ...

    assert "failures collected" in str(wf._repr_mimebundle_()["image/svg+xml"])

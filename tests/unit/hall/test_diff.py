"""ok.diff: where two runs part."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.hall.comparing import Diff

WAIT = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


class Notes(BaseModel):
    said: list[str] = []


def triage(**said: Any) -> ok.Workflow:
    """Make the workflow, with another code for what `said` names."""
    wf = ok.Workflow("triage", input=str)
    wf.context(Notes, merge={"said": ok.append})
    plan_value, draft_value = said.get("plan", ["a", "b"]), said.get("draft", "Dear")

    @wf.step(version="1")
    def plan(input: str) -> list[str]:
        return plan_value

    @wf.map(over="plan", version="1")
    def lookup(item: str) -> dict[str, str]:
        return {"item": item, "note": "found"}

    @wf.step(version=said.get("version", "1"))
    def draft(lookup: list[dict[str, str]], ctx: ok.Context) -> str:
        ctx.update(said=[draft_value])
        ctx.spend(cost=said.get("cost", 0.5), tokens_in=10)
        return draft_value

    wf.approval("review", answer=bool, show="draft")

    @wf.step(effect=True, version="1")
    def send(draft: str, review: bool) -> str:
        return f"sent {draft}"

    @wf.step(version="1")
    def aside(input: str) -> str:
        return "aside"

    return wf


def run_of(store: ok.Store, wf: ok.Workflow, input: str = "x", by: str = "ana") -> ok.Run:
    run = wf.start(input, store=store).wait_settled(WAIT)
    run.answer("review", True, by=by)
    run.result(WAIT)
    return run


def told(diff: Diff, *, first: bool | None = None) -> list[tuple[str, str, Any, Any]]:
    frame = diff.frame if first is None else diff.frame[diff.frame["first"] == first]
    return [(row.node + ("" if row.item is pd.NA else f"[{row.item}]"), row.what, row.a, row.b) for row in rows(frame)]


def rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.astype({"item": object}).itertuples())


def test_two_runs_of_the_same_are_equal(store: ok.Store) -> None:
    one, other = run_of(store, triage()), run_of(store, triage())
    diff = ok.diff(one, other)
    assert not diff
    assert (diff.equal, diff.exact, len(diff.frame)) == (True, False, 0)
    assert repr(diff) == f"runs {one.id} and {other.id} are equal (canonical, without times)"
    assert list(diff.frame.columns) == ["node", "item", "what", "a", "b", "first"]
    assert "equal" in diff._repr_mimebundle_()["text/html"]
    assert sorted(diff.times.node) == ["aside", "draft", "lookup", "lookup", "lookup", "plan", "review", "send"]
    assert (diff.times.a >= 0).all()


def test_what_differs_first_comes_first_and_the_rest_follows(store: ok.Store) -> None:
    diff = ok.diff(run_of(store, triage()), run_of(store, triage(draft="Hello", cost=0.75)))
    assert told(diff, first=True) == [
        ("draft", "value", "Dear", "Hello"),
        ("draft", "writes.said[0]", "Dear", "Hello"),
        ("draft", "cost", 0.5, 0.75),
    ]
    assert ("send", "value", "sent Dear", "sent Hello") in told(diff, first=False)
    assert ("", "result.send", "sent Dear", "sent Hello") in told(diff, first=False)
    assert diff.frame["first"].tolist() == sorted(diff.frame["first"], reverse=True)
    assert {node for node, *_ in told(diff)} == {"draft", "send", "review", ""}
    assert repr(diff).splitlines()[:2] == [
        f"runs {diff._ids[0]} and {diff._ids[1]} part at draft",
        "  draft: value: 'Dear' | 'Hello'",
    ]
    assert "more in .frame: review, send, the run" in repr(diff)


def test_items_of_a_map_are_told_one_by_one(store: ok.Store) -> None:
    diff = ok.diff(run_of(store, triage()), run_of(store, triage(plan=["a", "c", "d"])))
    assert told(diff, first=True) == [("plan", "value[1]", "b", "c"), ("plan", "value[2]", pd.NA, "d")]
    follow = told(diff, first=False)
    assert ("lookup[1]", "value.item", "b", "c") in follow
    assert ("lookup[2]", "in one run only", pd.NA, "completed") in follow
    assert not [one for one in follow if one[0] == "lookup"]


def test_another_input_is_first_and_what_does_not_use_it_is_not_said_to_follow(store: ok.Store) -> None:
    diff = ok.diff(run_of(store, triage(), "x"), run_of(store, triage(), "y"))
    assert told(diff) == [("input", "value", "x", "y")]


def test_another_definition_is_told_even_of_equal_logs(store: ok.Store) -> None:
    diff = ok.diff(run_of(store, triage()), run_of(store, triage(version="2")))
    assert diff
    assert diff.equal
    ((node, what, a, b),) = told(diff, first=True)
    assert (node, what) == ("draft", "definition")
    assert a != b
    assert "part at draft; their logs are equal" in repr(diff)


def test_who_answered_is_told_though_no_receipt_knows(store: ok.Store) -> None:
    one, other = run_of(store, triage(), by="ana"), run_of(store, triage(), by="ben")
    assert one.receipt == other.receipt
    assert told(ok.diff(one, other)) == [("review", "answered by", "ana", "ben")]


def test_a_fork_parts_where_it_was_forked(store: ok.Store) -> None:
    run = run_of(store, triage())
    fork = run.fork(set={"draft": "Hi"})
    assert told(ok.diff(run, fork), first=True)[:2] == [("draft", "attempts", 1, 0), ("draft", "value", "Dear", "Hi")]
    assert ("send", "in one run only", "completed", pd.NA) in told(ok.diff(run, fork))
    fork.go()
    fork.wait_settled(WAIT)
    fork.answer("review", True)
    fork.result(WAIT)
    assert ("send", "value", "sent Dear", "sent Hi") in told(ok.diff(run, fork), first=False)


def test_runs_of_a_store_need_no_workflow(store: ok.Store) -> None:
    one, other = run_of(store, triage()), run_of(store, triage(draft="Hello"))
    diff = ok.diff(store.run(one.id), store.run(other.id))
    assert {node for node, *_ in told(diff, first=True)} == {"draft"}
    # With one of the workflows it is the same, and a live run may be compared with a stored one.
    assert told(ok.diff(one, store.run(other.id)))[0] == ("draft", "value", "Dear", "Hello")
    assert not ok.diff(one, store.run(one.id))


def world(**models: Any) -> ok.World:
    usual: dict[str, Any] = {"review": ok.person(delay=60.0, approve=1.0), "send": ok.skip_effect("sent")}
    return ok.World({**usual, "draft": ok.fake("Dear", latency=2.0), **models})


def test_simulated_runs_are_compared_with_their_times() -> None:
    wf = triage()
    one = wf.simulate("x", world=world())
    assert not ok.diff(one, wf.simulate("x", world=world()))
    slow = wf.simulate("x", world=world(draft=ok.fake("Dear", latency=5.0)))
    diff = ok.diff(one, slow)
    assert diff.exact
    assert told(diff, first=True) == [("draft", "took", 2.0, 5.0)]
    assert ("review", "began", 2.0, 5.0) in told(diff, first=False)
    assert ("", "took", 62.0, 65.0) in told(diff, first=False)
    times = diff.times.set_index("node")
    assert times.loc["draft", ["a", "b"]].tolist() == [2.0, 5.0]


def test_a_simulated_run_and_a_live_one_are_compared_without_times(store: ok.Store) -> None:
    wf = triage()
    simulated = wf.simulate("x", world=world(send=ok.real, draft=ok.real))
    diff = ok.diff(run_of(store, wf), simulated)
    assert not diff.exact
    assert not diff.frame.what.isin(["began", "took"]).any()


def test_runs_of_two_workflows_are_compared_as_far_as_that_goes(store: ok.Store) -> None:
    other = ok.Workflow("other", input=str)

    @other.step
    def draft(input: str) -> str:
        return "Dear"

    run = other.start("x", store=store)
    run.result(WAIT)
    diff = ok.diff(run_of(store, triage()), run)
    assert told(diff)[0] == ("", "workflow", "triage", "other")
    assert ("plan", "in one run only", "completed", pd.NA) in told(diff)
    assert ("send", "definition") in [(node, what) for node, what, *_ in told(diff, first=True)]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)


def test_what_models_said_is_text_on_the_page(store: ok.Store) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    diff = ok.diff(run_of(store, triage(draft=evil)), run_of(store, triage(draft=evil + '"&')))
    html = diff._repr_mimebundle_()["text/html"]
    tags = Tags()
    tags.feed(html)
    assert tags.seen == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert "&lt;" in html


def test_a_repr_stays_short_however_much_differs(store: ok.Store) -> None:
    one, other = (
        run_of(store, triage(plan=[f"{name}{n}" for n in range(60)], draft=name * 10_000)) for name in ("a", "b")
    )
    text = repr(ok.diff(one, other))
    assert len(text.splitlines()) <= 11
    assert max(map(len, text.splitlines())) < 250
    places = ok.diff(one, other).frame.query("node == 'plan'")
    assert len(places) == 21
    assert places.a.tolist()[-1] == "and more places"


def test_only_runs_are_compared(store: ok.Store) -> None:
    run = run_of(store, triage())
    with pytest.raises(ok.DefinitionError, match=r"diff\(run_b='r2'\): give an ok\.Run, such as store\.run\(run_id\)"):
        ok.diff(run, "r2")  # type: ignore[arg-type]  # that is the point


def test_comparing_changes_nothing(store: ok.Store) -> None:
    run = triage().start("x", store=store).wait_settled(WAIT)
    log = run.log
    ok.diff(run, run)
    assert run.log == log
    assert run.status == "waiting"
    run.cancel()

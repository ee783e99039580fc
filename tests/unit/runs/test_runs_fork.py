"""Forks: what a new run keeps, what it executes, and what it leaves as it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import orchkit as ok

WAIT = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def mail(ran: Counter[str], greeting: str = "Dear") -> ok.Workflow:
    """plan -> lookup (map) -> draft -> way -> send (an effect) or file; audit is beside it all."""
    wf = ok.Workflow("mail", input=str)

    @wf.step
    def plan(input: str) -> list[str]:
        ran["plan"] += 1
        return ["a", "b"]

    @wf.map(over="plan")
    def lookup(item: str) -> str:
        ran["lookup"] += 1
        return item.upper()

    @wf.step
    def draft(lookup: list[str]) -> str:
        ran["draft"] += 1
        return f"{greeting} {'+'.join(lookup)}"

    @wf.route(to=["send", "file"])
    def way(draft: str) -> str:
        ran["way"] += 1
        return "file" if "Z" in draft else "send"

    @wf.step(effect=True)
    def send(draft: str, ctx: ok.Context) -> str:
        ran["send"] += 1
        return f"{draft} sent by {ctx.idempotency_key}"

    @wf.step
    def file(draft: str) -> str:
        ran["file"] += 1
        return f"{draft} filed"

    @wf.step(effect=True)
    def audit(input: str) -> str:
        ran["audit"] += 1
        return "audited"

    return wf


def finished(store: ok.Store, ran: Counter[str]) -> ok.Run:
    run = mail(ran).start("x", store=store)
    run.result(WAIT)
    assert ran == {"plan": 1, "lookup": 2, "draft": 1, "way": 1, "send": 1, "audit": 1}
    ran.clear()
    return run


def planned(run: ok.Run) -> list[tuple[str, str, str]]:
    return [(row.node, row.why, row.effect) for row in run.plan.itertuples()]


def test_a_fork_keeps_what_does_not_follow(store: ok.Store) -> None:
    ran: Counter[str] = Counter()
    run = finished(store, ran)
    before = run.log
    new = run.fork("draft")
    assert new.id != run.id
    assert new.status == "suspended"
    assert not ran
    kept = {event.node for event in new.log}
    assert kept == {"", "plan", "lookup", "audit"}
    assert [event for event in new.log if event.node] == [event for event in before if event.node in kept - {""}]
    assert new.log[-1].kind == "suspended"
    assert planned(new) == [
        ("draft", "at", ""), ("way", "follows", ""), ("send", "follows", "new key"), ("file", "follows", ""),
    ]  # fmt: skip
    assert new.go() is new
    assert new.result(WAIT) == {"send": f"Dear A+B sent by {new.id}:send", "audit": "audited"}
    assert ran == {"draft": 1, "way": 1, "send": 1}
    assert run.log == before
    assert store._kept.events(run.id) == before
    assert store._kept.events(new.id) == new.log
    assert store.run(new.id).status == "completed"
    assert store.runs().status.tolist() == ["completed", "completed"]


def test_what_is_set_does_not_execute_and_awaiting_starts_it(store: ok.Store) -> None:
    ran: Counter[str] = Counter()
    run = finished(store, ran)
    new = run.fork(set={"lookup": ["Z"]})

    async def cell() -> Any:
        return await new

    assert asyncio.run(cell()) == {"file": "Dear Z filed", "audit": "audited"}
    assert ran == {"draft": 1, "way": 1, "file": 1}
    (given,) = (event for event in new.log if event.status == "set")
    assert (given.kind, given.node, given.attempt, given.body) == ("completed", "lookup", 0, ["Z"])
    assert [event.kind for event in new.log if event.node == "lookup"] == ["completed", "settled"]


def test_a_route_can_be_set(store: ok.Store) -> None:
    ran: Counter[str] = Counter()
    new = finished(store, ran).fork(set={"way": "file"})
    assert [row[0] for row in planned(new)] == ["send", "file"]
    assert new.result(WAIT) == {"file": "Dear A+B filed", "audit": "audited"}
    assert ran == {"file": 1}


def test_at_and_set_together(store: ok.Store) -> None:
    ran: Counter[str] = Counter()
    new = finished(store, ran).fork("audit", set={"draft": "Z"})
    assert new.result(WAIT) == {"file": "Z filed", "audit": "audited"}
    assert ran == {"way": 1, "file": 1, "audit": 1}


def test_effects_can_be_left_undone(store: ok.Store) -> None:
    ran: Counter[str] = Counter()
    new = finished(store, ran).fork("draft", effects="skip")
    assert ("send", "follows", "skipped") in planned(new)
    assert new.result(WAIT) == {"audit": "audited"}
    assert ran == {"draft": 1, "way": 1}
    assert [(e.kind, e.status) for e in new.log if e.node == "send"] == [("skipped", "effect")]
    assert new.status == "completed"


def test_other_code_can_be_given(store: ok.Store) -> None:
    ran: Counter[str] = Counter()
    run = finished(store, ran)
    new = store.run(run.id).fork("draft", workflow=mail(ran, greeting="Hello"))
    assert new.result(WAIT)["send"].startswith("Hello A+B")
    with pytest.raises(ok.RunError, match=r"holds no code: pass run\.fork\(\.\.\., workflow=wf\)"):
        store.run(run.id).fork("draft")


def test_a_failed_run_can_be_forked(store: ok.Store) -> None:
    ran: Counter[str] = Counter()
    broken = [True]
    wf = mail(ran)

    @wf.step
    def draft(lookup: list[str]) -> str:
        if broken:
            raise ConnectionError("down")
        return "Z"

    run = wf.start("x", store=store)
    with pytest.raises(ok.RunError, match="down"):
        run.result(WAIT)
    broken.clear()
    assert run.fork("draft").result(WAIT)["file"] == "Z filed"
    # One that keeps the failure goes on after it, as a resume would.
    new = run.fork("audit")
    assert ("draft", "failed", "") in planned(new)
    assert new.result(WAIT)["file"] == "Z filed"
    assert run.status == "failed"


def test_a_run_that_waits_can_be_forked_and_its_question_goes_along(store: ok.Store) -> None:
    wf = ok.Workflow("asks", input=str)

    @wf.step
    def draft(input: str) -> str:
        return f"Dear {input}"

    @wf.step
    def beside(input: str) -> str:
        return input

    wf.approval("review", answer=bool, show="draft", timeout=3600.0)
    run = wf.start("x", store=store).wait_settled(WAIT)
    new = run.fork("beside")
    assert new.pending() == ["review"]
    assert sorted(row[:2] for row in planned(new)) == [("beside", "at"), ("review", "open")]
    new.go().wait_settled(WAIT)
    asked = [[event for event in one.log if event.kind == "asked"] for one in (run, new)]
    assert asked[0] == asked[1]
    new.answer("review", True)
    assert new.result(WAIT) == {"review": True, "beside": "x"}
    assert run.status == "waiting"
    run.answer("review", False)
    assert run.result(WAIT)["review"] is False


def test_a_fork_can_be_resumed_by_its_id_and_forked_again(store: ok.Store) -> None:
    ran: Counter[str] = Counter()
    run = finished(store, ran)
    new = run.fork("draft")
    again = store.resume(new.id, mail(ran))
    assert again.result(WAIT)["audit"] == "audited"
    assert new.status == "completed"
    assert new.go().result(WAIT) == again.result()
    third = new.fork(set={"draft": "Z"})
    assert third.result(WAIT)["file"] == "Z filed"


def test_runs_in_memory_can_be_forked_and_know_their_parent() -> None:
    ran: Counter[str] = Counter()
    run = mail(ran).start("x", durability="memory")
    run.result(WAIT)
    new = run.fork("way")
    assert new.result(WAIT)["audit"] == "audited"
    assert new._handle.head.parent == run.id
    assert ran["send"] == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "say where it forks"),
        ({"at": "drat"}, "'drat', which is no node of the workflow; did you mean 'draft'"),
        ({"set": {"nobody": 1}}, "'nobody', which is no node"),
        ({"set": {"draft": 7}}, r"fork\(set=\{'draft': ...\}\) is not what 'draft' delivers"),
        ({"set": {"lookup": "A"}}, "is not what 'lookup' delivers"),
        ({"set": {"way": "away"}}, "not among its targets"),
        ({"set": ["draft"]}, "give a dict"),
        ({"at": "draft", "effects": "maybe"}, "effects='maybe'"),
        ({"at": "draft", "workflow": "mail"}, "give the ok.Workflow"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], says: str) -> None:
    run = mail(Counter()).start("x", durability="memory")
    run.result(WAIT)
    with pytest.raises(ok.DefinitionError, match=says):
        run.fork(**arguments)


def test_a_simulated_run_is_simulated_again_instead() -> None:
    wf = ok.Workflow("sim", input=str)

    @wf.step
    def step(input: str) -> str:
        return input

    run = wf.simulate("x", world=ok.World())
    with pytest.raises(ok.RunError, match="simulate again with a world"):
        run.fork("step")
    with pytest.raises(ok.RunError, match="is no fork"):
        _ = run.plan
    with pytest.raises(ok.RunError, match="is no fork"):
        run.go()


def test_deps_come_from_the_run_or_from_go() -> None:
    wf = ok.Workflow("deps", input=str)

    @wf.step
    def first(input: str) -> str:
        return input

    @wf.step
    def who(first: str, ctx: ok.Context) -> str:
        return f"{first} by {ctx.deps}"

    run = wf.start("x", durability="memory", deps="dana")
    run.result(WAIT)
    assert run.fork("who").result(WAIT) == "x by dana"
    new = run.fork("who")
    assert new.fork(set={"first": "y"}).result(WAIT) == "y by dana"
    assert new.go(deps="kim").result(WAIT) == "x by kim"


def test_a_fork_that_somebody_resumed_by_its_id_is_that_run(store: ok.Store) -> None:
    wf = ok.Workflow("asks", input=str)
    wf.approval("review", answer=bool)
    run = wf.start("x", store=store).wait_settled(WAIT)
    run.answer("review", True)
    run.result(WAIT)
    new = run.fork("review")
    resumed = store.resume(new.id, wf).wait_settled(WAIT)
    assert new.status == "waiting"
    new.go().answer("review", False)
    assert resumed.result(WAIT) is False
    assert new.result(WAIT) is False


def test_an_effect_that_was_cut_off_gets_a_new_key_and_one_that_is_done_stays_done(store: ok.Store) -> None:
    ran: Counter[str] = Counter()
    wf = ok.Workflow("cut", input=str)

    @wf.step(effect=True)
    def done(input: str, ctx: ok.Context) -> str:
        ran["done"] += 1
        return ctx.idempotency_key

    @wf.step(effect=True)
    def cut(input: str, done: str, ctx: ok.Context) -> str:
        ran["cut"] += 1
        return ctx.idempotency_key

    @wf.step
    def beside(input: str) -> str:
        return input

    crash = ok.Faults(ok.faults.crash(after=7))
    run = wf.start("x", store=store, faults=crash)
    with pytest.raises(ok.RunCrashed):
        run.result(WAIT)
    assert run.log[-1].kind == "started"
    assert run.log[-1].node == "cut"
    skipping = run.fork("beside", effects="skip")
    assert sorted(planned(skipping)) == [("beside", "at", ""), ("cut", "not begun", "skipped")]
    assert skipping.result(WAIT) == {"beside": "x"}
    new = run.fork("beside")
    assert ("cut", "open", "new key") in planned(new)
    assert new.result(WAIT) == {"cut": f"{new.id}:cut", "beside": "x"}
    assert ran == {"done": 1, "cut": 1}

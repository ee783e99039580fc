"""wf.check: crash after every record, resume, and say what comes of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.model.events import FINAL, Event
from orchkit.runs.crashcheck import _attempt_of, _Before, _executed_again, _started_again, crash_points
from orchkit.testing import every_prefix


class Decision(BaseModel):
    approve: bool


@ok.step
def search(question: str) -> str:
    return f"found {question}"


def refunds() -> ok.Workflow:
    """Make a workflow with a map, routes, retries, a call, an approval, an effect, and a body that calls."""
    inner = ok.Workflow("polishing", input=str)

    @inner.step
    async def shorten(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(1)
        return input[:20]

    wf = ok.Workflow("refunds", input=str)

    @wf.step
    def plan(input: str) -> list[str]:
        return input.split()

    @wf.map(over="plan", limit=2, retry=ok.Retry(3, wait=ok.backoff(base=1.0, jitter="full")))
    async def lookup(item: str, ctx: ok.Context) -> str:
        await ctx.sleep(ctx.random.uniform(1, 3))
        if item == "bad" and ctx.attempt < 3:
            raise ConnectionError("down")
        return await ctx.call(search, item)

    @wf.step
    def draft(lookup: list[str]) -> str:
        return ", ".join(lookup)

    wf.call("polish", inner, input="draft")

    @wf.route(to=["send", "review"])
    def risk(polish: str) -> str:
        return "review"

    wf.approval("review", answer=Decision, show="polish", timeout=7200.0)

    @wf.route(to=["send", "apologise"])
    def verdict(review: Decision | None) -> str:
        return "send" if review and review.approve else "apologise"

    @wf.step(effect=True)
    def send(polish: str, ctx: ok.Context) -> str:
        return ctx.idempotency_key

    @wf.step
    def apologise(input: str) -> str:
        return "sorry"

    return wf


WORLD = ok.World(review=ok.person(600.0, approve=1.0), send=ok.real)


def counting() -> ok.Workflow:
    """Make a workflow with a body that gives something else each time."""
    wf, starts = ok.Workflow("counting", input=str), [0]

    @wf.step
    async def ticket(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(1)
        starts[0] += 1
        return f"<b>ticket {starts[0]}</b>"

    @wf.step
    def show(ticket: str) -> str:
        return f"your {ticket}"

    return wf


# Runs that hold


def test_a_workflow_with_nearly_everything_ends_equal_after_each_crash() -> None:
    report = refunds().check("a bad cat", world=WORLD)
    whole = refunds().simulate("a bad cat", world=WORLD).log
    assert (report.ok, bool(report), report.differences) == (True, True, ()), report
    assert report.points == report.total == len(whole) - 1
    assert 0 < report.exact < report.points  # bodies that take time take it again
    assert report.frame.empty


def test_what_was_in_flight_is_listed_with_its_key_and_the_records_after_which_it_began_again() -> None:
    wf = refunds()
    report = wf.check("a bad cat", world=WORLD)
    log = wf.simulate("a bad cat", world=WORLD).log
    cut = {(one.node, one.item, one.attempt): one for one in report.repeated}
    nodes = {(event.node, event.item, event.attempt) for event in log if event.kind == "started"}
    assert cut.keys() == nodes - {("polish", -1, 1)}  # a node that holds a workflow goes on inside
    for one in report.repeated:
        for after in one.after:
            in_flight = Counter((e.kind, e.node, e.item, e.attempt) for e in log[:after])
            assert in_flight["started", one.node, one.item, one.attempt] == 1
            assert not in_flight["completed", one.node, one.item, one.attempt]
    send = cut["send", -1, 1]
    assert (send.key, send.effect) == (wf.simulate("a bad cat", world=WORLD).result(), True)
    assert report.doubled == (send,)
    assert cut["lookup", 1, 3].key == ""
    assert "polish/shorten" in {one.node for one in report.repeated}


def test_modelled_attempts_are_listed_too_and_equal_to_the_last_digit() -> None:
    wf = refunds()
    slow = ok.dist.lognormal(p50=3, p99=30)
    world = ok.World(
        {"polish/shorten": ok.fake("short", latency=slow)},
        plan=ok.fake(["a", "b"], latency=slow),
        lookup=ok.fake("found", latency=slow, error=0.3),
        draft=ok.fake("drafted", latency=slow),
        risk=ok.fake("review"),
        review=ok.person(slow, approve=1.0),
        verdict=ok.fake("send"),
        send=ok.skip_effect("sent"),
    )
    report = wf.check("x", world=world, faults=ok.Faults(ok.faults.slow("plan", add=2.0)), seed=3)
    assert report.ok, report
    assert report.exact == report.points
    assert {one.node for one in report.repeated} >= {"plan", "lookup", "draft", "polish/shorten", "send"}
    assert [one.node for one in report.doubled] == ["send"]


@pytest.mark.parametrize("loop", [False, True])
def test_neither_a_loop_nor_a_modelled_call_is_mistaken_for_the_other(loop: bool) -> None:
    body = ok.Workflow("body", input=str)

    @body.step
    def trim(input: str) -> str:
        return input[:-1]

    def short(result: str, round: int) -> bool:
        return len(result) < 3

    wf = ok.Workflow("outer", input=str)
    if loop:
        wf.loop("inner", body=body, until=short, max=9)
    else:
        wf.call("inner", body)
    whole = wf.check("hello", world=ok.World())
    assert {one.node.partition("/")[2] for one in whole.repeated} == {"trim"}
    modelled = wf.check("hello", world=ok.World(inner=ok.fake("he", latency=1.0)))
    assert [one.node for one in modelled.repeated] == ["inner"]


def test_what_is_cancelled_at_once_has_not_started_again() -> None:
    wf = ok.Workflow("race", input=str)

    @wf.step
    def fails(input: str) -> str: ...
    @wf.step
    def waits(input: str) -> str: ...

    world = ok.World(fails=ok.fake("", latency=1.0, error=1.0), waits=ok.fake("", latency=9.0))
    log = wf.simulate("x", world=world).log
    settled = next(i for i, event in enumerate(log, 1) if (event.kind, event.node) == ("settled", "fails"))
    report = wf.check("x", world=world)
    assert report.ok
    assert settled not in next(one for one in report.repeated if one.node == "waits").after


def test_an_undo_is_an_effect_that_may_come_twice() -> None:
    wf = ok.Workflow("order", input=str)

    def refund(charge: str) -> None: ...

    @wf.step(effect=True, undo=refund)
    def charge(input: str) -> str: ...
    @wf.step
    def ship(charge: str) -> str: ...

    world = ok.World(
        {"charge/undo:refund": ok.fake(None, latency=1.0)},
        charge=ok.skip_effect("receipt"),
        ship=ok.fake("", latency=1.0, error=1.0),
    )
    report = wf.check("x", world=world)
    assert report.ok, report
    assert [one.node for one in report.doubled] == ["charge", "charge/undo:refund"]


def test_an_effect_acts_under_one_key_in_all_resumed_runs() -> None:
    wf, keys, acts = ok.Workflow("paying", input=str), set(), []

    @wf.step(effect=True)
    def pay(input: str, ctx: ok.Context) -> str:
        acts.append(ctx.attempt)
        keys.add(ctx.idempotency_key)
        return f"{ctx.run_id}: paid {len(keys)} time"

    @wf.step
    def tell(pay: str) -> str:
        return pay

    report = wf.check("x", world=ok.World(pay=ok.real))
    assert report.ok, report
    assert len(acts) > 1
    assert {one.key for one in report.doubled} == keys


def test_an_injected_crash_comes_in_the_resumed_runs_as_well() -> None:
    wf = refunds()
    log = wf.simulate("a bad cat", world=WORLD).log
    for record in (3, 11, len(log) - 2):
        report = wf.check("a bad cat", world=WORLD, faults=ok.Faults(ok.faults.crash(after=record)))
        assert report.ok, report


@pytest.mark.parametrize("absent", [0.0, 1.0])
def test_a_run_that_fails_or_never_ends_does_so_after_each_crash(absent: float) -> None:
    wf = ok.Workflow("asking", input=str)
    wf.approval("review", answer=Decision)

    @wf.step
    def send(review: Decision) -> str:
        raise ConnectionError("down")

    report = wf.check("x", world=ok.World(review=ok.person(5.0, approve=1.0, absent=absent)))
    assert report.ok, report
    assert report.points == report.exact > 1


# Defects


def test_a_body_that_gives_something_else_each_time_is_found() -> None:
    report = counting().check("x", world=ok.World())
    assert not report.ok
    assert not report
    assert len(report.differences) == 2  # after `run_started`, and while it was in flight
    assert report.differences[0] == (
        "crash after record 1 (run_started): ticket: value: '<b>ticket 1</b>' without it, '<b>ticket 2</b>' resumed"
    )
    first = report.frame.query("first")
    assert first[["after", "node", "what"]].values.tolist() == [[1, "ticket", "value"], [2, "ticket", "value"]]
    assert "without any crash a second run differs too, at ticket: what a step gives must follow" in repr(report)


def test_a_body_that_gives_something_else_on_its_second_start_is_found_where_it_was_cut() -> None:
    wf, begun = ok.Workflow("once", input=str), Counter[str]()

    @wf.step
    def plan(input: str) -> str:
        begun.clear()
        return input

    @wf.step(effect=True)
    def pay(plan: str, ctx: ok.Context) -> str:
        begun[ctx.idempotency_key] += 1
        return "paid" if begun[ctx.idempotency_key] == 1 else "paid again"

    report = wf.check("x", world=ok.World(pay=ok.real))
    assert not report.ok
    assert {one.node for one in report.repeated} == {"plan", "pay"}
    # Where `plan` goes before, `pay` starts for the first time there too.
    assert set(report.frame.after) == {3, 4}
    assert "pay came to something else when started again: what a step gives must follow" in repr(report)


def test_a_body_that_calls_something_else_is_told_in_the_words_of_its_error() -> None:
    wf, starts = ok.Workflow("agent", input=str), [0]

    @wf.step
    async def agent(input: str, ctx: ok.Context) -> str:
        starts[0] += 1
        return await ctx.call(search, f"question {starts[0]}")

    report = wf.check("x", world=ok.World())
    assert not report.ok
    told = next(line for line in report.differences if "ReplayMismatch" in line)
    assert "the log says that 'agent' called" in told
    assert "ctx.random resumed" in told  # to its end, where it says how to mend it
    assert report.frame.query("what == 'resuming'").node.unique().tolist() == ["agent"]


def test_an_error_that_only_a_resumed_run_comes_to_is_a_difference() -> None:
    wf, starts = ok.Workflow("odd", input=str), [0]

    def guess(inputs: dict[str, Any], rng: Any) -> Any:
        starts[0] += 1
        return "fits" if starts[0] == 1 else {"fits": "no more"}

    @wf.step
    def guessed(input: str) -> str: ...

    with pytest.raises(ok.SimulationError, match="does not fit the step"):  # without a run nothing can be said
        wf.check("x", world=ok.World(guessed=ok.fake({"fits": "never"})))
    report = wf.check("x", world=ok.World(guessed=ok.fake(guess)))
    assert report.points == len(report.differences) + 1  # all but the crash after its end was recorded
    assert all("SimulationError: the world's value for 'guessed' does not fit" in line for line in report.differences)


def test_time_that_a_cut_body_takes_anew_is_named_as_such() -> None:
    wf = ok.Workflow("hedging", input=str)

    @wf.step
    def other(input: str) -> str: ...

    @wf.step(hedge=ok.Hedge(after=3.0))
    async def hedged(input: str, ctx: ok.Context) -> str:
        await ctx.sleep(2.5)
        return "done"

    report = wf.check("x", world=ok.World(other=ok.fake("", latency=2.0)))
    assert report.frame.query("first")[["node", "what", "a", "b"]].values.tolist() == [["hedged", "attempts", 1, 2]]
    assert "hedged took time anew when started again" in repr(report)
    assert wf.check("x", world=ok.World(other=ok.fake("", latency=2.0), hedged=ok.fake("", latency=2.5))).ok


def test_what_has_a_recorded_outcome_and_executes_again_is_a_failure() -> None:
    before = _Before()
    log = [
        Event(0, "started", "a", attempt=1),
        Event(1, "completed", "a", attempt=1, status=FINAL),
        Event(1, "started", "b", 2, attempt=1),
    ]
    for event in log:
        before.take(event)
    done, cut = _attempt_of(log[0]), _attempt_of(log[2])
    assert list(before.open) == [cut]
    assert not [*_executed_again(before, [cut])]
    again = [*_executed_again(before, [done, cut, cut])]
    assert [(one.node, one.item, one.what, one.a) for one in again] == [
        ("a", -1, "executed again", "its outcome was recorded"),
        ("b", 2, "executed again", "its body had begun in the same run"),
    ]
    undo, anew = Event(2, "started", "a/undo:x", attempt=1), Event(2, "started", "a/fallback:x", attempt=1)
    assert [one.node for one in _started_again(before, [undo, anew])] == ["a/fallback:x"]


# Points


def test_points_are_an_even_sample_with_both_ends() -> None:
    assert crash_points(5) == crash_points(5, 5) == crash_points(5, 9) == [1, 2, 3, 4, 5]
    assert crash_points(4031, 200)[::199] == [1, 4031]
    assert len(set(crash_points(4031, 200))) == 200
    assert crash_points(7, 1) == [1]
    assert crash_points(0) == []


def test_a_sample_says_what_it_is_a_sample_of() -> None:
    report = refunds().check("a bad cat", world=WORLD, points=5)
    assert (report.points, report.ok) == (5, True)
    assert repr(report).startswith(
        f"check of 'refunds': 5 of {report.total} crash points, every resumed run ends equal"
    )


# What it looks like


def test_the_report_is_a_value_that_reads_the_same_each_time() -> None:
    texts = {repr(refunds().check("a bad cat", world=WORLD)) for _ in range(2)}
    assert len(texts) == 1
    lines = texts.pop().splitlines()
    assert lines[0] == "check of 'refunds': 47 crash points, every resumed run ends equal"
    assert lines[2].startswith("  14 attempts were cut and started again: plan, lookup (5), ")
    assert lines[3] == "  1 of them is an effect, which its receiver has to know again by its key:"
    report = refunds().check("a bad cat", world=WORLD)
    with pytest.raises(AttributeError):
        report.workflow = "another"  # type: ignore[misc]  # that is the point


def test_what_models_said_is_text_and_never_markup() -> None:
    bundle = counting().check("x", world=ok.World())._repr_mimebundle_()
    assert "<b>ticket 1</b>" in bundle["text/plain"]
    assert "<b>" not in bundle["text/html"]
    assert "&lt;b&gt;ticket 1" in bundle["text/html"]
    assert "<table>" in bundle["text/html"]
    assert "<table>" not in refunds().check("a", world=WORLD)._repr_mimebundle_()["text/html"]


def test_many_differences_are_shown_in_part() -> None:
    wf, starts = ok.Workflow("many", input=list), [0]

    @wf.step
    def plan(input: list[int]) -> list[int]:
        return input

    @wf.map(over="plan")
    def ticket(item: int) -> int:
        starts[0] += 1
        return starts[0]

    text = repr(wf.check(list(range(12)), world=ok.World()))
    assert "  4 more in .frame\n" in text
    assert len(text.splitlines()) < 15


# What is refused


def test_the_same_worlds_are_refused_as_by_simulate_before_anything_runs() -> None:
    wf, ran = ok.Workflow("real", input=str), []

    @wf.step
    def plan(input: str) -> str:
        ran.append(input)
        return input

    wf.approval("review", answer=Decision, show="plan")

    @wf.step(effect=True)
    def send(plan: str, review: Decision) -> str:
        ran.append("sent")
        return "sent"

    worlds = [
        ok.World(review=ok.person(1.0, approve=1.0)),
        ok.World(send=ok.real),
        ok.World(sned=ok.real, send=ok.real, review=ok.person(1.0, approve=1.0)),
    ]
    for world in worlds:
        with pytest.raises(ok.SimulationError) as simulated:
            wf.simulate("x", world=world)
        with pytest.raises(ok.SimulationError) as checked:
            wf.check("x", world=world)
        assert str(checked.value) == str(simulated.value)
    assert not ran


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"world": None}, r"check\(world=None\): give an ok\.World"),
        ({"seed": "1"}, "check: seed='1'; give an integer"),
        ({"points": 0}, "check: points=0; give how many, a whole number from 1, or None for all"),
        ({"points": 2.5}, "check: points=2.5"),
        ({"faults": "storm"}, r"faults='storm': give an ok\.Faults"),
        ({"faults": ok.Faults(ok.faults.fail("nowhere"))}, "hits nothing in workflow 'counting'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ok.DefinitionError, match=words):
        counting().check("x", **{"world": ok.World(), **wrong})


def test_an_input_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ok.DefinitionError, match="the input does not fit workflow 'counting'"):
        counting().check(3, world=ok.World())


def test_every_prefix_is_the_same_check() -> None:
    wf = refunds()
    assert every_prefix(wf, "a bad cat", world=WORLD, seed=1) == wf.check("a bad cat", world=WORLD, seed=1)

"""Forks within what a run holds: loops, calls in calls, items, what failed and what waits; and each prefix of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import orchkit as ok
from orchkit.clock.dice import base_of
from orchkit.engine.program import Program
from orchkit.model.events import canonical_digest, decode_log, encode_log
from orchkit.runs.simulate import continue_virtual

WAIT = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def good(result: str, round: int) -> bool:
    return round == 3


class Lab:
    """A workflow with a loop, a call that holds a call, a map and effects, and how often each of its bodies ran."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        self.says: dict[str, str] = {}
        self.keys: list[str] = []

    def act(self, ctx: ok.Context, value: str) -> str:
        name = ctx.node if ctx.item is None else f"{ctx.node}[{ctx.item}]"
        self.ran[name] += 1
        value = self.says.get(name, value)
        if value == "fail":
            raise ValueError(f"{name} was told to")
        return value

    def workflow(self) -> ok.Workflow:
        deepest = ok.Workflow("deepest", input=str)

        @deepest.step
        async def fetch(input: str, ctx: ok.Context) -> str:
            return self.act(ctx, f"f({input})")

        @deepest.step(effect=True)
        async def put(fetch: str, ctx: ok.Context) -> str:
            self.keys.append(ctx.idempotency_key)
            return self.act(ctx, f"p({fetch})")

        deep = ok.Workflow("deep", input=str)
        deep.call("low", deepest, input="input")

        @deep.step
        async def after(low: str, ctx: ok.Context) -> str:
            return self.act(ctx, f"a({low})")

        better = ok.Workflow("better", input=str)

        @better.step
        async def critic(input: str, ctx: ok.Context) -> str:
            return self.act(ctx, f"{input}!")

        wf = ok.Workflow("all", input=str)
        wf.call("high", deep, input="input")
        wf.loop("polish", body=better, input="high", until=good, max=3)

        @wf.step
        async def words(input: str, ctx: ok.Context) -> list[str]:
            return [self.act(ctx, "a"), "b", "c"]

        @wf.map(over="words")
        async def lookup(item: str, ctx: ok.Context) -> str:
            return self.act(ctx, item.upper())

        @wf.step
        async def end(polish: str, lookup: list[str], ctx: ok.Context) -> str:
            return self.act(ctx, f"{polish} {''.join(lookup)}")

        return wf

    def finished(self, store: ok.Store) -> ok.Run:
        run = self.workflow().start("x", store=store)
        assert run.result(WAIT) == "a(p(f(x)))!!! ABC"
        self.ran.clear()
        return run

    def failed(self, store: ok.Store) -> ok.Run:
        self.says["high/low/put"] = "fail"
        run = self.workflow().start("x", store=store)
        with pytest.raises(ok.RunError, match="was told to"):
            run.result(WAIT)
        self.says.clear()
        self.ran.clear()
        return run


ROUNDS = ["polish#1/critic", "polish#2/critic", "polish#3/critic"]


@pytest.mark.parametrize(
    ("at", "says", "executed", "result"),
    [
        ("high/low/fetch", "F", ["high/low/fetch", "high/low/put", "high/after", *ROUNDS, "end"], "a(p(F))!!! ABC"),
        ("high/low/put", "P", ["high/low/put", "high/after", *ROUNDS, "end"], "a(P)!!! ABC"),
        ("high/low", "", ["high/low/fetch", "high/low/put", "high/after", *ROUNDS, "end"], "a(p(f(x)))!!! ABC"),
        ("high/after", "", ["high/after", *ROUNDS, "end"], "a(p(f(x)))!!! ABC"),
        ("polish#2/critic", "two", [*ROUNDS[1:], "end"], "two! ABC"),
        ("polish#2/critic", "", ["polish#2/critic", "end"], "a(p(f(x)))!!! ABC"),
        ("polish#3/critic", "", ["polish#3/critic", "end"], "a(p(f(x)))!!! ABC"),
        ("lookup[1]", "Z", ["lookup[1]", "end"], "a(p(f(x)))!!! AZC"),
    ],
)
def test_what_it_names_and_what_follows_executes_and_nothing_else(
    store: ok.Store, at: str, says: str, executed: list[str], result: str
) -> None:
    lab = Lab()
    run = lab.finished(store)
    before = run.log
    lab.says = {at: says} if says else {}
    new = run.fork(at)
    assert not lab.ran
    planned = [row.node for row in new.plan.itertuples()]
    assert new.result(WAIT) == result
    assert sorted(lab.ran.elements()) == sorted(executed)
    for name in executed:
        assert any(one in (name, name.partition("[")[0], name.partition("#")[0]) or at == one for one in planned), name
    assert run.log == before
    assert store.run(new.id).status == "completed"


def test_what_is_set_within_does_not_execute(store: ok.Store) -> None:
    lab = Lab()
    new = lab.finished(store).fork(set={"high/low/fetch": "S", "lookup[2]": "Q"})
    assert new.result(WAIT) == "a(p(S))!!! ABQ"
    assert lab.ran["high/low/fetch"] == lab.ran["lookup[2]"] == 0
    assert lab.ran["high/low/put"] == 1


def test_an_effect_within_has_a_key_of_the_new_runs_own_and_the_plan_says_so(store: ok.Store) -> None:
    lab = Lab()
    run = lab.finished(store)
    new = run.fork("high/low/fetch")
    assert new.plan[["node", "why", "effect"]].values.tolist()[:3] == [
        ["high/low/fetch", "at", ""], ["high/low/put", "follows", "new key"], ["high/after", "follows", ""],
    ]  # fmt: skip
    new.result(WAIT)
    assert lab.keys == [f"{run.id}:high/low/put", f"{new.id}:high/low/put"]


def test_effects_within_can_be_left_undone(store: ok.Store) -> None:
    lab = Lab()
    new = lab.finished(store).fork("high/low/fetch", effects="skip")
    assert ["high/low/put", "follows", "skipped"] in new.plan[["node", "why", "effect"]].values.tolist()
    new.go().wait_settled(WAIT)
    assert lab.ran["high/low/put"] == 0
    assert lab.ran["high/low/fetch"] == 1


def test_a_run_that_failed_within_is_forked_there(store: ok.Store) -> None:
    lab = Lab()
    run = lab.failed(store)
    assert run.fork("high/low/fetch").result(WAIT) == "a(p(f(x)))!!! ABC"
    assert (lab.ran["high/low/fetch"], lab.ran["high/low/put"]) == (1, 1)


def test_a_fork_elsewhere_says_that_what_failed_within_goes_on(store: ok.Store) -> None:
    lab = Lab()
    run = lab.failed(store)
    new = run.fork("words")
    assert "high" in new.plan.node.tolist()
    assert new.result(WAIT) == "a(p(f(x)))!!! ABC"


def test_a_question_within_that_waits_goes_along(store: ok.Store) -> None:
    inner = ok.Workflow("inner", input=str)

    @inner.step
    async def draft(input: str) -> str:
        return input.upper()

    inner.approval("sure", answer=bool, show="draft")
    wf = ok.Workflow("asks", input=str)
    wf.call("hold", inner)
    run = wf.start("x", store=store).wait_settled(WAIT)
    new = run.fork(set={"hold/draft": "other"}).go().wait_settled(WAIT)
    assert new.question("hold/sure") == "other"
    new.answer("hold/sure", True)
    assert new.result(WAIT) is True
    assert run.pending() == ["hold/sure"]


def test_a_fork_within_killed_after_any_record_comes_to_the_same_log(store: ok.Store) -> None:
    lab = Lab()
    run = lab.finished(store)
    program = Program(lab.workflow().checked())
    for at, says in (
        ("high/low/fetch", {"high/low/fetch": "F"}),
        ("polish#2/critic", {}),
        ("lookup[1]", {"lookup[1]": "Z"}),
    ):
        lab.says = says
        new = run.fork(at)
        new.result(WAIT)
        log = new.log
        begin = next(i for i, event in enumerate(log) if event.kind == "suspended") + 1
        for cut in range(begin, len(log)):
            prefix = decode_log(encode_log(log[:cut]))
            again = continue_virtual(program, new.id, base_of(0, new.id), prefix).events
            assert canonical_digest(again) == canonical_digest(log), f"{at}: cut at {cut}"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"at": "high/lo"}, ok.DefinitionError, "fork('high/lo'): no node of 'high' is called 'lo'"),
        ({"at": "hig/low"}, ok.DefinitionError, "fork('hig/low'): no node is called 'hig'"),
        ({"at": "end/x"}, ok.DefinitionError, "'end' holds no workflow"),
        ({"at": "lookup[7]"}, ok.RunError, "fork('lookup[7]'"),
        ({"at": "polish#9/critic"}, ok.RunError, "'polish#9' has not begun"),
        ({"at": "high[0]/low"}, ok.RunError, "'high[0]' has not begun"),
        ({"set": {"high/low/fetch": 3}}, ok.DefinitionError, "the value is not what 'high/low/fetch' delivers"),
        (
            {"at": "high", "set": {"high/low/fetch": "x"}},
            ok.DefinitionError,
            "'high' begins anew because of",
        ),
        ({"at": "high/low/fetch", "set": {"polish#1/critic": "x"}}, ok.DefinitionError, "'polish' begins anew"),
        ({"at": "high/low/fetch", "set": {"high/after": "x"}}, ok.DefinitionError, "follows from what else is named"),
    ],
)
def test_what_makes_no_sense_is_refused(store: ok.Store, arguments: dict[str, Any], error: Any, says: str) -> None:
    run = Lab().finished(store)
    with pytest.raises(error) as raised:
        run.fork(**arguments)
    assert says in str(raised.value)
    assert store.runs().run.tolist() == [run.id]

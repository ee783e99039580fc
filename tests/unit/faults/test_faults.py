"""Faults: who is hit, when, and that what is recorded as injected is exactly what happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchkit as ok
from orchkit.clock.dice import Stream, base_of, path_of
from orchkit.engine.program import Program
from orchkit.faults.plan import Trigger
from orchkit.model.events import Event, exact_digest
from orchkit.runs import live
from orchkit.runs.simulate import _drive
from orchkit.store.memory import MemoryStore

faults = ok.faults
NOW = ok.backoff(base=0.0)


def flow(fail_over: bool = False) -> ok.Workflow:
    """A plan, a map over it and a draft, all retried at once, with a time-out of 20 s."""
    wf = ok.Workflow("triage", input=str)

    @wf.step(retry=ok.Retry(3, wait=NOW), timeout=20.0, tags=["cheap"], provider="llm:a")
    async def plan(input: str) -> list[str]:
        return ["a", "b", "c"]

    @wf.map(over="plan", retry=ok.Retry(3, wait=NOW), timeout=20.0, tags=["cheap", "tool"])
    async def lookup(item: str) -> str:
        return item

    @wf.step(retry=ok.Retry(3, wait=NOW), timeout=20.0, provider="llm:b", fallback=canned if fail_over else None)
    async def draft(lookup: list[str]) -> str:
        return "".join(lookup)

    return wf


async def canned(lookup: list[str]) -> str:
    return "canned"


WORLD = ok.World(
    plan=ok.fake(["a", "b", "c"], latency=2.0), lookup=ok.fake("x", latency=1.0), draft=ok.fake("xyz", latency=3.0)
)


def attempts(log: list[Event], kind: str) -> list[tuple[Any, ...]]:
    return [(e.node, e.item, e.attempt, e.status) for e in log if e.kind == kind]


def injected(log: list[Event]) -> list[tuple[Any, ...]]:
    return [(e.node, e.item, e.attempt, e.body[0], e.status, e.body[1]) for e in log if e.kind == "injected"]


def simulated(*plan: Any, seed: int = 0, wf: ok.Workflow | None = None) -> list[Event]:
    return (wf or flow()).simulate("x", world=WORLD, faults=ok.Faults(*plan), seed=seed).log


# Who is hit


@pytest.mark.parametrize(
    ("target", "hit"),
    [
        ("plan", {"plan"}),
        ("p*", {"plan"}),
        ("?????", {"draft"}),
        ("*", {"plan", "lookup", "draft"}),
        ("[pl]*", {"plan", "lookup"}),
        ("cheap", {"plan", "lookup"}),
        ("tool", {"lookup"}),
        ("llm:a", {"plan"}),
        ("llm:b", {"draft"}),
    ],
)
def test_a_target_is_a_path_with_wildcards_or_a_tag_or_a_provider(target: str, hit: set[str]) -> None:
    log = simulated(faults.slow(target, add=1.0))
    assert {e.node for e in log if e.kind == "injected"} == hit


@pytest.mark.parametrize("target", ["llm", "Plan", "tool*"])
def test_a_target_is_named_whole_and_exactly_or_refused(target: str) -> None:
    with pytest.raises(ok.DefinitionError, match="hits nothing"):
        simulated(faults.slow(target, add=1.0))


def test_a_fallback_is_hit_by_its_path_alone() -> None:
    """What protects against an outage of a provider must not be said to call it."""
    dead = faults.fail("llm:b")
    run = flow(fail_over=True).simulate("x", world=ok.World(), faults=ok.Faults(dead))
    assert (run.status, run.result()) == ("degraded", "canned")
    both = ok.Faults(dead, faults.fail("draft/fallback:*"))
    run = flow(fail_over=True).simulate("x", world=ok.World(), faults=both)
    assert run.status == "failed"
    assert injected(run.log)[-1] == ("draft/fallback:canned", -1, 1, "fail-1", "fail", 0.0)


# When it strikes


@pytest.mark.parametrize(
    ("trigger", "struck"),
    [
        ({}, {1, 2, 3}),
        ({"first": 1}, {1}),
        ({"first": 2}, {1, 2}),
        ({"nth": 2}, {2}),
        ({"first": 2, "nth": 2}, {2}),
        ({"first": 1, "nth": 2}, set()),
        ({"rate": 1.0}, {1, 2, 3}),
        ({"rate": 0.0}, set()),
        ({"rate": 1.0, "nth": 3}, {3}),
    ],
)
def test_triggers_count_the_attempts_of_each_instance(trigger: dict[str, Any], struck: set[int]) -> None:
    # The model always fails too, so that there always are three attempts.
    wf = ok.Workflow("items", input=list[str])

    @wf.map(over="input", retry=ok.Retry(3, wait=NOW), on_error="skip")
    def lookup(item: str) -> str: ...

    world = ok.World(lookup=ok.fake("x", latency=1.0, error=1.0))
    run = wf.simulate(["a", "b"], world=world, faults=ok.Faults(faults.fail("*", **trigger)))
    for item in (0, 1):
        assert {e.attempt for e in run.log if e.kind == "injected" and e.item == item} == struck
        assert {e.attempt for e in run.log if e.kind == "failed" and e.item == item} == {1, 2, 3}


@given(st.floats(0, 1), st.integers(1, 9), st.integers(1, 9), st.floats(0, 1, exclude_max=True), st.integers(1, 9))
def test_all_triggers_that_are_given_must_hold(rate: float, first: int, nth: int, u: float, attempt: int) -> None:
    said = Trigger(rate, first, nth).fires(u, attempt)
    assert said == (u < rate and attempt <= first and attempt == nth)


# What it does


def test_a_failure_strikes_when_it_says_and_instead_of_the_body() -> None:
    ran: list[int] = []
    wf = ok.Workflow("body")

    @wf.step(retry=ok.Retry(2, wait=NOW))
    async def draft(ctx: ok.Context) -> str:
        ran.append(ctx.attempt)
        await ctx.sleep(5.0)
        return "done"

    run = wf.simulate(None, world=ok.World(), faults=ok.Faults(faults.fail("draft", nth=1, after=1.5)))
    assert ran == [2]
    assert [(e.kind, e.t) for e in run.log if e.attempt] == [
        ("started", 0), ("injected", 0), ("failed", 1_500_000), ("waiting", 1_500_000), ("started", 1_500_000),
        ("completed", 6_500_000),
    ]  # fmt: skip


def test_a_failure_after_the_timeout_is_a_timeout() -> None:
    log = simulated(faults.fail("draft", nth=1, after=25.0))
    assert attempts(log, "failed") == [("draft", -1, 1, "timeout")]
    assert injected(log) == [("draft", -1, 1, "fail-0", "fail", 25.0)]


def test_a_hang_ends_by_the_timeout_alone() -> None:
    log = simulated(faults.hang("draft", first=2))
    assert attempts(log, "failed") == [("draft", -1, 1, "timeout"), ("draft", -1, 2, "timeout")]
    assert log[-1].t == (2 + 1 + 20 + 20 + 3) * 10**6
    endless = flow().using(draft=ok.only(ok.Retry(2)))
    run = endless.simulate("x", world=WORLD, faults=ok.Faults(faults.hang("draft")))
    with pytest.raises(ok.RunStuck, match="draft"):
        run.result()


@pytest.mark.parametrize("modelled", [True, False], ids=["model", "body"])
def test_slow_ones_multiply_then_add(modelled: bool) -> None:
    wf = ok.Workflow("slow")

    @wf.step(timeout=20.0)
    async def draft(ctx: ok.Context) -> str:
        await ctx.sleep(3.0)
        return "done"

    world = ok.World(draft=ok.fake("done", latency=3.0)) if modelled else ok.World()
    plan = [faults.slow("draft", factor=2), faults.slow("draft", add=1.5), faults.slow("draft", factor=1.5, add=0.25)]
    run = wf.simulate(None, world=world, faults=ok.Faults(*plan))
    assert run.log[-1].t == 10_750_000
    assert injected(run.log) == [
        ("draft", -1, 1, "slow-0", "slow", 2.0), ("draft", -1, 1, "slow-1", "slow", 1.5),
        ("draft", -1, 1, "slow-2", "slow", 1.5),
    ]  # fmt: skip
    run = wf.simulate(None, world=world, faults=ok.Faults(faults.slow("draft", factor=7)))
    assert (run.status, run.log[-1].t) == ("failed", 20_000_000)


def test_the_first_decisive_one_wins_and_is_all_that_is_recorded() -> None:
    late = faults.slow("draft", add=4.0)
    log = simulated(late, faults.hang("draft", nth=1), faults.fail("draft", first=2, after=1.0), late)
    assert injected(log) == [
        ("draft", -1, 1, "hang-1", "hang", 0.0),
        ("draft", -1, 2, "fail-2", "fail", 1.0),
        ("draft", -1, 3, "slow-0", "slow", 4.0),
        ("draft", -1, 3, "slow-3", "slow", 4.0),
    ]
    ended = [e.dur for e in log if e.node == "draft" and e.kind in ("failed", "completed")]
    assert ended == [20_000_000, 1_000_000, 11_000_000]


RATES = (faults.slow("*", factor=2, rate=0.5), faults.fail("*", rate=0.3), faults.hang("cheap", rate=0.2))


def test_what_is_recorded_is_what_happened() -> None:
    """300 runs under three faults at once: each attempt's end and length follow from its records alone."""
    latency = {"plan": 2, "lookup": 1, "draft": 3}
    seen = set()
    for seed in range(300):
        log = simulated(*RATES, seed=seed)
        marks: dict[tuple[Any, ...], list[str]] = {}
        for node, item, attempt, fault, kind, _ in injected(log):
            assert fault == {"slow": "slow-0", "fail": "fail-1", "hang": "hang-2"}[kind]
            marks.setdefault((node, item, attempt), []).append(kind)
        for event in log:
            if event.kind in ("completed", "failed"):
                kinds = tuple(marks.pop((event.node, event.item, event.attempt), ()))
                seen.add(kinds)
                ended = (event.kind, event.status, event.dur // 10**6)
                usual = latency[event.node]
                assert (
                    ended
                    == {
                        (): ("completed", "final", usual),
                        ("slow",): ("completed", "final", 2 * usual),
                        ("fail",): ("failed", "error", 0),
                        ("hang",): ("failed", "timeout", 20),
                    }[kinds]
                )
            elif event.kind == "cancelled" and event.node:
                marks.pop((event.node, event.item, event.attempt), None)
        assert not marks  # nothing is recorded of an attempt that did not end
    assert seen == {(), ("slow",), ("fail",), ("hang",)}


def test_others_luck_does_not_hang_on_a_faults_trigger() -> None:
    """Switched off, given another severity, or followed by a new one: the rest strikes whom it struck before."""
    slow, fail, hang = RATES
    dice = [Stream(base_of(seed), path_of("draft"), -1, 0, 1) for seed in range(500)]

    def struck(plan: ok.Faults, name: str) -> list[bool]:
        return [
            any(record[0] == name for record in (s.records if s else ())) for s in (plan.strike(d, 1) for d in dice)
        ]

    alone = struck(ok.Faults(faults.slow("*", add=1, rate=0), fail), "fail-1")
    assert 100 < sum(alone) < 200
    assert alone == struck(ok.Faults(slow, fail), "fail-1")
    assert alone == struck(ok.Faults(faults.slow("*", factor=9, rate=0.9), fail, hang), "fail-1")
    assert alone == struck(
        ok.Faults(faults.fail("other", rate=1.0), fail).targets("draft", (), None) or ok.Faults(), "fail-1"
    )
    # A higher rate strikes all that a lower one struck.
    more = struck(ok.Faults(slow, faults.fail("*", rate=0.5)), "fail-1")
    assert all(b for a, b in zip(alone, more, strict=True) if a)
    # By its place: taken out, the next one comes to other luck.
    assert alone != struck(ok.Faults(fail), "fail-0")


def test_many_faults_have_luck_of_their_own() -> None:
    plan = ok.Faults(*(faults.slow("*", add=1.0, rate=0.5) for _ in range(40)))
    strikes = [plan.strike(Stream(base_of(seed), 1, -1, 0, 1), 1) for seed in range(200)]
    assert len({s.records if s else () for s in strikes}) == 200
    assert 3700 < sum(len(s.records) if s else 0 for s in strikes) < 4300


# What is raised


class NeedsMore(Exception):
    def __init__(self, message: str, *, response: object) -> None:
        super().__init__(message)
        self.response = response


class Wraps(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


def raised(error: Any) -> BaseException:
    wf = ok.Workflow("raises")

    @wf.step
    def draft() -> str: ...

    plan = ok.Faults(faults.fail("draft", error=error))
    run = wf.simulate(None, world=ok.World(draft=ok.fake("x")), faults=plan)
    with pytest.raises(ok.RunError) as caught:
        run.result()
    cause = caught.value.__cause__
    assert cause is not None
    return cause


def test_the_default_is_a_connection_error_that_says_it_was_injected() -> None:
    cause = raised(ConnectionError)
    assert type(cause) is ConnectionError
    assert str(cause) == "injected failure"
    assert cause.__notes__ == ["injected by ok.faults"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError, "injected failure"),
        (TimeoutError("read timed out"), "read timed out"),
        (ConnectionRefusedError(111, "refused"), "[Errno 111] refused"),
        (Wraps(429), "code 429"),
        (NeedsMore, "injected failure"),
        (NeedsMore("busy", response=503), "busy"),
        (ok.ModelError("no usable reply", status=503), "no usable reply"),
    ],
)
def test_a_fault_raises_what_the_client_would(error: Any, text: str) -> None:
    cause = raised(error)
    kind = error if isinstance(error, type) else type(error)
    assert type(cause) is kind
    assert str(cause) == text
    if not isinstance(error, type):
        assert cause is not error
        assert {k: v for k, v in vars(cause).items() if k != "__notes__"} == vars(error)


def test_each_injection_raises_an_error_of_its_own() -> None:
    fault = faults.fail("draft", error=ValueError("x"))
    assert fault.error is not None
    one, other = fault.error(), fault.error()
    assert one is not other
    assert one.__notes__ == other.__notes__ == ["injected by ok.faults"]


def test_an_error_that_is_not_worth_a_retry_is_not_retried() -> None:
    log = simulated(faults.fail("draft", first=1, error=TypeError))
    assert attempts(log, "failed") == [("draft", -1, 1, "error")]
    assert log[-1].status == "failed"


# Wrong arguments, and how they show themselves

WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: faults.fail("draft", rate=1.5), "rate=1.5: a rate is between 0 and 1"),
    (lambda: faults.fail("draft", rate=float("nan")), "a rate is between 0 and 1"),
    (lambda: faults.fail("draft", rate="0.5"), "a rate is between 0 and 1"),
    (lambda: faults.slow("draft", add=1, rate=True), "a rate is between 0 and 1"),
    (lambda: faults.hang("draft", first=0), "first=0: count attempts from 1"),
    (lambda: faults.hang("draft", nth=1.0), "nth=1.0: count attempts from 1"),
    (lambda: faults.hang("draft", nth=True), "nth=True: count attempts from 1"),
    (lambda: faults.hang(""), "say what it hits"),
    (lambda: faults.fail(None), "say what it hits"),
    (lambda: faults.slow(["draft"], add=1), "say what it hits"),
    (lambda: faults.fail("draft", after=-1), "seconds, 0 or more"),
    (lambda: faults.fail("draft", after="1"), "seconds, 0 or more"),
    (lambda: faults.fail("draft", error=KeyboardInterrupt), "give an exception type or instance"),
    (lambda: faults.fail("draft", error="boom"), "give an exception type or instance"),
    (lambda: faults.slow("draft"), "say how slow"),
    (lambda: faults.slow("draft", factor=0.5), "factor >= 1"),
    (lambda: faults.slow("draft", factor="2"), "factor >= 1"),
    (lambda: faults.slow("draft", add=float("inf")), "add >= 0"),
    (lambda: faults.crash(after=0), "records are counted from 1"),
    (lambda: faults.crash(after=1.5), "records are counted from 1"),
    (lambda: ok.Faults("draft"), "use ok.faults.fail"),
    (lambda: ok.Faults(faults.crash(after=1), faults.crash(after=2)), "one crash a plan"),
    (lambda: flow().simulate("x", world=WORLD, faults=faults.hang("draft")), "give an ok.Faults"),
]


@pytest.mark.parametrize(("wrong", "says"), WRONG)
def test_wrong_arguments_are_refused_at_the_call(wrong: Callable[[], Any], says: str) -> None:
    with pytest.raises(ok.DefinitionError) as caught:
        wrong()
    assert says in str(caught.value)


PLAN = ok.Faults(
    faults.fail("draft", rate=0.123456789, after=2.5),
    faults.fail("llm:*", first=1234567, error=TimeoutError),
    faults.fail("tool's", nth=2, error=OSError(111, "refused")),
    faults.fail("plan", error=ok.ModelError),
    faults.slow("draft", factor=4, add=0.25, rate=1 / 3, first=2, nth=1),
    faults.hang("cheap", nth=3),
    faults.hang("*", rate=0.0),
    faults.crash(after=7),
)


def test_a_plans_repr_is_the_code_that_makes_it() -> None:
    import orchkit.errors

    again = eval(repr(PLAN), {"ok": ok, "orchkit": orchkit})
    assert repr(again) == repr(PLAN)
    for one, other in zip(again.faults, PLAN.faults, strict=True):
        assert (one.kind, one.target, one.trigger) == (other.kind, other.target, other.trigger)
        assert (one.after, one.factor, one.add) == (other.after, other.factor, other.add)
        assert repr(one.error and one.error()) == repr(other.error and other.error())
    assert repr(ok.Faults(faults.fail("draft", first=2))) == "ok.Faults(ok.faults.fail('draft', first=2))"


@given(
    st.floats(0, 1), st.integers(1, 10**9), st.floats(1, 1e6), st.floats(0.001, 1e6), st.text(min_size=1, max_size=9)
)
def test_every_number_and_name_survives_the_repr(rate: float, n: int, factor: float, add: float, name: str) -> None:
    fault = faults.slow(name, factor=factor, add=add, rate=rate, first=n, nth=n)
    again = eval(repr(fault), {"ok": ok})
    assert again == fault


# Crashes


def test_a_crash_ends_the_run_after_that_record_and_resuming_costs_nothing() -> None:
    whole = simulated(*RATES, seed=5)
    for after in range(1, len(whole)):
        plan = ok.Faults(*RATES, faults.crash(after=after))
        lost = flow().simulate("x", world=WORLD, faults=plan, seed=5)
        assert lost.status == "orphaned"
        with pytest.raises(ok.RunCrashed):
            lost.result()
        assert lost.log == whole[:after]
        kept = flow().simulate("x", world=WORLD, faults=plan, seed=5, durability="group")
        assert exact_digest(kept.log) == exact_digest(whole)


def test_a_crash_after_the_end_never_comes() -> None:
    whole = simulated(*RATES, seed=5)
    assert simulated(*RATES, faults.crash(after=len(whole) + 1), seed=5) == whole


# Live


def test_a_plan_injects_the_same_live_as_simulated() -> None:
    """40 runs with bodies: the same luck strikes the same attempts on asyncio as on the bare heap."""
    plan = ok.Faults(
        faults.fail("plan", first=1),
        faults.fail("*", rate=0.3),
        faults.slow("cheap", add=0.002, rate=0.5),
        faults.hang("draft", rate=0.15),
    )
    wf = flow().using(draft=ok.Timeout(0.5))
    program = Program(wf.checked(), None, plan)
    runs = [live.start(program, "x", store=MemoryStore(), durability="memory", deps=None) for _ in range(40)]
    kinds = set()
    for run in runs:
        run.outcome().exception(timeout=60)
        bare = _drive(program, run.head.run_id, base_of(0, run.head.run_id), (), "x").events
        # A run that fails cancels its siblings in flight, and on the wall it is luck how far those had come.
        if run.status() == "completed":
            assert sorted(injected(run.log())) == sorted(injected(bare))
            kinds |= {record[4] for record in injected(bare)}
    assert {"fail", "slow"} <= kinds

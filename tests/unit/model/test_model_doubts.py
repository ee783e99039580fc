"""What is doubtful is said once, as a warning, and listed; what is certain, or cannot be, is not."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok


class Case(BaseModel):
    notes: list[str] = []
    status: str = "new"
    owner: str = ""


class Decision(BaseModel):
    approve: bool


def doubts(wf: ok.Workflow) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wf.checked()
    found = wf.warnings()
    assert [warning.category for warning in caught] == [ok.GraphWarning] * len(found)
    for warning, text in zip(caught, found, strict=True):
        assert text in str(warning.message)
        assert warning.filename == __file__
    return found


# Which route comes first


def routed(**returns: Any) -> ok.Workflow:
    """Two routes that name `send`, each with a way round it, and nothing between the two."""
    wf = ok.Workflow("routed", input=str)

    def quick(input): ...
    def slow(input): ...

    quick.__annotations__["return"] = returns.get("quick", str)
    slow.__annotations__["return"] = returns.get("slow", str)
    wf.route(to=["send", "left"])(quick)
    wf.route(to=["send", "right"], after=returns.get("after", ()))(slow)
    for name in ("send", "left", "right"):
        scope: dict[str, Any] = {}
        exec(f"def {name}(input): ...", scope)
        wf.step(scope[name])
    return wf


def test_two_routes_that_may_both_pick_a_node_race() -> None:
    wf = ok.Workflow("race", input=str)

    @wf.route(to=["send", "left"])
    def quick(input) -> str: ...

    @wf.route(to=["send", "right"])
    def slow(input) -> str: ...

    @wf.step
    def send(input): ...

    @wf.step
    def left(input): ...

    @wf.step
    def right(input): ...

    assert doubts(wf) == [
        "'send' runs when the first of its routes picks it, and timing decides whether that is 'quick' or 'slow'; let "
        "one come after the other: after='quick'"
    ]


def test_routes_in_order_do_not_race() -> None:
    wf = ok.Workflow("ordered", input=str)

    @wf.route(to=["send", "review"])
    def risk(input) -> str: ...

    wf.approval("review")

    @wf.route(to=["send", "apologise"])
    def verdict(review: bool) -> str: ...

    @wf.step
    def send(input): ...

    @wf.step
    def apologise(input): ...

    assert doubts(wf) == []


def test_after_puts_routes_in_order() -> None:
    assert routed(after="quick").warnings() == []


def test_routes_on_different_branches_do_not_race() -> None:
    wf = ok.Workflow("branches", input=str)

    @wf.route(to=["one", "other"])
    def choose(input) -> str: ...

    @wf.route(to=["send", "left"])
    def one(input) -> str: ...

    @wf.route(to=["send", "right"])
    def other(input) -> str: ...

    for name in ("send", "left", "right"):
        scope: dict[str, Any] = {}
        exec(f"def {name}(input): ...", scope)
        wf.step(scope[name])
    assert doubts(wf) == []


# Who writes last


def case(**merge: Any) -> ok.Workflow:
    wf = ok.Workflow("case", input=str)
    wf.context(Case, merge=merge)
    return wf


def test_writers_in_no_order_are_found_in_their_source() -> None:
    wf = case(notes=ok.append)

    @wf.step
    async def left(input: str, ctx: ok.Context) -> None:
        if input:
            ctx.update(status="left", notes=["left"])

    @wf.step
    def right(input: str, ctx: ok.Context) -> None:
        ctx.update(notes=["right"], owner="dana")
        ctx.update(
            status="right",
        )

    assert doubts(wf) == [
        "'left' and 'right' both write 'status' of the shared context, and neither comes before the other; order them "
        "by after=, or say how the field merges: wf.context(..., merge={'status': ok.append})"
    ]


def test_writers_in_an_order_or_on_different_branches_do_not_conflict() -> None:
    wf = case()

    @wf.step(writes=["status"])
    def first(input): ...

    @wf.route(to=["left", "right"], writes=["status"])
    def choose(first) -> str: ...

    @wf.step(writes=["status"])
    def left(input): ...

    @wf.step(writes=["status"])
    def right(input): ...

    assert doubts(wf) == []


def test_what_is_declared_counts_before_the_source() -> None:
    wf = case()

    @wf.step(writes=["owner"])
    def left(input, ctx):
        ctx.update(status="never: it is not declared")

    @wf.step(writes=())
    def right(input, ctx):
        ctx.update(status="never")

    @wf.step(writes={"owner"})
    def other(input): ...

    (doubt,) = doubts(wf)
    assert doubt.startswith("'left' and 'other' both write 'owner'")


def test_items_of_a_map_are_in_no_order() -> None:
    wf = case(notes=ok.append)

    @wf.step
    def plan(input: str) -> list[str]: ...

    @wf.map(over="plan", writes=["status", "notes"])
    def lookup(item): ...

    (doubt,) = doubts(wf)
    assert doubt.startswith("the items of map 'lookup' write 'status'")


def test_without_a_context_nothing_is_written() -> None:
    wf = ok.Workflow("bare", input=str)

    @wf.step
    def left(input, ctx):
        ctx.update(status="left")

    @wf.step
    def right(input, ctx):
        ctx.update(status="right")

    assert doubts(wf) == []


def test_functions_without_source_are_not_looked_into() -> None:
    wf = case()
    for name in ("left", "right"):
        scope: dict[str, Any] = {}
        exec(f"def {name}(input, ctx): ctx.update(status='x')", scope)
        wf.step(scope[name])
    assert doubts(wf) == []


# No answer in time


@pytest.mark.parametrize(("timeout", "warned"), [(60.0, True), (None, False)])
def test_a_step_that_cannot_take_none_is_told_of_the_deadline(timeout: float | None, warned: bool) -> None:
    wf = ok.Workflow("late", input=str)
    wf.approval("review", answer=Decision, timeout=timeout)

    @wf.step
    def send(review: Decision) -> None: ...

    @wf.step
    def log(review: Decision | None) -> None: ...

    @wf.step
    def archive(review) -> None: ...

    said = "without an answer in time 'review' is None, and 'send' takes Decision; annotate it review: Decision | None"
    assert doubts(wf) == [said] * warned


# What is done again


@pytest.mark.parametrize(("effect", "warned"), [(True, True), (False, False)])
def test_an_effect_that_asks_in_its_body_is_told_that_it_is_done_again(effect: bool, warned: bool) -> None:
    wf = ok.Workflow("agents", input=str)

    @wf.step(effect=effect)
    async def refund(input: str, ctx: ok.Context) -> None:
        await ctx.ask(show=input)

    @wf.step(effect=True)
    async def send(input: str, ctx: ok.Context) -> None:
        def ask() -> str:
            return "ctx.ask()"

        ask()

    said = (
        "'refund' is an effect and asks a person in the same body, which runs again from its top when the run is "
        "resumed: ask in a wf.approval before it, or let the body call what acts, by ctx.call(...)"
    )
    assert doubts(wf) == [said] * warned


# Retries round retries


def held(retry: Any, inner: Any, depth: int = 0, **more: Any) -> ok.Workflow:
    """A call, under `retry`, of a workflow with one step under another, so many calls deeper."""
    wf = ok.Workflow("inner", input=str)

    @wf.step(retry=inner, **more)
    def work(input: str) -> str:
        raise ConnectionError("down")

    for i in range(depth):
        outer = ok.Workflow(f"level{i}", input=str)
        outer.call("deeper", wf)
        wf = outer
    outer = ok.Workflow("outer", input=str)
    outer.call("held", wf, retry=retry)
    return outer


@pytest.mark.parametrize(("depth", "path"), [(0, "held/work"), (1, "held/deeper/work"), (2, "held/deeper/deeper/work")])
def test_retries_round_retries_multiply(depth: int, path: str) -> None:
    wf = held(4, 3, depth)
    assert doubts(wf) == [
        f"call 'held' and {path!r} within it both retry, so a failure that stays costs 4 x 3 = 12 attempts; let one of "
        "them retry, and take retry= from the other"
    ]
    log = wf.simulate("x", world=ok.World()).log
    assert sum(event.kind == "started" and event.node.endswith("work") for event in log) == 12


@pytest.mark.parametrize(
    ("outer", "inner", "warned"),
    [
        (1, 3, False),
        (3, 1, False),
        (3, None, False),
        (None, 3, False),
        (2, 2, True),
        (ok.Retry(2, on=ValueError), ok.Retry(2, on=ConnectionError), False),
        (ok.Retry(2, on=OSError), ok.Retry(2, on=(KeyError, ConnectionError)), True),
        (ok.Retry(2, on=Exception), 2, True),
        (2, ok.Retry(2, on=ConnectionError), True),
        (2, ok.Retry(2, on=TypeError), False),
        (ok.Retry(2, on=callable), ok.Retry(3, on=callable), True),
        (2, ok.Retry(2, on=lambda error: True), False),
    ],
)
def test_only_retries_of_the_same_failures_multiply(outer: Any, inner: Any, warned: bool) -> None:
    assert bool(doubts(held(outer, inner))) is warned


@pytest.mark.parametrize("more", [{"fallback": "none"}, {"on_error": "skip"}])
def test_what_does_not_fail_its_workflow_multiplies_nothing(more: Any) -> None:
    assert doubts(held(4, 3, **more)) == []
    body = held(None, 3)
    wf = ok.Workflow("outermost", input=str)
    wf.call("all", body, retry=2)
    assert len(wf_warnings(wf)) == 1
    body = ok.Workflow("between", input=str)
    body.call("held", held(None, 3), **more)
    wf = ok.Workflow("outermost", input=str)
    wf.call("all", body, retry=2)
    assert wf_warnings(wf) == []


def wf_warnings(wf: ok.Workflow) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return wf.warnings()


def test_every_level_counts_and_the_worst_is_told() -> None:
    inner = ok.Workflow("inner", input=str)
    for name, retry in [("once", None), ("twice", 2), ("thrice", 3)]:
        scope: dict[str, Any] = {}
        exec(f"def {name}(input): ...", scope)
        inner.step(retry=retry)(scope[name])
    body = ok.Workflow("body", input=str)
    body.call("held", inner, retry=5)
    wf = ok.Workflow("outer")
    wf.map("each", over="input", body=body, retry=2)

    def until(result: Any, round: int) -> bool: ...

    wf.loop("polish", body=held(None, 3), until=until, retry=2)
    assert wf_warnings(wf) == [
        "map 'each' and 'each/held/thrice' within it both retry, so a failure that stays costs 2 x 5 x 3 = 30 "
        "attempts; let one of them retry, and take retry= from the other; so with 'each/held/twice'",
        "loop 'polish' and 'polish/held/work' within it both retry, so a failure that stays costs 2 x 3 = 6 attempts; "
        "let one of them retry, and take retry= from the other",
    ]


def test_a_variant_says_what_is_new_of_it() -> None:
    wf = held(None, 3)
    assert doubts(wf) == []
    assert len(doubts(wf.using(held=ok.Retry(2)))) == 1


# How it is said


def test_it_is_said_once_for_each_definition() -> None:
    wf = routed()
    with pytest.warns(ok.GraphWarning, match=r"workflow 'routed': 'send' runs when"):
        wf.checked()
    variant = wf.using(send=ok.Retry(2))
    assert len(variant.warnings()) == len(wf.warnings()) == 1  # and Python is not warned: that would raise

    @wf.step
    def left(input): ...

    with pytest.warns(ok.GraphWarning, match="'send' runs when"):
        wf._repr_mimebundle_()


def test_where_warnings_are_errors_the_graph_is_there_all_the_same() -> None:
    wf = routed()
    with pytest.raises(ok.GraphWarning):
        wf.checked()
    assert len(wf.checked().nodes) == 5


def test_a_warning_quotes_what_was_written() -> None:
    wf = ok.Workflow("late", input=str)
    wf.approval("review", answer=Decision, timeout=60.0)

    @wf.step
    def send(review: Decision) -> None: ...

    with pytest.warns(ok.GraphWarning) as caught:
        wf.checked()
    lines = str(caught[0].message).splitlines()[1:]
    assert [line.strip().partition("   (test_model_doubts.py:")[0] for line in lines] == [
        "def send(review: Decision) -> None: ...",
        'wf.approval("review", answer=Decision, timeout=60.0)',
    ]
    assert caught[0].lineno == int(lines[0].rpartition(":")[2].rstrip(")")) - 1  # the decorator's line

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

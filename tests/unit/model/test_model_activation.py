"""The activation rule, clause by clause, on real steps in virtual time."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

import orchkit as ok
from orchkit.model.events import FINAL, settles

NOBODY = ok.World()


def ran(run: ok.Run) -> list[str]:
    return [event.node for event in run.log if event.kind == "started"]


def ended(run: ok.Run) -> dict[str, str]:
    return {
        event.node: "completed" if event.status == FINAL else event.status or "skipped"
        for event in run.log
        if settles(event) and event.item < 0
    }


def at(run: ok.Run, kind: str, node: str) -> float:
    return next(event.t / 1e6 for event in run.log if (event.kind, event.node) == (kind, node))


def forked(choice: Any, **options: Any) -> ok.Workflow:
    """A route to `left` and `right`, and steps after them that each test adds."""
    wf = ok.Workflow("forked", **options)

    @wf.route(to=["left", "right"])
    def choose(input):
        return choice

    @wf.step
    async def left(input, ctx: ok.Context):
        await ctx.sleep(1)
        return "left"

    @wf.step
    async def right(input, ctx: ok.Context):
        await ctx.sleep(2)
        return "right"

    return wf


def test_what_needs_a_skipped_input_is_skipped_and_so_is_what_needs_that() -> None:
    wf = forked("left")

    @wf.step
    def needs(right): ...

    @wf.step
    def needs_that(needs): ...

    run = wf.simulate("x", world=NOBODY)
    assert ended(run) == {
        "choose": "completed", "left": "completed", "right": "skipped", "needs": "skipped", "needs_that": "skipped",
    }  # fmt: skip
    assert ran(run) == ["choose", "left"]


def test_one_lost_required_input_is_enough_and_nobody_waits_for_the_others() -> None:
    wf = forked("left")

    @wf.step
    async def slow(input, ctx: ok.Context):
        await ctx.sleep(100)

    @wf.step
    def both(slow, right): ...

    run = wf.simulate("x", world=NOBODY)
    assert ended(run)["both"] == "skipped"
    assert at(run, "skipped", "both") == 0.0


def test_a_parameter_with_a_default_takes_it_when_its_source_was_skipped() -> None:
    wf = forked("left")

    @wf.step
    def join(left="no left", right="no right"):
        return [left, right]

    run = wf.simulate("x", world=NOBODY)
    assert run.result() == ["left", "no right"]
    assert run.status == "completed"


def test_a_default_does_not_spare_the_wait() -> None:
    wf = forked(["left", "right"])

    @wf.step
    def join(left="no left", right="no right"):
        return [left, right]

    run = wf.simulate("x", world=NOBODY)
    assert run.result() == ["left", "right"]
    assert at(run, "started", "join") == 2.0


def test_what_has_lost_all_its_data_inputs_is_skipped_for_all_its_defaults() -> None:
    wf = forked("left")

    @wf.step
    def only(right="default"): ...

    @wf.step(after="right")
    def ordered(left):
        return left

    run = wf.simulate("x", world=NOBODY)
    assert ended(run)["only"] == "skipped"
    assert run.result() == {"ordered": "left"}


def test_the_input_counts_as_a_live_input() -> None:
    wf = forked("left")

    @wf.step
    def also(input, right="default"):
        return [input, right]

    assert wf.simulate("x", world=NOBODY).result() == {"left": "left", "also": ["x", "default"]}


@pytest.mark.filterwarnings("ignore::orchkit.GraphWarning")
def test_a_target_is_skipped_when_every_route_went_elsewhere() -> None:
    wf = forked("left")

    @wf.route(to=["right", "other"])
    async def later(input, ctx: ok.Context):
        await ctx.sleep(5)
        return "other"

    @wf.step
    def other(input):
        return "other"

    run = wf.simulate("x", world=NOBODY)
    assert ended(run)["right"] == "skipped"
    assert at(run, "skipped", "right") == 5.0
    assert run.result() == {"left": "left", "other": "other"}


@pytest.mark.filterwarnings("ignore::orchkit.GraphWarning")
def test_a_target_of_two_routes_runs_once_when_the_first_picks_it() -> None:
    for first, second in itertools.product(["right", "other"], repeat=2):
        wf = forked(first if first == "right" else "left")

        @wf.route(to=["right", "other"])
        async def later(input, ctx: ok.Context, second=ok.const(second)):
            await ctx.sleep(5)
            return second

        @wf.step
        def other(input): ...

        run = wf.simulate("x", world=NOBODY)
        assert ran(run).count("right") == ("right" in (first, second))
        if "right" in (first, second):
            assert at(run, "started", "right") == (0.0 if first == "right" else 5.0)


def test_a_target_waits_for_its_own_inputs_too() -> None:
    wf = ok.Workflow("targets")

    @wf.route(to=["send"])
    def choose(input):
        return "send"

    @wf.step
    async def draft(input, ctx: ok.Context):
        await ctx.sleep(3)
        return "draft"

    @wf.step
    def send(draft):
        return f"sent {draft}"

    run = wf.simulate("x", world=NOBODY)
    assert run.result() == "sent draft"
    assert at(run, "started", "send") == 3.0


def test_the_targets_of_a_skipped_route_are_skipped() -> None:
    wf = forked("left")

    @wf.route(to=["deep"])
    def again(right):
        return "deep"

    @wf.step
    def deep(input): ...

    assert ended(wf.simulate("x", world=NOBODY))["deep"] == "skipped"


def test_a_route_may_pick_several_and_every_pick_is_recorded() -> None:
    wf = forked(("left", "right"))
    run = wf.simulate("x", world=NOBODY)
    assert run.result() == {"left": "left", "right": "right"}
    assert [event.body for event in run.log if event.kind == "picked"] == [["left", "right"]]


def test_what_a_route_returned_can_be_asked_for_like_any_value() -> None:
    wf = forked("left", output="told")

    @wf.step
    def told(choose: str) -> str:
        return f"went {choose}"

    assert wf.simulate("x", world=NOBODY).result() == "went left"


@pytest.mark.parametrize("choice", ["lefft", None, [], ["left", "lefft"], 3])
def test_a_pick_that_was_not_declared_fails_the_run_and_is_not_retried(choice: Any) -> None:
    run = forked(choice).simulate("x", world=NOBODY)
    with pytest.raises(ok.RunError, match="DefinitionError: route 'choose' picked"):
        run.result()
    assert ran(run) == ["choose"]


def test_a_node_without_inputs_starts_at_once() -> None:
    wf = ok.Workflow("sources")

    @wf.step
    async def slow(input, ctx: ok.Context):
        await ctx.sleep(9)

    @wf.step
    def alone():
        return "alone"

    run = wf.simulate("x", world=NOBODY)
    assert at(run, "started", "alone") == 0.0


def test_there_is_no_barrier() -> None:
    wf = ok.Workflow("lanes")
    for lane, nap in (("a", 1), ("b", 100)):
        for depth in range(3):
            source = f"{lane}{depth - 1}" if depth else "input"
            scope: dict[str, Any] = {}
            exec(f"async def {lane}{depth}({source}, ctx):\n    await ctx.sleep({nap})\n    return 1", scope)
            wf.step(scope[f"{lane}{depth}"])
    run = wf.simulate("x", world=NOBODY)
    assert at(run, "completed", "a2") == 3.0
    assert at(run, "completed", "b2") == 300.0


def test_a_node_that_waits_for_a_person_stops_nobody_else() -> None:
    wf = ok.Workflow("people")
    wf.approval("review")

    @wf.step
    def other(input):
        return "other"

    @wf.step
    def more(other):
        return "more"

    run = wf.simulate("x", world=ok.World(review=ok.person(1000.0, approve=1.0)))
    assert at(run, "completed", "more") == 0.0
    assert at(run, "settled", "review") == 1000.0


def test_after_orders_without_data() -> None:
    wf = ok.Workflow("ordered")

    @wf.step
    async def first(input, ctx: ok.Context):
        await ctx.sleep(7)
        return "ignored"

    @wf.step(after=first)
    def second(input):
        return "second"

    run = wf.simulate("x", world=NOBODY)
    assert run.result() == "second"
    assert at(run, "started", "second") == 7.0


def test_after_waits_for_the_skipped_too_and_goes_on() -> None:
    wf = forked("left")

    @wf.step(after=["left", "right"])
    def last(input):
        return "last"

    run = wf.simulate("x", world=NOBODY)
    assert run.result() == "last"
    assert at(run, "started", "last") == 1.0


def test_after_and_data_from_one_source_count_once() -> None:
    wf = ok.Workflow("both")

    @wf.step
    def first(input):
        return 1

    @wf.step(after=["first", "first"])
    def second(first):
        return first + 1

    assert wf.simulate("x", world=NOBODY).result() == 2


# Results


def test_the_result_is_the_one_sink() -> None:
    wf = ok.Workflow("sink")

    @wf.step
    def a(input):
        return "a"

    @wf.step
    def b(a):
        return a + "b"

    assert wf.simulate("x", world=NOBODY).result() == "ab"


def test_the_result_is_the_output_that_was_named() -> None:
    wf = ok.Workflow("named", output="a")

    @wf.step
    def a(input):
        return "a"

    @wf.step
    def b(a):
        return "b"

    assert wf.simulate("x", world=NOBODY).result() == "a"


@pytest.mark.parametrize("choice", ["left", "right"])
def test_of_alternatives_the_result_is_the_one_that_ran(choice: str) -> None:
    wf = ok.Workflow("alternatives")

    @wf.route(to=["left", "right"])
    def choose(input) -> str:
        return choice

    @wf.step
    def left(input):
        return "l"

    @wf.step
    def right(input):
        return "r"

    assert wf.simulate("x", world=NOBODY).result() == choice[0]


def test_of_several_sinks_the_result_is_a_dict_of_those_that_completed() -> None:
    wf = ok.Workflow("sinks")

    @wf.step
    def a(input):
        return 1

    @wf.step(on_error="skip")
    def b(input):
        raise ValueError("no b")

    @wf.step
    def c(input):
        return 3

    run = wf.simulate("x", world=NOBODY)
    assert run.result() == {"a": 1, "c": 3}
    assert run.status == "degraded"


def test_a_skipped_failure_degrades_the_run_when_a_sink_still_completes() -> None:
    wf = ok.Workflow("skips")

    @wf.step(on_error="skip")
    def shaky(input):
        raise ValueError("no")

    @wf.step
    def sure(input, shaky="nothing"):
        return shaky

    run = wf.simulate("x", world=NOBODY)
    assert (run.status, run.result()) == ("degraded", "nothing")


def test_a_skipped_failure_fails_the_run_when_no_sink_completes() -> None:
    wf = ok.Workflow("skips")

    @wf.step(on_error="skip")
    def shaky(input):
        raise ValueError("no")

    @wf.step
    def needs(shaky): ...

    run = wf.simulate("x", world=NOBODY)
    assert run.status == "failed"
    with pytest.raises(ok.RunError, match="shaky failed: ValueError: no"):
        run.result()


def test_the_error_names_what_failed_the_run_and_not_what_it_got_over() -> None:
    wf = ok.Workflow("skips")

    @wf.step(on_error="skip")
    def forgiven(input):
        raise ValueError("forgiven")

    @wf.step(after=forgiven)
    def fatal(input):
        raise KeyError("fatal")

    run = wf.simulate("x", world=NOBODY)
    with pytest.raises(ok.RunError, match="fatal failed: KeyError") as caught:
        run.result()
    assert caught.value.node == "fatal"
    assert isinstance(caught.value.__cause__, KeyError)


# Maps


def mapped(size: int, limit: int | None, *, seed: int = 0, **options: Any) -> ok.Workflow:
    wf = ok.Workflow("mapped", input=list[int])
    naps = [random.Random(f"{seed}/{i}").randint(0, 5) for i in range(size)]

    @wf.map(over="input", limit=limit, **options)
    async def each(item: int, ctx: ok.Context) -> str:
        await ctx.sleep(naps[item])
        if options and item % 3 == 1:
            raise ValueError(f"item {item}")
        return f"<{item}>"

    return wf


def test_an_empty_map_gives_an_empty_list() -> None:
    run = mapped(0, None).simulate([], world=NOBODY)
    assert run.result() == []
    assert run.status == "completed"
    assert ended(run) == {"each": "completed"}


@pytest.mark.parametrize("limit", [None, 1, 2, 7])
def test_a_map_keeps_its_limit_at_every_instant_and_the_order_of_its_items(limit: int | None) -> None:
    for seed in range(12):
        run = mapped(20, limit, seed=seed).simulate(list(range(20)), world=NOBODY)
        assert run.result() == [f"<{i}>" for i in range(20)]
        running, most = 0, 0
        for event in run.log:
            running += (event.kind == "started") - (settles(event) and event.item >= 0)
            most = max(most, running)
        assert most == min(limit or 20, 20)


def test_skipped_items_are_left_out_and_degrade_the_run() -> None:
    run = mapped(7, 2, on_error="skip").simulate(list(range(7)), world=NOBODY)
    assert run.result() == ["<0>", "<2>", "<3>", "<5>", "<6>"]
    assert run.status == "degraded"


def test_a_failed_item_fails_the_run_and_is_named() -> None:
    run = mapped(7, 2, on_error="fail").simulate(list(range(7)), world=NOBODY)
    with pytest.raises(ok.RunError, match=r"each\[1\] failed: ValueError: item 1") as caught:
        run.result()
    assert (caught.value.node, caught.value.item) == ("each", 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", ["text", {"a": 1}, None, 3])
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_map_over_what_is_no_list_says_what_it_got(value: Any, on_error: Any) -> None:
    wf = ok.Workflow("mapped")

    @wf.step
    def source(input):
        return value

    @wf.map(over=source, on_error=on_error)
    def each(item): ...

    @wf.step
    def sure(input, each=None):
        return "sure"

    run = wf.simulate(0, world=NOBODY)
    kind = type(value).__name__
    message = f"TypeError: map 'each' goes over 'source', which gave a {kind}; it needs a list"
    assert message in [event.error for event in run.log]
    assert run.status == ("failed" if on_error == "fail" else "degraded")


def test_a_map_over_a_map_waits_for_the_whole_list() -> None:
    wf = mapped(4, None)

    @wf.map(over="each")
    def again(item):
        return item * 2

    assert wf.simulate([0, 1, 2, 3], world=NOBODY).result() == ["<0><0>", "<1><1>", "<2><2>", "<3><3>"]


def test_a_fallback_degrades_and_its_items_are_named() -> None:
    wf = ok.Workflow("spare", input=list)

    def spare(item, error):
        return f"spare for {item}: {error.message}"

    @wf.map(over="input", fallback=spare)
    def each(item: int) -> str:
        if item:
            raise ValueError(f"no {item}")
        return "fine"

    run = wf.simulate([0, 1], world=NOBODY)
    assert run.result() == ["fine", "spare for 1: no 1"]
    assert run.status == "degraded"
    assert ran(run) == ["each", "each", "each/fallback:spare"]


def test_fallbacks_are_tried_in_order_and_the_last_word_may_be_a_value() -> None:
    wf = ok.Workflow("spare")
    asked: list[str] = []

    def one(error):
        asked.append(f"one: {error}")
        raise KeyError("one")

    @ok.step
    def two(error):
        asked.append(f"two: {error}")
        raise KeyError("two")

    @wf.step(fallback=ok.Fallback(one, two, "last"))
    def shaky(input):
        raise ValueError("shaky")

    run = wf.simulate("x", world=NOBODY)
    assert run.result() == "last"
    assert asked == ["one: ValueError: shaky", "two: KeyError: 'one'"]

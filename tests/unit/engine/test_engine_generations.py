"""Generations in the engine: what an invalidated node takes with it, and what it leaves alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import orchkit as ok
from orchkit.engine.program import Program
from orchkit.model.events import Event, settles
from orchkit.model.fold import fold
from orchkit.runs.simulate import prepare
from tests.support.engines import Drive

SECOND = 1_000_000


def shape(edges: str, *, kinds: dict[str, Any] | None = None) -> ok.Workflow:
    """Make a workflow from ``"a; b: a; c: a b"``; `kinds` gives options of nodes, which tell a map and a route."""
    wf = ok.Workflow("shape")
    for part in edges.split(";"):
        name, _, inputs = (word.strip() for word in part.partition(":"))
        options = (kinds or {}).get(name, {})
        kind = wf.map if "over" in options else wf.route if "to" in options else wf.step
        kind(**options)(_step(name, inputs.split()))
    return wf


def _step(name: str, inputs: Sequence[str]) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(f"def {name}({', '.join(inputs)}): ...", namespace)
    step: Callable[..., Any] = namespace[name]
    return step


class Bench:
    """A program whose models count themselves and give what `values` says, a second each, or five if they are slow."""

    def __init__(self, wf: ok.Workflow, *slow: str, **values: Any) -> None:
        self.slow = slow
        self.values = values
        self.ran: Counter[str] = Counter()
        graph = wf.checked()
        self.program: Program = prepare(graph, ok.World({node.name: self._model(node) for node in graph.nodes}))

    def _model(self, node: Any) -> Any:
        if node.kind == "approval":
            return ok.person(5.0, approve=1.0)

        def value(inputs: dict[str, Any], rng: Any) -> Any:
            self.ran[node.name] += 1
            given = self.values.get(node.name)
            return given(inputs) if callable(given) else given if given is not None else f"{node.name}{inputs}"

        return ok.fake(value, latency=5.0 if node.name in self.slow else 1.0)

    def run(self) -> Drive:
        drive = Drive(self.program).start("x").run()
        assert drive.execution.error is None
        return drive


def again(bench: Bench, drive: Drive, *names: str, item: int = -1) -> Drive:
    """Go on from a log less its end, with nodes invalidated."""
    bench.ran.clear()
    other = Drive(bench.program, events=drive.log[:-1])
    execution = other.execution
    for name in names:
        execution.open_generation(bench.program.graph.index[name], item, "retry")
    execution.advance()
    other.run()
    assert execution.error is None, execution.error
    return other


def invalidated(drive: Drive) -> list[tuple[str, int, int, str]]:
    return [(e.node, e.item, e.generation, e.status) for e in drive.log if e.kind == "invalidated"]


def value(drive: Drive, name: str) -> Any:
    return drive.execution.state.value(name)


DIAMOND = "top; left: top; right: top; bottom: left right; last: bottom"


def test_the_same_value_again_changes_nothing_that_follows() -> None:
    bench = Bench(shape(DIAMOND))
    drive = again(bench, bench.run(), "top")
    assert bench.ran == {"top": 1}
    assert invalidated(drive) == [("top", -1, 2, "retry")]
    assert drive.log[-1].status == "completed"


def test_a_new_value_runs_through_a_diamond_once() -> None:
    bench = Bench(shape(DIAMOND), top="old")
    drive = bench.run()
    bench.values["top"] = "new"
    drive = again(bench, drive, "top")
    assert bench.ran == {"top": 1, "left": 1, "right": 1, "bottom": 1, "last": 1}
    assert "new" in value(drive, "last")
    assert "old" not in value(drive, "last")


def test_what_comes_to_the_same_value_cuts_the_way_off() -> None:
    bench = Bench(shape(DIAMOND), top="old", left=lambda inputs: "left", right=lambda inputs: "right")
    drive = bench.run()
    bench.values["top"] = "new"
    drive = again(bench, drive, "top")
    assert bench.ran == {"top": 1, "left": 1, "right": 1}
    assert [row[0] for row in invalidated(drive)] == ["top", "left", "right"]


def test_true_and_one_are_different_values() -> None:
    bench = Bench(shape("top; below: top"), top=1)
    drive = bench.run()
    bench.values["top"] = True
    drive = again(bench, drive, "top")
    assert bench.ran["below"] == 1


def test_nothing_begins_below_a_node_that_is_about_to_settle_again() -> None:
    bench = Bench(shape("slow; quick; both: slow quick"), slow="old", quick="old")
    drive = bench.run()
    bench.values.update(slow="new", quick="new")
    drive = again(bench, drive, "slow", "quick")
    assert bench.ran == {"slow": 1, "quick": 1, "both": 1}
    assert value(drive, "both") == "both{'slow': 'new', 'quick': 'new'}"


def test_after_is_an_order_and_no_input() -> None:
    bench = Bench(shape("top; later: ", kinds={"later": {"after": ["top"]}}), top="old")
    drive = bench.run()
    bench.values["top"] = "new"
    again(bench, drive, "top")
    assert bench.ran == {"top": 1}


ROUTED = "top; way: top; one: top; two: top; end: one two"
KINDS = {"way": {"to": ["one", "two"]}}


def optional_end(wf: ok.Workflow) -> ok.Workflow:
    @wf.step
    def end(one=None, two=None): ...

    return wf


def test_a_route_that_picks_another_way_the_second_time() -> None:
    bench = Bench(optional_end(shape(ROUTED, kinds=KINDS)), way="one", top="t", end=lambda inputs: inputs)
    drive = bench.run()
    assert value(drive, "end") == {"one": "one{'top': 't'}", "two": None}
    bench.values["way"] = "two"
    drive = again(bench, drive, "way")
    assert bench.ran == {"way": 1, "two": 1, "end": 1}
    assert value(drive, "end") == {"one": None, "two": "two{'top': 't'}"}
    skipped = [(e.node, e.generation) for e in drive.log if e.kind == "skipped"]
    assert skipped == [("two", 1), ("one", 2)]
    # And back again: what ran in the first generation runs anew, for its record is history.
    bench.values["way"] = "one"
    drive = again(bench, drive, "way")
    assert bench.ran == {"way": 1, "one": 1, "end": 1}
    assert value(drive, "end") == {"one": "one{'top': 't'}", "two": None}


def test_a_route_that_picks_one_more() -> None:
    bench = Bench(optional_end(shape(ROUTED, kinds=KINDS)), way=["one"], end=lambda inputs: inputs)
    drive = bench.run()
    bench.values["way"] = ["one", "two"]
    again(bench, drive, "way")
    assert bench.ran == {"way": 1, "two": 1, "end": 1}


MAPPED = "list; each: item; sum: each"
EACH = {"each": {"over": "list", "limit": 1}}


def test_one_item_of_a_map_runs_again_and_the_map_closes_again() -> None:
    bench = Bench(shape(MAPPED, kinds=EACH), list=["a", "b", "c"], each=lambda inputs: inputs["item"].upper())
    drive = bench.run()
    bench.values["each"] = lambda inputs: inputs["item"] * 2
    drive = again(bench, drive, "each", item=1)
    assert bench.ran == {"each": 1, "sum": 1}
    assert value(drive, "each") == ["A", "bb", "C"]
    settled = [(e.item, e.generation) for e in drive.log if e.node == "each" and settles(e)]
    assert settled == [(0, 1), (1, 1), (2, 1), (-1, 1), (1, 2), (-1, 2)]


def test_a_whole_map_runs_again_with_another_list() -> None:
    bench = Bench(shape(MAPPED, kinds=EACH), list=["a", "b", "c"], each=lambda inputs: inputs["item"].upper())
    drive = bench.run()
    bench.values["list"] = ["z"]
    drive = again(bench, drive, "list")
    assert bench.ran == {"list": 1, "each": 1, "sum": 1}
    assert value(drive, "each") == ["Z"]


def test_an_item_has_a_generation_of_its_own_until_the_map_has_one() -> None:
    bench = Bench(shape(MAPPED, kinds=EACH), list=["a", "b"], each=lambda inputs: inputs["item"])
    drive = again(bench, bench.run(), "each", item=1)
    state = drive.execution.state
    node = bench.program.graph.index["each"]
    assert [state.generation(node, item) for item in (-1, 0, 1)] == [2, 1, 2]
    drive = again(bench, drive, "each")
    state = drive.execution.state
    assert [state.generation(node, item) for item in (-1, 0, 1)] == [3, 3, 3]
    assert bench.ran["each"] == 2


def test_an_effect_that_is_done_is_not_repeated_for_a_new_input() -> None:
    bench = Bench(shape("top; send: top; end: send", kinds={"send": {"effect": True}}), top="old")
    drive = bench.run()
    bench.values["top"] = "new"
    drive = again(bench, drive, "top")
    assert bench.ran == {"top": 1}
    drive = again(bench, drive, "send")  # by itself it may be
    assert bench.ran == {"send": 1, "end": 1}
    assert {e.key for e in drive.log if e.kind == "started" and e.node == "send"} == {"send"}


# Open instances


def naps(wf: ok.Workflow, ran: list[str]) -> None:
    @wf.step
    async def top(ctx: ok.Context):
        ran.append("top")
        await ctx.sleep(1)
        return len(ran)

    @wf.step
    async def below(top, ctx: ok.Context):
        ran.append(f"below {top}")
        await ctx.sleep(10)
        return top


def test_an_open_follower_is_cancelled_when_its_input_changes_and_not_before() -> None:
    ran: list[str] = []
    wf = ok.Workflow("naps")
    naps(wf, ran)
    program = Program(wf.checked())
    drive = Drive(program).start("x").until(3 * SECOND)
    drive.execution.invalidate(0, why="again", by="dana")
    drive.until(4 * SECOND)
    told = [(e.t // SECOND, e.kind, e.node, e.generation) for e in drive.log[3:]]
    assert told == [
        (1, "started", "below", 1), (3, "invalidated", "top", 2), (3, "started", "top", 2), (4, "completed", "top", 2),
        (4, "cancelled", "below", 1), (4, "invalidated", "below", 2), (4, "started", "below", 2),
    ]  # fmt: skip
    assert drive.log[4].by == "dana"
    assert drive.log[4].body == "again"
    whole = drive.run().log
    assert drive.execution.state.status == "completed"
    # Killed after it was cancelled: the body that had the old input is not begun again.
    ran.clear()
    assert [e.kind for e in whole[7:9]] == ["cancelled", "invalidated"]
    for cut in (7, 8):
        ran[:] = ["", ""]
        resumed = Drive(program, events=whole[:cut]).redrive().run()
        assert resumed.log == whole
        assert ran[2:] == ["below 3"]


def test_what_is_open_below_a_node_that_runs_again_on_resume_waits_for_it() -> None:
    ran: list[str] = []
    wf = ok.Workflow("naps")
    naps(wf, ran)

    @wf.step
    async def broken(ctx: ok.Context):
        await ctx.sleep(5)
        raise ConnectionError("down")

    program = Program(wf.checked())
    drive = Drive(program).start("x").until(3 * SECOND)
    drive.execution.invalidate(program.graph.index["top"])
    drive.execution.cancel()
    state = fold(program.graph, drive.log)
    assert state.status == "cancelled"
    again = Drive(program, events=drive.log)
    again.execution.record(Event(again.execution.t(), "resumed"))
    again.redrive()
    opened = [(e.node, e.generation, e.status) for e in again.log if e.kind == "invalidated"]
    below, top, other = (program.graph.index[name] for name in ("below", "top", "broken"))
    assert sorted(opened) == [
        ("below", 2, "cancelled"), ("broken", 2, "cancelled"), ("top", 2, "retry"), ("top", 3, "cancelled"),
    ]  # fmt: skip
    assert (below, -1) not in again.execution.instances
    assert {(top, -1), (other, -1)} <= again.execution.instances.keys()


def test_a_question_below_a_node_that_runs_again_is_taken_back() -> None:
    wf = ok.Workflow("asks")

    @wf.step
    def top(): ...

    wf.approval("review", answer=bool, show="top")

    @wf.step(on_error="fail")
    def broken(): ...

    bench = Bench(wf, top="old", broken=lambda inputs: "fine")
    program = bench.program
    drive = Drive(program).start("x").until(2 * SECOND)
    assert list(drive.execution.pending) == [("review", -1)]
    bench.values["top"] = "new"
    drive.execution.invalidate(program.graph.index["top"])
    assert list(drive.execution.pending) == [("review", -1)]
    drive.until(3 * SECOND + 1)
    (pending,) = drive.execution.pending.values()
    assert (pending.generation, pending.body["show"]) == (2, "new")
    drive.run()
    assert [(e.kind, e.generation) for e in drive.log if e.node == "review"] == [
        ("asked", 1), ("invalidated", 2), ("asked", 2), ("answered", 2), ("settled", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_log_that_was_opened_again_resumes_by_itself(status: str) -> None:
    """The mark alone says what follows: a cut right behind it loses nothing."""
    bench = Bench(shape("top; below: top"))
    faults = ok.Faults(ok.faults.fail("below", rate=1.0 if status == "failed" else 0.0))
    broken = Program(bench.program.graph, bench.program.world, faults)
    drive = Drive(broken).start("x").until(SECOND)
    if status == "cancelled":
        drive.execution.cancel()
    assert drive.run().log[-1].status == status
    bench.ran.clear()
    marked = [*drive.log, Event(drive.log[-1].t, "resumed")]
    resumed = Drive(bench.program, events=marked).redrive().run()
    assert invalidated(resumed) == [("below", -1, 2, status)]
    assert resumed.log[-1].status == "completed"
    assert bench.ran == {"below": 1}


@pytest.mark.parametrize("changed", [False, True])
def test_a_run_cut_off_while_it_stopped_ends_first_unless_its_workflow_is_another(changed: bool) -> None:
    bench = Bench(shape("top; below: top"))
    faults = ok.Faults(ok.faults.fail("below", rate=1.0))
    drive = Drive(Program(bench.program.graph, bench.program.world, faults)).start("x").run()
    assert [event.kind for event in drive.log[-2:]] == ["settled", "run_ended"]
    mark = Event(drive.log[-2].t, "resumed", body={"fingerprints": {}, "rerun": ["below"]} if changed else None)
    resumed = Drive(bench.program, events=[*drive.log[:-1], mark]).redrive().run()
    assert resumed.log[-1].status == ("completed" if changed else "failed")
    assert invalidated(resumed) == ([("below", -1, 2, "changed")] if changed else [])


def test_an_item_that_has_not_begun_is_not_started_again() -> None:
    bench = Bench(shape(MAPPED, kinds=EACH), list=["a", "b"])
    drive = Drive(bench.program).start("x").until(SECOND)
    with pytest.raises(ok.DefinitionError, match=r"'each'\[1\] of run 'run' has not begun"):
        drive.execution.invalidate(bench.program.graph.index["each"], 1)
    drive.run()
    length = len(drive.log)
    drive.execution.invalidate(0)
    assert len(drive.log) == length


def test_a_node_may_be_invalidated_twice_before_it_settles() -> None:
    bench = Bench(shape("top; below: top"), top="old")
    drive = bench.run()
    bench.values["top"] = "new"
    drive = again(bench, drive, "top", "top", "below")
    assert invalidated(drive) == [("top", -1, 2, "retry"), ("top", -1, 3, "retry"), ("below", -1, 2, "retry")]
    assert bench.ran == {"top": 1, "below": 1}
    assert value(drive, "below") == "below{'top': 'new'}"


def test_items_that_are_at_work_with_an_old_list_are_cut_off_wherever_the_log_is() -> None:
    wf = shape(MAPPED, kinds={"each": {"over": "list"}})
    bench = Bench(wf, "each", list=["a", "b", "c"], each=lambda inputs: inputs["item"].upper())
    drive = Drive(bench.program).start("x").until(2 * SECOND)
    bench.values["list"] = ["z"]
    drive.execution.invalidate(bench.program.graph.index["list"])
    begin = len(drive.log)
    log = drive.run().log
    assert value(drive, "each") == ["Z"]
    assert [(e.item, e.generation) for e in log if e.kind == "cancelled"] == [(0, 1), (1, 1), (2, 1)]
    for cut in range(begin, len(log)):
        resumed = Drive(bench.program, events=log[:cut]).redrive().run()
        assert resumed.execution.error is None
        assert resumed.log == log, f"cut after {cut}"


def test_a_run_is_no_longer_degraded_by_what_has_come_right() -> None:
    every = {"over": "list", "on_error": "skip"}
    wf = shape("top; list; every: item; end: top list", kinds={"top": {"on_error": "skip"}, "every": every})
    bench = Bench(wf, list=["a", "b"])
    faults = ok.Faults(ok.faults.fail("top", rate=1.0), ok.faults.fail("every", rate=1.0))
    drive = Drive(Program(bench.program.graph, bench.program.world, faults)).start("x").run()
    assert drive.log[-1].status == "degraded"
    drive = again(bench, drive, "top")
    assert drive.log[-1].status == "degraded"
    drive = again(bench, drive, "every")
    assert drive.log[-1].status == "completed"
    assert drive.log[-1].body["every"] == ["every{'item': 'a'}", "every{'item': 'b'}"]

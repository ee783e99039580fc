"""How the work of fold and plan grows with the items of a map, with events and with generations: in step with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.engine.plan import plan
from orchkit.engine.program import Program
from orchkit.engine.stopping import suspend
from orchkit.model.events import Event
from orchkit.model.fold import apply, fold
from orchkit.model.graph import Graph
from orchkit.model.state import RunState
from orchkit.runs.simulate import prepare
from tests.support.counting import Item, lines_run
from tests.support.engines import Drive, Lagging

SECOND = 1_000_000
SMALL, LARGE = 250, 1000
LINEAR = 4.8  # times the work for four times as much; a heap's logarithm is in it, a square would be 16

Log = list[Event]


class Notes(BaseModel):
    notes: list[str] = []


def mapped(*, shared: bool = False, on_error: Any = "fail") -> Graph:
    """Make a map over the input, and a join behind it."""
    wf = ok.Workflow("mapped", input=list)
    if shared:
        wf.context(Notes, merge={"notes": ok.append})

    @wf.map(over="input", on_error=on_error)
    async def each(item: int, ctx: ok.Context) -> int: ...

    @wf.step
    async def join(each: list) -> int: ...

    return wf.checked()


def chained(length: int) -> Graph:
    """Make a chain of steps."""
    wf = ok.Workflow("chain", input=int)
    source = "input"
    for i in range(length):
        scope: dict[str, Any] = {}
        exec(f"async def s{i}({source}: int) -> int: ...", scope)
        wf.step(scope[f"s{i}"])
        source = f"s{i}"
    return wf.checked()


def begun(n: int) -> Log:
    return [
        Event(0, "run_started", body={"input": list(range(n))}),
        *(Event(0, "started", "each", Item(i), attempt=1) for i in range(n)),
    ]


def ended(n: int, generation: int = 1) -> Iterator[Event]:
    for i in range(n):
        yield Event(1, "context", "each", Item(i), generation, attempt=1, body={"notes": ["n"]})
        yield Event(1, "completed", "each", Item(i), generation, attempt=1, status="ok", body=i)
        yield Event(1, "settled", "each", Item(i), generation, status="completed")


def cancelled(n: int) -> Log:
    return [
        *begun(n),
        Event(1, "cancelled"),
        *(Event(1, "cancelled", "each", Item(i), attempt=1, dur=1) for i in range(n)),
        Event(1, "run_ended", status="cancelled"),
    ]


def skipped(n: int) -> Log:
    log = begun(n)
    for i in range(n):
        log.append(Event(1, "failed", "each", Item(i), attempt=1, status="error", error="E: no"))
        log.append(Event(1, "skipped", "each", Item(i), status="error", error="E: no"))
    log.append(Event(1, "settled", "each", status="degraded"))
    join = [("started", 1, "", None), ("completed", 1, "ok", 7), ("settled", 0, "completed", None)]
    log += [Event(1, kind, "join", attempt=attempt, status=status, body=body) for kind, attempt, status, body in join]
    return [*log, Event(1, "run_ended", status="failed")]


def joined(n: int) -> Log:
    return [
        *begun(n),
        *ended(n),
        Event(1, "settled", "each", status="completed"),
        Event(2, "started", "join", attempt=1),
        Event(2, "completed", "join", attempt=1, status="ok", body=7),
        Event(2, "settled", "join", status="completed"),
    ]


def follow(graph: Graph, state: RunState) -> Log:
    """Do what the plan says, as an engine would, up to the closing of the map; give what that records."""
    log = []
    while (action := plan(state)) is not None and action.verb in ("invalidate", "start"):
        name, generation = graph.nodes[action.node].name, state.generation(action.node, action.item)
        if action.verb == "invalidate":
            event = Event(2, "invalidated", name, action.item, generation + 1, status=state.stale[action[1:]])
        else:
            event = Event(2, "started", name, action.item, generation, attempt=1)
        apply(state, event)
        log.append(event)
    return log


def start_of_a_map(n: int) -> Callable[[], object]:
    graph, log = mapped(), begun(n)[:1]
    return lambda: follow(graph, fold(graph, log))


def end_of_a_map(n: int) -> Callable[[], object]:
    graph, log = mapped(shared=True), [*begun(n), *ended(n)]
    return lambda: follow(graph, fold(graph, log))


def resume_of_a_cancelled_map(n: int) -> Callable[[], object]:
    graph, log = mapped(shared=True), [*cancelled(n), Event(1, "resumed")]
    return lambda: follow(graph, fold(graph, log))


def resume_of_a_half_done_map(n: int) -> Callable[[], object]:
    graph = mapped(shared=True)
    log = [*begun(n), *ended(n // 2), *cancelled(n)[n + 1 + n // 2 :], Event(1, "resumed")]
    log = [event for event in log if event.kind != "cancelled" or event.item >= n // 2 or not event.node]
    return lambda: follow(graph, fold(graph, log))


def resume_of_a_map_whose_items_were_skipped(n: int) -> Callable[[], object]:
    graph, log = mapped(on_error="skip"), [*skipped(n), Event(1, "resumed")]
    return lambda: follow(graph, fold(graph, log))


def items_invalidated_from_the_last_to_the_first(n: int) -> Callable[[], object]:
    graph, log = mapped(shared=True), joined(n)
    log += [Event(2, "invalidated", "each", Item(i), 2, status="retry") for i in reversed(range(n))]
    return lambda: follow(graph, fold(graph, log))


def resumed_and_read_by_another_shape(n: int) -> Callable[[], object]:
    graph, log = mapped(shared=True), [*cancelled(n), Event(1, "resumed")]
    log += follow(graph, fold(graph, log))
    log.append(Event(3, "resumed", body={"fingerprints": {}}))
    return lambda: fold(graph, log)


def fork_at_the_join(n: int) -> Callable[[], object]:
    graph = mapped(shared=True)
    log = [event for event in joined(n) if event.node != "join"]
    log.append(Event(2, "resumed", body={"fingerprints": {}}))
    return lambda: follow(graph, fold(graph, log))


def generations_of_one_step(n: int, *, read: Sequence[Event] = ()) -> Callable[[], object]:
    graph, log = chained(1), [Event(0, "run_started", body={"input": 1})]
    for generation in range(1, n + 1):
        log.append(Event(1, "started", "s0", -1, generation, attempt=1))
        log.append(Event(1, "completed", "s0", -1, generation, attempt=1, status="ok", body=generation))
        log.append(Event(1, "settled", "s0", -1, generation, status="completed"))
        log.append(Event(1, "invalidated", "s0", -1, generation + 1, status="retry"))
    return lambda: fold(graph, [*log, *read])


def generations_of_one_step_read_by_another_shape(n: int) -> Callable[[], object]:
    return generations_of_one_step(n, read=[Event(2, "resumed", body={"fingerprints": {}})])


def generations_of_a_step_beside_an_open_map(n: int) -> Callable[[], object]:
    wf = ok.Workflow("beside", input=list)

    @wf.map(over="input")
    async def each(item: int) -> int: ...

    @wf.step
    async def s0(input: list) -> int: ...

    graph = wf.checked()
    log = begun(n)
    for generation in range(1, n + 1):
        log.append(Event(1, "started", "s0", -1, generation, attempt=1))
        log.append(Event(1, "completed", "s0", -1, generation, attempt=1, status="ok", body=generation))
        log.append(Event(1, "settled", "s0", -1, generation, status="completed"))
        log.append(Event(1, "invalidated", "s0", -1, generation + 1, status="retry"))
    return lambda: fold(graph, log)


SCENES = [
    start_of_a_map,
    end_of_a_map,
    resume_of_a_cancelled_map,
    resume_of_a_half_done_map,
    resume_of_a_map_whose_items_were_skipped,
    items_invalidated_from_the_last_to_the_first,
    resumed_and_read_by_another_shape,
    fork_at_the_join,
    generations_of_one_step,
    generations_of_one_step_read_by_another_shape,
    generations_of_a_step_beside_an_open_map,
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_fold_and_plan_grow_in_step_with_what_there_is(scene: Callable[[int], Callable[[], object]]) -> None:
    small, large = (lines_run(scene(n)) for n in (SMALL, LARGE))
    assert large < LINEAR * small, f"{large / small:.1f} times the work for {LARGE // SMALL} times as much"


def engine_of_a_map() -> Any:
    wf = ok.Workflow("mapped", input=list)

    @wf.map(over="input")
    async def each(item: int) -> int: ...

    @wf.step
    async def join(each: list) -> int: ...

    return prepare(wf.checked(), ok.World(each=ok.fake(1, latency=1.0), join=ok.fake(1, latency=1.0)))


def run_of_a_map(n: int) -> Callable[[], object]:
    program = engine_of_a_map()
    return lambda: Drive(program).start(list(range(n))).run()


def cancel_of_open_items(n: int) -> Callable[[], object]:
    drive = Drive(engine_of_a_map()).start(list(range(n)))
    return drive.execution.cancel


def resume_after_cancel(n: int) -> Callable[[], object]:
    program = engine_of_a_map()
    drive = Drive(program).start(list(range(n)))
    drive.execution.cancel()

    def resume() -> None:
        again = Drive(program, events=drive.log)
        again.execution.record(Event(again.execution.t(), "resumed"))
        again.redrive().run()
        assert again.execution.state.status == "completed"

    return resume


def resume_after_suspend(n: int) -> Callable[[], object]:
    program = engine_of_a_map()
    drive = Drive(program).start(list(range(n)))
    suspend(drive.execution)

    def resume() -> None:
        again = Drive(program, events=drive.log).redrive().run()
        assert again.execution.state.status == "completed"

    return resume


def resume_of_effects_that_wait_for_the_disk(n: int) -> Callable[[], object]:
    wf = ok.Workflow("sending", input=list)

    @wf.map(over="input", effect=True)
    async def each(item: int, ctx: ok.Context) -> int:
        await ctx.sleep(5.0)
        return 1

    program = Program(wf.checked())
    drive = Drive(program, journal=lambda kernel: Lagging(kernel, SECOND)).start(list(range(n)))
    log = list(drive.until(6 * SECOND + SECOND // 2).log)
    assert [event.kind for event in log].count("completed") == n
    assert log[-1].kind == "completed"

    def resume() -> None:
        again = Drive(program, events=log).redrive().run()
        assert again.execution.state.status == "completed"

    return resume


def open_items_dropped_one_by_one(n: int) -> Callable[[], object]:
    drive = Drive(engine_of_a_map()).start(list(range(n)))

    def again() -> None:
        for item in range(n):
            drive.execution.invalidate(0, item)
        assert drive.execution.error is None

    return again


ENGINES = [
    run_of_a_map,
    cancel_of_open_items,
    resume_after_cancel,
    resume_after_suspend,
    resume_of_effects_that_wait_for_the_disk,
    open_items_dropped_one_by_one,
]


@pytest.mark.parametrize("scene", ENGINES, ids=lambda scene: scene.__name__)
def test_an_engine_grows_in_step_with_the_items_of_its_map(scene: Callable[[int], Callable[[], object]]) -> None:
    small, large = (lines_run(scene(n)) for n in (SMALL, LARGE))
    assert large < LINEAR * small, f"{large / small:.1f} times the work for {LARGE // SMALL} times as much"

"""Compensation: what is undone, in which order, and every prefix of it."""

from __future__ import annotations

from typing import Any

import pytest

import orchkit as ok
from orchkit.model.events import Event, decode_log, encode_log
from orchkit.runs.simulate import prepare
from orchkit.testing import every_prefix
from tests.support.engines import Drive


def saga(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("saga", input=str)

    def cancel_flight(book: str) -> None: ...
    def refund(charge: str, book: str, ctx: ok.Context) -> str: ...
    def recall(item: str, notify: str) -> None: ...

    @wf.step(effect=True, undo=cancel_flight)
    def book(input: str) -> str: ...

    @wf.step(effect=True, undo=ok.step(refund), **options)
    def charge(book: str) -> str: ...

    @wf.step
    def people(charge: str) -> list[str]: ...

    @wf.map(over="people", undo=recall)
    def notify(item: str) -> str: ...

    @wf.step
    def ship(notify: list[str]) -> str: ...

    return wf


UNDOS = ("book/undo:cancel_flight", "charge/undo:refund", "notify/undo:recall")


def world(**error: float) -> ok.World:
    def model(name: str, value: Any) -> Any:
        return ok.fake(value, latency=1.0, error=error.get(name, 0.0))

    models = {path: model(path.rpartition(":")[2], None if "refund" not in path else "back") for path in UNDOS}
    names = {name: model(name, name) for name in ("book", "charge", "ship")}
    return ok.World(
        models | names, people=model("people", ["a", "b"]), notify=ok.fake(lambda i, _: i["item"], latency=1.0)
    )


def undone(log: list[Event]) -> list[tuple[str, int, str]]:
    return [(e.node, e.item, e.status) for e in log if e.kind == "undone"]


def test_what_is_done_is_undone_the_last_first() -> None:
    run = saga().simulate("x", world=world(ship=1.0))
    assert run.status == "failed"
    assert undone(run.log) == [
        ("notify", 1, "completed"),
        ("notify", 0, "completed"),
        ("charge", -1, "completed"),
        ("book", -1, "completed"),
    ]
    tail = [(e.kind, e.node) for e in run.log[-4:]]
    assert tail == [
        ("started", "book/undo:cancel_flight"),
        ("completed", "book/undo:cancel_flight"),
        ("undone", "book"),
        ("run_ended", ""),
    ]
    keys = {e.node: e.key for e in run.log if e.kind == "started" and "undo" in e.node and e.item < 0}
    assert keys == {"charge/undo:refund": "charge/undo:refund", "book/undo:cancel_flight": "book/undo:cancel_flight"}


def test_a_run_that_delivers_undoes_nothing() -> None:
    run = saga().simulate("x", world=world())
    assert (run.status, undone(run.log)) == ("completed", [])


def test_an_undo_that_fails_for_good_is_told_and_the_rest_is_undone() -> None:
    run = saga().simulate("x", world=world(ship=1.0, refund=1.0))
    assert undone(run.log)[-2:] == [("charge", -1, "failed"), ("book", -1, "completed")]
    assert sum(e.kind == "started" and e.node == "charge/undo:refund" for e in run.log) == 3
    with pytest.raises(ok.RunError, match=r"ship failed: .*; could not be undone: charge \(SimulatedError: "):
        run.result()
    once = saga(retry=1).simulate("x", world=world(ship=1.0, refund=1.0))
    assert sum(e.kind == "started" and e.node == "charge/undo:refund" for e in once.log) == 1


def test_faults_and_worlds_address_an_undo() -> None:
    storm = ok.Faults(ok.faults.fail("charge/undo:refund", first=1))
    run = saga().simulate("x", world=world(ship=1.0), faults=storm)
    assert [e.status for e in run.log if e.kind == "failed" and "undo" in e.node] == ["error"]
    assert undone(run.log)[2] == ("charge", -1, "completed")
    bare = ok.World(dict.fromkeys(UNDOS[:1], ok.real), **dict.fromkeys(("book", "charge", "ship", "people"), ok.real))
    with pytest.raises(ok.SimulationError, match="'charge/undo:refund' has an effect on the world"):
        saga().simulate("x", world=bare)


def test_an_undo_gets_what_its_node_came_to_and_its_inputs() -> None:
    seen: list[Any] = []
    wf = ok.Workflow("order", input=str)

    def refund(charge: str, plan: list[str], input: str, ctx: ok.Context) -> None:
        seen.append((charge, plan, input, ctx.idempotency_key.partition(":")[2], ctx.node))

    def recall(item: str, tell: str) -> None:
        seen.append((item, tell))

    @wf.step
    def plan(input: str) -> list[str]:
        return [input, "b"]

    @wf.map(over="plan", undo=recall)
    def tell(item: str) -> str:
        return item.upper()

    @wf.step(undo=refund)
    def charge(plan: list[str], input: str, tell: list[str]) -> str:
        return "receipt"

    @wf.step
    def ship(charge: str) -> str:
        raise ValueError("out of stock")

    wf.simulate("a", world=ok.World())
    assert seen == [("receipt", ["a", "b"], "a", "charge/undo:refund", "charge/undo:refund"), ("b", "B"), ("a", "A")]


@pytest.mark.parametrize("bad", [lambda charge: None, "refund", 3])
def test_an_undo_is_a_named_function(bad: Any) -> None:
    wf = ok.Workflow("order", input=str)
    with pytest.raises(ok.DefinitionError, match="undo="):

        @wf.step(undo=bad)
        def charge(input: str) -> str: ...


def test_an_undo_asks_only_for_what_its_node_has() -> None:
    wf = ok.Workflow("order", input=str)

    def refund(receipt: str) -> None: ...

    @wf.step(undo=refund)
    def charge(input: str) -> str: ...

    with pytest.raises(ok.DefinitionError, match="undo 'refund' of 'charge' asks for 'receipt'; it gets"):
        wf.simulate("x", world=ok.World(charge=ok.fake("x")))


def nested() -> ok.Workflow:
    inner = ok.Workflow("inner", input=str)

    def unreserve(reserve: str) -> None: ...
    def cancel_flight(book: str) -> None: ...

    @inner.step(undo=unreserve)
    def reserve(input: str) -> str: ...

    @inner.step
    def check(reserve: str) -> str: ...

    wf = ok.Workflow("outer", input=str)

    @wf.step(undo=cancel_flight)
    def book(input: str) -> str: ...

    wf.call("trip", inner, input="book", retry=ok.Retry(2, wait=ok.backoff(base=1.0, jitter=None)))
    return wf


def nested_world(check: float) -> ok.World:
    paths = ("trip/reserve", "trip/check", "trip/reserve/undo:unreserve", "book", "book/undo:cancel_flight")
    return ok.World(
        {
            path: ok.fake(None if "undo" in path else path, latency=1.0, error=check * (path == "trip/check"))
            for path in paths
        }
    )


def test_what_lies_within_a_node_is_undone_once_when_the_run_fails() -> None:
    run = nested().simulate("x", world=nested_world(1.0))
    assert undone(run.log) == [("trip~2/reserve", -1, "completed"), ("book", -1, "completed")]
    assert [e.node for e in run.log if e.kind == "started" and "undo" in e.node] == [
        "trip~2/reserve/undo:unreserve",
        "book/undo:cancel_flight",
    ]


@pytest.mark.parametrize("errors", [{"ship": 1.0}, {"ship": 1.0, "refund": 0.5, "recall": 0.4}, {"charge": 1.0}])
@pytest.mark.parametrize("seed", range(4))
def test_every_prefix_of_a_compensation_resumes_to_the_same_end(errors: dict[str, float], seed: int) -> None:
    report = every_prefix(saga(retry=2), "x", world=world(**errors), seed=seed)
    assert report.ok, report


@pytest.mark.parametrize("check", [1.0, 0.7])
def test_every_prefix_of_a_nested_compensation(check: float) -> None:
    for seed in range(4):
        report = every_prefix(nested(), "x", world=nested_world(check), seed=seed)
        assert report.ok, report


def go_on(wf: ok.Workflow, world: ok.World, log: list[Event]) -> list[Event]:
    program = prepare(wf.checked(), world)
    drive = Drive(program, events=decode_log(encode_log(log)))
    drive.execution.record(Event(drive.execution.t(), "resumed"))
    drive.redrive().run()
    assert drive.execution.error is None, drive.execution.error
    whole = list(drive.log)
    for cut in range(len(log) + 1, len(whole)):
        again = Drive(program, events=decode_log(encode_log(whole[:cut]))).redrive().run()
        assert again.log == whole, cut
    return whole


def test_a_resume_does_again_what_was_undone_under_another_key() -> None:
    first = saga().simulate("x", world=world(ship=1.0, recall=1.0))
    log = go_on(saga(), world(), first.log)
    assert log[-1].status == "completed"
    new = log[len(first.log) :]
    assert [(e.node, e.item, e.status, e.key) for e in new if e.kind == "invalidated"] == [
        ("book", -1, "undone", "book#2"),
        ("charge", -1, "undone", "charge#2"),
        ("ship", -1, "failed", ""),
    ]
    assert {e.key for e in new if e.kind == "started" and e.node in ("book", "charge")} == {"book#2", "charge#2"}


def test_what_is_undone_twice_has_another_key_each_time() -> None:
    first = saga().simulate("x", world=world(ship=1.0))
    log = go_on(saga(), world(ship=1.0), first.log)
    assert log[-1].status == "failed"
    keys = [e.key for e in log if e.kind == "started" and e.node == "charge/undo:refund"]
    assert keys == ["charge/undo:refund", "charge/undo:refund#2"]
    assert len(undone(log)) == 8


def test_a_nested_resume_goes_on_with_the_attempt_that_was_undone() -> None:
    first = nested().simulate("x", world=nested_world(1.0))
    log = go_on(nested(), nested_world(0.0), first.log)
    assert log[-1].status == "completed"
    new = [e for e in log[len(first.log) :] if e.kind in ("started", "invalidated")]
    assert [(e.kind, e.node, e.status) for e in new] == [
        ("invalidated", "book", "undone"),
        ("invalidated", "trip", "failed"),
        ("started", "book", ""),
        ("started", "trip", ""),
        ("invalidated", "trip~2/reserve", "undone"),
        ("invalidated", "trip~2/check", "failed"),
        ("started", "trip~2/reserve", ""),
        ("started", "trip~2/check", ""),
    ]


@pytest.mark.parametrize("undo", [False, True])
def test_a_run_that_is_cancelled_keeps_what_it_did_unless_that_is_to_be_undone(undo: bool) -> None:
    program = prepare(saga().checked(), world())
    drive = Drive(program).start("x").until(2_500_000)
    begin = len(drive.log) + 1
    drive.execution.cancel("lee", "too late", undo)
    drive.run()
    assert drive.log[-1].status == "cancelled"
    assert undone(drive.log) == ([("charge", -1, "completed"), ("book", -1, "completed")] if undo else [])
    for cut in range(begin, len(drive.log)):
        assert Drive(program, events=drive.log[:cut]).redrive().run().log == drive.log


def test_an_undo_waits_while_the_run_is_paused() -> None:
    from orchkit.engine import operating

    program = prepare(saga().checked(), world(ship=1.0))
    drive = Drive(program).start("x").until(4_500_000)
    operating.pause(drive.execution)
    drive.run()
    assert not undone(drive.log)
    assert operating.is_quiet(drive.execution)
    paused = list(drive.log)
    for one in (drive, Drive(program, events=paused).redrive()):
        operating.unpause(one.execution)
        one.run()
        assert len(undone(one.log)) == 4
    assert one.log == drive.log

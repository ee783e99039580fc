"""Maps: what stands for a failed item, how many are enough, what an item is known by, and who begins when."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.model.events import Event, decode_log, encode_log
from orchkit.runs.simulate import prepare
from orchkit.testing import every_prefix
from tests.support.engines import Drive

SECOND = 1_000_000


class Order(BaseModel):
    id: int
    wait: float = 1.0
    bad: bool = False


def by_id(item: Order) -> str:
    return f"order-{item.id}"


def orders(*rows: tuple[int, float, bool]) -> list[dict[str, Any]]:
    return [{"id": i, "wait": wait, "bad": bad} for i, wait, bad in rows]


GOOD = orders((1, 3, False), (2, 1, False), (3, 2, False), (4, 9, False))
BAD = orders((1, 3, False), (2, 1, True), (3, 2, True), (4, 9, False))


def sending(**options: Any) -> ok.Workflow:
    wf = ok.Workflow("sending", input=list)

    @wf.map(over="input", **options)
    async def send(item: Order, ctx: ok.Context) -> str:
        await ctx.sleep(item.wait)
        if item.bad:
            raise ConnectionError("down")
        return f"sent {item.id}"

    return wf


def of_items(run: ok.Run, *kinds: str) -> list[tuple[str, int, str, int]]:
    return [(e.kind, e.item, e.status, e.t // SECOND) for e in run.log if e.item >= 0 and e.kind in kinds]


# What stands in the place of a failed item


def test_a_collected_failure_keeps_its_place() -> None:
    wf = sending(on_error="collect")

    @wf.step
    def count(send: list[str | ok.ItemFailed]) -> dict[str, Any]:
        return {str(i): getattr(one, "error", one) for i, one in enumerate(send)}

    run = wf.simulate(BAD, world=ok.World())
    assert run.status == "degraded"
    assert run.result() == {"0": "sent 1", "1": "ConnectionError: down", "2": "ConnectionError: down", "3": "sent 4"}
    assert of_items(run, "skipped") == [("skipped", 1, "error", 1), ("skipped", 2, "error", 2)]
    assert every_prefix(wf, BAD, world=ok.World()).ok


def test_the_result_of_a_collecting_map_has_its_types_again() -> None:
    run = sending(on_error="collect").simulate(BAD, world=ok.World())
    assert run.result() == [
        "sent 1",
        ok.ItemFailed(item=1, error="ConnectionError: down"),
        ok.ItemFailed(item=2, error="ConnectionError: down"),
        "sent 4",
    ]
    assert run.log[-1].body[1] == {"item": 1, "error": "ConnectionError: down"}


def test_a_collected_failure_comes_out_of_a_called_workflow() -> None:
    wf = ok.Workflow("outer", input=list)
    wf.call("inner", sending(on_error="collect"))
    run = wf.simulate(BAD, world=ok.World())
    assert run.result()[1] == ok.ItemFailed(item=1, error="ConnectionError: down")


def test_what_cannot_be_gone_over_fails_a_collecting_map() -> None:
    wf = ok.Workflow("no-list")

    @wf.map(over="input", on_error="collect")
    def each(item: str) -> str: ...

    run = wf.simulate("abc", world=ok.World(each=ok.fake("x")))
    assert run.status == "failed"
    with pytest.raises(ok.RunError, match="it needs a list"):
        run.result()


# How many are enough


def test_a_quorum_settles_as_soon_as_so_many_have_delivered() -> None:
    run = sending(quorum=2).simulate(GOOD, world=ok.World())
    assert (run.result(), run.status, run.log[-1].t) == (["sent 2", "sent 3"], "completed", 2 * SECOND)
    assert of_items(run, "cancelled", "skipped") == [
        ("cancelled", 0, "", 2), ("skipped", 0, "spared", 2), ("cancelled", 3, "", 2), ("skipped", 3, "spared", 2),
    ]  # fmt: skip
    assert every_prefix(sending(quorum=2), GOOD, world=ok.World()).ok


def test_what_has_not_begun_never_begins() -> None:
    run = sending(quorum=2, limit=2).simulate(GOOD, world=ok.World())
    assert [item for _, item, _, _ in of_items(run, "started")] == [0, 1, 2]
    assert run.result() == ["sent 1", "sent 2"]  # at one instant the item with the smaller index is first


def test_a_failure_does_not_matter_as_long_as_the_quorum_can_be_met() -> None:
    run = sending(quorum=2).simulate(BAD, world=ok.World())
    assert (run.result(), run.status) == (["sent 1", "sent 4"], "completed")
    assert of_items(run, "skipped") == [("skipped", 1, "tolerated", 1), ("skipped", 2, "tolerated", 2)]


def test_a_quorum_that_cannot_be_met_any_more_fails_the_map_at_once() -> None:
    run = sending(quorum=3).simulate(BAD, world=ok.World())
    with pytest.raises(
        ok.RunError, match=r"QuorumMissed: 3 of the 4 items of 'send' had to deliver, and 2 failed; item 1: Connection"
    ) as caught:
        run.result()
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert run.log[-1].t == 2 * SECOND
    assert [row[:3] for row in of_items(run, "cancelled", "skipped")][1:] == [
        ("skipped", 2, "tolerated"), ("cancelled", 0, ""), ("skipped", 0, "spared"), ("cancelled", 3, ""),
        ("skipped", 3, "spared"),
    ]  # fmt: skip


def test_on_error_says_what_a_missed_quorum_means() -> None:
    wf = sending(quorum=3, on_error="skip")

    @wf.step
    def after(input: list, send: list[str] | None = None) -> str:
        return f"went on with {send}"

    run = wf.simulate(BAD, world=ok.World())
    assert (run.result(), run.status) == ("went on with None", "degraded")
    assert every_prefix(wf, BAD, world=ok.World()).ok


@pytest.mark.parametrize("quorum", [1, 3, 0.5])
def test_a_quorum_of_an_empty_list_is_an_empty_list(quorum: Any) -> None:
    run = sending(quorum=quorum).simulate([], world=ok.World())
    assert (run.result(), run.status) == ([], "completed")


def test_a_list_that_is_too_short_fails_before_anything_begins() -> None:
    run = sending(quorum=5).simulate(GOOD, world=ok.World())
    with pytest.raises(ok.RunError, match="5 of the 4 items of 'send' had to deliver, which never can be"):
        run.result()
    assert not of_items(run, "started")


def test_a_share_is_rounded_up() -> None:
    run = sending(quorum=0.51).simulate(GOOD, world=ok.World())
    assert len(run.result()) == 3


def test_a_missed_quorum_goes_on_with_what_did_not_deliver() -> None:
    wf = sending(quorum=3)
    program = prepare(wf.checked(), ok.World())
    log = list(wf.simulate(BAD, world=ok.World()).log)
    drive = Drive(program, events=log)
    drive.execution.record(Event(drive.execution.t(), "resumed"))
    begin = len(drive.log)
    drive.redrive().run()
    started = [e.item for e in drive.log[begin:] if e.kind == "started"]
    assert started == [0, 1, 2, 3]
    # Item 0 of this list delivers before the third failure, and is not repeated.
    early = [{**one, "wait": 0.5} if one["id"] == 1 else one for one in BAD]
    drive = Drive(program, events=list(wf.simulate(early, world=ok.World()).log))
    drive.execution.record(Event(drive.execution.t(), "resumed"))
    begin = len(drive.log)
    drive.redrive().run()
    assert [e.item for e in drive.log[begin:] if e.kind == "started"] == [1, 2, 3]


def test_a_delivered_item_that_starts_again_brings_back_what_was_spared() -> None:
    wf = sending(quorum=2)

    @wf.step
    def after(send: list[str], ctx: ok.Context) -> str: ...

    program = prepare(wf.checked(), ok.World(after=ok.fake("x", latency=60.0)))
    drive = Drive(program).start(GOOD).until(5 * SECOND)
    assert drive.execution.state.value("send") == ["sent 2", "sent 3"]
    drive.execution.invalidate(0, 1)
    assert [(e.item, e.status) for e in drive.log if e.kind == "invalidated" and e.node == "send"] == [
        (1, "retry"), (0, "stale"), (3, "stale"),
    ]  # fmt: skip
    drive.run()
    assert drive.execution.state.value("send") == ["sent 2", "sent 3"]
    assert drive.execution.state.status == "completed"


def test_spared_items_with_a_body_cancel_what_is_inside() -> None:
    body = ok.Workflow("body", input=Order)

    @body.step
    async def nap(input: Order, ctx: ok.Context) -> int:
        await ctx.sleep(input.wait)
        return input.id

    wf = ok.Workflow("outer", input=list)
    wf.map("send", over="input", body=body, quorum=1)
    run = wf.simulate(GOOD, world=ok.World())
    assert run.result() == [2]
    assert [e.node for e in run.log if e.kind == "cancelled"] == [
        "send[0]/nap", "send", "send[2]/nap", "send", "send[3]/nap", "send",
    ]  # fmt: skip
    assert every_prefix(wf, GOOD, world=ok.World()).ok


def test_a_spared_body_does_not_run_again_on_a_resume() -> None:
    ran: Counter[int] = Counter()
    wf = ok.Workflow("w", input=list)

    @wf.map(over="input", quorum=1)
    async def nap(item: float, ctx: ok.Context) -> float:
        ran[ctx.item] += 1
        await ctx.sleep(item)
        return item

    program = prepare(wf.checked(), ok.World())
    log = Drive(program).start([1.0, 2.0]).run().log
    cut = next(i for i, e in enumerate(log) if e.kind == "completed") + 1
    ran.clear()
    drive = Drive(program, events=decode_log(encode_log(log[:cut]))).redrive().run()
    assert drive.log == log
    assert not ran


# What an item is known by


def luck(wf: ok.Workflow, world: ok.World, given: list[Any]) -> dict[Any, Any]:
    log = wf.simulate(given, world=world).log
    return {given[e.item]["id"]: e.dur for e in log if e.kind == "completed" and e.item >= 0}


def test_another_order_leaves_each_items_luck_as_it_is() -> None:
    world = ok.World(send=ok.fake("sent", latency=ok.dist.exponential(mean=2)))
    turned = GOOD[::-1]
    assert luck(sending(key=by_id), world, GOOD) == luck(sending(key=by_id), world, turned)
    assert luck(sending(), world, GOOD) != luck(sending(), world, turned)


def test_the_idempotency_key_bears_the_items_key() -> None:
    wf = ok.Workflow("w", input=list)

    @wf.map(over="input", key=by_id, effect=True)
    def send(item: Order, ctx: ok.Context) -> str:
        return ctx.idempotency_key.partition(":")[2]

    run = wf.simulate(GOOD, world=ok.World(send=ok.real))
    assert run.result() == [f"send[order-{i}]" for i in (1, 2, 3, 4)]
    assert next((e.item, e.key) for e in run.log if e.kind == "started") == (0, "send[order-1]")
    assert wf.simulate(GOOD[::-1], world=ok.World(send=ok.real)).result() == run.result()[::-1]


@pytest.mark.filterwarnings("ignore:.*both retry")
def test_what_is_inside_an_item_goes_by_its_key_too() -> None:
    body = ok.Workflow("body", input=Order)

    @body.step(effect=True, retry=ok.Retry(2, wait=ok.backoff(base=0.0)))
    def send(input: Order, ctx: ok.Context) -> list[Any]:
        if ctx.attempt < 2:
            raise ConnectionError("down")
        return [ctx.idempotency_key.partition(":")[2], ctx.random.random()]

    wf = ok.Workflow("outer", input=list)
    wf.map("each", over="input", body=body, key=by_id, retry=2)
    run, turned = (wf.simulate(given, world=ok.World({"each/send": ok.real})) for given in (GOOD, GOOD[::-1]))
    assert [row[0] for row in run.result()] == [f"each[order-{i}]/send" for i in (1, 2, 3, 4)]
    assert turned.result() == run.result()[::-1]
    assert {e.node for e in run.log if e.item < 0 and e.node} == {"each", *(f"each[{i}]/send" for i in range(4))}


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_two_items_of_one_key_fail_the_map(on_error: Any) -> None:
    wf = sending(key=by_id, on_error=on_error)
    run = wf.simulate([*GOOD, GOOD[1]], world=ok.World())
    (end,) = [e for e in run.log if e.node == "send"]
    assert end.kind == {"fail": "settled", "skip": "skipped"}[on_error]
    assert "key= gives 'order-2' to item 1 (Order(id=2, " in end.error
    assert "and to item 4 (Order(id=2, " in end.error
    assert every_prefix(wf, [*GOOD, GOOD[1]], world=ok.World()).ok


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (lambda item: 1 // 0, r"key= of item 0 \(Order\(id=1.*\) raises ZeroDivisionError"),
        (lambda item: None, r"key= of item 0 .* gives None; give a text or a whole number"),
        (lambda item: "", r"gives ''; give a text"),
        (lambda item: True, r"gives True; give a text"),
        (lambda item: "\ud800", r"raises UnicodeEncodeError"),
    ],
)
def test_a_key_that_makes_no_sense_fails_the_map(key: Any, said: str) -> None:
    key.__name__ = "key"
    run = sending(key=key).simulate(GOOD, world=ok.World())
    with pytest.raises(ok.RunError, match=said):
        run.result()


def test_a_key_is_asked_once_an_item() -> None:
    asked: Counter[int] = Counter()

    def counted(item: Order) -> int:
        asked[item.id] += 1
        return item.id

    run = sending(key=counted, retry=3).simulate(BAD, world=ok.World())
    assert run.status == "failed"
    assert asked == {1: 1, 2: 1, 3: 1, 4: 1}


# Policies and faults are each item's own


def test_each_item_has_its_own_retries() -> None:
    wf = ok.Workflow("w", input=list)

    @wf.map(over="input", retry=ok.Retry(3, wait=ok.backoff(base=1.0, jitter=None)))
    def look(item: int, ctx: ok.Context) -> str:
        if ctx.attempt < item:
            raise ConnectionError("down")
        return f"{item} on attempt {ctx.attempt}"

    run = wf.simulate([1, 3, 2], world=ok.World())
    assert run.result() == ["1 on attempt 1", "3 on attempt 3", "2 on attempt 2"]


def test_each_item_has_its_own_time_and_its_own_fallback() -> None:
    wf = ok.Workflow("w", input=list)

    def spare(item: float, error: Any) -> str:
        return f"no {item}"

    @wf.map(over="input", timeout=2.0, fallback=spare, limit=1)
    async def nap(item: float, ctx: ok.Context) -> str:
        await ctx.sleep(item)
        return f"slept {item}"

    run = wf.simulate([1.0, 5.0, 1.5], world=ok.World())
    assert run.result() == ["slept 1.0", "no 5.0", "slept 1.5"]
    assert run.log[-1].t == 4.5 * SECOND


@pytest.mark.parametrize("trigger", [{"first": 1}, {"nth": 2}])
def test_faults_count_the_attempts_of_each_item(trigger: Any) -> None:
    faults = ok.Faults(ok.faults.fail("send", **trigger))
    run = sending(retry=ok.Retry(3, wait=ok.backoff(base=0.0))).simulate(GOOD, world=ok.World(), faults=faults)
    struck = [(e.item, e.attempt) for e in run.log if e.kind == "injected"]
    assert struck == ([(i, 1) for i in range(4)] if "first" in trigger else [])
    assert run.status == "completed"


def test_luck_of_faults_goes_by_the_key() -> None:
    faults = ok.Faults(ok.faults.fail("send", rate=0.5))
    given = orders(*((i, 1, False) for i in range(12)))

    def struck(rows: list[Any]) -> set[int]:
        run = sending(key=by_id, on_error="skip").simulate(rows, world=ok.World(), faults=faults, seed=3)
        return {rows[e.item]["id"] for e in run.log if e.kind == "injected"}

    assert struck(given) == struck(given[::-1])
    assert 0 < len(struck(given)) < 12


# Streams


def pipeline(first: Any = None, **options: Any) -> ok.Workflow:
    wf = ok.Workflow("pipeline", input=list)

    @wf.map(over="input", **(first or {}))
    async def fetch(item: float, ctx: ok.Context) -> float:
        await ctx.sleep(abs(item))
        if item < 0:
            raise ConnectionError("down")
        return item

    @wf.map(over="fetch", **({"stream": True} | options))
    async def read(item: float, ctx: ok.Context) -> str:
        await ctx.sleep(1)
        return f"read {item:g}"

    return wf


def begun(run: Any, node: str = "read") -> list[tuple[int, float]]:
    return [(e.item, e.t / SECOND) for e in run.log if e.kind == "started" and e.node == node]


def test_an_item_begins_as_soon_as_its_own_source_has_delivered() -> None:
    run = pipeline().simulate([3.0, 1.0, 2.0], world=ok.World())
    assert begun(run) == [(1, 1), (2, 2), (0, 3)]
    assert run.result() == ["read 3", "read 1", "read 2"]
    waits = pipeline(stream=False).simulate([3.0, 1.0, 2.0], world=ok.World())
    assert begun(waits) == [(0, 3), (1, 3), (2, 3)]
    assert waits.result() == run.result()


def test_the_limits_hold_on_each() -> None:
    run = pipeline({"limit": 2}, limit=1).simulate([1.0, 1.0, 1.0, 1.0], world=ok.World())
    assert begun(run, "fetch") == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert begun(run) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_what_the_source_skipped_is_left_out() -> None:
    wf = pipeline({"on_error": "skip"})
    run = wf.simulate([3.0, -1.0, 2.0], world=ok.World())
    assert (run.result(), run.status) == (["read 3", "read 2"], "degraded")
    assert begun(run) == [(2, 2), (0, 3)]
    assert every_prefix(wf, [3.0, -1.0, 2.0], world=ok.World()).ok
    nothing = pipeline({"on_error": "skip"}, quorum=2).simulate([-1.0], world=ok.World())
    assert (nothing.result(), nothing.status) == ([], "degraded")


def test_a_stream_that_its_source_gives_up_is_skipped() -> None:
    wf = pipeline({"on_error": "skip", "quorum": 3})

    @wf.step
    def end(input: list, read: list[str] | None = None) -> str:
        return f"{read}"

    given = [1.0, -2.0, -2.5, 9.0]
    run = wf.simulate(given, world=ok.World())
    assert (run.result(), run.status) == ("None", "degraded")
    assert [(e.kind, e.status) for e in run.log if e.node == "read" and e.item < 0] == [
        ("invalidated", "stale"), ("skipped", ""),
    ]  # fmt: skip
    assert every_prefix(wf, given, world=ok.World()).ok


def test_a_stream_waits_for_its_other_inputs() -> None:
    wf = ok.Workflow("w", input=list)

    @wf.map(over="input")
    async def fetch(item: float, ctx: ok.Context) -> float:
        await ctx.sleep(item)
        return item

    @wf.step
    async def terms(ctx: ok.Context) -> str:
        await ctx.sleep(2)
        return "terms"

    @wf.map(over="fetch", stream=True)
    def read(item: float, terms: str) -> str:
        return f"{terms} {item:g}"

    run = wf.simulate([3.0, 1.0], world=ok.World())
    assert begun(run) == [(1, 2), (0, 3)]
    assert run.result() == ["terms 3", "terms 1"]


def test_the_first_to_come_through_are_enough() -> None:
    wf = pipeline(quorum=2)
    run = wf.simulate([3.0, 1.0, 2.0, 40.0], world=ok.World())
    assert run.result() == ["read 1", "read 2"]
    assert [(e.item, e.status) for e in run.log if e.kind == "skipped"] == [(0, "spared")]
    assert run.log[-1].t == 40 * SECOND  # its source goes on: others may want the list
    later = ok.dist.exponential(mean=3)  # modelled: a body that starts again would come through later
    world = ok.World(fetch=ok.fake(1.0, latency=later), read=ok.fake("x", latency=later, error=0.2))
    for seed in range(8):
        report = every_prefix(wf, [3.0, 1.0, 2.0, 40.0], world=world, seed=seed)
        assert report.ok, report.differences[0]


def test_a_failed_source_starts_again_without_what_was_streamed_already() -> None:
    calls: Counter[str] = Counter()
    wf = ok.Workflow("w", input=list)

    @wf.map(over="input")
    async def fetch(item: float, ctx: ok.Context) -> float:
        await ctx.sleep(item)
        calls[f"fetch {item:g}"] += 1
        if item == 3 and calls["fetch 3"] == 1:
            raise ConnectionError("down")
        return item

    @wf.map(over="fetch", stream=True, effect=True)
    def send(item: float) -> str:
        calls[f"send {item:g}"] += 1
        return f"sent {item:g}"

    program = prepare(wf.checked(), ok.World(send=ok.real))
    log = list(Drive(program).start([1.0, 3.0, 4.0]).run().log)
    assert log[-1].status == "failed"
    drive = Drive(program, events=log)
    drive.execution.record(Event(drive.execution.t(), "resumed"))
    drive.redrive().run()
    assert drive.log[-1].body == ["sent 1", "sent 3", "sent 4"]
    assert calls == {"fetch 1": 1, "send 1": 1, "fetch 3": 2, "fetch 4": 1, "send 3": 1, "send 4": 1}


def test_a_source_item_that_was_used_and_starts_again_takes_the_stream_with_it() -> None:
    wf = pipeline()
    program = prepare(wf.checked(), ok.World())
    drive = Drive(program).start([1.0, 2.0, 30.0]).until(5 * SECOND)
    drive.execution.invalidate(0, 0)
    assert [(e.node, e.item, e.status) for e in drive.log if e.kind == "invalidated"] == [
        ("fetch", 0, "retry"), ("read", -1, "stale"),
    ]  # fmt: skip
    drive.run()
    assert drive.log[-1].body == ["read 1", "read 2", "read 30"]


class Seen(BaseModel):
    notes: list[str] = []


def test_an_item_sees_what_its_own_source_wrote_and_not_what_others_did() -> None:
    wf = ok.Workflow("w", input=list)
    wf.context(Seen, merge={"notes": ok.append})

    @wf.step
    def plan(input: list, ctx: ok.Context) -> list:
        ctx.update(notes=["planned"])
        return input

    @wf.map(over="plan")
    async def fetch(item: float, ctx: ok.Context) -> float:
        await ctx.sleep(item)
        ctx.update(notes=[f"fetched {item:g}"])
        return item

    @wf.map(over="fetch", stream=True)
    def read(item: float, ctx: ok.Context) -> list[str]:
        seen = ctx.shared.notes
        ctx.update(notes=[f"read {item:g}"])
        return seen

    @wf.map(over="read", stream=True)
    def judge(item: list[str], ctx: ok.Context) -> list[str]:
        return ctx.shared.notes

    @wf.step
    def end(judge: list, ctx: ok.Context) -> list:
        return [*judge, ctx.shared.notes]

    run = wf.simulate([2.0, 1.0], world=ok.World())
    *items, all_of_it = run.result()
    assert items == [["planned", f"fetched {i}", f"read {i}"] for i in (2, 1)]
    assert all_of_it == ["planned", "fetched 2", "fetched 1", "read 2", "read 1"]
    assert every_prefix(wf, [2.0, 1.0], world=ok.World()).ok


# What makes no sense


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quorum": 0}, "quorum=0; give how many must deliver"),
        ({"quorum": 1.0}, r"quorum=1\.0; give how many"),
        ({"quorum": 1.5}, r"quorum=1\.5; give how many"),
        ({"quorum": True}, "quorum=True; give how many"),
        ({"quorum": float("nan")}, "quorum=nan; give how many"),
        ({"quorum": 2, "on_error": "collect"}, "leave one of them out"),
        ({"quorum": 0.5, "stream": True}, "a share of a list whose length is not known"),
        ({"stream": "yes"}, "stream='yes'; give True or False"),
        ({"key": "id"}, r"key='id'; give a function key\(item\)"),
        ({"key": lambda item: item}, r"give a function key\(item\) written with def"),
        ({"on_error": "ignore"}, "use one of 'fail', 'skip'"),
    ],
)
def test_nonsense_is_refused_where_it_is_written(options: Any, said: str) -> None:
    with pytest.raises(ok.DefinitionError, match=said):
        sending(**options)


def test_collecting_is_for_maps() -> None:
    wf = ok.Workflow("w")
    with pytest.raises(ok.DefinitionError, match="'collect' is for maps"):
        wf.step(on_error="collect")(sending)  # type: ignore[call-overload]  # that is the point
    with pytest.raises(ok.DefinitionError, match="'collect' is for maps"):
        wf.call("inner", sending(), on_error="collect")


def test_a_stream_goes_over_a_map() -> None:
    with pytest.raises(ok.GraphError, match="'send' streams over 'input', which is no map"):
        sending(stream=True).checked()
    wf = pipeline()

    @wf.map(over="fetch", stream=True)
    def both(item: float, fetch: list[float]) -> float: ...

    with pytest.raises(ok.GraphError, match="'both' streams over 'fetch' and asks for its whole list too"):
        wf.checked()

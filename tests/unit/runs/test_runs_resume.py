"""Resuming what failed, was cancelled or has changed, through a real store: what runs again, and what does not."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import BaseModel

import orchkit as ok
from orchkit.engine.program import Program
from orchkit.model.events import canonical_digest, settles
from orchkit.model.records import Head
from orchkit.runs import live
from orchkit.store.memory import MemoryStore

WAIT = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


class Lab:
    """A workflow whose bodies count themselves and do what the test says."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        self.values: dict[str, Any] = {}

    def act(self, name: str, default: Any) -> Any:
        self.ran[name] += 1
        value = self.values.get(name, default)
        if isinstance(value, Exception):
            raise value
        return value

    def mail(self, **changed: Callable[..., Any]) -> ok.Workflow:
        """plan -> lookup (map) -> draft -> send, and an approval beside; `changed` gives steps another body."""
        act = self.act
        wf = ok.Workflow("mail", input=str)

        def plan(input: str) -> list[str]:
            return act("plan", ["a", "b", "c"])

        def lookup(item: str) -> str:
            return act(f"lookup {item}", item.upper())

        def draft(lookup: list[str]) -> str:
            return act("draft", f"Dear {lookup}")

        def send(draft: str, review: bool | None, ctx: ok.Context) -> str:
            return act("send", f"{draft} as {ctx.idempotency_key.partition(':')[2]}")

        wf.step(changed.get("plan", plan))
        wf.map(over="plan", limit=1)(changed.get("lookup", lookup))
        wf.step(changed.get("draft", draft))
        wf.approval("review", answer=bool, timeout=3600.0)
        wf.step(effect=True)(changed.get("send", send))
        return wf


def fails(run: ok.Run, match: str) -> None:
    with pytest.raises(ok.RunError, match=match):
        run.result(WAIT)


def opened(run: ok.Run) -> list[tuple[str, int, int, str]]:
    return [(e.node, e.item, e.generation, e.status) for e in run.log if e.kind == "invalidated"]


def finish(run: ok.Run) -> Any:
    run.wait_settled(WAIT).answer("review", True)
    return run.result(WAIT)


def test_a_failed_run_goes_on_after_the_cause_is_mended_and_keeps_what_is_done(store: ok.Store) -> None:
    lab = Lab()
    wf = lab.mail()
    lab.values["draft"] = ConnectionError("down")
    run = wf.start("x", store=store)
    fails(run, "draft failed: ConnectionError: down")
    (asked,) = (event for event in run.log if event.kind == "asked")
    lab.values.clear()
    again = store.resume(run.id, wf)
    assert again.wait_settled(WAIT).pending() == ["review"]
    assert finish(again) == "Dear ['A', 'B', 'C'] as send"
    assert lab.ran == {"plan": 1, "lookup a": 1, "lookup b": 1, "lookup c": 1, "draft": 2, "send": 1}
    assert opened(again) == [("draft", -1, 2, "failed")]
    assert [event for event in again.log if event.kind == "asked"] == [asked]  # the same question, the same deadline
    assert again.status == "completed"
    assert store._kept.events(run.id) == again.log
    assert store.resume(run.id, wf).result() == "Dear ['A', 'B', 'C'] as send"
    assert store.run(run.id).status == "completed"


def test_an_answer_given_before_the_failure_still_counts(store: ok.Store) -> None:
    lab = Lab()
    wf = ok.Workflow("answered")
    wf.approval("review", answer=int, timeout=3600.0)
    wf.step(lambda_named("late", lambda review: lab.act("late", review + 1)))
    lab.values["late"] = ValueError("no")
    run = wf.start("x", store=store).wait_settled(WAIT)
    run.answer("review", 7, by="dana")
    fails(run, "late failed")
    lab.values.clear()
    assert store.resume(run.id, wf).result(WAIT) == 8


def lambda_named(name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
    def step(review):
        return fn(review)

    step.__name__ = name
    return step


def test_only_the_item_that_failed_runs_again(store: ok.Store) -> None:
    lab = Lab()
    wf = lab.mail()
    lab.values["lookup b"] = KeyError("b")
    run = wf.start("x", store=store)
    fails(run, r"lookup\[1\] failed")
    lab.values.clear()
    again = store.resume(run.id, wf)
    assert finish(again) == "Dear ['A', 'B', 'C'] as send"
    assert lab.ran == {"plan": 1, "lookup a": 1, "lookup b": 2, "lookup c": 1, "draft": 1, "send": 1}
    assert opened(again) == [("lookup", 1, 2, "failed")]
    assert [(e.item, e.generation) for e in again.log if e.node == "lookup" and settles(e)] == [
        (0, 1), (1, 1), (1, 2), (2, 1), (-1, 2),
    ]  # fmt: skip


def test_a_run_may_fail_and_be_resumed_any_number_of_times(store: ok.Store) -> None:
    lab = Lab()
    wf = lab.mail()
    lab.values["draft"] = ConnectionError("down")
    run = wf.start("x", store=store)
    fails(run, "down")
    for generation in (2, 3):
        lab.values["draft"] = ConnectionError(f"down {generation}")
        run = store.resume(run.id, wf)
        fails(run, f"down {generation}")
        assert opened(run)[-1] == ("draft", -1, generation, "failed")
        assert store.run(run.id).status == "failed"
        fails(store.run(run.id), f"down {generation}")
    lab.values.clear()
    assert finish(store.resume(run.id, wf)).startswith("Dear")
    assert lab.ran["plan"] == 1


def test_a_cancelled_run_goes_on(store: ok.Store) -> None:
    lab = Lab()
    wf = lab.mail()
    run = wf.start("x", store=store).wait_settled(WAIT)
    run.cancel(by="dana", why="wrong case")
    with pytest.raises(ok.RunCancelled, match=r"wrong case; .* go on with store\.resume"):
        run.result(WAIT)
    again = store.resume(run.id, wf)
    assert again.wait_settled(WAIT).pending() == ["review"]
    assert finish(again).startswith("Dear")
    assert set(lab.ran.values()) == {1}


def test_a_failure_by_skipping_is_tried_again(store: ok.Store) -> None:
    lab = Lab()
    wf = ok.Workflow("skips", input=str)

    @wf.step(on_error="skip")
    def only(input: str) -> str:
        return lab.act("only", "there")

    lab.values["only"] = ConnectionError("down")
    run = wf.start("x", store=store)
    fails(run, "only failed")
    lab.values.clear()
    assert store.resume(run.id, wf).result(WAIT) == "there"


def test_a_question_whose_deadline_passed_while_the_run_lay_failed_expires_at_it(store: ok.Store) -> None:
    lab = Lab()
    wf = ok.Workflow("late")
    wf.approval("review", answer=int, timeout=0.05)

    @wf.step
    def broken(input):
        return lab.act("broken", "mended")

    @wf.step
    def after(review: int | None, broken):
        return review

    lab.values["broken"] = ValueError("no")
    run = wf.start("x", store=store)
    fails(run, "broken failed")
    lab.values.clear()
    assert store.resume(run.id, wf).result(WAIT) is None


# Changed code


def newer_draft(lab: Lab) -> Callable[..., Any]:
    def draft(lookup: list[str]) -> str:
        return lab.act("draft", f"Hello {lookup}")

    return draft


def newer_send(lab: Lab) -> Callable[..., Any]:
    def send(draft: str, review: bool | None) -> str:
        return lab.act("send", f"{draft}, sent by another")

    return send


def asked(lab: Lab, store: ok.Store, wf: ok.Workflow | None = None) -> ok.Run:
    """Run up to the question, and stop there."""
    wf = wf or lab.mail()
    run = wf.start(["a", "b"] if wf.name == "became" else "x", store=store).wait_settled(WAIT)
    run.suspend()
    return run


def test_a_changed_step_runs_again_and_it_is_said_first(store: ok.Store, capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab()
    run = asked(lab, store)
    again = store.resume(run.id, lab.mail(draft=newer_draft(lab)))
    assert capsys.readouterr().out == f"resume {run.id}: draft runs again (changed)\n"
    assert finish(again) == "Hello ['A', 'B', 'C'] as send"
    assert lab.ran == {"plan": 1, "lookup a": 1, "lookup b": 1, "lookup c": 1, "draft": 2, "send": 1}
    assert opened(again) == [("draft", -1, 2, "changed")]


def test_what_follows_runs_again_only_where_values_change(store: ok.Store, capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab()
    run = asked(lab, store)

    def plan(input: str) -> list[str]:  # other code, the same value
        return lab.act("plan", list("abc"))

    again = store.resume(run.id, lab.mail(plan=plan))
    line = f"resume {run.id}: plan runs again (changed); what follows does where values change: lookup, draft\n"
    assert capsys.readouterr().out == line
    assert finish(again).startswith("Dear")
    assert lab.ran["plan"] == 2
    assert opened(again) == [("plan", -1, 2, "changed")]
    assert {name for name, times in lab.ran.items() if times > 1} == {"plan"}


def test_a_new_list_restarts_the_map(store: ok.Store) -> None:
    lab = Lab()
    run = asked(lab, store)

    def plan(input: str) -> list[str]:
        return ["z"]

    again = store.resume(run.id, lab.mail(plan=plan))
    assert finish(again) == "Dear ['Z'] as send"
    assert [row[:3] for row in opened(again)] == [("plan", -1, 2), ("lookup", -1, 2), ("draft", -1, 2)]


def test_the_new_code_is_remembered(store: ok.Store, capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab()
    run = asked(lab, store)
    newer = lab.mail(draft=newer_draft(lab))
    store.resume(run.id, newer).wait_settled(WAIT).suspend()
    capsys.readouterr()
    again = store.resume(run.id, newer, on_change="error")
    assert capsys.readouterr().out == ""
    again.wait_settled(WAIT).suspend()
    assert lab.ran["draft"] == 2
    back = store.resume(run.id, lab.mail())  # and back again
    assert finish(back).startswith("Dear")
    assert lab.ran["draft"] == 3


def test_keep_goes_on_with_what_is_recorded(store: ok.Store, capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab()
    run = asked(lab, store)
    again = store.resume(run.id, lab.mail(draft=newer_draft(lab), send=newer_send(lab)), on_change="keep")
    assert finish(again) == "Dear ['A', 'B', 'C'], sent by another"
    assert lab.ran["draft"] == 1
    assert capsys.readouterr().out == ""


def test_each_node_can_be_told_what_to_do(store: ok.Store) -> None:
    lab = Lab()
    run = asked(lab, store)
    newer = lab.mail(draft=newer_draft(lab), plan=lambda_plan(lab))
    with pytest.raises(ok.DefinitionChanged, match="'plan' changed") as caught:
        store.resume(run.id, newer, on_change={"plan": "error"})
    assert caught.value.nodes == ("plan",)
    assert finish(store.resume(run.id, newer, on_change={"plan": "keep"})).startswith("Hello")
    assert lab.ran["plan"] == 1


def lambda_plan(lab: Lab) -> Callable[..., Any]:
    def plan(input: str) -> list[str]:
        return lab.act("plan", ["q"])

    return plan


@pytest.mark.parametrize(
    ("on_change", "says"),
    [
        ("perhaps", "on_change='perhaps': use one of 'rerun', 'keep', 'error', or a dict"),
        ({"draft": "again"}, "on_change="),
        ({"drat": "keep"}, "names 'drat', which is no node of the run; did you mean 'draft'"),
        (None, "on_change=None"),
    ],
)
def test_a_senseless_on_change_is_refused(store: ok.Store, on_change: Any, says: str) -> None:
    lab = Lab()
    run = asked(lab, store)
    with pytest.raises(ok.DefinitionError, match=says):
        store.resume(run.id, lab.mail(), on_change=on_change)
    assert finish(store.resume(run.id, lab.mail())).startswith("Dear")


def sent(lab: Lab, store: ok.Store) -> ok.Run:
    """Send, and fail after it."""
    wf = with_receipt(lab, lab.mail())
    lab.values["receipt"] = ConnectionError("down")
    run = wf.start("x", store=store).wait_settled(WAIT)
    run.answer("review", True)
    fails(run, "receipt failed")
    lab.values.clear()
    return run


def with_receipt(lab: Lab, wf: ok.Workflow) -> ok.Workflow:
    @wf.step
    def receipt(send: str) -> str:
        return lab.act("receipt", f"receipt for: {send}")

    return wf


def test_a_changed_effect_that_is_done_is_never_repeated_by_default(store: ok.Store) -> None:
    lab = Lab()
    run = sent(lab, store)
    newer = with_receipt(lab, lab.mail(send=newer_send(lab)))
    before = store._kept.events(run.id)
    for on_change in ("rerun", {"receipt": "rerun"}):
        with pytest.raises(ok.ChangedEffect, match=r"'send' .* on_change=\{'send': 'keep'\}") as caught:
            store.resume(run.id, newer, on_change=on_change)
        assert (caught.value.run_id, caught.value.node) == (run.id, "send")
    assert store._kept.events(run.id) == before
    kept = store.resume(run.id, newer, on_change={"send": "keep"})
    assert kept.result(WAIT) == "receipt for: Dear ['A', 'B', 'C'] as send"
    assert lab.ran["send"] == 1


def test_a_changed_effect_is_repeated_under_its_key_when_it_is_named(store: ok.Store) -> None:
    lab = Lab()
    run = sent(lab, store)
    newer = with_receipt(lab, lab.mail(send=newer_send(lab)))
    again = store.resume(run.id, newer, on_change={"send": "rerun"})
    assert again.result(WAIT) == "receipt for: Dear ['A', 'B', 'C'], sent by another"
    assert {event.key for event in again.log if event.node == "send" and event.kind == "started"} == {"send"}
    assert store.sql("select attempts, completed from effect").values.tolist() == [[2, 2]]


def test_an_effect_that_is_done_stays_when_its_input_changes(
    store: ok.Store, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = Lab()
    run = sent(lab, store)
    newer = with_receipt(lab, lab.mail(draft=newer_draft(lab)))
    again = store.resume(run.id, newer)
    assert again.result(WAIT) == "receipt for: Dear ['A', 'B', 'C'] as send"
    said = capsys.readouterr().out
    assert "done and not repeated: send (on_change={'send': 'rerun'} would)" in said
    assert lab.ran["send"] == 1
    assert lab.ran["draft"] == 2


def test_an_effect_is_repeated_for_a_new_input_when_it_is_named(store: ok.Store) -> None:
    lab = Lab()
    run = sent(lab, store)
    newer = with_receipt(lab, lab.mail(draft=newer_draft(lab)))
    again = store.resume(run.id, newer, on_change={"send": "rerun"})
    assert again.result(WAIT) == "receipt for: Hello ['A', 'B', 'C'] as send"
    assert opened(again)[-1] == ("send", -1, 2, "stale")


def test_effects_of_a_half_done_map_are_not_repeated_by_a_new_list(store: ok.Store) -> None:
    lab = Lab()

    def define(body: Callable[..., Any]) -> ok.Workflow:
        wf = ok.Workflow("half", input=str)
        wf.step(body)

        @wf.map(over="plan", effect=True, limit=1)
        def mail(item: str) -> str:
            return lab.act(f"mail {item}", item)

        return wf

    def plan(input: str) -> list[str]:
        return ["a", "b"]

    old = define(plan)
    lab.values["mail b"] = ConnectionError("down")
    run = old.start("x", store=store)
    fails(run, "mail")
    lab.values.clear()
    new = define(lambda_plan(lab))
    with pytest.raises(ok.ChangedEffect, match=r"map 'mail' .* is half done"):
        store.resume(run.id, new)
    assert store.resume(run.id, new, on_change="keep").result(WAIT) == ["a", "b"]
    assert lab.ran["mail a"] == 1


def test_what_was_an_effect_when_it_was_killed_goes_on_as_none(store: ok.Store) -> None:
    # Both items had completed and waited for the file; the one that goes on first must not overtake the other.
    def define(*, effect: bool) -> ok.Workflow:
        wf = ok.Workflow("mailing", input=list[str])

        @wf.map(over="input", effect=effect)
        async def mail(item: str) -> str:
            return item

        return wf

    kept: Any = store._kept
    whole = define(effect=True).start(["a", "b"], store=store)
    assert whole.result(WAIT) == ["a", "b"]
    head, log = kept.head(whole.id), kept.events(whole.id)
    order = ["run_started", "started", "completed", "settled", "run_ended"]
    log = [replace(e, t=0) for e in sorted(log, key=lambda e: (order.index(e.kind), e.item < 0, e.item))]
    for cut in range(1, len(log)):
        journal = kept.admit(replace(head, run_id=f"cut{cut}"))
        for event in log[:cut]:
            journal.append(event)
        journal.release()
        again = store.resume(f"cut{cut}", define(effect=False), on_change={"mail": "keep"})
        assert again.result(WAIT) == ["a", "b"]


def test_nodes_come_and_go(store: ok.Store, capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab()
    run = asked(lab, store)
    wf = ok.Workflow("mail", input=str)

    @wf.step
    def plan(input: str) -> list[str]:
        return lab.act("plan", ["a", "b", "c"])

    @wf.step
    def count(plan: list[str]) -> int:
        return len(plan)

    again = store.resume(run.id, wf)
    said = capsys.readouterr().out
    assert "no longer there: draft, lookup, review, send" in said
    assert again.result(WAIT) == 3
    assert lab.ran["plan"] == 2  # another source than that of Lab.mail, so another fingerprint
    assert store.run(run.id).status == "completed"
    assert store.resume(run.id, wf).result() == 3


@pytest.mark.parametrize("back", [False, True])
def test_a_step_that_became_a_map_runs_again(store: ok.Store, back: bool) -> None:
    def define(mapped: bool) -> ok.Workflow:
        wf = ok.Workflow("became", input=list)
        if mapped:

            @wf.map(over="input")
            def each(item: str) -> str:
                return item.upper()
        else:

            @wf.step
            def each(input: list) -> list:
                return [*input, "all"]

        @wf.step
        def count(each: list) -> int:
            return len(each)

        wf.approval("review", answer=bool)
        return wf

    run = asked(Lab(), store, define(back))
    again = store.resume(run.id, define(not back))
    assert opened(again.wait_settled(WAIT)) == [("each", -1, 2, "changed"), ("count", -1, 2, "stale")]
    again.answer("review", True)
    assert again.result(WAIT) == {"count": 2 + back, "review": True}
    assert store.run(run.id).result() == {"count": 2 + back, "review": True}


class Short(BaseModel):
    approve: bool


class Long(BaseModel):
    approve: bool
    note: str


Long.__qualname__ = "Short"


def test_a_question_with_another_answer_model_is_asked_again(store: ok.Store) -> None:
    def define(answer: Any) -> ok.Workflow:
        wf = ok.Workflow("asks", input=str)
        wf.approval("review", answer=answer)
        return wf

    run = define(Short).start("x", store=store).wait_settled(WAIT)
    run.suspend()
    again = store.resume(run.id, define(Long)).wait_settled(WAIT)
    assert [(e.kind, e.generation) for e in again.log if e.node] == [("asked", 1), ("invalidated", 2), ("asked", 2)]
    again.answer("review", {"approve": True, "note": "fine"})
    assert again.result(WAIT) == Long(approve=True, note="fine")


def test_a_question_below_a_changed_step_is_taken_back_at_once_and_asked_again(store: ok.Store) -> None:
    def define(greet: Callable[..., Any]) -> ok.Workflow:
        wf = ok.Workflow("asks", input=str)
        wf.step(greet)
        wf.approval("review", answer=bool, show="draft")
        return wf

    def plain() -> Callable[..., Any]:
        def draft(input: str) -> str:
            return f"Dear {input}"

        return draft

    def same() -> Callable[..., Any]:
        def draft(input: str) -> str:
            return "Dear " + input

        return draft

    run = asked(Lab(), store, define(plain()))
    again = store.resume(run.id, define(same())).wait_settled(WAIT)
    assert opened(again) == [("draft", -1, 2, "changed"), ("review", -1, 2, "stale")]
    assert [e.generation for e in again.log if e.kind == "asked"] == [1, 2]


def test_what_no_route_leads_to_any_more_runs(store: ok.Store) -> None:
    def define(*targets: str) -> ok.Workflow:
        wf = ok.Workflow("routed", input=str)

        @wf.route(to=list(targets))
        def way(input: str) -> str:
            return "send"

        @wf.step
        def send(input: str) -> str:
            return "sent"

        @wf.step
        def file(input: str) -> str:
            return "filed"

        wf.approval("review", answer=bool)
        return wf

    run = asked(Lab(), store, define("send", "file"))
    again = store.resume(run.id, define("send")).wait_settled(WAIT)
    assert opened(again) == [("way", -1, 2, "changed"), ("file", -1, 2, "stale")]
    again.answer("review", True)
    assert again.result(WAIT) == {"send": "sent", "file": "filed", "review": True}


def test_an_attempt_of_the_old_code_is_recorded_as_cancelled(store: ok.Store) -> None:
    def define(body: Callable[..., Any]) -> ok.Workflow:
        wf = ok.Workflow("stuck", input=str)
        wf.step(retry=ok.Retry(2, wait=ok.backoff(0)))(body)
        return wf

    def stuck() -> Callable[..., Any]:
        async def step(input: str, ctx: ok.Context) -> str:
            if ctx.attempt == 1:
                raise ConnectionError("busy")
            await asyncio.Event().wait()
            return "never"

        return step

    def quick() -> Callable[..., Any]:
        async def step(input: str) -> str:
            return "quick"

        return step

    begun = threading.Event()
    run = define(stuck()).start("x", store=store)
    run._handle.watch(lambda event: begun.set() if (event.kind, event.attempt) == ("started", 2) else None)
    if not any((event.kind, event.attempt) == ("started", 2) for event in run.log):
        assert begun.wait(WAIT)
    run.suspend()
    again = store.resume(run.id, define(quick()))
    assert again.result(WAIT) == "quick"
    tried = [(e.generation, e.attempt, e.kind) for e in again.log if e.attempt and e.kind != "waiting"]
    assert tried == [
        (1, 1, "started"), (1, 1, "failed"), (1, 2, "started"), (1, 2, "cancelled"), (2, 1, "started"),
        (2, 1, "completed"),
    ]  # fmt: skip


def test_a_changed_run_killed_at_any_record_comes_to_the_same_result(store: ok.Store) -> None:
    lab = Lab()
    old, new = lab.mail(), lab.mail(plan=lambda_plan(lab), draft=newer_draft(lab))
    points = 0
    for record in range(1, 30):
        run = asked(lab, store, old)
        length = len(store._kept.events(run.id))
        program = Program(new.checked(), faults=ok.Faults(ok.faults.crash(after=length + record)))
        try:
            crashed = live.resume(program, run.id, store=store._kept, deps=None, on_change="rerun")
        except ok.RunCrashed:
            crashed = None
        if crashed is not None and not wait_crashed(crashed):
            break
        again = store.resume(run.id, new)
        assert finish(again) == "Hello ['Q'] as send", f"killed after {record}"
        assert [row[:2] for row in opened(again)] == [("plan", -1), ("draft", -1), ("lookup", -1)]
        points += 1
    assert points > 8


def wait_crashed(run: Any) -> bool:
    run.settled().result(WAIT)
    crashed = run.status() == "orphaned"
    if not crashed:
        run.suspend()
    return crashed


def test_the_latest_generation_is_drawn(store: ok.Store) -> None:
    lab = Lab()
    wf = lab.mail()
    lab.values["draft"] = ConnectionError("down")
    run = wf.start("x", store=store)
    fails(run, "down")
    lab.values.clear()
    again = store.resume(run.id, wf)
    finish(again)
    text = again._repr_mimebundle_()["text/plain"]
    assert "failed" not in text


def test_questions_of_older_generations_are_not_pending(store: ok.Store) -> None:
    def define(answer: Any) -> ok.Workflow:
        wf = ok.Workflow("asks", input=str)
        wf.approval("review", answer=answer)
        return wf

    run = define(Short).start("x", store=store).wait_settled(WAIT)
    run.suspend()
    assert store.pending().node.tolist() == ["review"]
    again = store.resume(run.id, define(Long)).wait_settled(WAIT)
    assert store.pending().node.tolist() == ["review"]
    assert store.run(run.id).pending() == ["review"]
    again.suspend()
    assert store.run(run.id).pending() == ["review"]


def test_a_failed_run_killed_at_any_record_of_its_resume_comes_to_the_same_log(store: ok.Store) -> None:
    lab = Lab()
    wf = lab.mail()

    def failed() -> ok.Run:
        lab.values["lookup b"] = ConnectionError("down")
        run = wf.start("x", store=store)
        fails(run, "down")
        lab.values.clear()
        return run

    whole = failed()
    begin = len(whole.log)
    resumed = store.resume(whole.id, wf)
    finish(resumed)
    wanted = canonical_digest(resumed.log)
    crashed = 0
    for record in range(begin + 1, len(resumed.log)):
        run = failed()
        program = Program(wf.checked(), faults=ok.Faults(ok.faults.crash(after=record)))
        try:
            going = live.resume(program, run.id, store=store._kept, deps=None, on_change="rerun")
        except ok.RunCrashed:
            going = None
        if going is not None:
            going.settled().result(WAIT)
            if going.status() == "waiting":  # it crashes after the answer
                with suppress(ok.RunError):
                    going.answer("review", True, by="")
                with pytest.raises(ok.RunCrashed):
                    going.outcome().result(WAIT)
        again = store.resume(run.id, wf).wait_settled(WAIT)
        if again.pending():
            again.answer("review", True)
        again.result(WAIT)
        assert canonical_digest(again.log) == wanted, f"killed after {record}"
        crashed += 1
    assert crashed > 10


# Whose run it is


class Counting(MemoryStore):
    """Counts who has taken a run and has not let it go."""

    def __init__(self) -> None:
        super().__init__()
        self.held: Counter[str] = Counter()
        self.lengths: list[int] = []

    def admit(self, head: Head) -> Any:
        return self._counted(head.run_id, super().admit(head))

    def take(self, run_id: str) -> Any:
        head, events, journal = super().take(run_id)
        return head, events, self._counted(run_id, journal)

    def _counted(self, run_id: str, journal: Any) -> Any:
        assert not self.held[run_id]
        self.held[run_id] += 1

        let_go = journal.release

        def release() -> None:
            let_go()
            if self.held[run_id]:
                self.held[run_id] = 0
                self.lengths.append(len(self.events(run_id)))

        journal.release = release
        return journal


def counted(lab: Lab, **changed: Any) -> tuple[Counting, Any]:
    kept = Counting()
    program = Program(lab.mail(**changed).checked())
    return kept, live.start(program, "x", store=kept, durability="memory", deps=None)


def test_a_run_is_let_go_once_however_it_stops() -> None:
    lab = Lab()
    lab.values["draft"] = ConnectionError("down")
    kept, run = counted(lab)
    run_id = run.head.run_id
    with pytest.raises(ok.RunError):
        run.outcome().result(WAIT)
    assert kept.held == {run_id: 0}
    assert kept.lengths == [len(kept.events(run_id))]  # with its end in the log
    lab.values.clear()
    program = Program(lab.mail().checked())

    def resume(**options: Any) -> Any:
        return live.resume(program, run_id, store=kept, deps=None, **{"on_change": "rerun"} | options)

    going = resume()
    assert kept.held[run_id] == 1
    with pytest.raises(ok.RunHeld):
        resume()
    going.suspend(by="", why="")
    assert kept.held[run_id] == 0
    assert kept.events(run_id)[-1].kind == "suspended"
    assert kept.lengths[-1] == len(kept.events(run_id))
    for refused in ({"on_change": "never"}, {"on_change": {"nobody": "keep"}}):
        with pytest.raises(ok.DefinitionError):
            resume(**refused)
        assert kept.held[run_id] == 0
    going = resume()
    going.settled().result(WAIT)
    going.answer("review", True, by="dana")
    going.outcome().result(WAIT)
    assert kept.held[run_id] == 0
    assert resume() is None
    assert kept.held[run_id] == 0
    with pytest.raises(ok.RunUnknown):
        live.resume(program, "nobody", store=kept, deps=None, on_change="rerun")


def test_a_run_that_is_let_go_or_crashes_is_let_go_in_the_store() -> None:
    kept, run = counted(Lab())
    run.settled().result(WAIT)
    run._engine.submit(lambda: run.let_go("Python has ended")).result()
    assert kept.held == {run.head.run_id: 0}
    program = Program(Lab().mail().checked(), faults=ok.Faults(ok.faults.crash(after=len(run.log()) + 1)))
    with pytest.raises(ok.RunCrashed):
        live.resume(program, run.head.run_id, store=kept, deps=None, on_change="rerun").outcome().result(WAIT)
    assert kept.held == {run.head.run_id: 0}

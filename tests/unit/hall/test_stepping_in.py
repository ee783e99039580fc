"""Stepping into live runs, as users do: by the wall, into a real file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok


class Notes(BaseModel):
    notes: list[str] = []
    tone: str = "warm"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


class Gates:
    """Steps that wait until a test lets them go, and count themselves."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.ran: list[str] = []
        self.keys: list[str] = []

    def pass_through(self, ctx: ok.Context) -> None:
        self.ran.append(f"{ctx.node}:{ctx.attempt}")
        self.keys.append(ctx.idempotency_key.partition(":")[2])
        self.begun.set()
        self.open.wait(30)


def gated(gates: Gates, **options: Any) -> ok.Workflow:
    wf = ok.Workflow("gated", input=str)

    @wf.step(**options)
    def draft(input: str, ctx: ok.Context) -> str:
        gates.pass_through(ctx)
        return f"Dear {input}"

    @wf.step
    def polish(draft: str) -> str:
        return f"{draft}!"

    wf.approval("review", answer=bool, show="polish")

    @wf.step(effect=True)
    def send(polish: str, review: bool, ctx: ok.Context) -> str:
        gates.keys.append(ctx.idempotency_key.partition(":")[2])
        return f"{'sent' if review else 'kept'} {polish}"

    @wf.step
    def last(send: str) -> str:
        return send

    wf.approval("sure", answer=bool, show="last")
    return wf


def kinds(run: ok.Run, node: str) -> list[tuple[str, int, str, str]]:
    return [(e.kind, e.generation, e.status, e.by) for e in run.log if e.node == node]


def test_a_paused_run_ends_what_is_in_flight_and_starts_nothing(store: ok.Store) -> None:
    gates = Gates()
    run = gated(gates).start("Dana", store=store)
    assert gates.begun.wait(30)
    run.pause(by="lee", why="look first")
    assert run.status == "running"
    assert run.paused
    gates.open.set()
    run.wait_settled(30)
    assert (run.status, run.pending(), run.paused) == ("waiting", [], True)
    assert [e.kind for e in run.log][-2:] == ["paused", "completed"]
    run.pause()
    run.unpause(by="lee", why="fine")
    assert run.wait_settled(30).pending() == ["review"]
    row = store.sql("select \"by\", body from event where kind = 'paused'")
    assert [tuple(one) for one in row.to_numpy()] == [("lee", '"look first"')]
    run.cancel()


def test_questions_of_a_paused_run_can_be_answered(store: ok.Store) -> None:
    gates = Gates()
    gates.open.set()
    run = gated(gates).start("Dana", store=store).wait_settled(30)
    run.pause(by="lee")
    run.answer("review", True)
    assert run.wait_settled(30).pending() == []
    assert "send" not in [e.node for e in run.log]
    run.unpause()
    assert run.wait_settled(30).pending() == ["sure"]
    run.cancel()


def test_a_retry_waits_while_the_run_is_paused(store: ok.Store) -> None:
    gates, wf = Gates(), ok.Workflow("failing", input=str)

    @wf.step(retry=ok.Retry(3, wait=ok.backoff(base=0.001, jitter=None)))
    def draft(input: str, ctx: ok.Context) -> str:
        gates.pass_through(ctx)
        if ctx.attempt == 1:
            raise ConnectionError("down")
        return "done"

    run = wf.start("Dana", store=store)
    assert gates.begun.wait(30)
    run.pause()
    gates.open.set()
    run.wait_settled(30)
    assert gates.ran == ["draft:1"]
    run.unpause()
    assert run.result(30) == "done"
    assert gates.ran == ["draft:1", "draft:2"]


def test_a_run_that_was_paused_is_paused_after_a_resume(store: ok.Store) -> None:
    gates = Gates()
    gates.open.set()
    wf = gated(gates)
    run = wf.start("Dana", store=store).wait_settled(30)
    run.pause(by="lee")
    run.suspend()
    assert store.run(run.id).paused
    again = store.resume(run.id, wf)
    assert again.wait_settled(30).paused
    again.answer("review", True)
    assert (again.wait_settled(30).status, again.paused) == ("waiting", True)
    again.unpause()
    assert again.wait_settled(30).pending() == ["sure"]
    again.cancel()


def test_an_override_cancels_the_attempt_and_decides_the_result(store: ok.Store) -> None:
    gates = Gates()
    run = gated(gates).start("Dana", store=store)
    assert gates.begun.wait(30)
    run.override("draft", "Hello Dana", by="lee", why="too slow")
    assert run.wait_settled(30).question("review") == "Hello Dana!"
    assert kinds(run, "draft") == [
        ("started", 1, "", ""),
        ("cancelled", 1, "operator", ""),
        ("invalidated", 2, "override", "lee"),
        ("completed", 2, "set", "lee"),
        ("settled", 2, "completed", "lee"),
    ]
    run.override("polish", "Hi", by="lee")
    assert run.wait_settled(30).question("review") == "Hi"
    run.override("review", True, by="lee")
    assert run.wait_settled(30).question("sure") == "sent Hi"
    gates.open.set()
    run.cancel()


def test_an_override_of_what_has_not_begun_keeps_it_from_beginning(store: ok.Store) -> None:
    gates = Gates()
    run = gated(gates).start("Dana", store=store)
    run.override("send", "carried by hand", by="lee")
    run.skip("review", by="lee")
    gates.open.set()
    assert run.wait_settled(30).question("sure") == "carried by hand"
    assert "started" not in [e.kind for e in run.log if e.node == "send"]
    run.answer("sure", True)
    assert (run.result(30), run.status) == (True, "degraded")


def test_a_retry_of_an_effect_keeps_its_key_unless_another_is_wanted(store: ok.Store) -> None:
    gates = Gates()
    gates.open.set()
    wf = gated(gates)
    run = wf.start("Dana", store=store).wait_settled(30)
    run.answer("review", True)
    run.wait_settled(30).retry("send", by="lee", why="not received")
    run.wait_settled(30).retry("send", by="lee", new_key=True)
    run.wait_settled(30).suspend()
    run = store.resume(run.id, wf).wait_settled(30)
    run.retry("send", by="lee")
    run.wait_settled(30).retry("send", by="lee", new_key=True)
    run.wait_settled(30)
    assert gates.keys[1:] == ["send", "send", "send#2", "send#2", "send#3"]
    ledger = store.sql("select idempotency_key, completed from effect order by 1")
    assert ledger.completed.tolist() == [2, 2, 1]
    run.cancel()


def test_a_skipped_node_counts_as_skipped_and_the_run_as_degraded(store: ok.Store) -> None:
    gates = Gates()
    wf = ok.Workflow("optional", input=str)

    @wf.step
    def lookup(input: str, ctx: ok.Context) -> str:
        gates.pass_through(ctx)
        return "found"

    @wf.step
    def draft(input: str, lookup: str = "nothing") -> str:
        return f"{input}: {lookup}"

    run = wf.start("Dana", store=store)
    assert gates.begun.wait(30)
    run.skip("lookup", by="lee", why="it hangs")
    assert (run.result(30), run.status) == ("Dana: nothing", "degraded")
    gates.open.set()
    skipped = next(e for e in run.log if e.kind == "skipped")
    assert (skipped.status, skipped.by, skipped.body) == ("operator", "lee", "it hangs")


def test_the_context_is_seen_by_what_begins_afterwards(store: ok.Store) -> None:
    wf = ok.Workflow("noted", input=str)
    wf.context(Notes, merge={"notes": ok.append})

    @wf.step
    def before(input: str, ctx: ok.Context) -> str:
        ctx.update(notes=["before"], tone="cold")
        return ctx.shared.tone

    wf.approval("review", answer=bool, show="before")

    @wf.step
    def after(before: str, review: bool, ctx: ok.Context) -> list[str]:
        ctx.update(notes=["after"])
        return [before, ctx.shared.tone, *ctx.shared.notes]

    run = wf.start("Dana", store=store).wait_settled(30)
    run.update_context(notes=["lee"], tone="formal", by="lee", why="a judge reads it")
    assert run.shared == Notes(notes=["before", "lee"], tone="formal")
    run.answer("review", True)
    assert run.result(30) == ["cold", "formal", "before", "lee", "after"]
    assert run.shared == Notes(notes=["before", "lee", "after"], tone="formal")
    assert store.run(run.id).shared["operator 1"] == {"notes": ["lee"], "tone": "formal"}


def cases(gates: Gates) -> ok.Workflow:
    inner = ok.Workflow("inner", input=str)

    @inner.step
    def extract(input: str, ctx: ok.Context) -> str:
        gates.ran.append(ctx.node)
        return input.upper()

    @inner.step
    def check(extract: str, ctx: ok.Context) -> str:
        gates.ran.append(ctx.node)
        return f"<{extract}>"

    wf = ok.Workflow("cases", input=list[str])

    @wf.step
    def plan(input: list[str]) -> list[str]:
        return input

    wf.map("lookup", over="plan", body=inner)
    wf.approval("review", answer=bool, show="lookup")
    return wf


def test_a_step_within_a_step_is_acted_on_after_that_has_settled(store: ok.Store) -> None:
    gates = Gates()
    run = cases(gates).start(["a", "b"], store=store).wait_settled(30)
    assert run.question("review") == ["<A>", "<B>"]
    gates.ran.clear()
    run.override("lookup[1]/extract", "Z", by="lee")
    assert run.wait_settled(30).question("review") == ["<A>", "<Z>"]
    assert gates.ran == ["lookup[1]/check"]
    run.retry("lookup[0]/check", by="lee")
    assert run.wait_settled(30).question("review") == ["<A>", "<Z>"]
    run.override("lookup", "by hand", item=0, by="lee")
    assert run.wait_settled(30).question("review") == ["by hand", "<Z>"]
    run.skip("lookup[1]", by="lee")
    assert run.wait_settled(30).question("review") == ["by hand"]
    run.answer("review", True)
    assert (run.result(30), run.status) == (True, "degraded")


@pytest.mark.parametrize(
    ("act", "error", "said"),
    [
        (
            lambda run: run.retry("pln"),
            ok.DefinitionError,
            r"run.retry\('pln'\): no node is called 'pln'; did you mean",
        ),
        (lambda run: run.retry("lookup[0]/chek"), ok.DefinitionError, "no node of 'lookup' is called 'chek'"),
        (lambda run: run.skip("lookup/check"), ok.DefinitionError, r"has items; say of which, such as 'lookup\[0\]'"),
        (lambda run: run.skip("plan/check"), ok.DefinitionError, "'plan' holds no workflow"),
        (lambda run: run.retry("plan", item=0), ok.DefinitionError, "is no map"),
        (lambda run: run.skip("lookup", item=7), ok.RunError, "there are 2 items"),
        (lambda run: run.skip("lookup[7]/check"), ok.RunError, r"'lookup\[7\]' has not begun"),
        (lambda run: run.skip("lookup", item=-1), ok.DefinitionError, "from 0"),
        (lambda run: run.override("plan", 3), ok.DefinitionError, "is not what 'plan' delivers"),
        (lambda run: run.override("lookup", "x"), ok.DefinitionError, "for one item say which by item="),
        (lambda run: run.override("review", "perhaps"), ok.DefinitionError, "is not what 'review' delivers"),
        (lambda run: run.retry("plan", new_key=True), ok.DefinitionError, "new_key= is for an effect"),
        (lambda run: run.update_context(x=1), ok.DefinitionError, "has no shared context"),
        (lambda run: run.pause(by=3), ok.RunError, "by=3"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(store: ok.Store, act: Any, error: Any, said: str) -> None:
    run = cases(Gates()).start(["a", "b"], store=store).wait_settled(30)
    before = run.log
    with pytest.raises(error, match=said):
        act(run)
    assert run.log == before
    run.cancel()


def test_what_has_not_begun_cannot_begin_again(store: ok.Store) -> None:
    run = gated(Gates()).start("Dana", store=store)
    with pytest.raises(ok.RunError, match=r"'send'.*has not begun"):
        run.retry("send")
    run.skip("polish")
    with pytest.raises(ok.RunError, match="skipped already"):
        run.skip("polish")
    run.cancel()


def test_a_run_that_is_over_says_what_to_do_instead(store: ok.Store) -> None:
    wf = ok.Workflow("quick", input=str)

    @wf.step
    def only(input: str) -> str:
        if input == "bad":
            raise ValueError("no")
        return input

    done = wf.start("good", store=store)
    done.result(30)
    for run in (done, store.run(done.id)):
        with pytest.raises(ok.RunError, match=r"is completed, and nothing of it goes on; .*run\.fork"):
            run.override("only", "x")
    failed = wf.start("bad", store=store)
    failed.wait_settled(30)
    for run in (failed, store.run(failed.id)):
        with pytest.raises(ok.RunError, match=r"is failed, .*store\.resume"):
            run.pause()
    with pytest.raises(ok.RunError, match="was simulated"):
        wf.simulate("x", world=ok.World()).skip("only")


def test_a_fork_is_acted_on_once_it_goes(store: ok.Store) -> None:
    gates = Gates()
    gates.open.set()
    run = gated(gates).start("Dana", store=store).wait_settled(30)
    fork = run.fork(at="polish")
    with pytest.raises(ok.RunError, match=r"is suspended, .*store\.resume"):
        fork.pause()
    fork.go().wait_settled(30).override("polish", "forked")
    assert fork.wait_settled(30).question("review") == "forked"
    assert run.question("review") == "Dear Dana!"
    fork.cancel()
    run.cancel()


def test_a_step_may_act_on_its_own_run(store: ok.Store) -> None:
    wf, held = ok.Workflow("own", input=str), []

    @wf.step
    async def draft(input: str) -> str:
        while not held:
            await asyncio.sleep(0)
        held[0].skip("check", by="draft")
        return input

    @wf.step
    def check(draft: str) -> str:
        raise AssertionError("it was skipped")

    @wf.step
    def end(draft: str, check: str = "unchecked") -> str:
        return f"{draft} {check}"

    held.append(wf.start("Dana", store=store))
    assert held[0].result(30) == "Dana unchecked"


def test_what_is_undone_is_in_the_ledger_and_done_again_by_a_resume(store: ok.Store) -> None:
    said: list[str] = []
    wf, stock = ok.Workflow("order", input=str), [False]

    async def refund(charge: str, ctx: ok.Context) -> None:
        said.append(f"refund {charge} {ctx.idempotency_key.partition(':')[2]}")

    @wf.step(effect=True, undo=refund)
    async def charge(input: str, ctx: ok.Context) -> str:
        said.append(f"charge {ctx.idempotency_key.partition(':')[2]}")
        return "receipt"

    @wf.step
    async def ship(charge: str) -> str:
        if not stock[0]:
            raise ValueError("out of stock")
        return "shipped"

    run = wf.start("Dana", store=store)
    with pytest.raises(ok.RunError, match="out of stock"):
        run.result(30)
    assert said == ["charge charge", "refund receipt charge/undo:refund"]
    ledger = store.sql("select node, status, attempts from effect order by node")
    assert ledger.to_numpy().tolist() == [["charge", "undone", 1], ["charge/undo:refund", "completed", 1]]
    assert "charge" in run._repr_mimebundle_()["text/plain"]
    stock[0] = True
    again = store.resume(run.id, wf)
    assert (again.result(30), again.status) == ("shipped", "completed")
    assert said[2:] == ["charge charge#2"]


def test_a_cancelled_run_undoes_what_it_did_if_asked(store: ok.Store) -> None:
    said: list[str] = []
    wf = ok.Workflow("order", input=str)

    def refund(charge: str) -> None:
        said.append("refund")

    @wf.step(effect=True, undo=refund)
    def charge(input: str) -> str:
        return "receipt"

    wf.approval("review", answer=bool, show="charge")
    for undo, expected in ((False, []), (True, ["refund"])):
        run = wf.start("Dana", store=store).wait_settled(30)
        run.cancel(by="lee", undo=undo)
        with pytest.raises(ok.RunCancelled):
            run.result(30)
        assert said == expected

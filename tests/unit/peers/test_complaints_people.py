"""What users of other engines suffered where a run waits for people; test_table.py says from which threads."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok

WAIT = 30


class Decision(BaseModel):
    approve: bool
    note: str = ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def reviews() -> ok.Workflow:
    """Ask one question for each item, all at once."""
    one = ok.Workflow("one", input=str)
    one.approval("review", answer=Decision, show="input")

    @one.step
    async def send(input: str, review: Decision) -> str:
        return f"{input}: {review.note}"

    wf = ok.Workflow("reviews", input=list[str])
    wf.map("each", over="input", body=one)
    return wf


def count(run: ok.Run, kind: str) -> Counter[str]:
    return Counter(event.node for event in run.log if event.kind == kind)


def restarted(run: ok.Run, wf: ok.Workflow, store: ok.Store) -> ok.Run:
    run.suspend()
    return store.resume(run.id, wf).wait_settled(WAIT)


def test_an_answered_question_is_not_asked_again_while_its_siblings_wait(store: ok.Store) -> None:
    wf = reviews()
    run = wf.start(["a", "b", "c"], store=store).wait_settled(WAIT)
    run.answer("each[1]/review", Decision(approve=True, note="first"))
    for _ in range(3):
        run = restarted(run.wait_settled(WAIT), wf, store)
        assert run.pending() == ["each[0]/review", "each[2]/review"]
    with pytest.raises(ok.AnswerLate):
        run.answer("each[1]/review", Decision(approve=False, note="second"))
    run.answer("each[0]/review", Decision(approve=True, note="x"))
    run.answer("each[2]/review", Decision(approve=True, note="y"))
    assert run.result(WAIT) == ["a: x", "b: first", "c: y"]
    assert set(count(run, "asked").values()) == set(count(run, "answered").values()) == {1}


def test_an_agent_that_is_tried_again_does_not_ask_again(store: ok.Store) -> None:
    wf = ok.Workflow("agents", input=list[str])

    @wf.map(over="input", retry=ok.Retry(3, wait=ok.backoff(base=0)))
    async def agent(item: str, ctx: ok.Context) -> str:
        yes = await ctx.ask(show=item)
        if ctx.attempt < 3:
            raise ConnectionError("after the answer")
        return f"{item} {yes}"

    run = wf.start(["a", "b"], store=store).wait_settled(WAIT)
    first, second = run.pending()
    run.answer(first, True)
    run = restarted(run.wait_settled(WAIT), wf, store)
    assert run.pending() == [second]
    run.answer(second, False)
    assert run.result(WAIT) == ["a True", "b False"]
    assert count(run, "asked") == {first: 1, second: 1}


def test_several_open_questions_can_be_answered_in_any_order_after_a_restart(tmp_path: Path) -> None:
    wf, path = reviews(), tmp_path / "lab.duckdb"
    with ok.open(path) as store:
        run_id = wf.start(list("abcd"), store=store).wait_settled(WAIT).id
    with ok.open(path) as store:
        run = store.resume(run_id, wf).wait_settled(WAIT)
        for i in (2, 0):
            run.answer(f"each[{i}]/review", {"approve": True, "note": str(i)})
        rest = {f"{run_id}/each[{i}]/review": {"approve": True, "note": str(i)} for i in (3, 1)}
        assert set(ok.inbox(store).answer(rest).values()) == {"taken"}
        assert run.result(WAIT) == ["a: 0", "b: 1", "c: 2", "d: 3"]


def test_questions_keep_their_order_when_a_run_is_resumed(store: ok.Store) -> None:
    wf, names = reviews(), [f"each[{i}]/review" for i in range(12)]
    run = wf.start(list("abcdefghijkl"), store=store).wait_settled(WAIT)
    for _ in range(2):
        assert run.pending() == store.run(run.id).pending() == store.pending().node.tolist() == names
        assert ok.inbox(store).frame.node.tolist() == names
        run = restarted(run, wf, store)


def test_one_answer_is_never_taken_for_several_questions(store: ok.Store) -> None:
    run = reviews().start(["a", "b"], store=store).wait_settled(WAIT)
    with pytest.raises(ok.ApprovalUnknown, match=r"each\[0\]/review.*each\[1\]/review"):
        run.answer("review", Decision(approve=True))
    assert run.pending() == ["each[0]/review", "each[1]/review"]
    assert not count(run, "answered")


def test_two_tools_that_ask_the_same_have_two_ids(store: ok.Store) -> None:
    wf = ok.Workflow("tools", input=str)

    @wf.step
    async def agent(input: str, ctx: ok.Context) -> list[Any]:
        return list(await asyncio.gather(*(ctx.ask(show="delete it?") for _ in range(2))))

    run = wf.start("x", store=store).wait_settled(WAIT)
    first, second = run.pending()
    assert first != second
    run.answer(second, False)
    run = restarted(run.wait_settled(WAIT), wf, store)
    assert run.pending() == [first]
    run.answer(first, True)
    assert run.result(WAIT) == [True, False]


def test_a_run_is_not_said_to_wait_while_somebody_still_works(store: ok.Store) -> None:
    wf, gate = ok.Workflow("agents", input=str), threading.Event()
    wf.approval("review", answer=bool)

    @wf.step
    def researcher(input: str) -> str:
        gate.wait(WAIT)
        return "found"

    @wf.step
    async def writer(researcher: str) -> str:
        return f"{researcher}, written"

    run = wf.start("x", store=store)
    next(event for event in run.stream() if event.kind == "asked")
    assert (run.status, run.pending()) == ("running", ["review"])
    gate.set()
    assert run.wait_settled(WAIT).status == "waiting"
    assert count(run, "completed") == {"researcher": 1, "writer": 1}
    run.answer("review", True)
    assert run.result(WAIT) == {"review": True, "writer": "found, written"}


def test_what_comes_before_a_question_does_not_run_again_on_each_resume(store: ok.Store) -> None:
    wf, ran = ok.Workflow("mail", input=str), Counter[str]()

    @wf.step
    async def draft(input: str) -> str:
        ran["draft"] += 1
        return f"Dear {input}"

    @wf.step(effect=True)
    async def announce(draft: str) -> str:
        ran["announce"] += 1
        return draft

    wf.approval("review", answer=bool, show="announce")
    wf.approval("second", answer=bool, show="announce", after="review")

    @wf.step(effect=True)
    async def send(announce: str, review: bool, second: bool) -> str:
        ran["send"] += 1
        return announce

    run = wf.start("Dana", store=store).wait_settled(WAIT)
    for question in ("review", "second"):
        for _ in range(3):
            run = restarted(run, wf, store)
        run.answer(question, True)
        run = run.wait_settled(WAIT)
    assert run.result(WAIT) == "Dear Dana"
    assert ran == {"draft": 1, "announce": 1, "send": 1}


def test_what_a_body_called_before_it_asked_does_not_run_again_on_each_resume(store: ok.Store) -> None:
    wf, ran = ok.Workflow("agent", input=str), Counter[str]()

    async def charge(amount: int) -> int:
        ran["charge"] += 1
        return amount

    @wf.step
    async def agent(input: str, ctx: ok.Context) -> str:
        paid = await ctx.call(charge, 5)
        return f"{paid} {await ctx.ask(show=input)}"

    run = wf.start("x", store=store).wait_settled(WAIT)
    for _ in range(3):
        run = restarted(run, wf, store)
    run.answer(run.pending()[0], True)
    assert run.result(WAIT) == "5 True"
    assert ran == {"charge": 1}


def test_an_answer_that_does_not_fit_neither_ends_the_run_nor_its_question(store: ok.Store) -> None:
    run = reviews().start(["a"], store=store).wait_settled(WAIT)
    for wrong in ("perhaps", None, {"approve": "never"}, {"note": "no verdict"}, 7):
        with pytest.raises(ok.AnswerInvalid, match="stays open"):
            run.answer("each[0]/review", wrong)
    assert (run.status, run.pending()) == ("waiting", ["each[0]/review"])
    run.answer("each[0]/review", {"approve": True, "note": "at last"})
    assert run.result(WAIT) == ["a: at last"]


def test_a_click_is_taken_while_a_cell_awaits_the_run(store: ok.Store) -> None:
    async def notebook() -> tuple[Any, list[str]]:
        run = reviews().start(["a"], store=store)
        await run.settled()  # though a person is awaited
        order = ["settled"]

        async def cell() -> Any:
            order.append("awaiting")
            return await run

        awaiting = asyncio.ensure_future(cell())
        await asyncio.sleep(0)
        # A widget's callback: the loop is free to run it.
        asyncio.get_running_loop().call_soon(
            lambda: (order.append("click"), run.answer("each[0]/review", {"approve": True, "note": "clicked"}))
        )
        return await awaiting, order

    assert asyncio.run(notebook()) == (["a: clicked"], ["settled", "awaiting", "click"])

"""How a user's step gets its values, and what is said when it cannot."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.model.steps import Step
from orchkit.patterns._wiring import fed, given
from orchkit.runs.fingerprint import fingerprints
from orchkit.testing import every_prefix

P = ok.patterns


class Reply(BaseModel):
    text: str


def weak(question: str) -> str:
    return f"weak on {question}"


def strong(question: str) -> str:
    return f"strong on {question}"


def sources(step: Any, **offers: Any) -> dict[str, str]:
    """Tell where the parameters of a wired step come from."""
    wf = ok.Workflow("wired", input=str)
    for node in dict.fromkeys(offers.values()):
        if node != "input":

            def made() -> str: ...

            made.__name__ = node
            wf.step(made)
    wf.step(fed(step, **offers))
    (node,) = (node for node in wf.checked().nodes if node.name == step.__name__)
    return {dep.name: dep.source for dep in node.deps}


def test_by_role_by_step_and_else_by_position() -> None:
    offers = {"answer": "weak", "input": "input"}

    def first(answer: str, input: str) -> bool: ...
    def turned(input: str, answer: str) -> bool: ...
    def by_step(input: str, weak: str) -> bool: ...
    def others(reply: str, question: str) -> bool: ...
    def mixed(question: str, answer: str) -> bool: ...
    def fewer(reply: str) -> bool: ...
    def only(input: str) -> bool: ...
    def keywords(question: str, *, weak: str) -> bool: ...

    assert sources(first, **offers) == {"answer": "weak", "input": "input"}
    assert sources(turned, **offers) == {"answer": "weak", "input": "input"}
    assert sources(by_step, **offers) == {"weak": "weak", "input": "input"}
    assert sources(others, **offers) == {"reply": "weak", "question": "input"}
    assert sources(mixed, **offers) == {"answer": "weak", "question": "input"}
    assert sources(fewer, **offers) == {"reply": "weak"}
    assert sources(only, **offers) == {"input": "input"}
    assert sources(keywords, **offers) == {"weak": "weak", "question": "input"}


def test_constants_and_ctx_take_nothing_of_what_is_offered() -> None:
    def check(ctx: ok.Context, reply: str, question: str, strict: bool = ok.const(True)) -> bool:
        return strict and ctx.attempt == 1 and reply == "weak on a" and question == "a"

    wf = P.cascade("qa", weak=weak, verify=check, strong=strong, input=str)
    assert wf.simulate("a", world=ok.World()).result() == "weak on a"
    assert given(check, answer=1, input=2) == {"reply": 1, "question": 2}


def test_a_parameter_with_a_default_asks_by_name_only() -> None:
    def finish(answer: str = "none", tone: str = ok.const("kind")) -> str: ...

    assert sources(finish, answer="answer") == {"answer": "answer"}
    assert given(finish, answer=1, input=2) == {"answer": 1}


def test_the_users_function_stays_as_it_was() -> None:
    def check(reply: str) -> bool:
        return reply.endswith("a")

    before = check.__defaults__
    P.cascade("qa", weak=weak, verify=check, strong=strong, input=str)
    assert check.__defaults__ is before
    assert check("a")
    with pytest.raises(TypeError):
        check()  # type: ignore[call-arg]  # that is the point


def test_a_step_that_names_its_sources_itself_is_taken_as_it_is() -> None:
    def check(weak: str, input: str) -> bool: ...

    assert fed(check, answer="weak", input="input") is check


def test_methods_and_steps_with_policies_are_wired_too() -> None:
    class Desk:
        mood = "glad to"

        async def reply(self, letter: str) -> str:
            return f"{self.mood} {letter}"

    @ok.step
    def check(answer: str) -> bool:
        return answer == "glad to help"

    wf = P.cascade("desk", weak=Desk().reply, verify=check, strong=strong, input=str)
    assert wf.simulate("help", world=ok.World()).result() == "glad to help"
    assert wf.simulate("sing", world=ok.World()).result() == "strong on sing"


def test_a_steps_own_options_hold_where_a_pattern_puts_it() -> None:
    def draft(question: str) -> str:
        raise ConnectionError("down")

    made = Step(draft, (("policies", (ok.Retry(2), ok.Timeout(9))), ("effect", False), ("provider", "llm:a")))
    wf = P.cascade("qa", weak=made, verify=fine, strong=strong, input=str)
    assert wf.policies("draft") == (ok.Retry(2), ok.Timeout(9))
    node = next(node for node in wf.checked().nodes if node.name == "draft")
    assert (node.provider, node.effect) == ("llm:a", False)
    looped = P.critic_loop("looped", write=made, judge=fine, input=str)
    run = looped.simulate("a", world=ok.World())
    assert [e.node for e in run.log if e.kind == "started" and "draft" in e.node] == ["rounds#1/draft"] * 2


def test_what_its_place_says_goes_before_a_steps_own_options() -> None:
    made = Step(weak, (("policies", (ok.Retry(2), ok.Timeout(9))), ("provider", "llm:a"), ("tags", ("model",))))
    wf = ok.Workflow("plain", input=str)

    @wf.step
    def question(input: str) -> str:
        return input

    wf.step(retry=5, provider="llm:b")(made)
    assert wf.policies("weak") == (ok.Retry(5), ok.Timeout(9))
    node = next(node for node in wf.checked().nodes if node.name == "weak")
    assert (node.provider, node.tags) == ("llm:b", ("model",))


def fine(answer: str) -> bool:
    return True


def test_values_keep_their_types() -> None:
    def draft(question: str) -> Reply:
        return Reply(text=question)

    def fine(reply: Reply) -> bool:
        return reply.text == "a"

    def better(question: str, reply: Reply) -> Reply:
        return Reply(text=reply.text * 2)

    wf = P.cascade("typed", weak=draft, verify=fine, strong=better, input=str)
    assert wf.simulate("a", world=ok.World()).result() == Reply(text="a")
    assert wf.simulate("b", world=ok.World()).result() == Reply(text="bb")
    looped = P.critic_loop("looped", write=draft, judge=fine, input=str)
    assert looped.simulate("a", world=ok.World()).result() == Reply(text="a")


def test_a_verdict_that_is_no_yes_or_no_is_refused_and_not_taken_for_yes() -> None:
    def score(answer: str) -> float:
        return 0.3

    wf = P.cascade("qa", weak=weak, verify=score, strong=strong, input=str)
    with pytest.raises(ok.OrchkitError, match="bool"):
        wf.simulate("a", world=ok.World()).result()


def test_fingerprints_follow_the_users_code() -> None:
    def make(code: str) -> Any:
        scope: dict[str, Any] = {}
        exec(f"def check(reply: str) -> bool:\n    return {code}", scope)
        return scope["check"]

    def prints(code: str) -> dict[str, str]:
        return fingerprints(P.cascade("qa", weak=weak, verify=make(code), strong=strong, input=str).checked())

    one, same, other = prints("True"), prints("True"), prints("False")
    assert one == same
    assert {name for name in one if one[name] != other[name]} == {"check"}


# Misuse: each says what is wrong, where, and how to mend it


def test_a_parameter_that_nothing_is_left_for() -> None:
    def check(reply: str, question: str, tone: str) -> bool: ...

    with pytest.raises(ok.DefinitionError, match=r"'check'.*offers it answer, input.*'tone'.*tone=ok\.const"):
        P.cascade("qa", weak=weak, verify=check, strong=strong)


def test_two_steps_of_one_name() -> None:
    with pytest.raises(ok.DefinitionError, match=r"cascade\('qa'\): two of its steps are called 'weak'"):
        P.cascade("qa", weak=weak, verify=weak, strong=strong)


def test_a_step_with_a_name_of_the_patterns_own() -> None:
    def accept(answer: str) -> bool: ...

    with pytest.raises(ok.DefinitionError, match=r"called 'accept', as one that the pattern adds; rename yours"):
        P.cascade("qa", weak=weak, verify=accept, strong=strong)


@pytest.mark.parametrize("step", [3, "weak", lambda question: "a", functools.partial(weak, "a"), None])
def test_what_is_no_step(step: Any) -> None:
    with pytest.raises(ok.DefinitionError, match=r"vote\('v'\): .* is no step; give a function written with def"):
        P.vote("v", voter=step)


def test_a_builtin_is_to_be_wrapped() -> None:
    with pytest.raises(ok.DefinitionError, match="wrap it in"):
        P.router("r", classify=weak, to=[len, strong]).checked()


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "5"])
def test_a_vote_of_no_ballots(n: Any) -> None:
    with pytest.raises(ok.DefinitionError, match=r"n=.*whole number from 1"):
        P.vote("v", voter=weak, n=n)


@pytest.mark.parametrize("need", [0, 3, True, 1.5])
def test_a_quorum_that_cannot_be(need: Any) -> None:
    with pytest.raises(ok.DefinitionError, match=r"need=.*2 voters"):
        P.quorum("q", voters=[weak, strong], need=need)


def test_without_a_quorum_the_run_fails_and_says_why() -> None:
    wf = P.quorum("q", voters=[weak, strong], need=2, input=str)
    with pytest.raises(ok.RunError, match="no answer has 2 of the 2 votes"):
        wf.simulate("a", world=ok.World()).result()
    over = wf.using(agreed=ok.Fallback("nothing agreed"))
    assert over.simulate("a", world=ok.World()).result() == "nothing agreed"


def test_nobody_at_all_is_no_quorum() -> None:
    wf = P.quorum("q", voters=[weak, strong], need=1, input=str)
    run = wf.simulate("a", world=ok.World(weak=ok.fake("x", error=1.0), strong=ok.fake("x", error=1.0)))
    assert run.status in ("failed", "degraded")


def test_too_few_to_choose_from() -> None:
    for make in (
        lambda: P.quorum("q", voters=[weak], need=1),
        lambda: P.router("r", classify=weak, to=[]),
        lambda: P.handoff("h", agents=[weak]),
        lambda: P.debate("d", debaters=[weak], judge=strong),
        lambda: P.supervisor("s", plan=weak, workers=[], report=strong),
        lambda: P.saga("s", steps=[]),
    ):
        with pytest.raises(ok.DefinitionError, match="too few"):
            make()


def test_work_on_parts_asks_for_an_item() -> None:
    def merge(results: list[str]) -> str: ...

    with pytest.raises(ok.DefinitionError, match=r"map_reduce\('m'\): 'strong'.*takes \(question\).*item"):
        P.map_reduce("m", split=weak, work=strong, reduce=merge)


def test_an_agent_that_hands_to_a_stranger_fails_the_run() -> None:
    def one(message: str) -> tuple[str | None, str]:
        return "stranger", message

    def two(message: str) -> tuple[str | None, str]: ...

    wf = P.handoff("h", agents=[one, two], input=str)
    with pytest.raises(ok.RunError, match="stranger"):
        wf.simulate("a", world=ok.World()).result()


def test_a_case_that_goes_round_in_circles_fails() -> None:
    def one(message: str) -> tuple[str | None, str]:
        return "two", message

    def two(message: str) -> tuple[str | None, str]:
        return "one", message

    wf = P.handoff("h", agents=[one, two], turns=4, input=str)
    with pytest.raises(ok.RunError, match="after 4 rounds"):
        wf.simulate("a", world=ok.World()).result()


def test_an_order_of_nobody_fails_the_run_and_says_who_is_there() -> None:
    def plan(case: str) -> list[tuple[str, str]]:
        return [("stronk", "a")]

    def report(notes: list[Any]) -> str: ...

    wf = P.supervisor("s", plan=plan, workers=[strong], report=report, input=str)
    with pytest.raises(ok.RunError, match=r"orders 'a' of 'stronk'; there are strong"):
        wf.simulate("a", world=ok.World()).result()


# Sagas


def test_a_saga_of_things_that_are_no_pairs() -> None:
    with pytest.raises(ok.DefinitionError, match=r"saga\('s'\): .*give pairs"):
        P.saga("s", steps=[weak])  # type: ignore[list-item]  # that is the point


def test_a_sagas_steps_are_checked_before_anything_is_done() -> None:
    def pay(trip: str, seat: str, hotel: str) -> str: ...

    with pytest.raises(ok.DefinitionError, match="nothing is left for 'hotel'"):
        P.saga("s", steps=[(weak, None), (pay, None)])


def saga_of(log: list[str], fails: str) -> ok.Workflow:
    def step(name: str) -> Any:
        def do(value: Any) -> str:
            if name == fails:
                raise ConnectionError("down")
            log.append(name)
            return name

        do.__name__ = do.__qualname__ = name
        return do

    names = [("book", "cancel"), ("pay", "refund"), ("ship", "recall")]
    return P.saga("trip", steps=[(step(do), step(undo)) for do, undo in names], input=str)


@pytest.mark.parametrize(
    ("fails", "done"),
    [
        ("none", ["book", "pay", "ship"]),
        ("book", []),
        ("pay", ["book", "cancel"]),
        ("ship", ["book", "pay", "refund", "cancel"]),
    ],
)
def test_a_saga_undoes_what_was_done_the_last_first(fails: str, done: list[str]) -> None:
    log: list[str] = []
    run = saga_of(log, fails).simulate("Rome", world=ok.World())
    assert log == done
    assert run.status == ("completed" if fails == "none" else "failed")
    if fails != "none":
        with pytest.raises(ok.RunError, match=rf"{fails} failed: ConnectionError: down"):
            run.result()


def test_what_cannot_be_undone_is_named_and_the_rest_is_undone() -> None:
    log: list[str] = []
    wf = saga_of(log, "ship")
    world = ok.World({"pay/undo:refund": ok.fake("x", error=1.0)})
    with pytest.raises(ok.RunError, match="could not be undone: pay"):
        wf.simulate("Rome", world=world).result()
    assert log == ["book", "pay", "cancel"]


def test_one_function_may_undo_several() -> None:
    log: list[str] = []

    def drop(done: str) -> None:
        log.append(f"no {done}")

    def first(input: str) -> str:
        return "a"

    def second(input: str) -> str:
        return "b"

    def third(input: str) -> str:
        raise ConnectionError("down")

    wf = P.saga("s", steps=[(first, drop), (second, drop), (third, drop)], input=str)
    assert wf.simulate("x", world=ok.World()).status == "failed"
    assert log == ["no b", "no a"]


def test_a_saga_waits_for_the_step_before_also_where_it_uses_nothing_of_it() -> None:
    log: list[str] = []
    wf = saga_of(log, "none")
    slow = ok.World(book=ok.fake("b", latency=5.0), pay=ok.fake("p", latency=1.0), ship=ok.fake("s"))
    run = wf.simulate("Rome", world=slow)
    assert [e.node for e in run.log if e.kind == "started"] == ["book", "pay", "ship", "results"]
    assert run.result() == {"book": "b", "pay": "p", "ship": "s"}


def test_the_steps_of_a_saga_bear_policies_and_effects_of_their_own() -> None:
    def book(trip: str) -> str: ...
    def cancel(seat: str, trip: str) -> None: ...
    def pay(trip: str, book: str) -> str: ...

    booked = ok.step(effect=True, retry=2)(book)
    wf = P.saga("trip", steps=[(booked, ok.step(cancel)), (pay, None)], input=str)
    storm = ok.Faults(ok.faults.fail("book", first=1))
    models = {"book": ok.fake("seat"), "book/undo:cancel": ok.fake(None), "pay": ok.fake("paid", error=1.0)}
    run = wf.simulate("Rome", world=ok.World(models), faults=storm)
    assert [(e.node, e.key) for e in run.log if e.kind == "started"] == [
        ("book", "book"),
        ("book", "book"),
        ("pay", ""),
        ("book/undo:cancel", "book/undo:cancel"),
    ]


@pytest.mark.parametrize("k", range(1, 6))
def test_what_fails_at_step_k_undoes_the_k_minus_1_before_it_from_every_prefix(k: int) -> None:
    def named(name: str) -> Any:
        def do(input: str) -> str: ...

        do.__name__ = do.__qualname__ = name
        return do

    places = range(1, 6)
    wf = P.saga("s", steps=[(named(f"do{i}"), named(f"undo{i}")) for i in places], input=str)
    does = {f"do{i}": ok.fake(f"{i}", latency=1.0, error=float(i == k)) for i in places}
    undoes = {f"do{i}/undo:undo{i}": ok.fake("back", latency=1.0, error=0.2) for i in places}
    world = ok.World(does | undoes)
    run = wf.simulate("x", world=world)
    undone = [(e.node, e.status) for e in run.log if e.kind == "undone"]
    assert undone == [(f"do{i}", "completed") for i in range(k - 1, 0, -1)]
    report = every_prefix(wf, "x", world=world)
    assert report.ok, report.differences
    assert report.exact == report.points

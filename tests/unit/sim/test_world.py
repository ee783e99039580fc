"""The world: what it models, what it refuses by name beforehand, and that nothing real happens by accident."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.clock.dice import CHOICE, ERROR, JITTER, LATENCY, VALUE, Stream, base_of, path_of
from orchkit.sim.world import Fake, Person
from tests.support.names import shown


class Decision(BaseModel):
    approve: bool
    note: str = ""


class Verdict(BaseModel):
    approve: bool
    urgent: bool


class Reason(BaseModel):
    approve: bool
    why: str


def review_flow(answer: Any = Decision, timeout: float | None = None) -> ok.Workflow:
    wf = ok.Workflow("triage", input=str)

    @wf.step
    def draft(input: str) -> str:
        return f"Dear {input}"

    wf.approval("review", answer=answer, show="draft", timeout=timeout)

    @wf.step(effect=True)
    def send(review: Any, draft: str) -> str: ...

    return wf


def canned(input: str) -> str:
    return f"canned {input}"


PERSON = ok.person(60.0, approve=1.0)
SENT = ok.skip_effect("sent")


# What it refuses


def test_all_that_does_not_fit_is_said_at_once() -> None:
    wf = review_flow(answer=Verdict)
    wf.step(effect=True)(canned)
    world = ok.World(draft=PERSON, review=PERSON, sned=ok.fake("sent"), zebra=ok.fake(1))
    with pytest.raises(ok.SimulationError) as caught:
        wf.simulate("Dana", world=world)
    first, *problems = str(caught.value).splitlines()
    assert "'triage'" in first
    assert sorted(problems) == sorted(
        [
            "  - 'draft' is a step, not an approval: model it by ok.fake(value)",
            "  - 'sned' is no node of it; did you mean 'send' or 'canned'?",
            "  - 'zebra' is no node of it; there are: canned, draft, review, send",
            "  - 'send' has an effect on the world: say send=ok.skip_effect(value), or ok.real if it may act",
            "  - 'canned' has an effect on the world: say canned=ok.skip_effect(value), or ok.real if it may act",
            "  - 'review': ok.person(approve=) needs an answer model whose one required field is a bool; Verdict is "
            "not: use answers=",
        ]
    )


@pytest.mark.parametrize("model", [None, ok.real, ok.fake({"approve": True})], ids=["nothing", "real", "fake"])
def test_an_approval_wants_a_person(model: Any) -> None:
    world = ok.World(send=SENT) if model is None else ok.World(send=SENT, review=model)
    with pytest.raises(ok.SimulationError, match=r"'review' asks a person: say who answers, review=ok\.person"):
        review_flow().simulate("Dana", world=world)


@pytest.mark.parametrize("answer", [Verdict, Reason, str, int], ids=lambda answer: answer.__name__)
def test_approve_wants_an_answer_with_one_required_bool(answer: Any) -> None:
    with pytest.raises(ok.SimulationError, match=rf"'review': .*{answer.__name__} is not: use answers="):
        review_flow(answer).simulate("Dana", world=ok.World(review=PERSON, send=SENT))


def test_a_fallback_is_modelled_by_its_path() -> None:
    wf = ok.Workflow("answer", input=str)

    @wf.step(fallback=canned)
    def draft(input: str) -> str: ...

    failing = ok.fake("never", error=1.0)
    assert wf.simulate("Dana", world=ok.World(draft=failing)).result() == "canned Dana"
    world = ok.World({"draft/fallback:canned": ok.fake("modelled", latency=2)}, draft=failing)
    run = wf.simulate("Dana", world=world)
    assert (run.result(), run.status, run.log[-1].t) == ("modelled", "degraded", 2_000_000)
    with pytest.raises(ok.SimulationError, match="did you mean 'draft/fallback:canned'"):
        wf.simulate("Dana", world=ok.World({"draft/fallback:caned": ok.fake("")}, draft=failing))
    with pytest.raises(ok.SimulationError, match="'draft/fallback:canned' is a step, not an approval"):
        wf.simulate("Dana", world=ok.World({"draft/fallback:canned": PERSON}, draft=failing))
    with pytest.raises(ok.SimulationError, match=r"no node of it"):  # the arm without it has no such place
        wf.using(draft=None).simulate("Dana", world=world)


@pytest.mark.parametrize("model", ["found", None, 3.0, {"a": 1}, lambda inputs, rng: 1])
def test_a_plain_value_is_no_model(model: Any) -> None:
    with pytest.raises(ok.DefinitionError, match=r"World\(draft=.*use ok\.fake\(value\)"):
        ok.World(draft=model)


def test_a_world_must_be_one() -> None:
    with pytest.raises(ok.DefinitionError, match=r"give an ok\.World"):
        review_flow().simulate("Dana", world={"draft": ok.fake(1)})  # type: ignore[arg-type]


# Nothing real by accident


def writing_flow(path: Path, **options: Any) -> ok.Workflow:
    wf = ok.Workflow("dangerous", input=str)

    @wf.step(effect=True, **options)
    def send(input: str) -> str:
        path.write_text(input)
        return "really sent"

    return wf


def test_a_body_with_an_effect_never_runs_unless_the_world_says_so(tmp_path: Path) -> None:
    path = tmp_path / "sent.txt"
    wf = writing_flow(path)
    with pytest.raises(ok.SimulationError, match="'send' has an effect"):
        wf.simulate("Dana", world=ok.World())
    storm = ok.Faults(ok.faults.slow("send", add=1.0))
    run = wf.simulate("Dana", world=ok.World(send=SENT), faults=storm)
    assert run.result() == "sent"
    assert not path.exists()
    assert wf.simulate("Dana", world=ok.World(send=ok.real)).result() == "really sent"
    assert path.read_text() == "Dana"


def test_the_effect_of_a_fallback_is_no_accident_either(tmp_path: Path) -> None:
    path = tmp_path / "sent.txt"

    def by_letter(input: str) -> str:
        path.write_text(input)
        return "by letter"

    wf = writing_flow(tmp_path / "never.txt", fallback=by_letter)
    broken = ok.fake("sent", error=1.0)
    with pytest.raises(ok.SimulationError, match="'send/fallback:by_letter' has an effect"):
        wf.simulate("Dana", world=ok.World(send=broken))
    assert not list(tmp_path.iterdir())
    run = wf.simulate("Dana", world=ok.World({"send/fallback:by_letter": ok.skip_effect("later")}, send=broken))
    assert run.result() == "later"
    assert not list(tmp_path.iterdir())
    wf.simulate("Dana", world=ok.World({"send/fallback:by_letter": ok.real}, send=broken))
    assert path.exists()


def test_an_effect_in_a_map_is_asked_about_too() -> None:
    wf = ok.Workflow("many", input=list[str])

    @wf.map(over="input", effect=True)
    def send(item: str) -> str:
        raise AssertionError("it ran")

    with pytest.raises(ok.SimulationError, match="'send' has an effect"):
        wf.simulate(["a", "b"], world=ok.World())
    assert wf.simulate(["a", "b"], world=ok.World(send=SENT)).result() == ["sent", "sent"]


# Fakes


def test_a_step_without_an_entry_runs_its_own_body() -> None:
    run = review_flow().simulate("Dana", world=ok.World(review=PERSON, send=SENT))
    assert [e.body for e in run.log if e.kind == "completed" and e.node == "draft"] == ["Dear Dana"]
    same = review_flow().simulate("Dana", world=ok.World(draft=ok.real, review=PERSON, send=SENT))
    assert same.receipt == run.receipt


def inputs_flow() -> ok.Workflow:
    wf = ok.Workflow("inputs", input=str)

    @wf.step
    def plan(input: str) -> list[str]: ...

    @wf.map(over="plan")
    def lookup(item: str, input: str) -> str: ...

    @wf.step
    def draft(input: str, plan: list[str], lookup: list[str], tone: str = ok.const("kind")) -> dict[str, Any]: ...

    return wf


def test_a_function_gets_the_inputs_by_name() -> None:
    world = ok.World(
        plan=ok.fake(lambda inputs, rng: [inputs["input"], "b"]),
        lookup=ok.fake(lambda inputs, rng: f"{inputs['input']}:{inputs['item']}"),
        draft=ok.fake(lambda inputs, rng: inputs),
    )
    assert inputs_flow().simulate("a", world=world).result() == {
        "input": "a",
        "plan": ["a", "b"],
        "lookup": ["a:a", "a:b"],
        "tone": "kind",
    }


def test_a_functions_luck_is_its_attempts_own_and_repeats() -> None:
    seen: list[float] = []

    def roll(inputs: dict[str, Any], rng: random.Random) -> str:
        seen.append(rng.random())
        return str(rng.random())

    world = ok.World(plan=ok.fake(["a", "b", "a"]), lookup=ok.fake(roll), draft=ok.fake({}))
    receipts = [inputs_flow().simulate("x", world=world, seed=seed).receipt for seed in (1, 1, 2)]
    assert receipts[0] == receipts[1] != receipts[2]
    assert seen[:3] == seen[3:6]
    assert len(set(seen)) == 6


def test_a_list_is_the_value_and_is_not_shared_between_runs() -> None:
    value = ["a", "b"]
    wf = ok.Workflow("lists")

    @wf.step
    def plan() -> Any: ...

    @wf.step
    def spoil(plan: Any) -> Any:
        plan.append("c")
        return plan

    world = ok.World(plan=ok.fake(value))
    assert wf.simulate(None, world=world).result() == ["a", "b", "c"]
    assert wf.simulate(None, world=world).result() == ["a", "b", "c"]
    assert value == ["a", "b"]


def test_the_cost_is_that_of_each_attempt() -> None:
    wf = ok.Workflow("costly")

    @wf.step(retry=ok.Retry(3, wait=ok.backoff(base=0)), fallback="sorry")
    def draft() -> str: ...

    run = wf.simulate(None, world=ok.World(draft=ok.fake("x", error=1.0, cost=0.25)))
    assert [event.cost for event in run.log if event.kind == "failed"] == [0.25, 0.25, 0.25]


@pytest.mark.parametrize("value", [[1, 2], 7, None, object()], ids=shown)
@pytest.mark.parametrize("as_function", [False, True], ids=["value", "function"])
def test_a_value_that_does_not_fit_is_said_with_the_node(value: Any, as_function: bool) -> None:
    given = (lambda inputs, rng: value) if as_function else value
    with pytest.raises(
        ok.SimulationError, match=r"(?s)the world's value for 'draft' does not fit the step.*give ok\.fake"
    ):
        review_flow().simulate("Dana", world=ok.World(draft=ok.fake(given), review=PERSON, send=SENT))


def test_a_route_that_picks_no_target_is_said_with_the_node() -> None:
    wf = ok.Workflow("routes")

    @wf.route(to=["a", "b"])
    def choose() -> str: ...

    @wf.step
    def a() -> str:
        return "a"

    @wf.step
    def b() -> str:
        return "b"

    assert wf.simulate(None, world=ok.World(choose=ok.fake("b"))).result() == "b"
    with pytest.raises(ok.SimulationError, match=r"'choose'.*'c'"):
        wf.simulate(None, world=ok.World(choose=ok.fake("c")))


def no_arguments() -> str: ...


async def waits(inputs: Any, rng: Any) -> str: ...


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ok.fake(no_arguments), r"ok\.fake\(no_arguments\): a function gets \(inputs, rng\)"),
        (lambda: ok.fake(lambda inputs: 1), r"a function gets \(inputs, rng\)"),
        (lambda: ok.fake(waits), r"ok\.fake\(waits\): a model answers at once; write it with def"),
        (lambda: ok.fake(1, error=1.5), "a rate is between 0 and 1"),
        (lambda: ok.fake(1, error=-0.1), "a rate is between 0 and 1"),
        (lambda: ok.fake(1, error=float("nan")), "a rate is between 0 and 1"),
        (lambda: ok.fake(1, error="0.1"), "a rate is between 0 and 1"),
        (lambda: ok.fake(1, error=True), "a rate is between 0 and 1"),
        (lambda: ok.fake(1, cost=-1), "USD an attempt, 0 or more"),
        (lambda: ok.fake(1, cost=float("inf")), "USD an attempt, 0 or more"),
        (lambda: ok.fake(1, latency=-1), "seconds must be 0 or more"),
        (lambda: ok.fake(1, latency="1s"), "no duration"),
        (lambda: ok.person(1.0), "give either approve=probability or answers="),
        (lambda: ok.person(1.0, approve=0.5, answers=True), "give either approve=probability or answers="),
        (lambda: ok.person(1.0, approve=2), r"ok\.person\(approve\)=2: a rate"),
        (lambda: ok.person(1.0, approve=0.5, absent=-1), r"ok\.person\(absent\)=-1: a rate"),
        (lambda: ok.person("soon", approve=0.5), "no duration"),
        (lambda: ok.person(1.0, answers=no_arguments), r"ok\.person\(no_arguments\): a function gets"),
        (lambda: ok.person(1.0, answers=waits), r"ok\.person\(waits\): a model answers at once"),
    ],
)
def test_wrong_numbers_and_functions_are_refused_at_the_call(make: Any, says: str) -> None:
    with pytest.raises(ok.DefinitionError, match=says):
        make()


def test_a_builtin_that_hides_its_parameters_is_taken_at_its_word() -> None:
    assert ok.fake(max).wants_inputs


def test_an_error_in_a_models_function_is_the_worlds_and_no_failed_attempt() -> None:
    wf = review_flow().using(draft=ok.Fallback("sorry"))
    world = ok.World(draft=ok.fake(lambda inputs, rng: inputs["nope"]), review=PERSON, send=SENT)
    with pytest.raises(KeyError, match="nope"):
        wf.simulate("Dana", world=world)


# Persons


def answers_of(wf: ok.Workflow, world: ok.World, seeds: int = 200) -> Counter[str]:
    runs = (wf.simulate("Dana", world=world, seed=seed) for seed in range(seeds))
    return Counter(str(event.body) for run in runs for event in run.log if event.kind in ("answered", "expired"))


def test_a_person_fills_the_one_required_bool() -> None:
    wf, world = review_flow(), ok.World(review=ok.person(60.0, approve=0.5), send=SENT)
    assert answers_of(wf, world).keys() == {"{'approve': True, 'note': ''}", "{'approve': False, 'note': ''}"}


def test_a_person_answers_a_plain_bool() -> None:
    wf = ok.Workflow("plain")
    wf.approval("sure")
    assert wf.simulate(None, world=ok.World(sure=ok.person(1.0, approve=0.0))).result() is False


def test_a_person_gives_whole_answers_and_sees_what_is_shown() -> None:
    wf = review_flow(Reason)

    def judge(inputs: dict[str, Any], rng: random.Random) -> dict[str, Any]:
        return {"approve": rng.random() < 2, "why": inputs["draft"]}

    run = wf.simulate("Dana", world=ok.World(review=ok.person(5.0, answers=judge), send=SENT))
    answered = next(event for event in run.log if event.kind == "answered")
    assert answered.body == {"approve": True, "why": "Dear Dana"}
    assert (answered.t, answered.by) == (5_000_000, "simulated person")


def test_an_answer_at_the_deadline_counts_and_a_later_one_does_not() -> None:
    for delay, kind in ((60.0, "answered"), (60.000001, "expired")):
        wf = review_flow(timeout=60.0)
        run = wf.simulate("Dana", world=ok.World(review=ok.person(delay, approve=1.0), send=SENT))
        assert next(e.kind for e in run.log if e.node == "review" and e.t == 60_000_000) == kind


def test_nobody_answers_and_nothing_expires_is_said() -> None:
    world = ok.World(review=ok.person(1.0, approve=1.0, absent=1.0), send=SENT)
    with pytest.raises(ok.RunStuck, match="review"):
        review_flow().simulate("Dana", world=world).result()


@pytest.mark.parametrize("answers", [{"approve": "perhaps"}, 7, lambda inputs, rng: {"note": "?"}])
def test_an_answer_that_does_not_fit_is_said_with_the_node(answers: Any) -> None:
    world = ok.World(review=ok.person(1.0, answers=answers), send=SENT)
    with pytest.raises(ok.SimulationError, match=r"the world's answer for 'review' does not fit"):
        review_flow().simulate("Dana", world=world)


def test_absence_delay_and_verdict_are_drawn_apart() -> None:
    stream = Stream(base_of(3), path_of("review"), -1, 0, 1)
    slow = ok.person(ok.dist.exponential(mean=10), approve=1.0).decide({}, stream)
    picky = ok.person(ok.dist.exponential(mean=10), approve=0.0, absent=1e-12).decide({}, stream)
    assert slow.latency == picky.latency
    assert (slow.value, picky.value) == (True, False)
    assert len({CHOICE, ERROR, JITTER, LATENCY, VALUE}) == 5


# How they show themselves


def test_reprs() -> None:
    world = ok.World({"draft/fallback:canned": ok.real}, draft=ok.fake("x", latency=3, error=0.123456789, cost=1e-7))
    assert repr(world) == (
        "World(draft/fallback:canned=ok.real, "
        "draft=fake('x', latency=ok.dist.constant(3), error=0.123456789, cost=1e-07))"
    )
    assert isinstance(ok.fake(1), Fake)
    assert isinstance(PERSON, Person)
    assert "approve=1.0" in repr(PERSON)


def test_worlds_of_different_names_have_different_luck() -> None:
    def receipt(name: str) -> str:
        model = ok.fake("x", latency=ok.dist.exponential(mean=3))
        world = ok.World(name=name, draft=model, review=PERSON, send=SENT)
        return str(review_flow().simulate("Dana", world=world).receipt)

    assert receipt("") == receipt("")
    assert len({receipt(""), receipt("a"), receipt("b")}) == 3

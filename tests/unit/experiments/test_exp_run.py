"""Experiment: what it refuses, what it runs, and what an interrupt leaves."""

import asyncio
import math
import subprocess
import sys

import pytest
from experiment_arms import arms, greeting, world

import orchkit as ok


def experiment(**changes):
    given = {"inputs": ["Dana"], "world": world(), "seeds": 3} | changes
    return ok.Experiment(given.pop("arms", None) or arms(), **given)


def test_the_repr_says_how_many_trials_on_one_line():
    faults = {"calm": None, "storm": ok.Faults(ok.faults.hang("greet", nth=2))}
    exp = experiment(inputs=["a", "b", "c"], faults=faults, seeds=5)
    assert repr(exp) == "Experiment(2 arms x 2 faults x 3 cases x 5 seeds = 60 trials)"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"inputs": "Dana"}, "give a list with one workflow input a case"),
        ({"inputs": []}, "give a list"),
        ({"inputs": {"a": 1}}, "give a list"),
        ({"inputs": ["Dana", 7]}, r"(?s)does not fit workflow 'hello'"),
        ({"world": None}, r"give an ok.World"),
        ({"world": world(error=0, draft=ok.fake(1))}, "'draft' is no node of any arm; there are: greet"),
        ({"faults": "storm"}, "a dict of them by name"),
        ({"faults": {}}, "a dict of them by name"),
        ({"faults": {"storm": 3}}, "'storm': 3"),
        ({"faults": {7: None}}, "needs a name in words"),
        ({"faults": ok.Faults(ok.faults.fail("great"))}, r"great.*hits nothing in any arm.*greet"),
        ({"seeds": 0}, "give how many"),
        ({"seeds": True}, "give how many"),
        ({"seeds": 2.5}, "give how many"),
        ({"seeds": "ab"}, "give how many"),
        ({"seeds": []}, "give how many"),
        ({"seeds": [1, 2, 1]}, "comes twice"),
        ({"arms": {" ": greeting()}}, "needs a name in words"),
        ({"arms": {"plain": "wf"}}, "'plain' is 'wf'; give an ok.Workflow"),
        ({"arms": [greeting()]}, "give a dict of arms by name"),
    ],
)
def test_wrong_arguments_fail_at_the_call_and_say_how_to_mend_them(changes, says):
    with pytest.raises(ok.DefinitionError, match=says):
        experiment(**changes)


def test_an_input_that_does_not_fit_is_named_by_its_position():
    with pytest.raises(ok.DefinitionError) as caught:
        experiment(inputs=["Dana", 7])
    assert caught.value.__notes__ == ["it is inputs[1] of the experiment, for the arm 'plain'"]


def test_arms_have_the_same_nodes():
    other = ok.Workflow("hello", input=str)

    @other.step
    def greet(input: str) -> str: ...

    @other.step
    def polish(greet: str) -> str: ...

    with pytest.raises(ok.DefinitionError, match=r"'plain' and 'more' differ in polish; .*wf.using"):
        experiment(arms={"plain": greeting(), "more": other})


def test_what_could_really_happen_is_refused_with_the_name_of_the_arm():
    wf = greeting()

    @wf.step(effect=True)
    def send(greet: str) -> str: ...

    with pytest.raises(ok.SimulationError, match="'send' has an effect") as caught:
        experiment(arms={"plain": wf})
    assert caught.value.__notes__ == ["in the arm 'plain' of the experiment"]


def test_a_path_that_one_arm_alone_has_may_be_modelled_and_hit():
    def canned(input: str) -> str: ...

    wf = greeting()
    path = "greet/fallback:canned"
    exp = experiment(
        arms={"plain": wf, "fallback": wf.using(greet=ok.Fallback(canned))},
        world=ok.World({path: ok.fake("Hi")}, greet=ok.fake("Hello", error=0.5)),
        faults=ok.Faults(ok.faults.fail(path, nth=2)),
        seeds=30,
    )
    frame = exp.run().frame
    assert set(frame[frame.arm == "fallback"].outcome) == {"completed", "degraded"}
    assert set(frame[frame.arm == "plain"].outcome) == {"completed", "failed"}


def test_the_experiment_keeps_the_workflow_as_it_was():
    wf = greeting()
    exp = experiment(arms={"plain": wf})

    @wf.step
    def later(greet: str) -> str: ...

    frame = exp.run().frame
    assert frame.attempts.tolist() == [1, 1, 1]


def test_columns_and_terms(res):
    frame = res.frame
    assert list(frame) == [
        "arm", "faults", "case", "seed", "status", "outcome", "success", "full", "degraded", "latency", "cost",
        "tokens", "attempts", "human_minutes", "receipt",
    ]  # fmt: skip
    assert len(frame) == 2 * 2 * 2 * 40
    assert frame.arm.unique().tolist() == ["plain", "retry"]
    assert frame.faults.unique().tolist() == ["calm", "storm"]
    key = frame[["arm", "faults", "case", "seed"]]
    assert not key.duplicated().any()
    assert key.apply(tuple, axis=1).is_monotonic_increasing
    assert (frame.success == frame.status.isin(["completed", "degraded"])).all()
    assert (frame.full == (frame.success & ~frame.degraded)).all()
    assert frame.receipt.str.startswith("exact:").all()
    assert not res.partial
    assert repr(res) == "Results(2 arms x 2 faults x 2 cases x 40 seeds: 320 trials)"


def test_a_row_says_what_the_run_says(res):
    row = res.frame.query("arm == 'retry' and faults == 'storm' and case == 1 and attempts == 3").iloc[0]
    storm = ok.Faults(ok.faults.fail("greet", rate=0.4, after=1.0))
    one = ok.Experiment(arms(), inputs=["Dana", "Ines"], world=world(), faults=storm, seeds=[int(row.seed)]).run().frame
    again = one.query("arm == 'retry' and case == 1").iloc[0]
    assert again.receipt == row.receipt
    run = arms()["retry"].simulate("Dana", world=world(), faults=storm, seed=int(row.seed))  # case 0
    first = one.query("arm == 'retry' and case == 0").iloc[0]
    assert (run.receipt, run.status) == (first.receipt, first.status)
    assert first.latency == run.log[-1].t / 1e6
    assert first.cost == sum(event.cost for event in run.log)
    assert first.attempts == sum(event.kind == "started" for event in run.log)


def test_what_was_given_up_has_cost_what_it_cost():
    wf = greeting()
    slow = ok.World(greet=ok.fake("Hello", latency=9.0, cost=0.01))
    given = {"hedge": wf.using(greet=ok.Hedge(after=2.0)), "deadline": wf.using(greet=ok.Deadline(3.0))}
    frame = ok.Experiment(given, inputs=["Dana"], world=slow, seeds=1).run().frame.set_index("arm")
    assert frame.attempts.to_dict() == {"hedge": 2, "deadline": 1}
    assert frame.cost.to_dict() == {"hedge": 0.02, "deadline": 0.01}


def test_outcomes_tell_a_timeout_from_a_failure():
    wf = greeting()
    hangs = ok.Faults(ok.faults.hang("greet", first=2))
    last = ok.Faults(ok.faults.hang("greet", nth=1), ok.faults.fail("greet", nth=2))
    exp = experiment(
        arms={
            "timeout": wf.using(greet=[ok.Retry(2), ok.Timeout(5)]),
            "fallback": wf.using(greet=[ok.Timeout(5), ok.Fallback("Hi")]),
        },
        world=world(error=0.0),
        faults={"hangs": hangs, "last fails": last},
        seeds=1,
    )
    assert exp.run().frame.set_index(["arm", "faults"]).outcome.to_dict() == {
        ("timeout", "hangs"): "timed out",
        ("timeout", "last fails"): "failed",
        ("fallback", "hangs"): "degraded",
        ("fallback", "last fails"): "degraded",
    }


def test_a_run_that_would_wait_for_ever_has_no_end_and_is_no_success():
    frame = experiment(faults=ok.Faults(ok.faults.hang("greet", nth=1)), seeds=1).run().frame
    assert frame.outcome.tolist() == ["failed", "failed"]
    assert frame.status.tolist() == ["orphaned", "orphaned"]
    assert frame.latency.tolist() == [math.inf, math.inf]


def test_minutes_of_people_count_answers_and_deadlines():
    wf = ok.Workflow("ask", input=str)
    wf.approval("first", show="input", timeout=600)
    wf.approval("second", show="input", timeout=600, after="first")

    @wf.step
    def done(first: bool | None, second: bool | None) -> str: ...

    people = {"first": ok.person(90.0, approve=1.0), "second": ok.person(90.0, approve=1.0, absent=1.0)}
    frame = experiment(arms={"a": wf}, world=ok.World(people, done=ok.fake("x")), seeds=1).run().frame
    assert frame.human_minutes.tolist() == [1.5 + 10.0]


def test_equal_arms_have_equal_luck():
    wf = greeting()
    frame = experiment(arms={"a": wf, "b": wf.using()}, inputs=["Dana", "Dana"], seeds=20).run().frame
    receipts = frame.pivot(index=["case", "seed"], columns="arm", values="receipt")
    assert (receipts.a == receipts.b).all()
    assert receipts.a.nunique() == 40  # and equal inputs have their own


def test_it_runs_under_a_running_loop():
    async def cell():
        return experiment().run()

    assert len(asyncio.run(cell()).frame) == 6


def test_progress_is_shown_when_asked_for_only(capsys):
    experiment().run()
    assert capsys.readouterr().err == ""
    experiment().run(progress=True)
    assert "6/6" in capsys.readouterr().err


def interrupting(at):
    calls = iter(range(1, 1000))

    def value(inputs, rng):
        if next(calls) == at:
            raise KeyboardInterrupt
        return "Hello"

    return ok.World(greet=ok.fake(value))


def test_an_interrupt_keeps_what_is_done_and_says_so(capsys):
    res = experiment(world=interrupting(at=10), inputs=["Dana", "Ines"], seeds=20).run()
    assert res.partial
    assert len(res.frame) == 9
    assert "9 of 80 trials are done and kept" in capsys.readouterr().err
    assert repr(res) == "Results(2 arms x 1 faults x 2 cases x 20 seeds: 9 of 80 trials, interrupted)"
    # What is compared are pairs: the ninth trial has no counterpart.
    assert res.compare("cost", baseline="plain").n.tolist() == [4]


def test_an_interrupt_of_a_real_body_is_one_too(capsys):
    wf = ok.Workflow("hello", input=str)
    calls = iter(range(1, 1000))

    @wf.step
    def greet(input: str) -> str:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return "Hello"

    res = experiment(arms={"plain": wf}, world=ok.World(), seeds=10).run()
    assert len(res.frame) == 3
    assert res.frame.success.all()


def test_an_interrupt_before_the_first_trial_is_passed_on():
    with pytest.raises(KeyboardInterrupt):
        experiment(world=interrupting(at=1)).run()


def test_a_world_that_fails_names_the_trial():
    def value(inputs, rng):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        experiment(world=ok.World(greet=ok.fake(value))).run()
    assert "arm='plain', faults='none', case=0, seed=0" in caught.value.__notes__[-1]


def test_importing_and_running_load_no_heavy_library():
    code = (
        "import sys, orchkit as ok\n"
        "wf = ok.Workflow('w', input=str)\n"
        "@wf.step\n"
        "def a(input: str) -> str: ...\n"
        "ok.Experiment({'a': wf}, inputs=['x'], world=ok.World(a=ok.fake('y')), seeds=2).run()\n"
        "print([name for name in ('numpy', 'pandas', 'scipy', 'tqdm', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Simulated patterns against closed forms (`reference/failures.md` §5, and what each pattern's docstring says).

Each test states n, the number of simulated runs, and fixes its seeds. Every comparison asks for |simulated - exact| < 4
standard errors, so one that is right fails with probability 6.3e-5 under new seeds; the 50 or so of this file together
with 0.3 % (see `tests.truth.oracle`). Whether an answer is right is drawn by the world, as the answer itself.
"""

from __future__ import annotations

from math import exp, prod
from random import Random
from typing import Any

import numpy as np
import pytest

import orchkit as ok
from orchkit.runs.handle import PastRun
from tests.truth.oracle import (
    accepted,
    at_least,
    attempts,
    bayes,
    cascade_accuracy,
    cases,
    delivered,
    harmonic,
    majority_of,
    mean_agrees,
    rate_agrees,
    rounds_of,
    seconds,
    trials,
    unanswered,
    undoings,
)

pytestmark = pytest.mark.slow  # minutes on a busy machine

W, S, A, R = 0.64, 0.86, 0.9, 0.8
"""How often weak and strong are right, what is right is accepted, and what is wrong rejected."""


def answers(p: float, **model: Any) -> Any:
    return ok.fake(lambda inputs, rng: "right" if rng.random() < p else "wrong", **model)


def _verdict(answer: Any, rng: Random, a: float = A, r: float = R) -> bool:
    return rng.random() < (a if answer == "right" else 1 - r)


def judges(role: str, **model: Any) -> Any:
    return ok.fake(lambda inputs, rng: _verdict(inputs[role], rng), **model)


def person(shown: str, **model: Any) -> Any:
    return ok.person(answers=lambda inputs, rng: _verdict(inputs[shown], rng), **model)


def result(run: PastRun) -> Any:
    return run.outcome().result() if delivered(run) else None


def ran(run: PastRun, node: str) -> int:
    return sum(event.kind == "started" and event.node == node for event in run.log())


def kinds(run: PastRun, kind: str) -> int:
    return sum(event.kind == kind for event in run.log())


def weak(question: str) -> str: ...
def strong(question: str) -> str: ...
def check(answer: str) -> bool: ...


def test_cascade() -> None:
    """Accuracy w a + (1-P) s = .87872, cost 1 + 15 (1-P) = 6.28, wrong of the accepted (1-w)(1-r)/P = .1111; 5,000."""
    wf = ok.patterns.cascade("cascade", weak=weak, verify=check, strong=strong, input=str)
    world = ok.World(weak=answers(W, cost=1.0), check=judges("answer"), strong=answers(S, cost=15.0))
    runs = list(trials(wf, world, 5_000, value="?"))
    p = accepted(W, A, R)
    took = [run for run in runs if not ran(run, "strong")]
    rate_agrees([result(run) == "right" for run in runs], cascade_accuracy(W, S, A, R), "accuracy")
    mean_agrees([sum(e.cost for e in run.log()) for run in runs], 1 + (1 - p) * 15, "cost")
    rate_agrees([not ran(run, "strong") for run in runs], p, "accepted")
    rate_agrees([result(run) == "wrong" for run in took], 1 - bayes(W, A, R), "silent error")
    figures = cascade_accuracy(W, S, A, R), 1 + (1 - p) * 15, 1 - bayes(W, A, R)
    assert [round(x, 5) for x in figures] == [0.87872, 6.28, 0.11111]


def test_cascade_of_models_that_fail_together() -> None:
    """s is then how often strong is right on what was rejected: here .6 where weak is wrong; 5,000 runs."""
    wf = ok.patterns.cascade("cascade", weak=weak, verify=check, strong=both, input=str)
    given = {"right": 0.95, "wrong": 0.6}
    second = ok.fake(lambda inputs, rng: "right" if rng.random() < given[inputs["answer"]] else "wrong")
    runs = trials(wf, ok.World(weak=answers(W), check=judges("answer"), both=second), 5_000, value="?")
    exact = W * A + W * (1 - A) * given["right"] + (1 - W) * R * given["wrong"]
    rate_agrees([result(run) == "right" for run in runs], exact, "accuracy")


def both(question: str, answer: str) -> str: ...


@pytest.mark.parametrize(("n", "p"), [(5, 0.64), (3, 0.481), (1, 0.64)])
def test_vote_of_independent_ballots(n: int, p: float) -> None:
    """The binomial tail: .7491 for 5 at .64, and worse than one ballot below a half; 4,000 runs each."""
    wf = ok.patterns.vote("vote", voter=weak, n=n, input=str)
    runs = list(trials(wf, ok.World(weak=answers(p)), 4_000, value="?"))
    rate_agrees([result(run) == "right" for run in runs], majority_of(n, p), f"vote of {n} at {p}")
    assert {ran(run, "weak") for run in runs} == {n}
    assert round(majority_of(5, 0.64), 4) == 0.7491


def test_vote_on_questions_of_unequal_difficulty() -> None:
    """With p from Beta(.576, .375) for each question the tail is beta-binomial, .6162; 4,000 questions."""
    wf = ok.patterns.vote("vote", voter=hard, n=5, input=float)
    right = ok.fake(lambda inputs, rng: "right" if rng.random() < inputs["p"] else "wrong")
    questions = np.random.default_rng(5).beta(0.576, 0.375, 4_000).tolist()
    won = [result(run) == "right" for run in cases(wf, ok.World(hard=right), questions)]
    rate_agrees(won, beta_majority(0.576, 0.375), "vote, correlated")
    assert round(beta_majority(0.576, 0.375), 4) == 0.6162


def hard(p: float) -> str: ...


def beta_majority(a: float, b: float) -> float:
    from scipy import stats

    return float(stats.betabinom(5, a, b).sf(2))


VOTERS = {"one": 0.9, "two": 0.8, "three": 0.7}


def one(question: str) -> str: ...
def two(question: str) -> str: ...
def three(question: str) -> str: ...


@pytest.mark.parametrize("need", [1, 2, 3])
def test_quorum_of_voters_that_may_fail(need: int) -> None:
    """The sum over sets, .902 for 2 of 3 at .9, .8, .7; degraded unless all answer; 5,000 runs each."""
    wf = ok.patterns.quorum("quorum", voters=[one, two, three], need=need, input=str)
    world = ok.World({name: ok.fake("yes", error=1 - p) for name, p in VOTERS.items()})
    runs = list(trials(wf, world, 5_000, value="?"))
    exact = at_least(need, list(VOTERS.values()))
    rate_agrees([delivered(run) for run in runs], exact, f"quorum {need}")
    rate_agrees([run.status() == "completed" for run in runs], prod(VOTERS.values()), "all answer")
    assert round(at_least(2, list(VOTERS.values())), 4) == 0.902


def test_quorum_of_voters_that_may_be_wrong() -> None:
    """2 of 3: the right answer wins with .902, the wrong one with the rest, for they agree; 5,000 runs."""
    wf = ok.patterns.quorum("quorum", voters=[one, two, three], need=2, input=str)
    runs = list(trials(wf, ok.World({name: answers(p) for name, p in VOTERS.items()}), 5_000, value="?"))
    rate_agrees([result(run) == "right" for run in runs], 0.902, "right")
    assert all(delivered(run) for run in runs)


def write(question: str, draft: str | None, remarks: Any) -> str: ...


@pytest.mark.parametrize(("rounds", "then"), [(3, "fail"), (3, "last"), (1, "fail"), (6, "fail")])
def test_critic_loop(rounds: int, then: Any) -> None:
    """Right and accepted w a (1-(1-P)^m)/P = .8501, rounds 1.4759, given up (1-P)^m = .0436 for 3; 4,000 runs each."""
    wf = ok.patterns.critic_loop("loop", write=write, judge=check, rounds=rounds, then=then, input=str)
    world = ok.World({"rounds/write": answers(W), "rounds/check": judges("answer")})
    runs = list(trials(wf, world, 4_000, value="?"))
    p = accepted(W, A, R)
    right = [run.status() == "completed" and result(run) == "right" for run in runs]
    rate_agrees(right, W * A * rounds_of(p, rounds), "right and accepted")
    mean_agrees([kinds(run, "judged") for run in runs], rounds_of(p, rounds), "rounds")
    rate_agrees([run.status() != "completed" for run in runs], (1 - p) ** rounds, "given up")
    kept = [result(run) == "right" for run in runs if run.status() == "completed"]
    rate_agrees(kept, bayes(W, A, R), "of the accepted, in whatever round")
    if then == "last":  # what is delivered in spite of its rejection is right as rejected drafts are
        late = [result(run) == "right" for run in runs if run.status() == "degraded"]
        rate_agrees(late, W * (1 - A) / (1 - p), "of the last")
    if rounds == 3:
        figures = W * A * rounds_of(p, 3), rounds_of(p, 3), (1 - p) ** 3
        assert [round(x, 4) for x in figures] == [0.8501, 1.4759, 0.0436]


def parts(n: int) -> list[int]:
    return list(range(n))


def work(item: int) -> str: ...


def join(results: list[str]) -> int:
    return len(results)


def test_map_reduce_waits_for_the_slowest() -> None:
    """mean x H_n = 6.7615 s for 16 parts of 2 s; all parts succeed with p^n; 3,000 runs each."""
    wf = ok.patterns.map_reduce("map", split=parts, work=work, reduce=join, input=int)
    slow = ok.World(work=ok.fake("x", latency=ok.dist.exponential(mean=2)))
    mean_agrees([seconds(run) for run in trials(wf, slow, 3_000, value=16)], 2 * harmonic(16), "slowest of 16")
    rate_agrees([delivered(run) for run in trials(wf, ok.World(work=ok.fake("x", error=0.03)), 3_000, value=16)],
                0.97**16, "all 16")  # fmt: skip
    assert round(2 * harmonic(16), 4) == 6.7615


# Routes


def kind(letter: int) -> str: ...
def billing(letter: int) -> str: ...
def support(letter: int) -> str: ...


def test_router_is_a_mixture() -> None:
    """Accuracy sum p_k C_kj a_kj, time the classifier's and sum p_k C_kj L_j; 5,000 letters of two kinds."""
    wf = ok.patterns.router("mail", classify=kind, to=[billing, support], input=int)
    p, confusion, right = (0.7, 0.3), ((0.9, 0.1), (0.25, 0.75)), ((0.95, 0.3), (0.4, 0.8))

    def classify(inputs: Any, rng: Random) -> str:
        return "billing" if rng.random() < confusion[inputs["letter"]][0] else "support"

    def desk(j: int) -> Any:
        return lambda inputs, rng: "right" if rng.random() < right[inputs["letter"]][j] else "wrong"

    world = ok.World(
        kind=ok.fake(classify, latency=0.5),
        billing=ok.fake(desk(0), latency=ok.dist.exponential(mean=2)),
        support=ok.fake(desk(1), latency=ok.dist.exponential(mean=7)),
    )
    letters = np.random.default_rng(1).choice(2, 5_000, p=p).tolist()
    runs = list(cases(wf, world, letters))
    both_ways = [(k, j) for k in (0, 1) for j in (0, 1)]
    accuracy = sum(p[k] * confusion[k][j] * right[k][j] for k, j in both_ways)
    rate_agrees([result(run) == "right" for run in runs], accuracy, "accuracy")
    length = 0.5 + sum(p[k] * confusion[k][j] * (2, 7)[j] for k, j in both_ways)
    mean_agrees([seconds(run) for run in runs], length, "length")


# People


def hold(question: str) -> str: ...


def test_human_gate_is_a_cascade_with_a_person() -> None:
    """Accuracy .87872 when all answer; with a time-out (1-q) w a + (1-P) s; Bayes among the approved; 4,000 each."""
    for absent, timeout in ((0.0, None), (0.1, 1200.0)):
        wf = ok.patterns.human_gate("gate", propose=weak, otherwise=strong, timeout=timeout, input=str)
        reviewer = person("weak", delay=ok.dist.exponential(mean=600), absent=absent)
        runs = list(trials(wf, ok.World(weak=answers(W), strong=answers(S), review=reviewer), 4_000, value="?"))
        q = 0.0 if timeout is None else unanswered(absent, 600, timeout)
        yes = (1 - q) * accepted(W, A, R)
        rate_agrees([result(run) == "right" for run in runs], (1 - q) * W * A + (1 - yes) * S, f"accuracy q={q:.3f}")
        approved = [result(run) == "right" for run in runs if not ran(run, "strong")]
        rate_agrees(approved, bayes(W, A, R), "of the approved")
    assert round(cascade_accuracy(W, S, A, R), 5) == 0.87872


def test_human_escalation_and_its_deadline() -> None:
    """1-P are asked; of those a+(1-a)exp(-T/m) = .2218 stay unanswered; mean wait; accuracy; 6,000 runs."""
    mean, timeout, absent, h, s = 600.0, 1200.0, 0.1, 0.97, 0.3
    wf = ok.patterns.human_escalation(
        "desk", propose=weak, verify=check, late=hold, timeout=timeout, answer=str, input=str
    )
    asked_person = ok.person(
        ok.dist.exponential(mean=mean), absent=absent, answers=lambda _, rng: "right" if rng.random() < h else "wrong"
    )
    world = ok.World(weak=answers(W), check=judges("answer"), hold=answers(s), person=asked_person)
    runs = list(trials(wf, world, 6_000, value="?"))
    p, q = accepted(W, A, R), unanswered(absent, mean, timeout)
    asked = [run for run in runs if kinds(run, "asked")]
    rate_agrees([kinds(run, "asked") == 1 for run in runs], 1 - p, "asked")
    rate_agrees([ran(run, "hold") == 1 for run in asked], q, "unanswered")
    mean_agrees([seconds(run) for run in asked],
                (1 - absent) * mean * (1 - exp(-timeout / mean)) + absent * timeout, "wait")  # fmt: skip
    accuracy = W * A + (1 - p) * ((1 - q) * h + q * s)
    rate_agrees([result(run) == "right" for run in runs], accuracy, "accuracy")
    assert round(q, 4) == 0.2218


# Retrieval


def search(question: str) -> list[str]: ...
def relevant(item: str) -> bool: ...
def tell(passages: list[str]) -> str: ...
def borne_out(answer: str) -> bool: ...


def test_retrieval_with_checks() -> None:
    """A passage is kept of k with 1-(1-K)^k; an accepted answer is right by Bayes' rule; the rest is refused; 4,000."""
    d, b, c, k = 0.3, 0.8, 0.9, 4
    wf = ok.patterns.retrieval(
        "ask", retrieve=search, relevant=relevant, write=tell, grounded=borne_out, otherwise=hold, input=str
    )
    world = ok.World(
        search=ok.fake(lambda _, rng: ["good" if rng.random() < d else "bad" for _ in range(k)]),
        relevant=ok.fake(lambda inputs, rng: rng.random() < (b if inputs["item"] == "good" else 1 - c)),
        tell=answers(W),
        borne_out=judges("answer"),
        hold=ok.fake("refused"),
    )
    runs = list(trials(wf, world, 4_000, value="?"))
    keeps = accepted(d, b, c)
    rate_agrees([ran(run, "tell") == 1 for run in runs], 1 - (1 - keeps) ** k, "answered at all")
    taken = [run for run in runs if not ran(run, "hold")]
    rate_agrees([result(run) == "right" for run in taken], bayes(W, A, R), "of the accepted")
    rate_agrees([result(run) == "refused" for run in runs], 1 - (1 - (1 - keeps) ** k) * accepted(W, A, R), "refused")
    found = [(e.item, e.body) for run in runs for e in run.log() if e.kind == "completed" and e.node == "relevant"]
    kept = [value for _, value in found]
    rate_agrees(kept, keeps, "passages kept")


# Agents


def agent(name: str) -> Any:
    def turn(message: str) -> tuple[str | None, str]: ...

    turn.__name__ = turn.__qualname__ = name
    return turn


def test_a_chain_of_handoffs_multiplies() -> None:
    """0.98^10 = 0.8171 for ten agents in a row; 4,000 runs."""
    names = [f"a{i}" for i in range(10)]
    wf = ok.patterns.handoff("chain", agents=[agent(name) for name in names], turns=10, input=str)
    following = dict(zip(names, [*names[1:], None], strict=True))
    world = ok.World({f"turns/{name}": ok.fake((after, "case"), error=0.02) for name, after in following.items()})
    runs = list(trials(wf, world, 4_000, value="case"))
    rate_agrees([delivered(run) for run in runs], 0.98**10, "chain")
    assert round(0.98**10, 4) == 0.8171


def test_handoffs_are_an_absorbing_chain() -> None:
    """Turns from the first agent (I-Q)^-1 1, all succeed with (I-pQ)^-1 p (1-Q1); 5,000 runs each."""
    names = ["triage", "billing", "support"]
    q = np.array([[0.0, 0.5, 0.4], [0.1, 0.0, 0.3], [0.2, 0.1, 0.1]])

    def moves(row: Any) -> Any:
        def turn(inputs: Any, rng: Random) -> tuple[str | None, str]:
            (after,) = rng.choices([*names, None], [*row, 1 - sum(row)])
            return after, inputs["message"]

        return turn

    wf = ok.patterns.handoff("desk", agents=[agent(name) for name in names], turns=80, input=str)
    for p in (1.0, 0.9):
        rows = zip(names, q.tolist(), strict=True)
        world = ok.World({f"turns/{name}": ok.fake(moves(row), error=round(1 - p, 3)) for name, row in rows})
        runs = list(trials(wf, world, 5_000, value="case"))
        succeeds = np.linalg.solve(np.eye(3) - p * q, p * (1 - q.sum(axis=1)))[0]
        if p == 1.0:
            turns = np.linalg.inv(np.eye(3) - q).sum(axis=1)[0]
            mean_agrees([kinds(run, "judged") for run in runs], float(turns), "turns")
            assert all(delivered(run) for run in runs)
        else:
            rate_agrees([delivered(run) for run in runs], float(succeeds), f"succeed p={p}")


def eager(question: str, said: dict[str, str]) -> str: ...
def careful(question: str, said: dict[str, str]) -> str: ...
def chair(said: dict[str, str]) -> str: ...


@pytest.mark.parametrize(("m", "p", "s"), [(1, 0.7, 0.3), (3, 0.7, 0.3), (4, 0.55, 0.1)])
def test_debate(m: int, p: float, s: float) -> None:
    """Disagree at the end 2p(1-p)(1-2s(1-s))^(m-1); accuracy; rounds; 4,000 runs each."""
    wf = ok.patterns.debate("talk", debaters=[eager, careful], judge=chair, rounds=m, input=str)
    turned = {"right": "wrong", "wrong": "right"}

    def debater(me: str) -> Any:
        def says(inputs: Any, rng: Random) -> str:
            before = inputs["said"].get(me)
            if before is None:
                return "right" if rng.random() < p else "wrong"
            return turned[before] if rng.random() < s else before

        return ok.fake(says)

    j = 0.9
    world = ok.World({"rounds/eager": debater("eager"), "rounds/careful": debater("careful")}, chair=answers(j))
    runs = list(trials(wf, world, 4_000, value="?"))
    still = (1 - 2 * s * (1 - s)) ** (m - 1)
    apart = 2 * p * (1 - p)
    rate_agrees([run.status() == "degraded" for run in runs], apart * still, "disagree")
    accuracy = p * p + p * (1 - p) * (1 - still) + apart * still * j
    rate_agrees([result(run) == "right" for run in runs], accuracy, "accuracy")
    length = 1 + sum(apart * (1 - 2 * s * (1 - s)) ** (k - 1) for k in range(1, m))
    mean_agrees([kinds(run, "judged") for run in runs], length, "rounds")
    assert all(ran(run, "chair") == (run.status() == "degraded") for run in runs)


# Supervisor and workers, blackboard: what must hold for each seed, and times


def lead(case: str, notes: list[Any]) -> list[tuple[str, str]]:
    """Order two rounds of work; the second depends on what the first has said."""
    if not notes:
        return [("law", "a"), ("sums", "b"), ("law", "c")]
    return [("sums", note["said"]) for note in notes] if len(notes) == 3 else []


def law(order: str) -> str: ...
def sums(order: str) -> str: ...


def report(notes: list[Any]) -> list[str]:
    return [f"{note['worker']}:{note['order']}={note['said']}" for note in notes]


def test_workers_notes_are_there_once_and_in_order_whatever_the_times() -> None:
    """400 seeds: six orders, six notes, and the report is the one of a world in which nothing takes time."""
    wf = ok.patterns.supervisor("case", plan=lead, workers=[law, sums], report=report, input=str)

    def world(latency: Any) -> ok.World:
        return ok.World({
            "rounds/work/law": ok.fake(lambda i, _: i["order"].upper(), latency=latency),
            "rounds/work/sums": ok.fake(lambda i, _: i["order"] * 2, latency=latency),
        })  # fmt: skip

    wanted = next(trials(wf, world(0.0), 1, value="claim")).outcome().result()
    assert wanted == ["law:a=A", "sums:b=bb", "law:c=C", "sums:A=AA", "sums:bb=bbbb", "sums:C=CC"]
    orders = set()
    for run in trials(wf, world(ok.dist.exponential(mean=3)), 400, value="claim"):
        assert run.outcome().result() == wanted
        assert kinds(run, "called") == 6
        orders.add(tuple(e.node for e in run.log() if e.kind == "completed" and "/work[" in e.node))
    assert len(orders) > 20, "the times made no difference to the order of completion"


def test_the_time_of_supervised_work() -> None:
    """Two rounds of three orders of mean 3 s: 2 x 3 H_3 s; all succeed with p^6; 1,500 runs each."""
    wf = ok.patterns.supervisor("case", plan=lead, workers=[law, sums], report=report, input=str)

    def world(**model: Any) -> ok.World:
        return ok.World({f"rounds/work/{name}": ok.fake("x", **model) for name in ("law", "sums")})

    runs = trials(wf, world(latency=ok.dist.exponential(mean=3)), 1_500, value="claim")
    mean_agrees([seconds(run) for run in runs], 2 * 3 * harmonic(3), "two rounds of three")
    runs = trials(wf, world(error=0.05), 1_500, value="claim")
    rate_agrees([delivered(run) for run in runs], 0.95**6, "all six")


def chemist(board: list[Any]) -> str | None: ...
def cook(board: list[Any]) -> str | None: ...


def solved(result: list[Any], round: int) -> bool:
    return any(note["note"] == "found" for note in result)


def conclude(board: list[Any]) -> list[Any]:
    return [[note["by"], note["note"]] for note in board]


def test_a_board_is_solved_in_a_geometric_number_of_rounds() -> None:
    """q = 1-(1-p)^2 a round, (1-(1-q)^m)/q rounds, unsolved (1-q)^m, p = .3, m = 4; 5,000 runs."""
    wf = ok.patterns.blackboard("lab", sources=[chemist, cook], solved=solved, conclude=conclude, rounds=4, input=str)
    finds = ok.fake(lambda _, rng: "found" if rng.random() < 0.3 else None)
    runs = list(trials(wf, ok.World({"rounds/chemist": finds, "rounds/cook": finds}), 5_000, value="powder"))
    q = 1 - 0.7**2
    mean_agrees([kinds(run, "judged") for run in runs], rounds_of(q, 4), "rounds")
    rate_agrees([run.status() == "degraded" for run in runs], (1 - q) ** 4, "unsolved")


def test_each_note_is_on_the_board_once_whatever_the_times() -> None:
    """300 seeds: what sources say follows from the board, so the board is that of a world without time."""
    wf = ok.patterns.blackboard("lab", sources=[chemist, cook], solved=solved, conclude=conclude, rounds=3, input=str)

    def world(latency: Any) -> ok.World:
        seen = ok.fake(lambda inputs, _: f"saw {len(inputs['board'])}", latency=latency)
        late = ok.fake(lambda inputs, _: "more" if len(inputs["board"]) > 2 else None, latency=latency)
        return ok.World({"rounds/chemist": seen, "rounds/cook": late})

    wanted = [["input", "powder"], *(["chemist", f"saw {i}"] for i in (1, 2, 3)), ["cook", "more"]]
    assert wf.simulate("powder", world=world(0.0)).result() == wanted
    firsts = set()
    for seed in range(300):
        run = wf.simulate("powder", world=world(ok.dist.exponential(mean=3)), seed=seed)
        assert run.result() == wanted
        assert [[note["by"], note["note"]] for note in run.shared.notes] == wanted
        done = [e.node for e in run.log if e.kind == "completed"]
        firsts.add(next(node for node in done if node in ("rounds#1/chemist", "rounds#1/cook")))
    assert len(firsts) == 2, "the times made no difference to the order of completion"


# Sagas


def book(trip: str) -> str: ...
def pay(trip: str) -> str: ...
def ship(trip: str) -> str: ...
def cancel(booking: str) -> str: ...
def refund(payment: str) -> str: ...
def recall(parcel: str) -> str: ...


def test_saga() -> None:
    """Sum i q_i prod(1-q_j) = .2352 undoings, success prod(1-q_i), for failures of .02, .05, .1; 4,000 runs."""
    q = (0.02, 0.05, 0.1)
    wf = ok.patterns.saga("trip", steps=[(book, cancel), (pay, refund), (ship, recall)], input=str)
    does = {name: ok.fake("x", error=e) for name, e in zip(("book", "pay", "ship"), q, strict=True)}
    undoes = {
        f"{do}/undo:{undo}": ok.fake("x") for do, undo in (("book", "cancel"), ("pay", "refund"), ("ship", "recall"))
    }
    runs = list(trials(wf, ok.World(does | undoes), 4_000, value="Rome"))

    def undone(run: PastRun) -> list[str]:
        return [e.node for e in run.log() if e.kind == "undone"]

    mean_agrees([len(undone(run)) for run in runs], undoings(q), "undoings")
    rate_agrees([delivered(run) for run in runs], prod(1 - x for x in q), "all goes well")
    assert {tuple(undone(run)) for run in runs} == {(), ("book",), ("pay", "book")}
    assert all(not undone(run) for run in runs if delivered(run))
    assert round(undoings(q), 4) == 0.2352


def test_a_pattern_in_a_pattern_multiplies() -> None:
    """A vote of three, called twice, one after the other: both right with the tail's square; 4,000 runs."""
    inner = ok.patterns.vote("inner", voter=weak, n=3, input=str)
    wf = ok.Workflow("outer", input=str)
    wf.call("first", inner)
    wf.call("second", inner, input="first")

    @wf.step
    def both_right(first: str, second: str) -> bool:
        return first == second == "right"

    world = ok.World({"first/weak": answers(W), "second/weak": answers(W)})
    runs = list(trials(wf, world, 4_000, value="?"))
    rate_agrees([result(run) for run in runs], majority_of(3, W) ** 2, "both")
    assert {attempts(run) for run in runs} == {2 * (1 + 1 + 3 + 1) + 1}

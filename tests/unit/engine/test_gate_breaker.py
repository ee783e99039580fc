"""The breaker's gate: when it opens, whom it lets probe, and whose results count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchkit.engine.gates.breaker import BreakerGate

RESET = 30


def opened(at: int = 100, **under_way: int) -> BreakerGate:
    """Give a gate that two failures have opened, with attempts that were let in before."""
    gate = BreakerGate(2, RESET)
    for who in ("a", "b", *under_way):
        gate.admitted(who, 0)
    for who in ("a", "b"):
        gate.ended(who, False, at)
    assert gate.due() == "open"
    gate.opened(at)
    return gate


def test_failures_in_a_row_open_it_and_a_success_begins_the_row_anew() -> None:
    gate = BreakerGate(3, RESET)
    for who, ok in enumerate([False, False, True, False, False]):
        assert (gate.verdict(who), gate.due()) == ("admit", None)
        gate.admitted(who, who)
        gate.ended(who, ok, who)
    gate.admitted("last", 9)
    gate.ended("last", False, 9)
    assert (gate.status, gate.due()) == ("closed", "open")
    assert gate.verdict(9) == "reject"  # before it is recorded, too
    gate.opened(9)
    assert (gate.status, gate.due(), gate.until) == ("open", None, 39)


def test_it_rejects_until_reset_has_passed_and_then_lets_one_probe() -> None:
    gate = opened(at=100)
    assert [gate.verdict(at) for at in (100, 129, 130, 10**9)] == ["reject", "reject", "probe", "probe"]
    gate.probing("p", 130)
    assert (gate.status, gate.verdict(130), gate.verdict(10**9), gate.until) == ("half-open", "reject", "reject", None)


def test_a_probe_that_succeeds_closes_it() -> None:
    gate = opened()
    gate.probing("p", 130)
    gate.admitted("p", 130)
    gate.ended("p", True, 140)
    assert (gate.due(), gate.verdict(140)) == ("close", "reject")
    gate.closed(140)
    assert (gate.status, gate.due(), gate.verdict(140)) == ("closed", None, "admit")
    gate.admitted("c", 141)
    gate.ended("c", False, 142)
    assert gate.due() is None  # the row begins anew


def test_a_probe_that_fails_opens_it_for_as_long_again() -> None:
    gate = opened()
    gate.probing("p", 130)
    gate.ended("p", False, 150)
    assert gate.due() == "open"
    gate.opened(150)
    assert [gate.verdict(at) for at in (150, 179, 180)] == ["reject", "reject", "probe"]


def test_a_probe_that_is_gone_lets_the_next_one_probe() -> None:
    gate = opened()
    gate.probing("p", 130)
    gate.gone("p", 131)
    assert (gate.status, gate.due(), gate.verdict(131)) == ("half-open", None, "probe")
    gate.probing("q", 132)
    gate.ended("p", True, 133)  # it was too late to say anything
    assert (gate.due(), gate.verdict(133)) == (None, "reject")
    gate.ended("q", True, 134)
    assert gate.due() == "close"


def test_what_began_before_it_opened_neither_closes_nor_opens_it() -> None:
    gate = opened(good=1, bad=1, late=1, later=1)
    gate.ended("good", True, 110)
    gate.ended("bad", False, 111)
    assert (gate.status, gate.due(), gate.until) == ("open", None, 130)
    gate.probing("p", 130)
    gate.ended("late", True, 131)
    assert (gate.status, gate.due()) == ("half-open", None)
    gate.ended("p", True, 132)
    gate.closed(132)
    gate.ended("later", False, 133)  # of the time before, although it is closed again
    gate.admitted("c", 134)
    gate.ended("c", False, 135)
    assert gate.due() is None


def test_the_cancelled_say_nothing() -> None:
    gate = BreakerGate(2, RESET)
    for who in "abc":
        gate.admitted(who, 0)
    gate.ended("a", False, 1)
    gate.gone("b", 2)
    gate.ended("b", True, 3)
    gate.ended("c", False, 4)
    assert gate.due() == "open"


# Against a slow reference, which reads all that has happened each time

Fact = tuple[Any, ...]


class Reference:
    """What the words of the policy say, over the whole history."""

    def __init__(self, failures: int, reset: int, facts: Iterable[Fact]) -> None:
        self.failures, self.reset, self.facts = failures, reset, list(facts)

    def since(self) -> list[Fact]:
        """Give the facts of the present status, that which began it first."""
        turns = [i for i, fact in enumerate(self.facts) if fact[0] in ("opened", "probing", "closed")]
        return self.facts[turns[-1] :] if turns else [("closed", 0), *self.facts]

    def due(self) -> str | None:
        """Say what has to be recorded."""
        first, *rest = self.since()
        ends = [fact for fact in rest if fact[0] == "ended"]
        if first[0] == "closed":
            here: set[Any] = set()
            row: list[bool] = []
            for kind, who, *more in rest:
                if kind == "admitted":
                    here.add(who)
                elif who in here:
                    here.discard(who)
                    row += [more[0]] if kind == "ended" else []
            last = row[-self.failures :]
            return "open" if len(last) == self.failures and not any(last) else None
        if first[0] == "probing":
            mine = [fact for fact in rest if fact[0] != "admitted" and fact[1] == first[1]]
            if mine and mine[0] in ends:
                return "close" if mine[0][2] else "open"
        return None

    def verdict(self, at: int) -> str:
        """Say what becomes of an attempt."""
        first, *rest = self.since()
        if self.due():
            return "reject"
        if first[0] == "closed":
            return "admit"
        if first[0] == "opened":
            return "probe" if at >= first[1] + self.reset else "reject"
        return "probe" if ("gone", first[1]) in rest else "reject"


def feed(gate: BreakerGate, fact: Fact, at: int) -> None:
    """Give a fact to the gate."""
    kind, *rest = fact
    getattr(gate, kind)(*rest) if kind in ("opened", "closed") else getattr(gate, kind)(*rest, at)


STEPS = st.lists(st.tuples(st.sampled_from(["come", "good", "bad", "gone"]), st.integers(0, 20)), max_size=60)


@given(failures=st.integers(1, 3), reset=st.integers(1, 40), steps=STEPS)
@settings(max_examples=300, deadline=None)
def test_it_does_what_its_words_say(failures: int, reset: int, steps: list[tuple[str, int]]) -> None:
    gate = BreakerGate(failures, reset)
    facts: list[tuple[Fact, int]] = []
    under_way: list[int] = []
    at = 0

    def happens(*fact: Any) -> None:
        facts.append((fact, at))
        feed(gate, fact, at)

    for n, (step, number) in enumerate(steps):
        reference = Reference(failures, reset, [fact for fact, _ in facts])
        assert gate.due() == reference.due()
        assert [gate.verdict(at + dt) for dt in range(0, 45, 3)] == [
            reference.verdict(at + dt) for dt in range(0, 45, 3)
        ]
        if gate.due():
            happens("opened" if gate.due() == "open" else "closed", at)
        at += number
        if step == "come":
            verdict = gate.verdict(at)
            if verdict == "reject":
                continue
            if verdict == "probe":
                happens("probing", n)
            happens("admitted", n)
            under_way.append(n)
        elif under_way:
            who = under_way.pop(number % len(under_way))
            happens(*(("gone", who) if step == "gone" else ("ended", who, step == "good")))
    # What it is follows from the facts alone: asking has changed nothing.
    again = BreakerGate(failures, reset)
    for fact, when in facts:
        feed(again, fact, when)
    answers = [(g.status, g.due(), g.until, [g.verdict(at + dt) for dt in range(45)]) for g in (gate, again)]
    assert answers[0] == answers[1]

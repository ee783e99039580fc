"""The bulkhead's gate: never more than its limit inside, and who came first goes first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchkit.engine.gates.bulkhead import BulkheadGate


def test_others_wait_in_order_and_nobody_overtakes() -> None:
    gate = BulkheadGate(limit=2)
    for who in "ab":
        assert gate.verdict() == "admit"
        gate.admitted(who)
    for who in "cd":
        assert gate.verdict() == "queue"
        gate.queued(who)
    assert (gate.inside, gate.waiting, gate.next()) == (2, 2, None)
    gate.left("a")
    assert (gate.next(), gate.verdict()) == ("c", "queue")
    gate.admitted("c")
    assert (gate.next(), gate.inside, gate.waiting) == (None, 2, 1)


def test_a_full_queue_rejects_and_an_empty_one_at_once() -> None:
    gate = BulkheadGate(1, queue=1)
    gate.admitted("a")
    gate.queued("b")
    assert gate.verdict() == "reject"
    gate.left("b")
    assert gate.verdict() == "queue"
    none = BulkheadGate(1, queue=0)
    assert none.verdict() == "admit"
    none.admitted("a")
    assert none.verdict() == "reject"


def test_who_leaves_while_waiting_gives_up_its_place() -> None:
    gate = BulkheadGate(1)
    gate.admitted("a")
    for who in "bcd":
        gate.queued(who)
    gate.left("b")
    gate.left("nobody")
    gate.left("a")
    assert gate.next() == "c"
    gate.admitted("c")
    gate.left("c")
    assert gate.next() == "d"


STEPS = st.lists(st.tuples(st.sampled_from(["come", "come", "leave", "give up"]), st.integers(0, 30)), max_size=120)


@given(limit=st.integers(1, 4), queue=st.none() | st.integers(0, 3), steps=STEPS)
@settings(max_examples=300, deadline=None)
def test_it_keeps_the_limit_and_the_order(limit: int, queue: int | None, steps: list[tuple[str, int]]) -> None:
    gate = BulkheadGate(limit, queue)
    facts: list[tuple[str, int]] = []
    inside: list[int] = []
    line: list[int] = []

    def happens(kind: str, who: int) -> None:
        facts.append((kind, who))
        getattr(gate, kind)(who)

    for n, (step, number) in enumerate(steps):
        if step == "come":
            room, wait = len(inside) < limit, queue is None or len(line) < queue
            assert gate.verdict() == ("admit" if room and not line else "queue" if wait else "reject")
            if gate.verdict() == "admit":
                happens("admitted", n)
                inside.append(n)
            elif gate.verdict() == "queue":
                happens("queued", n)
                line.append(n)
        elif (crowd := inside if step == "leave" else line) != []:
            happens("left", crowd.pop(number % len(crowd)))
        while (who := gate.next()) is not None:
            assert who == line.pop(0)
            happens("admitted", who)
            inside.append(who)
        assert (gate.inside, gate.waiting) == (len(inside), len(line))
        assert gate.inside <= limit
        assert not line or gate.inside == limit  # no place is free while somebody waits
    again = BulkheadGate(limit, queue)
    for kind, who in facts:
        getattr(again, kind)(who)
    assert (again.inside, again.waiting, again.verdict(), again.next()) == (
        gate.inside, gate.waiting, gate.verdict(), gate.next()
    )  # fmt: skip


def test_who_arrives_as_a_place_is_freed_is_not_rejected_for_the_one_who_gets_it() -> None:
    gate = BulkheadGate(limit=1, queue=1)
    gate.admitted("a")
    gate.queued("b")
    assert gate.verdict() == "reject"
    gate.left("a")
    assert (gate.verdict(), gate.next()) == ("queue", "b")
    gate.queued("c")
    assert gate.verdict() == "reject"
    gate.admitted("b")
    assert (gate.verdict(), gate.next()) == ("reject", None)

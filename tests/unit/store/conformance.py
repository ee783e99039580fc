"""What every store promises; each store's test class derives from `StoreConformance`."""

import os
import threading

import pytest

from orchkit.errors import OrchkitError, RunHeld, RunUnknown, StoreError
from orchkit.model.events import Event
from orchkit.model.records import Head

START = 1_790_000_000_123_457  # microseconds since 1970, an odd number of them


def head(run_id="r1", **fields):
    return Head(run_id, fields.pop("workflow", "triage"), **{"started": START, **fields})


def note(n, **fields):
    return Event(n, "started", fields.pop("node", "draft"), attempt=fields.pop("attempt", 1), **fields)


def wait_durable(journal):
    done, told = threading.Event(), []

    def wake(error):
        told.append(error)
        done.set()

    journal.when_durable(wake)
    assert done.wait(20)
    if told[0] is not None:
        raise told[0]


def end(t=2, status="completed"):
    return Event(t, "run_ended", status=status)


def ended(store, run_id, *events, status="completed", **fields):
    """Record a run to its end."""
    journal = store.admit(head(run_id, **fields))
    for event in events or (note(1),):
        journal.append(event)
    journal.append(end(status=status))
    wait_durable(journal)


ODD_TEXT = "naïve ✓ 漢字 \U0001f680 e\u0301 \u202e \x00 \x1f \" ' \\ \n\r\t %s {} -- ; \u2028 \ufffe"

EVERY_FIELD = Event(
    315_360_000_000_001,
    "failed",
    f"node/{ODD_TEXT}",
    item=0,
    generation=3,
    leg=1,
    attempt=7,
    status="timeout",
    dur=86_400_000_001,
    cost=0.1 + 0.2,
    tokens=2**62,
    error=f"ValueError: {ODD_TEXT}",
    by=ODD_TEXT,
    key=f"node[{ODD_TEXT}]",
    body={"": None, ODD_TEXT: [ODD_TEXT, {"deep": [[[{"er": [True, False, None]}]]]}]},
)

BODIES = [
    None,
    True,
    False,
    0,
    -1,
    2**53 + 1,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
    0.0,
    -0.0,
    0.1,
    1e-320,
    5e-324,
    1.7976931348623157e308,
    1e22,
    3.0,
    "",
    " ",
    "null",
    "\x00",
    "a\x00b",
    ODD_TEXT,
    "x" * 100_000,
    "é" * 2047 + "x",
    "é" * 2047 + "xx",
    b"",
    b"\x00\xff\xfe",
    b"x" * 10_000,
    [b"\x00", {"k": b"\xff"}],
    [],
    {},
    [[]],
    [None],
    {"": ""},
    {"a": {"b": {"c": [1, 2.0, "3", None, True]}}},
    {"\x00": 1, "b": 2, "a": 3},
    list(range(5000)),
]


class StoreConformance:
    """Derive, and give a fixture ``store``; ``again`` closes it and opens the same runs, if they outlive it."""

    def test_a_log_is_what_was_appended_in_order(self, store):
        journal = store.admit(head())
        log = [Event(0, "run_started", body={"input": [1]}), note(3), note(3, node="lookup"), note(2)]
        for event in log:
            journal.append(event)
        assert store.events("r1") == log

    def test_a_part_of_a_log_is_what_comes_after_its_first(self, store):
        journal = store.admit(head())
        log = [note(n, body="x" * 5000 if n % 2 else None) for n in range(30)]
        for event in log:
            journal.append(event)
        assert store.events("r1", 7) == log[7:]
        assert store.events("r1", 7, 5) == log[7:12]
        assert store.events("r1", 0, 3) == log[:3]
        assert store.events("r1", 29, 5) == log[29:]
        assert store.events("r1", 30, 5) == store.events("r1", 99) == []
        with pytest.raises(RunUnknown):
            store.events("r2", 7)

    def test_a_run_is_there_with_its_first_event_and_not_before(self, store):
        journal = store.admit(head())
        assert store.heads() == []
        journal.append(note(1))
        assert store.heads() == [head()]
        assert store.events("r1") == [note(1)]

    def test_every_field_survives(self, store):
        store.admit(head()).append(EVERY_FIELD)
        (found,) = store.events("r1")
        for field in Event.__struct_fields__:
            assert getattr(found, field) == getattr(EVERY_FIELD, field), field

    def test_the_least_event_survives_and_is_not_filled_in(self, store):
        store.admit(head()).append(Event(0, "resumed"))
        assert store.events("r1") == [Event(0, "resumed")]

    @pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body)[:20].encode("ascii", "replace").decode())
    def test_a_body_survives_with_its_types(self, store, body):
        store.admit(head()).append(Event(0, "completed", "draft", body=body))
        (found,) = store.events("r1")
        assert found.body == body
        assert repr(found.body) == repr(body)

    def test_a_head_survives(self, store):
        heads = [
            head("a"),
            head("b", mode="virtual", seed=-(2**63), started=0, durability="memory"),
            head(ODD_TEXT, workflow=ODD_TEXT, seed=2**63 - 1, fingerprints={ODD_TEXT: "1f", "draft": "2e"}),
            head("c", parent="a"),
        ]
        for one in heads:
            store.admit(one).append(note(1))
        assert store.heads() == heads
        assert [store.head(one.run_id) for one in heads] == heads

    def test_heads_come_in_the_order_of_admission(self, store):
        ids = [f"r{n * 7 % 10}" for n in range(10)]
        for run_id in ids:
            store.admit(head(run_id)).append(note(1))
        assert [one.run_id for one in store.heads()] == ids

    def test_interleaved_runs_keep_their_own_order(self, store):
        journals = {f"r{n}": store.admit(head(f"r{n}")) for n in range(5)}
        for n in range(200):
            for run_id in sorted(journals, key=lambda one: hash((one, n))):
                journals[run_id].append(note(n, key=run_id))
        for run_id in journals:
            assert store.events(run_id) == [note(n, key=run_id) for n in range(200)]

    def test_threads_may_append_to_runs_of_their_own(self, store):
        def write(run_id):
            journal = store.admit(head(run_id))
            for n in range(300):
                journal.append(note(n))
            wait_durable(journal)

        threads = [threading.Thread(target=write, args=(f"r{n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert {one.run_id for one in store.heads()} == {f"r{n}" for n in range(6)}
        for n in range(6):
            assert store.events(f"r{n}") == [note(t) for t in range(300)]

    def test_a_run_that_is_taken_goes_on(self, store):
        first = store.admit(head())
        first.append(note(1))
        first.release()
        found, log, journal = store.take("r1")
        assert (found, log) == (head(), [note(1)])
        journal.append(note(2))
        assert store.events("r1") == [note(1), note(2)]
        wait_durable(journal)
        assert not journal.behind()

    @pytest.mark.parametrize("again", [False, True], ids=["admitted", "taken"])
    def test_a_run_is_taken_by_one_at_a_time(self, store, again):
        journal = store.admit(head())
        journal.append(note(1))
        if again:
            journal.release()
            _, _, journal = store.take("r1")
        with pytest.raises(RunHeld, match="'r1' is being executed by this process; ") as caught:
            store.take("r1")
        assert (caught.value.run_id, caught.value.pid) == ("r1", os.getpid())
        journal.release()
        journal.release()
        store.take("r1")

    @pytest.mark.parametrize("kind", ["run_ended", "suspended"])
    def test_a_run_that_stops_is_free(self, store, kind):
        journal = store.admit(head())
        journal.append(note(1))
        journal.append(Event(2, kind, status="failed"))
        _, log, _ = store.take("r1")
        assert [event.kind for event in log] == ["started", kind]

    @pytest.mark.parametrize("ask", ["head", "events", "take"])
    def test_an_unknown_run_is_named(self, store, ask):
        store.admit(head())
        with pytest.raises(RunUnknown, match="nobody") as caught:
            getattr(store, ask)("nobody")
        assert caught.value.run_id == "nobody"

    def test_a_run_is_admitted_once(self, store):
        first = head()
        store.admit(first).append(note(1))
        for again in (first, head(workflow="other")):
            with pytest.raises(StoreError, match=r"'r1' is already .* resume it"):
                store.admit(again)
        assert store.heads() == [first]
        assert store.events("r1") == [note(1)]

    def test_a_new_journal_is_not_behind_once_told(self, store):
        journal = store.admit(head())
        wait_durable(journal)
        assert not journal.behind()

    def test_a_wake_comes_once_and_when_nothing_is_behind(self, store):
        journal, seen, last = store.admit(head()), [], threading.Event()
        for n in range(500):
            journal.append(note(n))
            ticket = n

            def wake(error, ticket=ticket):
                seen.append((ticket, error))
                if ticket == 499:
                    last.set()

            journal.when_durable(wake)
        assert last.wait(20)
        assert not journal.behind()
        assert seen == [(n, None) for n in range(500)]

    def test_behind_is_false_inside_the_wake(self, store):
        journal, seen, done = store.admit(head()), [], threading.Event()
        journal.append(note(1))
        journal.when_durable(lambda error: (seen.append((journal.behind(), error)), done.set()))
        assert done.wait(20)
        assert seen == [(False, None)]

    def test_a_second_wait_for_the_same_is_told_too(self, store):
        journal = store.admit(head())
        journal.append(note(1))
        wait_durable(journal)
        wait_durable(journal)

    def test_waits_of_several_runs_are_told_in_the_order_of_what_they_wait_for(self, store):
        journals, told, done = [store.admit(head(f"r{n}")) for n in range(4)], [], threading.Event()
        for journal in journals:
            journal.append(note(1))

        def waiter(n):
            return lambda error: (told.append(n), len(told) == 4 and done.set())

        for n in range(4):
            journals[n].when_durable(waiter(n))
        assert done.wait(20)
        assert told == [0, 1, 2, 3]

    def test_a_list_that_is_given_out_is_not_the_log(self, store):
        store.admit(head()).append(note(1))
        store.events("r1").clear()
        store.heads().clear()
        assert store.events("r1") == [note(1)]
        assert store.heads() == [head()]

    def test_closing_twice_is_harmless(self, store):
        store.admit(head()).append(note(1))
        store.close()
        store.close()

    @pytest.mark.parametrize(
        "use",
        [
            lambda store, journal: store.admit(head("r2")),
            lambda store, journal: store.take("r1"),
            lambda store, journal: store.head("r1"),
            lambda store, journal: store.heads(),
            lambda store, journal: store.events("r1"),
            lambda store, journal: journal.append(note(2)),
        ],
        ids=["admit", "take", "head", "heads", "events", "append"],
    )
    def test_a_closed_store_says_so_and_what_to_do(self, store, use):
        journal = store.admit(head())
        journal.append(note(1))
        store.close()
        with pytest.raises(StoreError, match=r"closed.*; (open it again|make a new one)") as caught:
            use(store, journal)
        assert isinstance(caught.value, OrchkitError)
        assert not isinstance(caught.value, LookupError)

"""Letters in a store's file: recorded once, by the owner, with the time; and what became of them."""

from __future__ import annotations

import pytest
from conformance import head, note, wait_durable
from msgspec.structs import replace
from second import Second

from orchkit.clock.ids import wall_micro
from orchkit.errors import RunUnknown, StoreError, StoreReadOnly
from orchkit.model.events import Event
from orchkit.model.records import Letter
from orchkit.store.care import Keep
from orchkit.store.duck import DuckStore
from orchkit.store.mail import outcome_entry
from orchkit.store.wire import entries_of

LETTER = Letter("x1", "r1", "review", -1, 1, "answer", '{"approve": true}', "dana", "cli")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lab.duckdb"


@pytest.fixture(params=["owner", "client"])
def store(request, path):
    """A store with a run, as its owner has it and as a client does."""
    if request.param == "owner":
        opened = DuckStore(path)
        yield with_run(opened)
        opened.close()
        return
    with Second(path):
        opened = DuckStore(path)
        yield with_run(opened)
        opened.close()


def with_run(store, *more):
    journal = store.admit(head("r1"))
    for event in (note(1), *more):
        journal.append(event)
    wait_durable(journal)
    return store


def test_a_letter_is_recorded_with_the_time_and_read_back(store):
    before = wall_micro()
    posted = store.post(LETTER)
    assert before <= posted.sent <= wall_micro()
    assert replace(posted, sent=0) == LETTER
    assert store.unread(["r1"]) == store.unread(["r1", "other"], fenced=True) == [posted]
    assert store.unread(["other"]) == store.unread([]) == []
    assert store.mailed.is_set()


def test_sent_again_it_is_the_first(store):
    first = store.post(LETTER)
    assert store.post(replace(LETTER, text="false", by="lee")) == first
    assert len(store.unread(["r1"])) == 1


def test_letters_come_in_their_order(store):
    ids = [f"x{n}" for n in range(5)]
    posted = [store.post(replace(LETTER, id=one, item=n)) for n, one in enumerate(ids)]
    assert store.unread(["r1"]) == posted
    assert sorted(one.sent for one in posted) == [one.sent for one in posted]


def test_what_became_of_one_is_said_once(store):
    posted = store.post(LETTER)
    assert store.outcome("x1") is None
    store.tell(posted, "taken")
    store.tell(posted, "late: somebody else says so, later")
    store._writer.flush()
    assert store.outcome("x1") == "taken"
    assert store.unread(["r1"]) == []
    assert store.post(LETTER) == posted, "also then it is not sent anew"


def test_of_a_run_that_is_not_there_nothing_is_recorded(store):
    with pytest.raises(RunUnknown):
        store.post(replace(LETTER, run="r2"))
    assert store.fetch("select count(*) from mail") == [(0,)]


@pytest.mark.parametrize(
    "changed",
    [
        {"id": ""}, {"kind": "outcome"}, {"item": -2}, {"item": 2**31}, {"generation": 0}, {"by": "d" * 5000},
        {"text": "t" * (2**24 + 1)}, {"by": "\udc80"}, {"text": "{"}, {"text": '"\ud800"'},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_what_is_no_letter_is_refused_and_the_store_goes_on(path, changed):
    store = with_run(DuckStore(path))
    with pytest.raises(StoreError):
        store.post(replace(LETTER, **changed))
    assert store.post(LETTER).sent
    store.close()


def test_when_it_was_recorded_is_said_by_nobody_else():
    table, row = outcome_entry(LETTER, "taken")
    assert entries_of([[table, [*row[:-1], row[-1].isoformat()]]]) == [(table, row)]
    forged = [*row[:5], "answer", *row[6:-1], row[-1].isoformat()]
    with pytest.raises(StoreError, match="recorded by its owner"):
        entries_of([[table, forged]])


def test_reading_only_takes_none(path):
    with_run(DuckStore(path)).close()
    store = DuckStore(path, read_only=True)
    with pytest.raises(StoreReadOnly):
        store.post(LETTER)
    assert store.unread(["r1"]) == []
    store.close()


def test_letters_go_with_their_run(path):
    store = with_run(DuckStore(path), Event(2, "run_ended", status="failed"))
    store.tell(store.post(LETTER), "taken")
    assert len(store.prune(Keep(runs=0), dry_run=False)) == 1
    assert store.fetch("select count(*) from mail") == [(0,)]
    store.close()


def test_they_outlive_the_process(path):
    with Second(path) as second:
        second.ask("admit", "r1")
        second.ask("append", "r1", 1)
        client = DuckStore(path)
        posted = client.post(LETTER)
        second.kill()
        assert client.unread(["r1"]) == [posted]
        assert client.post(LETTER) == posted, "the next owner knows it"
        client.close()
    store = DuckStore(path)
    assert store.unread(["r1"]) == [posted]
    store.close()

"""The level "exit": nothing is kept until the run stops, and then all of it at once."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from conformance import head, note, wait_durable
from hypothesis import given, settings
from second import Second
from test_conformance import events

import orchkit as ok
from orchkit.errors import CodecError
from orchkit.model.events import Event, encode_log
from orchkit.store.duck import DuckStore

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    store = DuckStore(tmp_path_factory.mktemp("exit") / "lab.duckdb")
    yield store
    store.close()


def late(run_id="r1", **fields):
    return head(run_id, durability="exit", **fields)


@settings(max_examples=60, deadline=None)
@given(log=events.flatmap(lambda one: events.map(lambda other: [one, other])))
def test_any_log_survives_exactly(kept, log):
    run_id = f"any{next(NUMBERS)}"
    journal = kept.admit(late(run_id))
    log = [Event(0, "run_started"), *log, Event(1, "run_ended", status="completed")]
    for event in log:
        journal.append(event)
    found = kept.events(run_id)
    whole = log[: next(k for k, event in enumerate(log, 1) if event.kind in ("run_ended", "suspended"))]
    assert found[: len(whole)] == whole
    assert encode_log(found[: len(whole)]) == encode_log(whole)
    journal.release()


def test_nothing_is_there_before_the_end_and_nobody_waits(kept):
    journal = kept.admit(late("waits"))
    for n in range(100):
        journal.append(note(n))
        assert not journal.behind()
        wait_durable(journal)
    assert "waits" not in [one.run_id for one in kept.heads()]
    journal.append(Event(100, "run_ended", status="completed", body="x" * 5000))
    wait_durable(journal)
    assert not journal.behind()
    assert len(kept.events("waits")) == 101
    assert kept.events("waits")[-1].body == "x" * 5000
    assert kept.fetch("select n from event where run = 'waits' order by seq") == [(n,) for n in range(1, 102)]


def test_a_run_that_was_let_go_keeps_what_there_was_and_can_be_taken(kept):
    journal = kept.admit(late("gone"))
    journal.append(note(1))
    journal.release()
    assert kept.events("gone") == [note(1)]
    assert "gone" not in kept.holders()
    _, log, journal = kept.take("gone")
    journal.append(note(2))
    assert kept.events("gone") == [note(1)]
    journal.append(Event(3, "suspended"))
    assert kept.events("gone") == [*log, note(2), Event(3, "suspended")]


def test_an_event_that_cannot_be_stored_is_named(kept):
    journal = kept.admit(late("odd"))
    journal.append(note(1))
    journal.append(note(2, node="bad", error="\ud800"))
    with pytest.raises(CodecError, match="event 'started' of 'bad' cannot be stored") as caught:
        journal.append(Event(3, "run_ended"))
    assert (caught.value.node, caught.value.run_id) == ("bad", "odd")


def test_of_a_client_too(tmp_path):
    with Second(tmp_path / "lab.duckdb"):
        store = DuckStore(tmp_path / "lab.duckdb")
        journal = store.admit(late())
        log = [Event(n, "completed", "draft", body=[b"\xff", "y" * 5000]) for n in range(50)]
        for event in (*log, Event(50, "run_ended")):
            journal.append(event)
        wait_durable(journal)
        assert store.events("r1")[:-1] == log
        assert store.query("select count(wall), count(distinct wall) from event").to_numpy().tolist() == [[51, 51]]
        store.close()


def test_a_live_run(tmp_path):
    wf = ok.Workflow("late", input=str)

    @wf.step
    async def draft(input: str, ctx: ok.Context) -> str:
        return f"{input}, {len(ctx.deps.runs())} runs are kept"

    wf.approval("sure")
    with ok.open(tmp_path / "lab.duckdb") as store:
        run = wf.start("x", store=store, durability="exit", deps=store).wait_settled(20)
        assert store.runs().empty
        run.suspend()
        again = store.resume(run.id)
        again.answer("sure", True)
        assert again.result(20) == {"draft": "x, 0 runs are kept", "sure": True}
        assert store.runs().status.tolist() == ["completed"]
        assert store.events(run.id).kind.tolist() == again.events.kind.tolist()


_LEFT_OPEN = """
import sys
sys.path[:0] = sys.argv[1:3]
from conformance import head, note
from orchkit.store.duck import DuckStore

store = DuckStore(sys.argv[3])
journal = store.admit(head("left", durability="exit"))
for n in range(5000):
    journal.append(note(n, body={"n": n}))
assert "pandas" not in sys.modules
journal.release()
"""


def test_a_long_log_is_kept_when_python_ends_and_nobody_has_closed_the_store(path):
    # What its events could be laid out with is not to be had any more then.
    here = Path(__file__).parent
    command = [sys.executable, "-c", _LEFT_OPEN, str(here.parents[2]), str(here), str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    store = DuckStore(path)
    assert [event.body["n"] for event in store.events("left")] == list(range(5000))
    store.close()

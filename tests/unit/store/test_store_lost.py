"""Lost: a file that was taken away is missed, as long as anything beside it tells of it."""

import os

import pytest
from broken import EVENTS, RUNS, write_and_die
from conformance import head, note

import orchkit as ok
from orchkit.errors import StoreUnreadable
from orchkit.store import lost
from orchkit.store.duck import DuckStore

ALL = EVENTS * len(RUNS)


@pytest.fixture
def gone(tmp_path):
    """A store that was killed, and whose file was deleted."""
    path = tmp_path / "lab" / "lab.duckdb"
    path.parent.mkdir()
    write_and_die(path)
    path.unlink()
    return path


def kept_files(path):
    return sorted({*os.listdir(path.parent)} - {"lab.duckdb.owner"})  # of who was killed; each who comes takes it away


def refusal(path, **options):
    before = kept_files(path)
    with pytest.raises(StoreUnreadable, match=r"is not there, but .*; put lab.duckdb back, or move") as caught:
        DuckStore(path, **options)
    with pytest.raises(StoreUnreadable) as again:
        ok.open(path, **options)
    assert str(again.value) == str(caught.value)
    assert kept_files(path) == before, "something was made"
    return caught.value


@pytest.mark.parametrize("read_only", [False, True], ids=["write", "read"])
def test_what_was_acknowledged_is_counted_by_run(gone, read_only):
    error = refusal(gone, read_only=read_only)
    assert (error.missing, error.runs) == (ALL, dict.fromkeys(RUNS, EVENTS))
    assert f"lab.duckdb.wal and lab.duckdb.marks beside it are: {ALL} acknowledged events are missing" in str(error)
    assert f"{EVENTS} of run r0" in str(error)


def test_what_was_in_the_file_when_the_marks_began_counts_too(tmp_path):
    path = tmp_path / "lab.duckdb"
    for run in ("r1", "r2"):
        store = DuckStore(path)
        store.admit(head(run)).append(note(1))
        store.close()
    path.unlink()
    error = refusal(path)
    assert (error.missing, error.runs) == (2, {"r2": 1})
    assert "1 of run r2, 1 of runs that were written before" in str(error)


def test_put_back_it_goes_on(tmp_path):
    path = tmp_path / "lab.duckdb"
    write_and_die(path)
    away = path.rename(tmp_path / "away.duckdb")
    refusal(path)
    away.rename(path)
    store = DuckStore(path)
    assert store.damage is None
    assert [len(store.events(run)) for run in RUNS] == [EVENTS] * len(RUNS)
    store.close()


def test_when_what_told_of_it_is_moved_away_a_store_begins(gone):
    for name in ("lab.duckdb.wal", "lab.duckdb.marks"):
        refusal(gone)
        gone.with_name(name).unlink()
    store = DuckStore(gone)
    assert store.heads() == []
    assert store.damage is None
    store.close()


def test_a_log_without_marks(gone):
    gone.with_name("lab.duckdb.marks").unlink()
    error = refusal(gone)
    assert error.missing is None
    assert "lab.duckdb.wal beside it is: events may be missing, and no marks say how many" in str(error)


def test_marks_that_cannot_be_read(gone):
    gone.with_name("lab.duckdb.wal").unlink()
    gone.with_name("lab.duckdb.marks").write_bytes(b"\0" * 40)
    error = refusal(gone)
    assert error.missing is None
    assert "its marks cannot be read" in str(error)


def test_the_file_of_an_older_schema(gone):
    for name in ("lab.duckdb.wal", "lab.duckdb.marks"):
        gone.with_name(name).unlink()
    gone.with_name("lab.duckdb.v1").write_bytes(b"the file as it was")
    assert "lab.duckdb.v1 beside it is" in str(refusal(gone))
    assert gone.with_name("lab.duckdb.v1").read_bytes() == b"the file as it was"


def test_of_a_store_without_events_nothing_is_missed(tmp_path):
    path = tmp_path / "lab.duckdb"
    DuckStore(path).close()
    path.unlink()
    store = DuckStore(path)
    assert store.heads() == []
    store.close()


def test_a_file_that_is_there_costs_no_look_for_what_it_left(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(lost, "read_marks", looked.append)
    DuckStore(tmp_path / "lab.duckdb").close()
    DuckStore(tmp_path / "lab.duckdb").close()
    assert len(looked) == 1, "only when there is no file"


def test_a_client_that_takes_the_place_of_an_owner_whose_file_is_gone(tmp_path):
    from second import Second

    path = tmp_path / "lab.duckdb"
    with Second(path) as owner:
        store = DuckStore(path)
        try:
            journal = store.admit(head("mine"))
            journal.append(note(1))
            assert len(store.events("mine")) == 1
            path.unlink()
            owner.kill()
            with pytest.raises(StoreUnreadable, match=r"is not there, but .* 1 acknowledged event is missing"):
                store.events("mine")
        finally:
            store.close()
    assert not path.exists()

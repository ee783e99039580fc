"""Batches: what a commit has of events is one row, read as rows at once and made rows of later."""

import itertools
import math
import random
import re
from contextlib import suppress
from decimal import Decimal
from enum import StrEnum

import duckdb
import pytest
from conformance import EVERY_FIELD, START, ended, head, note, wait_durable
from hypothesis import given, settings
from hypothesis import strategies as st
from test_conformance import events

import orchkit as ok
from orchkit.errors import CodecError, OrchkitError, StoreError
from orchkit.model.events import Event
from orchkit.store import asking, care, checkpoint
from orchkit.store import file as file_module
from orchkit.store.batches import batch_of, table_of
from orchkit.store.care import Keep
from orchkit.store.duck import DuckStore
from orchkit.store.exports import rescue
from orchkit.store.file import DuckFile
from orchkit.store.rows import Layout, Logged, Stretch, head_row, one_by_one, row_by_row
from orchkit.store.schema import STATEMENTS

ROWS = "select * from event order by seq"


@pytest.fixture
def file(tmp_path):
    one = DuckFile(tmp_path / "lab.duckdb")
    yield one
    one.let_go()


@pytest.fixture(scope="module")
def laboratory():
    connection = duckdb.connect()
    for statement in STATEMENTS:
        connection.execute(statement)
    yield connection
    connection.close()


def logged(*log, run="r1", started=START):
    layout = Layout(head(run, started=started))
    return [item for n, event in enumerate(log, 1) for item in layout.items(n, event) if isinstance(item, Logged)]


def batches(file):
    return file.fetch("select count(*) from event_batch")[0][0]


def same(found, expected):
    """Compare rows to the last bit: a NaN is itself, and -0.0 is not 0.0."""
    return [tuple(map(repr, row)) for row in found] == [tuple(map(repr, row)) for row in expected]


@settings(max_examples=150, deadline=None)
@given(log=st.lists(events, min_size=1, max_size=6), started=st.sampled_from([0, START]))
def test_whichever_way_rows_are_made_they_are_the_same(laboratory, log, started):
    laid = logged(*log, started=started)
    seqs = list(range(7, 7 + len(laid)))
    expected = [(seq, *one.row()) for seq, one in zip(seqs, laid, strict=True)]
    for made in (batch_of(seqs, laid), batch_of((), (), expected), batch_of(seqs[:1], laid[:1], expected[1:])):
        laboratory.execute("delete from event_batch")
        laboratory.executemany("insert into event_batch values (?, ?)", made)
        assert same(laboratory.execute(ROWS).fetchall(), expected)
        assert made[-1][0] == seqs[-1]
    laboratory.execute("delete from event_batch")
    for table in (table_of(seqs, laid), table_of((), (), expected), table_of(seqs[:1], laid[:1], expected[1:])):
        laboratory.register("many", table)
        assert same(laboratory.execute("select * from many").fetchall(), expected)


@settings(max_examples=80, deadline=None)
@given(log=st.lists(events, min_size=1, max_size=6), started=st.sampled_from([0, START]), at=st.integers(0, 6))
def test_a_stretch_makes_the_rows_that_its_events_make_one_by_one(laboratory, log, started, at):
    layout = Layout(head(started=started))
    singly = [item for n, event in enumerate(log, 3) for item in layout.items(n, event)]
    whole = layout.whole(3, log)
    assert {item for item in row_by_row(whole) if item[0] == "payload"} == {
        item for item in row_by_row(singly) if item[0] == "payload"
    }
    logged = [one for one in singly if isinstance(one, Logged)]
    assert [one for one in one_by_one(whole) if isinstance(one, Logged)] == logged
    # Between others, of which a payload has taken a number.
    at = min(at, len(log))
    parts = [layout.whole(3, log[:at]), logged[at : at + 1], layout.whole(4 + at, log[at + 1 :])]
    laid = [one for part in parts for one in part if isinstance(one, (Logged, Stretch)) and events_of(one)]
    seqs, numbers, seq = [], [], 11
    for one in laid:
        seqs.append(seq)
        numbers += range(seq, seq + len(events_of(one)))
        seq += len(events_of(one)) + 2
    expected = [(seq, *one.row()) for seq, one in zip(numbers, logged, strict=True)]
    laboratory.execute("delete from event_batch")
    laboratory.executemany("insert into event_batch values (?, ?)", batch_of(seqs, laid))
    assert same(laboratory.execute(ROWS).fetchall(), expected)
    laboratory.execute("delete from event_batch")
    laboratory.register("many", table_of(seqs, laid))
    assert same(laboratory.execute("select * from many").fetchall(), expected)


def events_of(one):
    return one.events if isinstance(one, Stretch) else (one.event,)


@pytest.mark.parametrize(
    "odd", [note(2, node="\ud800"), note(2, tokens=2**63), note(2, body={"x": object()}), note(2, dur=2**60 + 1)]
)
def test_a_whole_run_that_cannot_be_stored_is_refused_by_the_event_that_cannot(odd):
    layout = Layout(head())
    with pytest.raises(CodecError) as one:
        layout.items(2, odd)
    with pytest.raises(CodecError) as whole:
        layout.whole(1, [note(1), odd, note(3)])
    assert str(whole.value) == str(one.value)


@pytest.mark.parametrize("odd", [note(2, tokens=1.5), note(2, item=2**40), note(2, cost="0.5")])
def test_a_number_that_arrow_would_cut_is_left_to_a_batch(odd):
    assert table_of([1], Layout(head()).whole(1, [note(1), odd])) is None


def test_an_event_with_every_field_and_one_with_none(laboratory):
    for log in ([EVERY_FIELD], [Event(0, "run_started")], [EVERY_FIELD, Event(0, "run_started")]):
        laid = logged(*log)
        laboratory.execute("delete from event_batch")
        laboratory.executemany("insert into event_batch values (?, ?)", batch_of([1, 2][: len(laid)], laid))
        expected = [(seq, *one.row()) for seq, one in enumerate(laid, 1)]
        assert same(laboratory.execute(ROWS).fetchall(), expected)
    laboratory.execute("delete from event_batch")


@pytest.mark.parametrize("cost", [math.inf, -math.inf, math.nan, -0.0, 5e-324, 1.7976931348623157e308, 0.1])
def test_any_cost_is_read_as_it_was(file, cost):
    # JSON has no number for some; and one of them must not harm those beside it.
    file.commit(logged(note(1, cost=1e308), note(2, cost=cost), note(3, cost=1e308)))
    found = file.fetch("select cost from event order by seq")
    assert same(found, [(1e308,), (cost,), (1e308,)])


class Word(StrEnum):
    ONE = "one"


def test_numbers_and_texts_of_other_classes_are_taken(file):
    np = pytest.importorskip("numpy")

    class Count(int):
        pass

    file.commit(logged(note(1, cost=np.float64(0.5), tokens=Count(3), status=Word.ONE), note(2, cost=Decimal("0.25"))))
    assert file.fetch("select cost, tokens, status from event order by seq") == [(0.5, 3, "one"), (0.25, 0, None)]


def test_they_are_read_as_rows_before_and_after_rows_are_made_of_them(file):
    for n in range(10):
        file.commit([("lease", ("r1", "me")), *logged(note(n, error="x" * n), note(n, body={"n": n}))])
    before = file.fetch(ROWS)
    assert batches(file) == 10
    assert [row[0] for row in before] == [seq for n in range(10) for seq in (3 * n + 2, 3 * n + 3)]
    file.idle()
    assert batches(file) == 0
    assert file.fetch("select * from event_row order by seq") == before
    assert file.fetch(ROWS) == before


def test_rows_are_made_of_them_some_thousand_at_a_time(file, monkeypatch):
    monkeypatch.setattr(file_module, "_MOVED", 20)
    most = 0
    for n in range(100):
        file.commit(logged(note(n), note(n)))
        file.tend()
        most = max(most, batches(file))
    assert 5 <= most <= 10
    assert file.fetch("select count(*) from event") == [(200,)]


def test_of_many_at_once_rows_are_made_at_once(file, monkeypatch):
    monkeypatch.setattr(file_module, "_AT_ONCE", 50)
    layout = Layout(head())
    log = [note(n, body="x" * (5000 if n == 7 else 5), error="e" * (n % 2), cost=0.5) for n in range(60)]
    file.commit([item for n, event in enumerate(log, 1) for item in layout.items(n, event)])
    assert batches(file) == 0
    assert file.fetch("select count(*) from event_row") == [(60,)]
    file.commit(logged(note(1)))
    assert batches(file) == 1
    assert file.fetch("select seq from event order by seq") == [(n,) for n in range(1, 63) if n != 8]


def test_whoever_opens_the_file_after_a_kill_reads_them_and_makes_rows_of_them(path, tmp_path):
    store = DuckStore(path)
    journal = store.admit(head())
    for n in range(30):
        journal.append(note(n))
        wait_durable(journal)
    log = store.events("r1")
    killed = tmp_path / "killed.duckdb"
    # What a kill leaves: the file and its log as they are just now.
    for name in (path.name, f"{path.name}.wal", f"{path.name}.marks"):
        killed.with_name(name.replace(path.name, killed.name)).write_bytes(path.with_name(name).read_bytes())
    store.close()
    reader = DuckStore(killed, read_only=True)
    assert reader.fetch("select count(*) > 0 from event_batch") == [(True,)]
    assert reader.events("r1") == log
    assert reader.query("select count(*) as n from event").n[0] == 30
    reader.close()
    again = DuckStore(killed)
    assert again.damage is None
    assert again.events("r1") == log
    again.close()
    with duckdb.connect(str(killed), read_only=True) as connection:
        assert connection.execute("select count(*) from event_batch").fetchone() == (0,)
        assert connection.execute("select count(*) from event_row").fetchone() == (30,)


def test_closing_leaves_rows_only(path):
    with ok.open(path) as store:
        ended(store._kept, "r1")
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("select count(*) from event_batch").fetchone() == (0,)


def test_pruning_takes_what_is_in_batches_too(store):
    for n in range(4):
        ended(store, f"r{n}", note(1, body="x" * 5000 + str(n)))
    kept = store.events("r3")
    store.prune(Keep(runs=1), dry_run=False)
    assert store.fetch("select distinct run from event") == [("r3",)]
    assert store.fetch("select count(*) from payload") == [(1,)]
    assert store.events("r3") == kept


def test_compacting_and_copying_keep_what_is_in_batches(store, tmp_path):
    ended(store, "r1", *(note(n) for n in range(20)))
    log = store.events("r1")
    store.snapshot(tmp_path / "copy.duckdb")
    copy = DuckStore(tmp_path / "copy.duckdb")
    assert copy.events("r1") == log
    copy.close()
    store.compact()
    assert store.events("r1") == log


def test_the_space_of_what_was_moved_is_given_back(file, monkeypatch):
    monkeypatch.setattr(file_module, "_MOVED", 500)
    for n in range(300):
        file.commit(logged(*(note(n * 10 + k, error="some words of text " * 5) for k in range(10))))
        file.tend()
    file.idle()
    file._merge()
    size = "select coalesce(sum(count), 0) from pragma_storage_info('event_batch') where segment_type = 'VARCHAR'"
    assert file.fetch(size)[0][0] <= 60


def test_when_rows_cannot_be_made_the_batches_stay_and_it_is_tried_again(file, monkeypatch):
    file.commit(logged(note(1)))
    broken = ("insert into event_row select nothing", "delete from event_batch")
    with monkeypatch.context() as during:
        during.setattr(file_module, "MOVE", broken)
        file.idle()
    file.commit(logged(note(2)))
    assert [t for (t,) in file.fetch("select t * 1e6 from event order by seq")] == [1, 2]
    assert batches(file) == 2
    file.idle()
    assert batches(file) == 0
    assert file.fetch("select count(*) from event") == [(2,)]


def test_what_changes_the_file_and_fails_leaves_the_batches(store, monkeypatch):
    ended(store, "r1")
    ended(store, "r2")
    monkeypatch.setattr(care, "_FORGOTTEN", "delete from nowhere where until < ?")
    with pytest.raises(StoreError, match="was not changed"):
        store.prune(Keep(runs=0), dry_run=False)
    assert len(store.events("r1")) == len(store.events("r2")) == 2
    assert store.fetch("select count(*), count(distinct seq) from event") == [(4, 4)]


def test_a_large_store_answers_the_same_with_and_without_batches(store, monkeypatch):
    queries = [f"select * from {view} order by all" for view in ("event", "attempt", "node_run", "run")]
    for n in range(6):
        monkeypatch.setattr(file_module, "_MANY", 10**9)
        ended(store, f"r{n}", *(Event(k, "completed", "a", attempt=k, status="ok", dur=5) for k in range(1, 5)))
        found = [store.query(query) for query in queries]  # first, while the last run is in batches
        monkeypatch.setattr(file_module, "_MANY", 5)
        assert all(a.equals(b) for a, b in zip(found, map(store.query, queries), strict=True))
    assert len(store.query("show tables")) == len(set(store.query("show tables").name))


def test_what_arrives_while_a_large_store_is_asked_is_there_or_not_but_whole(store, monkeypatch):
    monkeypatch.setattr(file_module, "_MANY", 5)
    monkeypatch.setattr(file_module, "_MOVED", 7)
    journal = store.admit(head("going"))
    for n in range(200):
        journal.append(note(n))
        if n % 10 == 0:
            seen = store.query("select n from event where run = 'going' order by n").n.tolist()
            assert seen == list(range(1, len(seen) + 1))
            assert len(seen) >= n + 1


def test_control_characters_and_quotes_are_read_as_they_were(file):
    file.commit(logged(note(1, error="\x00 \u2028 \U0001f680 \" ' \\ \x1f")))
    assert file.fetch("select error from event") == [("\x00 \u2028 \U0001f680 \" ' \\ \x1f",)]


def test_a_batch_that_cannot_be_read_costs_no_other_in_an_export(path, tmp_path):
    store = DuckStore(path)
    ended(store, "r1")
    store.close()
    with duckdb.connect(str(path)) as connection:
        connection.executemany(
            "insert into event_batch values (?, ?)",
            [*batch_of([90], logged(note(90))), (91, '{"seq": [91'), *batch_of([92], logged(note(92)))],
        )
    folder = tmp_path / "out"
    told = {one.name: one for one in rescue(path, folder, overwrite=False)}
    assert told["event"].problem == "could not be read: what 1 of the last commits recorded"
    assert duckdb.sql(f"select seq from '{folder}/event.parquet' order by seq").fetchall() == [(2,), (3,), (90,), (92,)]


def test_what_is_put_in_the_place_of_an_open_file_keeps_its_marks(path, tmp_path):
    other = DuckStore(tmp_path / "other.duckdb")
    ended(other, "theirs")
    other.close()
    store = DuckStore(path)
    journal = store.admit(head())
    journal.append(note(1))
    wait_durable(journal)
    for ending in ("", ".marks"):
        other.path.with_name(other.path.name + ending).replace(path.with_name(path.name + ending))
    marks = path.with_name(path.name + ".marks").read_bytes()
    journal.append(note(2))
    with pytest.raises(OrchkitError, match="deleted, moved or replaced"):
        wait_durable(journal)
    with suppress(OrchkitError):
        store.close()
    assert path.with_name(path.name + ".marks").read_bytes() == marks


def test_the_views_that_are_asked_of_rows_alone_are_those_that_read_events():
    reading = {view.split()[2] for view in STATEMENTS if view.startswith("create view")} - {"run"}
    assert set(re.findall(r"\w+", asking._OF_EVENTS.pattern.replace(r"\b", ""))) == reading


def test_a_large_store_is_asked_as_it_is_at_one_moment(file, monkeypatch):
    # What comes in many at once is in no batch: it is seen with what went before it, or not at all.
    monkeypatch.setattr(file_module, "_MANY", 2)
    monkeypatch.setattr(file_module, "_AT_ONCE", 5)
    file.commit([("admission", head_row(head(), None)), *logged(*map(note, range(10)))])
    prepare, runs = asking._see_rows, itertools.count(2)

    def and_meanwhile(cursor):
        prepare(cursor)
        run = head(f"r{next(runs)}")
        items = [("admission", head_row(run, None)), *logged(*map(note, range(10)), run=run.run_id)]
        file.commit(items[:3])
        file.commit(items[3:])

    monkeypatch.setattr(asking, "_see_rows", and_meanwhile)
    seen = file.query("select n from event where run = 'r2' order by n").n.tolist()
    assert seen == list(range(1, len(seen) + 1))
    file.idle()
    assert file.query("select run from admission where run not in (select run from event)").run.tolist() == []


def test_who_is_interrupted_while_rows_are_made_at_closing_has_let_the_file_go(path, monkeypatch):
    store = DuckStore(path)
    ended(store, "r1")
    log = store.events("r1")

    def interrupted(file):
        file._writing.execute(file_module.MOVE[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr(DuckFile, "_make_rows", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.close()
    store.close()
    again = DuckStore(path)
    assert again.damage is None
    assert again.events("r1") == log
    again.close()


def test_before_the_log_is_merged_rows_are_made(file, monkeypatch):
    # Batches are for the log: where a block of the file goes bad, all that asks for events asks for them.
    monkeypatch.setattr(checkpoint, "_MOST_COMMITS", 5)
    for n in range(5):
        file.commit(logged(note(n)))
        file.tend()
    assert batches(file) == 5
    file.commit(logged(note(5)))
    file.tend()
    assert file._checkpoints._commits == 0
    assert batches(file) == 0
    assert file.fetch("select count(*) from event_row") == [(6,)]


def test_where_batches_cannot_be_read_the_rows_still_can(path, tmp_path):
    file = DuckFile(path)
    for n in range(200):
        file.commit(logged(note(n)))
    file.tend(quiet=True)
    kept = file.fetch(ROWS)
    for n in range(20):
        file.commit(logged(*(note(n, error=random.Random(n + k).randbytes(100).hex()) for k in range(20))))
    file._merge()
    where = "select max(block_id) from pragma_storage_info('event_batch') where segment_type = 'VARCHAR'"
    ((block,),) = file.fetch(where)
    file._batched = 0  # as a kill leaves them
    file.let_go()
    with path.open("rb+") as damaged:
        damaged.seek(3 * 4096 + block * 2**16 + 2**15)
        damaged.write(b"damage")
    told = {one.name: one for one in rescue(path, tmp_path / "out", overwrite=False)}
    with duckdb.connect() as connection:
        found = connection.execute(f"from '{tmp_path}/out/event.parquet' order by seq").fetchall()
    assert found[:200] == kept
    unread = re.fullmatch(r"could not be read: what (\d+) of the last commits recorded", told["event"].problem)
    assert len(found) == told["event"].rows == 600 - 20 * int(unread[1])
    assert int(unread[1]) > 0


@pytest.mark.parametrize("cost", [Decimal("0.25"), 2**63, 10**30])
def test_of_many_at_once_those_that_arrow_refuses_are_taken_too(file, monkeypatch, cost):
    monkeypatch.setattr(file_module, "_AT_ONCE", 1)
    file.commit(logged(note(1, cost=cost), note(2)))
    assert file.fetch("select cost from event order by seq") == [(float(cost),), (0.0,)]


@pytest.mark.parametrize("micros", [2**62 + 2**12, 2**63, 2**80])
def test_an_event_after_146_000_years_is_refused(micros):
    layout = Layout(head())
    for event in (note(micros), note(-micros), note(1, dur=micros)):
        with pytest.raises(CodecError, match="more than 146,000 years"):
            layout.items(1, event)
        with pytest.raises(CodecError, match="more than 146,000 years"):
            layout.whole(1, [note(1), event])


def test_one_that_is_some_years_long_is_read_as_it_was(laboratory):
    years = 2**62
    laid = logged(note(years, dur=years), note(-years), started=0)
    expected = [(seq, *one.row()) for seq, one in enumerate(laid, 1)]
    laboratory.executemany("insert into event_batch values (?, ?)", batch_of([1, 2], laid))
    assert same(laboratory.execute(ROWS).fetchall(), expected)
    laboratory.execute("delete from event_batch")


def test_of_many_rows_of_another_process_rows_are_made_at_once(file, monkeypatch):
    monkeypatch.setattr(file_module, "_AT_ONCE", 50)
    entries = row_by_row(logged(*(note(n, body={"n": n}) for n in range(60))))
    file.commit([*entries[:30], ("lease", ("r1", "me")), *entries[30:]])
    assert batches(file) == 0
    assert file.fetch("select seq, n, body from event_row order by seq") == [
        (n + 1 + (n >= 30), n + 1, f'{{"n":{n}}}') for n in range(60)
    ]


def test_a_batch_says_of_each_event_whose_it_is(file):
    live, virtual = Layout(head("r1")), Layout(head("r2", started=0))
    items = [layout.items(n, note(n, cost=0.0))[0] for n in (1, 2) for layout in (live, virtual, live)]
    file.commit(items)
    found = file.fetch("select run, n, epoch_us(wall) from event order by seq")
    assert found == [
        (one.layout.run_id, one.n, START + one.event.t if one.layout is live else None) for one in items
    ]  # fmt: skip

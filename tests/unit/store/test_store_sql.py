"""`store.sql` reads; whatever else it is given, it refuses and changes nothing."""

import os
import threading

import duckdb
import pytest
from conformance import head, note
from second import Second

import orchkit as ok
from orchkit.errors import StoreError
from orchkit.store.duck import DuckStore
from orchkit.store.schema import EVENT_COLUMNS

# Shared: nothing here may change it, which is what the tests say.


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sql")
    store = ok.open(folder / "lab.duckdb")
    journal = store._kept.admit(head())
    for n in range(1, 4):
        journal.append(note(n * 1_000_000, cost=0.25, tokens=10))
    before = os.getcwd()
    os.chdir(folder)
    yield store
    os.chdir(before)
    store.close()


def state(store):
    tables = [store._kept.fetch(f"select * from {name}") for name in ("meta", "opening", "admission", "event")]
    catalog = store._kept.fetch("select table_name from duckdb_tables() union select view_name from duckdb_views()")
    settings = store._kept.fetch("select name, value from duckdb_settings() order by name")
    attached = store._kept.fetch("select database_name from duckdb_databases() order by 1")
    return tables, sorted(catalog), settings, attached, sorted(os.listdir())


def test_the_table_of_events_has_the_pinned_columns(store):
    frame = store.sql("select * from event")
    assert tuple(frame.columns) == EVENT_COLUMNS
    pinned = "seq t wall run kind node item generation leg attempt status dur cost tokens error by body"
    assert [*pinned.split(), "key", "n", "ref"] == list(EVENT_COLUMNS)
    assert frame.t.tolist() == [1.0, 2.0, 3.0]
    assert frame.item.isna().all()


@pytest.mark.parametrize(
    "query",
    [
        "select count(*) as n from event",
        "  /* how many */ SELECT count(*) AS n FROM event; -- there",
        "with e as (select * from event) select count(*) as n from e",
        "from event select count(*) as n",
        "(select count(*) as n from event)",
        "select count(*) as n from (values (1), (2), (3)) t(a)",
        "select count(query) as n from (select coalesce(body->>'query', 'query(') as query from event)",
    ],
)
def test_a_select_in_any_dress(store, query):
    assert store.sql(query).n.tolist() == [3]


@pytest.mark.parametrize("query", ["describe event", "show tables", "summarize event", "table event", "values (1)"])
def test_what_duckdb_counts_as_a_select(store, query):
    before = state(store)
    assert len(store.sql(query))
    assert state(store) == before


def test_it_sees_what_was_appended_just_now(tmp_path):
    with ok.open(tmp_path / "lab.duckdb") as store:
        journal = store._kept.admit(head())
        for n in range(1, 50):
            journal.append(note(n))
            assert store.sql("select count(*) as n from event").n.tolist() == [n]


def test_users_own_files_can_be_read_beside_it(store, tmp_path):
    with duckdb.connect() as other:
        other.execute(f"copy (select 'draft' as node, 'dana' as owner) to '{tmp_path}/owners.parquet'")
    frame = store.sql(
        f"select owner, count(*) as n from event join '{tmp_path}/owners.parquet' using (node) group by 1"
    )
    assert frame.values.tolist() == [["dana", 3]]


REFUSED = """
insert into event select * from event
insert into meta values ('a', 'b') returning key
update event set t = 0
delete from event
truncate event
merge into meta using (select 1) on false when not matched then insert values ('a', 'b')
with gone as (delete from event returning *) select * from gone
with new as (insert into meta values ('a', 'b') returning *) select * from new
with moved as (update event set t = 0 returning *) select * from moved
explain analyze insert into meta values ('a', 'b')
explain analyze copy (select 1) to 'out.csv'
explain select 1
copy event to 'out.parquet'
copy (select 1) to 'out.csv'
copy meta from 'in.csv'
export database 'out'
import database 'out'
attach 'other.duckdb'
detach lab
use memory
create table t(a integer)
create temp table t as select 1
create view v as select 1
create or replace view run as select 1
create macro f() as 1
create sequence s
create type mood as enum ('a')
create secret s (type s3)
drop view run
drop table event
alter table event add column z integer
comment on table event is 'x'
pragma disable_checkpoint_on_shutdown
pragma table_info('event')
pragma enable_profiling
set threads = 1
set global memory_limit = '1GB'
reset threads
install httpfs
load json
call pragma_version()
call enable_logging()
checkpoint
force checkpoint
vacuum
analyze
begin
commit
prepare p as select 1
execute p
select 1; select 2
select 1; delete from event
delete from event; select 1
pivot event on kind using count(*)
select * from enable_logging(storage='file', storage_path='logs')
select * from enable_profiling(save_location='profile.json', format='json')
select * from query('delete from event')
select * from json_execute_serialized_sql(json_serialize_sql('with x as (delete from event returning *) from x'))
from query('from json_execute_serialized_sql(json_serialize_sql(''with x as (delete from event returning *) from x''))')
select * from query('with x as (delete from event returning *) from x')
from query('from json_exe' || 'cute_serialized_sql(json_serialize_sql(''with x as (delete from event) from x''))')
select * from query('select * from enable_lo' || 'gging()')
with e as (from event) select (select max(x) from "QUERY" /**/ ('select 1 as x')) from e
from system.main.query('select * from disable_prof' || 'iling()')
select * from destroy_external_resource('query', 'delete from event')
select * from read_duckdb('lab.duckdb')
select nextval('s')
select ?
select $1
selec 1
select durr from event
select * from nowhere
select 1/
""".strip().splitlines()


@pytest.mark.parametrize("query", [*REFUSED, "", "  ", ";", "-- nothing", "\x00", None, 7])
def test_anything_else_is_refused_and_changes_nothing(store, query):
    before = state(store)
    with pytest.raises(StoreError) as caught:
        store.sql(query)
    assert "\n" not in str(caught.value)
    assert state(store) == before


def test_a_misspelled_column_is_answered_with_what_was_meant(store):
    with pytest.raises(StoreError, match=r"Candidate bindings.*dur"):
        store.sql("select durr from event")


@pytest.mark.parametrize("query", ["select * from checkpoint()", "select write_log('x')", "select setseed(0.5)"])
def test_functions_with_effects_change_nothing_that_is_kept(store, query):
    *before, _ = state(store)
    store.sql(query)
    *after, _ = state(store)  # a checkpoint may move rows from file to file, and no more
    assert after == before


def test_reading_does_not_stop_the_writer(tmp_path):
    with ok.open(tmp_path / "lab.duckdb") as store:
        journal = store._kept.admit(head())
        with store._kept._elected.place.cursor() as cursor:
            unfinished = cursor.execute("select * from event, range(100000)")
            journal.append(note(1))
            assert store._kept.events("r1") == [note(1)]
            assert unfinished.fetchall() == []


ENDLESS = "select sum(a.i * b.i) from range(2000000) a(i), range(2000000) b(i)"


@pytest.mark.parametrize(
    "read", [DuckStore.query, DuckStore.fetch, DuckStore.frame, lambda store, sql: store.arrow(sql, [])]
)
def test_closing_ends_what_is_being_read_and_lets_the_file_go(tmp_path, read):
    store, told = DuckStore(tmp_path / "lab.duckdb"), []

    def look():
        try:
            read(store, ENDLESS)
        except BaseException as error:
            told.append(error)

    reader = threading.Thread(target=look, daemon=True)
    reader.start()
    while not store._elected.place._reading:
        threading.Event().wait(0.001)
    store.close()
    reader.join(20)
    assert [(type(error), str(error)) for error in told] == [
        (StoreError, "lab.duckdb is closed; open it again with ok.open(path)")
    ]
    DuckStore(tmp_path / "lab.duckdb").close()
    assert {one.name for one in tmp_path.iterdir()} == {"lab.duckdb", "lab.duckdb.marks"}


def test_an_owner_closes_while_it_serves_a_query_and_the_client_asks_again(tmp_path):
    query = ENDLESS.replace("2000000", "20000")
    store = DuckStore(tmp_path / "lab.duckdb")
    with Second(tmp_path / "lab.duckdb") as second:
        second.tell("sql", query)
        while not store._elected.place._reading:
            threading.Event().wait(0.001)
        store.close()
        assert second._answer() == [[sum(range(20000)) ** 2]]
        assert second.ask("role") == "DuckFile"

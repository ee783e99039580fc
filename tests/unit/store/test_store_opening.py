"""Opening: whatever is wrong with a file is said at once, with a way out, and changes nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from conformance import head, note, wait_durable

import orchkit as ok
from orchkit.errors import StoreBusy, StoreUnreadable, StoreWriteError
from orchkit.store.duck import DuckStore
from orchkit.store.schema import SCHEMA_VERSION
from tests.support.nobody import STOP_BEING_ROOT, own


def refused(path, kind, match):
    with pytest.raises(kind, match=match) as caught:
        DuckStore(path)
    assert ";" in str(caught.value), "it says no way out"
    assert "\n" not in str(caught.value)
    return caught.value


def foreign(path, *statements):
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_directory(tmp_path):
    refused(tmp_path, StoreUnreadable, "is a directory")


def test_a_missing_folder(tmp_path):
    refused(tmp_path / "nowhere" / "lab.duckdb", StoreUnreadable, "nowhere does not exist; make the directory")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"x" * 100_000], ids=["empty", "short", "long"])
def test_a_file_of_something_else(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    refused(path, StoreUnreadable, "is no DuckDB file, and is left as it is")
    assert path.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["notes.txt"]


def test_a_duckdb_file_that_is_no_store_is_left_as_it_is(tmp_path):
    path = tmp_path / "sales.duckdb"
    foreign(path, "create table event(a integer)", "insert into event values (1)")
    before = path.read_bytes()
    refused(path, StoreUnreadable, "no orchkit store; use another path")
    assert path.read_bytes() == before


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    # A kill while DuckDB makes a file leaves what is refused from then on: empty, or without its headers.
    path, made, connect = tmp_path / "lab.duckdb", [], duckdb.connect

    def connecting(at, **options):
        made.append(Path(at).name)
        assert (Path(at) == path) == path.exists()
        return connect(at, **options)

    monkeypatch.setattr(duckdb, "connect", connecting)
    (tmp_path / "lab.duckdb.new").write_bytes(b"half of one")
    DuckStore(path).close()
    DuckStore(path).close()
    assert made == ["lab.duckdb.new", "lab.duckdb", "lab.duckdb"]
    assert sorted(os.listdir(tmp_path)) == ["lab.duckdb", "lab.duckdb.marks"]


def test_an_empty_duckdb_file_becomes_a_store(tmp_path):
    path = tmp_path / "lab.duckdb"
    foreign(path)
    store = DuckStore(path)
    store.admit(head()).append(note(1))
    assert store.heads() == [head()]
    store.close()


@pytest.mark.parametrize(
    ("version", "match"),
    [
        (str(SCHEMA_VERSION + 1), "schema version 3, this orchkit knows 2; upgrade orchkit"),
        ("0", "schema version 0, .* use the orchkit that wrote it"),
        ("one", "schema version one"),
        (None, "schema version None"),
    ],
)
def test_another_schema_version(tmp_path, version, match):
    path = tmp_path / "lab.duckdb"
    store = DuckStore(path)
    store.admit(head()).append(note(1))
    store.close()
    foreign(
        path,
        "delete from meta",
        *([] if version is None else [f"insert into meta values ('schema_version', '{version}')"]),
    )
    refused(path, StoreUnreadable, match)
    foreign(path, "delete from meta", f"insert into meta values ('schema_version', '{SCHEMA_VERSION}')")
    store = DuckStore(path)
    assert store.events("r1") == [note(1)]
    store.close()


HOLD = """
import duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("create table mine(a integer)")
print("open", flush=True)
sys.stdin.read()
"""


def test_another_process_holds_it_by_duckdb_itself(tmp_path):
    path = tmp_path / "lab.duckdb"
    here = Path(__file__)
    prelude = f"import sys; sys.path[:0] = {[str(here.parents[3]), str(here.parent)]!r}\n"
    holder = subprocess.Popen(
        [sys.executable, "-c", prelude + HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "open\n"
        busy = refused(path, StoreBusy, f"held by process {holder.pid} .*close it there")
        assert busy.pid == holder.pid
        with pytest.raises(StoreBusy):
            ok.open(path)
        holder.stdin.close()


def test_duckdb_in_this_process_holds_it(tmp_path):
    path = tmp_path / "lab.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table t(a integer)")
        busy = refused(path, StoreBusy, "by duckdb.connect; close that")
        assert busy.pid == os.getpid()


@pytest.mark.parametrize("share", [0.001, 0.3, 0.6, 0.95])
def test_a_file_that_was_cut(tmp_path, share):
    path = tmp_path / "lab.duckdb"
    store = DuckStore(path)
    journal = store.admit(head())
    for n in range(3000):
        journal.append(note(n, body=os.urandom(100).hex()))
    store.close()
    os.truncate(path, int(path.stat().st_size * share))
    before = path.read_bytes()
    refused(path, StoreUnreadable, "restore it from a copy")
    assert path.read_bytes() == before


def test_a_block_that_was_damaged_is_found_when_it_is_read(tmp_path):
    path = tmp_path / "lab.duckdb"
    store = DuckStore(path)
    journal = store.admit(head())
    for n in range(3000):
        journal.append(note(n, body=os.urandom(300).hex()))
    store.close()
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 3)
        file.write(os.urandom(path.stat().st_size // 3))
    with pytest.raises(StoreUnreadable, match=r"cannot be read: .*; restore it from a copy"):
        DuckStore(path).events("r1")


def test_no_room_for_a_new_file(script, tmp_path):
    ran = script(
        "import resource\nfrom orchkit.errors import StoreError\nfrom orchkit.store.duck import DuckStore\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "try:\n    DuckStore('lab.duckdb')\nexcept StoreError as error:\n    print(type(error).__name__, error)"
    )
    assert ran.stderr == ""
    assert ran.stdout.startswith("StoreWriteError")
    assert "the disk has room" in ran.stdout
    DuckStore(tmp_path / "lab.duckdb").close()


UNPRIVILEGED = f"""
import duckdb, pandas
from orchkit.errors import StoreError
from orchkit.store import duck
{STOP_BEING_ROOT}
try:
    duck.DuckStore(sys.argv[1])
    print("opened")
except StoreError as error:
    print(type(error).__name__, error)
"""


def test_a_read_only_file(script, public):
    path = public / "lab.duckdb"
    DuckStore(path).close()
    own(public, path)
    path.chmod(0o444)
    ran = script(UNPRIVILEGED, path)
    assert "Unreadable" in ran.stdout, ran
    assert "ermission denied" in ran.stdout
    path.chmod(0o644)
    assert script(UNPRIVILEGED, path).stdout == "opened\n"


def test_a_file_in_a_read_only_folder_fails_at_opening_and_not_at_the_first_event(script, public):
    path = public / "lab.duckdb"
    DuckStore(path).close()
    own(public, path)
    public.chmod(0o555)
    ran = script(UNPRIVILEGED, path)
    assert ran.stdout.startswith("StoreWriteError"), ran
    assert f"see that the disk has room and that {public} lets you make files" in ran.stdout


def test_a_new_file_in_a_read_only_folder(script, public):
    own(public)
    public.chmod(0o555)
    ran = script(UNPRIVILEGED, public / "lab.duckdb")
    assert ran.stdout.startswith("Store"), ran
    assert "ermission denied" in ran.stdout


def test_a_refused_file_is_let_go(tmp_path, script):
    path = tmp_path / "sales.duckdb"
    foreign(path, "create table t(a integer)")
    for _ in range(3):
        refused(path, StoreUnreadable, "no orchkit store")
    ran = script("import duckdb\nprint(duckdb.connect('sales.duckdb').execute('select count(*) from t').fetchall())")
    assert ran.stdout == "[(0,)]\n"


def test_opening_is_recorded_and_proves_that_it_can_write(tmp_path):
    for epoch in (1, 2, 3):
        store = DuckStore(tmp_path / "lab.duckdb")
        rows = store.fetch("select epoch, pid, duckdb from opening order by epoch")
        assert rows == [(n, os.getpid(), f"v{duckdb.__version__}") for n in range(1, epoch + 1)]
        store.close()


def test_a_path_is_opened_once_and_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.duckdb").symlink_to("lab.duckdb")
    (tmp_path / "folder").symlink_to(".")
    store = ok.open("lab.duckdb")
    try:
        for name in ("lab.duckdb", tmp_path / "lab.duckdb", "link.duckdb", "folder/link.duckdb", "./x/../lab.duckdb"):
            assert ok.open(name) is store
    finally:
        store.close()
    again = ok.open("link.duckdb")
    assert again is not store
    again.close()


def test_a_store_that_failed_is_opened_anew(tmp_path):
    path = tmp_path / "lab.duckdb"
    store = ok.open(path)
    journal = store._kept.admit(head())
    journal.append(note(1))
    journal.release()
    store.close()
    shutil.copy(path, tmp_path / "copy.duckdb")
    store = ok.open(path)
    _, _, journal = store._kept.take("r1")
    path.unlink()
    journal.append(note(2))
    with pytest.raises(StoreWriteError, match="was deleted"):
        wait_durable(journal)
    (tmp_path / "copy.duckdb").rename(path)
    (tmp_path / "lab.duckdb.wal").unlink(missing_ok=True)
    again = ok.open(path)
    assert again is not store
    assert again._kept.events("r1") == [note(1)]
    again.close()
    store.close()


@pytest.mark.parametrize("name", ["nul\0.duckdb", "bad\udcff.duckdb", "loop"])
def test_a_path_that_no_store_can_have(tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ok.DefinitionError, match="no file can have that path"):
        ok.open(tmp_path / name)

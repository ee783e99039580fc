"""Names: a store goes by the name of its file, so the name must fit, and be the only one."""

import os
import shutil
import signal
import socket

import pytest
from broken import EVENTS, RUNS, parts_of, write_and_die
from conformance import head, note, wait_durable

import orchkit as ok
from orchkit.errors import StoreBusy, StoreUnreadable
from orchkit.store import names
from orchkit.store.duck import DuckStore
from orchkit.store.exports import rescue
from orchkit.store.names import refuse_linked

ENDING = ".mending-header.wal.checkpoint"


def refused(path, match, *, read_only=False):
    with pytest.raises(StoreUnreadable, match=match) as caught:
        DuckStore(path, read_only=read_only)
    assert ";" in str(caught.value), "it says no way out"
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, (OSError, ValueError, RuntimeError))


def written(path, runs=1):
    store = DuckStore(path)
    for k in range(runs):
        store.admit(head(f"r{k}")).append(note(1))
    store.close()


# What it is called


@pytest.mark.parametrize("letter", ["x", "é"], ids=["ascii", "wide"])
def test_a_name_that_leaves_no_room_is_refused_before_anything_is_made(tmp_path, letter):
    most = os.pathconf(tmp_path, "PC_NAME_MAX") - len(ENDING)
    name = letter * (most // len(letter.encode()))
    written(tmp_path / name)
    before = sorted(os.listdir(tmp_path))
    for longer in (name + letter, letter * (255 // len(letter.encode())), letter * 300):
        for read_only in (False, True):
            refused(
                tmp_path / longer, f"a name of {len(longer.encode())} bytes.* may have {most} here", read_only=read_only
            )
    assert sorted(os.listdir(tmp_path)) == before


def test_a_store_of_the_longest_name_can_be_mended_and_compacted(tmp_path):
    path = tmp_path / ("x" * (os.pathconf(tmp_path, "PC_NAME_MAX") - len(ENDING)))
    write_and_die(path)
    log = path.with_name(f"{path.name}.wal")
    whole = bytearray(log.read_bytes())
    whole[len(whole) // 2 :] = os.urandom(len(whole) - len(whole) // 2)
    log.write_bytes(whole)
    store = DuckStore(path)
    assert store.damage is not None
    store.confirm()
    store.compact()
    store.snapshot(path.with_name("copy.duckdb"))
    assert len(store.heads()) == len(RUNS)
    store.close()


@pytest.mark.parametrize("place", ["folder", "file"])
@pytest.mark.parametrize("sign", ["\\", "?"])
def test_a_sign_that_duckdb_reads_in_another_way(tmp_path, sign, place):
    path = tmp_path / (f"a{sign}b/lab.duckdb" if place == "folder" else f"a{sign}b")
    path.parent.mkdir(exist_ok=True)
    (tmp_path / "a").mkdir()
    written(tmp_path / "a" / "b")  # what DuckDB would open for a backslash
    before = sorted(os.listdir(tmp_path)), sorted(os.listdir(path.parent))
    for open_it in (DuckStore, ok.open):
        with pytest.raises(StoreUnreadable, match=r"has '.*' in it, .*; use a path without it"):
            open_it(path)
    assert (sorted(os.listdir(tmp_path)), sorted(os.listdir(path.parent))) == before


@pytest.mark.parametrize("name", ["a*b", "[ab].duckdb", "a%20b", "a\nb", "a:b", "md:x", "#", " ", "-", "~x", "x.csv"])
def test_other_names_are_names(tmp_path, name):
    path = tmp_path / name
    write_and_die(path)
    assert parts_of(path).wal
    store = DuckStore(path)
    assert [len(store.events(run)) for run in RUNS] == [EVENTS] * len(RUNS)
    store.close()
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"{name}.marks"])


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("", "it is empty"),
        ("nul\0.duckdb", "null byte"),
        ("bad\udcff.duckdb", "no file can have"),
        ("loop", "oop|cannot be"),
    ],
)
def test_what_can_be_no_path(tmp_path, monkeypatch, path, match):
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    for read_only in (False, True):
        refused(path, match, read_only=read_only)
        with pytest.raises((ok.DefinitionError, StoreUnreadable)):
            ok.open(path, read_only=read_only)
    assert os.listdir() == ["loop"]


@pytest.mark.parametrize("kind", ["folder", "root", "device", "pipe", "socket"])
def test_what_is_no_file(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = {"root": "/", "device": "/dev/null"}.get(kind, kind)
    with socket.socket(socket.AF_UNIX) as listener:
        {"folder": os.mkdir, "pipe": os.mkfifo, "socket": listener.bind}.get(kind, str)(path)
        before = os.listdir()
        for read_only in (False, True):
            refused(path, "is a directory" if kind in ("folder", "root") else "is no file", read_only=read_only)
    assert os.listdir() == before
    assert not os.path.exists("/dev/null.owner")


def test_below_a_file_is_no_folder(tmp_path):
    written(tmp_path / "lab.duckdb")
    refused(tmp_path / "lab.duckdb" / "lab.duckdb", "lab.duckdb is no directory; use another path")


# Links that point to it


def test_two_links_to_one_file_are_one_store(tmp_path):
    (tmp_path / "far").mkdir()
    real = tmp_path / "far" / "lab.duckdb"
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(real)
    store = DuckStore(tmp_path / "one")  # which points to nothing yet
    try:
        journal = store.admit(head())
        journal.append(note(1))
        wait_durable(journal)
        assert sorted(os.listdir(tmp_path)) == ["far", "one", "two"]
        assert {"lab.duckdb", "lab.duckdb.marks", "lab.duckdb.owner", "lab.duckdb.wal"} <= set(os.listdir(real.parent))
        with pytest.raises(StoreBusy, match="open in this process already"):
            DuckStore(tmp_path / "two")
    finally:
        store.close()
    store = DuckStore(tmp_path / "two")
    assert store.events("r1") == [note(1)]
    store.close()
    assert sorted(os.listdir(real.parent)) == ["lab.duckdb", "lab.duckdb.marks"]


def test_a_link_into_nowhere(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "lab.duckdb")
    refused(tmp_path / "link", "nowhere does not exist; make the directory")


# Hard links


@pytest.mark.parametrize("read_only", [False, True], ids=["write", "read"])
def test_a_file_of_two_names_is_refused_by_both(tmp_path, read_only):
    path, other = tmp_path / "lab.duckdb", tmp_path / "other" / "copy.duckdb"
    other.parent.mkdir()
    write_and_die(path)
    path.with_name("lab.duckdb.owner").unlink()
    os.link(path, other)
    before, there = parts_of(path), sorted(os.listdir(tmp_path))
    for name in (path, other):
        refused(name, r"has 2 names \(hard links\).*cp .*delete the other name.*cp -al", read_only=read_only)
        with pytest.raises(StoreUnreadable, match="has 2 names"):
            ok.open(name, read_only=read_only)
    assert (parts_of(path), sorted(os.listdir(tmp_path))) == (before, there)
    assert os.listdir(other.parent) == ["copy.duckdb"]


OPEN = """
from orchkit.errors import StoreError
from orchkit.store.duck import DuckStore
try:
    DuckStore(sys.argv[1])
except StoreError as error:
    print(type(error).__name__, error)
"""


def test_a_name_that_is_made_while_it_is_open_is_refused_to_others(tmp_path, script):
    path, other = tmp_path / "lab.duckdb", tmp_path / "other.duckdb"
    store = DuckStore(path)
    try:
        os.link(path, other)
        with pytest.raises(StoreBusy, match="open in this process already"):
            DuckStore(other)
        ran = script(OPEN, other)
        assert ran.stdout.startswith("StoreUnreadable"), ran
        assert "has 2 names" in ran.stdout
        store.admit(head()).append(note(1))
        assert store.events("r1") == [note(1)]
    finally:
        store.close()
    refused(path, "has 2 names")
    other.unlink()
    store = DuckStore(path)
    assert store.events("r1") == [note(1)]
    store.close()


@pytest.mark.parametrize("way", ["copy", "delete"])
def test_the_ways_out_that_are_told_are_ways_out(tmp_path, way):
    path = tmp_path / "lab.duckdb"
    write_and_die(path)
    os.link(path, tmp_path / "other.duckdb")
    if way == "delete":
        (tmp_path / "other.duckdb").unlink()
    else:
        shutil.copy(path, tmp_path / "lab.duckdb.own")
        os.rename(tmp_path / "lab.duckdb.own", path)
    store = DuckStore(path)
    assert [len(store.events(run)) for run in RUNS] == [EVENTS] * len(RUNS)
    assert store.notices == ()
    store.close()


def test_what_cannot_be_opened_for_its_names_can_be_rescued(tmp_path):
    path = tmp_path / "lab.duckdb"
    written(path)
    os.link(path, tmp_path / "other.duckdb")
    assert "event" in [one.name for one in rescue(path, tmp_path / "out", overwrite=False)]


def test_a_name_that_we_gave_it_and_were_killed_does_no_harm(tmp_path):
    path = tmp_path / "lab.duckdb"
    written(path)
    (tmp_path / "lab.duckdb.rescue-1a").mkdir()
    for other in ("lab.duckdb.mending", "lab.duckdb.part", "lab.duckdb.rescue-1a/store.duckdb"):
        os.link(path, tmp_path / other)
    for read_only in (True, False):
        store = DuckStore(path, read_only=read_only)
        assert store.events("r0") == [note(1)]
        store.close()
    for other in ("lab.duckdb.mending", "lab.duckdb.part"):
        refused(tmp_path / other, "has 4 names")
    os.link(path, tmp_path / "lab.duckdb.mine")
    refused(path, "has 5 names")


def test_the_name_that_an_old_file_is_kept_by_is_its_only_other_one(tmp_path):
    path = tmp_path / "lab.duckdb"
    written(path)
    os.link(path, tmp_path / "lab.duckdb.v1")
    refuse_linked(path, old=True)  # as a killed migration leaves it; but this one is of the schema of today
    for read_only in (False, True):
        refused(path, "has 2 names", read_only=read_only)
        refused(tmp_path / "lab.duckdb.v1", "has 2 names", read_only=read_only)


KILLED_SNAPSHOT = """
import os, pathlib, signal
from orchkit.store import copies
from orchkit.store.duck import DuckStore
copies.sync_folder = lambda _: os.kill(os.getpid(), signal.SIGKILL)
DuckStore("lab.duckdb").snapshot(pathlib.Path("copy.duckdb").absolute())
"""


def test_a_snapshot_whose_maker_was_killed_opens(tmp_path, script):
    written(tmp_path / "lab.duckdb")
    assert script(KILLED_SNAPSHOT).returncode == -signal.SIGKILL
    assert os.path.samefile(tmp_path / "copy.duckdb", tmp_path / "copy.duckdb.part")
    store = DuckStore(tmp_path / "copy.duckdb")
    assert store.events("r0") == [note(1)]
    store.close()


def test_nobody_looks_round_the_folder_of_a_file_of_one_name(tmp_path, monkeypatch):
    path = tmp_path / "lab.duckdb"
    written(path)
    monkeypatch.setattr(names, "_own_names", lambda *_: pytest.fail("it looked"))
    written(path, 0)

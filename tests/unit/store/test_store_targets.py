"""Targets: where no copy and no export can go is said before anything is written, and the store stays as it is."""

import os

import pytest
from conformance import ended
from second import Second

import orchkit as ok
from orchkit.errors import DefinitionError, OrchkitError, StoreError
from orchkit.store.duck import DuckStore
from tests.support.nobody import STOP_BEING_ROOT, own

IMPOSSIBLE = ["", "a\0b", "x" * 300, "\udcff", None, 7, b"copy.duckdb"]


@pytest.fixture
def lab(path):
    with ok.open(path) as store:
        ended(store._kept, "r")
        yield store


def names(folder):
    return sorted(one for one in os.listdir(folder) if not one.endswith((".sock", ".owner", ".marks", ".wal")))


def refused(kind, match, act):
    with pytest.raises(kind, match=match) as caught:
        act()
    said = str(caught.value)
    assert ";" in said, "it says no way out"
    assert said.isprintable(), "one line"
    return said


@pytest.mark.parametrize("name", IMPOSSIBLE, ids=lambda name: ascii(name)[:20])
def test_what_is_no_path(lab, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    before = names(tmp_path)
    refused(DefinitionError, r"^snapshot: path=.*give ", lambda: lab.snapshot(name))
    refused(DefinitionError, r"^export: folder=.*give ", lambda: lab.export(name))
    assert names(tmp_path) == before


def test_what_is_there_is_left_as_it_is(lab, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "file").write_bytes(b"mine")
    for name in ("folder", "link", "file"):
        refused(StoreError, f"{name} exists and is left as it is", lambda name=name: lab.snapshot(tmp_path / name))
    refused(StoreError, "file is a file; give a folder", lambda: lab.export(tmp_path / "file"))
    refused(StoreError, "link is no folder; give", lambda: lab.export(tmp_path / "link"))
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_parent_that_is_not_there_or_no_folder(lab, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    refused(StoreError, "no does not exist; make the directory first", lambda: lab.snapshot(tmp_path / "no" / "copy"))
    refused(StoreError, "file is no folder; use another path", lambda: lab.snapshot(tmp_path / "file" / "copy"))
    refused(StoreError, "file is no folder; use another path", lambda: lab.export(tmp_path / "file" / "deep" / "out"))
    assert len(lab.export(tmp_path / "new" / "deep" / "out")) > 0


@pytest.mark.parametrize("end", ["", ".wal", ".marks", ".owner", ".sock", ".compacting", ".migrating", ".new.wal"])
def test_the_store_itself_and_what_lies_beside_it(lab, path, end):
    own_file = path.with_name(path.name + end)
    what = r"is the store itself|belongs to the store|exists and is left"
    refused(StoreError, what, lambda: lab.snapshot(own_file))
    refused(StoreError, what + r"|is a file|is no folder", lambda: lab.export(own_file, overwrite=True))
    refused(StoreError, what + r"|is no folder", lambda: lab.export(own_file / "out"))
    lab.snapshot(path.with_name(path.name + ".bak"))
    assert lab.events("r").kind.tolist() == ["started", "run_ended"]


def test_by_another_name(lab, path, tmp_path):
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    refused(StoreError, "belongs to the store", lambda: lab.snapshot(tmp_path / "elsewhere" / "lab.duckdb.compacting"))


def test_what_a_copy_is_called_until_it_is_whole(tmp_path):
    with ok.open(tmp_path / "copy.duckdb.part") as store:
        ended(store._kept, "r")
        refused(StoreError, "copy.duckdb.part.* is the store itself", lambda: store.snapshot(tmp_path / "copy.duckdb"))
        assert len(store.events("r")) == 2
        long = "x" * 250
        refused(StoreError, "has a name of 250 bytes.*use a shorter one", lambda: store.snapshot(tmp_path / long))


@pytest.mark.parametrize("name", ["event.parquet", "event.parquet.part", "README.txt"])
def test_an_export_beside_a_store_that_is_called_like_one_of_its_files(tmp_path, name):
    with ok.open(tmp_path / name) as store:
        ended(store._kept, "r")
        refused(StoreError, "is the store itself", lambda: store.export(tmp_path, overwrite=True))
        assert len(store.events("r")) == 2
        assert names(tmp_path) == [name], "nothing was written"


def test_the_owner_looks_for_itself(store, tmp_path):
    ended(store, "r")
    for target in (store.path.with_name("lab.duckdb.wal"), tmp_path / "no" / "copy"):
        with pytest.raises(StoreError):
            store.snapshot(target)
    with pytest.raises(StoreError, match="belongs to the store"):
        store.export(store.path.with_name("lab.duckdb.compacting"), overwrite=True)


UNPRIVILEGED = f"""
import orchkit as ok
from orchkit.errors import StoreError
with ok.open("other.duckdb") as store:  # so that all is imported
    store.snapshot("copy.duckdb")
    store.export("out")
{STOP_BEING_ROOT}
with ok.open(sys.argv[1]) as store:
    for act in (store.snapshot, store.export):
        for target in sys.argv[2:]:
            try:
                act(target)
                print("done")
            except StoreError as error:
                print(type(error).__name__, error)
"""


def test_folders_that_may_not_be_written(script, public):
    path, locked, hidden = public / "lab.duckdb", public / "locked", public / "hidden"
    for folder in (locked, hidden):
        folder.mkdir()
    (hidden / "inner").mkdir()
    locked.chmod(0o555)
    hidden.chmod(0)
    own(public)
    ran = script(UNPRIVILEGED, path, locked / "copy", hidden / "inner" / "copy")
    hidden.chmod(0o755)
    lines = ran.stdout.splitlines()
    assert len(lines) == 4, ran
    assert lines[0] == lines[2] == f"StoreError {locked} may not be written to; see who may, or use another path"
    assert f"StoreError {hidden}" in lines[1]
    assert lines[3] == f"StoreError {hidden} may not be written to; see who may, or use another path"


def test_errors_of_targets_are_ours_through_the_owner(path, tmp_path):
    with Second(path):
        store = DuckStore(path)
        for act in (store.snapshot, lambda target: store.export(target, overwrite=True)):
            with pytest.raises(OrchkitError, match="belongs to the store"):
                act(path.with_name("lab.duckdb.compacting"))
        store.close()

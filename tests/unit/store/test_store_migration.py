"""Migration: a file of an older schema is moved to the one of today; killed anywhere, one good file is in place."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import orchkit as ok
from orchkit.errors import StoreDamaged, StoreNotice, StoreUnreadable
from orchkit.model.events import Event
from orchkit.store.duck import DuckStore
from orchkit.store.schema import SCHEMA_VERSION

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "v1"
LINES = {file.name: file.read_text().splitlines() for file in sorted(GOLDEN.glob("*.jsonl"))}

WRITE = """
import json, os, signal, sys
import duckdb
path, golden, pending = sys.argv[1], sys.argv[2], sys.argv[3] == "pending"
connection = duckdb.connect(path)
for statement in open(golden + "/schema.sql").read().split(";\\n"):
    if statement.strip():
        connection.execute(statement)
connection.execute("insert into meta values ('schema_version', '1')")
connection.execute("insert into opening values (1, 4242, '2026-11-01', 'v2.0.0')")
connection.execute("checkpoint")
for name in sorted(os.listdir(golden)):
    if not name.endswith(".jsonl"):
        continue
    for number, line in enumerate(open(f"{golden}/{name}")):
        cells = json.loads(line)
        names = ", ".join(f'"{key}"' for key in cells)
        table = "event" if number else "admission"
        connection.execute(f"insert into {table}({names}) values ({', '.join('?' * len(cells))})", list(cells.values()))
if pending:
    os.kill(os.getpid(), signal.SIGKILL)
connection.close()
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Files of version 1, as their bytes: one whole, one whose rows are in its log."""
    folder = tmp_path_factory.mktemp("v1")
    files = {}
    for kind in ("whole", "pending"):
        path = folder / f"{kind}.duckdb"
        subprocess.run([sys.executable, "-c", WRITE, str(path), str(GOLDEN), kind], check=False)
        wal = path.with_name(path.name + ".wal")
        files[kind] = path.read_bytes(), wal.read_bytes() if wal.exists() else None
    assert files["whole"][1] is None
    assert files["pending"][1]
    return files


def put(folder, main, wal, name="lab.duckdb"):
    path = folder / name
    path.write_bytes(main)
    if wal is not None:
        path.with_name(f"{name}.wal").write_bytes(wal)
    return path


def check(store):
    heads = store.heads()
    assert [head.run_id for head in heads] == [name.split("-")[2].removesuffix(".jsonl") for name in LINES]
    for head, lines in zip(heads, LINES.values(), strict=True):
        events = store.events(head.run_id)
        assert len(events) == len(lines) - 1
        for event, line in zip(events, lines[1:], strict=True):
            cells = json.loads(line)
            assert (event.kind, event.t, event.attempt) == (cells["kind"], round(cells["t"] * 1e6), cells["attempt"])
            assert event.body == (json.loads(cells["body"]) if "body" in cells else None)
        places = store.fetch("select n from event where run = ? order by seq", [head.run_id])
        assert [n for (n,) in places] == list(range(1, len(events) + 1))
    meta = dict(store.fetch("select key, value from meta"))
    assert meta["schema_version"] == str(SCHEMA_VERSION)
    assert len(meta["store_id"]) == 16
    assert "created_with" in meta


@pytest.mark.parametrize("kind", ["whole", "pending"])
def test_an_old_file_is_moved_and_kept(recorded, tmp_path, kind):
    path = put(tmp_path, *recorded[kind])
    store = DuckStore(path)
    try:
        (notice,) = store.notices
        assert type(notice) is StoreNotice
        assert f"moved to schema version {SCHEMA_VERSION}; lab.duckdb.v1 is the file as it was" in str(notice)
        check(store)
        assert store.damage is None
        openings = store.fetch("select epoch, pid, missing from opening order by epoch")
        assert openings == [(1, 4242, None), (2, os.getpid(), 0)]
        _, events, journal = store.take(store.heads()[-1].run_id)
        journal.append(Event(events[-1].t, "asked", "later", attempt=1))
        assert len(store.events(store.heads()[-1].run_id)) == len(events) + 1
    finally:
        store.close()
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["lab.duckdb", "lab.duckdb.marks", "lab.duckdb.v1", *(n for n in os.listdir(tmp_path) if n.endswith(".owner"))]
    )
    with duckdb.connect(str(tmp_path / "lab.duckdb.v1"), read_only=True) as old:
        assert old.execute("select value from meta where key = 'schema_version'").fetchall() == [("1",)]
        assert old.execute("select count(*) from event").fetchall() == [(sum(map(len, LINES.values())) - len(LINES),)]
    again = DuckStore(path)
    assert again.notices == ()
    again.close()


@pytest.mark.parametrize("name", ["old.duckdb", 'it\'s "one" {of} 2.duckdb', "main", "lab", "héros 🚀.db"])
def test_whatever_it_is_called(recorded, tmp_path, name):
    store = DuckStore(put(tmp_path, *recorded["pending"], name))
    check(store)
    store.close()


def test_the_hall_says_so_once(recorded, tmp_path):
    path = put(tmp_path, *recorded["whole"])
    with pytest.warns(StoreNotice, match="was written by an older orchkit") as caught:
        store = ok.open(path)
    assert not [one for one in caught if issubclass(one.category, StoreDamaged)]
    assert len(store.runs()) == len(LINES)
    store.close()
    ok.open(path).close()


def test_reading_only_does_not_move_it(recorded, tmp_path):
    path = put(tmp_path, *recorded["pending"])
    with pytest.raises(StoreUnreadable, match="schema version 1, and this orchkit reads 2; open it once to write"):
        DuckStore(path, read_only=True)
    assert (path.read_bytes(), path.with_name("lab.duckdb.wal").read_bytes()) == recorded["pending"]


def test_an_old_file_is_kept_beside_one_that_was_kept_before(recorded, tmp_path):
    path = put(tmp_path, *recorded["whole"])
    path.with_name("lab.duckdb.v1").write_text("something else")
    store = DuckStore(path)
    assert "lab.duckdb.v1-2 is the file as it was" in str(store.notices[0])
    store.close()
    assert path.with_name("lab.duckdb.v1").read_text() == "something else"
    assert path.with_name("lab.duckdb.v1-2").read_bytes() == recorded["whole"][0]


def test_a_damaged_old_log_is_mended_first(recorded, tmp_path):
    main, wal = recorded["pending"]
    at = wal.index(b"payment", len(wal) // 2)
    path = put(tmp_path, main, wal[:at] + b"P" + wal[at + 1 :])
    store = DuckStore(path)
    try:
        assert "no marks say which" in store.damage.report
        assert 0 < store.fetch("select count(*) from event")[0][0] < sum(map(len, LINES.values())) - len(LINES)
        store.confirm()
        assert store.damage is None
    finally:
        store.close()


def test_a_damaged_old_file_is_left_as_it_is(recorded, tmp_path):
    main, _ = recorded["whole"]
    refused = []
    for at in range(12_300, len(main), 131_072):
        folder = tmp_path / str(at)
        folder.mkdir()
        path = put(folder, main[:at] + bytes([main[at] ^ 0xFF]) + main[at + 1 :], None)
        before = path.read_bytes()
        try:
            store = DuckStore(path)
        except StoreUnreadable as error:
            refused.append((path, before, str(error)))
            continue
        check(store)  # nothing lies in that block
        store.close()
    assert refused
    for path, before, said in refused:
        assert "restore it from a copy" in said
        assert path.read_bytes() == before
        assert not [name for name in os.listdir(path.parent) if "migrating" in name or ".v1" in name]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from orchkit.store import migrate
from orchkit.store.duck import DuckStore
left = int(sys.argv[3])

def strike(event, arguments):
    global left
    if event in ("os.link", "os.rename", "os.remove", "open") and "lab.duckdb" in str(arguments[0]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

def executing(frame, kind, function):
    global left
    name = getattr(function, "__name__", "")
    if kind == "c_call" and name in ("execute", "close") and "migrate" in frame.f_code.co_filename:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(strike)
sys.setprofile(executing)
DuckStore(sys.argv[2]).close()
print("done")
"""


@pytest.mark.parametrize("kind", ["whole", "pending"])
def test_killed_at_any_moment_it_is_moved_the_next_time(recorded, tmp_path, kind):
    kills = 0
    for left in range(200):
        folder = tmp_path / str(left)
        folder.mkdir()
        path = put(folder, *recorded[kind])
        ran = subprocess.run(
            [sys.executable, "-c", KILLED, str(ROOT), str(path), str(left)], capture_output=True, text=True, check=False
        )
        if ran.returncode == 0:
            assert ran.stdout == "done\n"
            break
        assert ran.returncode == -signal.SIGKILL, ran.stderr
        kills += 1
        store = DuckStore(path)
        check(store)
        assert store.damage is None
        store.close()
        assert not [name for name in os.listdir(folder) if "migrating" in name]
        with duckdb.connect(str(folder / "lab.duckdb.v1"), read_only=True) as old:
            assert old.execute("select count(distinct run) from event").fetchall() == [(len(LINES),)]
    assert kills > 10


FULL = """
import resource
from orchkit.errors import StoreError
from orchkit.store.duck import DuckStore
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    DuckStore(sys.argv[1])
    print("opened")
except StoreError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("room", [100, 20_000, 300_000])
def test_a_disk_without_room_for_a_second_file(recorded, tmp_path, script, room):
    main, wal = recorded["whole"]
    path = put(tmp_path, main, wal)
    ran = script(FULL, path, room)
    assert ran.stderr == ""
    assert ran.stdout.startswith("StoreWriteError"), ran.stdout
    assert "the disk has room for a second file" in ran.stdout
    assert path.read_bytes() == main
    assert not [name for name in os.listdir(tmp_path) if "migrating" in name or ".v1" in name]

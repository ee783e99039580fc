"""Marks: what they say is what was acknowledged, or less; and they stay small."""

import random

import pytest
from conformance import head, note, wait_durable
from hypothesis import given
from hypothesis import strategies as st

from orchkit.store import checkpoint
from orchkit.store.duck import DuckStore
from orchkit.store.file import DuckFile
from orchkit.store.journal import DuckJournal
from orchkit.store.marks import Marks, marks_path, read_marks

COMMITS = st.lists(st.dictionaries(st.text(max_size=12), st.integers(1, 2000), max_size=5), max_size=12)


def marked(path, commits, base=100):
    marks = Marks(path, "me")
    marks.begin(base, 90)
    for n, runs in enumerate(commits, 1):
        marks.add(base + n, runs)
    marks.close()
    return marks_path(path)


@given(COMMITS, st.data())
def test_however_marks_are_cut_they_say_a_beginning_of_what_was_written(tmp_path_factory, commits, data):
    path = tmp_path_factory.mktemp("marks") / "lab.duckdb"
    file = marked(path, commits)
    whole = read_marks(path, "me")
    assert whole.commits == tuple((100 + n, runs) for n, runs in enumerate(commits, 1))
    assert (whole.base, whole.events, whole.last, whole.lost) == (100, 90, 100 + len(commits), False)
    written = file.read_bytes()
    assert whole.end == len(written)
    file.write_bytes(written[: data.draw(st.integers(0, len(written)))])
    cut = read_marks(path, "me")
    assert cut is None or cut.commits == whole.commits[: len(cut.commits)]


@given(COMMITS, st.data())
def test_a_flip_makes_them_say_less_and_nothing_else(tmp_path_factory, commits, data):
    path = tmp_path_factory.mktemp("marks") / "lab.duckdb"
    file = marked(path, commits)
    whole, written = read_marks(path, "me"), bytearray(file.read_bytes())
    written[data.draw(st.integers(0, len(written) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(written)
    read = read_marks(path, "me")
    assert read is None or (read.base == 100 and read.commits == whole.commits[: len(read.commits)])


def test_marks_of_another_store_or_of_nobody_say_nothing(tmp_path):
    path = tmp_path / "lab.duckdb"
    assert read_marks(path, "me") is None
    marked(path, [{"r1": 1}])
    assert read_marks(path, "you") is None
    for content in (b"", b"\x00" * 100, b"text, and no marks at all"):
        marks_path(path).write_bytes(content)
        assert read_marks(path, "me") is None


def test_going_on_writes_over_a_torn_record(tmp_path):
    path = tmp_path / "lab.duckdb"
    file = marked(path, [{"r1": 1}, {"r2": 2}])
    file.write_bytes(file.read_bytes()[:-3])
    known = read_marks(path, "me")
    marks = Marks(path, "me")
    marks.go_on(known)
    marks.add(105, {"r3": 3})
    marks.close()
    assert read_marks(path, "me").commits == ((101, {"r1": 1}), (105, {"r3": 3}))


def test_they_say_whether_the_log_was_merged_when_they_began(tmp_path):
    path = tmp_path / "lab.duckdb"
    store = DuckStore(path)
    try:
        store_id = store.fetch("select value from meta where key = 'store_id'")[0][0]
        store.admit(head()).append(note(1))
        assert read_marks(path, store_id).merged
        for work, merged in ((store._elected.place.mark_anew, False), (store._elected.place._merge, True)):
            store._writer.call(work)
            known = read_marks(path, store_id)
            assert (known.merged, known.events, known.commits) == (merged, 1, ())
    finally:
        store.close()


FULL = """
import resource
from pathlib import Path
from orchkit.store.marks import Marks, marks_path, read_marks
path = Path("lab.duckdb")
marks = Marks(path, "me")
marks.begin(0, 0)
room = marks_path(path).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (room + 40, resource.RLIM_INFINITY))
for n in range(1, 20):
    marks.add(n, {"r1": 1})
few = len(read_marks(path, "me").commits)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
marks.add(20, {"r1": 1})
print(few < 19, len(read_marks(path, "me").commits))
marks.close()
"""


def test_what_has_no_room_is_written_later(script):
    ran = script(FULL)
    assert (ran.stdout, ran.stderr) == ("True 20\n", "")


def test_marks_are_written_before_anybody_is_told(tmp_path):
    path = tmp_path / "lab.duckdb"
    store = DuckStore(path)
    try:
        store_id = store.fetch("select value from meta where key = 'store_id'")[0][0]
        journal = store.admit(head())
        for n in range(20):
            journal.append(note(n))
            seen = []
            journal.when_durable(lambda _, seen=seen: seen.append(read_marks(path, store_id)))
            wait_durable(journal)
            counted = sum(runs.get("r1", 0) for _, runs in seen[0].commits)
            assert counted >= n + 1
    finally:
        store.close()


@pytest.fixture
def file(tmp_path):
    one = DuckFile(tmp_path / "lab.duckdb")
    yield one
    one.let_go()


class Laid:
    """Takes the place of a writer, and keeps what a journal lays out for it."""

    durable = 0

    def __init__(self):
        self.entries = []

    def push(self, *entries):
        # One after the other, or all in one sequence.
        self.entries += entries if isinstance(entries[0][0], str) else entries[0]
        return 0


def laid_out(run, n, event):
    laid = Laid()
    DuckJournal(laid, head(run), n, released=bool).append(event)
    return laid.entries


def commit(file, run, start, stop):
    for n in range(start, stop):
        file.commit(laid_out(run, n, note(n)))
        file.tend()


def recorded(file):
    return file.fetch("select count(*) from event")[0][0]


def known(file):
    return read_marks(file.path, file.fetch("select value from meta where key = 'store_id'")[0][0])


def wal(file):
    path = file.path.with_name("lab.duckdb.wal")
    return path.stat().st_size if path.exists() else 0


def test_in_a_quiet_moment_a_long_log_is_merged_and_the_marks_begin_anew(file, monkeypatch):
    commit(file, "r1", 0, 10)
    assert file.idle() is None
    assert len(known(file).commits) == 10
    assert wal(file) > 0
    monkeypatch.setattr(checkpoint, "_QUIET_COMMITS", 9)
    file.idle()
    assert wal(file) == 0
    assert known(file).commits == ()
    assert (known(file).base, known(file).events) == (10, 10)
    commit(file, "r1", 10, 12)
    assert [runs for _, runs in known(file).commits] == [{"r1": 1}] * 2


@pytest.mark.parametrize(("name", "most"), [("_MOST_COMMITS", 9), ("_MOST_BYTES", 3000)])
def test_at_the_latest_it_is_merged_after_so_many_commits(file, monkeypatch, name, most):
    monkeypatch.setattr(checkpoint, name, most)
    longest = 0
    for n in range(60):
        commit(file, "r1", n, n + 1)
        longest = max(longest, len(known(file).commits))
    assert 3 < longest < 20
    assert recorded(file) == 60


def test_when_duckdb_merges_the_log_by_itself_the_marks_begin_anew_too(file):
    commit(file, "r1", 0, 3)
    file._writing.execute("checkpoint")
    commit(file, "r1", 3, 4)
    assert len(known(file).commits) <= 1


def test_a_checkpoint_for_which_there_is_no_room_waits(file, monkeypatch):
    monkeypatch.setattr(checkpoint, "_MOST_COMMITS", 5)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: _Usage())
    commit(file, "r1", 0, 20)
    assert len(known(file).commits) == 20
    monkeypatch.undo()
    monkeypatch.setattr(checkpoint, "_QUIET_COMMITS", 5)
    file._checkpoints._put_off = 0
    file.idle()
    assert wal(file) == 0


class _Usage:
    free = 0


def test_a_checkpoint_that_fails_without_harm_does_not_end_the_writer(file, monkeypatch):
    class Refusing:
        def __init__(self, connection):
            self.connection = connection

        def execute(self, sql, *rest):
            if sql == "checkpoint":
                # DuckDB refuses it for real: not inside a transaction that has written.
                self.connection.execute("begin")
                self.connection.execute("insert into meta values ('a', 'b')")
                try:
                    return self.connection.execute("checkpoint")
                finally:
                    self.connection.execute("rollback")
            return self.connection.execute(sql, *rest)

        def close(self):
            self.connection.close()

    monkeypatch.setattr(checkpoint, "_MOST_COMMITS", 5)
    file._writing = Refusing(file._writing)
    commit(file, "r1", 0, 30)
    assert recorded(file) == 30
    assert len(known(file).commits) == 30
    file._writing = file._writing.connection
    file._checkpoints._put_off = 0
    commit(file, "r1", 30, 31)
    assert len(known(file).commits) == 0


def test_every_seq_is_marked_whatever_is_in_a_batch(file):
    dice = random.Random(8)
    expected = []
    for turn in range(30):
        runs = dice.sample(["a", "b", "c", "d"], dice.randint(1, 4))
        batch, counts = [], {}
        for run in runs:
            batch.append(("lease", (run, "me")))
            count = dice.randint(0, 3)
            for k in range(count):
                batch += laid_out(run, 1000 * turn + k, note(k, body="x" * dice.choice([10, 5000 + turn])))
            if count:
                counts[run] = count
        file.commit(batch)
        expected.append((file.fetch("select max(seq) from lease")[0][0], counts))
    found = known(file).commits
    assert [runs for _, runs in found] == [runs for _, runs in expected]
    assert all(seq >= least for (seq, _), (least, _) in zip(found, expected, strict=True))

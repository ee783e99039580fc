"""Leaving: a program ends as it would without a store, whatever its daemon threads do in one just then."""

import subprocess
import sys
import traceback
from pathlib import Path

import duckdb
import pytest
from broken import write_and_die
from conformance import head, note

from orchkit.errors import StoreError
from orchkit.store.duck import DuckStore

HERE = Path(__file__).parent
PRELUDE = f"import sys; sys.path[:0] = {[str(HERE.parents[2]), str(HERE)]!r}\n"

READ = """
import itertools, threading
from orchkit.errors import StoreError
from orchkit.store.duck import DuckStore
store = DuckStore(sys.argv[1])
print(type(store._elected.place).__name__, flush=True)
questions = {
    "rows": lambda: store.fetch("select n from event limit 5"),
    "frame": lambda: store.query("select * from event"),
    "events": lambda: store.events("r1"),
}
begun = threading.Barrier(13)

def read(ask):
    for turn in itertools.count():
        try:
            ask()
        except StoreError:
            return
        if turn == 3:
            begun.wait(20)

for _ in range(12):
    threading.Thread(target=read, args=(questions[sys.argv[2]],), daemon=True).start()
begun.wait(20)
"""

END = {"plainly": "", "by sys.exit": "sys.exit(3)", "by an error": "raise SystemExit('as it was meant') from None"}
CODES = {"plainly": 0, "by sys.exit": 3, "by an error": 1}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    path = tmp_path_factory.mktemp("filled") / "lab.duckdb"
    store = DuckStore(path)
    journal = store.admit(head())
    for n in range(1000):
        journal.append(note(n, body={"n": n}))
    store.close()
    return path


def process(code, *arguments):
    command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("question", ["rows", "frame", "events"])
def test_an_owner_whose_daemon_threads_read(filled, question):
    for _ in range(6):
        with process(READ, filled, question) as child:
            said, errors = child.communicate(timeout=60)
            assert (child.returncode, said) == (0, "DuckFile\n"), errors
            assert errors == ""


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.fetch("select no_such_column from event"),
        lambda store: store.fetch("select error('now') from event"),
        lambda store: store.query("select error('now') from event"),
        lambda store: store.query("select from where"),
        lambda store: store.query("delete from event_row"),
        lambda store: store.arrow("select error('now') from event", None),
    ],
)
def test_an_error_keeps_nothing_of_duckdb(filled, ask):
    store = DuckStore(filled)
    with pytest.raises(StoreError) as caught:
        ask(store)
    error, kept = caught.value, []
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            kept += [value for value in frame.f_locals.values() if type(value).__module__.startswith("_duckdb")]
        error = error.__cause__
    store.close()
    assert [one for one in kept if not isinstance(one, duckdb.Error)] == []


@pytest.mark.parametrize("end", END)
def test_the_exit_code_is_that_of_the_program(filled, end):
    with process(READ + END[end], filled, "rows") as child:
        errors = child.communicate(timeout=60)[1]
        assert child.returncode == CODES[end]
        assert errors == ("as it was meant\n" if end == "by an error" else "")


OWN = """
from orchkit.store.duck import DuckStore
store = DuckStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
"""

PULL = """
import threading
from orchkit.store.duck import DuckStore
from orchkit.store.wire import OwnerGone
owner = DuckStore(sys.argv[1])._elected.place
begun = threading.Barrier(9)

def pull(k):
    questions = (
        lambda: owner.query("select * from event"),
        lambda: owner.events("r1"),
        lambda: owner.fetch("select 1"),
    )
    try:
        questions[k % 3]()
        begun.wait(20)
        while True:
            questions[k % 3]()
    except OwnerGone:
        pass

threads = [threading.Thread(target=pull, args=(k,)) for k in range(8)]
for thread in threads:
    thread.start()
begun.wait(20)
print("ready", flush=True)
for thread in threads:
    thread.join()
"""


def test_an_owner_that_serves_large_reads(filled):
    for _ in range(3):
        with process(OWN, filled) as owner:
            assert owner.stdout.readline() == "ready\n"
            with process(PULL, filled) as client:
                assert client.stdout.readline() == "ready\n"
                errors = owner.communicate("end\n", timeout=60)[1]
                assert (owner.returncode, errors) == (0, "")
                errors = client.communicate(timeout=60)[1]
                assert (client.returncode, errors) == (0, "")


def test_a_client_whose_daemon_threads_read(filled):
    with process(OWN, filled) as owner:
        assert owner.stdout.readline() == "ready\n"
        for _ in range(4):
            with process(READ, filled, "frame") as client:
                said, errors = client.communicate(timeout=60)
                assert (client.returncode, said, errors) == (0, "RemoteFile\n", "")
        owner.communicate("end\n", timeout=60)
        assert owner.returncode == 0


OPEN = """
import threading
import duckdb
from orchkit.errors import StoreError
from orchkit.store import look
from orchkit.store.duck import DuckStore
connect, begun = look.connect, threading.Event()

def connecting(path, **options):
    begun.set()
    return connect(path, **options)

def open_it():
    try:
        DuckStore(sys.argv[1])
    except StoreError as error:
        print(error, flush=True)

look.connect = connecting
threading.Thread(target=open_it, daemon=True).start()
begun.wait(20)
"""


def test_a_daemon_thread_that_opens_a_store_is_waited_for_and_closes_it(tmp_path):
    path = tmp_path / "lab.duckdb"
    write_and_die(path, events=300)  # whose log takes a while to read
    with process(OPEN, path) as child:
        said, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (0, "")
    assert "is not opened, for the program is ending; join the thread" in said
    assert not path.with_name("lab.duckdb.owner").exists()
    store = DuckStore(path)
    assert len(store.events("r0")) == 300
    store.close()


TWICE = """
import atexit
from orchkit.errors import StoreError

@atexit.register
def late():
    from orchkit.store.duck import DuckStore
    store = DuckStore(sys.argv[1])
    print(len(store.events("r1")), flush=True)
    store.close()

from orchkit.store.duck import DuckStore
DuckStore(sys.argv[1])
"""


def test_the_main_thread_may_open_it_once_more_at_the_end(filled):
    with process(TWICE, filled) as child:
        said, errors = child.communicate(timeout=60)
    assert (child.returncode, said, errors) == (0, "1000\n", "")

"""A second process on a store, told on its stdin what to do, a JSON array a line; it answers a line each.

``["admit", run]``, ``["append", run, n]`` (returns when durable), ``["take", run]``, ``["release", run]``,
``["events", run]``, ``["sql", query]``, ``["role"]``, ``["holders"]``, ``["close"]``, ``["open", another path]``.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


class Second:
    """The other process, as a test holds it."""

    def __init__(self, path):
        code = f"import sys; sys.path[:0] = {[str(HERE.parents[2]), str(HERE)]!r}\nimport second; second.serve()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid
        assert self._answer() == "open"

    def ask(self, *what):
        self.tell(*what)
        return self._answer()

    def tell(self, *what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def _answer(self):
        line = self.process.stdout.readline()
        assert line, "the second process has ended"
        return json.loads(line)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def serve():
    """Do what is asked, in the second process."""
    from conformance import head, note, wait_durable

    from orchkit.errors import OrchkitError
    from orchkit.store.duck import DuckStore

    store, journals = DuckStore(sys.argv[1]), {}

    def append(run, n):
        journals[run].append(note(n, body={"n": n}))
        wait_durable(journals[run])

    def take(run):
        _, log, journals[run] = store.take(run)
        return len(log)

    def another(path):
        nonlocal store
        store.close()
        store = DuckStore(path)

    acts = {
        "admit": lambda run: journals.update({run: store.admit(head(run))}),
        "append": append,
        "take": take,
        "release": lambda run: journals[run].release(),
        "events": lambda run: [event.t for event in store.events(run)],
        "sql": lambda query: store.query(query).to_numpy().tolist(),
        "role": lambda: type(store._elected.place).__name__,
        "holders": lambda: {run: holder.pid for run, holder in store.holders().items()},
        "close": lambda: store.close(),  # noqa: PLW0108 - whichever is open then
        "open": another,
    }
    print(json.dumps("open"), flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = acts[name](*arguments)
        except OrchkitError as error:
            answer = {"error": type(error).__name__, "said": str(error), **error.__dict__}
        print(json.dumps(answer), flush=True)

"""A process that executes runs which ask people; told what to do on stdin, a JSON array a line; it answers a line each.

``["start", timeout]`` gives the run's id once it asks; ``["resume", run]``; ``["result", run]`` waits for its end;
``["pause", seconds]`` sets how often it looks for letters; ``["die", where]`` lets it kill itself before or after it
says what became of a letter.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from pydantic import BaseModel

import orchkit as ok
from orchkit.runs import postman
from orchkit.store.duck import DuckStore

HERE = Path(__file__).parent
WAIT = 60


class Decision(BaseModel):
    approve: bool
    text: str = ""


def letters(timeout=None):
    """A workflow that asks: draft -> review -> send."""
    wf = ok.Workflow("letters", input=str)

    @wf.step
    def draft(input: str) -> str:
        return f"Dear {input}"

    wf.approval("review", answer=Decision, show="draft", prefill={"text": "draft"}, timeout=timeout)

    @wf.step(effect=True)
    def send(draft: str, review: Decision | None) -> str:
        return "expired" if review is None else f"{review.text or draft}: {review.approve}"

    return wf


class Child:
    """The other process, as a test holds it."""

    def __init__(self, path):
        code = (
            f"import sys; sys.path[:0] = {[str(HERE.parents[1]), str(HERE)]!r}\nimport mail_child; mail_child.serve()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.hear() == "open"

    def ask(self, *what):
        self.tell(*what)
        return self.hear()

    def tell(self, *what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        assert line, "the child has ended"
        return json.loads(line)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        return self.process.wait(WAIT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def serve():
    """Do what is asked, in the child."""
    store, runs = ok.open(sys.argv[1]), {}

    def start(timeout):
        run = letters(timeout).start("Dana", store=store).wait_settled(WAIT)
        runs[run.id] = run
        return run.id

    def resume(run_id, timeout):
        runs[run_id] = store.resume(run_id, letters(timeout))

    def pause(seconds):
        postman._PAUSE = seconds

    def die(where):
        tell = DuckStore.tell

        def strike(store, letter, said):
            if where == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            tell(store, letter, said)
            threading.Thread(target=flushed, args=[store]).start()  # this may be the writer's

        def flushed(store):
            store._writer.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        DuckStore.tell = strike

    acts = {"start": start, "resume": resume, "pause": pause, "die": die, "result": lambda run: runs[run].result(WAIT)}
    print(json.dumps("open"), flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(acts[name](*arguments)), flush=True)

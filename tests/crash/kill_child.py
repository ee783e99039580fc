"""Executes workflows of every kind on a store and says what is acknowledged to it, until it is killed.

Run as a script. It is told what to do on stdin, a JSON array a line (`ACTS`), and says on stdout what happened, a JSON
array a line, each in one write, so that the pipe keeps it whole. What is not on a line by the time of the kill was
promised to nobody.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import orchkit as ok
from orchkit.errors import OrchkitError
from orchkit.store import file as file_module
from orchkit.store.file import DuckFile
from orchkit.store.schema import NUMBERED
from orchkit.store.writer import Writer

LEVELS = ("strict", "group")
HANGS = 200  # seconds after which a process is thought to hang
LONG = 1500  # words of a text that is kept apart from its event
EFFECTS = ("post", "send")
SOURCES = {
    "look": ("plan",),
    "weigh": ("plan", "budget"),
    "post": ("look",),
    "draft": ("look", "weigh"),
    "tally": ("post",),
    "send": ("draft", "tally", "review"),
    "keep": ("draft", "tally"),
}
"""By step: the nodes whose values it gets; of those that did not run nothing is expected."""


class Case(BaseModel):
    """What a run is about; all that it does follows from it."""

    number: int


class Notes(BaseModel):
    """What the steps of a run leave for one another."""

    notes: list[str] = []


def level_of(number: int, level: str) -> str:
    """Give the durability of a case in a store of one level, or of all."""
    return level if level in LEVELS else LEVELS[number % len(LEVELS)]


def answer_to(number: int, name: str) -> Any:
    """Give what the person says."""
    return number if name == "budget" else number % 4 != 1


def say(*what: Any) -> None:
    """Say it in one write."""
    os.write(1, (json.dumps(what) + "\n").encode())


# What is executed


def _began(ctx: ok.Context) -> None:
    say("began", ctx.run_id, ctx.node, ctx.item, ctx.attempt)
    _STRIKES.come("began")


def _receive(ctx: ok.Context) -> None:
    """Be the world outside: keep the key for good, as who receives an effect does."""
    with Path(os.environ["RECEIVER"]).open("a") as file:
        file.write(json.dumps([ctx.idempotency_key, os.getpid()]) + "\n")
        file.flush()
        os.fsync(file.fileno())
    say("received", ctx.idempotency_key)
    _STRIKES.come("received")


wf = ok.Workflow("killed", input=Case)
wf.context(Notes, merge={"notes": ok.append})
wf.approval("budget", answer=int, show="plan")
wf.approval("review", answer=bool, show="draft")


@wf.step
async def plan(input: Case, ctx: ok.Context) -> list[int]:
    _began(ctx)
    return [input.number + k for k in range(2 + input.number % 3)]


@wf.map(over="plan", limit=2)
async def look(item: int, ctx: ok.Context) -> int:
    _began(ctx)
    await ctx.sleep(ctx.random.uniform(0, 0.004))
    ctx.update(notes=[f"looked at {item}"])
    return item * item


@wf.step(retry=ok.Retry(3, wait=ok.backoff(base=0.002, jitter=None)))
def weigh(plan: list[int], budget: int, ctx: ok.Context) -> int:
    _began(ctx)
    if ctx.attempt == 1:
        raise ConnectionError("the first try never gets through")
    return sum(plan) + budget


def canned(look: list[int], ctx: ok.Context) -> str:
    """Stand in for a draft."""
    _began(ctx)
    return f"canned {len(look)}"


@wf.step(fallback=canned)
async def draft(look: list[int], weigh: int, input: Case, ctx: ok.Context) -> str:
    _began(ctx)
    if input.number % 5 == 2:
        raise ValueError("no words")
    return f"{weigh} {look} " + "word " * (LONG if input.number % 3 == 0 else 1)


@wf.map(over="look", effect=True)
async def post(item: int, ctx: ok.Context) -> str:
    _began(ctx)
    _receive(ctx)
    return f"posted {item}"


@wf.step
async def tally(post: list[str], ctx: ok.Context) -> list[str]:
    _began(ctx)
    _STRIKES.come("saw an effect")
    return post


@wf.route(to=["review", "keep"])
def risk(draft: str, input: Case) -> str:
    return "keep" if input.number % 4 == 0 else "review"


@wf.route(to=["send", "keep"])
def verdict(review: bool) -> str:
    return "send" if review else "keep"


@wf.step(effect=True, retry=ok.Retry(2, wait=ok.backoff(base=0.002, jitter=None)))
def send(draft: str, tally: list[str], input: Case, ctx: ok.Context) -> str:
    _began(ctx)
    if ctx.attempt == 1 and input.number % 2:
        raise ConnectionError("the line is busy")
    _receive(ctx)
    return f"sent {draft[:30]} {tally} {ctx.shared.notes}"


@wf.step
async def keep(draft: str, tally: list[str], ctx: ok.Context) -> str:
    _began(ctx)
    return f"kept {draft[:30]} {tally} {ctx.shared.notes}"


# Where it is killed


class Strikes:
    """Kills this process at the n-th of the moments of one kind."""

    def __init__(self) -> None:
        self._kind, self._left = "", 0
        self._lock = threading.Lock()

    def set(self, kind: str, nth: int) -> None:
        """Choose it."""
        self._kind, self._left = kind, nth

    def come(self, kind: str) -> None:
        """Say that such a moment has come."""
        if kind != self._kind:
            return
        with self._lock:
            self._left -= 1
            if self._left:
                return
        if kind in FROM_OUTSIDE:
            say("strike")  # whoever reads it kills while this goes on
        else:
            os.kill(os.getpid(), signal.SIGKILL)


FROM_OUTSIDE = ("opening", "commit", "closing")
_STRIKES = Strikes()


def watch_moments() -> None:
    """Let each commit and each push be a moment at which a kill may come."""
    commit, push, make = DuckFile.commit, Writer.push, DuckFile._make_rows

    def committing(file: DuckFile, batch: Any, **options: Any) -> None:
        _STRIKES.come("before a commit")
        _STRIKES.come("commit")
        commit(file, batch, **options)
        _STRIKES.come("after a commit")

    def pushing(writer: Writer, entries: Any) -> int:
        ticket = push(writer, entries)
        _STRIKES.come("after a push")
        return ticket

    def making(file: DuckFile) -> None:
        _STRIKES.come("before rows")
        make(file)
        _STRIKES.come("after rows")  # and before their commit

    DuckFile.commit, Writer.push, DuckFile._make_rows = committing, pushing, making  # type: ignore[method-assign]
    file_module._MOVED = 60  # as it would be hit in a longer life


# What is told and said


def snapshot(store: ok.Store) -> dict[str, Any]:
    """Tell what is in the log: rows of each run by its id, and how the numbers of all rows lie."""
    columns = 'n, kind, node, item, generation, leg, attempt, status, t, "key", body, ref'
    rows = store._kept.fetch(f"select run, {columns} from event order by seq")
    logs: dict[str, list[Any]] = {}
    for run, *row in rows:
        logs.setdefault(run, []).append(row)
    every = " union all ".join(f"select seq from {table}" for table in NUMBERED)
    numbers = store._kept.fetch(f"select count(*), count(distinct seq), coalesce(max(seq), 0) from ({every})")
    return {"logs": logs, "numbers": numbers[0]}


def number_in(log: list[Any]) -> int:
    """Give the case of a run from its log as `snapshot` tells it."""
    return int(json.loads(log[0][10])["input"]["number"])


def ends(store: ok.Store) -> dict[int, Any]:
    """Give what each case has come to: status, result and receipt."""
    told = {}
    for run_id in store.runs().run:
        run = store.run(run_id)
        told[run.log[0].body["input"]["number"]] = [run.status, run.log[-1].body, run.receipt]
    return told


class Acts:
    """What it can be told to do; a method an act."""

    store: ok.Store

    def __init__(self) -> None:
        self._working: list[threading.Thread] = []
        self._closing = False

    def strike(self, kind: str, nth: int) -> None:
        """Be killed there."""
        _STRIKES.set(kind, nth)

    def open(self, path: str, level: str) -> None:
        """Open a store."""
        self._level = level
        os.environ["RECEIVER"] = f"{path}.received"
        _STRIKES.come("opening")
        self.store = ok.open(path)
        say("open")

    def snapshot(self) -> None:
        """Say what is recorded, before anything is done."""
        say("snapshot", snapshot(self.store))

    def resume(self) -> None:
        """Go on with what nobody executes."""
        resumed = self.store.resume_all()
        going = [run.id for run in resumed if run.status in ("running", "waiting")]
        say("resumed", going, resumed.left)
        for run in resumed:
            self._do(self._attend, run.log[0].body["input"]["number"], run)

    def begin(self, *numbers: int) -> None:
        """Start those of some cases that are not begun."""
        begun = {number_in(log) for log in snapshot(self.store)["logs"].values()}
        for number in sorted(set(numbers) - begun):
            self._do(self._start, number)

    def wait(self) -> None:
        """Wait for the end of all."""
        while self._working:
            self._working.pop().join()
        say("done")

    def close(self) -> None:
        """Close the store."""
        self._closing = True
        _STRIKES.come("closing")
        self.store.close()
        say("closed")

    def crowd(self, threads: int, first: int, runs: int) -> None:
        """Let several threads start, answer and read at once, each some runs of its own."""
        for k in range(threads):
            self._do(self._busy, first + k * runs, runs)

    def _do(self, what: Callable[..., None], *arguments: Any) -> None:
        def work() -> None:
            try:
                what(*arguments)
            except OrchkitError:
                if not self._closing:  # which suspends what is at work
                    raise

        thread = threading.Thread(target=work, daemon=True)
        self._working.append(thread)
        thread.start()

    def _start(self, number: int) -> None:
        run = wf.start(Case(number=number), store=self.store, durability=level_of(number, self._level))
        say("started", number, run.id)
        self._attend(number, run)

    def _attend(self, number: int, run: ok.Run) -> None:
        while True:
            if number % 2:
                run.wait_settled()
            else:  # answers while other steps go on
                while run.status == "running" and not run.pending():
                    threading.Event().wait(0.001)
            names = run.pending()
            if not names:
                break
            for name in names:
                value = answer_to(number, name)
                run.answer(name, value, by="dana")
                say("answered", run.id, name, value)
        say("result", run.id, run.result())

    def _busy(self, first: int, runs: int) -> None:
        dice = random.Random(first)
        for number in range(first, first + runs):
            run = wf.start(Case(number=number), store=self.store, durability=level_of(number, self._level))
            say("started", number, run.id)
            for look_at in dice.choices(LOOKS, k=3):
                look_at(self.store, run.id)
            self._attend(number, run)
            assert self.store.run(run.id).status in ("completed", "degraded")


LOOKS = (
    lambda store, run: store.runs(),
    lambda store, run: store.events(run),
    lambda store, run: store.pending(),
    lambda store, run: store.stuck(),
    lambda store, run: store.sql("select node, median(dur) from attempt group by node"),
    lambda store, run: store.sql("select status, count(*) from run group by status"),
    lambda store, run: store.run(run).events,
)


def _broke(why: Any) -> None:
    say("broke", "".join(traceback.format_exception(why.exc_type, why.exc_value, why.exc_traceback)))


def main() -> None:
    """Do what is told, in order."""
    # Whatever hangs says where, and fails the test.
    faulthandler.dump_traceback_later(HANGS, exit=True)
    import pandas  # noqa: F401 - while another process is still at work, so that this one is quick when it is told

    threading.excepthook = _broke
    watch_moments()
    acts = Acts()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            getattr(acts, name)(*arguments)
        except BaseException:
            say("broke", traceback.format_exc())


if __name__ == "__main__":
    main()

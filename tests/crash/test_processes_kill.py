"""Three processes execute runs on one store; the owner of its file is killed, or a client, and the others go on."""

from __future__ import annotations

import queue
import random
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kill_child import snapshot
from kill_witness import Child, Witness
from test_runs_kill import end_of, finish

import orchkit as ok
from orchkit.store.election import read_notice

CREW = 3
CASES = 4  # that each process begins
LINES = 60  # which so many cases say at least
COMMITS = 8  # of which fewer pass before a strike
MOMENTS = ("before a commit", "commit", "after a commit", "after a commit")  # most of the trouble: said to nobody


class Crew:
    """The processes of one store, and what they say, in one line."""

    def __init__(self, path: Path, witness: Witness, stack: ExitStack) -> None:
        self.path = path
        self.witness = witness
        self.members: dict[int, Child] = {}
        self.lost: set[int] = set()  # cases of processes that were killed
        self.gaps: list[float] = []
        self.owners = 0
        self._stack = stack
        self._heard: queue.Queue[tuple[float, int, Any]] = queue.Queue()
        self._cases: dict[int, range] = {}
        self._executes: dict[str, int] = {}
        self._owner_died = 0.0

    def join(self, first: int) -> None:
        """Add a process that begins cases of its own."""
        child = self._stack.enter_context(Child())
        self.members[child.pid], self._cases[child.pid] = child, range(first, first + CASES)
        threading.Thread(target=self._listen, args=(child,), daemon=True).start()
        child.tell(("open", str(self.path), self.witness.level), ("begin", *self._cases[child.pid]))

    def _listen(self, child: Child) -> None:
        try:
            for said in child.lines():
                self._heard.put((time.monotonic(), child.pid, said))
        except BaseException as error:
            self._heard.put((0.0, child.pid, error))
        self._heard.put((0.0, child.pid, None))

    def hear(self) -> tuple[int, Any]:
        """Wait for the next line of any process, None for its last."""
        at, pid, said = self._heard.get(timeout=120)
        if isinstance(said, BaseException):
            raise said
        if said is not None:
            if 0 < self._owner_died < at and pid in self.members and said[0] in ("started", "answered", "result"):
                self.gaps.append(at - self._owner_died)
                self._owner_died = 0.0
            self.witness.hear(said)
            for run in {"started": said[2:], "resumed": (said[1:] or [()])[0]}.get(said[0], ()):
                other = self._executes.setdefault(run, pid)
                assert other == pid or other not in self.members, f"{run} is executed by two that live"
                self._executes[run] = pid
        return pid, said

    def kill(self, dice: random.Random) -> None:
        """Kill the owner, or now and then any; and let each of the others take its runs over, if it can."""
        how = dice.random()
        for _ in range(dice.randrange(1, LINES) if how < 0.4 else 1):
            self.hear()
        notice = read_notice(self.path)
        pid = notice.pid if notice is not None else 0
        if pid not in self.members or how < 0.15:
            pid = dice.choice(sorted(self.members))
            how = 0.0
        victim = self.members.pop(pid)
        if how < 0.4:
            victim.kill()
        else:
            # It may be nearly through with its cases, and take so many commits no more: then when it is.
            victim.tell(("strike", dice.choice(MOMENTS), dice.randrange(1, COMMITS)), ("wait",))
        while (heard := self.hear()) != (pid, None):
            if heard in ((pid, ["strike"]), (pid, ["done"])):
                victim.kill()
        if notice is not None and pid == notice.pid:
            self.owners += 1
            self._owner_died = time.monotonic()
        self.lost.update(self._cases[pid])
        assert victim.end() == -signal.SIGKILL, victim.errors()
        for other in self.members.values():
            other.tell(("resume",))

    def finish(self) -> None:
        """Let one begin what nobody lives to begin, and all go on to their end; then they leave one by one."""
        next(iter(self.members.values())).tell(("begin", *sorted(self.lost)))
        for child in self.members.values():
            child.tell(("wait",))
        done = 0
        while done < len(self.members):
            done += self.hear()[1] == ["done"]
        for pid, child in self.members.items():
            child.tell(("close",))
            while self.hear() != (pid, ["closed"]):
                pass
            assert child.end() == 0, child.errors()


def kill_among_several(folder: Path, level: str, seed: int, kills: int) -> Crew:
    dice, path, witness = random.Random(f"{level} {seed}"), folder / f"{seed}.duckdb", Witness(level)
    with ExitStack() as stack:
        crew, first = Crew(path, witness, stack), 0
        for _ in range(kills):
            while len(crew.members) < CREW:
                crew.join(first)
                first += CASES
            crew.kill(dice)
        crew.finish()
    with Child() as child:
        finish(child, Witness(level), folder / "calm.duckdb", first)
    killed = end_of(path)
    assert killed == end_of(folder / "calm.duckdb")
    assert sorted(killed) == list(range(first))
    with ok.open(path) as store:
        witness.check(snapshot(store))
    return crew


def check(crew: Crew) -> None:
    assert crew.owners, "no owner was killed"
    taken = [run for run, log in crew.witness.kept.items() if any(row[1] == "resumed" for row in log)]
    assert taken, "nothing was taken over"
    print(f"takeover: the largest of {len(crew.gaps)} gaps is {max(crew.gaps) * 1000:.0f} ms")


@pytest.mark.parametrize("level", ["both"])
def test_the_others_go_on_when_the_owner_is_killed(tmp_path, level):
    check(kill_among_several(tmp_path, level, seed=2026, kills=6))


@pytest.mark.slow
@pytest.mark.parametrize("level", ["strict", "group"])
@pytest.mark.parametrize("seed", range(4))
def test_they_do_in_many_kills(tmp_path, level, seed):
    check(kill_among_several(tmp_path, level, seed, kills=10))

"""What the tests of killing share: the child as its parent holds it, and the witness of what was promised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kill_child import EFFECTS, SOURCES, level_of, number_in

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("kill_child.py")


class Child:
    """A process that does what it is told; it is gone when the context ends."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the child is gone
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"},
        )
        self.pid = self._process.pid

    def tell(self, *acts: tuple[Any, ...]) -> None:
        """Tell it what to do, one after the other."""
        self._process.stdin.write(b"".join(json.dumps(act).encode() + b"\n" for act in acts))
        self._process.stdin.flush()

    def lines(self) -> Iterator[list[Any]]:
        """Give what it says until it ends; a line that the kill cut was said to nobody."""
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                said = json.loads(line)
                assert said[0] != "broke", said[1]
                yield said

    def kill(self) -> None:
        """Kill it, for real."""
        self._process.kill()

    def end(self) -> int:
        """Wait until it has ended; nothing but what it did may end it."""
        self._process.stdin.close()
        return self._process.wait(60)

    def errors(self) -> str:
        """Give what it wrote to stderr."""
        self._errors.seek(0)
        return self._errors.read().decode()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()


class Witness:
    """Hears what processes say was acknowledged to them, and looks for it in the log.

    Parameters
    ----------
    level : str
        Of the store's runs: one of the levels, or anything else for both.
    """

    def __init__(self, level: str) -> None:
        self.level = level
        self.started: dict[int, str] = {}
        self.answered: dict[tuple[str, str], Any] = {}
        self.results: dict[str, Any] = {}
        self.received: Counter[str] = Counter()
        self.kept: dict[str, list[Any]] = {}
        self._began: list[tuple[str, str, int | None, int]] = []
        self._over: set[Any] = set()

    def hear(self, said: list[Any]) -> None:
        """Keep what was said."""
        what, *rest = said
        match what:
            case "started":
                number, run = rest
                assert self.started.setdefault(number, run) == run, f"case {number} was started twice"
            case "answered":
                run, name, value = rest
                assert self.answered.setdefault((run, name), value) == value, f"{name} of {run} was answered twice"
            case "result":
                run, value = rest
                assert self.results.setdefault(run, value) == value
            case "began":
                self._began.append(tuple(rest))
            case "received":
                self.received[rest[0]] += 1
            case "resumed":
                _, left = rest
                assert all("is being executed by" in why for why in left.values()), left
            case "snapshot":
                self.look(rest[0])

    def look(self, found: dict[str, Any]) -> None:
        """Look for all that was promised, in what is recorded now, by one process after the other."""
        self.check(found)
        self._check_begun(found["logs"])
        self._over = {(run, *_attempt(row)) for run, log in found["logs"].items() for row in log if _is_end(row)}
        self._began.clear()

    def check(self, found: dict[str, Any]) -> None:
        """Look for it in what is recorded now; what was there before is there as it was."""
        logs = found["logs"]
        count, distinct, last = found["numbers"]
        assert count == distinct == last, "rows are torn out, or numbered twice"
        for run, log in self.kept.items():
            assert logs[run][: len(log)] == log, f"what was recorded of {run} is lost or changed"
        self.kept = logs
        self._check_promised(logs)
        for run, log in logs.items():
            check_log(run, log)

    def _check_promised(self, logs: dict[str, list[Any]]) -> None:
        begun = Counter(number_in(log) for log in logs.values())
        assert all(count == 1 for count in begun.values()), "a case was begun twice"
        for number, run in self.started.items():
            assert number_in(logs[run]) == number, f"the start of {run} is lost"
        for (run, name), value in self.answered.items():
            assert _bodies(logs[run], "answered", name) == [value], f"the answer {name} of {run} is lost"
        for run, value in self.results.items():
            assert _bodies(logs[run], "run_ended", None) == [value], f"the end of {run} is lost"
        for key in self.received:
            run, _, instance = key.partition(":")
            assert any(row[1] == "started" and row[9] == instance for row in logs[run]), (
                f"effect {key} is not in the log"
            )

    def _check_begun(self, logs: dict[str, list[Any]]) -> None:
        once = Counter(self._began)
        assert all(count == 1 for count in once.values()), "an attempt was begun twice by one process"
        for run, node, item, attempt in self._began:
            assert (run, node, item, attempt) not in self._over, f"{node}[{item}] of {run} had an outcome, and began"
            if run not in logs:  # its start was acknowledged to nobody, and its first step acts on nothing
                assert node not in EFFECTS
                assert self.level != "strict"
                continue
            strict = level_of(number_in(logs[run]), self.level) == "strict"
            if strict or node in EFFECTS:
                rows = [row for row in logs[run] if row[1] == "started"]
                assert any(_attempt(row) == (node, item, attempt) for row in rows), f"{node} of {run} began unrecorded"
            for source in SOURCES.get(node, ()):
                if strict:
                    ends = [row for row in logs[run] if row[2] == source and _settles(row)]
                    assert ends or source == "review", f"{node}[{item}] of {run} began before {source} was recorded"
                elif source in EFFECTS:
                    tries = [row for row in logs[run] if row[2] == source and row[6] > 0]
                    over = {_attempt(row) for row in tries if _is_end(row)}
                    assert over, f"{node} of {run} saw {source}, which is not recorded"
                    assert {_attempt(row) for row in tries} == over, f"{node} of {run} saw what {source} lost"


def check_log(run: str, log: list[Any]) -> None:
    """Check what no log may hold: gaps, doubles, and anything of an attempt after its end."""
    assert [row[0] for row in log] == list(range(1, len(log) + 1)), f"the log of {run} has gaps or doubles"
    times = [row[8] for row in log]
    assert times == sorted(times), f"time went back in {run}"
    attempts = Counter(_attempt(row) for row in log if _is_end(row))
    outcomes = Counter((row[2], row[3], row[4]) for row in log if row[1] == "completed")
    settled = Counter((row[2], row[3], row[4]) for row in log if _settles(row))
    answered = Counter((row[2], row[3], row[4]) for row in log if row[1] in ("answered", "expired"))
    for what in (attempts, outcomes, settled, answered):
        assert not [key for key, count in what.items() if count > 1], f"{run}: {what.most_common(1)} is recorded twice"
    kinds = [row[1] for row in log]
    assert kinds.count("run_started") == 1
    assert "run_ended" not in kinds[:-1]


def _settles(row: list[Any]) -> bool:
    return row[1] in ("settled", "skipped") or (row[1] == "completed" and row[7] == "final")


def _attempt(row: list[Any]) -> tuple[str, int | None, int]:
    return row[2], row[3], row[6]


def _is_end(row: list[Any]) -> bool:
    return row[1] in ("completed", "failed", "cancelled") and row[6] > 0


def _bodies(log: list[Any], kind: str, node: str | None) -> list[Any]:
    return [None if row[10] is None else json.loads(row[10]) for row in log if row[1] == kind and row[2] == node]

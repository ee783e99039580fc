"""The parent's side of the live part: start it, read its progress, kill it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchkit.cli._terminal import Refusal, plain
from orchkit.cli.demo.place import Place

__all__ = ["Child"]


class Child:
    """A live part in a process of its own; left with it, it is ended however it stands.

    Parameters
    ----------
    place : Place
    input : Path
    first : int
        How many messages it takes.
    resume : bool
        Go on with what the store holds.
    """

    def __init__(self, place: Place, input: Path, first: int, *, resume: bool) -> None:
        command = [
            sys.executable,
            "-m",
            "orchkit.cli.demo.live",
            str(place.store),
            str(place.outbox),
            str(input),
        ]
        command += ["--first", str(first)] + ["--resume"] * resume
        # A session of its own: Ctrl-C is for the parent, which then ends it.
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self.pid = self._process.pid

    def lines(self) -> Iterator[dict[str, Any]]:
        """Give its progress as it comes, until it ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # the last line of a killed process may be cut short
                yield json.loads(line)

    def kill(self) -> None:
        """End it as ``kill -9`` does: it gets no chance to tidy up."""
        self._process.kill()
        self._process.wait()

    def finish(self) -> None:
        """Wait for its end.

        Raises
        ------
        Refusal
            If it did not end well, with what it said last.
        """
        assert self._process.stderr is not None
        said = self._process.stderr.read().strip().splitlines()
        if self._process.wait():
            last = plain(said[-1], 1000) if said else f"the process ended with {self._process.returncode}"
            raise Refusal(last)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

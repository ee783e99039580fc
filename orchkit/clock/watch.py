"""The watch over the engine's loop: a step that holds it up is named while it does.

All runs of a process share one loop, so one async step that computes, or calls something that blocks, stops them all,
time-outs included. Nothing on the loop can say so meanwhile; a thread of its own can: it asks the loop to answer, and
if no answer comes it looks at what the loop's thread is doing.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Final, Protocol

__all__ = ["Watch", "Watched"]

_LOG = logging.getLogger("orchkit")
_HOUSE: Final = str(Path(__file__).resolve().parents[1]) + os.sep
_PYTHON: Final = str(Path(os.__file__).resolve().parent) + os.sep
_LOOKS: Final = 4  # in the time after which a blocked loop is told of


class Watched(Protocol):
    """A host that is watched."""

    watched: bool

    def ask(self, answer: threading.Event) -> bool:
        """Have the loop set the event as soon as it turns; False once the loop is closed. From any thread."""


class Watch:
    """Tells the logger ``orchkit`` who blocks a loop, once for each time that it is blocked.

    Parameters
    ----------
    host : Watched
        Which calls `begin` when a body begins and it is not watched.
    engine : threading.Thread
        The thread of its loop.
    runs : code
        Of the function in which the host runs a body: its variable ``fibre`` says whose.

    Attributes
    ----------
    patience : float, seconds
        How long the loop may take to answer.
    """

    def __init__(self, host: Watched, engine: threading.Thread, runs: CodeType) -> None:
        self.patience = 1.0
        self._host = host
        self._engine = engine
        self._runs = runs
        self._busy = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Watch from now on; on the loop only."""
        self._busy.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, daemon=True, name="orchkit-watch")
            self._thread.start()

    def end(self) -> None:
        """Rest until something begins; on the loop only."""
        self._busy.clear()

    def _serve(self) -> None:
        while True:
            self._busy.wait()
            answer = threading.Event()
            if not self._host.ask(answer):
                return
            if answer.wait(self.patience):
                time.sleep(self.patience / _LOOKS)
                continue
            told = self.look()
            if told:
                _LOG.warning("%s", told)
            while not answer.wait(self.patience):
                pass

    def look(self) -> str:
        """Say who is at work on the loop just now; "" if nobody is."""
        frame: FrameType | None = sys._current_frames().get(self._engine.ident or 0)
        theirs, fibre, in_house = "", None, False
        while frame is not None:
            code = frame.f_code
            in_house = in_house or code.co_filename.startswith(_HOUSE)
            if not in_house and not _is_pythons(code.co_filename):
                theirs = f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
            if code is self._runs:
                fibre = frame.f_locals.get("fibre")
            frame = frame.f_back
        if not theirs:
            return ""
        who = "something" if fibre is None else str(fibre)
        return (
            f"{who} has held up the engine for over {self.patience:g} s, and with it every run of this process: "
            f"{theirs}; await what takes long, or write the step with a plain def, which runs in a thread of its own"
        )


def _is_pythons(file: str) -> bool:
    return file.startswith("<frozen") or (file.startswith(_PYTHON) and "site-packages" not in file)

"""The clerk: puts a run's questions to its approver, off the engine's thread, one after the other."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from orchkit.model.events import Event
from orchkit.model.questions import question_id

__all__ = ["Approver", "Clerk", "Question"]


@dataclass(frozen=True, slots=True)
class Question:
    """An open approval, as an approver sees it.

    Attributes
    ----------
    run_id, node : str
    item : int or None
        Index in the map's list.
    shown : object
        JSON: the value that is to be judged; None without ``show=``.
    prefill : dict of str to object
        JSON: what the answer's fields start from.

    Examples
    --------
    >>> import orchkit as ok
    >>> question = ok.Question("a1", "review", shown="Dear Dana", item=3)
    >>> question.id, question.shown
    ('review[3]', 'Dear Dana')
    """

    run_id: str
    node: str
    item: int | None = None
    shown: Any = None
    prefill: Any = None

    @property
    def id(self) -> str:
        """Its name within the run, with its item if it has one."""
        return question_id(self.node, -1 if self.item is None else self.item)

    @classmethod
    def of(cls, run_id: str, node: str, item: int, asked: Event) -> Question:
        """Read it from the event by which it was asked."""
        return cls(run_id, node, item if item >= 0 else None, asked.body.get("show"), asked.body.get("prefill") or {})


Approver = Callable[[Question], Any]
"""Gives the answer to a question, or None to leave it open."""


class Clerk:
    """Asks an approver, and hands its answers in.

    One thread a run, which ends when nothing is left to be asked. What an approver raises, and an answer that does
    not fit, goes to `threading.excepthook`; the question stays open.

    Parameters
    ----------
    approver : callable
    answer : callable
        Gets the question, the event by which it was asked, the answer, and who gave it.
    """

    def __init__(self, approver: Approver, answer: Callable[[Question, Event, Any, str], None]) -> None:
        self._approver = approver
        self._answer = answer
        self._by = str(getattr(approver, "by", "") or getattr(approver, "__name__", "") or type(approver).__name__)
        self._questions: deque[tuple[Question, Event]] = deque()
        self._lock = threading.Lock()
        self._goes = False

    def ask(self, question: Question, asked: Event) -> None:
        """Ask soon; returns at once."""
        with self._lock:
            self._questions.append((question, asked))
            if not self._goes:
                with suppress(RuntimeError):  # no more threads, for now: it is asked with the next, or after a resume
                    threading.Thread(target=self._serve, daemon=True, name="orchkit-approver").start()
                    self._goes = True

    def _next(self) -> tuple[Question, Event] | None:
        with self._lock:
            self._goes = bool(self._questions)
            return self._questions.popleft() if self._questions else None

    def _serve(self) -> None:
        while (one := self._next()) is not None:
            question, asked = one
            try:
                answer = self._approver(question)
                if answer is not None:
                    self._answer(question, asked, answer, self._by)
            except BaseException:
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))

"""The postman: one thread a store that looks for letters to the runs of this process while they have open questions.

It looks, rather than being told by whoever owns the file: a process that has just lost its owner then misses nothing,
and an answer of a person may take a quarter of a second. Where this process owns the file each letter is recorded by
it, so it is woken at once and need not look.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from orchkit.errors import OrchkitError

if TYPE_CHECKING:
    from orchkit.engine.instance import Instance
    from orchkit.model.events import Event
    from orchkit.model.records import Letter
    from orchkit.runs.desk import Desk
    from orchkit.runs.mail import Mailbox

__all__ = ["Look", "Postman", "postman_of"]

_PAUSE: Final = 0.25  # seconds between two looks while a question is open
_IDLE: Final = 5.0  # seconds between two looks where each letter wakes it; without an open question it ends then


class Look(NamedTuple):
    """A question that is about to expire, and waits for whether an answer lies in the store."""

    desk: Desk
    inst: Instance
    token: int
    asked: Event


class Postman:
    """Brings letters from one store to the desks of the runs that are executed here.

    Parameters
    ----------
    mailbox : Mailbox
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self.pid = os.getpid()
        self._mailbox = weakref.ref(mailbox)  # which keeps this, and is not to be kept by it
        self._desks: dict[str, Desk] = {}
        self._looks: deque[Look] = deque()
        self._lock = threading.Lock()
        self._goes = False

    def watch(self, desk: Desk) -> None:
        """Look for letters to a run from now on, for as long as it waits for some."""
        with self._lock:
            self._desks[desk.run_id] = desk
        self._wake()

    def leave(self, desk: Desk) -> None:
        """Look for letters to a run no more."""
        with self._lock:
            if self._desks.get(desk.run_id) is desk:
                del self._desks[desk.run_id]

    def look(self, look: Look) -> None:
        """Look once more for an answer before a question expires, however long the store cannot be asked."""
        self._looks.append(look)
        self._wake()

    def _wake(self) -> None:
        mailbox = self._mailbox()
        if mailbox is None:
            return
        with self._lock:
            if not self._goes:
                with suppress(
                    RuntimeError
                ):  # Python ends, or there are no more threads for now: the next question tries
                    threading.Thread(target=self._serve, args=(mailbox,), daemon=True, name="orchkit-postman").start()
                    self._goes = True
        mailbox.mailed.set()

    def _serve(self, mailbox: Mailbox) -> None:
        try:
            hears_all = False
            while not mailbox.is_closed():
                waits = self._waits()
                called = mailbox.mailed.wait(_PAUSE if waits and not hears_all else _IDLE)
                mailbox.mailed.clear()
                if not waits and not called and self._may_go():
                    return
                hears_all = mailbox.hears_all()  # before the round: what came by the owner before us is found by it
                with suppress(OrchkitError):  # the file has no owner just now, or one that says nothing
                    self._round(mailbox)
            while self._looks:  # nothing will ever be found, and the run is to hear that the store takes no more
                self._looks[0].desk.hand_in(self._looks.popleft(), None)
        except BaseException:
            self._goes = False
            raise
        self._goes = False

    def _waits(self) -> bool:
        with self._lock:
            return bool(self._looks) or any(desk.is_waiting() for desk in self._desks.values())

    def _may_go(self) -> bool:
        with self._lock:
            self._goes = bool(self._looks) or any(desk.is_waiting() for desk in self._desks.values())
            return not self._goes

    def _round(self, mailbox: Mailbox) -> None:
        while self._looks:
            self._see_to(self._looks[0], mailbox)
            self._looks.popleft()
        runs = self._runs()
        letters = mailbox.unread(runs, fenced=False) if runs else []
        for run_id in runs:
            self._bring(run_id, [letter for letter in letters if letter.run == run_id])

    def _see_to(self, look: Look, mailbox: Mailbox) -> None:
        look.desk.look_before_end(look, mailbox.unread([look.desk.run_id], fenced=True))

    def _runs(self) -> list[str]:
        # Ids, and not the desks: a run that ends while the store is asked is freed then, and not later.
        with self._lock:
            return [run_id for run_id, desk in self._desks.items() if desk.is_waiting()]

    def _bring(self, run_id: str, letters: list[Letter]) -> None:
        with self._lock:
            desk = self._desks.get(run_id)
        if desk is not None:
            desk.take(letters)


_POSTMEN: weakref.WeakKeyDictionary[Mailbox, Postman] = weakref.WeakKeyDictionary()
_POSTMEN_LOCK = threading.Lock()


def postman_of(mailbox: Mailbox) -> Postman:
    """Give the postman of a store; a forked child gets its own, because threads do not survive a fork."""
    with _POSTMEN_LOCK:
        postman = _POSTMEN.get(mailbox)
        if postman is None or postman.pid != os.getpid():
            postman = _POSTMEN[mailbox] = Postman(mailbox)
        return postman

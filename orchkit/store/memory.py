"""The memory store: keeps logs for as long as the process lives."""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchkit.errors import RunUnknown, StoreError, StoreWriteError
from orchkit.model.events import Event
from orchkit.model.records import Head

__all__ = ["MemoryStore"]


class _MemoryJournal:
    def __init__(self, store: MemoryStore, events: list[Event]) -> None:
        self._store = store
        self._events = events

    def append(self, event: Event) -> None:
        """Take an event."""
        if self._store.closed:
            raise StoreWriteError("the memory store is closed, nothing of it is left; make a new one")
        self._events.append(event)

    def behind(self) -> bool:
        """Never behind: memory is as durable as it gets here."""
        return False

    def when_durable(self, wake: Callable[[BaseException | None], None]) -> None:
        """Wake at once."""
        wake(None)

    def release(self) -> None:
        """Nothing to let go: no other process can see it."""


class MemoryStore:
    """Runs in memory: nothing survives the process, nor `close`."""

    def __init__(self) -> None:
        self.closed = False
        self._heads: dict[str, Head] = {}
        self._logs: dict[str, list[Event]] = {}
        self._lock = threading.Lock()

    def admit(self, head: Head) -> _MemoryJournal:
        """Take a new run.

        Raises
        ------
        StoreError
            If a run of that id is there.
        """
        with self._lock:
            heads = self._open()
            if head.run_id in heads:
                raise StoreError(f"run {head.run_id!r} is already in the memory store; resume it instead")
            log = self._logs[head.run_id] = []
            heads[head.run_id] = head
        return _MemoryJournal(self, log)

    def take(self, run_id: str) -> tuple[Head, list[Event], _MemoryJournal]:
        """Claim a run for this process, and give its admission, its log, and a journal that continues it."""
        head = self.head(run_id)
        return head, self.events(run_id), _MemoryJournal(self, self._logs[run_id])

    def head(self, run_id: str) -> Head:
        """Give a run's admission."""
        heads = self._open()
        try:
            return heads[run_id]
        except KeyError:
            raise RunUnknown(f"no run {run_id!r} here; there are {len(heads)}", run_id=run_id) from None

    def heads(self) -> list[Head]:
        """Give all admissions, in order."""
        return list(self._open().values())

    def events(self, run_id: str) -> list[Event]:
        """Give a run's log."""
        return list(self._logs[self.head(run_id).run_id])

    def close(self) -> None:
        """Forget everything; safe to call twice."""
        self.closed = True
        self._heads, self._logs = {}, {}

    def _open(self) -> dict[str, Head]:
        if self.closed:
            raise StoreError("the memory store is closed, nothing of it is left; make a new one")
        return self._heads

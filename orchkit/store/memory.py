"""The memory store: keeps logs for as long as the process lives."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from orchkit.errors import RunHeld, RunUnknown, StoreError, StoreWriteError
from orchkit.model.events import Event
from orchkit.model.records import Head

__all__ = ["MemoryStore"]


class _MemoryJournal:
    def __init__(self, store: MemoryStore, head: Head) -> None:
        self._store = store
        self._head = head

    def append(self, event: Event) -> None:
        """Take an event."""
        if self._store.closed:
            raise StoreWriteError("the memory store is closed, nothing of it is left; make a new one")
        self._store._append(self._head, event)

    def behind(self) -> bool:
        """Never behind: memory is as durable as it gets here."""
        return False

    def when_durable(self, wake: Callable[[BaseException | None], None]) -> None:
        """Wake at once."""
        wake(None)

    def release(self) -> None:
        """Say that the run is executed no more."""
        self._store._taken.discard(self._head.run_id)


class MemoryStore:
    """Runs in memory: nothing survives the process, nor `close`."""

    def __init__(self) -> None:
        self.closed = False
        self._heads: dict[str, Head] = {}
        self._logs: dict[str, list[Event]] = {}
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def admit(self, head: Head) -> _MemoryJournal:
        """Take a new run; it is there as soon as its first event is.

        Raises
        ------
        StoreError
            If a run of that id is there.
        """
        with self._lock:
            if head.run_id in self._open() or head.run_id in self._taken:
                raise StoreError(f"run {head.run_id!r} is already in the memory store; resume it instead")
            self._taken.add(head.run_id)
        return _MemoryJournal(self, head)

    def take(self, run_id: str) -> tuple[Head, list[Event], _MemoryJournal]:
        """Take a run to go on with it; nobody else may until its journal is released.

        Raises
        ------
        RunUnknown
            If there is none of that id.
        RunHeld
            If somebody executes it.
        """
        with self._lock:
            head = self.head(run_id)
            if run_id in self._taken:
                raise RunHeld(
                    f"run {run_id!r} is being executed by this process; wait until it has ended, or suspend it",
                    run_id=run_id,
                    pid=os.getpid(),
                )
            self._taken.add(run_id)
            return head, list(self._logs[run_id]), _MemoryJournal(self, head)

    def _append(self, head: Head, event: Event) -> None:
        log = self._logs.get(head.run_id)
        if log is None:
            log = self._logs[head.run_id] = []
            self._heads[head.run_id] = head
        log.append(event)
        if event.kind in ("run_ended", "suspended"):
            self._taken.discard(head.run_id)

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

    def events(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        """Give a run's log, or `limit` events of it that come after its first."""
        return self._logs[self.head(run_id).run_id][after : None if limit is None else after + limit]

    def close(self) -> None:
        """Forget everything; safe to call twice."""
        self.closed = True
        self._heads, self._logs = {}, {}

    def _open(self) -> dict[str, Head]:
        if self.closed:
            raise StoreError("the memory store is closed, nothing of it is left; make a new one")
        return self._heads

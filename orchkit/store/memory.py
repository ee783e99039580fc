"""The memory store: keeps logs for as long as the process lives."""

from __future__ import annotations

from collections.abc import Callable

from orchkit.errors import RunUnknown, StoreError
from orchkit.model.events import Event
from orchkit.model.records import Head

__all__ = ["MemoryStore"]


class _MemoryJournal:
    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def append(self, event: Event) -> None:
        """Take an event."""
        self._events.append(event)

    def behind(self) -> bool:
        """Never behind: memory is as durable as it gets here."""
        return False

    def when_durable(self, wake: Callable[[BaseException | None], None]) -> None:
        """Wake at once."""
        wake(None)


class MemoryStore:
    """Runs in memory: nothing survives the process."""

    def __init__(self) -> None:
        self._heads: dict[str, Head] = {}
        self._logs: dict[str, list[Event]] = {}

    def admit(self, head: Head) -> _MemoryJournal:
        """Take a new run."""
        if head.run_id in self._heads:
            raise StoreError(f"run {head.run_id!r} is already there; resume it instead")
        self._heads[head.run_id] = head
        return _MemoryJournal(self._logs.setdefault(head.run_id, []))

    def journal(self, head: Head) -> _MemoryJournal:
        """Give a journal that continues a run's log."""
        return _MemoryJournal(self._logs[self.head(head.run_id).run_id])

    def head(self, run_id: str) -> Head:
        """Give a run's admission."""
        try:
            return self._heads[run_id]
        except KeyError:
            raise RunUnknown(f"no run {run_id!r} here; there are {len(self._heads)}", run_id=run_id) from None

    def heads(self) -> list[Head]:
        """Give all admissions, in order."""
        return list(self._heads.values())

    def events(self, run_id: str) -> list[Event]:
        """Give a run's log."""
        return list(self._logs[self.head(run_id).run_id])

    def close(self) -> None:
        """Nothing to let go of."""

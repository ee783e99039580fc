"""The journal of runs that nobody keeps."""

from __future__ import annotations

from collections.abc import Callable

from orchkit.model.events import Event

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """A journal that keeps nothing beyond the process: what is appended is as durable as it gets."""

    def append(self, event: Event) -> None:
        """Take an event."""

    def behind(self) -> bool:
        """Never behind."""
        return False

    def when_durable(self, wake: Callable[[BaseException | None], None]) -> None:
        """Wake at once."""
        wake(None)

    def release(self) -> None:
        """Nothing to let go."""

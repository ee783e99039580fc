"""The inbox: what other processes send to the owner of a file, committed on its writer's thread.

There, and only there, is it known what came before: whether the same was recorded already, and whose a run is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchkit.errors import OrchkitError
from orchkit.store.file import DuckFile
from orchkit.store.rows import Entry
from orchkit.store.writer import Writer

__all__ = ["Inbox", "Serial"]

Serial = tuple[int, int]
"""Which of a process's batches it is, and which part of that; zeros if it was not numbered."""

_MOST = 1000  # processes whose last batch is remembered


@dataclass(slots=True)
class _Sent:
    entries: Sequence[Entry]
    sender: str
    again: bool
    serial: Serial
    lost: dict[str, str] = field(default_factory=dict)
    error: OrchkitError | None = None


class Inbox:
    """Takes batches from any thread, and commits those that wait at once.

    Parameters
    ----------
    writer : Writer
    file : callable
        Gives the file that is written to, on the writer's thread.
    """

    def __init__(self, writer: Writer, file: Callable[[], DuckFile]) -> None:
        self._writer = writer
        self._file = file
        self._waiting: deque[_Sent] = deque()
        self._last: dict[str, tuple[Serial, dict[str, str]]] = {}

    def append(
        self, entries: Sequence[Entry], *, sender: str, again: bool = False, serial: Serial = (0, 0)
    ) -> dict[str, str]:
        """Append what a process sends, durably; give its runs that were given to somebody else, and whom."""
        sent = _Sent(entries, sender, again, serial)
        self._waiting.append(sent)
        self._writer.call(self._commit)
        if sent.error is not None:
            raise sent.error
        return sent.lost

    def _commit(self) -> None:
        taken: list[_Sent] = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        before = self._last.copy()
        try:
            file = self._file()
            if entries := [entry for sent in taken for entry in self._new(file, sent)]:
                file.commit(entries)
        except OrchkitError as error:
            self._last = before
            for sent in taken:
                sent.error = error

    def _new(self, file: DuckFile, sent: _Sent) -> Sequence[Entry]:
        last, lost = self._last.get(sent.sender, ((0, 0), {}))
        if (0, 0) < sent.serial <= last:
            # Sent again while its first copy was still on its way; whichever comes last finds the other.
            sent.lost = lost if sent.serial == last else {}
            return ()
        entries, sent.lost = file.meant(sent.entries, sent.sender, again=sent.again)
        if sent.serial > (0, 0):
            self._remember(sent)
        return entries

    def _remember(self, sent: _Sent) -> None:
        self._last.pop(sent.sender, None)
        self._last[sent.sender] = sent.serial, sent.lost
        if len(self._last) > _MOST:
            del self._last[next(iter(self._last))]

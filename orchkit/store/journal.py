"""Journals: where the events of one run go on their way to the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from orchkit.errors import CodecError, StoreError
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.store.leases import given_away
from orchkit.store.rows import Entry, Item, Layout
from orchkit.store.writer import Wake, Writer

__all__ = ["DuckJournal", "LateJournal"]

_NONE: Mapping[str, str] = MappingProxyType({})
_STOPS = frozenset({"run_ended", "suspended"})


class DuckJournal:
    """Hands each event to the writer as it comes.

    Parameters
    ----------
    writer : Writer
    head : Head
    n : int
        How many events the run's log has.
    first : sequence of tuple
        Rows that are committed together with the next event: the admission.
    lost : dict of str to str
        Runs that were given to somebody else, and whom: for this one alone its journal takes no more then.
    released : callable
        Called once, when this process executes the run no more.
    """

    def __init__(
        self,
        writer: Writer,
        head: Head,
        n: int,
        *,
        first: Sequence[Entry] = (),
        lost: Mapping[str, str] = _NONE,
        released: Callable[[], object],
    ) -> None:
        self._writer = writer
        self._lost = lost
        self._run_id = head.run_id
        self._layout = Layout(head)
        self._n = n
        self._first: tuple[Entry, ...] = tuple(first)
        self._released = released
        self._held = True
        self._ticket = 0

    def append(self, event: Event) -> None:
        """Queue an event for the writer.

        Raises
        ------
        CodecError
            If it would not read back as it is.
        RunHeld
            If somebody else executes the run by now.
        """
        items = self._layout.items(self._n + 1, event)
        self._n += 1
        if self._first:
            items, self._first = (*self._first, *items), ()
        self._push(items)
        if event.kind in _STOPS:
            self._forget()  # the log says it by itself; whoever takes the run now comes after it

    def _push(self, items: Sequence[Item]) -> None:
        if self._run_id in self._lost:
            raise given_away(self._run_id, self._lost[self._run_id])
        self._ticket = self._writer.push(items)

    def behind(self) -> bool:
        """Say whether the writer has yet to commit something of this run; of a lost one it never will."""
        return self._ticket > self._writer.durable or self._run_id in self._lost

    def when_durable(self, wake: Wake) -> None:
        """Call `wake` after the commit, from whichever thread has done it."""
        self._writer.when_durable(self._ticket, self._tell, wake)

    def _tell(self, error: BaseException | None, wake: Wake) -> None:
        if error is None and self._run_id in self._lost:
            error = given_away(self._run_id, self._lost[self._run_id])
        wake(error)

    def release(self) -> None:
        """Say that this process executes the run no more; safe to call twice."""
        if not self._held:
            return
        try:
            self._give_up()
        except StoreError:
            pass  # the store takes nothing more; the lease ends with this process, or when it is taken here again
        finally:
            self._forget()

    def _give_up(self) -> None:
        if not self._first:
            self._push([("lease", (self._run_id, None))])

    def _forget(self) -> None:
        if self._held:
            self._held = False
            self._released()


class LateJournal(DuckJournal):
    """Keeps the events back until the run stops, then hands them over at once: for ``durability="exit"``."""

    def __init__(self, writer: Writer, head: Head, n: int, **options: Any) -> None:
        super().__init__(writer, head, n, **options)
        self._kept: list[Event] = []

    def append(self, event: Event) -> None:
        """Keep an event; the last one takes all others along."""
        self._kept.append(event)
        if event.kind in _STOPS:
            self._push_kept()
            self._forget()

    def _push_kept(self, *more: Item) -> None:
        items = self._layout.whole(self._n + 1, self._kept)
        self._n += len(self._kept)
        self._kept = []
        first, self._first = self._first, ()
        self._push((*first, *items, *more))

    def behind(self) -> bool:
        """Never behind until the run stops: nothing was promised."""
        return not self._kept and super().behind()

    def when_durable(self, wake: Wake) -> None:
        """Wake at once until the run stops, then after the commit."""
        if self._kept:
            wake(None)
        else:
            super().when_durable(wake)

    def _give_up(self) -> None:
        for place, event in enumerate(self._kept):
            try:
                self._layout.items(1, event)
            except CodecError:
                del self._kept[place:]  # what led to it is kept
                break
        if self._kept:
            self._push_kept(("lease", (self._run_id, None)))

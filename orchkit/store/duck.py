"""The DuckDB store: one file, one writer a process, group commit."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from orchkit.clock.ids import wall_micro
from orchkit.errors import OrchkitError, RunHeld, RunUnknown, StoreError, StoreReadOnly
from orchkit.model.events import Event
from orchkit.model.records import Head, Letter
from orchkit.store.care import Compacted, Keep, compact, prune
from orchkit.store.client import RemoteFile
from orchkit.store.copies import snapshot
from orchkit.store.damage import Damage
from orchkit.store.elected import Elected
from orchkit.store.exports import Exported, export
from orchkit.store.file import DuckFile
from orchkit.store.holder import RENEW_SECONDS, Holder, this_process
from orchkit.store.inbox import Inbox, Serial
from orchkit.store.journal import DuckJournal, LateJournal
from orchkit.store.leases import Fetch, holders, left_by
from orchkit.store.mail import outcome, outcome_entry, post, unread
from orchkit.store.names import resolved
from orchkit.store.rows import Entry, Row, head_row
from orchkit.store.server import Server, listen
from orchkit.store.sizes import StoreSize, size_of
from orchkit.store.wire import OwnerGone
from orchkit.store.writer import Writer

__all__ = ["DuckStore"]

T = TypeVar("T")

_FEW = 50_000  # runs whose ids are kept in memory; among more, an id that was drawn is trusted to be new
_RENEW = int(RENEW_SECONDS * 1e6)


class DuckStore:
    """Runs in one DuckDB file, which other processes of this machine may use at the same time.

    The first that opens a file owns it and serves the others; when it ends, one of them takes its place.

    Parameters
    ----------
    path : path-like
    read_only : bool
        Write nothing. If no process owns the file it is shared with other readers, and nobody can own it meanwhile.

    Attributes
    ----------
    notices : tuple of StoreNotice
        What opening the file had to do, for its user to know.
    mailed : threading.Event
        Set when a letter is recorded through this process.

    Raises
    ------
    StoreBusy
        If this process has the file open, or whoever holds it does not answer.
    StoreUnreadable
        If it is no store, damaged beyond repair, or newer than this orchkit; with `read_only` also if it is not
        there, or would have to be mended or migrated first.
    StoreWriteError
        If nothing can be written there.

    Notes
    -----
    A store that could not write lets its file go and takes nothing more; open it again to see what is in it. In a
    forked child it does the same, and the file stays the parent's.
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False) -> None:
        self.path = resolved(path)
        self._lock = threading.Lock()
        self._mine: set[str] = set()
        self._lost: dict[str, str] = {}
        self._ids: set[str] | None = None
        self._renew_at = 0
        self.read_only = read_only
        self._elected = Elected(self.path, self._server, self._renewal, self._lost.update, read_only=read_only)
        try:
            self._writer = Writer(self._elected)
        except BaseException:
            self._elected.let_go()
            raise
        self.mailed = threading.Event()
        self._inbox = Inbox(self._writer, lambda: _own(self._elected.place))
        try:
            self.notices = self._elected.ask(lambda place: place.notices)
            self._elected.open_doors()
            self._release_left()
        except BaseException:
            self._undo()
            raise
        atexit.register(self.close)
        _STORES.add(self)

    def _undo(self) -> None:
        with suppress(StoreError):  # what is on its way tells more
            self._writer.close()
        self._elected.let_go()

    def _server(self) -> Server | None:
        found = None if sys.platform == "win32" else listen(self.path)
        return None if found is None else Server(self, *found)

    # Runs

    def admit(self, head: Head) -> DuckJournal:
        """Take a new run; it is there as soon as its first event is, for both are committed at once.

        Raises
        ------
        StoreError
            If a run of that id is there.
        """
        self._refuse()
        self._elected.refuse_to_write()
        holder = this_process().name if head.mode == "live" else None
        first: list[Entry] = [("admission", head_row(head, holder))]
        with self._lock:
            if not self._is_free(head):
                raise StoreError(f"run {head.run_id!r} is already in {self.path.name}; resume it instead")
            if head.mode == "live":
                self._mine.add(head.run_id)
        return self._journal(head, 0, first)

    def _is_free(self, head: Head) -> bool:
        if self._ids is None:
            count = self.fetch("select count(*) from admission")[0][0]
            self._ids = {run for (run,) in self.fetch("select run from admission")} if count <= _FEW else set()
        if head.run_id in self._ids:
            return False
        if len(self._ids) < _FEW:
            self._ids.add(head.run_id)
        return head.mode == "live" or not self.fetch("select 1 from admission where run = ?", [head.run_id])

    def _journal(self, head: Head, n: int, first: Sequence[Entry] = ()) -> DuckJournal:
        kind = LateJournal if head.durability == "exit" else DuckJournal
        run_id = head.run_id
        self._lost.pop(run_id, None)
        released = partial(self._mine.discard, run_id)
        return kind(self._writer, head, n, first=first, lost=self._lost, released=released)

    def take(self, run_id: str) -> tuple[Head, list[Event], DuckJournal]:
        """Take a run to go on with it: from now on nobody else may, for as long as this process lives.

        Raises
        ------
        RunUnknown
            If there is none of that id.
        RunHeld
            If somebody executes it.
        """
        self._refuse()
        self._elected.refuse_to_write()
        with self._lock:
            if run_id in self._mine:
                raise RunHeld(
                    f"run {run_id!r} is being executed by this process; watch it by store.run({run_id!r})",
                    run_id=run_id,
                    pid=os.getpid(),
                )
            self._mine.add(run_id)
        try:
            head, events = self._read(lambda place: self._taken(place, run_id))
        except BaseException as error:
            self._mine.discard(run_id)
            if not isinstance(error, (RunHeld, RunUnknown)):
                self._give_back(run_id)
            raise
        return head, events, self._journal(head, len(events))

    def _taken(self, place: DuckFile | RemoteFile, run_id: str) -> tuple[Head, list[Event]]:
        me = this_process()
        return place.take(run_id, me) if isinstance(place, RemoteFile) else self.take_for(run_id, me)

    def _give_back(self, run_id: str) -> None:
        # It may have been given before it failed; if it is somebody else's, the release does not count.
        with suppress(OrchkitError):
            release: list[Entry] = [("lease", (run_id, None))]
            if isinstance(self._elected.place, RemoteFile):
                self._writer.push(release)
            else:
                self._inbox.append(release, sender=this_process().name, again=False)

    def take_for(self, run_id: str, holder: Holder) -> tuple[Head, list[Event]]:
        """Give a run to a process, as the owner of the file, and its log; durable when it returns."""
        self._elected.refuse_to_write()
        _own(self._elected.place)
        self._refuse_held(run_id, holder, self.fetch)
        while True:
            # Read first, for it may be long, and what cannot be read is not given.
            head, events = self.head(run_id), self.events(run_id)
            if self._writer.call(partial(self._give, run_id, holder, len(events))):
                return head, events

    def _give(self, run_id: str, holder: Holder, read: int) -> bool:
        file = _own(self._elected.place)
        self._refuse_held(run_id, holder, file.fetch)
        if file.fetch("select count(*) from event where run = ?", [run_id]) != [(read,)]:
            return False  # the last words of who had it have arrived meanwhile
        file.commit([holder.entry(), ("lease", (run_id, holder.name))])
        return True

    def _refuse_held(self, run_id: str, holder: Holder, fetch: Fetch) -> None:
        current = holders(fetch, run_id).get(run_id)
        if current is not None and current.name != holder.name:
            raise RunHeld(
                f"run {run_id!r} is being executed by process {current.pid} on {current.host}; watch it by "
                f"store.run({run_id!r})",
                run_id=run_id,
                pid=current.pid,
                host=current.host,
            )

    def _release_left(self) -> None:
        # A store that could not write could not give its leases back either, and this process lives on.
        if self.read_only or self._elected.damage is not None:
            return
        held = {run for store in list(_STORES) if not store.is_closed() for run in store._mine.copy()}
        left = [run for run in left_by(self.fetch, this_process().name) if run not in held]
        if left:
            self._writer.push([("lease", (run, None)) for run in left])

    def holders(self) -> dict[str, Holder]:
        """Give the processes that execute runs now, by run."""
        return holders(self.fetch)

    def _renewal(self) -> list[Entry]:
        now = wall_micro()
        if not self._mine or now < self._renew_at:
            return []
        self._renew_at = now + _RENEW
        return [this_process().entry()]

    def append_durably(
        self, entries: Sequence[Entry], *, sender: str, again: bool, serial: Serial = (0, 0)
    ) -> dict[str, str]:
        """Append what another process sends.

        Parameters
        ----------
        entries : sequence of tuple
        sender : str
            Name of the process.
        again : bool
            Leave out what is recorded.
        serial : tuple of int
            Which of its batches this is; one that was taken already is not taken again.

        Returns
        -------
        dict of str to str
            Its runs that were given to somebody else, and whom; what it says of those is not recorded.
        """
        self._elected.refuse_to_write()
        _own(self._elected.place)
        return self._inbox.append(entries, sender=sender, again=again, serial=serial)

    # Mail

    def post(self, letter: Letter) -> Letter:
        """Record a letter, once however often it is sent; durable when it returns.

        Returns
        -------
        Letter
            With the time at which it was recorded.

        Raises
        ------
        RunUnknown
            If there is no such run.
        StoreError
            If it cannot be recorded.
        """

        def post_it(place: DuckFile | RemoteFile) -> Letter:
            if isinstance(place, RemoteFile):
                return place.post(letter)
            self._elected.refuse_to_write()
            return self._writer.call(partial(post, place, letter))

        posted = self._read(post_it)
        self.mailed.set()
        return posted

    def unread(self, runs: Sequence[str], *, fenced: bool = False) -> list[Letter]:
        """Give the letters to some runs of which nobody has said what became of them, in order.

        Parameters
        ----------
        runs : sequence of str
        fenced : bool
            None that is recorded later has an earlier time; else one may be under way.
        """
        self._refuse()

        def look(place: DuckFile | RemoteFile) -> list[Letter]:
            if isinstance(place, RemoteFile):
                return place.unread(runs, fenced=fenced)
            ask = partial(unread, place.fetch, runs)
            return self._writer.call(ask) if fenced else ask()

        # Nothing of our own is waited for, as for other questions: letters were durable when they were recorded.
        return self._elected.ask(look)

    def outcome(self, letter_id: str) -> str | None:
        """Give what became of a letter; None as long as nobody has said."""
        self._refuse()

        def look(place: DuckFile | RemoteFile) -> str | None:
            if isinstance(place, RemoteFile):
                return place.outcome(letter_id)
            return outcome(place.fetch, letter_id)

        return self._elected.ask(look)

    def tell(self, letter: Letter, said: str) -> None:
        """Say what became of a letter; does not wait until that is durable, for the log tells it too."""
        self._refuse()
        self._writer.push([outcome_entry(letter, said)])

    def hears_all(self) -> bool:
        """Say whether this process owns the file, so that it records every letter, and sets `mailed` then."""
        return isinstance(self._elected.place, DuckFile)

    # Reading, after all that was appended is committed

    def head(self, run_id: str) -> Head:
        """Give a run's admission."""
        return self._read(lambda place: place.head(run_id))

    def heads(self) -> list[Head]:
        """Give all admissions, in order."""
        return self._read(lambda place: place.heads())

    def events(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        """Give a run's log, or `limit` events of it that come after its first."""
        return self._read(lambda place: place.events(run_id, after, limit))

    def fetch(self, sql: str, parameters: Sequence[Any] | None = None) -> list[Row]:
        """Run a query of ours and give its rows."""
        return self._read(lambda place: place.fetch(sql, parameters))

    def frame(self, sql: str, parameters: Sequence[Any] | None = None) -> Any:
        """Run a query of ours and give a pandas DataFrame."""
        return self._read(lambda place: place.frame(sql, parameters))

    def query(self, sql: str) -> Any:
        """Run one SELECT of a user's and give a pandas DataFrame.

        It may read files of the user's own, such as Parquet, beside the store, but changes nothing.

        Raises
        ------
        StoreError
            For anything else, or what DuckDB refuses.
        """
        self._prepare()
        return self._read(lambda place: place.query(sql))

    def arrow(self, sql: str, parameters: Sequence[Any] | None) -> bytes:
        """Run one SELECT for another process, and give its rows as an Arrow IPC stream."""
        self._prepare()
        packed: bytes = self._read(lambda place: _own(place).query(sql, parameters, arrow=True))
        return packed

    def _prepare(self) -> None:
        # Before it is read: rows alone are read faster, and whoever reads much waits longer than for this.
        self._refuse()
        if self._elected.is_large() and not self._writer.on_it():
            self._writer.call(lambda: self._elected.tend(reading=True))

    def _read(self, question: Callable[[DuckFile | RemoteFile], T]) -> T:
        self._refuse()
        self._writer.flush()
        return self._elected.ask(question)

    def _refuse(self) -> None:
        if self._writer.refusal is not None:
            self._writer.refuse()
        if self.is_closed():
            raise StoreError(f"{self.path.name} is closed; open it again with ok.open(path)")

    # Care, by the owner of the file

    def prune(self, keep: Keep, *, dry_run: bool) -> list[Row]:
        """Delete ended runs; give a row of `care.PRUNED` for each."""
        gone = self._tend(
            lambda file, held: prune(file, keep, held=held, dry_run=dry_run),
            lambda owner: owner.prune(keep, dry_run=dry_run),
        )
        with self._lock:
            if self._ids and not dry_run:
                self._ids -= {row[0] for row in gone}
        return gone

    def compact(self) -> Compacted:
        """Put a copy without free blocks in the place of the file."""
        return self._tend(lambda file, held: compact(file, held=held), lambda owner: owner.compact())

    def _tend(self, mine: Callable[[DuckFile, dict[str, Holder]], T], theirs: Callable[[RemoteFile], T]) -> T:
        def tend(place: DuckFile | RemoteFile) -> T:
            if isinstance(place, RemoteFile):
                return theirs(place)
            self._elected.refuse_to_write()
            return self._writer.call(lambda: mine(place, self._held(place)))

        return self._read(tend)

    def _held(self, file: DuckFile) -> dict[str, Holder]:
        mine = dict.fromkeys(self._mine.copy(), this_process())
        return mine | holders(file.fetch)

    def snapshot(self, target: Path) -> None:
        """Copy the file into a new one, as it is at one moment."""

        def copy(place: DuckFile | RemoteFile) -> None:
            if isinstance(place, RemoteFile):
                place.snapshot(target)
            else:
                with place.cursor(wide=True) as cursor:
                    snapshot(cursor, target)

        self._read(copy)

    def export(self, folder: Path, *, overwrite: bool) -> list[Exported]:
        """Write each table and view into a file of its own."""

        def write(place: DuckFile | RemoteFile) -> list[Exported]:
            if isinstance(place, RemoteFile):
                return place.export(folder, overwrite=overwrite)
            with place.cursor(wide=True) as cursor:
                return export(cursor, folder, overwrite=overwrite)

        return self._read(write)

    def size(self) -> StoreSize:
        """Measure the store."""
        return size_of(self.path, self.fetch)

    # What is missing

    @property
    def damage(self) -> Damage | None:
        """What is missing in the file; while that is not confirmed nothing can be written."""
        return self._read(lambda place: place.damage)

    def confirm(self) -> None:
        """Go on with what is there, although something is missing; does nothing if nothing is.

        Raises
        ------
        StoreReadOnly
            If the store was opened for reading only.
        """
        if self.read_only:
            raise StoreReadOnly(f"{self.path.name} is open for reading only; close it, and open it by ok.open(path)")
        self._read(lambda place: None)
        self._elected.confirm()

    # The end

    def is_closed(self) -> bool:
        """Say whether it has let the file go, or belongs to the process that this one was forked from."""
        return self._elected.over

    def close(self) -> None:
        """Make everything durable and let the file go; safe to call twice.

        Raises
        ------
        StoreWriteError
            If something that was appended could not be made durable.
        """
        if self.is_closed():
            return
        atexit.unregister(self.close)
        self._elected.close_doors()
        self._writer.close()
        self._elected.let_go()

    def _disown(self) -> None:
        self._lock = threading.Lock()
        self._elected.disown()
        self._writer.disown(
            StoreError(f"{self.path.name} was opened before a fork; open it in one process, or use spawn")
        )


def _own(place: DuckFile | RemoteFile) -> DuckFile:
    if isinstance(place, RemoteFile):
        raise OwnerGone  # asked of a process that owns the file no more
    return place


_STORES: weakref.WeakSet[DuckStore] = weakref.WeakSet()


def _disown_all() -> None:
    for store in list(_STORES):
        if not store.is_closed():
            store._disown()


os.register_at_fork(after_in_child=_disown_all)

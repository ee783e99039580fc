"""The elected place: this process's way to the file, as its owner or through the owner, whichever it is just now."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from orchkit.clock.ids import here, wall_micro
from orchkit.errors import StoreBusy, StoreError, StoreReadOnly
from orchkit.store.client import RemoteFile, next_serial
from orchkit.store.damage import Damage
from orchkit.store.election import Notice, Seat, read_notice, take_reading_seat, take_seat
from orchkit.store.file import DuckFile
from orchkit.store.held import refuse_unfit
from orchkit.store.holder import RENEW_SECONDS, this_process
from orchkit.store.leaving import refuse_late
from orchkit.store.lost import refuse_missing
from orchkit.store.rows import Entry, Item
from orchkit.store.server import Server
from orchkit.store.wire import OwnerGone

__all__ = ["Elected"]

T = TypeVar("T")
_AT_FIRST = 2.0  # seconds; opening a file with a long log takes less than one
_PATIENCE = 10.0
_WITH_ROWS = 60.0  # rather than to stop the runs whose rows are in hand
_PAUSE = 0.02  # seconds between two looks


class Elected:
    """The way to a store's file; a process that loses the owner takes its place, or finds the next.

    Parameters
    ----------
    path : Path
    serve : callable
        Makes the server when this process owns the file.
    renewal : callable
        Gives the rows by which this process renews its leases, when it is time to.
    lost : callable
        Told of runs of this process that were given to somebody else, and whom.
    read_only : bool
        Write nothing, and share the file with others that do not.
    """

    def __init__(
        self,
        path: Path,
        serve: Callable[[], Server | None],
        renewal: Callable[[], list[Entry]] = list,
        lost: Callable[[dict[str, str]], None] = lambda _: None,
        *,
        read_only: bool = False,
    ) -> None:
        self.path = path
        self.read_only = read_only
        self._serve = serve
        self._renewal = renewal
        self._lost = lost
        self._lock = threading.Lock()
        self._doors = threading.Lock()  # of its own: an election takes a while, and who closes is not to wait for it
        self._seat: Seat | None = None
        self._server: Server | None = None
        self._shut = False
        self.over = False
        self.place: DuckFile | RemoteFile = self._elect(_AT_FIRST)
        try:
            refuse_late(path.name)
        except BaseException:
            self.let_go()
            raise

    def open_doors(self) -> None:
        """Serve other processes, if this one owns the file."""
        with self._doors:
            if self._seat is None or self._server is not None or self._shut or self.read_only:
                return
            self._server = self._serve()
            nowhere = Notice(os.getpid(), here(), "", "")
            self._seat.announce(nowhere if self._server is None else self._server.notice)

    def _elect(self, seconds: float) -> DuckFile | RemoteFile:
        patience = wall_micro() + int(seconds * 1e6)
        refuse_late(self.path.name)
        refuse_unfit(self.path)
        if self.read_only:
            refuse_missing(self.path)
        while True:
            try:
                place, notice = self._look()
            except StoreBusy as error:
                # Whoever had it is not done with closing, or somebody looks into it for a moment.
                if error.pid == os.getpid() or wall_micro() > patience:
                    raise
            else:
                if place is not None:
                    return place
                if wall_micro() > patience:
                    raise self._held_by(0 if notice is None or not notice.is_there() else notice.pid)
            self._refuse_over()
            threading.Event().wait(_PAUSE)

    def _look(self) -> tuple[DuckFile | RemoteFile | None, Notice | None]:
        seat = take_reading_seat(self.path) if self.read_only else take_seat(self.path)
        if seat is not None:
            return self._sit(seat), None
        notice = read_notice(self.path)
        if notice is not None and not notice.address:
            raise StoreBusy(
                f"{self.path.name} is held by process {notice.pid}, which cannot share it: no Unix socket can be made "
                f"beside it, nor in {tempfile.gettempdir()}; end that process, or use another path",
                pid=notice.pid,
            )
        try:
            return None if notice is None else RemoteFile(notice), notice
        except OwnerGone:
            return None, notice  # it has just ended, or has not begun

    def _held_by(self, pid: int) -> StoreBusy:
        who = f"process {pid}" if pid else "another process, which reads it"
        return StoreBusy(
            f"{self.path.name} is held by {who} and does not answer; end that process, or use another path", pid=pid
        )

    def _refuse_over(self) -> None:
        if self.over:
            raise StoreError(f"{self.path.name} is closed; open it again with ok.open(path)")

    def _sit(self, seat: Seat) -> DuckFile:
        try:
            file = DuckFile(self.path, read_only=self.read_only)
        except BaseException:
            seat.leave()
            raise
        self._seat = seat
        return file

    def ask(self, question: Callable[[DuckFile | RemoteFile], T]) -> T:
        """Ask whoever has the file, and the next if it goes meanwhile."""
        while True:
            place = self.place
            try:
                return question(place)
            except OwnerGone:
                self._succeed(place)
            except StoreError:
                if not self._was_replaced(place):
                    raise

    def _was_replaced(self, place: DuckFile | RemoteFile) -> bool:
        with self._lock:  # while it is opened anew it is neither
            return self.place is not place

    @property
    def damage(self) -> Damage | None:
        """What is missing in the file, if that has not been confirmed."""
        return self.ask(lambda place: place.damage)

    def refuse_to_write(self) -> None:
        """Say why nothing may be written, if that is so.

        Raises
        ------
        StoreReadOnly
        """
        if self.read_only:
            raise StoreReadOnly(f"{self.path.name} is open for reading only; close it, and open it by ok.open(path)")
        damage = self.ask(lambda place: place.known_damage)
        if damage is not None:
            raise damage.refusal()

    def confirm(self) -> None:
        """Go on with what is there, although something is missing."""
        while True:
            place = self.place
            try:
                if isinstance(place, RemoteFile):
                    place.confirm()
                elif place.damage is not None:
                    self._confirm(place)
                return
            except OwnerGone:
                self._succeed(place)

    def _confirm(self, damaged: DuckFile) -> None:
        with self._lock:
            if self.place is damaged and not self.over:
                damaged.let_go()
                try:
                    self.place = self._reopened(confirmed=True)
                except BaseException:
                    self.place = self._reopened(confirmed=False)
                    raise

    def _reopened(self, *, confirmed: bool) -> DuckFile:
        patience = wall_micro() + int(_PATIENCE * 1e6)
        while True:
            try:
                return DuckFile(self.path, confirmed=confirmed)
            except StoreBusy:  # somebody reads what was just closed, and is not done
                if wall_micro() > patience:
                    raise
                threading.Event().wait(_PAUSE)

    def commit(self, batch: Sequence[Item]) -> None:
        """Append rows; durable when it returns, and none twice when the owner goes meanwhile."""
        batch, again, serial = [*batch, *self._renewal()], False, next_serial()
        while True:
            place = self.place
            try:
                self._record(place, batch, again, serial)
                return
            except OwnerGone:
                again = True
                self._succeed(place, _WITH_ROWS)

    def _record(self, place: DuckFile | RemoteFile, batch: Sequence[Item], again: bool, serial: int) -> None:
        lost: dict[str, str] = {}
        if isinstance(place, RemoteFile):
            lost = place.commit(batch, again=again, serial=serial)
        else:
            if again:
                batch, lost = place.meant(batch, this_process().name, again=True)
            if batch:
                place.commit(batch)
        if lost:
            self._lost(lost)

    def _succeed(self, gone: DuckFile | RemoteFile, seconds: float = _PATIENCE) -> None:
        with self._lock:
            self._refuse_over()
            if self.place is gone:
                gone.let_go()
                self.place = self._elect(seconds)
                self.open_doors()

    def is_quick(self) -> bool:
        """Say whether the next commit will be quick: of a file of our own, on a fast disk, when nothing is due."""
        place = self.place
        return isinstance(place, DuckFile) and place.is_quick()

    def is_large(self) -> bool:
        """Say whether the file is this process's own and so large that what it is asked had better be rows."""
        place = self.place
        return isinstance(place, DuckFile) and place.is_large()

    def tend(self, *, reading: bool = False) -> None:
        """Let the owner make rows of its batches, and merge its log, when it is time to."""
        place = self.place
        if isinstance(place, DuckFile):
            place.tend(reading=reading)

    def idle(self) -> float:
        """Let the owner take care of the file in a quiet moment, and renew the leases when it is time to."""
        renewal = self._renewal()
        if renewal:
            self.commit(renewal)
        return min(RENEW_SECONDS, self.place.idle() or RENEW_SECONDS)

    def close_doors(self) -> None:
        """Serve nobody any more; clients find another owner once the seat is left."""
        with self._doors:
            self._shut = True
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def let_go(self) -> None:
        """Give up the file and the seat; safe to call twice."""
        self.over = True  # who looks for an owner meanwhile stops
        self.close_doors()
        with self._lock:
            seat, self._seat = self._seat, None
            try:
                self.place.let_go()
            finally:
                if seat is not None:
                    seat.leave()

    def disown(self) -> None:
        """Forget all of it in a forked child: file, seat and clients stay the parent's."""
        self._lock, self._doors = threading.Lock(), threading.Lock()
        self.over = True
        self.place.disown()
        for inherited in (self._server, self._seat):
            if inherited is not None:
                inherited.drop()

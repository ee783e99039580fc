"""The client: the file of a store as a process sees it that does not own it."""

from __future__ import annotations

import itertools
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from orchkit.errors import StoreBusy, StoreDamaged, StoreNotice
from orchkit.model.events import Event
from orchkit.model.records import Head, Letter
from orchkit.store.arrow import from_arrow
from orchkit.store.care import Compacted, Keep
from orchkit.store.damage import Damage
from orchkit.store.election import Notice
from orchkit.store.exports import Exported
from orchkit.store.holder import Holder, this_process
from orchkit.store.rows import Entry, Item, Row, row_by_row
from orchkit.store.schema import SCHEMA_VERSION
from orchkit.store.wire import OwnerGone, OwnerSilent, error_of, receive, send

__all__ = ["RemoteFile", "next_serial"]

_GREETING = 10.0  # seconds; a busy owner answers within one
_SILENCE = 10.0  # seconds without an answer, after which the owner is asked whether it is still there
_IDLE = 4  # links that are kept for the next question
_PART = 64 * 2**20  # about the bytes of rows that are sent at once


class _Link:
    """One connection, used by one at a time."""

    def __init__(self, notice: Notice) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            schema = self._greet(notice)
        except BaseException as error:
            self._socket.close()
            if isinstance(error, OwnerGone) and isinstance(error.__cause__, TimeoutError):
                raise OwnerSilent from error
            raise
        if schema != SCHEMA_VERSION:
            self._socket.close()
            raise StoreBusy(
                f"{notice.store} is held by process {notice.pid}, whose orchkit writes schema version {schema} and "
                f"this one {SCHEMA_VERSION}; use the same orchkit in both",
                pid=notice.pid,
            )

    def _greet(self, notice: Notice) -> Any:
        self._socket.settimeout(_GREETING)
        try:
            self._socket.connect(notice.address)
        except OSError as error:
            raise OwnerGone from error
        send(self._socket, [notice.token, SCHEMA_VERSION, this_process().name])
        schema = receive(self._socket)
        self._socket.settimeout(None)
        return schema

    def ask(self, asked: Sequence[Any], silent: Callable[[], None]) -> tuple[bool, Any]:
        """Ask the owner; while no answer comes, `silent` says now and then whether to go on waiting."""
        send(self._socket, asked)
        while not self._is_answered():
            silent()
        ok, answer = receive(self._socket)
        return ok, answer

    def _is_answered(self) -> bool:
        try:
            self._socket.settimeout(_SILENCE)
            self._socket.recv(1, socket.MSG_PEEK)
            self._socket.settimeout(None)
        except TimeoutError:
            return False
        except OSError as error:  # or it was closed here, by another thread
            raise OwnerGone from error
        return True

    def close(self) -> None:
        """Hang up; safe to call twice."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()

    def drop(self) -> None:
        """Forget the connection in a forked child; the parent goes on with it."""
        self._socket.close()


class _Links:
    """The connections to one owner: as many as questions are asked at the same time.

    One whose answer was not read to its end is closed: the next question would get that answer.
    """

    def __init__(self, notice: Notice) -> None:
        self._notice = notice
        self._lock = threading.Lock()
        self._closed = False
        self._idle = [_Link(notice)]
        self._all = set(self._idle)

    def ask(self, *asked: Any, silent: Callable[[], None], once: bool = False) -> Any:
        """Ask the owner; raises what it raised, or `OwnerGone`.

        `silent` is called when the owner is there and says nothing, and raises unless one is to wait. What is asked
        `once` is not asked again by itself.
        """
        while True:
            try:
                link, fresh = self._take()
            except OwnerSilent:
                silent()
                continue
            try:
                ok, answer = link.ask(asked, lambda: self._look_after(silent))
            except OwnerGone:
                self._end(link)
                if fresh or once:
                    raise
                continue  # an old link says nothing about the owner; a new one does
            except BaseException:
                self._end(link)
                raise
            self._keep(link)
            if ok:
                return answer
            raise error_of(*answer)

    def _look_after(self, silent: Callable[[], None]) -> None:
        # A question may take long; an owner that is there greets at once.
        try:
            _Link(self._notice).close()
        except OwnerSilent:
            silent()

    def _take(self) -> tuple[_Link, bool]:
        with self._lock:
            if self._closed:
                raise OwnerGone
            if self._idle:
                return self._idle.pop(), False
        return self._new(), True

    def _new(self) -> _Link:
        link = _Link(self._notice)
        with self._lock:
            closed = self._closed
            if not closed:
                self._all.add(link)
        if closed:
            link.close()
            raise OwnerGone
        return link

    def _keep(self, link: _Link) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _IDLE:
                self._idle.append(link)
                return
        self._end(link)

    def _end(self, link: _Link) -> None:
        with self._lock:
            self._all.discard(link)
        link.close()

    def close(self) -> None:
        """Hang up everywhere, also where somebody waits for an answer; safe to call twice."""
        with self._lock:
            self._closed = True
            links, self._all, self._idle = self._all, set(), []
        for link in links:
            link.close()

    def drop(self) -> None:
        """Forget them in a forked child, where a lock may be held by nobody."""
        for link in list(self._all):
            link.drop()


class RemoteFile:
    """A store's file that another process owns.

    Parameters
    ----------
    notice : Notice
        Where its owner is.

    Raises
    ------
    OwnerGone
        If the owner does not answer; so does every method.
    StoreBusy
        If the owner is there and says nothing, as one that was stopped; so does every method that reads.
    """

    def __init__(self, notice: Notice) -> None:
        self.pid = notice.pid
        self._notice = notice
        self._links = _Links(notice)
        self._whole = False
        self._warned = False

    def _ask(self, *asked: Any) -> Any:
        return self._links.ask(*asked, silent=self._refuse_silence)

    def _refuse_silence(self) -> None:
        raise StoreBusy(f"{self._is_silent()}, or end it", pid=self.pid)

    def _warn_of_silence(self) -> None:
        # What was sent may be recorded, so that nobody else may be told it as long as the owner lives.
        if not self._warned:
            self._warned = True
            with suppress(StoreNotice):  # where warnings are errors; the rows are still on their way
                warnings.warn(f"{self._is_silent()}; what was written waits for it", StoreNotice, stacklevel=2)

    def _is_silent(self) -> str:
        held = f"process {self.pid} holds {self._notice.store}"
        return f"{held} and says nothing, as one that was stopped: let it go on"

    @property
    def damage(self) -> Damage | None:
        """What is missing in the file, as its owner knows."""
        answer = self._ask("damage")
        self._whole = answer is None
        return None if answer is None else msgspec.convert(answer, Damage)

    @property
    def known_damage(self) -> Damage | None:
        """The same without asking again: what is whole stays so for as long as it has this owner."""
        return None if self._whole else self.damage

    @property
    def notices(self) -> tuple[StoreNotice, ...]:
        """What its user should know."""
        damage = self.damage
        return () if damage is None else (StoreDamaged(damage.report),)

    def confirm(self) -> None:
        """Let the owner go on with what is there."""
        self._links.ask("confirm", silent=self._refuse_silence, once=True)

    def commit(self, batch: Sequence[Item], *, again: bool = False, serial: int | None = None) -> dict[str, str]:
        """Let the owner append rows; durable when it returns.

        Parameters
        ----------
        batch : sequence
        again : bool
            Leave out those that are recorded.
        serial : int, optional
            Which of this process's batches it is, from `next_serial`; the same when it is sent again.

        Returns
        -------
        dict of str to str
            The runs that were given to somebody else, and whom: of those nothing was recorded.
        """
        number = next_serial() if serial is None else serial
        lost: dict[str, str] = {}
        for part, rows in enumerate(_parts(row_by_row(batch))):
            asked = ("push", rows, again, (number, part))
            lost |= self._links.ask(*asked, silent=self._warn_of_silence, once=True)
        return lost

    def take(self, run_id: str, holder: Holder) -> tuple[Head, list[Event]]:
        """Take a run, and read its log."""
        head, events = self._ask("take", run_id, holder)
        return msgspec.convert(head, Head), msgspec.convert(events, list[Event])

    def head(self, run_id: str) -> Head:
        """Give a run's admission."""
        return msgspec.convert(self._ask("head", run_id), Head)

    def heads(self) -> list[Head]:
        """Give all admissions, in order."""
        return msgspec.convert(self._ask("heads"), list[Head])

    def events(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        """Give a run's log, or `limit` events of it that come after its first."""
        return msgspec.convert(self._ask("events", run_id, after, limit), list[Event])

    def fetch(self, sql: str, parameters: Sequence[Any] | None = None) -> list[Row]:
        """Run one SELECT, and give its rows."""
        rows: list[Row] = self._relation(sql, parameters).fetchall()
        return rows

    def frame(self, sql: str, parameters: Sequence[Any] | None = None) -> Any:
        """Run one SELECT, and give a DataFrame."""
        return self._relation(sql, parameters).df()

    def query(self, sql: str) -> Any:
        """Run one SELECT of a user's, and give a DataFrame."""
        return self.frame(sql)

    def _relation(self, sql: str, parameters: Sequence[Any] | None) -> Any:
        return from_arrow(self._ask("query", sql, parameters))

    def post(self, letter: Letter) -> Letter:
        """Let the owner record a letter."""
        return msgspec.convert(self._tend("post", letter), Letter)

    def unread(self, runs: Sequence[str], *, fenced: bool) -> list[Letter]:
        """Give the letters to some runs of which nobody has said what became of them."""
        return msgspec.convert(self._ask("unread", list(runs), fenced), list[Letter])

    def outcome(self, letter_id: str) -> str | None:
        """Give what became of a letter."""
        answer: str | None = self._ask("outcome", letter_id)
        return answer

    def prune(self, keep: Keep, *, dry_run: bool) -> list[Row]:
        """Let the owner delete ended runs."""
        return [tuple(row) for row in self._tend("prune", keep, dry_run)]

    def compact(self) -> Compacted:
        """Let the owner compact the file."""
        return Compacted(*self._tend("compact"))

    def snapshot(self, target: Path) -> None:
        """Let the owner copy the file."""
        self._tend("snapshot", str(target))

    def export(self, folder: Path, *, overwrite: bool) -> list[Exported]:
        """Let the owner export the file."""
        return [Exported(*row) for row in self._tend("export", str(folder), overwrite)]

    def _tend(self, *asked: Any) -> Any:
        return self._links.ask(*asked, silent=self._refuse_silence, once=True)

    def idle(self) -> None:
        """Nothing: the owner takes care of the file."""

    def let_go(self) -> None:
        """Hang up."""
        self._links.close()

    def disown(self) -> None:
        """Forget the owner, in a forked child."""
        self._links.drop()


_SERIALS = itertools.count(1)


def next_serial() -> int:
    """Give a number to a batch of this process."""
    return next(_SERIALS)


def _parts(entries: list[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    size = 0
    for entry in entries:
        weight = 200 + sum(len(value) for value in entry[1] if isinstance(value, (str, bytes)))
        if part and size + weight > _PART:
            yield part
            part, size = [], 0
        part.append(entry)
        size += weight
    if part:
        yield part

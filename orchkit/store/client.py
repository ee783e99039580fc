"""The client: the file of a store as a process sees it that does not own it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from orchkit.errors import StoreBusy, StoreDamaged, StoreNotice
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.store.arrow import from_arrow
from orchkit.store.care import Compacted, Keep
from orchkit.store.damage import Damage
from orchkit.store.election import Notice
from orchkit.store.exports import Exported
from orchkit.store.holder import Holder, this_process
from orchkit.store.rows import Item, Row, row_by_row
from orchkit.store.schema import SCHEMA_VERSION
from orchkit.store.wire import OwnerGone, error_of, receive, send

__all__ = ["RemoteFile"]

_GREETING = 10.0  # seconds; a busy owner answers within one


class _Link:
    """One connection; who asks waits for the answer, and others wait for their turn."""

    def __init__(self, notice: Notice) -> None:
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(_GREETING)
            self._socket.connect(notice.address)
            send(self._socket, [notice.token, SCHEMA_VERSION, this_process().name])
            schema = receive(self._socket)
            self._socket.settimeout(None)
        except OSError as error:
            self._socket.close()
            raise OwnerGone from error
        except OwnerGone:
            self._socket.close()
            raise
        if schema != SCHEMA_VERSION:
            self._socket.close()
            raise StoreBusy(
                f"the store is held by process {notice.pid}, whose orchkit writes schema version {schema} and this one "
                f"{SCHEMA_VERSION}; use the same orchkit in both",
                pid=notice.pid,
            )

    def ask(self, *asked: Any) -> Any:
        """Ask the owner; raises what it raised, or `OwnerGone`."""
        with self._lock:
            send(self._socket, asked)
            ok, answer = receive(self._socket)
        if ok:
            return answer
        raise error_of(*answer)

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
    """

    def __init__(self, notice: Notice) -> None:
        self.pid = notice.pid
        self._notice = notice
        self._writing = _Link(notice)
        self._reading = _Link(notice)

    @property
    def damage(self) -> Damage | None:
        """What is missing in the file, as its owner knows."""
        answer = self._reading.ask("damage")
        return None if answer is None else msgspec.convert(answer, Damage)

    @property
    def notices(self) -> tuple[StoreNotice, ...]:
        """What its user should know."""
        damage = self.damage
        return () if damage is None else (StoreDamaged(damage.report),)

    def confirm(self) -> None:
        """Let the owner go on with what is there."""
        self._writing.ask("confirm")

    def commit(self, batch: Sequence[Item], *, again: bool = False) -> None:
        """Let the owner append rows; durable when it returns. With `again` those that it has are left out."""
        self._writing.ask("push", row_by_row(batch), again)

    def take(self, run_id: str, holder: Holder) -> tuple[Head, list[Event]]:
        """Take a run, and read its log."""
        head, events = self._reading.ask("take", run_id, holder)
        return msgspec.convert(head, Head), msgspec.convert(events, list[Event])

    def head(self, run_id: str) -> Head:
        """Give a run's admission."""
        return msgspec.convert(self._reading.ask("head", run_id), Head)

    def heads(self) -> list[Head]:
        """Give all admissions, in order."""
        return msgspec.convert(self._reading.ask("heads"), list[Head])

    def events(self, run_id: str) -> list[Event]:
        """Give a run's log."""
        return msgspec.convert(self._reading.ask("events", run_id), list[Event])

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
        return from_arrow(self._reading.ask("query", sql, parameters))

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
        # A connection of its own: it may take a while, and others of this process go on.
        link = _Link(self._notice)
        try:
            return link.ask(*asked)
        finally:
            link.close()

    def idle(self) -> None:
        """Nothing: the owner takes care of the file."""

    def let_go(self) -> None:
        """Hang up."""
        self._writing.close()
        self._reading.close()

    def disown(self) -> None:
        """Forget the owner, in a forked child."""
        self._writing.drop()
        self._reading.drop()

"""The DuckDB store: one file, one writer thread, group commit."""

from __future__ import annotations

import atexit
import os
import re
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import py_object, pythonapi
from pathlib import Path
from typing import Any

import duckdb

from orchkit.errors import RunUnknown, StoreError
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.store.opening import inode_of, open_file, release, unreadable
from orchkit.store.schema import EVENT_COLUMNS, HEAD_COLUMNS, event_of, event_row, head_of, head_row
from orchkit.store.writer import Wake, Writer

__all__ = ["DuckStore"]


def _select(columns: tuple[str, ...], table: str) -> str:
    return f"select {', '.join(chr(34) + name + chr(34) for name in columns)} from {table}"


_EVENTS = _select(EVENT_COLUMNS, "event")
_HEADS = _select(HEAD_COLUMNS, "admission")
# These functions run what they are given on a connection of their own, outside the reading transaction.
_OWN_CONNECTION = re.compile("json_execute_serialized_sql|external_resource", re.IGNORECASE)
_LAST_SEQ = """select greatest(
    coalesce((select max(seq) from event), 0), coalesce((select max(seq) from admission), 0))"""


class _DuckJournal:
    def __init__(self, writer: Writer, head: Head, ticket: int) -> None:
        self._writer = writer
        self._head = head
        self._ticket = ticket

    def append(self, event: Event) -> None:
        """Queue an event for the writer."""
        self._ticket = self._writer.push("event", event_row(self._head, event))

    def behind(self) -> bool:
        """Say whether the writer has yet to commit something of this run."""
        return self._ticket > self._writer.durable

    def when_durable(self, wake: Wake) -> None:
        """Call `wake` from the writer's thread after the commit."""
        self._writer.when_durable(self._ticket, wake)

    def release(self) -> None:
        """Nothing to let go: the file is held by one process."""


class DuckStore:
    """Runs in one DuckDB file.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    StoreBusy
        If this or another process has the file open.
    StoreUnreadable
        If it is no store, damaged, or newer than this orchkit.
    StoreWriteError
        If nothing can be written there.

    Notes
    -----
    A store that could not write lets its file go and takes nothing more; open it again to see what is in it. In a
    forked child it does the same, and the file stays the parent's.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._closed = False
        self._lock = threading.Lock()
        self._connection, self._inode = open_file(self.path)
        try:
            self._known = {row[0] for row in self._connection.execute("select run from admission").fetchall()}
            (seq,) = self._connection.execute(_LAST_SEQ).fetchall()[0]
            self._writer = Writer(
                self._connection.cursor(), ("admission", "event"), seq, check=self._check, let_go=self._let_go
            )
        except duckdb.Error as error:
            self._let_go()
            raise unreadable(self.path, error) from error
        atexit.register(self.close)
        _STORES.add(self)

    def admit(self, head: Head) -> _DuckJournal:
        """Take a new run; its row is committed before or with its first event.

        Raises
        ------
        StoreError
            If a run of that id is there.
        """
        row = head_row(head)
        with self._lock:
            if head.run_id in self._known:
                raise StoreError(f"run {head.run_id!r} is already in {self.path.name}; resume it instead")
            self._known.add(head.run_id)
        return _DuckJournal(self._writer, head, self._writer.push("admission", row))

    def take(self, run_id: str) -> tuple[Head, list[Event], _DuckJournal]:
        """Claim a run for this process, and give its admission, its log, and a journal that continues it."""
        head = self.head(run_id)
        return head, self.events(run_id), _DuckJournal(self._writer, head, 0)

    def head(self, run_id: str) -> Head:
        """Give a run's admission."""
        rows = self.fetch(f"{_HEADS} where run = ?", [run_id])
        if not rows:
            raise RunUnknown(f"no run {run_id!r} in {self.path.name}; store.runs() lists what is there", run_id=run_id)
        return head_of(rows[0])

    def heads(self) -> list[Head]:
        """Give all admissions, in order."""
        return [head_of(row) for row in self.fetch(f"{_HEADS} order by seq")]

    def events(self, run_id: str) -> list[Event]:
        """Give a run's log, whatever is still on its way included."""
        self.head(run_id)
        return [event_of(row) for row in self.fetch(f"{_EVENTS} where run = ? order by seq", [run_id])]

    def fetch(self, sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a query on a cursor of its own, to its last row, after all that was appended is committed."""
        with self._reading() as cursor:
            try:
                rows: list[tuple[Any, ...]] = cursor.execute(sql, parameters or []).fetchall()
            except duckdb.Error as error:
                raise unreadable(self.path, error) from error
            return rows

    def frame(self, sql: str, parameters: list[Any] | None = None) -> Any:
        """Run a query and give a pandas DataFrame."""
        with self._reading() as cursor:
            try:
                return cursor.execute(sql, parameters or []).df()
            except duckdb.Error as error:
                raise unreadable(self.path, error) from error

    def query(self, sql: str) -> Any:
        """Run one SELECT of a user's and give a pandas DataFrame.

        It may read files of the user's own, such as Parquet, beside the store, but changes nothing.

        Raises
        ------
        StoreError
            For anything else, or what DuckDB refuses.
        """
        with self._reading() as cursor:
            try:
                statements = cursor.extract_statements(sql)
                # Not EXPLAIN either: with ANALYZE it executes what it explains.
                kinds = [statement.type for statement in statements]
                if kinds != [duckdb.StatementType.SELECT] or _OWN_CONNECTION.search(sql):
                    raise StoreError(f"store.sql takes one SELECT; {sql[:60]!r} is something else")
                # An INSERT inside a WITH counts as a SELECT; this refuses it.
                cursor.execute("begin transaction read only")
                return cursor.execute(statements[0]).df()
            except (duckdb.Error, TypeError) as error:
                raise StoreError(f"{_said(error)}: {str(sql)[:200]!r}") from error

    def is_closed(self) -> bool:
        """Say whether it has let the file go, or belongs to the process that this one was forked from."""
        return self._closed

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if self._writer.refusal is not None:
            self._writer.refuse()
        if not self._closed:
            self._writer.flush()
        with self._lock:
            if self._closed:
                raise StoreError(f"{self.path.name} is closed; open it again with ok.open(path)")
            cursor = self._connection.cursor()
        with cursor:
            yield cursor

    def close(self) -> None:
        """Make everything durable and let the file go; safe to call twice.

        Raises
        ------
        StoreWriteError
            If something that was appended could not be made durable.
        """
        if self._closed:
            return
        self._writer.close()
        self._let_go()

    def _check(self) -> None:
        if inode_of(self.path) != self._inode:
            raise FileNotFoundError(f"{self.path} was deleted, moved or replaced while it was open")

    def _let_go(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            atexit.unregister(self.close)
            self._connection.close()
            release(self._inode)

    def _disown(self) -> None:
        self._lock = threading.Lock()
        self._closed = True
        # Kept alive for as long as the child lives: its destructor would checkpoint the parent's file and delete the
        # write-ahead log that the parent goes on writing to, and what that acknowledges then would be lost in a
        # crash. The frame of the writer's thread keeps it too, but only because CPython forgets to free it.
        pythonapi.Py_IncRef(py_object(self._connection))
        self._writer.disown(
            StoreError(f"{self.path.name} was opened before a fork; open it in one process, or use spawn")
        )


_STORES: weakref.WeakSet[DuckStore] = weakref.WeakSet()


def _disown_all() -> None:
    for store in list(_STORES):
        if not store.is_closed():
            store._disown()


os.register_at_fork(after_in_child=_disown_all)


def _said(error: BaseException) -> str:
    # DuckDB's second paragraph draws the query with a caret; the first may name what was meant.
    return str(error).partition("\n\n")[0].replace("\n", " ")

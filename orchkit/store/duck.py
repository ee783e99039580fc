"""The DuckDB store: one file, one writer thread, group commit.

While one commit syncs, the next batch gathers by itself; waiting on purpose for more would only add latency. The
file is never opened, hashed or copied by Python while DuckDB has it open: closing any descriptor of it would drop
the POSIX lock that keeps other processes out.
"""

from __future__ import annotations

import atexit
import os
import re
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from orchkit.errors import RunUnknown, StoreBusy, StoreError, StoreUnreadable, StoreWriteError
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.store.schema import (
    EVENT_COLUMNS,
    SCHEMA_VERSION,
    STATEMENTS,
    event_of,
    event_row,
    head_of,
    head_row,
)

__all__ = ["DuckStore"]

_BATCH_ROWS = 1000
_QUEUE_ROWS = 10_000
_SELECT_EVENTS = f"select {', '.join(chr(34) + name + chr(34) for name in EVENT_COLUMNS)} from event"

Wake = Callable[[BaseException | None], None]


class _Writer:
    """One thread, one connection that is used for nothing else, and a bounded queue."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, seq: int) -> None:
        self._connection = connection
        self._seq = seq
        self._queue: deque[tuple[Head, Event | None]] = deque()
        self._wakes: deque[tuple[int, Wake]] = deque()
        self._changed = threading.Condition()
        self._pushed = 0
        self.durable = 0
        self.failure: StoreWriteError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True, name="orchkit-writer")
        self._thread.start()

    def push(self, head: Head, event: Event | None) -> int:
        """Queue a row (None: the admission itself); gives the ticket to wait for. Blocks while the queue is full."""
        with self._changed:
            while len(self._queue) >= _QUEUE_ROWS and self.failure is None:
                self._changed.wait()
            if self.failure is not None:
                raise self.failure
            if self._closing:
                raise StoreWriteError("the store is closed; open it again with ok.open(path)")
            self._queue.append((head, event))
            self._pushed += 1
            if len(self._queue) == 1:
                self._changed.notify_all()
            return self._pushed

    def when_durable(self, ticket: int, wake: Wake) -> None:
        """Call `wake` once that ticket is durable; at once if it is."""
        with self._changed:
            if self.failure is None and ticket > self.durable:
                self._wakes.append((ticket, wake))
                return
            failure = self.failure if ticket > self.durable else None
        wake(failure)

    def flush(self) -> None:
        """Wait until all that was pushed so far is durable."""
        done = threading.Event()
        failures: list[BaseException | None] = []

        def wake(failure: BaseException | None) -> None:
            failures.append(failure)
            done.set()

        self.when_durable(self._pushed, wake)
        done.wait()
        if failures[0] is not None:
            raise failures[0]

    def close(self) -> None:
        """Write what is queued and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _serve(self) -> None:
        events = duckdb.appender("event", connection=self._connection)
        admissions = duckdb.appender("admission", connection=self._connection)
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if not self._queue:
                    return
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH_ROWS))]
                self._changed.notify_all()
            try:
                self._commit(batch, events, admissions)
            except BaseException as error:
                self._fail(error)
                return
            self._tell(self.durable + len(batch))

    def _commit(self, batch: list[tuple[Head, Event | None]], events: Any, admissions: Any) -> None:
        heads, rows = [], []
        for head, event in batch:
            self._seq += 1
            if event is None:
                heads.append(head_row(self._seq, head))
            else:
                rows.append(event_row(self._seq, head, event))
        self._connection.execute("begin")
        if heads:
            admissions.append_rows(heads)
            admissions.flush()
        if rows:
            events.append_rows(rows)
            events.flush()
        self._connection.execute("commit")

    def _tell(self, durable: int) -> None:
        with self._changed:
            self.durable = durable
            ready = []
            while self._wakes and self._wakes[0][0] <= durable:
                ready.append(self._wakes.popleft()[1])
        for wake in ready:
            wake(None)

    def _fail(self, error: BaseException) -> None:
        failure = StoreWriteError(
            f"events could not be made durable: {str(error).splitlines()[0]}; what was acknowledged is safe, the "
            "runs of this store have stopped: free the disk or mend the file, then open it and resume them"
        )
        failure.__cause__ = error
        with self._changed:
            self.failure = failure
            self._queue.clear()
            wakes, self._wakes = list(self._wakes), deque()
            self._changed.notify_all()
        for _, wake in wakes:
            wake(failure)


class _DuckJournal:
    def __init__(self, writer: _Writer, head: Head) -> None:
        self._writer = writer
        self._head = head
        self._ticket = 0

    def append(self, event: Event) -> None:
        """Queue an event for the writer."""
        self._ticket = self._writer.push(self._head, event)

    def behind(self) -> bool:
        """Say whether the writer has yet to commit something of this run."""
        return self._ticket > self._writer.durable

    def when_durable(self, wake: Wake) -> None:
        """Call `wake` from the writer's thread after the commit."""
        self._writer.when_durable(self._ticket, wake)


class DuckStore:
    """Runs in one DuckDB file.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    StoreBusy
        If another process has the file open.
    StoreUnreadable
        If it is no store, damaged, or newer than this orchkit.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._pid = os.getpid()
        self._connection = _connect(self.path)
        try:
            self._prepare()
            (seq,) = self._connection.execute(
                "select greatest(coalesce((select max(seq) from event), 0), coalesce((select max(seq) from admission), 0))"
            ).fetchall()[0]
        except duckdb.Error as error:
            self._connection.close()
            raise StoreUnreadable(
                f"{self.path} cannot be read: {_first_line(error)}; restore it from a copy, or use another path"
            ) from error
        except StoreUnreadable:
            self._connection.close()
            raise
        self._writer = _Writer(self._connection.cursor(), seq)
        self._closed = False
        atexit.register(self.close)

    def _prepare(self) -> None:
        tables = {row[0] for row in self._connection.execute("select table_name from duckdb_tables()").fetchall()}
        if not tables:
            self._create()
            return
        if not {"meta", "event", "admission"} <= tables:
            raise StoreUnreadable(f"{self.path} is a DuckDB file but no orchkit store; use another path")
        found = dict(self._connection.execute("select key, value from meta").fetchall()).get("schema_version")
        if found != str(SCHEMA_VERSION):
            raise StoreUnreadable(
                f"{self.path} has schema version {found}, this orchkit writes {SCHEMA_VERSION}; use the orchkit that "
                "wrote it, or another path"
            )

    def _create(self) -> None:
        self._connection.execute("begin")
        for statement in STATEMENTS:
            self._connection.execute(statement)
        self._connection.execute("insert into meta values ('schema_version', ?)", [str(SCHEMA_VERSION)])
        self._connection.execute("commit")
        # A schema change must not sit in a log that may be replayed.
        self._connection.execute("checkpoint")

    def admit(self, head: Head) -> _DuckJournal:
        """Take a new run; its row is committed before or with its first event."""
        self._writer.push(head, None)
        return _DuckJournal(self._writer, head)

    def journal(self, head: Head) -> _DuckJournal:
        """Give a journal that continues a run's log."""
        return _DuckJournal(self._writer, self.head(head.run_id))

    def head(self, run_id: str) -> Head:
        """Give a run's admission."""
        rows = self.fetch("select * from admission where run = ?", [run_id])
        if not rows:
            raise RunUnknown(f"no run {run_id!r} in {self.path.name}; store.runs() lists what is there", run_id=run_id)
        return head_of(rows[0])

    def heads(self) -> list[Head]:
        """Give all admissions, in order."""
        return [head_of(row) for row in self.fetch("select * from admission order by seq")]

    def events(self, run_id: str) -> list[Event]:
        """Give a run's log, whatever is still on its way included."""
        self.head(run_id)
        return [event_of(row) for row in self.fetch(f"{_SELECT_EVENTS} where run = ? order by seq", [run_id])]

    def fetch(self, sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a query on a cursor of its own, to its last row, after all that was appended is committed."""
        with self._reading() as cursor:
            rows: list[tuple[Any, ...]] = cursor.execute(sql, parameters or []).fetchall()
            return rows

    def frame(self, sql: str, parameters: list[Any] | None = None) -> Any:
        """Run a query and give a pandas DataFrame."""
        with self._reading() as cursor:
            return cursor.execute(sql, parameters or []).df()

    def query(self, sql: str) -> Any:
        """Run one reading statement of a user's and give a pandas DataFrame.

        Raises
        ------
        StoreError
            For anything else, or what DuckDB refuses.
        """
        with self._reading() as cursor:
            try:
                statements = cursor.extract_statements(sql)
                kinds = [statement.type for statement in statements]
                if kinds not in ([duckdb.StatementType.SELECT], [duckdb.StatementType.EXPLAIN]):
                    raise StoreError(f"store.sql takes one SELECT; {sql[:60]!r} is something else")
                return cursor.execute(statements[0]).df()
            except duckdb.Error as error:
                raise StoreError(f"{_first_line(error)}: {sql[:200]!r}") from error

    def is_closed(self) -> bool:
        """Say whether it has let the file go, or belongs to the process that this one was forked from."""
        return self._closed or self._pid != os.getpid()

    def _reading(self) -> duckdb.DuckDBPyConnection:
        if self._closed:
            raise StoreError(f"{self.path.name} is closed; open it again with ok.open(path)")
        if self._pid != os.getpid():
            raise StoreError(f"{self.path.name} was opened before a fork; open it in one process, or use spawn")
        self._writer.flush()
        return self._connection.cursor()

    def close(self) -> None:
        """Make everything durable and let the file go; safe to call twice."""
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        atexit.unregister(self.close)
        self._writer.close()
        self._connection.close()


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    if path.is_dir():
        raise StoreUnreadable(f"{path} is a directory; give the path of a file, such as lab.duckdb")
    if not path.parent.is_dir():
        raise StoreUnreadable(f"{path.parent} does not exist; make the directory first, or use another path")
    config: dict[str, Any] = {
        "threads": min(4, os.cpu_count() or 1),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "checkpoint_threshold": "64MB",
        "wal_autocheckpoint_entries": 5000,
    }
    try:
        return duckdb.connect(str(path), config=config)
    except duckdb.Error as error:
        held = re.search(r"held in (.*?) \(PID (\d+)\)", str(error))
        if held:
            raise StoreBusy(
                f"{path.name} is held by process {held[2]} ({held[1]}); close it there, or use another path",
                pid=int(held[2]),
            ) from error
        raise StoreUnreadable(
            f"{path} cannot be opened as a store: {_first_line(error)}; use another path, or restore it from a copy"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

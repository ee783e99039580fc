"""The file: one DuckDB file that this process has open, what it appends and what it reads.

One thread at a time appends, the writer's or the engine's; any thread reads, on a cursor of its own.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ctypes import py_object, pythonapi
from pathlib import Path
from traceback import clear_frames
from typing import Any

import duckdb
from msgspec import MsgspecError

from orchkit.clock.ids import wall_micro
from orchkit.errors import RunUnknown, StoreBusy, StoreError, StoreReadOnly, StoreUnreadable
from orchkit.model.events import Event
from orchkit.model.records import Head
from orchkit.store.asking import answer, said
from orchkit.store.batches import batch_of, table_of
from orchkit.store.checkpoint import Checkpoints
from orchkit.store.damage import Damage
from orchkit.store.held import inode_of, release
from orchkit.store.leases import Leases
from orchkit.store.leaving import forget_at_end
from orchkit.store.look import is_damage, last_seq, unreadable
from orchkit.store.opening import open_file
from orchkit.store.rows import Entry, Item, Laid, Logged, Row, Stretch, body_of, event_of, head_of, row_by_row
from orchkit.store.schema import APPENDED, EVENT_COLUMNS, HEAD_COLUMNS, MOVE

__all__ = ["DuckFile"]


def _select(columns: tuple[str, ...], table: str) -> str:
    return f"select {', '.join(chr(34) + name + chr(34) for name in columns)} from {table}"


PATIENCE = 10.0  # seconds
_QUICK = 20_000  # microseconds
_MOVED = 10_000  # events that are moved out of their batches together, in some 30 ms
_AT_ONCE = 4_000  # events; of more than that in one commit rows are made at once
_EVENTS = _select(EVENT_COLUMNS, "event")
_HEADS = _select(HEAD_COLUMNS, "admission")
_REF = EVENT_COLUMNS.index("ref")
_RUN, _N = (EVENT_COLUMNS.index(name) - 1 for name in ("run", "n"))  # a row lacks its seq
_LAST_N = "select run, max(n) from event"
_ADMITTED = "select run from admission"
_AGAIN = 0.02  # seconds
_THREADS = min(4, os.cpu_count() or 1)
_MANY = 200_000  # rows; fewer are read before a second thread has been woken


class DuckFile:
    """One open store file.

    Parameters
    ----------
    path : Path
    read_only : bool
        Write nothing.
    confirmed : bool
        Go on with what is there although something is missing.

    Attributes
    ----------
    damage : Damage or None
        What is missing; until that is confirmed nothing is written.
    notices : tuple of StoreNotice
        What opening it had to do.
    leases : Leases
        Whose its runs are; for the writer's thread.

    Raises
    ------
    StoreBusy
        If this or another process has the file open.
    StoreUnreadable
        If it is no store, damaged beyond repair, or newer than this orchkit.
    StoreWriteError
        If nothing can be written there.
    """

    def __init__(self, path: Path, *, read_only: bool = False, confirmed: bool = False) -> None:
        self.path = path
        self.closed = False
        self._lock = threading.Condition()
        self._reading: list[duckdb.DuckDBPyConnection] = []
        self._wide = 0  # of them; they have several threads
        self._ended: list[duckdb.DuckDBPyConnection] = []
        self._gone = False
        self._seq = 0
        self._took = 0  # microseconds, of the last few commits
        self._batched = 0  # events that wait to be moved
        self._refs: set[str] | None = None
        self.leases = Leases()
        self._checkpoints = Checkpoints(path)
        self._open(read_only=read_only, confirmed=confirmed)
        forget_at_end(self)

    def _open(self, *, read_only: bool = False, confirmed: bool = False) -> None:
        opened = open_file(self.path, read_only=read_only, confirmed=confirmed)
        self._connection, self._inode, seq, self._marks, self.damage, self.notices = opened
        self._seq = max(self._seq, seq)
        self._appenders: dict[str, Any] = {}
        # Used for nothing else: an appender refuses to work beside an unfinished query.
        self._writing = self._connection.cursor()
        try:
            if self._marks is not None:
                self._appenders = {table: duckdb.appender(table, connection=self._writing) for table in APPENDED}
                if self._writing.execute("select 1 from event_batch limit 1").fetchall():
                    self._batched = _MOVED  # whoever left them was killed, and nobody has counted them
        except duckdb.Error as error:
            self._shut()
            raise unreadable(self.path, error) from error

    @property
    def known_damage(self) -> Damage | None:
        """What is missing in the file."""
        return self.damage

    # On the thread that is at work: the writer's, or the engine's

    def is_quick(self) -> bool:
        """Say whether the next commit will take some 20 ms at most, and nothing is due that takes longer."""
        return self._took <= _QUICK and self._batched < _MOVED and not self._checkpoints.due()

    def commit(self, batch: Sequence[Item]) -> None:
        """Append rows in one transaction; durable when it returns."""
        begun = wall_micro()
        self._refuse_to_write()
        rows, runs, table = self._sorted(batch)
        try:
            self._append(rows, table)
        except duckdb.Error as error:
            self._refuse_moved(error)
            raise
        self._refuse_moved()
        for name in ("admission", "lease"):
            self.leases.note(rows.get(name, ()), 1, -1)
        if table is None:
            self._batched += runs.total()
        self._mark(runs)
        self._took += (wall_micro() - begun - self._took) // 8

    def _append(self, rows: Mapping[str, Sequence[Row]], table: Any) -> None:
        # A flush outside a transaction is one of its own: two statements fewer, a quarter of a lone step's time.
        together = len(rows) + (table is not None) > 1
        if together:
            self._writing.execute("begin")
        for name, those in rows.items():
            appender = self._appenders[name]
            appender.append_rows(those)
            appender.flush()
        if table is not None:
            self._insert(table)
        if together:
            self._writing.execute("commit")

    def _is_in_place(self) -> bool:
        return inode_of(self.path) == self._inode

    def _refuse_moved(self, cause: BaseException | None = None) -> None:
        if not self._is_in_place():
            raise FileNotFoundError(f"{self.path} was deleted, moved or replaced while it was open") from cause

    def _sorted(self, batch: Sequence[Item]) -> tuple[dict[str, list[Row]], Counter[str], Any]:
        """Give numbered rows by table, how many events each run has, and the events as a table of Arrow's if many."""
        rows: dict[str, list[Row]] = {}
        laid: list[Laid] = []
        seqs: list[int] = []
        runs: Counter[str] = Counter()
        for item in batch:
            if isinstance(item, Logged):
                self._seq += 1
                seqs.append(self._seq)
                laid.append(item)
            elif isinstance(item, Stretch):
                seqs.append(self._seq + 1)
                self._seq += len(item.events)
                laid.append(item)
                runs[item.layout.run_id] += len(item.events) - 1  # and one more below, as for each of `laid`
            elif item[0] != "payload" or self._is_new(str(item[1][0])):
                self._seq += 1
                rows.setdefault(item[0], []).append((self._seq, *item[1]))
        events = rows.pop("event", [])
        runs.update([one.layout.run_id for one in laid] + [row[_RUN + 1] for row in events])
        table = table_of(seqs, laid, events) if runs.total() > _AT_ONCE else None
        if table is None and (batches := batch_of(seqs, laid, events)):
            rows["event_batch"] = batches
        return rows, runs, table

    def _insert(self, table: Any) -> None:
        self._writing.register("many", table)
        self._writing.execute("insert into event_row select * from many")
        self._writing.unregister("many")

    def meant(self, batch: Sequence[Item], sender: str, *, again: bool) -> tuple[list[Entry], dict[str, str]]:
        """Give what is to be committed of the rows of a process that is not the owner, or was not when it sent them.

        Parameters
        ----------
        batch : sequence
        sender : str
            Name of the process.
        again : bool
            Leave out what is recorded.

        Returns
        -------
        list of tuple
            The rows.
        dict of str to str
            The runs that were given to somebody else, and whom.
        """
        return self.leases.meant(self.fetch, self.unseen(batch) if again else row_by_row(batch), sender)

    def _refuse_to_write(self) -> None:
        if self.damage is not None:
            raise self.damage.refusal()
        if self._marks is None:
            raise StoreReadOnly(f"{self.path.name} is open for reading only; close it, and open it by ok.open(path)")

    def _mark(self, runs: Mapping[str, int]) -> None:
        assert self._marks is not None
        self._marks.add(self._seq, runs)
        if self._checkpoints.committed():
            self.mark_anew()

    def mark_anew(self) -> None:
        """Let the marks begin with what is in the file now; for the writer's thread, after whatever takes rows away."""
        self.leases.forget()
        if self._marks is not None:
            self._marks.begin(*last_seq(self._writing))

    def _is_new(self, ref: str) -> bool:
        # 100 bytes a payload; asking the file for each would cost a scan of it.
        if self._refs is None:
            self._refs = {known for (known,) in self.fetch("select ref from payload")}
        if ref in self._refs:
            return False
        self._refs.add(ref)
        return True

    @contextmanager
    def change(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give the writing connection for one transaction that does more than append: all of it is done, or nothing.

        Raises
        ------
        StoreError
            If it could not be done, and the file is as it was.
        """
        try:
            self._writing.execute("begin")
            self._make_rows()
            yield self._writing
            self._writing.execute("commit")
            self._batched = 0
            self.mark_anew()  # what was acknowledged may have been taken away
        except duckdb.FatalException:
            raise  # nothing can be done with the file but to open it again
        except duckdb.Error as error:
            with suppress(duckdb.Error):
                self._writing.execute("rollback")
            raise StoreError(f"{self.path.name} was not changed: {said(error)}; see that the disk has room") from error
        finally:
            self._refs = None

    @contextmanager
    def apart(self, patience: float = PATIENCE) -> Iterator[None]:
        """Let the file go for as long as the block lasts, and open it again; who reads meanwhile waits.

        Parameters
        ----------
        patience : float, seconds
            How long to wait for the queries that run now.

        Raises
        ------
        StoreBusy
            If one of them has not ended by then; nothing was done.
        """
        with self._lock:
            if not self._lock.wait_for(lambda: not self._reading, patience):
                raise StoreBusy(f"{self.path.name} is being read; try again when that query has ended", pid=os.getpid())
            self._shut()
            try:
                yield
            finally:
                self._open_again()

    def _open_again(self) -> None:
        try:
            self._open()
        except StoreError as error:
            # None of ours, so that the writer ends with it and everybody is told.
            raise RuntimeError(f"{self.path} could not be opened again: {error}") from error
        self.closed = self._gone = False
        self.mark_anew()

    def is_large(self) -> bool:
        """Say whether there is so much that a question about all of it takes longer than to prepare for it."""
        return self._seq > _MANY

    def tend(self, *, quiet: bool = False, reading: bool = False) -> None:
        """Make rows of the batches and merge the log, when it is time to.

        Parameters
        ----------
        quiet : bool
            Nobody waits; it is time sooner.
        reading : bool
            Somebody is about to read much.
        """
        due = self._checkpoints.due(quiet=quiet)
        # Before a merge too: one block of batches that goes bad costs more than one of a column of rows.
        many = self._batched >= (1 if quiet or reading or due else _MOVED)
        if self._marks is None or not (many or due) or not self._is_in_place():
            return  # what lies there now may have marks of its own
        if many:
            self._move()
        if due:
            self._merge()

    def idle(self) -> float | None:
        """Do what waits for a quiet moment; give the seconds until the next look."""
        self.tend(quiet=True)
        return None

    def _move(self) -> None:
        """Make rows of the batches, in a transaction of its own."""
        try:
            self._writing.execute("begin")
            self._make_rows()
            self._writing.execute("commit")
        except duckdb.FatalException:
            raise  # the instance is dead, and only the file knows what came of it
        except duckdb.Error:
            # Batches are read as well as rows are; it is tried again when more have come.
            with suppress(duckdb.Error):
                self._writing.execute("rollback")
        self._batched = 0
        if self._checkpoints.committed():
            self.mark_anew()

    def _make_rows(self) -> None:
        for statement in MOVE:
            self._writing.execute(statement)

    def _merge(self) -> None:
        try:
            self._writing.execute("checkpoint")
        except duckdb.FatalException:
            raise  # the instance is dead, and only the file knows what came of it
        except duckdb.Error:
            self._checkpoints.failed()
        else:
            self._checkpoints.merged()
            self.mark_anew()

    def _discard(self) -> None:
        try:
            for appender in self._appenders.values():
                appender.clear()
            self._appenders.clear()
            self._writing.close()
        except duckdb.Error:
            pass  # the instance is dead; the error that killed it is on its way

    # From any thread

    def unseen(self, batch: Sequence[Item]) -> list[Entry]:
        """Leave out the events and admissions that are recorded: a batch whose answer was lost is sent again.

        Where an event stands is derived from its run and its place in the log, and each run has one writer.
        """
        entries = row_by_row(batch)
        runs = list({row[_RUN] for table, row in entries if table == "event"})
        last: dict[str, int] = dict(self.fetch(f"{_LAST_N} where run in (select unnest(?)) group by run", [runs]))
        admitted = {run for (run,) in self.fetch(f"{_ADMITTED} where run in (select unnest(?))", [runs])}
        return [
            (table, row)
            for table, row in entries
            if not (table == "event" and row[_N] <= last.get(row[_RUN], 0))
            and not (table == "admission" and row[0] in admitted)
        ]

    def head(self, run_id: str) -> Head:
        """Give a run's admission."""
        rows = self.fetch(f"{_HEADS} where run = ?", [run_id])
        if not rows:
            raise RunUnknown(f"no run {run_id!r} in {self.path.name}; store.runs() lists what is there", run_id=run_id)
        return head_of(rows[0])

    def heads(self) -> list[Head]:
        """Give all admissions, in order."""
        return [head_of(row) for row in self.fetch(f"{_HEADS} order by seq")]

    def events(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        """Give a run's log, or `limit` events of it that come after its first."""
        self.head(run_id)
        if after or limit is not None:
            rows = self.fetch(f"{_EVENTS} where run = ? and n > ? order by seq limit ?", [run_id, after, limit])
        else:
            rows = self.fetch(f"{_EVENTS} where run = ? order by seq", [run_id])
        payloads = self._payloads(list({row[_REF] for row in rows if row[_REF] is not None}))
        try:
            return [event_of(row, payloads) for row in rows]
        except (KeyError, TypeError, ValueError, MsgspecError) as error:
            raise StoreUnreadable(
                f"{self.path} cannot be read: the log of run {run_id!r} holds what no orchkit wrote ({error}); restore "
                "it from a copy",
                run_id=run_id,
            ) from error

    def _payloads(self, refs: list[str]) -> dict[str, Any]:
        if not refs:
            return {}
        found = self.fetch("select ref, codec, text, data from payload where ref in (select unnest(?))", [refs])
        return {ref: body_of(*body) for ref, *body in found}

    def fetch(self, sql: str, parameters: Sequence[Any] | None = None) -> list[Row]:
        """Run a query on a cursor of its own, to its last row."""
        rows: list[Row] = self._run(sql, parameters, lambda found: found.fetchall())
        return rows

    def frame(self, sql: str, parameters: Sequence[Any] | None = None) -> Any:
        """Run a query and give a pandas DataFrame."""
        return self._run(sql, parameters, lambda found: found.df())

    def _run(self, sql: str, parameters: Sequence[Any] | None, read: Callable[[Any], Any]) -> Any:
        with self.cursor() as cursor:
            try:
                return read(cursor.execute(sql, parameters or []))
            except duckdb.Error as error:
                self._refuse_closed(error)
                raise unreadable(self.path, error) from error
            finally:
                del cursor

    def query(self, sql: str, parameters: Sequence[Any] | None = None, *, arrow: bool = False) -> Any:
        """Run one SELECT that is not our own, and give a DataFrame, or its rows as an Arrow IPC stream.

        Raises
        ------
        StoreError
            For anything else, or what DuckDB refuses.
        """
        with self.cursor(wide=True) as cursor:
            try:
                return answer(cursor, sql, parameters, arrow=arrow, large=self.is_large())
            except (duckdb.Error, TypeError) as error:
                self._refuse_closed(error)
                if is_damage(error):
                    raise unreadable(self.path, error) from error
                raise StoreError(f"{said(error)}: {str(sql)[:200]!r}") from error
            finally:
                del cursor

    @contextmanager
    def cursor(self, *, wide: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor for one query; a `wide` one reads much, and gets several threads to do it."""
        wide = wide and self.is_large() and _THREADS > 1
        with self._lock:
            self._refuse_closed()
            try:
                cursor = self._connection.cursor()
                if wide and not self._wide:
                    self._connection.execute(f"set threads = {_THREADS}")
            except duckdb.Error as error:
                raise unreadable(self.path, error) from error
            self._reading.append(cursor)
            self._wide += wide
        try:
            with cursor:
                yield cursor
        except BaseException as error:
            # An error keeps what its frames have at hand. Python may end with a daemon thread that has just caught it,
            # and nobody would free DuckDB's part of it then.
            for one in (error, error.__cause__):
                if one is not None:
                    clear_frames(one.__traceback__)
            raise
        finally:
            with self._lock:
                self._reading.remove(cursor)
                self._wide -= wide
                if wide and not self._wide:
                    with suppress(duckdb.Error):  # the instance is dead, or is closed now
                        self._connection.execute("set threads = 1")
                self._lock.notify_all()
            del cursor

    def _refuse_closed(self, cause: BaseException | None = None) -> None:
        if self.closed:
            raise StoreError(f"{self.path.name} is closed; open it again with ok.open(path)") from cause

    def let_go(self) -> None:
        """Close the file, and end what is being read; safe to call twice."""
        with self._lock:
            if self.closed:
                self._lock.wait_for(lambda: self._gone)
                return
            self.closed = True
            self._end_reading()
            try:
                with suppress(duckdb.Error):  # it may be dead; the batches stay what they are
                    if self._batched and self._is_in_place():
                        self._move()
            finally:
                self._shut()  # also when somebody interrupts it, or nobody could ever open the file again

    def _end_reading(self) -> None:
        # DuckDB refuses to close while a cursor is at work. One that has not begun yet does not notice that it is
        # interrupted, so it is told again. They are kept: see `leaving` for who destroys one when Python ends.
        self._ended += self._reading
        while self._reading:
            for cursor in self._reading:
                with suppress(duckdb.Error):  # it has just ended
                    cursor.interrupt()
            self._lock.wait(_AGAIN)

    def _shut(self) -> None:
        self.closed = True
        try:
            self._discard()
            if self._marks is not None:
                self._marks.close()
            with suppress(duckdb.Error):  # what could not be merged stays in the log
                self._connection.close()
        finally:
            # Whoever keeps this object, such as a daemon thread that Python ends with, keeps nothing of DuckDB.
            del self._connection, self._writing
            release(self._inode)
            self._gone = True
            self._lock.notify_all()

    def disown(self) -> None:
        """Forget the file, in a forked child: it stays the parent's."""
        self._lock = threading.Condition()
        self.closed = self._gone = True
        if self._marks is not None:
            self._marks.close()
        # Kept alive for as long as the child lives: its destructor would checkpoint the parent's file and delete the
        # write-ahead log that the parent goes on writing to, and what that acknowledges then would be lost in a
        # crash. The frame of the writer's thread keeps it too, but only because CPython forgets to free it.
        if hasattr(self, "_connection"):
            pythonapi.Py_IncRef(py_object(self._connection))

    def forget(self) -> None:
        """Let go of the cursors that were interrupted, when nobody is inside DuckDB any more."""
        self._ended.clear()

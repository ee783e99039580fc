"""The writer: one thread, one connection, group commit.

While one commit syncs, the next batch gathers by itself; waiting on purpose for more would only add latency.
"""

from __future__ import annotations

import sys
import threading
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import duckdb

from orchkit.errors import StoreError, StoreWriteError

__all__ = ["Wake", "Writer", "first_line"]

_BATCH_ROWS = 1000
_QUEUE_ROWS = 10_000

Row = tuple[Any, ...]
Wake = Callable[[BaseException | None], None]


class Writer:
    """Commits rows in the order in which they were pushed, and tells who waits.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Used for nothing else: an appender refuses to work beside an unfinished query.
    tables : iterable of str
        Whose first column is ``seq``.
    seq : int
        The last one that is taken.
    check : callable
        Called after each commit, before anybody is told; raises if what was written is nowhere to be found.
    let_go : callable
        Called on the writer's thread after a failure, before anybody is told of it.

    Attributes
    ----------
    durable : int
        Tickets up to this one are durable; may be read without a lock.
    refusal : StoreError or None
        Why it takes no more, once it has failed or was lost in a fork.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        tables: Iterable[str],
        seq: int,
        *,
        check: Callable[[], None],
        let_go: Callable[[], None],
    ) -> None:
        self.durable = 0
        self.refusal: StoreError | None = None
        self._connection = connection
        self._appenders: dict[str, Any] = {table: duckdb.appender(table, connection=connection) for table in tables}
        self._seq = seq
        self._check = check
        self._let_go = let_go
        self._queue: deque[tuple[str, Row]] = deque()
        self._wakes: list[tuple[int, Wake]] = []
        self._changed = threading.Condition()
        self._pushed = 0
        self._telling = False
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True, name="orchkit-writer")
        self._thread.start()

    # From any thread

    def push(self, table: str, row: Row) -> int:
        """Queue a row, which gets its ``seq`` when it is written; blocks while the queue is full.

        The writer never waits for whoever pushes, so the engine's thread may block here: what is told to it
        meanwhile waits in its loop.

        Returns
        -------
        int
            The ticket to wait for.

        Raises
        ------
        StoreWriteError
            If an earlier row could not be made durable, or the store is closed.
        """
        with self._changed:
            while len(self._queue) >= _QUEUE_ROWS and self.refusal is None and not self._on_it():
                self._changed.wait()
            if self.refusal is not None:
                self.refuse()
            if self._closing:
                raise StoreWriteError("the store is closed; open it again with ok.open(path)")
            self._queue.append((table, row))
            self._pushed += 1
            if len(self._queue) == 1:
                self._changed.notify_all()
            return self._pushed

    def when_durable(self, ticket: int, wake: Wake) -> None:
        """Call `wake` once, when that ticket is durable: at once if it is, else from the writer's thread.

        Wakes come in the order of their tickets. One must not block; what it raises goes to `threading.excepthook`
        and stops nobody else, because it says that a waiter is broken and not that the file is.
        """
        with self._changed:
            if self.refusal is None and (ticket > self.durable or self._telling):
                insort(self._wakes, (ticket, wake), key=_ticket)
                return
            failure = _again(self.refusal) if ticket > self.durable else None
        wake(failure)

    def flush(self) -> None:
        """Wait until all that was pushed so far is durable.

        Raises
        ------
        StoreWriteError
            If it cannot be.
        StoreError
            On the writer's own thread, which would wait for itself.
        """
        if self._pushed <= self.durable:
            return
        if self._on_it():
            raise StoreError(
                "the store was read by a callback on its writer's thread; hand over to another thread first"
            )
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
        """Write what is queued and end the thread.

        Raises
        ------
        StoreWriteError
            If that fails.
        """
        if self._on_it():
            raise StoreError(
                "the store was closed by a callback on its writer's thread; hand over to another thread first"
            )
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self.refusal is not None:
            self.refuse()

    def refuse(self) -> NoReturn:
        """Raise the refusal, a new one each time: several threads may raise it at once.

        Raises
        ------
        StoreError
        """
        refusal = _again(self.refusal)
        assert refusal is not None
        raise refusal

    def disown(self, refusal: StoreError) -> None:
        """Take no more, in a forked child: the thread is gone, and a lock may be held by nobody."""
        self._changed = threading.Condition()
        self._queue.clear()
        self._wakes.clear()
        self.refusal = refusal

    # On the writer's thread

    def _on_it(self) -> bool:
        return threading.current_thread() is self._thread

    def _serve(self) -> None:
        try:
            while batch := self._gather():
                self._commit(batch)
                self._check()
                self._tell(len(batch))
        except BaseException as error:
            self._fail(error)
        else:
            self._appenders.clear()
            self._connection.close()

    def _gather(self) -> list[tuple[str, Row]]:
        queue = self._queue
        with self._changed:
            while not queue and not self._closing:
                self._changed.wait()
            batch = [queue.popleft() for _ in range(min(len(queue), _BATCH_ROWS))]
            self._changed.notify_all()
            return batch

    def _commit(self, batch: list[tuple[str, Row]]) -> None:
        rows: dict[str, list[Row]] = {}
        for table, row in batch:
            self._seq += 1
            rows.setdefault(table, []).append((self._seq, *row))
        # A flush outside a transaction is one of its own: two statements fewer, a quarter of a lone step's time.
        together = len(rows) > 1
        if together:
            self._connection.execute("begin")
        for table, those in rows.items():
            appender = self._appenders[table]
            appender.append_rows(those)
            appender.flush()
        if together:
            self._connection.execute("commit")

    def _tell(self, count: int) -> None:
        with self._changed:
            self.durable += count
            self._telling = True
        while ready := self._ready():
            for _, wake in ready:
                _call(wake, None)

    def _ready(self) -> list[tuple[int, Wake]]:
        # Until none is left: a wake that is asked for meanwhile must not overtake those that are being told.
        with self._changed:
            count = bisect_right(self._wakes, self.durable, key=_ticket)
            ready, self._wakes[:count] = self._wakes[:count], []
            self._telling = bool(ready)
            return ready

    def _fail(self, error: BaseException) -> None:
        failure = StoreWriteError(
            f"events could not be made durable: {first_line(error)}; what was acknowledged is safe, the runs of this "
            "store have stopped: free the disk or mend the file, open it again with ok.open(path), and resume them"
        )
        failure.__cause__ = error
        self._discard()
        # Let go before anybody is told, so that who is told can open it again: after a fatal error DuckDB can do
        # nothing but that, and what came of the last commit is read back from the file.
        _call(lambda _: self._let_go(), None)
        with self._changed:
            self.refusal = failure
            self._queue.clear()
            wakes, self._wakes = self._wakes, []
            self._changed.notify_all()
        for _, wake in wakes:
            _call(wake, _again(failure))

    def _discard(self) -> None:
        try:
            for appender in self._appenders.values():
                appender.clear()
            self._appenders.clear()
            self._connection.close()
        except duckdb.Error:
            pass  # the instance is dead; the error that killed it is on its way


def _ticket(waiting: tuple[int, Wake]) -> int:
    return waiting[0]


def _again(error: StoreError | None) -> StoreError | None:
    if error is None:
        return None
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy


def _call(wake: Wake, failure: BaseException | None) -> None:
    try:
        wake(failure)
    except BaseException:
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


def first_line(error: BaseException) -> str:
    """Give what an error says, on one line."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__

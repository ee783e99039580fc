"""The writer: one place to write to, group commit, and the two threads that may do it.

While one commit syncs, the next batch gathers by itself; waiting on purpose for more would only add latency. What the
engine records in one turn of its loop is taken at the end of that turn, as one batch. Where all that the engine has
is waiting for the file, its own thread commits: handing over to another would only cost, most of it for the
interpreter's lock. Where it has something else to do, or the file is slow, the writer's thread does it meanwhile.
"""

from __future__ import annotations

import sys
import threading
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

from orchkit.clock.turns import at_turn_end
from orchkit.errors import OrchkitError, StoreError, StoreReadOnly, StoreWriteError
from orchkit.model.wording import first_line
from orchkit.store.rows import Item, Logged, Stretch
from orchkit.store.schema import EVENT_COLUMNS

__all__ = ["Place", "Wake", "Writer"]

# Pushes. Of whole runs as many, if each has some thirty events, as fill a row group of DuckDB: that it writes into the
# file at once, in place of into its log and later once more.
_BATCH = 4000
_BATCH_BYTES = 48 * 2**20
_ENOUGH = 1000  # pushes, for which the writer does not wait for the end of a turn
_QUEUE = 10_000  # pushes
_QUEUE_BYTES = 64 * 2**20
_QUICK_BYTES = 2**20  # more than that the engine's thread hands over
_LOOK = 1.0  # seconds until it is quiet
_TURN = 0.02  # seconds; what the engine leaves for the end of its turn is not left longer than two of these
_BODY = EVENT_COLUMNS.index("body") - 1  # a row lacks its seq

Wake = Callable[[BaseException | None], None]
_Waiting = tuple[int, Callable[..., None], tuple[Any, ...]]
T = TypeVar("T")


class Place(Protocol):
    """Where a writer writes; no two of its methods are called at once."""

    def commit(self, batch: Sequence[Item]) -> None:
        """Append rows, all or none; durable when it returns. What it raises ends the writer."""

    def is_quick(self) -> bool:
        """Say whether the next commit will take some 20 ms at most, and nothing is due that takes longer."""

    def tend(self) -> None:
        """Do what is due after so many commits and takes some tens of milliseconds; who waited has been told."""

    def idle(self) -> float | None:
        """Do what waits for a quiet moment; give the seconds until the next look, None for never."""

    def let_go(self) -> None:
        """Give up what a failed commit has left, and the place; safe to call twice."""


class _Together(NamedTuple):
    """Some items that become durable together, and about how many bytes they keep."""

    items: Sequence[Item]
    weight: int


class Writer:
    """Commits rows in the order in which they were pushed, and tells who waits.

    Parameters
    ----------
    place : Place

    Attributes
    ----------
    durable : int
        Tickets up to this one are durable; may be read without a lock.
    refusal : StoreError or None
        Why it takes no more, once it has failed or was lost in a fork.
    """

    def __init__(self, place: Place) -> None:
        self.durable = 0
        self.refusal: StoreError | None = None
        self._place = place
        self._queue: deque[Item | _Together] = deque()
        self._bytes = 0
        self._wakes: list[_Waiting] = []
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # there is room, or more is durable
        self._called = threading.Condition(self._lock)  # there is something for the writer's thread
        self._pushed = 0
        self._seen = 0
        self._due = False  # the writer's thread is to take what is queued
        self._turning = 0  # ident of the thread at the end of whose turn it is taken
        self._at_work = False
        self._cold = True  # the writer's thread looks seldom
        self._telling = False
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True, name="orchkit-writer")
        self._thread.start()

    # From any thread

    def push(self, items: Sequence[Item]) -> int:
        """Queue what becomes durable together; blocks while the queue is full.

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
        with self._lock:
            while (
                (len(self._queue) >= _QUEUE or self._bytes >= _QUEUE_BYTES)
                and self.refusal is None
                and not self.on_it()
            ):
                self._wake()
                self._changed.wait()
            if self.refusal is not None:
                self.refuse()
            if self._closing:
                raise StoreWriteError("the store is closed; open it again with ok.open(path)")
            pushed = items[0] if len(items) == 1 else _Together(items, sum(map(_weight, items)))
            self._queue.append(pushed)
            self._bytes += _weight(pushed)
            self._pushed += 1
            if not self._due:
                self._see_to_it()
            return self._pushed

    def _see_to_it(self) -> None:
        me = threading.get_ident()
        if self._turning != me:
            if not at_turn_end(self._turn_over):
                self._wake()
                return
            self._turning = me
        if len(self._queue) >= _ENOUGH:
            self._wake()
        elif self._cold:
            # At each push: a turn may be long, and what was left in it before may be durable since.
            self._cold = False
            self._called.notify()

    def _wake(self) -> None:
        self._due = bool(self._queue)
        self._called.notify()

    def _turn_over(self, at_rest: bool) -> None:
        """Commit what the engine's turn has left, if it waits for nothing else; on the engine's thread."""
        with self._lock:
            self._turning = 0
            if not self._queue or self._due or self.refusal is not None:
                return
            little = self._bytes < _QUICK_BYTES
            if self._at_work or not (at_rest and little and self._wakes and self._place.is_quick()):
                self._wake()
                return
            self._at_work = True
        try:
            self._commit()
        except BaseException as error:
            self._fail(error)
            return
        self._rest()
        self._tell()

    def when_durable(self, ticket: int, wake: Callable[..., None], *more: Any) -> None:
        """Call `wake` once, with None or an error and with `more`, when that ticket is durable.

        At once if it is, else from the thread that commits it: the writer's or the engine's. Wakes come in the order
        of their tickets. One must not block; what it raises goes to `threading.excepthook` and stops nobody else,
        because it says that a waiter is broken and not that the file is.
        """
        with self._lock:
            if self.refusal is None and (ticket > self.durable or self._telling):
                if not self._wakes or self._wakes[-1][0] <= ticket:
                    self._wakes.append((ticket, wake, more))
                else:
                    insort(self._wakes, (ticket, wake, more), key=_ticket)
                return
            failure = _again(self.refusal) if ticket > self.durable else None
        wake(failure, *more)

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
        if self.on_it():
            raise StoreError(
                "the store was read by a callback on its writer's thread; hand over to another thread first"
            )
        with self._lock:
            ticket = self._pushed
            self._wake()  # the engine's turn does not end as long as its thread waits here
            # Not by a wake: the caller may be one, and those behind it are told after it.
            while self.durable < ticket and self.refusal is None:
                self._changed.wait()
            failure = _again(self.refusal) if self.durable < ticket else None
        if failure is not None:
            raise failure

    def call(self, work: Callable[[], T]) -> T:
        """Do something on the writer's thread, between two commits; blocks until it is done.

        Who is at work has the writing connection to itself. Rows that are pushed meanwhile wait. One of our own errors
        goes to the caller only; any other ends the writer, as that of a commit does.

        Raises
        ------
        StoreWriteError
            If an earlier row could not be made durable, or the store is closed.
        StoreError
            On the writer's own thread, which would wait for itself.
        """
        if self.on_it():
            raise StoreError(
                "the store was tended by a callback on its writer's thread; hand over to another thread first"
            )
        done: Future[T] = Future()
        with self._lock:
            if self.refusal is not None:
                self.refuse()
            if self._closing:
                raise StoreWriteError("the store is closed; open it again with ok.open(path)")
            self._calls.append((work, done))
            self._called.notify()
        return done.result()

    def close(self) -> None:
        """Write what is queued and end the thread.

        Raises
        ------
        StoreWriteError
            If that fails.
        """
        if self.on_it():
            raise StoreError(
                "the store was closed by a callback on its writer's thread; hand over to another thread first"
            )
        with self._lock:
            self._closing = True
            self._called.notify()
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
        self._lock = threading.Lock()
        self._changed, self._called = threading.Condition(self._lock), threading.Condition(self._lock)
        self._queue.clear()
        self._wakes.clear()
        self._calls.clear()
        self.refusal = refusal

    def on_it(self) -> bool:
        """Say whether the caller is on the writer's thread, which cannot wait for itself."""
        return threading.current_thread() is self._thread

    # On the writer's thread, and much of it on the engine's too

    def _serve(self) -> None:
        look: float | None = _LOOK
        try:
            while (called := self._wait(look)) is not None:
                look = self._work() if called else self._place.idle()
                self._rest()
        except BaseException as error:
            self._fail(error)

    def _is_over(self) -> bool:
        return self.refusal is not None or (self._closing and not self._queue and not self._calls)

    def _work(self) -> float:
        self._commit()
        self._tell()
        while self._calls:
            self._do(*self._calls[0])
            self._calls.popleft()
        self._place.tend()
        return _LOOK

    def _wait(self, seconds: float | None) -> bool | None:
        """Wait for rows or for something else to do, and be at work then; False if neither came, None at the end.

        The end is not before the engine's thread has left the place: whoever closes lets it go then.
        """
        with self._lock:
            while True:
                if not self._at_work:
                    if self._is_over():
                        return None
                    if self._due or self._calls or self._closing:
                        self._at_work = True
                        return True
                if self._seen != self._pushed:
                    seconds = _LOOK  # what the engine's thread has committed is looked after in a quiet moment too
                self._cold = not self._queue and self._seen == self._pushed
                self._seen = self._pushed
                if self._called.wait(seconds if self._cold else _TURN) or self._at_work:
                    continue
                if self._cold:
                    self._at_work = True
                    return False
                self._due = self.durable < self._seen  # what was queued before this wait

    def _rest(self) -> None:
        with self._lock:
            self._at_work = False
            if self._due or self._calls or self._closing:
                self._called.notify()

    def _do(self, work: Callable[[], T], done: Future[T]) -> None:
        try:
            done.set_result(work())
        except OrchkitError as error:
            done.set_exception(error)

    def _commit(self) -> None:
        batch, pushes = self._gather()
        if batch:
            self._place.commit(batch)
            with self._lock:
                self.durable += pushes

    def _gather(self) -> tuple[list[Item], int]:
        with self._lock:
            taken = self._take()
            batch: list[Item] = []
            for pushed in taken:
                if isinstance(pushed, _Together):
                    batch += pushed.items
                else:
                    batch.append(pushed)
            self._due = bool(self._queue)
            self._changed.notify_all()
            return batch, len(taken)

    def _take(self) -> Sequence[Item | _Together]:
        queue = self._queue
        if len(queue) <= _BATCH and self._bytes <= _BATCH_BYTES:
            self._queue, self._bytes = deque(), 0
            return queue
        taken: list[Item | _Together] = []
        size = 0
        while queue and len(taken) < _BATCH and size < _BATCH_BYTES:
            taken.append(queue.popleft())
            size += _weight(taken[-1])
        self._bytes -= size
        return taken

    def _tell(self) -> None:
        with self._lock:
            self._changed.notify_all()
            if self._telling:
                return  # whoever is at it tells these too, in their order
            self._telling = True
        while ready := self._ready():
            for _, wake, more in ready:
                _call(wake, None, *more)

    def _ready(self) -> list[_Waiting]:
        # Until none is left: a wake that is asked for meanwhile must not overtake those that are being told.
        with self._lock:
            count = bisect_right(self._wakes, self.durable, key=_ticket)
            ready, self._wakes[:count] = self._wakes[:count], []
            self._telling = bool(ready)
            return ready

    def _fail(self, error: BaseException) -> None:
        failure = _failure(error)
        # Let go before anybody is told, so that who is told can open it again: after a fatal error DuckDB can do
        # nothing but that, and what came of the last commit is read back from the file. At work until then: another
        # commit would make durable what comes after the rows that are lost.
        _call(lambda _: self._place.let_go(), None)
        with self._lock:
            self._at_work = False
            self.refusal = failure
            self._queue.clear()
            self._bytes = 0
            wakes, self._wakes = self._wakes, []
            calls, self._calls = self._calls, deque()
            self._changed.notify_all()
            self._called.notify()
        for _, wake, more in wakes:
            _call(wake, _again(failure), *more)
        for _, done in calls:
            done.set_exception(_again(failure))


def _failure(error: BaseException) -> StoreError:
    if isinstance(error, StoreReadOnly):
        stopped = "the runs of this store have stopped, open it again with ok.open(path) first"
        return StoreReadOnly(f"{error}; {stopped}", **error.__dict__)
    if isinstance(error, FileNotFoundError):
        told = (
            "what was acknowledged is in that file, and the runs of this store have stopped: put it back with its log, "
            "open it again with ok.open(path), and resume them"
        )
    else:
        told = (
            "what was acknowledged is safe, the runs of this store have stopped: free the disk or mend the file, open "
            "it again with ok.open(path), and resume them"
        )
    failure = StoreWriteError(f"events could not be made durable: {first_line(error)}; {told}")
    failure.__cause__ = error
    return failure


def _weight(pushed: Item | _Together) -> int:
    """Tell about how many bytes something keeps in memory: a queue of big values is full sooner."""
    if isinstance(pushed, Logged):
        return 400 if pushed.body is None else 400 + len(pushed.body)
    if isinstance(pushed, _Together):
        return pushed.weight
    if isinstance(pushed, Stretch):
        return 300 * len(pushed.events) + 2 * sum(len(body) for body in pushed.bodies if body)  # and the value itself
    table, row = pushed
    if table == "event":
        return 400 + len(row[_BODY] or "")
    return 400 + len(row[2] or row[3]) if table == "payload" else 400


def _ticket(waiting: _Waiting) -> int:
    return waiting[0]


def _again(error: StoreError | None) -> StoreError | None:
    if error is None:
        return None
    copy = type(error)(*error.args, **error.__dict__)
    copy.__cause__ = error.__cause__
    return copy


def _call(wake: Callable[..., None], failure: BaseException | None, *more: Any) -> None:
    try:
        wake(failure, *more)
    except BaseException:
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))

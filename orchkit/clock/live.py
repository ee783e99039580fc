"""The live host: asyncio on a daemon thread of its own, time from the wall.

Three rules were found by failing tests (a notebook's heavy cell blocks the loop for seconds):

* The kernel is stamped with the wall when it is pumped, not with the ideal time of an entry: otherwise a loop that
  was blocked for 30 s would time an attempt out before it began.
* A pump that finds something due gives the loop three turns first, so that bodies that have long ended, and people
  who have long answered, can say so; and what they say is filed under the time of the earliest overdue entry, so that
  its rank puts it first. However late it is: a process that stood still for 0.21 s is 0.01 s late for a time-out of
  0.2 s, and the body may not have had its first turn. And only what was due before these turns fires after them.
* Bodies end by their own task posting the result and pumping, not by a done-callback: one loop turn less a step.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from orchkit.clock.kernel import OUTCOME, Fibre, Kernel, Waiter
from orchkit.clock.turns import turns_of
from orchkit.clock.watch import Watch

__all__ = ["EngineThread", "LiveHost", "engine_thread"]

T = TypeVar("T")

_GRACE_TURNS = 3
_MORE_TURNS = 3  # of the loop, in which a body that waits for nothing is done
_SLEPT = 1_000_000_000  # nanoseconds; what the network time slews is far below, a lid that was shut far above


def _wall_clock() -> Callable[[], int]:
    # The wall may be set back while a run is on, the monotonic clock may not; but that one stands still while the
    # machine sleeps, and deadlines are times of the wall. So: monotonic, and never far behind the wall.
    ahead = time.time_ns() - time.monotonic_ns()

    def now() -> int:
        nonlocal ahead
        wall, mono = time.time_ns(), time.monotonic_ns()
        if wall - mono - ahead > _SLEPT:
            ahead = wall - mono
        return (ahead + mono) // 1000

    return now


class LiveHost:
    """Run bodies as asyncio tasks and pump one kernel by the wall clock.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        All methods but `post` must be called on it.
    clock : callable, optional
        Gives the time in integer microseconds; tests hand in their own.
    """

    virtual = False

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], int] | None = None) -> None:
        self.loop = loop
        self.time = clock or _wall_clock()
        self.kernel = Kernel(self.time())
        self.tasks: set[asyncio.Task[None]] = set()
        self.watch: Watch | None = None
        self.watched = True  # or nobody watches
        self._followed: dict[asyncio.Task[None], int] = {}
        self._context = contextvars.copy_context()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0
        self._graced = False
        self._pumping = False
        self._posted: deque[tuple[Fibre, int, Any]] = deque()
        self._awake = False

    def pump(self) -> None:
        """Fire what is due by the wall, then set one timer for what comes next."""
        if self._pumping or self._graced:
            return
        due, now = self.kernel.next_due(), self.time()
        if due is not None and due <= now:
            self._graced = True
            self.loop.call_soon(self._give_turns, _GRACE_TURNS - 1, now)
        else:
            self._set_timer(due, now)

    def _give_turns(self, left: int, until: int) -> None:
        if left:
            self.loop.call_soon(self._give_turns, left - 1, until)
            return
        self._graced = False
        now = self.time()
        self._fire(until, now)
        self._after(now)

    def _fire(self, until: int, now: int) -> None:
        self._pumping = True
        try:
            kernel = self.kernel
            due = kernel.next_due()
            while due is not None and due <= until:
                kernel.now = max(kernel.now, now)
                kernel.fire()
                due = kernel.next_due()
        finally:
            self._pumping = False

    def _set_timer(self, due: int | None, now: int) -> None:
        # A timer that is set too early only looks again; one a step that never fires would cost more than the step.
        if due is None or (self._timer is not None and self._timer_due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self.loop.call_later((due - now) / 1e6, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.pump()

    def stamp(self) -> None:
        """Bring the kernel's time to the wall, before anybody acts on it outside a pump."""
        self.kernel.now = max(self.kernel.now, self.time())

    def go_on(self, act: Callable[[], None]) -> None:
        """Act for a body that is at work, then fire what is due."""
        act()
        self.pump()

    def waiter(self) -> Waiter:
        """Give a future of this loop's."""
        return _Waiter(self.loop.create_future())

    def begin(self, fibre: Fibre, body: Callable[[], Coroutine[Any, Any, Any]]) -> object:
        """Start a body as a task of its own."""
        # In a copy of the host's own context: what a predecessor has set in its own would be lost on a resume.
        # Named, so that Python need not number each.
        run = self._run(fibre, fibre.token, body)
        task = asyncio.Task(run, loop=self.loop, name="orchkit-body", context=self._context.copy())
        self.tasks.add(task)
        if not self.watched:
            self._be_watched()
        return task

    def _be_watched(self) -> None:
        assert self.watch is not None
        self.watched = True
        self.watch.begin()

    def watch_by(self, engine: threading.Thread) -> None:
        """Have a watch over the loop, which names whoever blocks it, while bodies are at work."""
        self.watch = Watch(self, engine, LiveHost._run.__code__)
        self.watched = False

    def ask(self, answer: threading.Event) -> bool:
        """Have the loop set the event as soon as it turns; False once it is closed. From any thread."""
        try:
            self.loop.call_soon_threadsafe(self._answer, answer)
        except RuntimeError:
            if not self.loop.is_closed():
                raise
            return False
        return True

    def _answer(self, answer: threading.Event) -> None:
        assert self.watch is not None
        if not self.tasks:
            self.watched = False
            self.watch.end()
        answer.set()

    async def _run(self, fibre: Fibre, token: int, body: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            value = await body()
        except asyncio.CancelledError:
            # The body reports a cancellation of its own as a failure, so this one was ours.
            return
        finally:
            self.tasks.discard(task)
            token = self._followed.pop(task, token)
        self.deliver(fibre, token, value)

    def follow(self, handle: object, fibre: Fibre) -> None:
        """Deliver the body's result to the fibre as it waits now."""
        assert isinstance(handle, asyncio.Task)
        self._followed[handle] = fibre.token

    def stop(self, handle: object) -> None:
        """Cancel a body's task."""
        assert isinstance(handle, asyncio.Task)
        handle.cancel()

    def deliver(self, fibre: Fibre, token: int, value: Any) -> None:
        """Resume a fibre with what has happened, before whatever is overdue; on the loop only."""
        if fibre.token != token:
            return
        kernel = self.kernel
        now, due = self.time(), kernel.next_due()
        if self._pumping or (due is not None and due <= now):
            kernel.arm(fibre, now if due is None else min(due, now), OUTCOME, value)
            self.pump()
            return
        # Nothing is due before it, so it need not queue.
        self._pumping = True
        try:
            if now > kernel.now:
                kernel.now = now
            kernel.resume(fibre, value)
        finally:
            self._pumping = False
        self._after(now)

    def _after(self, now: int) -> None:
        due = self.kernel.next_due()
        if due is not None and due <= now:
            self.pump()
        else:
            self._set_timer(due, now)

    def post(self, fibre: Fibre, token: int, value: Any) -> None:
        """Resume a fibre from any thread; once the loop is closed, at the exit of Python, nobody is left to resume.

        Waking the loop costs a system call, so that is done once for all that is posted until it wakes: one commit
        may end the waiting of a thousand fibres.
        """
        self._posted.append((fibre, token, value))
        if self._awake:
            return
        self._awake = True
        try:
            self.loop.call_soon_threadsafe(self._deliver_posted)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    def _deliver_posted(self) -> None:
        self._awake = False  # before it looks: what is posted from now on wakes it again
        posted = self._posted
        while posted:
            self.deliver(*posted.popleft())

    def at_turn_end(self, then: Callable[[bool], None]) -> None:
        """Call `then` when the loop has done what is ready now, and tell it whether it is at rest.

        It is when no body runs and nothing is posted. Bodies that wait for nothing are done a turn or two later, and
        are waited for: three turns at most.
        """
        self.loop.call_soon(self._end_turn, then, _MORE_TURNS)

    def _end_turn(self, then: Callable[[bool], None], left: int) -> None:
        at_rest = not self.tasks and not self._posted
        if at_rest or not left:
            then(at_rest)
        else:
            self.loop.call_soon(self._end_turn, then, left - 1)

    async def sleep(self, seconds: float) -> None:
        """Sleep by the wall."""
        await asyncio.sleep(seconds)

    async def call_sync(
        self, fn: Callable[..., Any], kwargs: dict[str, Any], ended: Callable[[], None] | None = None
    ) -> Any:
        """Call a plain function in a daemon thread of its own.

        A pool's threads are joined when Python exits, so one step that hangs would hang the exit too.
        """
        future: asyncio.Future[Any] = self.loop.create_future()
        call = partial(contextvars.copy_context().run, fn, **kwargs)
        late = None if ended is None else partial(self.go_on, ended)
        into = (self.loop, future, call, late)
        threading.Thread(target=_call_into, args=into, daemon=True, name="orchkit-step").start()
        return await future


class _Waiter:
    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future

    def wake(self, value: Any, /) -> None:
        if not self._future.done():
            self._future.set_result(value)

    async def wait(self) -> Any:
        return await self._future


def _call_into(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Any],
    call: Callable[[], Any],
    late: Callable[[], None] | None,
) -> None:
    result: Any = None
    error: BaseException | None = None
    try:
        result = call()
    except (StopIteration, GeneratorExit) as stop:
        # A future refuses the one, and a coroutine takes the other for its own end: the step would wait for ever.
        error = RuntimeError(f"the step raised {type(stop).__name__}")
        error.__cause__ = stop
    except BaseException as caught:
        error = caught

    def settle() -> None:
        if future.cancelled():
            if late is not None:
                late()
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        pass  # the loop is closed: the engine has gone, and with it whoever waited


class EngineThread:
    """The daemon thread that all live runs of a process share, with its loop and host."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.at_close: list[Callable[[], None]] = []
        self.loop = asyncio.new_event_loop()
        self.host = LiveHost(self.loop)
        self._thread = threading.Thread(target=self._serve, daemon=True, name="orchkit-engine")
        turns_of(self._thread, self.host.at_turn_end)
        self.host.watch_by(self._thread)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def on_it(self) -> bool:
        """Say whether the caller is on the engine's thread, where waiting for it would never end."""
        return threading.current_thread() is self._thread

    def submit(self, fn: Callable[[], T]) -> Future[T]:
        """Call `fn` on the loop soon; the future takes its result or error."""
        future: Future[T] = Future()

        def call() -> None:
            try:
                future.set_result(fn())
            except BaseException as error:
                future.set_exception(error)

        self.loop.call_soon_threadsafe(call)
        return future

    def call(self, fn: Callable[[], T]) -> T:
        """Call `fn` on the loop and wait for it; inline when already there."""
        return fn() if self.on_it() else self.submit(fn).result()

    def close(self) -> None:
        """Let `at_close` drop what is executed, cancel what is left, and end the thread; at the exit of Python."""
        if self.pid != os.getpid() or not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._drain(), self.loop).result(timeout=5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)
        self.loop.close()

    async def _drain(self) -> None:
        # First, or a body would take its cancellation for a failure of its own, record it, and set off a fallback.
        for let_go in self.at_close:
            let_go()
        tasks = list(self.host.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)


_ENGINE: EngineThread | None = None
_ENGINE_LOCK = threading.Lock()


def engine_thread() -> EngineThread:
    """Give this process's engine thread; a forked child gets its own, because threads do not survive a fork."""
    global _ENGINE  # noqa: PLW0603 - one a process is the point
    with _ENGINE_LOCK:
        if _ENGINE is None or _ENGINE.pid != os.getpid():
            _ENGINE = EngineThread()
            atexit.register(_ENGINE.close)
        return _ENGINE

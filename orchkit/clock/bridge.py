"""The bridge from the engine's thread to whoever waits: a cell's loop, a script, a signal."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["done_with", "in_thread", "run_blocking", "until_done", "wait_async", "wait_blocking"]

T = TypeVar("T")
_TICK = 0.1


async def _tick() -> None:
    # A signal cancels the awaiting task but does not wake the selector it sleeps in (ipykernel issue 881);
    # this keeps the loop turning, so that the Interrupt button works within a tenth of a second.
    while True:
        await asyncio.sleep(_TICK)


async def wait_async(future: Future[T], on_cancel: Callable[[], None]) -> T:
    """Await an engine's future on the caller's loop.

    Parameters
    ----------
    future : concurrent.futures.Future
    on_cancel : callable
        Called when the awaiting task is cancelled, for example by the Interrupt button.
    """
    ticker = asyncio.get_running_loop().create_task(_tick())
    wrapped = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(wrapped)
    except asyncio.CancelledError:
        # Nobody waits for it any more; asyncio would complain of an error that nobody has looked at.
        wrapped.add_done_callback(lambda done: done.cancelled() or done.exception())
        if not future.done():
            on_cancel()
        raise
    finally:
        ticker.cancel()


def wait_blocking(future: Future[T], timeout: float | None, on_interrupt: Callable[[], None]) -> T:
    """Wait in plain Python; Ctrl-C tells the engine first."""
    try:
        return future.result(timeout)
    except KeyboardInterrupt:
        on_interrupt()
        raise


async def until_done(future: Future[Any]) -> None:
    """Await the end of a future on the caller's loop, whatever it came to; a cancellation ends only the waiting."""
    if future.done():
        return
    done: Future[None] = Future()
    future.add_done_callback(lambda _: done.set_result(None))
    await wait_async(done, lambda: None)


def done_with(value: T) -> Future[T]:
    """Give a future that is done."""
    future: Future[T] = Future()
    future.set_result(value)
    return future


def in_thread(work: Callable[[], T], *, after: float = 0.0) -> Future[T]:
    """Call `work` on a daemon thread of its own, `after` so many seconds; nothing happens once it was cancelled."""
    future: Future[T] = Future()

    def serve() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Timer(after, serve)
    thread.daemon = True
    thread.name = "orchkit-looking"
    future.add_done_callback(lambda _: thread.cancel())
    thread.start()
    return future


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from plain code, also under a loop that is already running.

    A notebook's cell always runs under one, where ``asyncio.run`` refuses; a thread of its own does not care.
    """
    box: list[T] = []
    failed: list[BaseException] = []

    def serve() -> None:
        try:
            box.append(asyncio.run(work))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=serve, name="orchkit-blocking")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return box[0]

"""The bridge from the engine's thread to whoever waits: a cell's loop, a script, a signal."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["run_blocking", "wait_async", "wait_blocking"]

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

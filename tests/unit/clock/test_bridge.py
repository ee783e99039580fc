"""The bridge: waiting for what other threads settle."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future

import pytest

from orchkit.clock.bridge import done_with, in_thread, until_done

WAIT = 30.0


def test_work_in_a_thread_gives_its_result_or_its_error() -> None:
    assert in_thread(threading.current_thread).result(WAIT) is not threading.current_thread()
    assert done_with(3).result(0) == 3

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        in_thread(fail).result(WAIT)


def test_what_is_cancelled_before_its_time_is_never_done() -> None:
    called = threading.Event()
    before = threading.active_count()
    future = in_thread(called.set, after=WAIT)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(WAIT)
    for thread in threading.enumerate():
        if thread.name == "orchkit-looking":
            thread.join(WAIT)  # it ends at once, and not at its time
    assert not called.is_set()
    assert threading.active_count() <= before


def test_the_end_of_a_future_is_awaited_whatever_it_comes_to() -> None:
    async def look() -> None:
        failed: Future[None] = Future()
        waiting = asyncio.create_task(until_done(failed))
        await asyncio.sleep(0)
        assert not waiting.done()
        failed.set_exception(ValueError("no"))
        await waiting
        await until_done(failed)
        open_: Future[None] = Future()
        waiting = asyncio.create_task(until_done(open_))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not open_.done()
        open_.set_result(None)

    asyncio.run(look())

"""The live host's rules for a loop that was blocked, driven by a hand-set clock: nobody waits for the wall."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from orchkit.clock.kernel import TIMER, Fibre, suspend
from orchkit.clock.live import LiveHost, _wall_clock


class Attempt(Fibre):
    """A fibre that starts a body under a timeout and keeps what came first."""

    def __init__(self, host: LiveHost, key: int, timeout: int) -> None:
        super().__init__((key,))
        self.host = host
        self.timeout = timeout
        self.result: Any = "nothing"

    async def go(self, body: Callable[[], Coroutine[Any, Any, Any]] | None) -> None:
        self.host.kernel.arm(self, self.host.kernel.now + self.timeout, TIMER, "timeout")
        if body is not None:
            self.host.begin(self, body)
        self.result = await suspend()
        self.at = self.host.kernel.now


def on_a_loop(test: Callable[[LiveHost, list[int]], Coroutine[Any, Any, None]]) -> None:
    now = [1_000_000]

    async def main() -> None:
        await test(LiveHost(asyncio.get_running_loop(), lambda: now[0]), now)

    asyncio.run(main())


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_body_that_ended_during_a_block_beats_its_overdue_timeout() -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        done = asyncio.Event()

        async def body() -> str:
            await done.wait()
            return "answered"

        attempt = Attempt(host, 1, 100_000)
        host.kernel.start(attempt, attempt.go(body))
        await turns(2)
        # The loop is blocked: 300 ms pass, the body became ready at 50 ms, the timer was due at 100 ms.
        done.set()
        now[0] += 300_000
        host.pump()
        await turns(6)
        assert attempt.result == "answered"
        assert attempt.at == now[0]  # stamped with the wall, not with the ideal time

    on_a_loop(scene)


@pytest.mark.parametrize("late", [0, 1, 10_000, 49_000, 50_000, 300_000])
def test_a_body_that_has_had_no_turn_yet_beats_its_timeout_however_late_it_is(late: int) -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        async def body() -> str:
            return "answered"

        attempt = Attempt(host, 1, 100_000)
        host.kernel.start(attempt, attempt.go(body))
        # The process stood still between two lines, and somebody else pumps in the same turn.
        now[0] += 100_000 + late
        host.pump()
        await turns(6)
        assert attempt.result == "answered"

    on_a_loop(scene)


def test_turns_are_given_however_often_the_host_is_pumped_in_one() -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        async def body() -> str:
            await asyncio.sleep(0)
            return "answered"

        attempt = Attempt(host, 1, 100_000)
        host.kernel.start(attempt, attempt.go(body))
        now[0] += 300_000
        for _ in range(6):
            host.pump()
        await turns(6)
        assert attempt.result == "answered"

    on_a_loop(scene)


def test_a_body_that_begins_while_turns_are_given_has_turns_of_its_own() -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        async def long() -> str:
            await asyncio.Event().wait()
            return "never"

        async def body() -> str:
            return "answered"

        early, late = Attempt(host, 1, 100_000), Attempt(host, 2, 100_000)
        host.kernel.start(early, early.go(long))
        now[0] += 300_000
        host.pump()
        await turns(2)
        host.stamp()
        host.kernel.start(late, late.go(body))
        now[0] += 300_000
        host.pump()
        await turns(12)
        assert (early.result, late.result) == ("timeout", "answered")

    on_a_loop(scene)


def test_a_timeout_still_fires_when_nothing_came() -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        attempt = Attempt(host, 1, 100_000)
        host.kernel.start(attempt, attempt.go(None))
        now[0] += 300_000
        host.pump()
        await turns(6)
        assert attempt.result == "timeout"

    on_a_loop(scene)


def test_what_is_delivered_goes_before_what_is_overdue() -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        early, late = Attempt(host, 1, 10_000), Attempt(host, 2, 20_000)
        for attempt in (early, late):
            host.kernel.start(attempt, attempt.go(None))
        now[0] += 30_000
        host.deliver(late, late.token, "answer")
        await turns(6)
        assert late.result == "answer"
        assert early.result == "timeout"

    on_a_loop(scene)


def test_a_late_pump_stamps_the_wall_so_the_next_attempt_has_its_whole_timeout() -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        retried: list[int] = []

        async def twice(fibre: Attempt) -> None:
            for _ in range(2):
                host.kernel.arm(fibre, host.kernel.now + 100_000, TIMER, "timeout")
                await suspend()
                retried.append(host.kernel.now)

        fibre = Attempt(host, 1, 0)
        host.kernel.start(fibre, twice(fibre))
        now[0] += 30_000_000
        host.pump()
        await turns(6)
        assert retried == [now[0]]  # the second attempt has not been timed out before it began
        now[0] += 100_000
        host.pump()
        await turns(6)
        assert len(retried) == 2

    on_a_loop(scene)


def test_a_value_from_a_thread_arrives_on_the_loop() -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        attempt = Attempt(host, 1, 10_000_000)
        host.kernel.start(attempt, attempt.go(None))
        thread = threading.Thread(target=lambda: host.post(attempt, attempt.token, "from a thread"))
        thread.start()
        thread.join()
        await turns(3)
        assert attempt.result == "from a thread"

    on_a_loop(scene)


def test_a_stale_delivery_is_dropped() -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        attempt = Attempt(host, 1, 10_000)
        host.kernel.start(attempt, attempt.go(None))
        token = attempt.token
        host.deliver(attempt, token, "first")
        host.deliver(attempt, token, "second")
        assert attempt.result == "first"

    on_a_loop(scene)


def test_stopping_a_body_reports_nothing() -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        cleaned = asyncio.Event()

        async def body() -> str:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.set()
            return "never"

        attempt = Attempt(host, 1, 10_000)
        host.kernel.start(attempt, attempt.go(None))
        handle = host.begin(attempt, body)
        await turns(1)
        host.stop(handle)
        await cleaned.wait()
        await turns(2)
        assert attempt.result == "nothing"
        assert not host.tasks

    on_a_loop(scene)


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration("stop"), KeyboardInterrupt()])
def test_errors_of_threads_reach_the_body(error: BaseException) -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        def fail() -> None:
            raise error

        caught: BaseException | None = None
        try:
            await host.call_sync(fail, {})
        except BaseException as raised:
            caught = raised
        expected = RuntimeError if isinstance(error, StopIteration) else type(error)
        assert isinstance(caught, expected)

    on_a_loop(scene)


def test_the_engines_clock_follows_a_machine_that_slept_and_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    second = 1_000_000_000
    wall, mono = [1_000 * second], [5 * second]
    monkeypatch.setattr("orchkit.clock.live.time.time_ns", lambda: wall[0])
    monkeypatch.setattr("orchkit.clock.live.time.monotonic_ns", lambda: mono[0])
    clock = _wall_clock()
    assert clock() == 1_000_000_000
    mono[0] += 2 * second
    wall[0] += 2 * second + 3_000_000  # slewed by the network's time
    assert clock() == 1_002_000_000
    mono[0] += second
    wall[0] += 8 * 3600 * second  # the lid was shut: the monotonic clock stood still
    assert clock() == wall[0] // 1000
    wall[0] -= 3600 * second  # somebody set the wall back
    mono[0] += second
    assert clock() == (1_002 + 8 * 3600 + 1) * 1_000_000 + 3_000


def test_a_turn_ends_after_bodies_that_wait_for_nothing_and_before_those_that_do() -> None:
    async def scene(host: LiveHost, now: list[int]) -> None:
        told: list[bool] = []

        async def at_once() -> str:
            return "done"

        fibre = Attempt(host, 1, 10**9)
        host.at_turn_end(told.append)
        host.kernel.start(fibre, fibre.go(at_once))
        while not told:
            await turns(1)
        assert told == [True]
        assert fibre.result == "done"

        forever = asyncio.Event()

        async def waiting() -> None:
            await forever.wait()

        second = Attempt(host, 2, 10**9)
        host.kernel.start(second, second.go(waiting))
        host.at_turn_end(told.append)
        await turns(6)
        assert told == [True, False]
        forever.set()
        await turns(3)

    on_a_loop(scene)

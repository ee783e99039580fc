"""The kernel: ties, stale entries, cancellation, and integer time."""

from __future__ import annotations

from typing import Any

import pytest

from orchkit.clock.bare import BareHost
from orchkit.clock.kernel import (
    BODY,
    OUTCOME,
    SIGNAL,
    TIMER,
    Cancelled,
    Fibre,
    ForeignAwait,
    Kernel,
    micro,
    suspend,
)


class Recorder(Fibre):
    def __init__(self, key: int, said: list[Any]) -> None:
        super().__init__((key,))
        self.said = said

    def finished(self, value: Any) -> None:
        self.said.append((self.key[0], value))


async def wait_once() -> Any:
    return await suspend()


def test_at_one_instant_outcomes_go_before_signals_before_timers() -> None:
    said: list[Any] = []
    kernel = Kernel()
    for key, rank in ((1, TIMER), (2, SIGNAL), (3, OUTCOME)):
        fibre = Recorder(key, said)
        kernel.start(fibre, wait_once())
        kernel.arm(fibre, 10, rank, rank)
    BareHost(kernel).run()
    assert said == [(3, OUTCOME), (2, SIGNAL), (1, TIMER)]
    assert kernel.now == 10


def test_ties_go_by_key_and_not_by_insertion() -> None:
    said: list[Any] = []
    kernel = Kernel()
    for key in (5, 1, 3):
        fibre = Recorder(key, said)
        kernel.start(fibre, wait_once())
        kernel.arm(fibre, 7, OUTCOME)
    BareHost(kernel).run()
    assert [key for key, _ in said] == [1, 3, 5]


def test_an_outcome_and_its_timeout_resume_a_fibre_once() -> None:
    said: list[Any] = []
    kernel = Kernel()
    fibre = Recorder(1, said)
    kernel.start(fibre, wait_once())
    kernel.arm(fibre, 20, TIMER, "timeout")
    kernel.arm(fibre, 20, OUTCOME, "outcome")
    BareHost(kernel).run()
    assert said == [(1, "outcome")]


def test_a_cancelled_fibre_is_not_woken_by_what_it_armed() -> None:
    said: list[Any] = []
    kernel = Kernel()
    fibre = Recorder(1, said)
    kernel.start(fibre, wait_once())
    kernel.arm(fibre, 5, OUTCOME, "late")
    kernel.cancel(fibre)
    BareHost(kernel).run()
    assert said == []
    assert fibre.coro is None


def test_surviving_a_cancellation_is_an_engine_bug() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await suspend()
            except Cancelled:
                pass

    kernel = Kernel()
    fibre = Fibre((1,))
    kernel.start(fibre, stubborn())
    with pytest.raises(RuntimeError, match="survived"):
        kernel.cancel(fibre)
    assert fibre.coro is not None
    fibre.coro.throw  # noqa: B018 - the coroutine is still there to be closed
    fibre.coro = None


def test_awaiting_another_loops_future_raises_in_the_body() -> None:
    class Foreign:
        def __await__(self) -> Any:
            yield "a future"

    async def body() -> str:
        try:
            await Foreign()
        except ForeignAwait as error:
            return str(error)
        return "woken"

    said: list[Any] = []
    kernel = Kernel()
    kernel.start(Recorder(1, said), body())
    assert said == [(1, "awaits 'a future'")]


def test_time_never_goes_back() -> None:
    kernel = Kernel()
    fibre = Recorder(1, [])
    kernel.start(fibre, wait_once())
    kernel.now = 100
    kernel.arm(fibre, 40, OUTCOME)
    BareHost(kernel).run()
    assert kernel.now == 100


def test_sums_of_durations_tie_exactly() -> None:
    assert micro(0.1) * 3 == micro(0.3)
    assert 0.1 * 3 != 0.3


def test_next_due_drops_what_is_stale() -> None:
    kernel = Kernel()
    fibre, other = Recorder(1, []), Recorder(2, [])
    kernel.start(fibre, wait_once())
    kernel.start(other, wait_once())
    kernel.arm(fibre, 5, TIMER)
    kernel.arm(other, 9, TIMER)
    kernel.cancel(fibre)
    assert kernel.next_due() == 9
    kernel.cancel(other)
    assert kernel.next_due() is None


def test_stale_entries_do_not_pile_up() -> None:
    """Long timeouts of short calls once kept every ended run in the heap until they were due."""
    kernel = Kernel()
    waiting = Recorder(1, [])
    kernel.start(waiting, wait_once())
    kernel.arm(waiting, 10**12, TIMER, "in time")
    for key in range(2, 5_000):
        fibre = Recorder(key, [])
        kernel.start(fibre, wait_once())
        kernel.arm(fibre, 3_600_000_000, TIMER)
        kernel.arm(fibre, 1, OUTCOME)
        kernel.fire()
    assert len(kernel.heap) < 600
    BareHost(kernel).run()
    assert waiting.said == [(1, "in time")]


def test_a_body_goes_on_before_the_kernel_looks_at_what_is_due() -> None:
    assert BODY < OUTCOME

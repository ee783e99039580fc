"""The kernel: a heap of times and the fibres that wait for them.

A fibre is a coroutine. It arms entries under its present token, then suspends; the first entry that comes due
resumes it and makes the token stale, so an outcome, its timeout and a cancellation can race and the fibre goes
on exactly once. Entries with a stale token are dropped when they come up.

Times are integer microseconds: sums of floats depend on the path, and ties would with them.

The ordering rule: at one instant the kernel takes the smallest (time, rank, key). What happened ranks before what
was waited for, so an attempt of exactly 20 s under a timeout of 20 s succeeds. The key is derived from who the
fibre is, not from when it asked: insertion order does not survive a resume.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

__all__ = [
    "OUTCOME",
    "SIGNAL",
    "TIMER",
    "Cancelled",
    "Fibre",
    "ForeignAwait",
    "Host",
    "Kernel",
    "Waiter",
    "micro",
    "suspend",
]

BODY, OUTCOME, SIGNAL, TIMER = -1, 0, 1, 2
"""Ranks at one instant: users' code goes on until it is quiet; then an attempt ended, a person spoke, a time came."""


_COMPACT_AT = 256


def micro(seconds: float) -> int:
    """Round seconds to the engine's integer microseconds.

    Examples
    --------
    >>> micro(0.1) * 3 == micro(0.3)
    True
    """
    return int(seconds * 1e6 + 0.5)


class Cancelled(BaseException):
    """Thrown into a fibre that is no longer wanted.

    Never ``asyncio.CancelledError``, and no ``Exception``: a step's broad ``except`` must not eat it.
    """


class ForeignAwait(BaseException):
    """A coroutine awaited something that this host cannot wake it from; a step's broad ``except`` must not eat it."""


class _Trap:
    """What a fibre yields; anything else comes from a foreign loop."""


_TRAP = _Trap()


@types.coroutine
def suspend() -> Generator[_Trap, Any, Any]:
    """Give the kernel back its turn; returns the value of the entry that resumes the fibre."""
    return (yield _TRAP)


class Fibre:
    """One coroutine on the kernel, with the key that breaks ties and the token that makes entries stale.

    Parameters
    ----------
    key : tuple of int
        Derived from identity: smaller goes first at equal times and ranks.
    """

    __slots__ = ("coro", "key", "token")

    def __init__(self, key: tuple[int, ...]) -> None:
        self.key = key
        self.token = 0
        self.coro: Coroutine[Any, Any, Any] | None = None

    def finished(self, value: Any) -> None:
        """Take what the coroutine returned; subclasses say what follows from it."""

    def crashed(self, error: BaseException) -> None:
        """Take an error that the coroutine let out: an engine bug unless a subclass knows better."""
        raise error


class Waiter(Protocol):
    """What a body waits for that the engine will say."""

    def wake(self, value: Any, /) -> None:
        """Say it; on the engine's thread."""

    async def wait(self) -> Any:
        """Wait until it is said."""


class Host(Protocol):
    """Who runs the bodies of steps and wakes the kernel for them."""

    @property
    def virtual(self) -> bool:
        """Whether its time is virtual, and its bodies run on the thread of whoever simulates."""

    def begin(self, fibre: Fibre, body: Callable[[], Coroutine[Any, Any, Any]]) -> object:
        """Start a body; its return value later resumes the fibre, if its token still holds. Gives a handle."""

    def follow(self, handle: object, fibre: Fibre) -> None:
        """Let a fibre that was woken by something else wait on for its body; call it before it suspends again."""

    def stop(self, handle: object) -> None:
        """End a body that is no longer wanted; nobody waits for its clean-up."""

    def post(self, fibre: Fibre, token: int, value: Any) -> None:
        """Resume the fibre with a value, from any thread and at a later turn, if its token still holds."""

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Sleep inside a body, in this host's time."""

    def stamp(self) -> None:
        """Bring the kernel's time up to this host's, before somebody acts outside the kernel's own turns."""

    def go_on(self, act: Callable[[], None]) -> None:
        """Act for a body that is at work: now, or as soon as it waits where it is a fibre of the kernel's itself."""

    def waiter(self) -> Waiter:
        """Give what a body may wait for."""

    def call_sync(
        self, fn: Callable[..., Any], kwargs: dict[str, Any], ended: Callable[[], None] | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Call a plain function from inside a body without blocking this host's other bodies.

        `ended` is called when it has really ended although nobody waits for it any more.
        """


class Kernel:
    """Heap and fibres; one for all live runs of a loop, one for each simulated run.

    Attributes
    ----------
    now : int, microseconds
        Never goes back.
    after : callable or None
        Called once, as soon as no fibre is going on any more: for what one cannot do itself, because that may resume
        or cancel it, or the one that has started it.
    """

    __slots__ = ("_compact_at", "_serial", "after", "current", "heap", "now")

    def __init__(self, now: int = 0) -> None:
        self.now = now
        self.heap: list[tuple[int, int, tuple[int, ...], int, Fibre, int, Any]] = []
        self.current: Fibre | None = None
        self.after: Callable[[], None] | None = None
        self._serial = 0
        self._compact_at = _COMPACT_AT

    def arm(self, fibre: Fibre, due: int, rank: int, value: Any = None) -> None:
        """Resume the fibre with this value at `due`, unless something else does before."""
        self._serial = serial = self._serial + 1
        if len(self.heap) >= self._compact_at:
            self._compact()
        heappush(self.heap, (due, rank, fibre.key, serial, fibre, fibre.token, value))

    def _compact(self) -> None:
        # A stale entry keeps its fibre, and with it a run, until it is due: an hour for the timeout of a short call.
        # In place, because hosts hold the list; twice what is left, so that it costs next to nothing an entry.
        self.heap[:] = [entry for entry in self.heap if entry[5] == entry[4].token]
        heapify(self.heap)
        self._compact_at = max(_COMPACT_AT, 2 * len(self.heap))

    def start(self, fibre: Fibre, coro: Coroutine[Any, Any, Any]) -> None:
        """Run a fibre's coroutine up to its first suspension."""
        fibre.coro = coro
        self.resume(fibre, None)

    def next_due(self) -> int | None:
        """Give the time of the first entry that can still resume somebody; None when there is none."""
        heap = self.heap
        while heap and heap[0][5] != heap[0][4].token:
            heappop(heap)
        return heap[0][0] if heap else None

    def fire(self) -> None:
        """Take the one smallest entry; move time to it, never back, and resume its fibre."""
        due, _, _, _, fibre, token, value = heappop(self.heap)
        if token != fibre.token:
            return
        if due > self.now:
            self.now = due
        self.resume(fibre, value)

    def resume(self, fibre: Fibre, value: Any) -> None:
        """Continue a fibre with a value until it suspends again or ends."""
        assert fibre.coro is not None
        self._go_on(fibre, fibre.coro.send, value)

    def cancel(self, fibre: Fibre) -> None:
        """Throw `Cancelled` into a fibre of the engine's; one that survives it is a bug."""
        self.throw(fibre)
        if fibre.coro is not None:
            raise RuntimeError(f"fibre {fibre.key} survived its cancellation")

    def throw(self, fibre: Fibre) -> None:
        """Throw `Cancelled` into a fibre; a user's body may take its time to clean up."""
        if fibre.coro is not None:
            self._go_on(fibre, fibre.coro.throw, Cancelled())

    def _go_on(self, fibre: Fibre, move: Callable[[Any], Any], value: Any) -> None:
        fibre.token += 1
        before, self.current = self.current, fibre
        try:
            got = move(value)
            while got is not _TRAP:
                # A future of another loop: only its own loop could wake us, so tell the body that asked.
                assert fibre.coro is not None
                got = fibre.coro.throw(ForeignAwait(f"awaits {got!r}"))
        except StopIteration as stop:
            self._retire(fibre)
            fibre.finished(stop.value)
        except Cancelled:
            self._retire(fibre)
        except BaseException as error:
            self._retire(fibre)
            fibre.crashed(error)
        finally:
            self.current = before
            # A cancellation's traceback holds this frame, and this frame would hold the cancellation.
            value = None
        if self.after is not None and before is None:
            after, self.after = self.after, None
            after()

    @staticmethod
    def _retire(fibre: Fibre) -> None:
        # The token goes on so that entries armed for this fibre are stale; the coroutine is dropped so that
        # no cycle (fibre, frame, fibre) is left for the collector.
        fibre.token += 1
        fibre.coro = None

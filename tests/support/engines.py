"""Executions on a bare kernel, driven by hand: stopped at an instant, with a journal that lags or breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from orchkit.clock.bare import BareHost
from orchkit.clock.dice import base_of
from orchkit.clock.kernel import OUTCOME, Fibre, Kernel, suspend
from orchkit.engine.execution import Execution
from orchkit.engine.program import Program
from orchkit.errors import StoreWriteError
from orchkit.model.events import Event, settles
from orchkit.model.protocols import Journal

Wake = Callable[[BaseException | None], None]


class Broken:
    """A journal that takes so many events and then says that the disk is full."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.kept: list[Event] = []

    def append(self, event: Event) -> None:
        if len(self.kept) >= self.room:
            raise StoreWriteError("the disk is full")
        self.kept.append(event)

    def behind(self) -> bool:
        return False

    def when_durable(self, wake: Wake) -> None:
        wake(None)

    def release(self) -> None:
        self.released = True


class _Sync(Fibre):
    __slots__ = ("kernel", "wake")

    def __init__(self, kernel: Kernel, wake: Wake) -> None:
        super().__init__((1 << 70,))
        self.kernel = kernel
        self.wake = wake

    async def go(self, lag: int, error: BaseException | None) -> None:
        self.kernel.arm(self, self.kernel.now + lag, OUTCOME)
        await suspend()
        self.wake(error)


class Lagging:
    """A journal that is durable only a while after each event, as a disk is."""

    def __init__(self, kernel: Kernel, lag: int, error: BaseException | None = None) -> None:
        self.kernel = kernel
        self.lag = lag
        self.error = error

    def append(self, event: Event) -> None:
        """Take an event."""

    def behind(self) -> bool:
        return True

    def when_durable(self, wake: Wake) -> None:
        sync = _Sync(self.kernel, wake)
        self.kernel.start(sync, sync.go(self.lag, self.error))


class Drive:
    """One execution on its own kernel.

    Attributes
    ----------
    ends : list
        What `on_end` was called with.
    """

    def __init__(
        self, program: Program, *, events: Sequence[Event] = (), journal: Any = None, seed: int = 0, **options: Any
    ) -> None:
        self.kernel = Kernel()
        self.host = BareHost(self.kernel)
        self.ends: list[BaseException | None] = []
        kept: Journal = journal(self.kernel) if callable(journal) else journal or Broken(10**9)
        self.execution = Execution(
            program,
            self.kernel,
            self.host,
            kept,
            run_id="run",
            dice_base=base_of(seed),
            events=events,
            on_end=self.ends.append,
            **options,
        )

    @property
    def log(self) -> list[Event]:
        return self.execution.events

    def start(self, value: Any) -> Drive:
        try:
            self.execution.start(value)
            self.execution.advance()
        except BaseException as error:
            self.execution.abort(error)
        return self

    def redrive(self) -> Drive:
        try:
            self.execution.redrive()
        except BaseException as error:
            self.execution.abort(error)
        return self

    def until(self, t: int) -> Drive:
        """Fire all that is due up to an instant, and move time there."""
        while (due := self.kernel.next_due()) is not None and due <= t:
            self.kernel.fire()
        self.kernel.now = max(self.kernel.now, t)
        return self

    def run(self) -> Drive:
        self.host.run()
        return self

    def sleepers(self) -> list[Fibre]:
        """Fibres that an entry of the heap could still wake."""
        return [entry[4] for entry in self.kernel.heap if entry[4].token == entry[5]]


def check_log(log: Sequence[Event], *, ended: bool = True) -> None:
    """What must hold of any log: time, attempts, settling, and an end that is the end."""
    assert all(one.t <= other.t for one, other in pairwise(log))
    started = Counter((e.node, e.item, e.leg, e.attempt) for e in log if e.kind == "started")
    finished = Counter(
        (e.node, e.item, e.leg, e.attempt) for e in log if e.kind in ("completed", "failed", "cancelled") and e.attempt
    )
    assert set(started.values()) <= {1}, started.most_common(3)
    if ended:
        assert started == finished, started - finished
        assert [e.kind for e in log].count("run_ended") == 1
        assert log[-1].kind == "run_ended"
    else:
        assert set(finished.values()) <= {1}
        assert finished <= started
    settled = Counter((e.node, e.item) for e in log if settles(e))
    assert set(settled.values()) <= {1}, settled.most_common(3)

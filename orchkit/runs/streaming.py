"""Streams: a run's events as they come, for any number of readers, each at a pace of its own.

A reader knows its place in the log and reads from there; nothing is queued for it. The run only rings a bell, once
until the reader looks again. So a slow reader costs the run nothing, and a run of a million events no memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, wait
from typing import Any, Final, TypeAlias

from orchkit.clock.bridge import until_done
from orchkit.clock.live import engine_thread
from orchkit.errors import RunError
from orchkit.model.events import ATTEMPT_ENDS, Event
from orchkit.model.records import Head
from orchkit.runs.lines import RunEvent, line_of
from orchkit.runs.partials import Kept, Partial, Partials, Who
from orchkit.runs.sources import Source

__all__ = ["Stream"]

_AT_ONCE: Final = 512  # events; what a look takes of the engine's time is bounded by it


class Stream:
    """The events of a run, from a place in its log to the run's end: to be read by ``async for`` or by ``for``.

    It is read once; for a second reader ask for a second stream. It comes from ``run.stream``, whose documentation
    says what it gives. Leaving it costs nothing; it may also be kept, and read on later.
    """

    def __init__(self, head: Head, source: Source, since: int, *, partial: bool) -> None:
        self._run_id = head.run_id
        self._steps = _steps(head, source, since, Partials() if partial else None)

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> RunEvent | Partial:
        for step in self._steps:
            if not isinstance(step, Future):
                return step
            await until_done(step)
        raise StopAsyncIteration

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> RunEvent | Partial:
        for step in self._steps:
            if not isinstance(step, Future):
                return step
            self._wait(step)
        raise StopIteration

    def _wait(self, future: Future[Any]) -> None:
        if not future.done() and engine_thread().on_it():
            raise RunError(
                f"reading run {self._run_id!r} by a plain for inside an async step would block the engine that has "
                "to go on with it; read it by async for there",
                run_id=self._run_id,
            )
        wait([future])

    def close(self) -> None:
        """Read no more; safe to call twice."""
        self._steps.close()

    def __repr__(self) -> str:
        return f"Stream({self._run_id})"


_Step: TypeAlias = "Future[Any] | RunEvent | Partial"


class _Reader:
    """What one reader has seen of the attempts that are under way."""

    def __init__(self) -> None:
        self._open: dict[Who, int] = {}

    def see(self, event: Event) -> None:
        """Note that an attempt has begun or ended."""
        who = event.node, event.item, event.generation, event.leg, event.attempt
        if event.kind == "started":
            self._open[who] = 0
        elif event.kind in ATTEMPT_ENDS:
            self._open.pop(who, None)

    def told(self, kept: Kept) -> Iterator[Partial]:
        """Give a chunk, unless its attempt has ended: a thread that was given up may still emit."""
        last = self._open.get(kept.who)
        if last is not None:
            self._open[kept.who] = kept.last
            yield kept.told(last)


def _steps(head: Head, source: Source, since: int, partials: Partials | None) -> Generator[_Step, None, None]:
    """Yield events and chunks, and futures where whoever reads has to wait; written once for both kinds of reader."""
    reader = _Reader()
    waiting: deque[Kept] = deque()
    # With partials the log is read from its beginning: it tells whose attempts are under way.
    at = since if partials is None else 0
    source.begin(partials)
    try:
        while True:
            looking = source.look(at, _AT_ONCE)
            # Not before the look has begun: what is emitted from there on rings again.
            if partials is not None and not waiting:
                waiting = partials.take()
            yield from _unless_done(looking)
            events, over, durable = looking.result()
            if recalled := events is None:
                recalling = source.recall(at, _AT_ONCE)
                yield from _unless_done(recalling)
                events = recalling.result()
            for event in events:
                yield from _due(reader, waiting, at)
                at += 1
                reader.see(event)
                if at > since:
                    yield line_of(head, at, event, durable=durable)
            yield from _due(reader, waiting, at)
            if len(events) < _AT_ONCE and not (recalled and events):
                if over:
                    return
                yield from _unless_done(source.more())
    finally:
        source.end()


def _unless_done(future: Future[Any]) -> Iterator[Future[Any]]:
    if not future.done():
        yield future


def _due(reader: _Reader, waiting: deque[Kept], at: int) -> Iterator[Partial]:
    while waiting and waiting[0].after <= at:
        yield from reader.told(waiting.popleft())

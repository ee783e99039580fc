"""Sources: where a stream reads a run's events, whoever executes the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, Protocol

from orchkit.clock.bridge import done_with, in_thread
from orchkit.model.events import Event
from orchkit.model.protocols import RunStore
from orchkit.runs.partials import Partials, Piece

__all__ = ["Bell", "Elsewhere", "Follower", "Followers", "Going", "Look", "Recorded", "Source"]

_SOONEST: Final = 0.05  # seconds
_LATEST: Final = 1.0


class Look(NamedTuple):
    """What one look at a run gives.

    Attributes
    ----------
    events : list of Event or None
        What follows what the reader has; None where memory has forgotten it, and only the store knows.
    over : bool
        Whether nothing more will come.
    durable : bool
        Whether all of it is committed, as far as is known.
    """

    events: list[Event] | None
    over: bool
    durable: bool


class Source(Protocol):
    """What a stream reads: events by their place, and when there is more."""

    def begin(self, partials: Partials | None) -> None:
        """Take note, from now on, of whether there is more; put what steps emit into `partials`."""

    def look(self, after: int, limit: int) -> Future[Look]:
        """Give at most `limit` events that come after the first `after`."""

    def recall(self, after: int, limit: int) -> Future[list[Event]]:
        """Give the same from the store."""

    def more(self) -> Future[None]:
        """Give a future that is done when there may be more than at the last look."""

    def end(self) -> None:
        """Take note no more; safe to call twice."""


class Recorded:
    """A log that is complete: nothing executes the run here."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events

    def begin(self, partials: Partials | None) -> None:
        """Nothing more will come."""

    def look(self, after: int, limit: int) -> Future[Look]:
        """Give the next of it, at once."""
        return done_with(Look(list(self._events[after : after + limit]), over=True, durable=True))

    def recall(self, after: int, limit: int) -> Future[list[Event]]:
        """Give the same; nothing of it is forgotten."""
        return done_with(list(self._events[after : after + limit]))

    def more(self) -> Future[None]:
        """Nothing more will come."""
        return done_with(None)

    def end(self) -> None:
        """Nothing was taken note of."""


class Follower(Protocol):
    """Who wants to hear that a run goes on."""

    wants_partials: bool

    def ring(self) -> None:
        """Hear that there is more; at once, and from any thread."""

    def hand(self, piece: Piece, after: int) -> None:
        """Take what a step has emitted when so many events were recorded; from any thread."""


class Followers:
    """Those who follow a run.

    Without a lock: a reader may also be let go by the garbage collector, in the middle of anything.
    """

    def __init__(self) -> None:
        self._all: dict[Follower, None] = {}

    def add(self, follower: Follower) -> None:
        """Take one more."""
        self._all[follower] = None

    def remove(self, follower: Follower) -> None:
        """Let one go; safe to call twice."""
        self._all.pop(follower, None)

    def want_partials(self) -> bool:
        """Say whether one of them wants what steps emit."""
        return any(one.wants_partials for one in tuple(self._all))

    def ring(self) -> None:
        """Tell all of them that there is more."""
        for one in tuple(self._all):
            one.ring()

    def hand(self, piece: Piece, after: int) -> None:
        """Hand a piece to those who want it."""
        for one in tuple(self._all):
            if one.wants_partials:
                one.hand(piece, after)


class Bell:
    """Rings once until somebody looks, however often it is rung: so a slow reader costs the run next to nothing."""

    def __init__(self, partials: Partials | None) -> None:
        self.wants_partials = partials is not None
        self._partials = partials
        self._rung = False
        self._waiter: Future[None] | None = None
        self._lock = threading.Lock()

    def ring(self) -> None:
        """Say that there is more."""
        if self._rung:
            return
        with self._lock:
            self._rung = True
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.set_result(None)

    def hand(self, piece: Piece, after: int) -> None:
        """Keep a piece for the reader, and ring."""
        if self._partials is not None:
            self._partials.put(piece, after)
            self.ring()

    def quiet(self) -> None:
        """Let it ring again: somebody is about to look."""
        self._rung = False

    def heard(self) -> Future[None]:
        """Give a future that is done once it rings, or has rung since it was quiet."""
        with self._lock:
            if self._rung:
                return done_with(None)
            if self._waiter is None:
                self._waiter = Future()
            return self._waiter


class Followed(Protocol):
    """A run of this process."""

    head: Any
    store: RunStore | None

    def follow(self, follower: Follower) -> None:
        """Ring it whenever there is more."""

    def unfollow(self, follower: Follower) -> None:
        """Ring it no more."""

    def look(self, after: int, limit: int) -> Future[Look]:
        """Give events, as `Source.look` does."""


class Going:
    """A run that this process executes."""

    def __init__(self, run: Followed) -> None:
        self._run = run
        self._bell = Bell(None)

    def begin(self, partials: Partials | None) -> None:
        """Have a bell rung by it."""
        self._bell = Bell(partials)
        self._run.follow(self._bell)

    def look(self, after: int, limit: int) -> Future[Look]:
        """Ask its execution."""
        self._bell.quiet()
        return self._run.look(after, limit)

    def recall(self, after: int, limit: int) -> Future[list[Event]]:
        """Ask its store, on a thread of its own: that waits for a commit."""
        store, run_id = self._run.store, self._run.head.run_id
        assert store is not None
        return in_thread(lambda: store.events(run_id, after, limit))

    def more(self) -> Future[None]:
        """Wait for the bell."""
        return self._bell.heard()

    def end(self) -> None:
        """Have it rung no more."""
        self._run.unfollow(self._bell)


class Elsewhere:
    """A run that another process executes: its store is asked again and again, more and more seldom."""

    def __init__(self, store: RunStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._pause = _SOONEST
        self._next: Future[None] = done_with(None)

    def begin(self, partials: Partials | None) -> None:
        """Nothing is told; and what steps emit stays in their process."""

    def look(self, after: int, limit: int) -> Future[Look]:
        """Ask the store."""
        return in_thread(lambda: self._look(after, limit))

    def _look(self, after: int, limit: int) -> Look:
        holders: Callable[[], Mapping[str, Any]] = self._store.holders  # type: ignore[attr-defined]  # a shared one
        over = self._run_id not in holders()  # before its log is read, whose last event may just come
        events = self._store.events(self._run_id, after, limit)
        self._pause = _SOONEST if events else min(2 * self._pause, _LATEST)
        return Look(events, over, durable=True)

    def recall(self, after: int, limit: int) -> Future[list[Event]]:
        """Ask the store."""
        return in_thread(lambda: self._store.events(self._run_id, after, limit))

    def more(self) -> Future[None]:
        """Wait a while."""
        self._next = in_thread(lambda: None, after=self._pause)
        return self._next

    def end(self) -> None:
        """Stop waiting."""
        self._next.cancel()

"""What the fold keeps of instances: the counters of a map, and what has begun and not settled."""

from __future__ import annotations

from typing import Any

from orchkit.model.events import Event
from orchkit.model.smallest import SmallestFirst

__all__ = ["Child", "MapState", "Open"]


class MapState:
    """The counters of one map.

    Attributes
    ----------
    size : int
        How many items there are.
    next : int
        The first that has not begun.
    running, done : int
        How many have begun and not settled, and how many have settled, but for those that failed.
    values : list
        Per item, what it delivered; None where nothing, or not yet.
    again : SmallestFirst
        Items that were invalidated, and why: they start again, before `next`.
    failed : set of int
        Items that failed the run.
    degraded, skipped : set of int
        Items that delivered less than they should, and those among them that delivered nothing.
    """

    __slots__ = ("again", "degraded", "done", "failed", "next", "running", "size", "skipped", "values")

    def __init__(self, size: int) -> None:
        self.size = size
        self.next = 0
        self.running = 0
        self.done = 0
        self.again: SmallestFirst[int] = SmallestFirst()
        self.degraded: set[int] = set()
        self.failed: set[int] = set()
        self.skipped: set[int] = set()
        self.values: list[Any] = [None] * size

    def grow(self, size: int) -> None:
        """Make room for an item beyond the end: the list is another one by now."""
        if size > self.size:
            self.values += [None] * (size - self.size)
            self.size = size

    def delivered(self) -> list[Any]:
        """Give the values of the items that were not skipped, in item order."""
        return [value for item, value in enumerate(self.values) if item not in self.skipped]


class Open:
    """One instance that has begun and not settled.

    Attributes
    ----------
    events : list of Event
        Its own, in log order: what a resume feeds back to its pipeline.
    value : object
        The latest candidate for its result.
    """

    __slots__ = ("degraded", "events", "value")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.value: Any = None
        self.degraded = False


class Child:
    """What a body has called: its events are kept as they are until the body asks for it again and says what it is.

    Attributes
    ----------
    called : Event
        By whom, and with what.
    events : list of Event
        Its own, in log order.
    """

    __slots__ = ("called", "events")

    def __init__(self, called: Event) -> None:
        self.called = called
        self.events: list[Event] = []

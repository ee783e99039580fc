"""What the fold keeps of instances: the counters of a map, and what has begun and not settled."""

from __future__ import annotations

from typing import Any

from orchkit.model.events import Event
from orchkit.model.items import needed_of
from orchkit.model.smallest import SmallestFirst

__all__ = ["STREAMED", "Child", "MapState", "Open"]

STREAMED = "stream"
"""Why an item of a streaming map waits for its turn: its source has delivered it."""


class MapState:
    """The counters of one map.

    Parameters
    ----------
    size : int
    quorum : int, float or None
        As it was defined.
    fed : dict, optional
        Of a streaming map: by item, what its source has delivered.

    Attributes
    ----------
    size : int
        How many items there are; of a streaming map, how many its source has.
    next : int
        The first that has not begun; a streaming map takes its items from `again` alone.
    running, done : int
        How many have begun and not settled, and how many have settled, but for those that failed the run.
    got : int
        How many of these have delivered.
    values : list
        Per item, what it delivered; None where nothing, or not yet.
    again : SmallestFirst
        Items that were invalidated, or that a streaming map's source has delivered, and why: they start before `next`.
    failed : set of int
        Items that failed the run.
    degraded, skipped : set of int
        Items that delivered less than they should, and those among them that delivered nothing, or a failure.
    lost : dict of int to str
        Items whose failure a quorum gets over, and their errors.
    spared : set of int
        Items that were given up because the quorum was met, or could not be met any more.
    needed : int or None
        How many must deliver, if a quorum says so.
    going : SmallestFirst
        Items that have begun and not settled; kept where there is a quorum only.
    fed : dict or None
        As given; grows while the source goes on.
    whole : bool
        Whether all that the items are made of is there; False while a streaming map's source goes on.
    """

    __slots__ = (
        "again", "degraded", "done", "failed", "fed", "going", "got", "lost", "needed", "next", "quorum", "running",
        "size", "skipped", "spared", "values", "whole",
    )  # fmt: skip

    def __init__(self, size: int, quorum: int | float | None = None, fed: dict[int, Any] | None = None) -> None:
        self.size = size
        self.next = 0 if fed is None else size
        self.running = 0
        self.done = 0
        self.got = 0
        self.again: SmallestFirst[int] = SmallestFirst()
        self.degraded: set[int] = set()
        self.failed: set[int] = set()
        self.skipped: set[int] = set()
        self.lost: dict[int, str] = {}
        self.spared: set[int] = set()
        self.values: list[Any] = [None] * size
        self.quorum = quorum
        self.needed = needed_of(quorum, size)
        self.going: SmallestFirst[int] = SmallestFirst()
        self.fed = fed
        self.whole = fed is None
        for item in fed or ():
            self.again.put(item, STREAMED)

    def grow(self, size: int) -> None:
        """Make room for an item beyond the end: the list is another one by now."""
        if size > self.size:
            self.values += [None] * (size - self.size)
            self.size = size
            self.needed = needed_of(self.quorum, size)

    def end_stream(self) -> None:
        """Take note that the source of a streaming map delivers no more: what it has not, is not there."""
        assert self.fed is not None
        self.whole = True
        self.done += self.size - len(self.fed)
        if not self.fed:
            self.needed = needed_of(self.quorum, 0)

    def has_begun(self, item: int) -> bool:
        """Say whether an item has begun in this generation of the map."""
        if self.fed is None:
            return item < self.next
        return item in self.fed and self.again.get(item) != STREAMED

    def has_delivered(self, item: int) -> bool:
        """Say whether an item that is done has a place in the list."""
        if item in self.lost or item in self.spared:
            return False
        return item not in self.skipped or self.values[item] is not None

    def delivered(self) -> list[Any]:
        """Give the values of the items that have a place in the list, in item order."""
        values = self.values
        if self.needed is None and self.fed is None and not self.lost and not self.spared:
            return [value for item, value in enumerate(values) if item not in self.skipped or value is not None]
        done = (item for item in range(self.size) if self.has_begun(item) and item not in self.again)
        return [values[item] for item in done if self.has_delivered(item)]

    @property
    def met(self) -> bool:
        """Whether so many items have delivered that the rest does not matter."""
        return self.needed is not None and self.got >= self.needed

    @property
    def missed(self) -> bool:
        """Whether fewer items than the quorum needs can still deliver."""
        if self.needed is None:
            return False
        there = self.size if self.fed is None or not self.whole else len(self.fed)
        return there - len(self.lost) < self.needed

    @property
    def over(self) -> bool:
        """Whether nothing more is to begin: all items are done, or a quorum has been decided."""
        return (self.whole and self.done == self.size) or (self.needed is not None and (self.met or self.missed))


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

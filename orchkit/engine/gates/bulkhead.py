"""The bulkhead's gate: who is inside, and who waits before it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Literal

__all__ = ["BulkheadGate"]


class BulkheadGate:
    """Count who is inside under one key, and keep those who wait in order of arrival.

    Parameters
    ----------
    limit : int
        How many may be inside.
    queue : int or None
        How many may wait; None for any number.

    Notes
    -----
    After each fact the caller lets in `next` until there is none; so a place is never free while somebody waits.

    Examples
    --------
    >>> gate = BulkheadGate(limit=1, queue=1)
    >>> gate.verdict()
    'admit'
    >>> gate.admitted("a")
    >>> gate.verdict()
    'queue'
    >>> gate.queued("b")
    >>> gate.verdict(), gate.next()
    ('reject', None)
    >>> gate.left("a")
    >>> gate.next()
    'b'
    """

    __slots__ = ("_inside", "_limit", "_line", "_queue")

    def __init__(self, limit: int, queue: int | None = None) -> None:
        self._limit = limit
        self._queue = queue
        self._inside: set[Hashable] = set()
        # A dict finds its first key by walking over all that have gone before it; this does not.
        self._line: OrderedDict[Hashable, None] = OrderedDict()

    @property
    def inside(self) -> int:
        """How many are inside."""
        return len(self._inside)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    def verdict(self) -> Literal["admit", "queue", "reject"]:
        """Say what becomes of an attempt that arrives now; it does not overtake those who wait."""
        free = max(0, self._limit - len(self._inside))
        if free and not self._line:
            return "admit"
        # Who waits while a place is free is on the way in: at the instant in which somebody has left.
        return "queue" if self._queue is None or len(self._line) - free < self._queue else "reject"

    def next(self) -> Hashable | None:
        """Say who may be let in now; None if there is no place, or nobody waits."""
        if self._line and len(self._inside) < self._limit:
            return next(iter(self._line))
        return None

    def queued(self, who: Hashable) -> None:
        """Take in that an attempt waits."""
        self._line[who] = None

    def admitted(self, who: Hashable) -> None:
        """Take in that an attempt was let in, at once or after it has waited."""
        self._line.pop(who, None)
        self._inside.add(who)

    def left(self, who: Hashable) -> None:
        """Take in that an attempt is no longer there: it has really ended, or is gone, also while it waited."""
        self._line.pop(who, None)
        self._inside.discard(who)

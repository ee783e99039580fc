"""Partials: what steps emit on their way to a result, kept for one reader and never more than has room."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Final, NamedTuple

import msgspec

__all__ = ["Kept", "Partial", "Partials", "Piece", "Who"]

Who = tuple[str, int, int, int, int]
"""An attempt: path of its node, item or -1, generation, leg, number."""

_MOST: Final = 256
_ROOM: Final = 2**20  # characters, or bytes of JSON


class Partial(NamedTuple):
    """A part of what an attempt is about to return, as ``ctx.emit`` showed it.

    Attributes
    ----------
    node : str
        A path, as in events.
    item : int or None
        Index in the map's list.
    generation, leg, attempt : int
        Of the attempt, as in events.
    n : int, from 1
        The place of the chunk in its attempt; of several that were joined, that of the last.
    t : float, seconds since the run started
        When it was emitted; of several that were joined, the first.
    chunk : object
        JSON, usually text.
    missed : int
        How many chunks of this attempt, right before this one, the reader was too slow, or too late, for.
    """

    node: str
    item: int | None
    generation: int
    leg: int
    attempt: int
    n: int
    t: float
    chunk: Any
    missed: int

    @property
    def kind(self) -> str:
        """Always "partial", which no event is: tells the two apart in a stream."""
        return "partial"


class Piece(NamedTuple):
    """One chunk as it was emitted; `t` in microseconds since the start of the run."""

    who: Who
    n: int
    t: int
    chunk: Any


class Kept:
    """One chunk, or several of one attempt that follow one another, until the reader looks.

    Attributes
    ----------
    who : Who
    first, last : int
        Places of the first and the last chunk.
    t : int, microseconds
    after : int
        How many events had been recorded.
    size : int
        Characters or bytes of it all.
    """

    __slots__ = ("after", "chunks", "first", "last", "size", "t", "who")

    def __init__(self, piece: Piece, after: int) -> None:
        self.who = piece.who
        self.first = self.last = piece.n
        self.t = piece.t
        self.after = after
        self.chunks = [piece.chunk]
        self.size = _size(piece.chunk)

    def joins(self, other: Kept) -> bool:
        """Say whether another can be put behind this one: both are text, nothing lies between, and it is not long.

        What is long is dropped in parts then, and not all of an attempt at once.
        """
        text = type(self.chunks[0]) is str and type(other.chunks[0]) is str
        return text and other.first == self.last + 1 and self.size + other.size <= _ROOM // 16

    def join(self, other: Kept) -> None:
        """Put another behind it."""
        self.chunks += other.chunks
        self.last = other.last
        self.size += other.size

    def told(self, last: int) -> Partial:
        """Give it to a reader whose last chunk of this attempt was `last`."""
        node, item, generation, leg, attempt = self.who
        chunk = "".join(self.chunks) if len(self.chunks) > 1 else self.chunks[0]
        place = None if item < 0 else item
        return Partial(
            node, place, generation, leg, attempt, self.last, self.t / 1e6, chunk, max(0, self.first - 1 - last)
        )


def _size(chunk: Any) -> int:
    # A list of short texts costs some 60 bytes each beside what they say.
    return 60 + (len(chunk) if type(chunk) is str else len(msgspec.json.encode(chunk)))


class Partials:
    """What one reader has not looked at yet: at most some 500 pieces, and some 1 MB.

    Where there are more, text of one attempt is joined, at the place of its first; then the oldest are dropped.
    """

    def __init__(self) -> None:
        self._kept: deque[Kept] = deque()
        self._size = 0
        self._lock = threading.Lock()

    def put(self, piece: Piece, after: int) -> None:
        """Take a piece, from any thread."""
        kept = Kept(piece, after)
        with self._lock:
            self._kept.append(kept)
            self._size += kept.size
            if len(self._kept) > 2 * _MOST or self._size > _ROOM:
                self._make_room()

    def take(self) -> deque[Kept]:
        """Give all that is there, and keep nothing."""
        with self._lock:
            taken, self._kept, self._size = self._kept, deque(), 0
            return taken

    def _make_room(self) -> None:
        # To half of what there is room for: it is then not done again for each piece.
        joined: deque[Kept] = deque()
        latest: dict[Who, Kept] = {}
        for kept in self._kept:
            before = latest.get(kept.who)
            if before is not None and before.joins(kept):
                before.join(kept)
            else:
                joined.append(kept)
                latest[kept.who] = kept
        while len(joined) > 1 and (len(joined) > _MOST or self._size > _ROOM // 2):
            self._size -= joined.popleft().size
        self._kept = joined

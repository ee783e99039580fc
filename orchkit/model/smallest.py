"""What waits for its turn, the smallest first."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TypeVar

__all__ = ["SmallestFirst"]

K = TypeVar("K", int, tuple[int, int], tuple[int, ...])


class SmallestFirst(dict[K, str]):
    """A dict from what waits to why, whose smallest key is at hand however many there are.

    Only `put` and `drop` may change it.
    """

    __slots__ = ("_order",)

    def __init__(self) -> None:
        super().__init__()
        self._order: list[K] = []  # a heap; what was dropped in the middle stays in it until it comes first

    @property
    def first(self) -> K:
        """The smallest key; there must be one."""
        return self._order[0]

    def put(self, key: K, why: str) -> None:
        """Let a key wait, or say another reason why it does."""
        if key not in self:
            heappush(self._order, key)
        self[key] = why

    def drop(self, key: K) -> None:
        """Let a key wait no longer, if it did."""
        if self.pop(key, None) is None:
            return
        order = self._order
        while order and order[0] not in self:
            heappop(order)

"""Replays: a recorded log folded again, moment by moment, without executing anything."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from orchkit.model.events import Event
from orchkit.model.graph import Graph
from orchkit.model.records import Head
from orchkit.runs.accounts import Accounts

__all__ = ["Recording"]


class Recording:
    """A log, and what it tells after any of its events.

    One fold is kept, after the event that was asked for last: whoever goes forward pays for each event once, whoever
    goes back pays for the log's beginning again.

    Parameters
    ----------
    head : Head
    events : sequence of Event
    graph : Graph, optional
        Of the workflow; without it only nodes that the log names are known.
    """

    def __init__(self, head: Head, events: Sequence[Event], graph: Graph | None = None) -> None:
        self.head = head
        self.events = tuple(events)
        self.graph = graph
        self._times = _never_back(self.events)
        self._folded = 0
        self._accounts = Accounts()

    def after(self, count: int) -> Accounts:
        """Give what the first `count` events tell; valid until somebody asks for another count."""
        if count < self._folded:
            self._folded, self._accounts = 0, Accounts()
        for event in self.events[self._folded : count]:
            self._accounts.take(event)
        self._folded = count
        return self._accounts

    def count_at(self, t: int) -> int:
        """Give how many events had been recorded by a time in microseconds since the start."""
        return bisect_right(self._times, t)

    def rows(self, count: int) -> Iterator[tuple[str, int, str, int, Any]]:
        """Give node, item, status, attempts and value of each instance after the first `count` events.

        In the workflow's order, those that have not begun included; nodes that it does not have come last.
        """
        accounts = self.after(count)
        names = [node.name for node in self.graph.nodes] if self.graph is not None else []
        for name in dict.fromkeys([*names, *(node for node, _ in accounts.of)]):
            whole = accounts.of.get((name, -1))
            if whole is not None:
                yield name, -1, whole.status, whole.attempts, whole.value
            elif name in names:
                yield name, -1, "idle", 0, None
            for one in accounts.items(name):
                yield name, one.item, one.status, one.attempts, one.value


def _never_back(events: Sequence[Event]) -> list[int]:
    # A log's times never go back; one that was written by hand, or damaged, is still looked at in its own order.
    times: list[int] = []
    for event in events:
        times.append(max(event.t, times[-1]) if times else event.t)
    return times

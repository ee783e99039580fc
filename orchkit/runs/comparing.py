"""Comparing two runs: where they part, and what follows from that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from orchkit.model.events import Event, canonical_digest, exact_digest
from orchkit.model.graph import Graph
from orchkit.model.records import Head
from orchkit.runs.accounts import NOTHING, Account, Accounts, Key
from orchkit.runs.partings import partings
from orchkit.runs.unlike import unlike

__all__ = ["INPUT", "Compared", "Difference", "Side", "compare"]

INPUT: Final = "input"
"""What stands for the workflow's input where a node's name does; no node may have that name."""

_DELIVERS: Final = ("value", "writes", "status", "in one run only")
_PLACES: Final = 20  # of one value; a list of a million elements is told in its first


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs.

    Attributes
    ----------
    head : Head
    events : sequence of Event
    graph : Graph or None
        Of its workflow, if that is known.
    fingerprints : dict of str to str
        Of each node as it was at the end; empty where nobody knows.
    """

    head: Head
    events: Sequence[Event]
    graph: Graph | None
    fingerprints: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two runs differ.

    Attributes
    ----------
    node : str
        Its name; "input" for the workflow's, "" for the run itself.
    item : int
        -1 for none.
    what : str
        "workflow", "definition", "in one run only", "status", "attempts", "error", "value", "writes" (both with a
        path behind), "answered by", "cost", "tokens", "began", "took", "result", or "event": what no other name fits.
    a, b : object
        `NOTHING` where that side has none. Times in seconds.
    first : bool
        Whether it follows from no other.
    """

    node: str
    item: int
    what: str
    a: Any
    b: Any
    first: bool = False


class Compared(NamedTuple):
    """What comparing came to.

    Attributes
    ----------
    equal : bool
        Whether the logs are, by their digests.
    exact : bool
        Whether times were compared as well: only those of virtual runs repeat.
    differences : list of Difference
        Those that follow from no other first, then by the workflow's order or that of the logs.
    """

    equal: bool
    exact: bool
    differences: list[Difference]


def compare(a: Side, b: Side, *, exact: bool | None = None) -> Compared:
    """Compare two logs, and say of each difference whether it follows from another.

    With a graph, a difference follows from one in what an ancestor delivered or wrote; without any, all follow from
    that which comes first in the logs. Times are compared as well, unless one is live or `exact` says otherwise.
    """
    if exact is None:
        exact = a.head.mode == b.head.mode == "virtual"
    digest = exact_digest if exact else canonical_digest
    equal = digest(a.events) == digest(b.events)
    comparison = _Comparison(a, b, exact=exact)
    found = [*comparison.definitions(), *comparison.instances(equal), *comparison.answers()]
    return Compared(equal, exact, comparison.in_order(found))


class _Comparison:
    def __init__(self, a: Side, b: Side, *, exact: bool) -> None:
        self.a, self.b, self.exact = a, b, exact
        self.ours, self.theirs = Accounts(a.events), Accounts(b.events)
        self.graphs = [side.graph for side in (a, b) if side.graph is not None]
        self.parted = dict(partings(a.events, b.events, exact=exact))

    # What differs

    def definitions(self) -> Iterator[Difference]:
        if self.a.head.workflow != self.b.head.workflow:
            yield Difference("", -1, "workflow", self.a.head.workflow, self.b.head.workflow)
        ours, theirs = self.a.fingerprints, self.b.fingerprints
        for name in dict.fromkeys([*ours, *theirs]) if ours and theirs else ():
            one, other = ours.get(name, NOTHING), theirs.get(name, NOTHING)
            if one != other:
                yield Difference(name, -1, "definition", one, other)

    def instances(self, equal: bool) -> Iterator[Difference]:
        for key, parting in self.parted.items():
            found = list(self._own() if not key[0] else self._of(key))
            yield from found or [Difference(*key, "event", parting.a, parting.b)]
        if not equal and not self.parted:
            yield Difference("", -1, "event", "the order of events that", "have the same time")

    def _own(self) -> Iterator[Difference]:
        yield from _values(INPUT, -1, "value", self.ours.input, self.theirs.input)
        yield from _pair("", -1, "status", self.ours.status, self.theirs.status)
        yield from _pair("", -1, "error", self.ours.error, self.theirs.error)
        yield from _values("", -1, "result", self.ours.result, self.theirs.result)
        if self.exact:
            yield from _pair("", -1, "took", self.ours.t / 1e6, self.theirs.t / 1e6)

    def _of(self, key: Key) -> Iterator[Difference]:
        one, other = self.ours.of.get(key), self.theirs.of.get(key)
        if one is None or other is None:
            ours, theirs = (NOTHING if account is None else account.status for account in (one, other))
            yield Difference(*key, "in one run only", ours, theirs)
            return
        for what in ("status", "attempts", "error"):
            yield from _pair(*key, what, getattr(one, what), getattr(other, what))
        if key[1] >= 0 or not (self.ours.items(key[0]) or self.theirs.items(key[0])):  # a map's are those of its items
            yield from _values(*key, "value", one.value, other.value)
        yield from _values(*key, "writes", one.writes, other.writes)
        yield from _pair(*key, "cost", one.cost, other.cost)
        yield from _pair(*key, "tokens", one.tokens, other.tokens)
        if self.exact:
            yield from _pair(*key, "began", _seconds(one.begun), _seconds(other.begun))
            yield from _pair(*key, "took", took(one), took(other))

    def answers(self) -> Iterator[Difference]:
        """Give who answered: no digest knows, for it is no part of what a run comes to."""
        for key, one in self.ours.of.items():
            other = self.theirs.of.get(key)
            if other is not None and one.delivered and other.delivered:
                yield from _pair(*key, "answered by", one.by, other.by)

    def ranks(self) -> dict[str, int]:
        """Give the place of each node in the workflow's order; none where nobody knows the workflow."""
        return {name: rank for rank, name in enumerate(dict.fromkeys([INPUT, *_names(self.graphs)]))}

    def above(self) -> dict[str, set[str]]:
        """Give the ancestors of each node."""
        # A node that both graphs have is where the first has it: of two graphs together the ancestors could be a ring.
        above: dict[str, set[str]] = {INPUT: set()} if self.graphs else {}
        for graph in self.graphs:
            for name, ancestors in _ancestors(graph).items():
                above.setdefault(name, ancestors)
        return above

    def position(self, key: Key) -> int:
        """Give where in the logs a node or item parts."""
        if key[0] == INPUT:
            return -1
        parting = self.parted.get(key)
        return len(self.a.events) if parting is None else parting.position

    def in_order(self, found: Sequence[Difference]) -> list[Difference]:
        """Mark what follows from no other, and put it first."""
        causes = _Causes(found, self.above(), self.position)
        marked = [replace(one, first=causes.is_first(one)) for one in found]
        first, ranks = {(one.node, one.item) for one in marked if one.first}, self.ranks()

        def place(one: Difference) -> tuple[bool, bool, int, int, int]:
            key = one.node, one.item
            if one.what == "workflow":
                return False, False, -1, 0, 0
            rank = ranks.get(one.node, len(ranks))
            return key not in first, not one.node, rank, one.item if rank < len(ranks) else 0, self.position(key)

        return sorted(marked, key=place)


class _Causes:
    """Which differences explain which others."""

    def __init__(
        self, found: Sequence[Difference], above: Mapping[str, set[str]], position: Callable[[Key], int]
    ) -> None:
        self._above = above
        keys = {(one.node, one.item) for one in found if one.node and one.what != "definition"}
        self._earliest = min(keys, key=position, default=None)
        self._nodes = {node for node, _ in keys}
        self._items = {node for node, item in keys if item >= 0}
        self._delivered = {one.node for one in found if one.node and one.what.startswith(_DELIVERS)}
        # Of what is late by itself, and not because another was.
        self._late = {(one.node, one.item) for one in found if one.what != "began"}
        self._late_of = Counter(node for node, _ in self._late)

    def is_first(self, one: Difference) -> bool:
        """Say whether a difference follows from no other."""
        if one.what in ("workflow", "definition"):
            return True
        if not one.node:  # what a run comes to follows from its nodes, if any of them differs
            return not self._nodes
        above = self._above.get(one.node)
        if above is None:
            return (one.node, one.item) == self._earliest
        if one.item < 0 and one.node in self._items:
            return False
        if one.what != "began":
            return above.isdisjoint(self._delivered)
        waited = self._late_of[one.node] > ((one.node, one.item) in self._late)
        return above.isdisjoint(self._nodes) and not waited


def _names(graphs: Iterable[Graph]) -> Iterator[str]:
    for graph in graphs:
        yield from (node.name for node in graph.nodes)


def _ancestors(graph: Graph) -> dict[str, set[str]]:
    above: dict[str, set[str]] = {node.name: set() for node in graph.nodes}
    into: dict[str, list[str]] = {}
    for edge in graph.edges():
        into.setdefault(edge.target, []).append(edge.source)
    for node in graph.nodes:  # in topological order
        for source in into.get(node.name, ()):
            above[node.name] |= {source} | above.get(source, set())
    return above


def _pair(node: str, item: int, what: str, a: Any, b: Any) -> Iterator[Difference]:
    if a != b:
        yield Difference(node, item, what, a, b)


def _values(node: str, item: int, what: str, a: Any, b: Any) -> Iterator[Difference]:
    for place, (path, one, other) in enumerate(unlike(a, b)):
        if place == _PLACES:
            yield Difference(node, item, what, "and more places", "that are not listed")
            return
        yield Difference(node, item, what + path, one, other)


def _seconds(t: int | None) -> Any:
    return NOTHING if t is None else t / 1e6


def took(account: Account) -> Any:
    """Give how many seconds an instance took, `NOTHING` if it has not settled or never began."""
    if account.begun is None or account.ended is None:
        return NOTHING
    return (account.ended - account.begun) / 1e6

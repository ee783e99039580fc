"""The shared context of a run: what steps write is recorded as deltas, and folded along the edges of the graph.

A step sees what its ancestors wrote, each writer once, in (topological order, item index) and never in order of
completion: so no outcome depends on timing. Nobody's ancestor's writes can still change when it begins, because all
of them have settled.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchkit.model.events import Event
from orchkit.model.merging import SharedModel

if TYPE_CHECKING:
    from orchkit.model.graph import Graph

__all__ = ["SharedState", "SharedView", "recorded_writes", "winning_writes"]


class SharedView:
    """The context as one attempt sees it: what its ancestors wrote, and its own writes so far.

    Attributes
    ----------
    delta : dict
        Its own writes; replaced by each write and never changed in place, for it goes into the log as it is.
    """

    __slots__ = ("_before", "delta", "model")

    def __init__(self, model: SharedModel, before: Mapping[str, Any]) -> None:
        self.model = model
        self._before = before
        self.delta: dict[str, Any] = {}

    def read(self) -> Any:
        """Give a fresh instance of the model."""
        return self.model.load(self.values())

    def values(self) -> dict[str, Any]:
        """Give what is seen, as JSON."""
        return self.model.fold([self.delta], self._before)

    def join(self, delta: Mapping[str, Any]) -> None:
        """Write what is JSON already."""
        self.delta = self.model.joined(self.delta, delta)

    def write(self, changes: Mapping[str, Any], where: str) -> None:
        """Check and buffer; nothing is buffered when one of them does not fit."""
        self.delta = self.model.joined(self.delta, self.model.dump(changes, where))


class SharedState:
    """The part of a run's state that holds its context: a fold of the log, like the rest of it.

    Sets of nodes are the bits of an int, because a union of ancestors is then one instruction.

    Attributes
    ----------
    writes : dict
        Per node, by item, the delta of the attempt that won; a later generation takes the earlier one's place.
    begun : dict of int to int
        Per node that has begun, its ancestors: fixed then, for a second route may pick it later.
    live : dict of int to int
        Per node that has settled live, its ancestors and itself.
    before : dict of int to dict
        Per node that was invalidated and has not settled again, what it had written, by item.
    told : list of dict
        What operators have written, in the order of the log.
    heard : dict
        ``(node, item)`` to how much of `told` there was when that instance began; 0 where it says nothing.
    onto : dict
        What was there at first: the defaults, or in a scope that a node has opened what that node sees. Do not change.
    """

    __slots__ = ("_graph", "_last", "before", "begun", "heard", "live", "model", "onto", "told", "writes")

    def __init__(self, graph: Graph, model: SharedModel) -> None:
        self._graph = graph
        self._last: tuple[int, dict[str, Any]] | None = None  # a mask, and what it comes to with all that was told
        self.model = model
        self.onto: Mapping[str, Any] = model.defaults
        self.writes: dict[int, dict[int, dict[str, Any]]] = {}
        self.begun: dict[int, int] = {}
        self.live: dict[int, int] = {}
        self.before: dict[int, dict[int, Any]] = {}
        self.told: list[dict[str, Any]] = []
        self.heard: dict[tuple[int, int], int] = {}

    def ancestors(self, node: int, values: Sequence[Any]) -> int:
        """Give the ancestors that a node has now: its live sources, the routes that picked it, and theirs."""
        mask, stream = 0, self._graph.stream_of[node]
        for source in self._graph.sources[node]:
            # Of what it streams over, only what came before: the items see each one of it.
            mask |= self.live.get(source, 0) if source != stream else self.begun.get(source, 0)
        name = self._graph.nodes[node].name
        for route in self._graph.pickers[node]:
            picks = values[route]
            if route in self.live and name in (picks if isinstance(picks, list) else [picks]):
                mask |= self.live[route]
        return mask

    def begin(self, node: int, values: Sequence[Any]) -> None:
        """Fix what a node sees: its first instance has begun."""
        self.begun[node] = self.ancestors(node, values)

    def tell(self, changes: dict[str, Any]) -> None:
        """Take what an operator writes: what begins from now on sees it."""
        self.told.append(changes)
        self._last = None

    def look(self, key: tuple[int, int]) -> None:
        """Fix how much an instance sees of what operators have written: it begins."""
        if self.told:
            self.heard[key] = len(self.told)

    @property
    def has_heard(self) -> bool:
        """Whether somebody who has written something knew what an operator had."""
        return any((node, item) in self.heard for node, written in self.writes.items() for item in written)

    def keep(self, node: int, item: int, events: Sequence[Event]) -> None:
        """Take the writes of an instance that has settled live."""
        delta = winning_writes(events)
        if delta:
            self.writes.setdefault(node, {})[item] = delta
        else:
            self._forget(node, item)
        if self._last is not None and self._last[0] >> node & 1:
            self._last = None

    def join(self, node: int, values: Sequence[Any]) -> None:
        """Let a node that has settled live be an ancestor of others."""
        if node not in self.begun:
            self.begin(node, values)
        self.live[node] = self.begun[node] | self.live.get(self._graph.stream_of[node], 0) | 1 << node

    def leave(self, node: int) -> None:
        """Take back what a node had written and how it stood: it was skipped this time."""
        self.live.pop(node, None)
        self.writes.pop(node, None)
        self._last = None

    def drop(self, node: int, *items: int) -> None:
        """Forget what these items of a node had written: they are not there any more, or start again."""
        for item in items:
            self._forget(node, item)
        self._last = None

    def _forget(self, node: int, item: int) -> None:
        written = self.writes.get(node, {})
        if written.pop(item, None) is not None and not written:
            del self.writes[node]

    def remember(self, node: int) -> None:
        """Keep in mind what a node had written, for it is to settle once more."""
        self.before.setdefault(node, dict(self.writes.get(node, {})))

    def has_changed(self, node: int) -> bool:
        """Say whether a node that has settled once more has written something else."""
        return self.before.pop(node, {}) != self.writes.get(node, {})

    @property
    def everyone(self) -> int:
        """All nodes that have settled live."""
        return sum(1 << node for node in self.live)

    def values(self, mask: int, heard: int = 0) -> dict[str, Any]:
        """Fold what a set of nodes and the first so many updates of operators wrote.

        The dict is shared, do not change it. The last one is kept, because the items of a map all ask for the same.
        """
        if heard < len(self.told):
            return self.model.fold(self._in_order(mask, heard), self.onto)
        if self._last is None or self._last[0] != mask:
            self._last = mask, self.model.fold(self._in_order(mask, heard), self.onto)
        return self._last[1]

    def whole(self) -> dict[str, Any]:
        """Fold what everybody wrote, operators too; do not change it."""
        return self.values(self.everyone, len(self.told))

    def seen_by(self, key: tuple[int, int]) -> dict[str, Any]:
        """Fold what an instance sees that has begun; do not change it.

        Of what its map streams over, that is what its own item's source wrote.
        """
        node, item = key
        mask, heard, own = self.begun[node], self.heard.get(key, 0), set[int]()
        source = self._graph.stream_of[node]
        while source >= 0:
            if item in self.writes.get(source, ()) and not mask >> source & 1:
                own.add(source)
            source = self._graph.stream_of[source]
        return self.model.fold(self._in_order(mask, heard, own, item), self.onto) if own else self.values(mask, heard)

    def told_since(self, key: tuple[int, int]) -> list[dict[str, Any]]:
        """Give what operators have written since an instance began."""
        return self.told[self.heard.get(key, 0) :]

    def _in_order(self, mask: int, heard: int, own: Container[int] = (), one: int = -1) -> Iterator[dict[str, Any]]:
        # An operator's update comes behind what those wrote who did not know it, and before what those wrote who did.
        # The order of the graph goes before that: what a node wrote never comes behind what follows it.
        if not self.told:
            yield from (delta for _, delta in self._of(mask, own, one))
            return
        placed: list[tuple[int, int, dict[str, Any]]] = [(i, 1, delta) for i, delta in enumerate(self.told[:heard])]
        after: dict[int, int] = {}
        for (node, item), delta in self._of(mask, own, one):
            known = self.live.get(node, self.begun.get(node, 0))  # of one in `own`, which each other follows
            follows = (other for other in after if known >> other & 1 or (node in own and other in own))
            least = max((after[other] for other in follows if other != node), default=0)
            place = max(least, self.heard.get((node, item), 0))
            after[node] = max(after.get(node, 0), place)
            placed.append((place, 0, delta))
        yield from (delta for *_, delta in sorted(placed, key=lambda one: one[:2]))

    def delta(self) -> dict[str, Any]:
        """Give what all nodes wrote as one delta."""
        joined: dict[str, Any] = {}
        for _, delta in self._of(self.everyone):
            joined = self.model.joined(joined, delta)
        return joined

    def conflict(self, mask: int) -> str | None:
        """Say which two of a set of nodes wrote one field without a rule, neither being the other's ancestor."""
        last: dict[str, tuple[int, int]] = {}
        for key, delta in self._of(mask):
            for name in delta:
                if name in self.model.rules or name not in self.model.codecs:
                    continue
                before = last.get(name)
                if before is not None and (before[0] == key[0] or not self.live[key[0]] >> before[0] & 1):
                    return self._told(name, before, key)
                last[name] = key
        return None

    def _of(
        self, mask: int, own: Container[int] = (), one: int = -1
    ) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
        for node in sorted(self.writes):
            written = self.writes[node]
            if mask >> node & 1:
                yield from (((node, item), written[item]) for item in sorted(written))
            elif node in own:
                yield (node, one), written[one]

    def _told(self, name: str, *keys: tuple[int, int]) -> str:
        one, other = (self._graph.nodes[n].name + (f"[{item}]" if item >= 0 else "") for n, item in keys)
        return (
            f"{one!r} and {other!r} both wrote {name!r} of the shared context, and neither comes before the other; "
            f"order them by after=, or say how the field merges: wf.context(..., merge={{{name!r}: ok.append}})"
        )


def winning_writes(events: Sequence[Event]) -> dict[str, Any]:
    """Give the delta of the attempt that an instance's value came from; failed ones and lost legs have none."""
    for event in reversed(events):
        if event.kind == "completed":
            return recorded_writes(events, event)
        if event.kind == "degraded" and event.status == "value":
            break
    return {}


def recorded_writes(events: Sequence[Event], attempt: Event) -> dict[str, Any]:
    """Give the last delta that the log holds of an attempt, whose record any event of it may be."""
    who = (attempt.node, attempt.leg, attempt.attempt)
    for event in reversed(events):
        if event.kind == "context" and (event.node, event.leg, event.attempt) == who:
            delta: dict[str, Any] = event.body
            return delta
    return {}

"""Lineage of the shared context: who wrote what, and who was given it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from orchkit.engine.program import Program, Seat, Site
from orchkit.errors import ReplayMismatch
from orchkit.model.events import Event
from orchkit.model.fold import fold
from orchkit.model.shared import SharedState
from orchkit.runs.accounts import Account, Accounts

__all__ = ["Passage", "context_arrows", "lineage"]


@dataclass(frozen=True, slots=True)
class Passage:
    """A field on its way from who wrote it to one who saw it.

    Attributes
    ----------
    field : str
    writer : str
        A node's name, with the item if it is a map's.
    reader : str or None
        A node's name; "" for nobody, None where nobody knows.
    value : object
        JSON: what was written, which a merge rule may have put together with what others wrote.
    t : int, microseconds
        When it was recorded.
    """

    field: str
    writer: str
    reader: str | None
    value: Any
    t: int


def lineage(program: Program | None, events: Sequence[Event]) -> list[Passage]:
    """Give every write that counts by now, once for each node that sees it, in the order of the writes.

    Who sees what is known by the workflow; without it, or where the log is of another shape of it, only the writes are.
    """
    accounts = Accounts(events)
    writes = [one for one in accounts.of.values() if one.delivered and one.writes]
    writes.sort(key=lambda one: (one.written, one.node, one.item))
    try:
        shared = None if program is None else fold(program.graph, events).shared
    except ReplayMismatch:
        shared = None
    if program is None or shared is None:
        return [Passage(name, one.name, None, value, one.written) for one, name, value in _fields(writes)]
    sight = _Sight(program, shared, writes, _readers(program, accounts, events))
    return [
        Passage(name, one.name, reader, value, one.written)
        for one, name, value in _fields(writes)
        for reader in sight.of(one, name) or [""]
    ]


def _fields(writes: Sequence[Account]) -> Iterator[tuple[Account, str, Any]]:
    for one in writes:
        for name, value in one.writes.items():
            yield one, name, value


def _readers(program: Program, accounts: Accounts, events: Sequence[Event]) -> list[int]:
    """Give the nodes whose own code was given the context: that of a node which the world models was not."""
    tried = {event.node for event in events if event.kind == "started"}
    return [
        node
        for node, seat in enumerate(program.seats)
        if (account := accounts.of.get((seat.node.name, -1))) is not None
        and account.status != "idle"
        and any(_is_given_it(site) and site.path in tried for site in _sites(seat))
    ]


def _sites(seat: Seat) -> list[Site]:
    return [site for site in (seat.site, *seat.fallbacks) if isinstance(site, Site)]


def _is_given_it(site: Site) -> bool:
    return site.model is None and site.function is not None and site.function.wants_ctx


class _Sight:
    """Which readers see which writes."""

    def __init__(
        self, program: Program, shared: SharedState, writes: Sequence[Account], readers: Sequence[int]
    ) -> None:
        self._graph = program.graph
        self._rules = shared.model.rules
        self._sets = {node: shared.begun[node] for node in readers if node in shared.begun}
        # A field without a rule is replaced: who sees several writes of it sees the last, in the graph's order.
        self._wrote: dict[str, list[tuple[int, int]]] = {}
        index = self._graph.index
        by_key = {(index[one.node], one.item): one for one in writes if one.node in index}
        for key in sorted(by_key):
            for name in by_key[key].writes:
                self._wrote.setdefault(name, []).append(key)

    def of(self, account: Account, name: str) -> list[str]:
        """Give the names of those who see a field as an account wrote it."""
        node = self._graph.index.get(account.node)
        if node is None:
            return []
        seen = [reader for reader, mask in self._sets.items() if mask >> node & 1]
        if name not in self._rules:
            seen = [reader for reader in seen if self._last(name, self._sets[reader]) == (node, account.item)]
        return [self._graph.nodes[reader].name for reader in seen]

    def _last(self, name: str, mask: int) -> tuple[int, int] | None:
        return next((key for key in reversed(self._wrote[name]) if mask >> key[0] & 1), None)


def context_arrows(passages: Sequence[Passage]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Give writer, reader and fields of each pair of nodes between which something passed."""
    fields: dict[tuple[str, str], dict[str, None]] = {}
    for one in passages:
        if one.reader:
            fields.setdefault((one.writer.partition("[")[0], one.reader), {})[one.field] = None
    return [(writer, reader, tuple(names)) for (writer, reader), names in fields.items()]

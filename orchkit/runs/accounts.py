"""Accounts: what a log tells of each instance, event by event, with or without the workflow that recorded it.

The fold of `orchkit.model` needs the graph, for it says what may happen next. To look at a run that is past, what
happened is enough; so this reads any log, also one whose workflow is gone or has another shape by now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from orchkit.model.events import ATTEMPT_ENDS, Event, settles
from orchkit.model.paths import FALLBACK

__all__ = ["NOTHING", "Account", "Accounts", "Key"]

Key = tuple[str, int]
"""A node's name, and the index of an item or -1."""

_DELIVERS: Final = ("completed", "degraded")
_OPEN: Final = ("running", "waiting")


class _Nothing:
    """What stands where there is no value; None is one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "nothing"


NOTHING: Final = _Nothing()
"""There is no value; None would be one."""


class Account:
    """What a log tells of one node, or of one item of a map.

    Attributes
    ----------
    node : str
    item : int
        -1 for the node itself.
    generation : int
        The latest.
    status : str
        "idle" (was invalidated and has not begun again), "running", "waiting" (for a person, or before the next
        attempt), "completed", "degraded", "failed", "skipped", "cancelled".
    attempts : int
        How many were started, those of its fallbacks and of earlier generations included.
    value : object
        What it delivered, as JSON, or what stands in a collecting map for an item that failed; `NOTHING` before.
    writes : dict
        What it wrote to the shared context, by field.
    written : int, microseconds
        When that was recorded.
    writer : str, int
        The path and the attempt that wrote it.
    begun, ended : int, microseconds, or None
        When its present generation began and settled.
    cost : float, USD
    tokens : int
        Of all its attempts.
    error, by : str
        Why it failed or was skipped; who answered.
    """

    __slots__ = (
        "_deltas", "attempts", "begun", "by", "cost", "ended", "error", "generation", "item", "node", "status",
        "tokens", "value", "writer", "writes", "written",
    )  # fmt: skip

    def __init__(self, node: str, item: int) -> None:
        self.node = node
        self.item = item
        self.attempts = 0
        self.cost = 0.0
        self.tokens = 0
        self.begin_again(1)

    def begin_again(self, generation: int) -> None:
        """Forget what came of it: it was invalidated."""
        self.generation = generation
        self.status = "idle"
        self.value: Any = NOTHING
        self.writes: dict[str, Any] = {}
        self.written = 0
        self.writer = (self.node, 0)
        self.begun: int | None = None
        self.ended: int | None = None
        self.error = self.by = ""
        self._deltas: dict[tuple[str, int, int], Event] = {}

    @property
    def name(self) -> str:
        """The node's name, with the item if it is one."""
        return self.node if self.item < 0 else f"{self.node}[{self.item}]"

    @property
    def delivered(self) -> bool:
        """Whether it has settled with a value."""
        return self.status in _DELIVERS

    @property
    def listed(self) -> bool:
        """Whether it has a place in its map's list: it has delivered, or its failure has been collected."""
        return self.delivered or (self.status == "skipped" and self.value is not NOTHING)

    def take(self, event: Event) -> None:
        """Fold one of its events."""
        self.generation = event.generation
        if self.begun is None and event.kind not in ("skipped", "settled"):
            self.begun = event.t
        _TAKE.get(event.kind, _go_on)(self, event)
        if event.kind in ATTEMPT_ENDS:
            self.cost += event.cost
            self.tokens += event.tokens
        if settles(event):
            self._settle(event)

    def _settle(self, event: Event) -> None:
        self.status = "completed" if event.kind == "completed" else event.status
        if event.kind == "skipped":
            self.status = "skipped"
        self.ended = event.t
        self.error = event.error
        self._deltas = {}
        if not self.delivered:
            self.value, self.writes = NOTHING, {}
        if event.kind == "skipped" and event.status == "error" and event.item >= 0 and event.body is not None:
            self.value = event.body


def _go_on(account: Account, event: Event) -> None:
    account.status = "running"


def _started(account: Account, event: Event) -> None:
    account.status = "running"
    account.attempts += 1


def _wait(account: Account, event: Event) -> None:
    account.status = "waiting"


def _cancelled(account: Account, event: Event) -> None:
    account.status = "cancelled"


def _context(account: Account, event: Event) -> None:
    account._deltas[event.node, event.leg, event.attempt] = event


def _completed(account: Account, event: Event) -> None:
    account.status = "running"
    account.value = event.body
    delta = account._deltas.get((event.node, event.leg, event.attempt))
    account.writes = {} if delta is None else delta.body
    if delta is not None:
        account.written, account.writer = delta.t, (delta.node, delta.attempt)


def _answered(account: Account, event: Event) -> None:
    account.status = "running"
    account.value, account.by = event.body, event.by


def _degraded(account: Account, event: Event) -> None:
    account.status = "running"
    if event.status == "value":
        account.value, account.writes = event.body, {}


def _mark(account: Account, event: Event) -> None:
    """Change nothing: it was injected, or picked, or its end is told elsewhere."""


_TAKE: Final = {
    "started": _started,
    "waiting": _wait,
    "asked": _wait,
    "cancelled": _cancelled,
    "context": _context,
    "completed": _completed,
    "answered": _answered,
    "expired": _answered,
    "degraded": _degraded,
    "settled": _mark,
    "skipped": _mark,
    "picked": _mark,
    "injected": _mark,
}


class Accounts:
    """The accounts of a run: a fold of its log that needs nothing else.

    Attributes
    ----------
    status : str
        "new", "running", "waiting" (only people are awaited), "suspended", or what the run's end says.
    input, result : object
        JSON; `NOTHING` before it is there.
    error : str
        Of the run's end.
    t : int, microseconds
        Of the last event.
    of : dict
        ``(node, item)`` to `Account`, in the order in which they first appear; a map has one beside its items'.
    """

    __slots__ = ("_asked", "_busy", "_items", "_left", "_status", "error", "input", "of", "result", "t")

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._status = "new"
        self.input: Any = NOTHING
        self.result: Any = NOTHING
        self.error = ""
        self.t = 0
        self.of: dict[Key, Account] = {}
        self._items: dict[str, dict[int, Account]] = {}
        self._asked: dict[Key, Event] = {}
        self._busy: set[Key] = set()
        self._left: dict[Key, str] = {}
        for event in events:
            self.take(event)

    @property
    def status(self) -> str:
        """The run's status after the last event."""
        if self._status == "running" and self._asked and not self._busy:
            return "waiting"
        return self._status

    @property
    def pending(self) -> list[Event]:
        """The questions that are open, as their ``asked`` events; none of a run that has ended."""
        return list(self._asked.values()) if self._status in ("running", "suspended") else []

    def take(self, event: Event) -> None:
        """Fold one event."""
        self.t = max(self.t, event.t)
        if not event.node:
            self._take_own(event)
        elif event.kind == "invalidated":
            self._invalidate(event)
        else:
            self._take_instance(event)

    def _take_own(self, event: Event) -> None:
        if event.kind == "run_started":
            self._status = "running"
            self.input = event.body["input"]
        elif event.kind == "resumed":
            self._status, self.result, self.error = "running", NOTHING, ""
            self._take_up()
        elif event.kind == "suspended":
            self._status = "suspended"
        elif event.kind == "run_ended":
            self._status, self.error = event.status, event.error
            if event.status in _DELIVERS:
                self.result = event.body
            self._leave_open()

    def _leave_open(self) -> None:
        failed = {node for (node, _), account in self.of.items() if account.status == "failed"}
        for key, account in self.of.items():
            if account.status in _OPEN:
                self._left[key] = account.status
                account.status = "failed" if key[1] < 0 and key[0] in failed else "cancelled"

    def _take_up(self) -> None:
        # What was open when the run ended goes on, unless an ``invalidated`` follows.
        for key, status in self._left.items():
            self.of[key].status = status
        self._left = {}

    def _take_instance(self, event: Event) -> None:
        key = event.node.partition(FALLBACK)[0], event.item
        account = self._account(key)
        if event.item >= 0:
            self._open_map(key[0], event)
        account.take(event)
        if event.kind == "asked":
            self._asked[key] = event
        elif settles(event):
            self._asked.pop(key, None)
            self._busy.discard(key)
            if account.delivered and account.item < 0 and account.value is NOTHING:
                account.value = self._list_of(account.node)
        elif event.kind in ("answered", "expired"):
            self._asked.pop(key, None)
            self._busy.add(key)
        elif event.kind in ("started", "waiting"):
            self._busy.add(key)

    def _account(self, key: Key) -> Account:
        account = self.of.get(key)
        if account is None:
            account = self.of[key] = Account(*key)
            if key[1] >= 0:
                self._items.setdefault(key[0], {})[key[1]] = account
        return account

    def _open_map(self, node: str, event: Event) -> None:
        whole = self._account((node, -1))
        if whole.status == "idle":
            whole.status = "running"
            whole.begun = event.t

    def _list_of(self, node: str) -> list[Any]:
        return [account.value for account in self.items(node) if account.listed]

    def items(self, node: str) -> list[Account]:
        """Give the accounts of a map's items, in order of the items."""
        items = self._items.get(node, {})
        return [items[item] for item in sorted(items)]

    def _invalidate(self, event: Event) -> None:
        for key in self._concerned(event):
            account = self.of[key]
            self._asked.pop(key, None)
            self._busy.discard(key)
            if event.item >= 0 and account.item < 0:
                if account.status not in _OPEN:
                    account.status, account.value, account.ended = "running", NOTHING, None
            else:
                account.begin_again(event.generation)

    def _concerned(self, event: Event) -> Iterator[Key]:
        if (event.node, -1) in self.of:
            yield event.node, -1
        for item in self._items.get(event.node, ()):
            if event.item in (-1, item):
                yield event.node, item

    def values(self) -> dict[str, Any]:
        """Give what each node has delivered so far; of a map that goes on the items that have."""
        found: dict[str, Any] = {}
        for (node, item), account in self.of.items():
            if item < 0 and account.delivered:
                found[node] = account.value
            elif item < 0 and account.status in _OPEN and (there := self._list_of(node)):
                found[node] = there
        return found

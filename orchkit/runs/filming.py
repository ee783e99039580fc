"""Films: what each node shows at each moment of a run, and what took how long; folded from its log, event by event.

A board, live or not, draws nothing else: a run that goes on adds to the end of its film, and a scrubber looks at an
earlier moment of it. So what is recorded, resumed and simulated is drawn by the same code as what happens now.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from orchkit.model.events import ATTEMPT_ENDS, Event, settles
from orchkit.model.graph import Graph
from orchkit.model.paths import FALLBACK, split_path, static_path
from orchkit.runs.accounts import Accounts, Key

__all__ = ["Bar", "Face", "Film", "Tick", "Total"]

Attempt = tuple[str, int, int, int, int]
"""Node, item, generation, leg, attempt."""

MOST_LANES: Final = 8
MOST_BARS: Final = 6_000
MOST_FACES: Final = 600
_MOST_MARKS: Final = 9
_MOST_WORDS: Final = 160
_DONE: Final = ("completed", "degraded", "failed", "skipped", "cancelled")
_ROUND: Final = re.compile(r"#(\d+)/")


class Face(NamedTuple):
    """What a node shows from a moment on.

    Attributes
    ----------
    t : int, microseconds since the run's start
    status : str
        As of `orchkit.draw.Shape`.
    badge : str
        ``12/40`` of a map, ``round 2`` of a loop, ``2 open questions``; "" for nothing.
    marks : str
        A letter for each attempt: o completed, x failed, t timed out, c cancelled, r running, h running second leg,
        d delivered by a fallback, D running fallback.
    """

    t: int
    status: str
    badge: str
    marks: str


class Bar:
    """Something that took time.

    Attributes
    ----------
    n : int
        Its place in the film's list.
    row : str
        The node of the workflow itself that it belongs to, or lies within.
    lane : int
        From the top of its row: bars of one lane do not overlap, but for those of the last.
    kind : str
        "attempt", "hedge" (a second leg), "inner" (an attempt within the node), "wait" or "person".
    status : str
        "open", "completed", "failed", "timeout", "cancelled", "lost" (its process was gone); "answered", "expired".
    start, end : int, microseconds since the run's start
        `end` is -1 while nobody knows.
    words : str
        What it was, for people.
    """

    __slots__ = ("end", "kind", "lane", "n", "row", "start", "status", "words")

    def __init__(self, n: int, row: str, lane: int, kind: str, start: int, words: str) -> None:
        self.n, self.row, self.lane, self.kind, self.start, self.words = n, row, lane, kind, start, words
        self.end = -1
        self.status = "open"


class Tick(NamedTuple):
    """Something that took no time: ``injected``, ``tripped``, ``rejected``, ``hedged`` or an operator's act."""

    t: int
    row: str
    kind: str
    words: str


class Total(NamedTuple):
    """What the whole run came to by a moment.

    Attributes
    ----------
    t : int, microseconds since the run's start
    status : str
    cost : float, USD
    tokens, calls, degraded, faults, absorbed : int
        Attempts that were started; nodes that delivered something else than what they are for; faults that struck,
        and those whose node delivered all the same.
    """

    t: int
    status: str
    cost: float = 0.0
    tokens: int = 0
    calls: int = 0
    degraded: int = 0
    faults: int = 0
    absorbed: int = 0


class Film:
    """A run's film.

    Parameters
    ----------
    graph : Graph, optional
        Of its workflow: its nodes are the rows, in their order. Without it, the nodes that the log names.
    events : iterable of Event

    Attributes
    ----------
    faces : dict of str to list of Face
        By node, in order of time; the first is what it shows before anything happened.
    bars : list of Bar
        At most some thousands; `left_out` counts those beyond.
    ticks : list of Tick
    totals : list of Total
    accounts : Accounts
    t : int, microseconds
        Of the last event.
    """

    def __init__(self, graph: Graph | None = None, events: Iterable[Event] = ()) -> None:
        self.graph = graph
        self.accounts = Accounts()
        self.faces: dict[str, list[Face]] = {}
        self.bars: list[Bar] = []
        self.ticks: list[Tick] = []
        self.totals: list[Total] = [Total(0, "new")]
        self.left_out = 0
        self.stopped = False
        self._open: dict[Attempt, Bar] = {}
        self._waits: dict[tuple[str, int, int], Bar] = {}
        self._people: dict[Key, Bar] = {}
        self._lanes: dict[str, list[Bar]] = {}
        self._marks: dict[str, dict[Attempt, str]] = {}
        self._items: dict[Key, str] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._asking: dict[str, set[Key]] = {}
        self._rounds: dict[str, int] = {}
        self._struck: dict[Key, int] = {}
        self._degraded = 0
        self._changed_faces: dict[str, int] = {}
        self._changed_bars: dict[int, Bar] = {}
        for node in graph.nodes if graph is not None else ():
            self.faces[node.name] = [Face(0, "idle", "", "")]
        for event in events:
            self.take(event)

    @property
    def t(self) -> int:
        """When its last event happened, in microseconds since the start."""
        return self.accounts.t

    def take(self, event: Event) -> None:
        """Fold one event."""
        before = self.accounts.t
        self.accounts.take(event)
        if event.node:
            self._take_own(event)
        else:
            self._take_run(event, before)
        self._add_up(event)

    def news(self) -> tuple[dict[str, int], list[Bar]]:
        """Give what has changed since the last time: nodes, with how many of their faces were known, and bars."""
        faces, bars = self._changed_faces, list(self._changed_bars.values())
        self._changed_faces, self._changed_bars = {}, {}
        return faces, bars

    # The run's own events

    def _take_run(self, event: Event, before: int) -> None:
        if event.kind in ("run_ended", "suspended"):
            self.stopped = True
            self._stop(event.t)
        elif event.kind == "resumed":
            self._go_on(event.t, event.t if self.stopped else before)
            self.stopped = False
        if event.kind in ("resumed", "suspended", "paused", "unpaused", "faults"):
            self.ticks.append(Tick(event.t, "", event.kind, _said(event)))
        for name in self.faces:
            self._show(name, event.t)

    def _stop(self, t: int) -> None:
        for bar in (*self._open.values(), *self._waits.values()):
            self._close(bar, t, "cancelled")
        for bar in self._people.values():
            self._close(bar, t, "open" if self.accounts.status == "suspended" else "cancelled")

    def _go_on(self, t: int, stopped: int) -> None:
        """Begin anew what was open: in between nobody worked on it."""
        for attempt, bar in list(self._open.items()):
            if bar.end < 0:
                self._close(bar, stopped, "lost")
            self._open[attempt] = self._bar(bar.row, bar.kind, t, bar.words)
        for leg, bar in list(self._waits.items()):
            # Of those with an end that was told at once: the wall went on while nobody executed the run.
            if bar.status == "cancelled":
                self._waits[leg] = self._bar(bar.row, bar.kind, t, bar.words)
        for key, bar in list(self._people.items()):
            self._people[key] = self._bar(bar.row, bar.kind, t, bar.words) if bar.end >= 0 else bar

    # Those of nodes

    def _take_own(self, event: Event) -> None:
        row = _row(event.node)
        if row not in self.faces:
            self.faces[row] = [Face(0, "idle", "", "")]
        if event.kind == "invalidated":
            self._forget(event, row)
        else:
            self._draw(event, row)
            self._count(event, row)
        self._show(row, event.t)

    def _draw(self, event: Event, row: str) -> None:
        attempt = event.node, event.item, event.generation, event.leg, event.attempt
        leg = event.node, event.item, event.leg
        waited = self._waits.pop(leg, None) if event.kind not in ("injected", "picked", "context") else None
        if waited is not None:
            self._close(waited, event.t if waited.end < 0 else min(waited.end, event.t), "open")
        if event.kind == "started":
            self._open[attempt] = self._bar(row, _kind(event, row), event.t, _named(event))
        elif event.kind in ATTEMPT_ENDS and attempt in self._open:
            self._close(self._open.pop(attempt), event.t, _ended(event), event.error)
        elif event.kind == "waiting":
            wait = self._waits[leg] = self._bar(row, "wait", event.t, _waits_for(event))
            wait.end = event.t + event.dur if event.dur >= 0 else -1
        elif event.kind == "asked":
            self._people[event.node, event.item] = self._bar(row, "person", event.t, _named(event))
        elif event.kind in ("answered", "expired"):
            self._answer(event)
        elif event.kind in ("injected", "tripped", "rejected", "hedged", "degraded", "escalated"):
            self.ticks.append(Tick(event.t, row, event.kind, _said(event)))
        if settles(event):
            bar = self._people.pop((event.node, event.item), None)
            if bar is not None and bar.end < 0:
                self._close(bar, event.t, "cancelled")

    def _answer(self, event: Event) -> None:
        bar = self._people.pop((event.node, event.item), None)
        if bar is not None:
            self._close(bar, event.t, event.kind, f"by {event.by}" if event.by else "")

    def _count(self, event: Event, row: str) -> None:
        """Keep what the row's face is made of."""
        key = event.node, event.item
        if event.node.partition(FALLBACK)[0] == row and event.item < 0 and event.attempt:
            self._mark(event, row)
        if event.kind == "asked":
            self._asking.setdefault(row, set()).add(key)
        elif event.kind in ("answered", "expired") or settles(event):
            self._asking.get(row, set()).discard(key)
        if event.item >= 0 and not split_path(event.node)[0]:
            self._count_item(event, row)
        found = _ROUND.search(event.node)
        if found:
            self._rounds[row] = int(found.group(1))
        if event.kind == "injected":
            self._struck[row, event.item] = self._struck.get((row, event.item), 0) + 1

    def _mark(self, event: Event, row: str) -> None:
        marks = self._marks.setdefault(row, {})
        attempt = event.node, event.item, event.generation, event.leg, event.attempt
        spare = FALLBACK in event.node
        if event.kind == "started":
            marks[attempt] = "D" if spare else "h" if event.leg else "r"
        elif event.kind in ATTEMPT_ENDS:
            marks[attempt] = {"completed": "d" if spare else "o", "timeout": "t", "cancelled": "c"}.get(
                _ended(event), "x"
            )

    def _count_item(self, event: Event, row: str) -> None:
        account = self.accounts.of.get((row, event.item))
        status = "idle" if account is None else account.status
        old = self._items.get((row, event.item), "")
        if status != old:
            counts = self._counts.setdefault(row, {})
            counts[old] = counts.get(old, 0) - 1
            counts[status] = counts.get(status, 0) + 1
            self._items[row, event.item] = status

    def _forget(self, event: Event, row: str) -> None:
        items = [key for key in self._items if key[0] == row and event.item in (-1, key[1])]
        for key in items:
            self._counts[row][self._items.pop(key)] -= 1
        for attempt in [one for one in self._open if one[0] == event.node and event.item in (-1, one[1])]:
            self._close(self._open.pop(attempt), event.t, "cancelled")
        for key in [one for one in self._people if one[0] == event.node and event.item in (-1, one[1])]:
            self._close(self._people.pop(key), event.t, "cancelled")
            self._asking.get(row, set()).discard(key)
        if event.item < 0:
            self._marks.pop(row, None)
            self._rounds.pop(row, None)
        self.ticks.append(Tick(event.t, row, event.kind, _said(event)))

    # What they show

    def _show(self, row: str, t: int) -> None:
        face = Face(t, self._status(row), self._badge(row), self._signs(row))
        faces = self.faces[row]
        last = faces[-1]
        if last[1:] == face[1:]:
            return
        self._degraded += (face.status == "degraded") - (last.status == "degraded")
        known = self._changed_faces.setdefault(row, len(faces))
        if last.t == t and len(faces) > 1:
            faces[-1] = face
            self._changed_faces[row] = min(known, len(faces) - 1)
        else:
            faces.append(face)
            if len(faces) > MOST_FACES:
                self.faces[row] = _thinned(faces)
                self._changed_faces[row] = 0

    def _status(self, row: str) -> str:
        account = self.accounts.of.get((row, -1))
        if account is None:
            return "idle"
        if account.status == "cancelled" and account.ended is None and not self.stopped:
            return "waiting" if self._asking.get(row) else "running"  # an attempt was; the node goes on
        if account.status in _DONE or account.status == "idle":
            return account.status
        if self._asking.get(row):
            return "waiting"
        return "cancelled" if self.stopped else account.status

    def _badge(self, row: str) -> str:
        counts = self._counts.get(row)
        if counts is not None:
            done = sum(counts.get(status, 0) for status in _DONE)
            return f"{done}/{self._size(row)}"
        if self._rounds.get(row, 0) > 0:
            return f"round {self._rounds[row]}"
        return ""

    def _size(self, row: str) -> int:
        seen = sum(count for status, count in self._counts[row].items() if status)
        node = self.graph.nodes[self.graph.index[row]] if self.graph and row in self.graph.index else None
        if node is None or node.over is None:
            return seen
        source = self.accounts.of.get((node.over, -1))
        value = self.accounts.input if node.over == "input" else None if source is None else source.value
        return max(seen, len(value)) if isinstance(value, list) else seen

    def _signs(self, row: str) -> str:
        return "".join(self._marks.get(row, {}).values())[-_MOST_MARKS:]

    # Bars

    def _bar(self, row: str, kind: str, start: int, words: str) -> Bar:
        bar = Bar(len(self.bars), row, 0, kind, start, words[:_MOST_WORDS])
        lanes = self._lanes.setdefault(row, [])
        first = 1 if kind == "inner" else 0
        while len(lanes) < first:
            lanes.append(Bar(-1, row, 0, "", start, ""))
            lanes[-1].end = 0
        bar.lane = next((i for i in range(first, len(lanes)) if 0 <= lanes[i].end <= start), len(lanes))
        bar.lane = min(bar.lane, MOST_LANES - 1)
        if bar.lane == len(lanes):
            lanes.append(bar)
        else:
            lanes[bar.lane] = bar
        if len(self.bars) < MOST_BARS:
            self.bars.append(bar)
            self._changed_bars[bar.n] = bar
        else:
            bar.n = -1
            self.left_out += 1
        return bar

    def _close(self, bar: Bar, t: int, status: str, words: str = "") -> None:
        bar.end, bar.status = max(t, bar.start), status
        if words:
            bar.words = f"{bar.words}: {words}"[:_MOST_WORDS]
        if bar.n >= 0:
            self._changed_bars[bar.n] = bar

    # The run as a whole

    def _add_up(self, event: Event) -> None:
        old = self.totals[-1]
        cost, tokens, calls, faults, absorbed = old.cost, old.tokens, old.calls, old.faults, old.absorbed
        if event.kind in ATTEMPT_ENDS and event.node:
            cost, tokens = cost + event.cost, tokens + event.tokens
        elif event.kind == "started":
            calls += 1
        elif event.kind == "injected":
            faults += 1
        if self._struck and event.node and settles(event):
            absorbed += self._absorbed(event)
        new = Total(event.t, self.accounts.status, cost, tokens, calls, self._degraded, faults, absorbed)
        if new[1:] == old[1:]:
            return
        if old.t == event.t and len(self.totals) > 1:
            self.totals[-1] = new
        else:
            self.totals.append(new)
            if len(self.totals) > MOST_FACES:
                self.totals = [self.totals[0], *self.totals[2::2]]

    def _absorbed(self, event: Event) -> int:
        row = _row(event.node)
        if event.node != row:
            return 0
        items = list(self._struck) if event.item < 0 else [(row, event.item)]
        account = self.accounts.of.get((row, event.item))
        struck = sum(self._struck.pop(key, 0) for key in items if key[0] == row)
        return struck if account is not None and account.delivered else 0


def _thinned(faces: list[Face]) -> list[Face]:
    """Leave out every other face that has the status of the one before, but for the last."""
    kept, left = [faces[0]], False
    for before, face in itertools.pairwise(faces):
        left = not left and before.status == face.status and face is not faces[-1]
        if not left:
            kept.append(face)
    return kept


def _row(path: str) -> str:
    return static_path(f"{path}/").partition("/")[0]


def _kind(event: Event, row: str) -> str:
    if split_path(event.node)[0] or event.node.partition("/")[0] != row:
        return "inner"
    return "hedge" if event.leg else "attempt"


def _ended(event: Event) -> str:
    if event.kind == "failed":
        return "timeout" if event.status == "timeout" else "failed"
    return event.kind


def _named(event: Event) -> str:
    name = event.node if event.item < 0 else f"{event.node}[{event.item}]"
    return f"{name}, attempt {event.attempt}" if event.attempt > 1 else name


def _waits_for(event: Event) -> str:
    return f"waits: {event.status or 'before the next attempt'}"


def _said(event: Event) -> str:
    return " ".join(_parts(event))[:_MOST_WORDS]


def _parts(event: Event) -> Iterator[str]:
    yield event.kind
    if event.status:
        yield event.status
    if event.by:
        yield f"by {event.by}"
    if event.error:
        yield event.error

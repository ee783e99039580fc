"""Partings: where the events of two logs begin to differ, for each node and item, as their digests tell them apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import msgspec

from orchkit.model.events import SAID, Event
from orchkit.model.paths import FALLBACK
from orchkit.runs.accounts import NOTHING, Key

__all__ = ["Parting", "partings"]

_MARKS: Final = frozenset({"resumed", "suspended"})


class Parting(NamedTuple):
    """Where the events of a node or an item part.

    Attributes
    ----------
    position : int
        Of the first event that differs, in the log in which it comes sooner.
    a, b : object
        What it is in either; `NOTHING` where there is none.
    """

    position: int
    a: Any
    b: Any


class _Told(NamedTuple):
    position: int
    event: Event
    packed: bytes


def partings(a: Sequence[Event], b: Sequence[Event], *, exact: bool) -> Iterator[tuple[Key, Parting]]:
    """Give for each node or item whose events differ where that begins in either log, by the logs' own order."""
    ours, theirs = _grouped(a, exact=exact), _grouped(b, exact=exact)
    found: dict[Key, Parting] = {}
    for path, item, leg in dict.fromkeys([*ours, *theirs]):
        pairs = zip_longest(ours.get((path, item, leg), ()), theirs.get((path, item, leg), ()))
        one, other = next((pair for pair in pairs if not _equal(*pair)), (None, None))
        if one is not None or other is not None:
            there = [told for told in (one, other) if told is not None]
            parting = Parting(min(told.position for told in there), _brief(one), _brief(other))
            key = path.partition(FALLBACK)[0], item
            if key not in found or parting.position < found[key].position:
                found[key] = parting
    yield from sorted(found.items(), key=lambda pair: pair[1].position)


def _grouped(events: Sequence[Event], *, exact: bool) -> dict[tuple[str, int, int], list[_Told]]:
    # As the digests do: without who acted and the marks of resuming, and of a live run without its times.
    groups: dict[tuple[str, int, int], list[_Told]] = {}
    for position, event in enumerate(events):
        if event.kind in _MARKS:
            continue
        same = msgspec.structs.replace(event, by="", key="" if event.kind in SAID else event.key)
        if not exact:
            same = msgspec.structs.replace(same, t=0, dur=event.dur if event.kind == "waiting" else -1)
        told = _Told(position, event, msgspec.msgpack.encode(same))
        groups.setdefault((event.node, event.item, event.leg), []).append(told)
    return groups


def _equal(one: _Told | None, other: _Told | None) -> bool:
    return one is not None and other is not None and one.packed == other.packed


def _brief(told: _Told | None) -> Any:
    if told is None:
        return NOTHING
    event = told.event
    what = f"{event.kind} {event.status}".rstrip()
    body = "" if event.body is None else f" {event.body!r:.80}"
    return f"{what}{body} at {event.t / 1e6:g} s" + (f" for {event.dur / 1e6:g} s" if event.dur >= 0 else "")

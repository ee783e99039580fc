"""Lines: one event of a log as users get it, with the columns of ``run.events``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from orchkit.model.events import Event
from orchkit.model.records import Head

__all__ = ["RunEvent", "line_of"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class RunEvent(NamedTuple):
    """One event of a run's log: a row of ``run.events``.

    Attributes
    ----------
    seq : int, from 1
        Its place in the run's log.
    t : float, seconds since the run started
    wall : datetime or None
        UTC; None for a virtual run, and beyond the year 9999.
    run, kind, node : str
        `node` is a path, "" for events of the run itself.
    item : int or None
        Index in the map's list.
    generation, leg, attempt : int
    status : str
    dur : float, seconds, or None
        Length of what ended here, or of the wait that begins here.
    cost : float, USD
    tokens : int
    error, by : str
    body : object
    durable : bool
        Whether it was known to be committed when it was given; False says only that this was not known.
    """

    seq: int
    t: float
    wall: datetime | None
    run: str
    kind: str
    node: str
    item: int | None
    generation: int
    leg: int
    attempt: int
    status: str
    dur: float | None
    cost: float
    tokens: int
    error: str
    by: str
    body: Any
    durable: bool


def line_of(head: Head, seq: int, event: Event, *, durable: bool = True) -> RunEvent:
    """Lay one event of a log out."""
    return RunEvent(
        seq, event.t / 1e6, _wall(head.started, event.t), head.run_id, event.kind, event.node,
        None if event.item < 0 else event.item, event.generation, event.leg, event.attempt, event.status,
        event.dur / 1e6 if event.dur >= 0 else None, event.cost, event.tokens, event.error, event.by, event.body,
        durable,
    )  # fmt: skip


def _wall(started: int, t: int) -> datetime | None:
    if not started:
        return None
    try:
        return _EPOCH + timedelta(microseconds=started + t)
    except OverflowError:
        return None

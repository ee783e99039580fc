"""Logs as DataFrames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchkit.model.events import Event
from orchkit.model.records import Head

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["event_frame"]


def event_frame(head: Head, events: Sequence[Event]) -> pd.DataFrame:
    """Lay a log out as a DataFrame with the columns of the view ``event``.

    Returns
    -------
    pandas.DataFrame
        seq, t (seconds since the start), wall (UTC, empty for a virtual run), run, kind, node, item, generation,
        leg, attempt, status, dur (seconds), cost (USD), tokens, error, by, body. `seq` counts within the run.
    """
    import pandas as pd

    absent = pd.NA
    rows = [
        (
            seq, event.t / 1e6, head.started + event.t if head.started else None, head.run_id, event.kind, event.node,
            absent if event.item < 0 else event.item, event.generation, event.leg, event.attempt, event.status,
            event.dur / 1e6 if event.dur >= 0 else float("nan"), event.cost, event.tokens, event.error, event.by,
            event.body,
        )
        for seq, event in enumerate(events, 1)
    ]  # fmt: skip
    frame = pd.DataFrame(
        rows,
        columns=[
            "seq", "t", "wall", "run", "kind", "node", "item", "generation", "leg", "attempt", "status", "dur",
            "cost", "tokens", "error", "by", "body",
        ],
    )  # fmt: skip
    frame["item"] = frame["item"].astype("Int64")
    frame["wall"] = pd.to_datetime(frame["wall"], unit="us", utc=True)
    return frame

"""The audit trail of a run's approvals: who was asked what, and who said what, when and from where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchkit.model.events import Event
from orchkit.model.questions import edits
from orchkit.model.records import Head

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["answers_frame"]

_COLUMNS = (
    "node", "item", "generation", "asked", "answered", "wait", "by", "via", "shown", "answer", "diff", "status",
    "assigned",
)  # fmt: skip


def answers_frame(head: Head, events: Sequence[Event]) -> pd.DataFrame:
    """Lay out a run's questions, a row each, in the order in which they were asked."""
    import pandas as pd

    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for event in events:
        key = event.node, event.item, event.generation
        if event.kind == "asked":
            found[key] = _asked(head, event)
        elif key in found and event.kind in ("answered", "expired"):
            found[key] |= _settled(head, found[key], event)
        elif key in found and event.kind == "escalated":
            found[key]["assigned"] = event.body["to"]
    rows = [tuple(row[name] for name in _COLUMNS) for row in found.values()]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    frame["item"] = frame["item"].astype("Int64")
    for name in ("asked", "answered"):
        frame[name] = pd.to_datetime(frame[name], unit="us", utc=True)
    return frame


def _wall(head: Head, event: Event) -> int | None:
    return head.started + event.t if head.started else None


def _asked(head: Head, event: Event) -> dict[str, Any]:
    body = event.body or {}
    return {
        "node": event.node, "item": event.item if event.item >= 0 else None, "generation": event.generation,
        "asked": _wall(head, event), "answered": None, "wait": float("nan"), "by": "", "via": "",
        "shown": body.get("show"), "answer": None, "diff": {}, "status": "asked", "assigned": "",
        "body": body, "t": event.t,
    }  # fmt: skip


def _settled(head: Head, asked: dict[str, Any], event: Event) -> dict[str, Any]:
    wait = (event.t - asked["t"]) / 1e6
    if event.kind == "expired":
        return {"status": "expired", "wait": wait}
    diff = edits(asked["body"], event.body)
    return {
        "answered": _wall(head, event), "wait": wait, "by": event.by, "via": event.key.partition(":")[0],
        "answer": event.body, "diff": diff, "status": "edited" if diff else "answered",
    }  # fmt: skip

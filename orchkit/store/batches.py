"""Batches: the events of a commit as a row of ``event_batch``, which holds them as JSON by columns.

A row of twenty columns for each would take most of a commit's time, and hold the interpreter's lock for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Integral
from typing import Any, Final

import msgspec

from orchkit.store.rows import Logged, Row, micros
from orchkit.store.schema import EMPTY, EVENT_COLUMNS, EVENT_TYPES, ZERO

__all__ = ["batch_of", "table_of"]

# Where a column says nothing of any event it is left out; the view knows what that means.
_SILENT: Final = frozenset({*EMPTY, *ZERO, "body", "ref"})


def batch_of(seqs: Sequence[int], logged: Sequence[Logged], rows: Sequence[Row] = ()) -> list[Row]:
    """Lay events out as rows for ``event_batch``.

    Parameters
    ----------
    seqs : sequence of int
        The numbers of `logged`.
    logged : sequence of Logged
    rows : sequence of tuple
        Events that have come as rows of `EVENT_COLUMNS`.

    Returns
    -------
    list of tuple
        None, one or two: the ``seq`` of the last event, and a text.
    """
    batches = []
    if logged:
        batches.append((seqs[-1], _text(_of_logged(seqs, logged))))
    if rows:
        batches.append((rows[-1][0], _text(_of_rows(rows))))
    return batches


def table_of(seqs: Sequence[int], logged: Sequence[Logged]) -> Any:
    """Lay events out as an Arrow table of rows for ``event_row``; None where Arrow refuses, and a batch is to do.

    For some thousand this costs less than a batch that is moved later, and for fewer more.
    """
    try:
        return _table(_of_logged(seqs, logged))
    except Exception:
        # It brings pandas along, which cannot be imported any more when Python ends, and it refuses numbers that a
        # double can hold.
        return None


def _table(columns: dict[str, Sequence[Any]]) -> Any:
    import pyarrow as pa

    kinds = {
        "bigint": pa.int64(),
        "integer": pa.int32(),
        "double": pa.float64(),
        "varchar": pa.string(),
        "timestamp": pa.timestamp("us"),
    }
    columns["item"] = [item if item >= 0 else None for item in columns["item"]]
    for name in EMPTY:
        columns[name] = [text or None for text in columns[name]]
    return pa.table({name: pa.array(columns[name], kinds[kind]) for name, kind in EVENT_TYPES.items()})


def _of_logged(seqs: Sequence[int], logged: Sequence[Logged]) -> dict[str, Sequence[Any]]:
    # One list after the other: a tuple for each event would set the garbage collector to work.
    events = [one.event for one in logged]
    return {
        "seq": seqs,
        "t": [event.t / 1e6 for event in events],
        "wall": [one.layout.started + one.event.t if one.layout.started else None for one in logged],
        "run": [one.layout.run_id for one in logged],
        "kind": [event.kind for event in events],
        "node": [event.node for event in events],
        "item": [event.item for event in events],
        "generation": [event.generation for event in events],
        "leg": [event.leg for event in events],
        "attempt": [event.attempt for event in events],
        "status": [event.status for event in events],
        "dur": [event.dur / 1e6 if event.dur >= 0 else None for event in events],
        "cost": [event.cost for event in events],
        "tokens": [event.tokens for event in events],
        "error": [event.error for event in events],
        "by": [event.by for event in events],
        "body": [one.body for one in logged],
        "key": [event.key for event in events],
        "n": [one.n for one in logged],
        "ref": [one.ref for one in logged],
    }


def _of_rows(rows: Sequence[Row]) -> dict[str, Sequence[Any]]:
    columns: dict[str, Sequence[Any]] = dict(zip(EVENT_COLUMNS, zip(*rows, strict=True), strict=True))
    return {**columns, "wall": [None if wall is None else micros(wall) for wall in columns["wall"]]}


def _text(columns: Mapping[str, Sequence[Any]]) -> str:
    said = {name: column for name, column in columns.items() if name not in _SILENT or any(column)}
    if not all(map(isfinite, said["cost"])):
        said["cost"] = [cost if isfinite(cost) else str(cost) for cost in said["cost"]]  # JSON has no number for it
    return _JSON.encode(said).decode()


def _as_plain(value: Any) -> Any:
    # A number of numpy's, or of a class of its own as a text may be too.
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, Integral) else float(value)


_JSON: Final = msgspec.json.Encoder(enc_hook=_as_plain)

"""Batches: the events of a commit as a row of ``event_batch``, which holds them as JSON by columns.

A row of twenty columns for each would take most of a commit's time, and hold the interpreter's lock for it.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Integral
from typing import Any, Final, cast

import msgspec

from orchkit.model.events import Event
from orchkit.store.rows import Laid, Layout, Logged, Row, Stretch, micros, one_by_one
from orchkit.store.schema import EMPTY, EVENT_COLUMNS, EVENT_TYPES, ZERO

__all__ = ["batch_of", "table_of"]

# Where a column says nothing of any event it is left out; the view knows what that means.
_SILENT: Final = frozenset({*EMPTY, *ZERO, "run", "body", "ref"})


def batch_of(seqs: Sequence[int], laid: Sequence[Laid], rows: Sequence[Row] = ()) -> list[Row]:
    """Lay events out as rows for ``event_batch``.

    Parameters
    ----------
    seqs : sequence of int
        The number of each, of a stretch that of its first event.
    laid : sequence of Logged or Stretch
    rows : sequence of tuple
        Events that have come as rows of `EVENT_COLUMNS`.

    Returns
    -------
    list of tuple
        None, one or two: the ``seq`` of the last event, and a text.
    """
    batches = []
    if laid:
        seqs, logged = _singly(seqs, laid)
        batches.append((seqs[-1], _text(_of_logged(seqs, logged))))
    if rows:
        batches.append((rows[-1][0], _text(_of_rows(rows))))
    return batches


def _singly(seqs: Sequence[int], laid: Sequence[Laid]) -> tuple[Sequence[int], Sequence[Logged]]:
    if Stretch not in set(map(type, laid)):
        return seqs, cast("Sequence[Logged]", laid)
    lengths = [len(one.events) if isinstance(one, Stretch) else 1 for one in laid]
    numbers = [seq + k for seq, length in zip(seqs, lengths, strict=True) for k in range(length)]
    return numbers, cast("list[Logged]", list(one_by_one(laid)))


def table_of(seqs: Sequence[int], laid: Sequence[Laid], rows: Sequence[Row] = ()) -> Any:
    """Lay events out as rows for ``event_row``, all at once.

    For some thousand this costs less than a batch that is moved later, and for fewer more.

    Parameters
    ----------
    seqs, laid, rows
        As for `batch_of`.

    Returns
    -------
    pyarrow.Table or None
        None where Arrow refuses, and a batch is to do.
    """
    try:
        import pyarrow as pa

        tables = [_table(seqs, laid)] if laid else []
        return pa.concat_tables([*tables, _table_of_rows(rows)] if rows else tables)
    except Exception:
        # It brings pandas along, which cannot be imported any more when Python ends, and it refuses numbers that a
        # double can hold.
        return None


def _table(seqs: Sequence[int], laid: Sequence[Laid]) -> Any:
    # Whole arrays wherever it can be: what Python does for each event it does while nobody else can run.
    import numpy as np
    import pyarrow as pa

    events: list[Event] = []
    bodies: list[str | None] = []
    refs: list[str | None] = []
    lengths: list[int] = []
    for one in laid:
        if isinstance(one, Stretch):
            events += one.events
            bodies += one.bodies
            refs += one.refs
            lengths.append(len(one.events))
        else:
            events.append(one.event)
            bodies.append(one.body)
            refs.append(one.ref)
            lengths.append(1)
    whose = np.repeat(np.arange(len(laid)), lengths)
    within = np.arange(len(events)) - (np.cumsum(lengths) - lengths)[whose]
    started = _numbers([one.layout.started for one in laid])[whose]
    t = _numbers([event.t for event in events])
    dur = _numbers([event.dur for event in events])
    item = _numbers([event.item for event in events], "i")
    columns = {
        "seq": _numbers(seqs)[whose] + within,
        "t": t / 1e6,
        "wall": pa.array(started + t, mask=started == 0).view(pa.timestamp("us")),
        "run": pa.array([one.layout.run_id for one in laid], pa.string()).take(pa.array(whose)),
        "item": pa.array(item, mask=item < 0),
        "dur": pa.array(dur / 1e6, mask=dur < 0),
        "cost": _numbers([event.cost for event in events], "d"),
        "body": _texts(bodies),
        "n": (_numbers([one.n for one in laid])[whose] + within).astype("int32"),
        "ref": _texts(refs),
        "tokens": _numbers([event.tokens for event in events]),
        "generation": _numbers([event.generation for event in events], "i"),
        "leg": _numbers([event.leg for event in events], "i"),
        "attempt": _numbers([event.attempt for event in events], "i"),
        "kind": _texts([event.kind for event in events]),
        "node": _texts([event.node for event in events]),
        "status": _texts([event.status for event in events]),
        "error": _texts([event.error for event in events]),
        "by": _texts([event.by for event in events]),
        "key": _texts([event.key for event in events]),
    }
    return pa.table({name: columns[name] for name in EVENT_TYPES})


def _table_of_rows(rows: Sequence[Row]) -> Any:
    import pyarrow as pa

    kinds = {
        "bigint": pa.int64(),
        "integer": pa.int32(),
        "double": pa.float64(),
        "varchar": pa.string(),
        "timestamp": pa.timestamp("us"),
    }
    columns = zip(EVENT_TYPES.items(), zip(*rows, strict=True), strict=True)
    return pa.table({name: pa.array(column, kinds[kind]) for (name, kind), column in columns})


def _numbers(values: Sequence[Any], code: str = "q") -> Any:
    # By an array of Python's, which refuses what would be cut.
    import numpy as np

    return np.frombuffer(array(code, values), code)


def _texts(column: Sequence[str | None]) -> Any:
    import pyarrow as pa

    if not any(column):  # most of them, of most runs
        return pa.nulls(len(column), pa.string())
    return pa.array([text or None for text in column] if "" in column else column, pa.string())


def _of_logged(seqs: Sequence[int], logged: Sequence[Logged]) -> dict[str, Sequence[Any]]:
    # One list after the other: a tuple for each event would set the garbage collector to work.
    events = [one.event for one in logged]
    runs: dict[Layout, int] = {}
    run = [runs.setdefault(one.layout, len(runs)) for one in logged]
    return {
        "runs": [layout.run_id for layout in runs],
        "begun": [layout.started for layout in runs],
        "seq": seqs,
        "t": [event.t for event in events],
        "run": run,
        "kind": [event.kind for event in events],
        "node": [event.node for event in events],
        "item": [event.item for event in events],
        "generation": [event.generation for event in events],
        "leg": [event.leg for event in events],
        "attempt": [event.attempt for event in events],
        "status": [event.status for event in events],
        "dur": [event.dur for event in events],
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
    columns: dict[str, list[Any]] = dict(zip(EVENT_COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    columns["t"] = [round(t * 1e6) for t in columns["t"]]
    columns["dur"] = [-1 if dur is None else round(dur * 1e6) for dur in columns["dur"]]
    walls = zip(columns["t"], columns.pop("wall"), strict=True)
    begun = [0 if wall is None else micros(wall) - t for t, wall in walls]
    runs: dict[tuple[str, int], int] = {}
    columns["run"] = [runs.setdefault(one, len(runs)) for one in zip(columns["run"], begun, strict=True)]
    return {**columns, "runs": [run for run, _ in runs], "begun": [since for _, since in runs]}


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

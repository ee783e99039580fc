"""Arrow: how many rows go into a table at once, and how those of a query travel to another process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from orchkit.store.schema import APPENDED

__all__ = ["as_arrow", "columns_of", "from_arrow", "as_table"]


@cache
def columns_of(table: str) -> tuple[tuple[str, str], ...]:
    """Give the names and SQL types of a table's columns, ``seq`` first."""
    columns = APPENDED[table].partition("(")[2].rpartition(")")[0].split(",")
    return tuple((name.strip('"'), kind) for name, kind in (column.split() for column in columns))


@cache
def _schema(table: str) -> Any:
    import pyarrow as pa

    kinds = {
        "bigint": pa.int64(),
        "integer": pa.int32(),
        "double": pa.float64(),
        "varchar": pa.string(),
        "blob": pa.binary(),
        "timestamp": pa.timestamp("us"),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in columns_of(table)])


def as_table(table: str, seq: int, parts: Sequence[Sequence[list[Any]]]) -> Any:
    """Lay columns in several parts out as an Arrow table, and number its rows from `seq`.

    DuckDB takes it in a third of the time that an appender needs for as many rows.
    """
    import pyarrow as pa

    schema = _schema(table)
    columns = [list(chain.from_iterable(column)) for column in zip(*parts, strict=True)]
    numbers = list(range(seq, seq + len(columns[0])))
    arrays = [pa.array(column, kind) for column, kind in zip((numbers, *columns), schema.types, strict=True)]
    return pa.table(arrays, schema=schema)


def as_arrow(found: Any) -> bytes:
    """Pack a relation of DuckDB's as an Arrow IPC stream."""
    import pyarrow as pa

    table = found.to_arrow_table()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def from_arrow(packed: bytes) -> Any:
    """Unpack it as a relation of DuckDB's, so that rows and frames come out as they do at the owner's.

    In a database of its own: two threads may not share one.
    """
    import duckdb
    import pyarrow as pa

    return duckdb.connect().from_arrow(pa.ipc.open_stream(packed).read_all())

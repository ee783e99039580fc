"""Arrow: how the rows of a query travel to another process."""

from __future__ import annotations

from typing import Any

__all__ = ["as_arrow", "from_arrow"]


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

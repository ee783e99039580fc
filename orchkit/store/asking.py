"""Asking: one SELECT that is not our own, on a cursor, so that it changes nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import duckdb

from orchkit.errors import StoreError
from orchkit.store.arrow import as_arrow
from orchkit.store.schema import VIEWS_OF_ROWS

__all__ = ["answer", "said"]

# Functions that do more than to read: on a connection of their own, outside the reading transaction, or to settings.
_DOES_MORE: Final = re.compile(
    "json_execute_serialized_sql|external_resource|able_logging|able_profiling|truncate_duckdb_logs", re.IGNORECASE
)
_QUERY: Final = re.compile(r"\bquery\b", re.IGNORECASE)
_CALLS_QUERY: Final = re.compile(r'"function_name":"query"|"error":true', re.IGNORECASE)
# The view `run` is no faster through rows alone, and its name is that of a column in most queries.
_OF_EVENTS: Final = re.compile(r"\b(event|attempt|node_run|approval|timeline|effect|lineage)\b", re.IGNORECASE)


def answer(
    cursor: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] | None, *, arrow: bool, large: bool
) -> Any:
    """Run one SELECT, and give a DataFrame, or its rows as an Arrow IPC stream.

    Parameters
    ----------
    cursor : duckdb.DuckDBPyConnection
        Used for nothing else afterwards.
    sql : str
    parameters : sequence, optional
    arrow : bool
    large : bool
        The file is large: prepare for a question about all of it.

    Raises
    ------
    StoreError
        If it is no SELECT, or does more than to read.
    duckdb.Error, TypeError
        What DuckDB refuses.
    """
    statements = cursor.extract_statements(sql)
    # Not EXPLAIN either: with ANALYZE it executes what it explains.
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT] or _does_more(cursor, sql):
        raise StoreError(f"store.sql takes one SELECT; {sql[:60]!r} is something else")
    # An INSERT inside a WITH counts as a SELECT; this refuses it.
    cursor.execute("begin transaction read only")
    if large and _OF_EVENTS.search(sql):
        _see_rows(cursor)
    if arrow:
        return as_arrow(cursor.sql(sql, params=parameters or None))
    return cursor.execute(statements[0], parameters or []).df()


def _does_more(cursor: duckdb.DuckDBPyConnection, sql: str) -> bool:
    if _DOES_MORE.search(sql):
        return True
    if not _QUERY.search(sql):
        return False
    # The function `query` runs a text that is put together only then, so that no pattern sees what is in it. A column
    # of that name is nothing bad: only the parsed statement tells them apart.
    parsed = cursor.execute("select json_serialize_sql(?)", [sql]).fetchone()
    return parsed is None or _CALLS_QUERY.search(parsed[0]) is not None


def _see_rows(cursor: duckdb.DuckDBPyConnection) -> None:
    # In the transaction of the question, which sees no batch that comes from now on, nor what goes with it. By
    # themselves the views take a third longer.
    if not cursor.execute("select 1 from event_batch limit 1").fetchall():
        for view in VIEWS_OF_ROWS:
            cursor.execute(view)


def said(error: BaseException) -> str:
    """Give what DuckDB says, without the picture of the query that its second paragraph draws."""
    return str(error).partition("\n\n")[0].replace("\n", " ")

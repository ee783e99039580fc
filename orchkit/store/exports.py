"""Exports: what is in a store as Parquet files, which other programs read; also from a file that is damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb

from orchkit.errors import StoreError, StoreUnreadable
from orchkit.model.wording import first_line
from orchkit.store import schema
from orchkit.store.copies import literal, path_of
from orchkit.store.held import refuse_foreign, refuse_unfit
from orchkit.store.look import wal_path
from orchkit.store.targets import checked_folder, part_of, refuse_own

__all__ = ["README", "Exported", "export", "rescue"]

README: Final = "README.txt"
_CHUNK: Final = 2048  # rows that DuckDB reads at once: a damaged block costs so many of one column, or a few times that


@dataclass(frozen=True, slots=True)
class Exported:
    """One table or view that was exported.

    Attributes
    ----------
    name : str
    rows : int
    bytes : int
        Of its file.
    problem : str
        What could not be read; "" for nothing.
    """

    name: str
    rows: int
    bytes: int
    problem: str = ""


def export(cursor: duckdb.DuckDBPyConnection, folder: Path, *, overwrite: bool) -> list[Exported]:
    """Write each table and view into a file of its own, all as they are at one moment unless something is damaged.

    Raises
    ------
    StoreError
        If the folder may not be used, or cannot be written.
    """
    store = path_of(cursor)
    folder = checked_folder(folder, store, overwrite=overwrite)
    targets = [(name, folder / f"{name}.parquet", is_table) for name, is_table in _names(cursor) if _is_ours(name)]
    written = [folder / README, *(target for _, target, _ in targets)]
    refuse_own((*written, *map(part_of, written)), store)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / README).write_text(_readme(), "utf-8")
        cursor.execute("begin transaction read only")
        return [_export(cursor, name, target, is_table) for name, target, is_table in targets]
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}; use another folder") from error


def _names(cursor: duckdb.DuckDBPyConnection) -> list[tuple[str, bool]]:
    """Give the tables, then the views, and whether it is a table: of the file, whatever version wrote it.

    The view ``event`` counts as a table, instead of those that it is made of.
    """
    names: list[tuple[str, bool]] = cursor.execute(
        """select table_name, true from duckdb_tables() where database_name = current_database()
           union all
           select view_name, view_name = 'event' from duckdb_views()
           where database_name = current_database() and not internal
           order by 2 desc, 1"""
    ).fetchall()
    return [one for one in names if one[0] not in schema.WITHIN]


def _is_ours(name: str) -> bool:
    # It names a file, and a damaged or foreign store may hold any.
    return name.isascii() and name.isidentifier()


def _export(cursor: duckdb.DuckDBPyConnection, name: str, target: Path, is_table: bool) -> Exported:
    part = part_of(target)
    try:
        query = f'copy (select * from "{name}") to {literal(part)} (format parquet, compression zstd)'
        ((rows,),) = cursor.execute(query).fetchall()
        exported = Exported(name, rows, part.stat().st_size)
    except duckdb.Error as error:
        part.unlink(missing_ok=True)
        exported = _what_can_be_read(cursor, name, part, is_table, error)
    if part.exists():
        os.replace(part, target)
    return exported


def _what_can_be_read(
    cursor: duckdb.DuckDBPyConnection, name: str, part: Path, is_table: bool, error: duckdb.Error
) -> Exported:
    if isinstance(error, duckdb.IOException) and "write" in str(error):
        raise StoreError(f"{part.parent} cannot be written: {first_line(error)}; use another folder") from error
    # A transaction ends with its first error; from here on each table is as it is when its turn comes.
    cursor.execute("rollback")
    try:
        if is_table:
            return _salvage(cursor, name, part)
        return Exported(name, 0, 0, f"{first_line(error)}; it can be made again from the tables")
    except duckdb.Error as worse:
        part.unlink(missing_ok=True)
        return Exported(name, 0, 0, first_line(worse))
    finally:
        cursor.execute("begin transaction read only")


def _salvage(cursor: duckdb.DuckDBPyConnection, name: str, part: Path) -> Exported:
    """Read a table a chunk at a time; what cannot be read is null in the file."""
    import pyarrow.parquet as pq

    table = _rows_of(cursor, name)
    columns = cursor.execute(
        "select column_name, data_type from duckdb_columns() where table_name = ? order by column_index", [table]
    ).fetchall()
    shape = cursor.sql(f'select * from "{table}" limit 0').to_arrow_table().schema
    rows, lost, batches = 0, dict.fromkeys((column for column, _ in columns), 0), 0
    with pq.ParquetWriter(part, shape, compression="zstd") as writer:
        for low in _chunks(cursor, table):
            chunk, unread = _chunk(cursor, table, columns, low)
            writer.write_table(chunk.cast(shape))
            rows += chunk.num_rows
            for column in unread:
                lost[column] += chunk.num_rows
        for batch in _batches(cursor) if table != name else ():
            if batch is None:
                batches += 1
            else:
                writer.write_table(batch.cast(shape))
                rows += batch.num_rows
    told = ", ".join(f"{column} of {count} rows" for column, count in lost.items() if count)
    problems = [f"could not be read and is null: {told}"] if told else []
    problems += [f"could not be read: what {batches} of the last commits recorded"] if batches else []
    return Exported(name, rows, part.stat().st_size, "; ".join(problems))


def _rows_of(cursor: duckdb.DuckDBPyConnection, table: str) -> str:
    """Say which table has the rows: of the view ``event`` another; in a file of the first version it is a table."""
    found = cursor.execute("select 1 from duckdb_tables() where table_name = 'event_row'").fetchall()
    return "event_row" if table == "event" and found else table


def _batches(cursor: duckdb.DuckDBPyConnection) -> Iterator[Any]:
    """Read the events that are in batches, a batch at a time; None for one that cannot be read."""
    ((last,),) = cursor.execute("select coalesce(max(rowid), -1) from event_batch").fetchall()
    for place in range(last + 1):
        try:
            yield cursor.sql(schema.batched(f" where rowid = {place}")).to_arrow_table()
        except duckdb.Error:
            yield None


def _chunks(cursor: duckdb.DuckDBPyConnection, table: str) -> range:
    ((last,),) = cursor.execute(f'select coalesce(max(rowid), -1) from "{table}"').fetchall()
    return range(0, last + 1, _CHUNK)


def _chunk(
    cursor: duckdb.DuckDBPyConnection, table: str, columns: Sequence[tuple[str, str]], low: int
) -> tuple[Any, list[str]]:
    where = f"where rowid >= {low} and rowid < {low + _CHUNK}"
    try:
        return cursor.sql(f'select * from "{table}" {where}').to_arrow_table(), []
    except duckdb.Error:
        pass
    readable = [_is_readable(cursor, table, name, where) for name, _ in columns]
    listed = ", ".join(
        f'"{name}"' if good else f'null::{kind} as "{name}"'
        for (name, kind), good in zip(columns, readable, strict=True)
    )
    found = cursor.sql(f'select {listed} from "{table}" {where}').to_arrow_table()
    return found, [name for (name, _), good in zip(columns, readable, strict=True) if not good]


def _is_readable(cursor: duckdb.DuckDBPyConnection, table: str, column: str, where: str) -> bool:
    try:
        cursor.execute(f'select "{column}" from "{table}" {where}').fetchall()
    except duckdb.Error:
        return False
    return True


def rescue(path: Path, folder: Path, *, overwrite: bool) -> list[Exported]:
    """Export a file that does not open as a store, as far as it can be read; the file is left as it is.

    Raises
    ------
    StoreUnreadable
        If nothing of it can be read.
    StoreError
        As `export`.
    """
    checked_folder(folder, path, overwrite=overwrite)
    refuse_unfit(path)
    refuse_foreign(path)
    connection, problem = _opened(path)
    with connection:
        if "event" not in dict(_names(connection)):
            raise StoreUnreadable(f"{path} is a DuckDB file but no orchkit store; give another path")
        exported = export(connection, folder, overwrite=True)
    return exported if not problem else [*exported, Exported(wal_path(path).name, 0, 0, problem)]


def _opened(path: Path) -> tuple[duckdb.DuckDBPyConnection, str]:
    try:
        return duckdb.connect(str(path), read_only=True), ""
    except duckdb.Error as error:
        refusal = error
    if not wal_path(path).exists():
        raise _hopeless(path, refusal) from refusal
    try:
        return _without_log(path), f"not read, what was recorded last is missing: {first_line(refusal)}"
    except duckdb.Error as error:
        raise _hopeless(path, error) from error


def _without_log(path: Path) -> duckdb.DuckDBPyConnection:
    # DuckDB looks for the log beside the name that it is given. Once it has the file open, the name may go.
    with TemporaryDirectory(prefix=f"{path.name}.rescue-", dir=path.resolve().parent) as folder:
        alone = Path(folder, "store.duckdb")
        try:
            os.link(path.resolve(), alone)
        except OSError:  # a disk without hard links
            shutil.copyfile(path, alone)
        return duckdb.connect(str(alone), read_only=True)


def _hopeless(path: Path, error: duckdb.Error) -> StoreUnreadable:
    return StoreUnreadable(f"nothing of {path} can be read: {first_line(error)}; restore it from a copy")


def _readme() -> str:
    return (
        "The tables and views of an orchkit store, each in a Parquet file of its own.\n\n"
        "Read one by pandas.read_parquet('event.parquet'), or all by DuckDB: select * from 'event.parquet'.\n"
        f"Schema version {schema.SCHEMA_VERSION}.\n\n{schema.__doc__}"
    )

"""Care: what keeps a store's file small; the one place that deletes.

All of it is done by the owner of the file, and what changes it, on the thread of its writer: nothing is committed
meanwhile, what is pushed waits.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from orchkit.clock.ids import wall_micro
from orchkit.errors import DefinitionError, StoreBusy, StoreError
from orchkit.store.copies import copy_database, discard, free_on_disk, sync_folder
from orchkit.store.file import DuckFile
from orchkit.store.holder import Holder, this_process
from orchkit.store.look import wal_path, wal_size
from orchkit.store.rows import Row, micros, stamp
from orchkit.store.sizes import USED, bytes_of

__all__ = ["PRUNED", "Compacted", "Keep", "compact", "prune"]

PRUNED: Final = ("run", "workflow", "mode", "status", "started", "ended", "events")
"""What is told of a run that is removed; times in microseconds since 1970."""

_DAY: Final = 86_400_000_000  # microseconds

_ENDED: Final = """
    select run, workflow, mode, status, started, ended, events from (
        select a.seq, a.run, a.workflow, a.mode, a.started, e.status, e.ended, e.events,
            row_number() over (order by a.seq desc) as place
        from admission a join (
            select run, arg_max(kind, seq) as kind, arg_max(status, seq) as status, count(*) as events,
                arg_max(wall, seq) filter (kind = 'run_ended') as ended
            from event group by run) e using (run)
        where e.kind = 'run_ended' and (?::varchar is null or a.workflow = ?))
    where (?::bigint is null or place > ?)
        and (?::timestamp is null or ended < ? or (ended is null and ?::bigint is not null))
    order by seq"""
_GONE: Final = "where run in (select unnest(?))"
# A holder's row is needed for as long as somebody's lease names it, and while it may be renewed: the next lease of a
# process that has just spoken comes without a word of its own.
_FORGOTTEN: Final = """
    delete from holder where until < ? and not (holder in (select holder from lease where holder is not null)
        and seq in (select max(seq) from holder group by holder))"""


class Keep(msgspec.Struct, frozen=True):
    """What pruning keeps: a run stays if one of the rules keeps it.

    Attributes
    ----------
    days : float, >= 0, optional
        Runs that ended less long ago.
    runs : int, >= 0, optional
        So many of the newest runs that have ended.
    workflow : str, optional
        Look at the runs of this one only; all others stay.

    Raises
    ------
    DefinitionError
        If neither `days` nor `runs` is given, or one makes no sense.
    """

    days: float | None = None
    runs: int | None = None
    workflow: str | None = None

    def __post_init__(self) -> None:
        if self.days is None and self.runs is None:
            raise DefinitionError("prune() would remove every run; say what stays by keep_days= or keep_runs=")
        days_fit = self.days is None or (type(self.days) in (int, float) and 0 <= self.days < 1e6)
        if not days_fit:
            raise DefinitionError(f"keep_days={self.days!r}: give a number of days, 0 or more")
        if self.runs is not None and (type(self.runs) is not int or not 0 <= self.runs < 2**63):
            raise DefinitionError(f"keep_runs={self.runs!r}: give a number of runs, 0 or more")
        if self.workflow is not None and not isinstance(self.workflow, str):
            raise DefinitionError(f"workflow={self.workflow!r}: give the name of a workflow")


def prune(file: DuckFile, keep: Keep, *, held: Container[str], dry_run: bool) -> list[Row]:
    """Delete ended runs, on the writer's thread, in one transaction.

    Parameters
    ----------
    file : DuckFile
    keep : Keep
    held : container of str
        Runs that somebody executes.
    dry_run : bool
        Only say which.

    Returns
    -------
    list of tuple
        A row of `PRUNED` a run, oldest first.

    Raises
    ------
    StoreError
        If it could not be done; the file is as it was.
    """
    found = [row for row in _ended(file, keep) if row[0] not in held]
    if found and not dry_run:
        _delete(file, [row[0] for row in found])
    return [(*row[:4], *(None if time is None else micros(time) for time in row[4:6]), row[6]) for row in found]


def _ended(file: DuckFile, keep: Keep) -> list[Row]:
    before = None if keep.days is None else stamp(max(0, wall_micro() - int(keep.days * _DAY)))
    return file.fetch(_ENDED, [keep.workflow, keep.workflow, keep.runs, keep.runs, before, before, keep.runs])


def _delete(file: DuckFile, runs: Sequence[str]) -> None:
    # A row that stays and has the highest number: numbers are never given again, also after the next opening.
    file.commit([this_process().entry()])
    with file.change() as connection:
        for table in ("event_row", "admission", "lease", "mail"):
            connection.execute(f"delete from {table} {_GONE}", [list(runs)]).fetchall()
        connection.execute(
            "delete from payload where ref not in (select ref from event_row where ref is not null)"
        ).fetchall()
        connection.execute(_FORGOTTEN, [stamp(wall_micro())]).fetchall()


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compacting a store's file came to.

    Attributes
    ----------
    before, after : int, bytes
        Of the file with its write-ahead log.
    """

    before: int
    after: int


def compact(file: DuckFile, *, held: Mapping[str, Holder]) -> Compacted:
    """Copy what the file holds into a new one and put that in its place, on the writer's thread.

    At every moment one good file has the store's name: the copy takes its place by one rename, after it was written
    to the disk, and after the old file has taken up its write-ahead log, which the new one must not meet.

    Raises
    ------
    StoreBusy
        If somebody executes a run, or a query does not end.
    StoreError
        If it could not be done; the file is as it was.
    """
    _refuse_busy(file.path, held)
    path = Path(os.path.realpath(file.path))
    copy = path.with_name(path.name + ".compacting")
    before = bytes_of(path) + wal_size(path)
    try:
        discard(copy)  # of a process that was killed
        _refuse_full(file, path)
        with file.cursor(wide=True) as cursor:
            copy_database(cursor, copy, compare=True)
        shutil.copymode(path, copy)
        with file.apart():
            _put_in_place(copy, path)
    except OSError as error:
        raise StoreError(f"{path.name} was not compacted: {error.strerror}; it is as it was") from error
    finally:
        with suppress(OSError):
            discard(copy)
    return Compacted(before, bytes_of(path) + wal_size(path))


def _refuse_busy(path: Path, held: Mapping[str, Holder]) -> None:
    for run_id, holder in held.items():
        raise StoreBusy(
            f"{path.name} is not compacted while runs are executed: process {holder.pid} executes {run_id!r}"
            f"{f' and {len(held) - 1} more are' if len(held) > 1 else ''}; wait for it, or suspend it",
            pid=holder.pid,
        )


def _refuse_full(file: DuckFile, path: Path) -> None:
    ((needed,),) = file.fetch(USED)
    room = free_on_disk(path.parent)
    if room < needed:
        raise StoreError(
            f"{path.name} was not compacted: the copy may need {needed} bytes, and the disk has {room}; free some"
        )


def _put_in_place(copy: Path, path: Path) -> None:
    if wal_path(path).exists():
        raise StoreError(f"{path.name} was not compacted: its write-ahead log could not be merged; free the disk")
    os.replace(copy, path)
    sync_folder(path.parent)

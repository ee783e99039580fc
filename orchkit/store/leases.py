"""Leases: which process executes which run, as the rows of a store say it.

A run belongs to the process that admitted it or took it last, until it gives it back, stops it, or lives no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from orchkit.errors import RunHeld
from orchkit.store.holder import Holder, lives
from orchkit.store.rows import Entry, Row, run_of

__all__ = ["Fetch", "Leases", "given_away", "holders", "left_by"]

Fetch = Callable[[str, Sequence[Any]], list[Row]]

_TAKEN = """
    select run, arg_max(holder, seq) as holder, max(seq) as at
    from (select run, seq, holder from admission where holder is not null
          union all select run, seq, coalesce(holder, '') from lease)
    {where} group by run"""
_STOPPED = "select run, max(seq) as at from event where kind in ('run_ended', 'suspended') group by run"
_HELD = f"""
    select t.run, h.p.host, h.p.boot, h.p.pid, h.p.born, h.p.until
    from ({_TAKEN}) t
    join (select holder, arg_max({{{{host: host, boot: boot, pid: pid, born: born, until: until}}}}, seq) as p
          from holder group by holder) h on h.holder = t.holder
    left join ({_STOPPED}) s on s.run = t.run
    where s.at is null or s.at < t.at"""
_LEFT = f"""
    select t.run from ({_TAKEN.format(where="")}) t left join ({_STOPPED}) s on s.run = t.run
    where t.holder = ? and (s.at is null or s.at < t.at)"""
_LAST = f"select run, holder from ({_TAKEN.format(where='where run in (select unnest(?))')})"
_KNOWN = 50_000  # runs whose holders are kept in memory; of others the rows tell


def holders(fetch: Fetch, run_id: str | None = None) -> dict[str, Holder]:
    """Give the processes that execute runs now, by run; with `run_id` of that run only."""
    where, parameters = ("", []) if run_id is None else ("where run = ?", [run_id])
    held = {run: Holder.of(*row) for run, *row in fetch(_HELD.format(where=where), parameters)}
    return {run: holder for run, holder in held.items() if lives(holder)}


def left_by(fetch: Fetch, name: str) -> list[str]:
    """Give the runs that a process has taken and neither stopped nor given back."""
    if not fetch("select 1 from holder where holder = ? limit 1", [name]):
        return []
    return [run for (run,) in fetch(_LEFT, [name])]


class Leases:
    """Whose the runs of a file are, as far as its owner has been asked; for whoever commits there just now."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def meant(self, fetch: Fetch, entries: Sequence[Entry], sender: str) -> tuple[list[Entry], dict[str, str]]:
        """Leave out what a process says of runs that are not its own any more.

        It may have died or been given up before its rows arrived, or they are sent again long after their first
        arrival; those who hold the runs now have read the logs without them.

        Parameters
        ----------
        fetch : callable
            Asks the file.
        entries : sequence of tuple
        sender : str
            Name of the process.

        Returns
        -------
        list of tuple
            Rows that still count.
        dict of str to str
            Of runs that are held by others, and had events among the rows: by whom.
        """
        self._learn(fetch, {run for entry in entries if (run := run_of(entry)) is not None})
        admitted = {row[0] for table, row in entries if table == "admission"}
        kept: list[Entry] = []
        lost: dict[str, str] = {}
        for entry in entries:
            run = run_of(entry)
            holder = "" if run is None or run in admitted else self._known[run]
            if holder in ("", sender) or run is None:
                kept.append(entry)
            elif entry[0] == "event":
                lost[run] = holder
        return kept, lost

    def _learn(self, fetch: Fetch, runs: set[str]) -> None:
        new = runs - self._known.keys()
        if new:
            if len(self._known) > _KNOWN:
                self._known.clear()
                new = runs
            self._known |= dict.fromkeys(new, "") | dict(fetch(_LAST, [list(new)]))

    def note(self, rows: Iterable[Row], run: int, holder: int) -> None:
        """Go on with rows that were committed, whose run and holder stand in those columns."""
        for row in rows:
            if row[run] in self._known:
                self._known[row[run]] = row[holder] or ""

    def forget(self) -> None:
        """Know nothing any more; rows may have gone."""
        self._known.clear()


def given_away(run_id: str, holder: str) -> RunHeld:
    """Say to whoever executes a run that it was given to somebody else, by name."""
    return RunHeld(
        f"run {run_id!r} was given to {holder}, for this process had let its lease expire; what it did since is not "
        f"recorded: watch the run by store.run({run_id!r})",
        run_id=run_id,
    )

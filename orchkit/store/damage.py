"""Damage: what is missing in a store's file, of which runs, why, and what can be done."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from orchkit.errors import StoreReadOnly
from orchkit.store.look import Seen, count_since, wal_path, wal_size
from orchkit.store.marks import Known

__all__ = ["Damage", "damage_of", "is_whole", "named"]

_NAMED: Final = 5  # runs that a report names; `Damage.runs` has all


class Damage(msgspec.Struct, frozen=True):
    """What is missing in a store's file.

    Attributes
    ----------
    missing : int or None
        Events that were acknowledged and are not there; None if nobody can tell.
    runs : dict of str to int
        Of them, those whose run is known, by run.
    report : str
        All of it in words: how many, of which runs, the likely cause, and the ways out.
    """

    missing: int | None
    runs: dict[str, int]
    report: str

    def __str__(self) -> str:
        return self.report

    def refusal(self) -> StoreReadOnly:
        """Give the error of whoever wants to write meanwhile."""
        return StoreReadOnly(self.report, missing=self.missing, runs=self.runs)


def damage_of(path: Path, known: Known | None, seen: Seen, *, mended: str = "", kept: str = "") -> Damage | None:
    """Compare a file with its marks.

    Parameters
    ----------
    path : Path
    known : Known or None
        What its marks say.
    seen : Seen
        What is in the file.
    mended : str
        What was wrong with its log, if that had to be mended.
    kept : str
        Name of the copy of how it was before that.

    Returns
    -------
    Damage or None
        None if nothing that was acknowledged is missing.
    """
    if known is None or known.lost:
        # A log was cut, and no marks say what was in the part that could not be read.
        return _unknown(path, seen, mended, kept) if mended or known is not None else None
    if is_whole(known, seen):
        return None
    # Not only the last: a log that was cut while it was open went on behind the hole.
    runs = known.runs
    since = Counter(count_since(path, known.base))
    runs -= since
    before = max(0, known.events - (seen.events - since.total()))
    missing = runs.total() + before
    if not missing:
        return None
    cause = mended or _cause(path, known, seen.seq)
    counted = f"{missing} acknowledged event{' is' if missing == 1 else 's are'} missing{named(runs, before)}"
    return Damage(missing, dict(runs), _report(path, counted, seen, cause, kept))


def is_whole(known: Known, seen: Seen) -> bool:
    """Say whether a file has all that its marks know of."""
    if known.lost:
        return False
    return known.last <= seen.seq and known.acknowledged <= seen.events


def _unknown(path: Path, seen: Seen, mended: str, kept: str) -> Damage:
    cause = mended or "its write-ahead log was damaged and had to be cut"
    counted = "acknowledged events may be missing, and no marks say which"
    return Damage(None, {}, _report(path, counted, seen, cause, kept))


def named(runs: Counter[str], before: int) -> str:
    """Say of which runs events are, and how many are of nobody knows which."""
    parts = [f"{n} of run {run}" for run, n in runs.most_common(_NAMED)]
    if len(runs) > _NAMED:
        parts.append(f"{sum(n for _, n in runs.most_common()[_NAMED:])} of {len(runs) - _NAMED} other runs")
    if before:
        parts.append(f"{before} of runs that were written before the last checkpoint")
    return f" ({', '.join(parts)})"


def _cause(path: Path, known: Known, seq: int) -> str:
    older = "an older copy of the file was put in its place, or it was restored from one"
    if known.base > seq and known.merged:
        return older
    # What the marks know of was in the log, or was merged when the file was closed: nothing tells these apart.
    was = "cut or damaged" if wal_size(path) else "deleted or emptied"
    return f"its write-ahead log {wal_path(path).name} was {was}, or {older}"


def _report(path: Path, counted: str, seen: Seen, cause: str, kept: str) -> str:
    was = f"; {kept} is a copy of how it was" if kept else ""
    there = f"{seen.events} event{'' if seen.events == 1 else 's'}"
    return (
        f"{path.name}: {counted}; {cause}{was}. What is there, {there}, is open for reading only. Either close it and "
        f"put a whole copy of {path.name} and its {path.name}.wal in place, or say store.confirm() to go on with what "
        "is there: a resumed run does again what is missing"
    )

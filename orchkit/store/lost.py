"""Lost: a store's file that is not there, while what lay beside it still is."""

from __future__ import annotations

from pathlib import Path

from orchkit.errors import StoreUnreadable
from orchkit.store.damage import named
from orchkit.store.look import wal_path, wal_size
from orchkit.store.marks import marks_path, read_marks
from orchkit.store.schema import SCHEMA_VERSION

__all__ = ["refuse_lost", "refuse_missing"]


def refuse_missing(path: Path) -> None:
    """Refuse a file that is not there.

    Raises
    ------
    StoreUnreadable
    """
    if not path.exists():
        refuse_lost(path)
        raise StoreUnreadable(f"{path} does not exist, and reading makes none; see the path, or open it to write")


def refuse_lost(path: Path) -> None:
    """Refuse to begin anew in the place of a file that was taken away.

    Raises
    ------
    StoreUnreadable
        If what lies beside it says that something was acknowledged; `missing` and `runs` say how much, where that is
        known.
    """
    events, runs, said = _acknowledged(path)
    left = [other.name for other in (*_beside(path), *([marks_path(path)] if said else []))]
    if not left:
        return
    names, are = " and ".join(left), "is" if len(left) == 1 else "are"
    said = said or "events may be missing, and no marks say how many"
    raise StoreUnreadable(
        f"{path} is not there, but {names} beside it {are}: {said}; put {path.name} back, or move {names} away to "
        "begin anew",
        missing=events,
        runs=runs,
    )


def _beside(path: Path) -> list[Path]:
    old = [path.with_name(f"{path.name}.v{version}") for version in range(1, SCHEMA_VERSION)]
    return [kept for kept in old if kept.exists()] + ([wal_path(path)] if wal_size(path) else [])


def _acknowledged(path: Path) -> tuple[int | None, dict[str, int], str]:
    known = read_marks(path)
    if known is None:
        try:
            unread = marks_path(path).stat().st_size > 0
        except OSError:
            unread = False
        return None, {}, "events may be missing, and its marks cannot be read" if unread else ""
    runs, events = known.runs, known.acknowledged
    if not events and not known.lost:
        return 0, {}, ""
    most = "at least " if known.lost else ""
    plural = " is" if events == 1 else "s are"
    return events, dict(runs), f"{most}{events} acknowledged event{plural} missing{named(runs, known.events)}"

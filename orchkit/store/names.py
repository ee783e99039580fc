"""Names: what a store's file may be called, and how many names it may have.

What belongs to a store lies beside its file under the same name with an ending, and DuckDB finds the write-ahead log so
too: a file is to have one name, that leaves room for the endings and that DuckDB reads as we do.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchkit.errors import StoreUnreadable

__all__ = ["refuse_linked", "refuse_unfit_name", "resolved"]

_ROOM: Final = len(".mending-header.wal.checkpoint")  # the longest ending that a file beside a store may have
_USUAL: Final = 255  # bytes of a file's name
_SHORT: Final = 100  # bytes, for which there is room everywhere
# DuckDB puts the ending of a log before the one, and takes the other for a separator of folders; Windows has neither in
# a name.
_MISREAD: Final = "" if sys.platform == "win32" else "?\\"
_LEFT: Final = re.compile(r"\.mending|\.part")  # by a process that was killed; nobody writes by these names
_KEPT: Final = re.compile(r"\.v\d+(-\d+)?")


def resolved(path: str | os.PathLike[str]) -> Path:
    """Follow links: of whichever name a file is opened by, what belongs to it lies beside the file itself.

    Raises
    ------
    StoreUnreadable
        If no file can have that path.
    """
    try:
        if not os.fspath(path):
            raise ValueError("it is empty")
        found = Path(path).absolute().resolve()
        os.fsencode(found).decode()
        return found
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreUnreadable(f"no file can have the path {os.fspath(path)!r}: {error}; give another one") from error


def refuse_unfit_name(path: Path) -> None:
    """Refuse a path by which a store and what lies beside it could not be found.

    Raises
    ------
    StoreUnreadable
    """
    for sign in _MISREAD:
        if sign in str(path):
            raise StoreUnreadable(
                f"{path} has {sign!r} in it, for which DuckDB would look elsewhere for the file or its log; use a path "
                "without it"
            )
    size = len(os.fsencode(path.name))
    if size > _SHORT and size > (most := _longest(path.parent)):
        raise StoreUnreadable(
            f"{path.name[:20]}... has a name of {size} bytes, and a store's may have {most} here: other files of its "
            "name, with an ending, lie beside it; use a shorter one"
        )


def _longest(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX") - _ROOM
    except (AttributeError, OSError, ValueError):
        return _USUAL - _ROOM


def refuse_linked(path: Path, *, old: bool = False) -> None:
    """Refuse a file that has a second name, but for one that we have given it for a while.

    Parameters
    ----------
    path : Path
    old : bool
        Its schema may be older, and its second name the one that it is kept by: a migration was killed before the new
        file took its place.

    Raises
    ------
    StoreUnreadable
    """
    names = os.stat(path).st_nlink
    if names > 1 and names - sum(1 for _ in _own_names(path, old)) > 1:
        raise StoreUnreadable(
            f"{path} has {names} names (hard links), and a store goes by its name: what is written by one may be "
            f"missing by the other. Give it a file of its own, by cp {path.name} {path.name}.own and mv "
            f"{path.name}.own {path.name}; or delete the other name, which find -samefile {path.name} tells. A backup "
            "that links files (cp -al, rsnapshot) keeps no copy of a store; store.snapshot(path) makes one"
        )


def _own_names(path: Path, old: bool) -> Iterator[Path]:
    for other in path.parent.iterdir():
        ending = other.name.removeprefix(path.name)
        if ending == other.name:
            continue
        if ending.startswith(".rescue-"):
            other = other / "store.duckdb"  # noqa: PLW2901 - an export of what cannot be opened
        elif not (_LEFT.fullmatch(ending) or (old and _KEPT.fullmatch(ending))):
            continue
        try:
            if os.path.samefile(other, path):
                yield other
        except OSError:
            pass  # it has just gone

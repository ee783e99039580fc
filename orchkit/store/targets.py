"""Targets: where a copy of a store, or what is exported from it, may go; nothing is written before that is known."""

from __future__ import annotations

import os
from collections.abc import Iterable
from os.path import isdir, isfile, lexists, realpath  # they never raise, where Path's own may
from pathlib import Path
from typing import Final

from orchkit.errors import StoreError
from orchkit.store.look import wal_path
from orchkit.store.names import refuse_unfit_name

__all__ = ["checked_folder", "checked_target", "part_of", "refuse_own"]

_BESIDE: Final = frozenset(
    {"wal", "marks", "owner", "sock", "new", "migrating", "compacting", "mending", "mending-header"}
)
"""What follows a store's name in the names of its own files, whether they are there now or not: what was copied to
``lab.duckdb.wal`` would be taken for the log of ``lab.duckdb``."""


def checked_target(target: Path, store: Path) -> Path:
    """Give the path of a file that a store may be copied to.

    Parameters
    ----------
    target : Path
        Absolute.
    store : Path
        The store's file.

    Raises
    ------
    StoreError
        If something is there, if no file can be made there, if no store can have that name, or if it belongs to the
        store.
    """
    refuse_unfit_name(target)
    part = part_of(target)
    refuse_own((target, wal_path(target), part, wal_path(part)), store)
    for name in (target, wal_path(target)):
        if lexists(name):
            raise StoreError(f"{name} exists and is left as it is; give another path")
    nearest = _nearest(target.parent)
    if nearest != target.parent and isdir(nearest) and os.access(nearest, os.X_OK):
        raise StoreError(f"{target.parent} does not exist; make the directory first, or use another path")
    _refuse_locked(nearest)
    _refuse_long(wal_path(part))
    return target


def checked_folder(folder: Path, store: Path, *, overwrite: bool) -> Path:
    """Give the path of a folder that a store may be exported to; it need not be there.

    Parameters
    ----------
    folder : Path
        Absolute.
    store : Path
        The store's file.
    overwrite : bool
        Whether it may hold something.

    Raises
    ------
    StoreError
        If it is a file, if it holds something and is not to be overwritten, if nothing can be written there, or if the
        name belongs to the store.
    """
    refuse_own((folder, *folder.parents), store)
    nearest = _nearest(folder)
    if nearest == folder and not isdir(folder):
        raise StoreError(f"{folder} is {'a file' if isfile(folder) else 'no folder'}; give a folder for the export")
    _refuse_locked(nearest)
    if nearest == folder and not overwrite and _holds_something(folder):
        raise StoreError(f"{folder} is not empty; give another folder, or overwrite=True")
    return folder


def part_of(target: Path) -> Path:
    """Say what a file is called until it is whole."""
    return target.with_name(target.name + ".part")


def refuse_own(targets: Iterable[Path], store: Path) -> None:
    """Refuse to write to a store's own files, there or still to come.

    Raises
    ------
    StoreError
    """
    folder = realpath(store.parent)
    for target in targets:
        if target == store or (_is_own(target.name, store.name) and realpath(target.parent) == folder):
            what = "is the store itself" if target.name == store.name else f"belongs to the store {store.name}"
            raise StoreError(f"{target} {what}; use another path")


def _is_own(name: str, store: str) -> bool:
    beside = name.removeprefix(f"{store}.")
    return name == store or (beside != name and beside.partition(".")[0] in _BESIDE)


def _nearest(folder: Path) -> Path:
    """Give the folder, or of those that it would be in the nearest that is there."""
    return next(one for one in (folder, *folder.parents) if lexists(one))


def _refuse_locked(folder: Path) -> None:
    if not isdir(folder):
        raise StoreError(f"{folder} is no folder; use another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"{folder} may not be written to; see who may, or use another path")


def _refuse_long(target: Path) -> None:
    try:
        os.lstat(target)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(f"{target} cannot be made: {error.strerror}; use another path") from error


def _holds_something(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError as error:
        raise StoreError(f"{folder} cannot be looked at: {error.strerror}; use another folder") from error

"""Held: which files this process has open, and what can be no store at all.

A file is told by its inode, so that a second name does not open it twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchkit.errors import StoreBusy, StoreUnreadable

__all__ = ["Inode", "held", "inode_of", "refuse_foreign", "refuse_missing", "refuse_unfit", "release"]

Inode = tuple[int, int]

_HELD: dict[Inode, int] = {}
_LOCK = threading.Lock()


def refuse_unfit(path: Path) -> None:
    """Refuse what can be no store, or is open in this process, before anything is made beside it.

    What is in the file is looked at by who has the owner's place: another process may be making it just now.

    Raises
    ------
    StoreBusy
        If this process has it open.
    StoreUnreadable
        If it is a directory or a pipe, or in no folder.
    """
    try:
        path.stat()
    except PermissionError as error:
        raise StoreUnreadable(f"{path} is out of reach: {error.strerror}; see who may read its folder") from error
    except OSError:
        pass  # there is none yet, or what follows says what is in the way
    if path.is_dir():
        raise StoreUnreadable(f"{path} is a directory; give the path of a file, such as lab.duckdb")
    if not path.parent.is_dir():
        raise StoreUnreadable(f"{path.parent} does not exist; make the directory first, or use another path")
    if path.exists() and not path.is_file():
        raise StoreUnreadable(f"{path} is no file; give a store another path")
    _refuse_held(path)


def refuse_missing(path: Path) -> None:
    """Refuse a file that is not there.

    Raises
    ------
    StoreUnreadable
    """
    if not path.exists():
        raise StoreUnreadable(f"{path} does not exist, and reading makes none; see the path, or open it to write")


def inode_of(path: Path) -> Inode | None:
    """Tell a file from its namesakes; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def held(path: Path) -> Iterator[Callable[[], Inode]]:
    """Open a file that this process does not have open; what is given, says that now it has."""
    with _LOCK:
        _refuse_held(path)
        yield lambda: _hold(path)


def _hold(path: Path) -> Inode:
    inode = inode_of(path)
    assert inode is not None
    _HELD[inode] = os.getpid()
    return inode


def release(inode: Inode) -> None:
    """Say that a file is no longer open."""
    _HELD.pop(inode, None)


def _renew() -> None:
    # In a forked child the lock may be held by a thread that is not there.
    global _LOCK  # noqa: PLW0603 - it guards what one process holds
    _LOCK = threading.Lock()


os.register_at_fork(after_in_child=_renew)


def _refuse_held(path: Path) -> None:
    # Before DuckDB sees it: to open and close the file again by a second name would drop the lock of the first.
    inode = inode_of(path)
    pid = _HELD.get(inode) if inode is not None else None
    if pid is None:
        return
    if pid == os.getpid():
        raise StoreBusy(
            f"{path.name} is open in this process already; use that store, ok.open(path) shares it", pid=pid
        )
    raise StoreBusy(
        f"{path.name} is held by process {pid}, which this one was forked from; use spawn, or another path", pid=pid
    )


def refuse_foreign(path: Path) -> None:
    """Refuse a file of another kind.

    Raises
    ------
    StoreUnreadable
    """
    # DuckDB takes a short file of text for one of its own that was cut. This process does not have it open, or it
    # would have been refused by now, so reading it drops no lock.
    if path.is_file():
        try:
            with path.open("rb") as file:
                start = file.read(12)
        except OSError as error:
            why = f"{error.strerror}; see who may read it, or use another path"
            raise StoreUnreadable(f"{path} cannot be read: {why}") from error
        if start[8:] != b"DUCK":
            raise StoreUnreadable(f"{path} is no DuckDB file, and is left as it is; give a store another path")

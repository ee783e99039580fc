"""Held: which files this process has open, and what can be no store at all.

A file is told by its inode, so that a second name does not open it twice.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchkit.errors import StoreBusy, StoreUnreadable
from orchkit.store.names import refuse_unfit_name

__all__ = ["Inode", "held", "inode_of", "refuse_foreign", "refuse_unfit", "release"]

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
        If it is a directory, a device or a pipe, in no folder, or has a name that no store may have.
    """
    refuse_unfit_name(path)
    kind = _kind(path)
    if stat.S_ISDIR(kind):
        raise StoreUnreadable(f"{path} is a directory; give the path of a file, such as lab.duckdb")
    if not os.path.isdir(path.parent):
        if os.path.lexists(path.parent):
            raise StoreUnreadable(f"{path.parent} is no directory; use another path")
        raise StoreUnreadable(f"{path.parent} does not exist; make the directory first, or use another path")
    if kind and not stat.S_ISREG(kind):
        raise StoreUnreadable(f"{path} is no file; give a store another path")
    _refuse_held(path)


def _kind(path: Path) -> int:
    """Tell what is there, by its mode; 0 for nothing."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except PermissionError as error:
        raise StoreUnreadable(f"{path} is out of reach: {error.strerror}; see who may read its folder") from error
    except (OSError, ValueError) as error:  # a loop of links, a path that is too long, a disk that fails
        raise StoreUnreadable(f"{path} cannot be reached: {error}; give another path") from error


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

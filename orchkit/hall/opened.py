"""Opened stores: each path once a process, and shared by all that open it."""

from __future__ import annotations

import os
import threading
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from orchkit.errors import StoreBusy, StoreNotice
from orchkit.hall import arguments
from orchkit.hall.store import Store
from orchkit.model.protocols import RunStore

__all__ = ["open_store", "store_for"]


class _Opened:
    """The stores that this process has open, and how often each was opened."""

    def __init__(self) -> None:
        self.stores: dict[Path, Store] = {}
        self.lock = threading.Lock()
        self._times: Counter[Path] = Counter()

    def enter(self, path: Path, store: Store) -> None:
        """Count one that opens it; with the lock held."""
        self.stores[path] = store
        self._times[path] += 1

    def leave(self, store: Store) -> bool:
        """Count one less; say whether that was the last."""
        with self.lock:
            self._times[store.path] -= 1
            return self._times[store.path] <= 0

    def forget(self, store: Store) -> None:
        """Open it anew when it is asked for again."""
        with self.lock:
            if self.stores.get(store.path) is store:
                del self.stores[store.path]
                del self._times[store.path]


_OPENED = _Opened()


def open_store(path: str | os.PathLike[str], *, read_only: bool = False) -> Store:
    """Open a store's file; made if it is not there. A path is opened once per process and shared.

    A ``with`` block closes it at its end, unless this process has opened it elsewhere too; `Store.close` always does.

    Parameters
    ----------
    path : path-like
    read_only : bool
        Write nothing into it; an empty ``<path>.owner`` may lie beside it while it is read. If the path is open to
        write in this process, that store is given.

    Returns
    -------
    Store

    Raises
    ------
    DefinitionError
        If no file can have that path.
    StoreBusy
        If whoever holds it does not answer, or this process has it open for reading only and wants to write.
    StoreUnreadable
        If it is no store, damaged beyond repair, or newer than this orchkit; has a second name (a hard link), or one
        that no store may have; or was taken away, and its log or its marks are still there. With `read_only` also if
        it is not there, or would have to be mended or migrated first.

    Warns
    -----
    StoreDamaged
        If its log was damaged and had to be mended, or acknowledged events are missing: then nothing can be written
        until `Store.confirm`.
    StoreNotice
        If it was written by an older orchkit and has been moved to the schema of today; the old file is kept.

    Examples
    --------
    >>> import tempfile, orchkit as ok
    >>> with tempfile.TemporaryDirectory() as folder, ok.open(f"{folder}/lab.duckdb") as store:
    ...     print(store, len(store.runs()))
    Store('lab.duckdb') 0
    """
    # Imported here: `import orchkit` must not load the database.
    from orchkit.store.duck import DuckStore

    key = arguments.path("ok.open", "path", path).resolve()
    notices: tuple[StoreNotice, ...] = ()
    with _OPENED.lock:
        store = _OPENED.stores.get(key)
        if store is None or store._kept.is_closed():
            store = Store(DuckStore(key, read_only=read_only), _OPENED)
            notices = store._kept.notices
        elif store._kept.read_only and not read_only:
            raise StoreBusy(
                f"{key.name} is open in this process for reading only; close that store, and open it again to write",
                pid=os.getpid(),
            )
        _OPENED.enter(key, store)
    for notice in notices:
        warnings.warn(notice, stacklevel=2)
    return store


def store_for(store: Any, *, memory: bool) -> RunStore:
    """Give the kept store behind what users pass as ``store=``."""
    if memory:
        from orchkit.store.memory import MemoryStore

        return MemoryStore()
    if isinstance(store, Store):
        return store._kept
    return open_store(store)._kept

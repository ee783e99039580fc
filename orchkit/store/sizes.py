"""Sizes: how big a store is, on the disk and inside, and whether compacting it is worth it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchkit.store.copies import free_on_disk
from orchkit.store.look import wal_path, wal_size
from orchkit.store.rows import Row
from orchkit.store.schema import TABLES, WITHIN

__all__ = ["USED", "StoreSize", "bytes_of", "size_of"]

_WORTH_IT: Final = 0.5  # share of a file that is free before compacting it is worth the copying
_SMALL: Final = 4 * 2**20  # bytes, below which nobody minds


@dataclass(frozen=True, slots=True)
class StoreSize:
    """How big a store is.

    Attributes
    ----------
    file : int, bytes
        The file itself.
    wal : int, bytes
        Its write-ahead log.
    free : int, bytes
        Inside the file, without content: used again for new events, given back by ``store.compact()``.
    beside : dict of str to int, bytes
        All other files that belong to it, by name.
    rows : dict of str to int
        By table, and of the view ``event``.
    disk : int, bytes
        What is left on its disk.
    """

    file: int
    wal: int
    free: int
    beside: Mapping[str, int]
    rows: Mapping[str, int]
    disk: int

    @property
    def total(self) -> int:
        """All of it, in bytes."""
        return self.file + self.wal + sum(self.beside.values())

    @property
    def hint(self) -> str:
        """What to do about it; "" for nothing."""
        if self.file > _SMALL and self.free > _WORTH_IT * self.file:
            share = round(100 * self.free / self.file)
            return f"{share} % of the file is free inside; store.compact() gives {self.free / 1e6:.0f} MB back"
        return ""


_BLOCKS: Final = "from pragma_database_size() where database_name = current_database()"
USED: Final = f"select used_blocks * block_size {_BLOCKS}"
"""Asks for the bytes of a file that hold something."""

_SIZES: Final = " union all ".join(
    [f"select 'free' as name, free_blocks * block_size as value {_BLOCKS}"]
    + [f"select 'rows {table}', count(*) from {table}" for table in sorted({"event", *TABLES} - {*WITHIN})]
)


def size_of(path: Path, fetch: Callable[[str], list[Row]]) -> StoreSize:
    """Measure a store; `fetch` runs a query in it."""
    found: dict[str, Any] = dict(fetch(_SIZES))
    wal = wal_path(path)
    return StoreSize(
        file=bytes_of(path),
        wal=wal_size(path),
        free=found["free"],
        beside={
            one.name: bytes_of(one)
            for one in sorted(path.parent.iterdir())
            if one.name.startswith(path.name) and one not in (path, wal)
        },
        rows={name.removeprefix("rows "): value for name, value in found.items() if name != "free"},
        disk=free_on_disk(path.parent),
    )


def bytes_of(path: Path) -> int:
    """Measure a file; 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0

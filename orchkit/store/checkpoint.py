"""Checkpoints: when the write-ahead log is merged into the file.

A merge holds the writer for as long as it takes, some 50 ms at 16 MB, so it waits for a quiet moment. It does not wait
for ever: opening replays the log twice, once to look and once to write, at some 30 us a commit each. DuckDB's own
automatic checkpoint, which comes inside a commit and makes its outcome unknown if the disk is full, is set so that it
comes later than ours.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from orchkit.store.look import log_size, wal_path

__all__ = ["Checkpoints"]

_QUIET_BYTES: Final = 4 * 2**20
_QUIET_COMMITS: Final = 1000
_MOST_BYTES: Final = 48 * 2**20
_MOST_COMMITS: Final = 2500


class Checkpoints:
    """Says when it is time to merge the log of one open file.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._folder = str(path.parent)
        self._log = str(wal_path(path))  # as text: looking at it comes after each commit
        self._size = log_size(self._log)
        self._commits = 0
        self._put_off = 0

    def committed(self) -> bool:
        """Count a commit; say whether DuckDB has merged the log in it."""
        self._commits += 1
        before, self._size = self._size, log_size(self._log)
        return self._size < before

    def due(self, *, quiet: bool = False) -> bool:
        """Say whether it is time to merge; it is sooner in a quiet moment."""
        most, commits = (_QUIET_BYTES, _QUIET_COMMITS) if quiet else (_MOST_BYTES, _MOST_COMMITS)
        if self._commits < self._put_off or (self._size <= most and self._commits <= commits):
            return False
        if self._has_room():
            return True
        self.failed()
        return False

    def _has_room(self) -> bool:
        try:
            return shutil.disk_usage(self._folder).free > 2 * self._size
        except OSError:
            return False  # the folder has gone; the commit finds out, and says so

    def merged(self) -> None:
        """Begin to count anew."""
        self._size, self._commits, self._put_off = log_size(self._log), 0, 0

    def failed(self) -> None:
        """Put the next one off: what stands in the way may be gone some hundred commits later."""
        self._put_off = self._commits + _QUIET_COMMITS // 2

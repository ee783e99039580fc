"""The election: of the processes that use one store file, one owns it and serves the others.

The owner holds a lock on ``<path>.owner`` (flock: unlike DuckDB's own lock, it survives that the process opens and
closes the file, and it ends with the process, however that ends). In the file it says where it can be reached.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final

import msgspec

from orchkit.errors import StoreWriteError

if sys.platform != "win32":
    import fcntl

__all__ = ["Notice", "Seat", "read_notice", "take_reading_seat", "take_seat"]


# No link to somewhere else, and no waiting for whoever reads a pipe; neither is there on Windows.
_PLAIN: Final[int] = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Notice(msgspec.Struct, frozen=True):
    """Where an owner can be reached.

    Attributes
    ----------
    pid : int
    host : str
    address : str
        Path of its Unix socket; empty where it serves nobody.
    token : str
        What it must be told first; the file is readable by its user only.
    store : str
        Name of the store's file, for messages.
    """

    pid: int
    host: str
    address: str
    token: str
    store: str = ""

    def is_there(self) -> bool:
        """Say whether it is of a process that lives, and not of an owner that was killed."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass
        return True


class Seat:
    """The owner's place, held until `leave` or the end of the process."""

    def __init__(self, file: int, path: Path | None = None) -> None:
        self._file = file
        self._path = path

    def announce(self, notice: Notice) -> None:
        """Say where the owner can be reached."""
        if self._file < 0:
            return
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, msgspec.json.encode(notice), 0)

    def leave(self) -> None:
        """Give the place up; safe to call twice."""
        if self._file >= 0:
            file, self._file = self._file, -1
            if self._path is not None:
                # Before the lock is given up; who waits for it sees then that the file is another one.
                self._path.unlink(missing_ok=True)
            os.close(file)

    def drop(self) -> None:
        """Forget the place in a forked child, which shares the lock and would keep it after its parent's end."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _notice_path(path: Path) -> Path:
    return path.with_name(path.name + ".owner")


def take_seat(path: Path) -> Seat | None:
    """Take the owner's place; None if it is taken, or somebody reads.

    Raises
    ------
    StoreWriteError
        If the file that it is taken by cannot be made.
    """
    if sys.platform == "win32":  # one process a store: DuckDB's own lock keeps the others out
        return Seat(-1)
    name = _notice_path(path)
    while True:
        try:
            file = os.open(name, os.O_RDWR | os.O_CREAT | _PLAIN, 0o600)
        except OSError as error:
            raise StoreWriteError(
                f"{path} cannot be written: {error.strerror} at {name.name}; see that the disk has room and that "
                f"{path.parent} lets you make files, or use another path"
            ) from error
        _refuse_strange(file, name)
        if not _lock(file, path):
            os.close(file)
            return None
        if _is_at(name, file):
            return Seat(file, name)
        os.close(file)  # its last owner has just left and taken the file away


def _refuse_strange(file: int, name: Path) -> None:
    """Refuse a file that somebody else put there: it says whom to give what is written."""
    if _is_ours(file):
        os.fchmod(file, 0o600)
        return
    os.close(file)
    raise StoreWriteError(
        f"{name} is no file of this user's, and says who holds the store; remove it if nobody does, or use another path"
    )


def _is_ours(file: int) -> bool:
    found = os.fstat(file)
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _lock(file: int, path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        os.close(file)
        raise StoreWriteError(
            f"{path.parent} has no file locks ({error.strerror}), which a store needs; use a path on a local disk"
        ) from error
    return True


def _is_at(name: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(name), os.fstat(file))
    except FileNotFoundError:
        return False


def read_notice(path: Path) -> Notice | None:
    """Read where the owner can be reached; None while there is none, or it is not ready."""
    try:
        file = os.open(_notice_path(path), os.O_RDONLY | _PLAIN)
        with open(file, "rb") as found:
            if not _is_ours(file):
                return None
            return msgspec.structs.replace(msgspec.json.decode(found.read(), type=Notice), store=path.name)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


class _ReadingSeat(Seat):
    """A place beside other readers, which keeps owners away."""

    def __init__(self, file: int, path: Path) -> None:
        super().__init__(file)
        self._name = path

    def leave(self) -> None:
        """Give the place up; the last reader takes the file away, unless it may not. Safe to call twice."""
        if self._file >= 0:
            file, self._file = self._file, -1
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._name.unlink(missing_ok=True)
            except OSError:
                pass
            os.close(file)


def take_reading_seat(path: Path) -> Seat | None:
    """Keep owners away for as long as one reads; None if there is one.

    Where no file can be made nobody can own the store either, and the place is had without one.
    """
    if sys.platform == "win32":
        return Seat(-1)
    name = _notice_path(path)
    while True:
        file = _opened_to_read(name)
        if file < 0:
            return Seat(-1)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.path.samestat(os.stat(name), os.fstat(file)):
                return _ReadingSeat(file, name)
        except BlockingIOError:
            os.close(file)
            return None
        except FileNotFoundError:
            pass
        except OSError:  # no file locks here, or a file that one may only read
            return _ReadingSeat(file, name)
        os.close(file)  # its last user has just left and taken the file away


def _opened_to_read(name: Path) -> int:
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        try:
            return os.open(name, flags | _PLAIN, 0o600)
        except OSError:
            pass
    return -1

"""Leaving: when the program ends, no thread may be inside DuckDB.

A thread that comes out of DuckDB after Python has begun to end is ended there and then, in the midst of C++ that does
not let it go: the program dies of SIGABRT, "FATAL: exception not rethrown". So whoever ends Python waits, once the
stores are closed and what was read is interrupted, until all others have left this room.
"""

from __future__ import annotations

import atexit
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Final, Protocol
from weakref import WeakSet

from orchkit.clock.ids import wall_micro
from orchkit.errors import StoreError

__all__ = ["forget_at_end", "refuse_late"]

_ROOM: Final = str(Path(__file__).parent)
_PATIENCE: Final = 5_000_000  # microseconds; what is interrupted leaves within a few milliseconds
_PAUSE: Final = 0.005  # seconds
_ENDS = threading.Event()


class _Forgets(Protocol):
    def forget(self) -> None: ...


_FILES: WeakSet[_Forgets] = WeakSet()


def forget_at_end(file: _Forgets) -> None:
    """Call its `forget` when the program ends and nobody is here any more."""
    _FILES.add(file)


def refuse_late(name: str) -> None:
    """Refuse to open a file on another thread than the main one while the program ends: nobody would close it.

    Raises
    ------
    StoreError
    """
    if _ENDS.is_set() and threading.current_thread() is not threading.main_thread():
        raise StoreError(f"{name} is not opened, for the program is ending; join the thread that opens it first")


def _leave() -> None:
    _ENDS.set()
    until = wall_micro() + _PATIENCE
    while True:
        # Even when nobody is here: who has just left may be in a destructor, and needs the interpreter to come out.
        threading.Event().wait(_PAUSE)
        if not _is_anybody_here() or wall_micro() > until:
            break
    for file in list(_FILES):
        file.forget()


def _is_anybody_here() -> bool:
    me = threading.get_ident()
    return any(_is_here(frame) for thread, frame in sys._current_frames().items() if thread != me)


def _is_here(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_ROOM):
            return True
        frame = frame.f_back
    return False


# At the import, which comes before any store is opened: what is registered first is done last.
atexit.register(_leave)

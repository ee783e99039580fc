"""Turns: when the thread that executes runs has done all that it can do at once.

Apart from the host, because who records something has no need of asyncio to ask for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["at_turn_end", "turns_of"]

Then = Callable[[bool], None]

_TURNS: dict[threading.Thread, Callable[[Then], None]] = {}


def turns_of(thread: threading.Thread, at_end: Callable[[Then], None]) -> None:
    """Say how to be called at the end of that thread's turns."""
    _TURNS[thread] = at_end


def at_turn_end(then: Then) -> bool:
    """Call `then` at the end of this turn; on a thread that has no turns say False, and do nothing.

    Parameters
    ----------
    then : callable
        Told whether the thread is at rest: nothing is under way there but what waits for others.
    """
    at_end = _TURNS.get(threading.current_thread())
    if at_end is None:
        return False
    at_end(then)
    return True

"""What a record says of its origin: the id of a run, the time by the wall, the machine.

Only the id of a live run is drawn; all others are derived.
"""

from __future__ import annotations

import os
import socket
import time
from hashlib import blake2b

__all__ = ["derived_run_id", "fresh_run_id", "here", "wall_micro"]


_AT_ONCE = 100
_DRAWN: list[str] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_DRAWN.clear)  # or parent and child would give the same ids


def fresh_run_id() -> str:
    """Draw the id of a new live run: 12 hex digits, which sort by nothing and collide with nobody."""
    try:
        return _DRAWN.pop()
    except IndexError:
        # To ask the system gives up the interpreter's lock: 11 us and more of a start where other threads want it.
        digits = os.urandom(_AT_ONCE * 6).hex()
        drawn, *others = (digits[at : at + 12] for at in range(0, len(digits), 12))
        _DRAWN.extend(others)  # which other threads may have taken by the next line
        return drawn


def derived_run_id(*parts: object) -> str:
    """Derive the id of a simulated run from what decides it."""
    return "v" + blake2b("\x1f".join(map(str, parts)).encode(), digest_size=6).hexdigest()


def wall_micro() -> int:
    """Read the wall clock, in integer microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def here() -> str:
    """Name this machine, for records of who did something."""
    return socket.gethostname()

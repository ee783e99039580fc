"""What a record says of its origin: the id of a run, the time by the wall, the machine.

Only the id of a live run is drawn; all others are derived.
"""

from __future__ import annotations

import socket
import time
import uuid
from hashlib import blake2b

__all__ = ["derived_run_id", "fresh_run_id", "here", "wall_micro"]


def fresh_run_id() -> str:
    """Draw the id of a new live run: 12 hex digits, which sort by nothing and collide with nobody."""
    return uuid.uuid4().hex[:12]


def derived_run_id(*parts: object) -> str:
    """Derive the id of a simulated run from what decides it."""
    return "v" + blake2b("\x1f".join(map(str, parts)).encode(), digest_size=6).hexdigest()


def wall_micro() -> int:
    """Read the wall clock, in integer microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def here() -> str:
    """Name this machine, for records of who did something."""
    return socket.gethostname()

"""Faults: what goes wrong on purpose, when, and to whom; every injection is an event.

The same plan works live and in simulation. A fault raises what the real client would: without a named client,
``ConnectionError`` and ``TimeoutError`` with a note that says it was injected.
"""

from __future__ import annotations

from orchkit.faults.kinds import crash, fail, hang, slow
from orchkit.faults.plan import Fault, Faults

__all__ = ["Fault", "Faults", "crash", "fail", "hang", "slow"]

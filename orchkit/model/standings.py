"""Where a node stands in a run."""

from __future__ import annotations

from typing import Final

__all__ = ["COMPLETED", "DEGRADED", "DONE", "FAILED", "IDLE", "OPEN", "READY", "SETTLED", "SKIPPED", "WORDS"]

IDLE, READY, OPEN, COMPLETED, DEGRADED, FAILED, SKIPPED = range(7)
"""Where a node stands; from COMPLETED on it is settled."""

DONE: Final = frozenset({COMPLETED, DEGRADED, SKIPPED})
"""Settled, and what comes after it may go on."""

SETTLED: Final = {"completed": COMPLETED, "degraded": DEGRADED, "failed": FAILED, "skipped": SKIPPED}
WORDS: Final = ("idle", "ready", "running", "completed", "degraded", "failed", "skipped")

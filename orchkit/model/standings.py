"""Where a node stands in a run."""

from __future__ import annotations

__all__ = ["COMPLETED", "DEGRADED", "FAILED", "IDLE", "OPEN", "READY", "SKIPPED"]

IDLE, READY, OPEN, COMPLETED, DEGRADED, FAILED, SKIPPED = range(7)
"""Where a node stands; from COMPLETED on it is settled."""

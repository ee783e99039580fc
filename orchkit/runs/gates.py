"""The gates of all runs that this process executes."""

from __future__ import annotations

from orchkit.clock.live import EngineThread
from orchkit.engine.gateroom import Gates

__all__ = ["gates_of"]

_GATES: Gates | None = None


def gates_of(engine: EngineThread) -> Gates:
    """Give what all runs share that this process executes, in whatever store: a provider does not know our stores."""
    global _GATES  # noqa: PLW0603 - one a process is the point
    if _GATES is None or _GATES.kernel is not engine.host.kernel:
        _GATES = Gates(engine.host.kernel)
    return _GATES

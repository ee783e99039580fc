"""What is known of a run besides its events: the line it was admitted by."""

from __future__ import annotations

import msgspec

__all__ = ["Head"]


class Head(msgspec.Struct, frozen=True):
    """A run's admission.

    Attributes
    ----------
    run_id : str
    workflow : str
        Name of the workflow.
    mode : str
        "live" or "virtual".
    seed : int
        Of a virtual run; a live one draws from its id.
    started : int, microseconds since 1970 UTC
        Event times count from it; 0 for a virtual run.
    durability : str
        "strict", "group" or "memory".
    fingerprints : dict of str to str
        Of each node as it was when the run began; a resume compares.
    parent : str
        Id of the run that it was forked from; "" for one of its own.
    """

    run_id: str
    workflow: str
    mode: str = "live"
    seed: int = 0
    started: int = 0
    durability: str = "group"
    fingerprints: dict[str, str] = {}
    parent: str = ""

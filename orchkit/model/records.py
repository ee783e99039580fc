"""What is known of a run besides its events: the line it was admitted by, and the letters that were sent to it."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["ANSWER", "ESCALATION", "Head", "Letter"]


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
        The run that it was forked from; "" for one that was started.
    """

    run_id: str
    workflow: str
    mode: str = "live"
    seed: int = 0
    started: int = 0
    durability: str = "group"
    fingerprints: dict[str, str] = {}
    parent: str = ""


ANSWER: Final = "answer"
ESCALATION: Final = "escalation"


class Letter(msgspec.Struct, frozen=True):
    """What somebody says about an open question of a run that perhaps nobody executes just now.

    Attributes
    ----------
    id : str
        The same however often it is sent: it is recorded once.
    run, node : str
    item : int
        Index in the map's list; -1 when there is none.
    generation : int, from 1
        Of the question.
    kind : str
        `ANSWER` or `ESCALATION`.
    text : str
        JSON: the answer, or to whom the question is handed and why.
    by, via : str
        Who sent it, and from where.
    sent : int, microseconds since 1970 UTC
        When it was recorded, by the clock of whoever recorded it; 0 before.
    """

    id: str
    run: str
    node: str
    item: int
    generation: int
    kind: str
    text: str
    by: str = ""
    via: str = ""
    sent: int = 0

"""Events: the lines of a run's log, and the digests that say whether two logs are equal."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

import msgspec

__all__ = [
    "ATTEMPT_ENDS",
    "FINAL",
    "KINDS",
    "SAID",
    "SPARED",
    "TOLERATED",
    "Event",
    "canonical_digest",
    "decode_log",
    "encode_log",
    "exact_digest",
    "settles",
]

KINDS: Final = frozenset({
    "run_started", "started", "completed", "failed", "waiting", "hedged", "rejected", "tripped", "degraded", "skipped",
    "picked", "asked", "answered", "expired", "context", "injected", "invalidated", "paused", "resumed", "cancelled",
    "suspended", "run_ended", "settled", "judged", "called", "unpaused", "undone", "escalated",
})  # fmt: skip
"""The kinds of events; kinds may be added, never renamed."""

ATTEMPT_ENDS: Final = frozenset({"completed", "failed", "cancelled"})
"""What ends an attempt; one without any of these is run again under its own number."""

FINAL: Final = "final"
"""The status of a ``completed`` that nothing of its node comes after: no fence, no choice of a route, no other leg."""

TOLERATED: Final = "tolerated"
"""The status of a ``skipped`` item that has failed where a quorum gets over it."""

SPARED: Final = "spared"
"""The status of a ``skipped`` item that was given up, for what the quorum asks for is decided without it."""

_MARKS: Final = frozenset({"resumed", "suspended"})
SAID: Final = frozenset({"answered", "escalated"})  # by people; from where they said it is no part of what happened


class Event(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One line of a run's log.

    Attributes
    ----------
    t : int, microseconds since the start of the run
    kind : str
        One of `KINDS`.
    node : str
        Path of the node; "" for events of the run itself.
    item : int
        Index in the map's list; -1 when there is none.
    generation : int, from 1
        A fresh start of an instance after an intervention.
    leg, attempt : int
        Of a hedge, from 0; try, from 1 (0 where it does not apply).
    status : str
        What it came to, such as "error" or "timeout" of a failed attempt; `FINAL` of a completed one says that its
        instance has settled by it, and no ``settled`` follows.
    dur : int, microseconds
        Length of what ended here, or of the wait that begins here; -1 when it has none.
    cost : float, USD
    tokens : int
    error : str
        ``Type: message`` of what went wrong.
    by : str
        Who did it, for events of people; not part of any digest.
    key : str
        What the attempt is known by outside the run: for effects the idempotency key less the run id. Of an answer,
        and of what hands a question to somebody else: from where it came, and after a colon its letter's id.
    body : object
        JSON, with bytes where the type of a value has them: the value, the answer, the question, the target that was
        picked. What such bytes are (themselves, npy, an Arrow IPC stream) is told by the annotation that reads them.
    """

    t: int
    kind: str
    node: str = ""
    item: int = -1
    generation: int = 1
    leg: int = 0
    attempt: int = 0
    status: str = ""
    dur: int = -1
    cost: float = 0.0
    tokens: int = 0
    error: str = ""
    by: str = ""
    key: str = ""
    body: Any = None


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[Event])


def settles(event: Event) -> bool:
    """Say whether an instance has come to its end by an event: it delivered, failed, or was skipped.

    Examples
    --------
    >>> settles(Event(0, "completed", "draft", status=FINAL)), settles(Event(0, "completed", "draft", status="ok"))
    (True, False)
    """
    return event.kind in {"settled", "skipped"} or (event.kind == "completed" and event.status == FINAL)


def encode_log(events: Iterable[Event]) -> bytes:
    """Pack events into msgpack.

    Examples
    --------
    >>> decode_log(encode_log([Event(0, "run_started", body={"input": [1]})]))[0].body
    {'input': [1]}
    """
    return _ENCODER.encode(list(events))


def decode_log(packed: bytes) -> list[Event]:
    """Unpack what `encode_log` packed."""
    return _DECODER.decode(packed)


def _unmarked(events: Iterable[Event]) -> list[Event]:
    return [
        msgspec.structs.replace(event, by="", key="" if event.kind in SAID else event.key)
        if event.by or event.kind in SAID
        else event
        for event in events
        if event.kind not in _MARKS
    ]


def exact_digest(events: Iterable[Event]) -> str:
    """Digest a virtual log whole and in order.

    Leaves out who acted and the marks of resuming, so a run that was cut and resumed has the digest of one that
    was not. blake2b with 128 bits, as 32 hex digits.
    """
    return blake2b(_ENCODER.encode(_unmarked(events)), digest_size=16).hexdigest()


def canonical_digest(events: Iterable[Event]) -> str:
    """Digest a live log grouped by instance with times dropped: harmless reordering is not a difference."""
    groups: dict[tuple[str, int, int], list[Event]] = {}
    for event in _unmarked(events):
        # `waiting` carries a drawn length; the length of an attempt is measured and differs each time.
        dur = event.dur if event.kind == "waiting" else -1
        timeless = msgspec.structs.replace(event, t=0, dur=dur)
        groups.setdefault((event.node, event.item, event.leg), []).append(timeless)
    ordered = [groups[key] for key in sorted(groups)]
    return blake2b(_ENCODER.encode(ordered), digest_size=16).hexdigest()

"""Questions: what a log says of them, and how one of several is named."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from orchkit.errors import AnswerLate, ApprovalUnknown
from orchkit.model.events import Event
from orchkit.model.records import Head, Letter
from orchkit.model.wording import nearest

__all__ = [
    "TAKEN", "Key", "asking_order", "deadline", "edits", "fate", "find_question", "key_of_letter", "late",
    "open_questions", "question_id", "refuse_unknown", "utc",
]  # fmt: skip

Key = tuple[str, int]
"""Of a question: its node, and its item or -1."""

TAKEN: Final = "taken"

_ITEM: Final = re.compile(r"(.+)\[(\d+)\]", re.DOTALL)
_NUMBER: Final = re.compile(r"(\d+)")
_EPOCH: Final = datetime(1970, 1, 1)


def open_questions(events: Iterable[Event]) -> dict[Key, Event]:
    """Give the ``asked`` events without an answer, by question; also of a run that stopped before one came."""
    open_: dict[Key, Event] = {}
    for event in events:
        if event.kind == "asked":
            open_[event.node, event.item] = event
        elif event.kind in ("answered", "expired") or (event.kind == "invalidated" and event.item >= 0):
            open_.pop((event.node, event.item), None)
        elif event.kind == "invalidated":
            open_ = {key: asked for key, asked in open_.items() if key[0] != event.node}
        elif event.kind == "run_ended" and event.status in ("completed", "degraded"):
            open_ = {}
    return open_


def asking_order(t: float, node: str, item: int = -1) -> tuple[Any, ...]:
    """Give what questions are sorted by: when they were asked, and at one instant their name, items as numbers.

    It is the same before and after a restart, whoever is first told of the questions then.

    Examples
    --------
    >>> sorted(["each[10]/review", "each[9]/review"], key=lambda node: asking_order(0, node))
    ['each[9]/review', 'each[10]/review']
    """
    parts = _NUMBER.split(question_id(node, item))
    return t, [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]


def question_id(node: str, item: int = -1) -> str:
    """Name a question within its run.

    Examples
    --------
    >>> question_id("review"), question_id("review", 3)
    ('review', 'review[3]')
    """
    return node if item < 0 else f"{node}[{item}]"


def find_question(open_: Collection[Key], name: str, item: int | None, run_id: str) -> Key | None:
    """Give the open question that is meant by a name, with an item or its id; None if there is none.

    Raises
    ------
    ApprovalUnknown
        If the name fits several.
    """
    named = _ITEM.fullmatch(name)
    if named is not None and not any(node == name for node, _ in open_):
        name, inside = named[1], int(named[2])
        if item not in (None, inside):
            return None
        item = inside
    hits = [key for key in open_ if key[0] == name and item in (None, key[1])]
    # Within a scope it is known by what it is called there too.
    hits = hits or [key for key in open_ if name in _names_within(key[0]) and item in (None, key[1])]
    if len(hits) > 1:
        listed = ", ".join(question_id(*key) for key in hits[:8]) + (", ..." if len(hits) > 8 else "")
        raise ApprovalUnknown(
            f"{name!r} of run {run_id!r} asks {len(hits)} questions: {listed}; name one of them by its id or by item=",
            run_id=run_id,
            node=name,
        )
    return hits[0] if hits else None


def _names_within(path: str) -> tuple[str, str]:
    last = path.rpartition("/")[2].partition("(")[0]
    return last, last.removeprefix("escalate:")


def refuse_unknown(head: Head, events: Sequence[Event], open_: Collection[Key], name: str, item: int | None) -> None:
    """Say why a name is no open question.

    Raises
    ------
    AnswerLate
        If it was one.
    ApprovalUnknown
        If it was not.
    """
    said = {(event.node, event.item) for event in events if event.kind in ("answered", "expired")}
    try:
        settled = find_question(said, name, item, head.run_id)
    except ApprovalUnknown:
        settled = None
    if settled is not None:
        raise late(head, events, *settled)
    names = [question_id(*key) for key in open_]
    if not names:
        raise ApprovalUnknown(
            f"run {head.run_id!r} does not ask {name!r} now; open: none", run_id=head.run_id, node=name
        )
    hint = nearest(name, names).replace("there are:", "open:")
    raise ApprovalUnknown(f"run {head.run_id!r} does not ask {name!r} now; {hint}", run_id=head.run_id, node=name)


def late(head: Head, events: Sequence[Event], node: str, item: int, generation: int = 0) -> AnswerLate:
    """Say who was first, and when; `generation` 0 looks at the last."""
    who = f"{question_id(node, item)!r} of run {head.run_id!r}"
    ids: dict[str, Any] = {"run_id": head.run_id, "node": node, "item": item if item >= 0 else None}
    first = _settled_by(events, node, item, generation)
    if first is None:
        return AnswerLate(f"{who} is not open any more: it is asked anew, or the run has ended", **ids)
    at = utc(head.started + first.t)
    if first.kind == "expired":
        return AnswerLate(f"{who} expired at {at} UTC without an answer", at=at, **ids)
    who_first = repr(first.by) if first.by else "somebody who gave no name"
    return AnswerLate(f"{who} was answered by {who_first} at {at} UTC, which was first", by=first.by, at=at, **ids)


def _settled_by(events: Sequence[Event], node: str, item: int, generation: int) -> Event | None:
    for event in reversed(events):
        if event.node == node and event.item == item and event.kind in ("answered", "expired"):
            return event if generation in (0, event.generation) else None
    return None


def fate(head: Head, events: Sequence[Event], letter: Letter) -> str | None:
    """Say what became of a letter as far as the log tells; None as long as its question is open.

    `TAKEN`, or "late: " and who was first.
    """
    key = key_of_letter(letter)
    if any(event.key == key and event.kind in ("answered", "escalated") for event in events):
        return TAKEN
    asked = open_questions(events).get((letter.node, letter.item))
    if asked is not None and asked.generation == letter.generation:
        return None
    return f"late: {late(head, events, letter.node, letter.item, letter.generation)}"


def key_of_letter(letter: Letter) -> str:
    """Give the key of the event that records it."""
    return f"{letter.via}:{letter.id}"


def deadline(base: int, asked: Event) -> int | None:
    """Give when a question expires by the wall, in microseconds since 1970; None for never.

    Parameters
    ----------
    base : int, microseconds since 1970
        When its run began.
    asked : Event
    """
    return None if asked.dur < 0 else base + asked.t + asked.dur


def edits(shown: Any, answer: Any) -> dict[str, list[Any]]:
    """Give the fields that were prefilled and are another in the answer: ``{field: [before, after]}``.

    Parameters
    ----------
    shown : object
        The body of the ``asked`` event.
    answer : object
        That of the ``answered`` one.

    Examples
    --------
    >>> edits({"show": None, "prefill": {"text": "Dear", "tone": "dry"}}, {"text": "Hello", "tone": "dry"})
    {'text': ['Dear', 'Hello']}
    """
    prefill = shown.get("prefill") if isinstance(shown, Mapping) else None
    if not isinstance(prefill, Mapping) or not isinstance(answer, Mapping):
        return {}
    return {name: [before, answer.get(name)] for name, before in prefill.items() if answer.get(name) != before}


def utc(micros: int) -> str:
    """Write a time to the second."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat(" ", "seconds")

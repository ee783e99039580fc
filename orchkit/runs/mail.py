"""Letters: an answer to a run that this process does not execute, and waiting for what becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import count
from typing import Any, Final, Protocol

import msgspec

from orchkit.clock.ids import wall_micro
from orchkit.clock.live import engine_thread
from orchkit.errors import AnswerInvalid, AnswerLate, CodecError, RunError
from orchkit.model.codec import codec_for
from orchkit.model.events import Event
from orchkit.model.graph import Graph
from orchkit.model.plain import has_bytes, plain
from orchkit.model.protocols import RunStore
from orchkit.model.questions import (
    TAKEN,
    Key,
    deadline,
    fate,
    find_question,
    late,
    open_questions,
    question_id,
    refuse_unknown,
    utc,
)
from orchkit.model.records import ANSWER, ESCALATION, Head, Letter
from orchkit.model.steps import Node
from orchkit.runs.changes import recorded_fingerprints
from orchkit.runs.fingerprint import fingerprints

__all__ = ["Mailbox", "checked_text", "fitted", "mailbox_of", "over", "send_answer", "send_escalation"]

_PATIENCE: Final = 10.0  # seconds that whoever executes the run may take
_LOOK: Final = 0.05  # seconds between two looks
_LOOKS: Final = 20  # of which the first asks whether the run is executed at all
_LETTERS = count(1)


class Mailbox(RunStore, Protocol):
    """A store that takes letters."""

    mailed: threading.Event

    def post(self, letter: Letter) -> Letter:
        """Record a letter, once however often it is sent."""

    def unread(self, runs: Sequence[str], *, fenced: bool) -> list[Letter]:
        """Give the letters to some runs of which nobody has said what became of them."""

    def outcome(self, letter_id: str) -> str | None:
        """Give what became of a letter."""

    def tell(self, letter: Letter, said: str) -> None:
        """Say what became of a letter."""

    def holders(self) -> Mapping[str, Any]:
        """Give the living processes that execute runs, by run."""

    def hears_all(self) -> bool:
        """Say whether every letter is recorded by this process, which sets `mailed` then."""

    def is_closed(self) -> bool:
        """Say whether it can be asked no more."""


def mailbox_of(store: Any) -> Mailbox | None:
    """Give the store as one that takes letters, if it does: what is in memory nobody else can write to."""
    return store if hasattr(store, "post") else None


def checked_text(what: str, text: str, run_id: str) -> str:
    """Give a text that can be recorded.

    Raises
    ------
    RunError
        If it is none.
    """
    # Before it goes to the engine: a record that cannot be stored would end the run.
    if not isinstance(text, str):
        raise RunError(f"{what}={text!r}: give a str", run_id=run_id)
    return str(plain(text, what))


def fitted(spec: Node, redact: frozenset[str], value: Any, run_id: str, *, recorded: bool = False) -> Any:
    """Give an answer as it is recorded.

    Parameters
    ----------
    spec : Node
        The approval.
    redact : frozenset of str
        Fields whose values no record shows.
    value : object
    run_id : str
    recorded : bool
        The value is JSON that was recorded, and not what the answer's annotation describes.

    Raises
    ------
    AnswerInvalid
        If it does not fit.
    """
    codec = codec_for(spec.answer, redact)
    try:
        return codec.dump(codec.load(value) if recorded else value, spec.name)
    except (ValueError, TypeError) as error:
        if isinstance(error, CodecError):
            error.run_id = run_id
        raise AnswerInvalid(
            f"the answer to {spec.name!r} does not fit {getattr(spec.answer, '__name__', spec.answer)}: {error}; "
            "the question stays open, correct it and send it again",
            run_id=run_id,
            node=spec.name,
        ) from error


def _approval(graph: Graph, path: str) -> Node | None:
    """Give the approval of the workflow itself that a path names; what lies within its nodes is judged there."""
    return graph.nodes[graph.index[path]] if path in graph.index else None


def send_answer(
    store: Mailbox,
    head: Head,
    graph: Graph | None,
    name: str,
    value: Any,
    *,
    by: str,
    via: str,
    item: int | None,
) -> str | None:
    """Send an answer to a run that another process executes, or nobody; wait until it is known what became of it.

    Parameters
    ----------
    store : Mailbox
    head : Head
    graph : Graph, optional
        Of the workflow that bears its name here. Without one, whoever takes the value sees whether it fits. So he does
        where this one is not as the run has recorded it, unless it redacts: what nobody has read is sent as it is.
    name : str
    value : object
    by, via : str
    item : int, optional

    Returns
    -------
    str or None
        None if the answer is in the run's log; else where it lies, and who will take it.

    Raises
    ------
    ApprovalUnknown
        If no such question is open, or several are.
    AnswerInvalid
        If it does not fit; the question stays open.
    AnswerLate
        If another answer or the deadline came first.
    """

    def write(key: Key, events: list[Event]) -> str:
        plainly = _as_recorded(head, events, graph, key[0], value)
        if has_bytes(plainly):
            raise AnswerInvalid(
                f"the answer to {key[0]!r} holds bytes, which no letter takes; answer it where the run is executed",
                run_id=head.run_id,
                node=key[0],
            )
        return msgspec.json.encode(plainly).decode()

    return _send(store, head, ANSWER, name, item, write, by, via)


def send_escalation(
    store: Mailbox, head: Head, name: str, *, to: str, why: str, by: str, via: str, item: int | None
) -> str | None:
    """Hand a question of such a run to somebody else; as `send_answer`."""
    text = msgspec.json.encode({"to": to, "why": why}).decode()
    return _send(store, head, ESCALATION, name, item, lambda *_: text, by, via)


def _as_recorded(head: Head, events: list[Event], graph: Graph | None, path: str, value: Any) -> Any:
    spec = None if graph is None else _approval(graph, path)
    if graph is None or spec is None:
        return _plainly(value, path)
    try:
        return fitted(spec, graph.redact, value, head.run_id)
    except AnswerInvalid:
        # A workflow of the same name may be another one, or newer than the run: then it is not the one to judge.
        if graph.redact or recorded_fingerprints(head, events).get(spec.name) == fingerprints(graph)[spec.name]:
            raise
        return _plainly(value, path)


def _plainly(value: Any, node: str) -> Any:
    try:
        return plain(value, "", node)
    except CodecError as error:
        try:
            return codec_for(type(value)).dump(value, node)  # a model or the like says itself what it is as JSON
        except (ValueError, TypeError):
            raise AnswerInvalid(f"the answer to {node!r} is no JSON: {error}", node=node) from error


def _send(
    store: Mailbox,
    head: Head,
    kind: str,
    name: str,
    item: int | None,
    write: Callable[[Key, list[Event]], str],
    by: str,
    via: str,
) -> str | None:
    if engine_thread().on_it():
        raise RunError("run.answer was called on the engine's own thread, which it would block; await it elsewhere")
    events = store.events(head.run_id)
    asked = _asked(head, events, name, item)
    before = [one for one in store.unread([head.run_id], fenced=False) if _same_question(one, asked)]
    letter = Letter(
        _letter_id(), head.run_id, asked.node, asked.item, asked.generation, kind,
        write((asked.node, asked.item), events), by, via,
    )  # fmt: skip
    return _wait(store, head, asked, store.post(letter), before)


def _asked(head: Head, events: list[Event], name: str, item: int | None) -> Event:
    open_ = open_questions(events)
    key = find_question(open_, name, item, head.run_id)
    if key is None:
        refuse_unknown(head, events, open_, name, item)
        raise AssertionError
    ends = deadline(head.started, open_[key])
    if ends is not None and wall_micro() > ends:
        raise over(head, open_[key], ends)
    return open_[key]


def over(head: Head, asked: Event, ends: int) -> AnswerLate:
    """Say that the time to answer a question is over."""
    who = question_id(asked.node, asked.item)
    return AnswerLate(
        f"{who!r} of run {head.run_id!r} could be answered until {utc(ends)} UTC",
        run_id=head.run_id,
        node=asked.node,
        at=utc(ends),
    )


def _same_question(letter: Letter, asked: Event) -> bool:
    return letter.kind == ANSWER and (letter.node, letter.item, letter.generation) == (
        asked.node, asked.item, asked.generation,
    )  # fmt: skip


def _letter_id() -> str:
    # Imported here: only who sends one needs to know which process it is.
    from orchkit.store.holder import this_process

    return blake2b(f"{this_process().name}/{next(_LETTERS)}".encode(), digest_size=8).hexdigest()


def _wait(store: Mailbox, head: Head, asked: Event, letter: Letter, before: list[Letter]) -> str | None:
    ends = deadline(head.started, asked)
    until = wall_micro() + int(_PATIENCE * 1e6)
    looks = 0
    while True:
        said = store.outcome(letter.id)
        holder = None
        if said is None and looks % _LOOKS == 0:
            holder = store.holders().get(letter.run)
            said = fate(head, store.events(letter.run), letter)
            if said is not None and holder is None:
                store.tell(letter, said)  # whoever executed the run did not come to it
            if said is None and ends is not None and letter.sent > ends:
                store.tell(letter, f"late: it could be answered until {utc(ends)} UTC")
                raise over(head, asked, ends)
            if said is None and holder is None:
                return _kept(letter, before)
        if said is not None:
            _heard(store, head, letter, said)
            return None
        looks += 1
        if wall_micro() > until:
            return f"sent: the process that executes run {letter.run!r} has not taken it yet"
        threading.Event().wait(_LOOK)


def _heard(store: Mailbox, head: Head, letter: Letter, said: str) -> None:
    if said == TAKEN:
        return
    what, _, why = said.partition(": ")
    if what == "invalid":
        raise AnswerInvalid(why, run_id=letter.run, node=letter.node)
    raise late(head, store.events(letter.run), letter.node, letter.item, letter.generation)


def _kept(letter: Letter, before: list[Letter]) -> str:
    told = f"kept: nobody executes run {letter.run!r}; it counts, and is taken when the run is resumed"
    if letter.kind == ANSWER and before:
        first = before[0]
        told += f", unless the one that {first.by or 'somebody'!r} sent before it, at {utc(first.sent)} UTC, is valid"
    return told

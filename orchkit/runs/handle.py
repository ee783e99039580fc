"""Handles: what a run shows of itself, whether it is live, simulated or read from a store."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, Protocol

from orchkit.engine.program import Program
from orchkit.errors import ApprovalUnknown, ContextConflict, DeadlineExceeded, DefinitionError, RunCancelled, RunError
from orchkit.model.codec import codec_for
from orchkit.model.events import ATTEMPT_ENDS, Event, canonical_digest, exact_digest, settles
from orchkit.model.fold import fold
from orchkit.model.graph import Graph
from orchkit.model.items import ItemFailed, is_failed_item
from orchkit.model.nesting import element_type
from orchkit.model.paths import segment_of, split_path
from orchkit.model.protocols import RunStore
from orchkit.model.questions import open_questions, refuse_unknown
from orchkit.model.records import Head
from orchkit.model.shared import winning_writes
from orchkit.model.state import RunState, result_of
from orchkit.runs.mail import Mailbox, checked_text, mailbox_of, send_answer, send_escalation
from orchkit.runs.operating import Deed, is_paused, refusal
from orchkit.runs.sources import Elsewhere, Recorded, Source

__all__ = [
    "Handle",
    "PastRun",
    "attempts_in_flight",
    "failed_end",
    "failing_key",
    "last_try",
    "only_people",
    "receipt",
    "run_error",
    "shared_of",
    "typed_result",
]

_CONFLICT = f"{ContextConflict.__name__}: "
_OVERDUE = f"{DeadlineExceeded.__name__}: "


class Handle(Protocol):
    """One run, from outside."""

    head: Head
    program: Program | None
    store: RunStore | None
    deps: object
    on_interrupt: str
    """What becomes of it when whoever awaits it is interrupted: "suspend", "cancel" or "detach"."""

    def log(self) -> list[Event]:
        """Give its events so far."""

    def source(self) -> Source:
        """Give what a stream of its events reads."""

    def status(self) -> str:
        """Give its status, one of those in the documentation of `Run`."""

    def outcome(self) -> Future[Any]:
        """Give the future of its result, which raises `RunError` when it ended without one."""

    def paused(self) -> bool:
        """Say whether somebody has paused it."""

    def settled(self) -> Future[None]:
        """Give a future that is done when only people are awaited, or nobody."""

    def pending(self) -> list[Event]:
        """Give the questions that are open, as their ``asked`` events."""

    def answer(self, name: str, value: Any, *, by: str, item: int | None, via: str) -> str | None:
        """Answer one of them; returns when the answer is durable, with where it lies if it is not taken yet."""

    def escalate(self, name: str, *, to: str, by: str, why: str, item: int | None, via: str) -> str | None:
        """Hand one of them to somebody else; as `answer`."""

    def cancel(self, *, by: str, why: str, undo: bool) -> None:
        """End it; what is recorded stays."""

    def suspend(self, *, by: str, why: str) -> None:
        """Stop it for now; it can be resumed."""

    def operate(self, deed: Deed) -> None:
        """Do what somebody wants of it; returns when that is durable."""


class PastRun:
    """A run that nothing executes in this process: simulated to its end, or read from a store.

    Parameters
    ----------
    head : Head
    events : sequence of Event
    program : Program, optional
        With it, results have their types again.
    error : RunError, optional
        What ended it, when its log cannot tell.
    holder : object, optional
        The process that executes it, with ``pid`` and ``host``.
    store : RunStore, optional
        Where it is kept.
    knows : callable, optional
        Gives the graph of its workflow if that is known here, for answers to be validated by.
    """

    on_interrupt = "suspend"

    def __init__(
        self,
        head: Head,
        events: Sequence[Event],
        program: Program | None = None,
        error: BaseException | None = None,
        holder: Any = None,
        store: RunStore | None = None,
        knows: Callable[[], Graph | None] = lambda: None,
    ) -> None:
        self.head = head
        self.store = store
        self.program = program
        self.deps: object = None  # nobody records them
        self._events = list(events)
        self._error = error
        self._holder = holder
        self._knows = knows

    def log(self) -> list[Event]:
        """Give its events."""
        return list(self._events)

    def source(self) -> Source:
        """Give its log, and what is still to come if another process executes it."""
        if self._holder is None or self.store is None:
            return Recorded(self._events)
        return Elsewhere(self.store, self.head.run_id)

    def status(self) -> str:
        """Give what `run_ended` says, or "suspended" or "orphaned"; of what another process executes, what it does."""
        last = self._events[-1] if self._events else None
        if last is None or last.kind not in ("run_ended", "suspended"):
            if self._holder is None:
                return "orphaned"
            return "waiting" if only_people(self._events) or self._is_quiet() else "running"
        return last.status if last.kind == "run_ended" else "suspended"

    def outcome(self) -> Future[Any]:
        """Give a future that is already done."""
        future: Future[Any] = Future()
        error = self._error or self._failure()
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(self._value())
        return future

    def _value(self) -> Any:
        if self.program is None:
            return self._events[-1].body
        return typed_result(self.program, fold(self.program.graph, self._events))

    def _failure(self) -> BaseException | None:
        status = self.status()
        if status in ("completed", "degraded"):
            return None
        if status in ("running", "waiting"):
            return self._elsewhere()
        if status in ("orphaned", "suspended"):
            return RunError(
                f"run {self.head.run_id!r} has no end and nothing executes it here; go on with "
                f"store.resume({self.head.run_id!r}, workflow)",
                run_id=self.head.run_id,
            )
        return run_error(self.head, self._events)

    def paused(self) -> bool:
        """Say whether its log leaves it paused."""
        return is_paused([event.kind for event in self._events])

    def _is_quiet(self) -> bool:
        return self.paused() and not attempts_in_flight(self._events)

    def settled(self) -> Future[None]:
        """Give a future that is already done."""
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def pending(self) -> list[Event]:
        """Give the questions without an answer in the log of an unfinished run."""
        if not self._open():
            return []
        return list(open_questions(self._events).values())

    def answer(self, name: str, value: Any, *, by: str, item: int | None, via: str = "python") -> str | None:
        """Send the answer to whoever executes the run, or will; refused for a run that asks nothing any more."""
        store = self._mailbox(name, item)
        by = checked_text("by", by, self.head.run_id)
        return send_answer(store, self.head, self._graph(), name, value, by=by, via=via, item=item)

    def escalate(self, name: str, *, to: str, by: str, why: str, item: int | None, via: str = "python") -> str | None:
        """Hand a question to somebody else, by whoever executes the run, or will."""
        store = self._mailbox(name, item)
        to, by, why = (checked_text(*one, self.head.run_id) for one in (("to", to), ("by", by), ("why", why)))
        return send_escalation(store, self.head, name, to=to, by=by, why=why, via=via, item=item)

    def _mailbox(self, name: str, item: int | None) -> Mailbox:
        store = mailbox_of(self.store)
        if store is None or self.head.mode == "virtual" or self.status() in ("completed", "degraded"):
            with suppress(ApprovalUnknown):
                refuse_unknown(self.head, self._events, (), name, item)
            raise self._idle(name)
        return store

    def _graph(self) -> Graph | None:
        return self._knows() if self.program is None else self.program.graph

    def cancel(self, *, by: str, why: str, undo: bool) -> None:
        """Refuse for a run without an end: a later resume would not know; nothing to do for one that has ended."""
        if self._open():
            raise self._idle()

    def suspend(self, *, by: str, why: str) -> None:
        """Refuse for a run without an end: nothing executes it; nothing to do for one that has ended."""
        if self._open():
            raise self._idle()

    def operate(self, deed: Deed) -> None:
        """Refuse, and say what to do instead."""
        if self._holder is not None and self._open():
            raise self._elsewhere()
        if self.head.mode == "virtual":
            raise RunError(
                f"{deed.said}: run {self.head.run_id!r} was simulated, and is over; act on one from wf.start, or "
                "simulate a world that gives other values",
                run_id=self.head.run_id,
            )
        raise refusal(self.head.run_id, self.status(), deed.said)

    def _open(self) -> bool:
        return self.status() in ("orphaned", "suspended", "running", "waiting")

    def _elsewhere(self) -> RunError:
        who = f"process {self._holder.pid} on {self._holder.host}"
        return RunError(
            f"run {self.head.run_id!r} is executed by {who}; act on it there, and look again by "
            f"store.run({self.head.run_id!r})",
            run_id=self.head.run_id,
        )

    def _idle(self, node: str = "") -> RunError:
        if self._holder is not None and self._open():
            return self._elsewhere()
        run_id, status = self.head.run_id, self.status()
        if self.head.mode == "virtual":
            return RunError(f"run {run_id!r} was simulated, and is over: it asks nothing", run_id=run_id, node=node)
        again = self._open() or status in ("failed", "cancelled")
        todo = f"resume it first: store.resume({run_id!r}, workflow)" if again else "it has ended and asks nothing"
        return RunError(f"run {run_id!r} is {status}; {todo}", run_id=run_id, node=node)


def only_people(events: Sequence[Event]) -> list[Event]:
    """Give the questions that a log without an end waits for, if it waits for nothing else."""
    asked: dict[tuple[str, int], Event] = {}
    busy: set[tuple[str, int]] = set()
    for event in events:
        prefix, name = split_path(event.node)
        instance = node, item = prefix + name, event.item
        if event.kind in ("started", "waiting"):
            busy.add(instance)
        elif event.kind == "asked":
            asked[instance] = event
        elif event.kind == "invalidated" or settles(event):
            gone = {one for one in (*busy, *asked) if one[0] == node and item in (-1, one[1])}
            busy -= gone
            asked = {one: question for one, question in asked.items() if one not in gone}
    return [] if busy else list(asked.values())


def attempts_in_flight(events: Sequence[Event]) -> bool:
    """Say whether a log leaves an attempt open, other than one that waits for what it has opened."""
    going: set[tuple[str, int, int, int]] = set()
    for event in events:
        attempt = event.node, event.item, event.leg, event.attempt
        if event.kind == "started":
            inside = split_path(event.node)[0]
            going = {one for one in going if not (inside and _lies_in(inside, one))} | {attempt}
        elif event.kind in ATTEMPT_ENDS:
            going.discard(attempt)
    return bool(going)


def _lies_in(prefix: str, attempt: tuple[str, int, int, int]) -> bool:
    node, item, leg, n = attempt
    return re.fullmatch(rf"{re.escape(segment_of(node, item, leg, n)[:-1])}(#\d+)?/", prefix) is not None


def receipt(head: Head, events: Sequence[Event]) -> str:
    """Give a log's digest, and which kind it is: ``exact:...`` or ``canonical:...``."""
    if head.mode == "virtual":
        return f"exact:{exact_digest(events)}"
    return f"canonical:{canonical_digest(events)}"


def typed_result(program: Program, state: RunState) -> Any:
    """Rebuild a run's result with the types that its steps declare.

    Raises
    ------
    pydantic.ValidationError
        If the recorded value does not fit the annotation it has today.
    """
    return result_of(state, partial(_typed, program, state))


def _typed(program: Program, state: RunState, node: int) -> Any:
    spec, value = program.graph.nodes[node], state.values[node]
    if value is None or spec.kind == "route":
        return value
    if spec.over is None:
        return codec_for(element_type(spec), program.graph.redact).load(value)
    failed = spec.on_error == "collect"
    one = codec_for(element_type(replace(spec, on_error="fail")), program.graph.redact)
    return [ItemFailed(**each) if failed and is_failed_item(each) else one.load(each) for each in value]


def shared_of(program: Program | None, run_id: str, events: Sequence[Event]) -> Any:
    """Give the shared context that a log comes to: the model with its program, without it what each step wrote.

    Raises
    ------
    ContextConflict
        If two nodes, neither before the other, wrote a field without a merge rule.
    DefinitionError
        If the workflow has no context.
    """
    if program is None:
        return _written(events)
    shared = fold(program.graph, events).shared
    if shared is None:
        raise DefinitionError(
            f"workflow {program.graph.name!r} has no shared context; describe it by wf.context(Model)"
        )
    conflict = shared.conflict(shared.everyone)
    if conflict is not None:
        raise _conflict(conflict, run_id)
    return shared.model.load(shared.whole())


def _written(events: Sequence[Event]) -> dict[str, dict[str, Any]]:
    open_: dict[tuple[str, int], list[Event]] = {}
    written: dict[str, dict[str, Any]] = {}
    told = count(1)
    for event in events:
        if event.kind == "context" and not event.node:
            written[f"operator {next(told)}"] = event.body["changes"]
            continue
        key = "".join(split_path(event.node)), event.item
        if event.kind == "invalidated":
            gone = event.node if event.item < 0 else f"{event.node}[{event.item}]"
            written = {who: delta for who, delta in written.items() if who.partition("[")[0] != gone and who != gone}
            open_ = {who: log for who, log in open_.items() if who[0] != event.node or event.item not in (-1, who[1])}
            continue
        open_.setdefault(key, []).append(event)
        if event.kind != "skipped" and settles(event) and event.status != "failed":
            delta = winning_writes(open_.pop(key))
            if delta:
                written[key[0] + (f"[{event.item}]" if event.item >= 0 else "")] = delta
    return written


def run_error(head: Head, events: Sequence[Event]) -> RunError:
    """Say in one plain error how a run ended, from its log."""
    run_id = head.run_id
    last = events[-1]
    if last.status == "cancelled":
        return _cancelled(head, events)
    if last.error.startswith(_CONFLICT):
        return _conflict(last.error, run_id=run_id)
    if last.error.startswith(_OVERDUE):
        text = last.error.removeprefix(_OVERDUE)
        overdue = RunError(f"{text} (run {run_id!r}); resume it, and it goes on without a deadline", run_id=run_id)
        overdue.__cause__ = DeadlineExceeded(text, run_id=run_id)
        return overdue
    end = failed_end(events)
    if end is None:
        return RunError(
            f"run {run_id!r} ended {last.status} without a result, and no step of it is recorded as failed; look at "
            "the last rows of run.events, and start it again",
            run_id=run_id,
        )
    if end.error.startswith(_CONFLICT):
        return _conflict(end.error, run_id=run_id, node=end.node)
    tried = last_try(events, end)
    attempt = 0 if tried is None else tried.attempt
    item = f"[{end.item}]" if end.item >= 0 else ""
    times = f" on attempt {attempt}" if attempt > 1 else ""
    return RunError(
        f"{end.node}{item} failed{times}: {end.error} (run {run_id!r}){_not_undone(events)}",
        run_id=run_id,
        node=end.node,
        attempt=attempt,
        item=end.item if end.item >= 0 else None,
    )


def _not_undone(events: Sequence[Event]) -> str:
    last = max((i for i, event in enumerate(events) if event.kind == "resumed"), default=0)
    left = [event for event in events[last:] if event.kind == "undone" and event.status == "failed"]
    told = [f"{event.node}{f'[{event.item}]' if event.item >= 0 else ''} ({event.error})" for event in left]
    return f"; could not be undone: {', '.join(told)}" if told else ""


def _conflict(error: str, run_id: str, node: str = "") -> ContextConflict:
    return ContextConflict(f"{error.removeprefix(_CONFLICT)} (run {run_id!r})", run_id=run_id, node=node)


def _cancelled(head: Head, events: Sequence[Event]) -> RunCancelled:
    wish = next((event for event in reversed(events) if event.kind == "cancelled" and not event.node), None)
    who = f" by {wish.by}" if wish is not None and wish.by else ""
    why = f": {wish.body}" if wish is not None and wish.body else ""
    kept = head.durability != "memory"
    todo = f"go on with store.resume({head.run_id!r}, workflow)" if kept else "for a result start it again"
    return RunCancelled(
        f"run {head.run_id!r} was cancelled{who}{why}; what it recorded is kept in run.events; {todo}",
        run_id=head.run_id,
    )


def failed_end(events: Sequence[Event]) -> Event | None:
    """Give the end of what failed a run, in its present generation.

    It is that of the node that failed it, not of what it had got over before, and of that the innermost; or else the
    first skip, which led to the others.
    """
    ends: dict[tuple[str, int], Event] = {}
    for event in events:
        if event.kind in ("settled", "skipped"):
            if event.error:
                ends[event.node, event.item] = event
        elif event.kind == "invalidated":
            gone = [key for key in ends if key[0] == event.node and event.item in (-1, key[1])]
            for key in gone:
                del ends[key]
    top = next((end for end in ends.values() if end.kind == "settled" and not split_path(end.node)[0]), None)
    if top is None:
        return next((end for end in ends.values() if not split_path(end.node)[0]), None)
    return _innermost(list(ends.values()), top)


def _innermost(ends: Sequence[Event], top: Event) -> Event:
    """Give the end within a node's last attempt that failed it."""
    for end in reversed(ends):
        if end.kind == "settled" and _encloses(top, end) and top.error.endswith(end.error.partition(": ")[2]):
            return _innermost([one for one in ends if one is not top], end)
    return top


def _encloses(outer: Event, inner: Event) -> bool:
    mark = f"[{outer.item}]" if outer.item >= 0 else ""
    return (
        re.fullmatch(rf"{re.escape(outer.node + mark)}(~\d+)?(\.\d+)?(#\d+)?/", split_path(inner.node)[0]) is not None
    )


def last_try(events: Sequence[Event], end: Event) -> Event | None:
    """Give the last failed attempt of the instance that ended so, those of its fallbacks included."""
    failed = (event for event in reversed(events) if event.kind == "failed" and event.generation == end.generation)
    return next((event for event in failed if _owns(end, event)), None)


def _owns(end: Event, event: Event) -> bool:
    return event.item == end.item and split_path(event.node) == split_path(end.node)


def failing_key(events: Sequence[Event]) -> tuple[str, int] | None:
    """Give (path, item) of the failure that ended a run."""
    end = failed_end(events)
    return None if end is None or end.kind != "settled" else (end.node, end.item)

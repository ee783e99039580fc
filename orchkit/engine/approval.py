"""Approvals: a question to a person, awaited like anything else. Pausing is waiting, never raising."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchkit.clock.kernel import SIGNAL, TIMER, micro, suspend
from orchkit.engine.program import Seat
from orchkit.errors import SimulationError
from orchkit.model.events import Event
from orchkit.model.protocols import Outcome
from orchkit.model.questions import edits
from orchkit.model.steps import ITEM

if TYPE_CHECKING:
    from orchkit.engine.instance import Instance

__all__ = ["Answer", "asking"]


class Answer:
    """An answer on its way: what was said, by whom, and who is told what became of it.

    Parameters
    ----------
    value : object
        JSON, validated.
    by : str
    told : callable
        Called once with None when the answer is durable, or with the error that says why it was not taken.
    key : str
        From where it came, and after a colon the id of its letter if it has one; recorded.
    """

    __slots__ = ("by", "key", "told", "value")

    def __init__(self, value: Any, by: str, told: Callable[[BaseException | None], None], key: str = "") -> None:
        self.value = value
        self.by = by
        self.told = told
        self.key = key


async def asking(seat: Seat, inst: Instance, failure: str = "") -> Outcome:
    """Ask, wait for the first valid answer or the deadline, and record which came.

    With a `failure` it is asked in place of a node that has failed, and shows why.

    The question is durable before anybody can see it, the answer before whoever gave it is told so.
    """
    ex = inst.execution
    node, path = seat.node, inst.scope.path(seat.site)
    timeout = -1 if node.timeout is None else micro(node.timeout)
    shown: dict[str, Any] = {"show": None if node.show is None else _shown(inst, node.show)}
    if failure:
        shown["error"] = failure
    if node.prefill:
        shown["prefill"] = {name: _shown(inst, source) for name, source in node.prefill}
    asked = ex.emit(inst, Event(ex.t(), "asked", path, inst.item, inst.generation, dur=timeout, body=shown))
    if not _has_end(inst):
        await ex.fence(inst)
        _arm(seat, inst, asked, timeout)
        ex.questions.show(inst, seat, asked)
    try:
        answer = await suspend()
        ex.questions.hide(inst)
        if answer is None and ex.on_deadline is not None and not inst.records:
            # What was sent in time counts, and may lie in the store unread: it is looked for before the end is told.
            ex.on_deadline(inst, asked)
            answer = await suspend()
        if answer is None:
            ex.emit(inst, Event(ex.t(), "expired", path, inst.item, inst.generation))
            return Outcome("expired" if failure else "completed", None)
        answered = Event(
            ex.t(), "answered", path, inst.item, inst.generation,
            status="edited" if edits(asked.body, answer.value) else "",
            by=answer.by, key=answer.key if isinstance(answer, Answer) else "", body=answer.value,
        )  # fmt: skip
        _record_answer(inst, answered, answer)
        return Outcome("answered" if failure else "completed", answer.value)
    finally:
        # Also when cancelled: whoever has sent an answer waits to hear what became of it.
        inst.tell_late()


def _has_end(inst: Instance) -> bool:
    """Say whether the log that is fed back knows what came of this question."""
    return any(record.kind in ("answered", "expired") for record in inst.records or ())


def _shown(inst: Instance, source: str) -> Any:
    state = inst.scope.state
    return state.item_value(inst.node, inst.item) if source == ITEM else state.value(source)


def _record_answer(inst: Instance, answered: Event, answer: Answer | Outcome) -> None:
    ex = inst.execution
    before = ex.recorded
    try:
        ex.emit(inst, answered)
    finally:
        # Even if the record was the last that the engine made: in the log is yes, and not in the log is no.
        if isinstance(answer, Answer) and ex.recorded > before:
            inst.answers = [one for one in inst.answers if one is not answer]
            ex.journal.when_durable(answer.told)


def _arm(seat: Seat, inst: Instance, asked: Event, timeout: int) -> None:
    ex = inst.execution
    begin = ex.base + asked.t
    if timeout >= 0:
        ex.kernel.arm(inst, begin + timeout, TIMER)
    model = seat.site.model
    if model is None:
        return
    inputs = inst.scope.arguments(inst, seat.site, None) if model.wants_inputs else {}
    draw = model.decide(inputs, inst.scope.dice_at(inst, seat.site, 0, 1))
    if draw.latency is not None:
        try:
            value = seat.site.dump(draw.value, seat.node.name)
        except (TypeError, ValueError) as error:
            raise SimulationError(
                f"the world's answer for {seat.node.name!r} does not fit the question: {error}; give "
                "ok.person(answers=) what the approval's answer= describes"
            ) from error
        ex.kernel.arm(inst, begin + draw.latency, SIGNAL, Outcome("answered", value, by=draw.by))

"""The desk of a live run: where answers to its open questions arrive, from wherever they come.

They come from this process (`answer`), from an approver (`asked`), and as letters in the store that others have sent
(`take`, and `look_before_end` when a question is about to expire). Each is validated and delivered to the run as what
happened before anything that is overdue, and whoever sent it is told what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from orchkit.clock.ids import wall_micro
from orchkit.engine.approval import Answer
from orchkit.engine.policies.escalate import fits
from orchkit.errors import AnswerInvalid, AnswerLate, OrchkitError, RunError
from orchkit.model.events import Event
from orchkit.model.paths import ESCALATE
from orchkit.model.questions import (
    TAKEN,
    Key,
    deadline,
    fate,
    find_question,
    key_of_letter,
    late,
    open_questions,
    refuse_unknown,
)
from orchkit.model.records import ANSWER, ESCALATION, Head, Letter
from orchkit.runs.clerk import Approver, Clerk, Question
from orchkit.runs.mail import checked_text, fitted, mailbox_of, over
from orchkit.runs.postman import Look, postman_of

if TYPE_CHECKING:
    from orchkit.clock.live import EngineThread
    from orchkit.engine.execution import Execution
    from orchkit.engine.instance import Instance
    from orchkit.engine.program import Seat
    from orchkit.model.graph import Graph
    from orchkit.model.protocols import RunStore

__all__ = ["Desk"]


class Desk:
    """Takes answers to the open questions of one run that this process executes.

    Parameters
    ----------
    head : Head
    graph : Graph
    execution : Execution
    engine : EngineThread
    store : RunStore
    approver : callable, optional
        Asked for each question.
    """

    def __init__(
        self,
        head: Head,
        graph: Graph,
        execution: Execution,
        engine: EngineThread,
        store: RunStore,
        approver: Approver | None,
    ) -> None:
        self._head = head
        self._graph = graph
        self._execution = execution
        self._engine = engine
        self._store = store
        self._mailbox = mailbox_of(store)
        self._postman = None if self._mailbox is None else postman_of(self._mailbox)
        self._clerk: Clerk | None = None if approver is None else Clerk(approver, self._approve)
        self._handled: set[str] = set()  # letters that are on their way, or of which was said what became of them
        self._due = False
        self._askers: dict[Key, tuple[Instance, Seat]] = {}
        if self._postman is not None:
            execution.on_deadline = self._about_to_expire

    @property
    def run_id(self) -> str:
        """The run's."""
        return self._head.run_id

    def close(self) -> None:
        """Take nothing more: the run has ended, or is executed here no more."""
        self._execution.on_deadline = self._clerk = None  # or what has ended would be a cycle
        self._askers.clear()
        if self._postman is not None:
            self._postman.leave(self)

    # On the engine's thread

    def asked(self) -> None:
        """See to the question that has just become visible."""
        self._askers.update(self._execution.questions.askers)
        if self._postman is not None:
            self._postman.watch(self)
        if self._clerk is not None:
            # What was put there last: dicts keep the order, and a question that is shown anew was taken out before.
            (name, item), asked = next(reversed(self._execution.pending.items()))
            self._clerk.ask(Question.of(self.run_id, name, item, asked), asked)

    def look_at_once(self) -> None:
        """Read what was sent while nobody executed the run, also to what is not open any more."""
        if self._postman is not None and any(event.kind == "asked" for event in self._execution.events):
            self._due = True
            self._postman.watch(self)

    def _about_to_expire(self, inst: Instance, asked: Event) -> None:
        assert self._postman is not None
        self._postman.look(Look(self, inst, inst.token, asked))

    def _deliver(self, key: Key, asked: Event | None, answer: Answer) -> None:
        inst, _ = self._execution.questions.askers.get(key, (None, None))
        # The very one: by now it may be asked anew, about something else.
        if inst is None or asked is None or self._execution.pending.get(key) is not asked:
            answer.told(AnswerLate("another answer, or the deadline, was first"))
            return
        inst.answers = [*inst.answers, answer]
        # Filed like an outcome, before what is overdue: nobody is punished for a loop that was busy.
        self._engine.host.deliver(inst, inst.token, answer)

    def _go_on(self, inst: Instance, token: int, answer: Answer | None) -> None:
        if answer is not None and inst.token != token:
            answer.told(AnswerLate("the run was stopped first"))
            return
        if answer is not None:
            inst.answers = [*inst.answers, answer]
        self._engine.host.deliver(inst, token, answer)

    def _hand_on(self, key: Key, event: Event, told: Callable[[BaseException | None], None]) -> None:
        """Record that a question was handed to somebody else."""
        execution = self._execution
        if key not in execution.pending:
            told(AnswerLate("the question is not open any more"))
            return
        self._engine.host.stamp()
        generation = execution.pending[key].generation
        try:
            execution.record(msgspec.structs.replace(event, t=execution.t(), generation=generation))
        except BaseException as error:
            execution.abort(error)
            told(error)
            return
        execution.journal.when_durable(told)

    # From anywhere but the engine's thread

    def answer(self, name: str, value: Any, *, by: str, via: str, item: int | None) -> None:
        """Answer an open question; returns when the answer is durable.

        Raises
        ------
        ApprovalUnknown
            If no question of that name is open, or several are.
        AnswerInvalid
            If the answer does not fit; the question stays open.
        AnswerLate
            If another answer or the deadline came first; it says which, and when.
        """
        by = checked_text("by", by, self.run_id)
        key = self._find(name, item)
        self._answer(key, self._execution.pending.get(key), value, by, via)

    def _answer(self, key: Key, asked: Event | None, value: Any, by: str, via: str) -> None:
        value = self._fitted(key, value)
        self._wait(key, lambda told: self._deliver(key, asked, Answer(value, by, told, via)))

    def _fitted(self, key: Key, value: Any, *, recorded: bool = False) -> Any:
        asker = self._askers.get(key)  # also of a question that is about to expire, and open no more
        if asker is None:
            raise late(self._head, self._log(), *key)
        inst, seat = asker
        answer = fitted(seat.node, self._graph.redact, value, self.run_id, recorded=recorded)
        if ESCALATE not in seat.site.name:
            return answer
        try:
            return fits(inst, answer)
        except (ValueError, TypeError) as error:
            raise AnswerInvalid(
                f"the answer to {key[0]!r} takes the place of what {inst.scope.program.seats[inst.node].node.name!r} "
                f"delivers, and is not that: {error}; the question stays open, correct it and send it again",
                run_id=self.run_id,
                node=key[0],
            ) from error

    def escalate(self, name: str, *, to: str, by: str, why: str, via: str, item: int | None) -> None:
        """Hand an open question to somebody else; returns when that is recorded.

        Raises
        ------
        ApprovalUnknown
            If no question of that name is open, or several are.
        AnswerLate
            If it is not open any more.
        """
        key = self._find(name, item)
        event = self._escalated(key, to, why, by, via)
        self._wait(key, lambda told: self._hand_on(key, event, told))

    def _escalated(self, key: Key, to: str, why: str, by: str, via: str) -> Event:
        to, why, by = (checked_text(what, text, self.run_id) for what, text in (("to", to), ("why", why), ("by", by)))
        return Event(0, "escalated", *key, by=by, key=via, body={"to": to, "why": why})

    def _wait(self, key: Key, act: Callable[[Callable[[BaseException | None], None]], None]) -> None:
        if self._engine.on_it():
            raise RunError("run.answer was called on the engine's own thread, which it would block; await it elsewhere")
        done: Future[None] = Future()
        self._engine.submit(lambda: act(partial(_tell, done))).result()
        try:
            done.result()
        except AnswerLate:
            raise late(self._head, self._log(), *key) from None

    def _log(self) -> list[Event]:
        events = list(self._execution.events)
        return self._store.events(self.run_id) if self._execution.forgot else events

    def _find(self, name: str, item: int | None) -> Key:
        open_ = list(self._execution.pending)
        found = find_question(open_, name, item, self.run_id)
        if found is None:
            log = self._log()
            self._refuse_over(open_questions(log), name, item)
            refuse_unknown(self._head, log, open_, name, item)
            raise AssertionError
        return found

    def _refuse_over(self, asked: Mapping[Key, Event], name: str, item: int | None) -> None:
        # It is about to expire, and only the letters that were in time are still looked at.
        found = find_question(asked, name, item, self.run_id)
        ends = None if found is None else deadline(self._execution.base, asked[found])
        if found is not None and ends is not None and wall_micro() > ends:
            raise over(self._head, asked[found], ends)

    def _approve(self, question: Question, asked: Event, value: Any, by: str) -> None:
        by = checked_text("by", by, self.run_id)
        with suppress(AnswerLate):  # a person was quicker
            self._answer((question.node, asked.item), asked, value, by, "approver")

    # On the postman's thread

    def is_waiting(self) -> bool:
        """Say whether letters are to be looked for."""
        return self._due or bool(self._execution.pending)

    def take(self, letters: list[Letter]) -> None:
        """See to the letters to this run of which nobody has said what became of them."""
        self._due = False
        for letter in letters:
            if letter.id not in self._handled:
                self._take(letter)

    def _take(self, letter: Letter) -> None:
        key = self._open(letter)
        if key is None:
            said = fate(self._head, self._log(), letter)
            if said is not None:
                self._say(letter, said)
        elif letter.kind == ESCALATION:
            self._take_escalation(letter, key)
        elif self._is_in_time(letter, key):
            asked, answer = self._execution.pending.get(key), self._read(letter)
            if answer is not None:
                self._submit(lambda: self._deliver(key, asked, answer))

    def _take_escalation(self, letter: Letter, key: Key) -> None:
        self._handled.add(letter.id)
        try:
            body = msgspec.json.decode(letter.text)
            event = self._escalated(key, body["to"], body["why"], letter.by, key_of_letter(letter))
        except Exception as error:  # it was written by anybody
            self._say(letter, f"invalid: {type(error).__name__}: {error}")
        else:
            self._submit(lambda: self._hand_on(key, event, partial(self._told, letter)))

    def _open(self, letter: Letter) -> Key | None:
        key = letter.node, letter.item
        asked = self._execution.pending.get(key)
        return key if asked is not None and asked.generation == letter.generation else None

    def _is_in_time(self, letter: Letter, key: Key) -> bool:
        # One that is not is answered once the question has expired, by what the log says then.
        asked = self._execution.pending.get(key)
        ends = None if asked is None else deadline(self._execution.base, asked)
        return ends is None or letter.sent <= ends

    def _read(self, letter: Letter) -> Answer | None:
        self._handled.add(letter.id)
        try:
            value = self._fitted((letter.node, letter.item), msgspec.json.decode(letter.text), recorded=True)
        except AnswerInvalid as error:
            self._say(letter, f"invalid: {error}")
            return None
        except Exception as error:  # a validator of the user's may raise anything, and others wait for their letters
            self._say(letter, f"invalid: {type(error).__name__}: {error}; the question stays open")
            return None
        return Answer(value, letter.by, partial(self._told, letter), key_of_letter(letter))

    def _told(self, letter: Letter, error: BaseException | None) -> None:
        if error is None:
            if self._head.durability != "exit":  # whose log is not durable by now, and tells it when it is
                self._say(letter, TAKEN)
        else:
            # What that means the log says: it was late, or the run was stopped, and then it is still to be taken.
            self._handled.discard(letter.id)
            self._due = True

    def _say(self, letter: Letter, said: str) -> None:
        self._handled.add(letter.id)
        assert self._mailbox is not None
        with suppress(OrchkitError):  # the log tells it too
            self._mailbox.tell(letter, said)

    def _submit(self, act: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: Python ends
            self._engine.submit(act)

    def look_before_end(self, look: Look, letters: list[Letter]) -> None:
        """Let a question go on that is about to expire: with the first valid answer that was sent in time, or none."""
        asked, ends = look.asked, deadline(self._execution.base, look.asked) or 0
        for letter in letters:
            fits = (letter.node, letter.item, letter.generation) == (asked.node, asked.item, asked.generation)
            # Also one that is on its way: it may come to the engine behind the timer, and find nothing to answer.
            if fits and letter.kind == ANSWER and letter.sent <= ends:
                answer = self._read(letter)
                if answer is not None:
                    self.hand_in(look, answer)
                    return
        self.hand_in(look, None)

    def hand_in(self, look: Look, answer: Answer | None) -> None:
        """Resume a question that is about to expire."""
        self._submit(lambda: self._go_on(look.inst, look.token, answer))


def _tell(future: Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)

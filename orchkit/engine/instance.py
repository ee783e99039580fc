"""An instance: one node, or one item of a map, while it is open; and the fibres on which it is at work."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from orchkit.clock.kernel import Fibre
from orchkit.engine.approval import Answer
from orchkit.errors import AnswerLate
from orchkit.model.events import ATTEMPT_ENDS, Event
from orchkit.model.protocols import Draw, Outcome

if TYPE_CHECKING:
    from orchkit.engine.context import Context
    from orchkit.engine.execution import Execution
    from orchkit.engine.inner import InnerScope
    from orchkit.engine.scope import Scope

__all__ = ["Branch", "Instance", "Leg", "Place"]


class Place(NamedTuple):
    """What a scope is known by: among others, to its luck, and to the receivers of its effects."""

    key: tuple[int, ...]
    luck: str
    effects: str


class Leg(Fibre):
    """A fibre of an instance, which makes one attempt at a time.

    Attributes
    ----------
    number : int
        Which leg it is, from 0.
    began : int, microseconds
        The kernel's time at which its present body began.
    handle : object
        Of its present body.
    inner : tuple of InnerScope
        What its present attempt has opened and waits for; several where a body has called them.
    bodies : int
        How many bodies it has begun or stopped: one that is not the latest is no longer wanted.
    spent : Context, Draw or None
        What knows what its present attempt has cost so far.
    cause : BaseException or None
        The error of its last attempt, for whoever awaits the run.
    """

    __slots__ = ("began", "bodies", "cause", "handle", "inner", "number", "spent")

    def __init__(self, key: tuple[int, ...], number: int) -> None:
        super().__init__(key)
        self.number = number
        self.began = 0
        self.bodies = 0
        self.handle: object = None
        self.inner: tuple[InnerScope, ...] = ()
        self.spent: Context | Draw | None = None
        self.cause: BaseException | None = None

    def __str__(self) -> str:
        inst = self.inst
        return f"{inst.scope.path(inst.scope.program.seats[inst.node].site)!r} of run {inst.execution.run_id!r}"

    @property
    def inst(self) -> Instance:
        """The instance that it works for."""
        raise NotImplementedError

    def crashed(self, error: BaseException) -> None:
        """End the run: a layer never lets an exception out, so this is the store, a crash or a bug."""
        self.inst.execution.abort(error)


class Instance(Leg):
    """One node, or one item of a map, on its way from its first attempt to its outcome.

    It is its own first leg: one object an instance, and no cycle is left behind when it settles.

    Attributes
    ----------
    records : deque of Event or None
        What the log that is fed back to it still holds; None for an instance that began here.
    settled : bool
        Its attempt's end was recorded as `FINAL`, so no ``settled`` is to follow.
    answers : sequence of Answer
        Given, and not yet in the log; replaced and never changed, for nearly every instance has none.
    branches : sequence of Branch
        Its other fibres, as long as they go on; the same holds for them.
    due : int, microseconds, or None
        When its deadline is over, in the kernel's time.
    listeners : dict
        While a log is fed back: who goes on with which of its records.
    """

    __slots__ = (
        "answers", "branches", "due", "execution", "generation", "item", "listeners", "node", "records", "scope",
        "settled",
    )  # fmt: skip

    def __init__(self, scope: Scope, node: int, item: int) -> None:
        super().__init__((*scope.key, node, item, 0), 0)
        self.scope = scope
        self.execution: Execution = scope.execution
        self.node = node
        self.item = item
        self.generation = scope.state.generation(node, item)
        self.records: deque[Event] | None = None
        self.settled = False
        self.answers: Sequence[Answer] = ()
        self.branches: Sequence[Branch] = ()
        self.due: int | None = None
        self.listeners: dict[object, Fibre] = {}

    @property
    def inst(self) -> Instance:
        """Itself."""
        return self

    @property
    def is_open(self) -> bool:
        """Whether it is still the one that its scope goes on with."""
        return self.scope.instances.get((self.node, self.item)) is self

    def finished(self, value: Any) -> None:
        """Settle with the pipeline's outcome."""
        self.scope.settle(self, value)

    def has_record_of(self, path: str, leg: int, n: int) -> bool:
        """Say whether the log that is fed back knows how this attempt ended."""
        return any(
            record.attempt == n and record.leg == leg and record.node == path
            for record in self.records or ()
            if record.kind in ATTEMPT_ENDS
        )

    def skip_injected(self) -> None:
        """Pass over records of faults that are no longer injected; a resumed run has none."""
        while self.records and self.records[0].kind == "injected":
            self.records.popleft()

    def tell_late(self) -> None:
        """Tell whoever has sent an answer that is not in the log that it will not be."""
        waiting, self.answers = self.answers, ()
        for answer in waiting:
            answer.told(AnswerLate("another answer, the deadline, a new question or the end of the run was first"))


class Branch(Leg):
    """Another fibre of an instance, which somebody waits for: a leg of a hedge, or what a deadline bounds.

    Attributes
    ----------
    outcome : Outcome or None
        What it came to, once it is done.
    waiter : Fibre or None
        Who goes on when it is done.
    """

    __slots__ = ("_inst", "outcome", "waiter")

    def __init__(self, inst: Instance, parent: Leg, number: int) -> None:
        super().__init__((*parent.key, number), number)
        self._inst = inst
        self.outcome: Outcome | None = None
        self.waiter: Fibre | None = None
        inst.branches = (*inst.branches, self)

    @property
    def inst(self) -> Instance:
        """The instance that it works for."""
        return self._inst

    def finished(self, value: Any) -> None:
        """Tell who waits."""
        self.outcome = value
        self.leave()
        waiter, self.waiter = self.waiter, None
        if waiter is not None and waiter.coro is not None:
            self._inst.execution.kernel.resume(waiter, self)

    def leave(self) -> None:
        """Be one of the instance's no more."""
        self._inst.cause = self.cause or self._inst.cause
        self.cause = None
        self._inst.branches = tuple(one for one in self._inst.branches if one is not self)

"""An instance: one node, or one item of a map, while it is open."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchkit.clock.kernel import Fibre
from orchkit.engine.approval import Answer
from orchkit.errors import AnswerLate
from orchkit.model.events import Event
from orchkit.model.protocols import Draw

if TYPE_CHECKING:
    from orchkit.engine.context import Context
    from orchkit.engine.execution import Execution

__all__ = ["Instance"]


class Instance(Fibre):
    """One node, or one item of a map, on its way from its first attempt to its outcome.

    It is its own first fibre: one object an instance, and no cycle is left behind when it settles.

    Attributes
    ----------
    began : int, microseconds
        The kernel's time at which its present body began.
    spent : Context, Draw or None
        What knows what its present attempt has cost so far.
    cause : BaseException or None
        The error of its last attempt, for whoever awaits the run.
    records : deque of Event or None
        What the log that is fed back to it still holds; None for an instance that began here.
    settled : bool
        Its attempt's end was recorded as `FINAL`, so no ``settled`` is to follow.
    answers : sequence of Answer
        Given, and not yet in the log; replaced and never changed, for nearly every instance has none.
    """

    __slots__ = (
        "answers",
        "began",
        "cause",
        "execution",
        "generation",
        "handle",
        "item",
        "node",
        "records",
        "settled",
        "spent",
    )

    def __init__(self, execution: Execution, node: int, item: int) -> None:
        super().__init__(execution.number << 56 | node << 40 | (item + 1) << 8 | 1)
        self.execution = execution
        self.node = node
        self.item = item
        self.generation = 1 if not execution.state.generations else execution.state.generation(node, item)
        self.handle: object = None
        self.began = 0
        self.spent: Context | Draw | None = None
        self.cause: BaseException | None = None
        self.records: deque[Event] | None = None
        self.settled = False
        self.answers: Sequence[Answer] = ()

    def finished(self, value: Any) -> None:
        """Settle with the pipeline's outcome."""
        self.execution.settle(self, value)

    def tell_late(self) -> None:
        """Tell whoever has sent an answer that is not in the log that it will not be."""
        waiting, self.answers = self.answers, ()
        for answer in waiting:
            answer.told(AnswerLate("another answer, the deadline, a new question or the end of the run was first"))

    def crashed(self, error: BaseException) -> None:
        """End the run: a layer never lets an exception out, so this is the store, a crash or a bug."""
        self.execution.abort(error)

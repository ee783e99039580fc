"""Compensation: what has been done is undone, the last first, before a run that has failed ends.

Each undo is an attempt at a place of its node, ``charge/undo:refund``, with policies, an idempotency key and records of
its own. It belongs to no scope's graph: nodes stand where they stood, and an ``undone`` says what became of it. Which
is next follows from the log, and so a resume goes on where it was.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from orchkit.engine.instance import Instance
from orchkit.engine.keys import known_as
from orchkit.engine.policies.retry import retrying
from orchkit.engine.scope import Scope
from orchkit.model.events import Event
from orchkit.model.protocols import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchkit.engine.execution import Execution
    from orchkit.engine.program import Seat

__all__ = ["Undoing", "undo_next"]


class Undoing(Scope):
    """One node, or item, that is being undone: the scope that it lies in, with nothing else going on.

    Attributes
    ----------
    inst : Instance
        Whose fibre makes the attempts.
    """

    __slots__ = ("effects", "execution", "inst", "instances", "item_keys", "key", "luck", "program", "state")

    def __init__(self, execution: Execution, key: tuple[str, int, int], records: Sequence[Event] = ()) -> None:
        prefix, node, item = key
        self.execution = execution
        self.state = execution.state.scopes[prefix] if prefix else execution.state
        self.program, self.luck, self.effects = known_as(execution, self.state)
        self.item_keys = {}
        self.key = execution.key
        self.inst = Instance(self, node, item)
        self.inst.records = deque(records) or None
        self.instances = {(node, item): self.inst}

    @property
    def seat(self) -> Seat:
        """What is undone."""
        return self.program.seats[self.inst.node]

    def begin(self) -> None:
        """Make the first attempt, or the first that the log knows."""
        site = self.seat.undo
        assert site is not None
        assert site.retry is not None
        first = self.execution.state.undo_tries.get((self.state.prefix, self.inst.node, self.inst.item), 0) + 1
        self.execution.kernel.start(self.inst, retrying(site.retry, self.inst, site, first))

    def _settle(self, inst: Instance, outcome: Outcome) -> None:
        execution, failure = self.execution, outcome.failure
        self.instances.clear()
        inst.cause = execution.undoing = None
        status, error = ("completed", "") if failure is None else ("failed", str(failure))
        key = self.effect_key(inst, self.seat.site) if self.seat.node.effect else ""
        name = self.path(self.seat.site)
        execution.record(
            Event(execution.t(), "undone", name, inst.item, inst.generation, status=status, error=error, key=key)
        )

    def fail(self) -> bool:
        """Do nothing: a node's failure is the run's."""
        return False

    def end(self) -> bool:
        """Do nothing: nothing else goes on in it."""
        return False


def undo_next(execution: Execution) -> bool:
    """Begin to undo what was done last and is not undone; say whether there is any."""
    key = execution.state.next_to_undo
    if key is None:
        return False
    execution.undoing = Undoing(execution, key)
    execution.undoing.begin()
    return True

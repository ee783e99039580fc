"""The questions of a run that are open now, and who asks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution
    from orchkit.engine.instance import Instance
    from orchkit.engine.program import Seat
    from orchkit.model.events import Event
    from orchkit.model.questions import Key

__all__ = ["Questions", "awaits_people"]


class Questions:
    """What people are asked, from when that is durable until it is settled; one costs the same however many there are.

    Parameters
    ----------
    on_question : callable, optional
        Called when one has become visible.

    Attributes
    ----------
    pending : dict
        Question to its ``asked`` event, the latest last.
    askers : dict
        Question to the instance that asks it, and the seat that says what an answer is.
    """

    __slots__ = ("_keys", "askers", "on_question", "pending")

    def __init__(self, on_question: Callable[[], None] | None = None) -> None:
        self.on_question = on_question
        self._keys: dict[Instance, list[Key]] = {}
        self.pending: dict[Key, Event] = {}
        self.askers: dict[Key, tuple[Instance, Seat]] = {}

    def show(self, inst: Instance, seat: Seat, asked: Event) -> None:
        """Make a question visible; it is durable by now."""
        key = asked.node, asked.item
        self.pending[key] = asked
        self.askers[key] = inst, seat
        self._keys.setdefault(inst, []).append(key)
        if self.on_question is not None:
            self.on_question()

    def hide(self, inst: Instance) -> None:
        """Take back what an instance asks: it is settled, or the run stops."""
        for key in self._keys.pop(inst, ()):
            if key in self.askers and self.askers[key][0] is inst:
                del self.pending[key], self.askers[key]

    def clear(self) -> None:
        """Take all back."""
        self._keys.clear()
        self.pending.clear()
        self.askers.clear()

    def are_of(self, inst: Instance) -> bool:
        """Say whether an instance waits for a person."""
        return inst in self._keys

    def __len__(self) -> int:
        return len(self._keys)


def awaits_people(execution: Execution) -> bool:
    """Say whether everything that is open waits for people only."""
    questions = execution.questions
    if not execution.scopes:  # and then it costs nothing, however many are asked
        return 0 < len(questions) == len(execution.instances)
    return len(questions) > 0 and all(
        questions.are_of(inst) or any(leg.inner for leg in (inst, *inst.branches))
        for scope in execution.all_scopes()
        for inst in scope.instances.values()
    )

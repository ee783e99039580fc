"""Inner scopes: what a node's attempt has opened, and tells of to that attempt when it is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from orchkit.engine.inside import outcome_inside
from orchkit.engine.scope import Scope

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution
    from orchkit.engine.instance import Leg, Place
    from orchkit.engine.program import Program
    from orchkit.model.protocols import Outcome
    from orchkit.model.state import ScopeState

__all__ = ["InnerScope"]


class InnerScope(Scope):
    """What a node's attempt has opened.

    Attributes
    ----------
    claims : dict
        Whose attempts wait for it, and what tells each what it came to: the attempt itself, or its body where that has
        called it. Several where the legs of a hedge ask the same question.
    """

    __slots__ = ("claims", "effects", "execution", "instances", "item_keys", "key", "luck", "program", "state")

    def __init__(self, execution: Execution, program: Program, state: ScopeState, place: Place) -> None:
        self.execution = execution
        self.claims: dict[Leg, Callable[[Outcome], None]] = {}
        self.program = program
        self.state = state
        self.key, self.luck, self.effects = place
        self.instances = {}
        self.item_keys = {}

    def claim(self, leg: Leg, tell: Callable[[Outcome], None]) -> None:
        """Let a leg wait for it."""
        self.claims[leg] = tell
        leg.inner = (*leg.inner, self)

    def fail(self) -> bool:
        """Stop because a node has failed: so has the attempt that opened it."""
        self.halt()
        return self.end()

    def end(self) -> bool:
        """Tell the attempt that opened it what it came to."""
        claims = self.claims
        self._leave()
        for tell in claims.values():
            tell(outcome_inside(self.state))
        return True

    def cancel(self, leg: Leg) -> None:
        """Cancel what is in flight, for the attempt that opened it is over; not while another waits for it."""
        if len(self.claims) > 1:
            self.claims = {one: tell for one, tell in self.claims.items() if one is not leg}
            leg.inner = tuple(one for one in leg.inner if one is not self)
            return
        self.halt()
        self._leave()

    def _leave(self) -> None:
        self.execution.leave(self)
        for leg in self.claims:
            leg.inner = tuple(one for one in leg.inner if one is not self)
        self.claims = {}

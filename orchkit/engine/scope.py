"""Scopes at work: one graph that is gone through, the run's own or one that a node's attempt has opened."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from orchkit.clock.dice import Stream, path_of
from orchkit.engine.context import effect_key
from orchkit.engine.dropping import begin_again
from orchkit.engine.inside import outcome_inside
from orchkit.engine.instance import Instance, Leg
from orchkit.engine.operating import follow, next_key
from orchkit.engine.pipeline import pipeline
from orchkit.engine.plan import Action, plan
from orchkit.errors import BudgetExhausted, ContextConflict
from orchkit.model.events import Event
from orchkit.model.paths import owner_of
from orchkit.model.policies import Budget
from orchkit.model.protocols import Failure, Outcome
from orchkit.model.standings import READY
from orchkit.model.state import ScopeState

if TYPE_CHECKING:
    from orchkit.engine.context import Context
    from orchkit.engine.execution import Execution
    from orchkit.engine.program import Program, Seat, Site

__all__ = ["InnerScope", "Scope"]


class Scope:
    """What the plan of one graph asks for is done here, and what its nodes come to is recorded.

    Attributes
    ----------
    program : Program
    state : ScopeState
        Folded by the execution, like the rest of the run.
    key : tuple of int
        Breaks ties between scopes, and begins the keys of its instances.
    instances : dict
        ``(node index, item)`` to what is open.
    """

    execution: Execution
    program: Program
    state: ScopeState
    key: tuple[int, ...]
    instances: dict[tuple[int, int], Instance]

    @property
    def prefix(self) -> str:
        """What the paths of its nodes begin with."""
        return self.state.prefix

    # What steps get

    def path(self, site: Site) -> str:
        """Give a site's path in the log."""
        return self.state.prefix + site.name

    def effect_key(self, site: Site, item: int) -> str:
        """Name a site's effect within the run, the same for each attempt of it and of what it lies within.

        It changes only when somebody wants the effect once more.
        """
        owner, again = owner_of(self.state.prefix), self.execution.state.rekeyed
        key, node = effect_key(owner + site.name, item), owner + site.node.name
        time = max(again.get(effect_key(node, item), 1), again.get(node, 1)) if again else 1
        return key if time == 1 else f"{key}#{time}"

    def dice_at(self, site: Site, item: int, leg: int, n: int) -> Stream:
        """Give the luck of one attempt at a site."""
        prefix = self.state.prefix
        path = site.dice_path if prefix == site.prefix else path_of(prefix + site.name)
        return Stream(self.execution.dice_base, path, item, leg, n)

    def arguments(
        self, inst: Instance, site: Site, ctx: Context | None, error: Failure | None = None
    ) -> dict[str, Any]:
        """Rebuild a site's inputs from what was recorded.

        Raises
        ------
        pydantic.ValidationError
            If a value does not fit the parameter's annotation.
        """
        state = self.state
        arguments: dict[str, Any] = {}
        for name, source, codec, required, default in site.loads:
            if source == site.node.name:  # an undo gets what its node has come to
                own = state.values[inst.node] if inst.item < 0 else state.maps[inst.node].values[inst.item]
                arguments[name] = codec.load(own)
            elif required or state.is_live(source):
                arguments[name] = codec.load(state.value(source))
            else:
                arguments[name] = default
        function = site.function
        if inst.item >= 0 and (site.item is not None or function is None):
            over = site.node.over
            assert over is not None
            value = state.value(over)[inst.item]
            arguments["item"] = value if site.item is None else site.item.load(value)
        if function is not None:
            if function.consts:
                arguments.update(function.consts)
            if function.wants_ctx and ctx is not None:
                arguments["ctx"] = ctx
            if function.wants_error:
                arguments["error"] = error
        return arguments

    # What the plan asks for

    def act(self) -> bool:
        """Do the next thing that the plan asks for; say whether there was one."""
        state = self.state
        if state.failing is not None or state.overdue or state.cancelling:
            return self.fail()
        if (state.ready or state.stale or state.decided) and (action := plan(state)) is not None:
            self._do(action)
            return True
        return not state.left and not self.instances and self.end()

    def _do(self, action: Action) -> None:
        seat = self.program.seats[action.node]
        if action.verb == "start":
            if self.state.shared is not None and (conflict := self._conflict_before(action.node)) is not None:
                self._settle_failed(action.node, conflict)
            else:
                self._launch(seat, action.node, action.item)
        elif action.verb == "close":
            self._close_map(seat, action.node)
        elif action.verb == "follow":
            follow(self.execution, self.state, (action.node, action.item))
        elif action.verb == "invalidate":
            self.open_generation(action.node, action.item, self.state.stale[action.node, action.item])
        else:
            self.record(self._node_event("skipped", action.node, "" if action.verb == "skip" else "effect"))

    def _conflict_before(self, node: int) -> str | None:
        shared = self.state.shared
        if shared is None or self.state.standing[node] != READY:  # a map that has begun
            return None
        conflict = shared.conflict(shared.ancestors(node, self.state.values))
        return None if conflict is None else f"{ContextConflict.__name__}: {conflict}"

    def _launch(self, seat: Seat, node: int, item: int) -> None:
        ex = self.execution
        inst = self.instances[node, item] = Instance(self, node, item)
        before = ex.recorded
        ex.kernel.start(inst, pipeline(seat, inst))
        # The plan would start it again for ever if its first segment did not record that it began.
        assert ex.recorded > before or ex.driving or ex.error is not None

    def _node_event(self, kind: str, node: int, status: str, error: str = "") -> Event:
        name = self.state.prefix + self.program.seats[node].node.name
        generation = self.state.generation(node)
        return Event(self.execution.t(), kind, name, generation=generation, status=status, error=error)

    def _settle_failed(self, node: int, error: str) -> None:
        self.record(self._node_event("settled", node, "failed", error))

    def _close_map(self, seat: Seat, node: int) -> None:
        over = seat.node.over
        assert over is not None
        value = self.state.value(over)
        if not isinstance(value, list):
            self._no_list(seat, node, over, value)
            return
        degraded = node in self.state.maps and self.state.maps[node].degraded
        self.record(self._node_event("settled", node, "degraded" if degraded else "completed"))

    def _no_list(self, seat: Seat, node: int, over: str, value: Any) -> None:
        name = seat.node.name
        error = f"TypeError: map {name!r} goes over {over!r}, which gave a {type(value).__name__}; it needs a list"
        if seat.node.on_error == "skip":
            self.record(self._node_event("skipped", node, "error", error))
        else:
            self._settle_failed(node, error)

    def open_generation(self, node: int, item: int, status: str, why: str | None = None, by: str = "") -> None:
        """Open the next generation of a node or item; what is open of it is cancelled and recorded so."""
        name = self.state.prefix + self.program.seats[node].node.name
        key = next_key(self.execution.state, self.state, node, item) if status == "undone" else ""
        begin_again(
            self.execution, self.state, Event(0, "invalidated", name, item, status=status, by=by, key=key, body=why)
        )  # fmt: skip
        self.execution.touch(self)

    # What instances come to

    def settle(self, inst: Instance, outcome: Outcome) -> None:
        """Record what an instance came to, unless the end of its attempt has said it, and go on."""
        try:
            self._settle(inst, outcome)
        except BaseException as error:
            self.execution.abort(error)
            return
        self.execution.advance()

    def _settle(self, inst: Instance, outcome: Outcome) -> None:
        ex, seat = self.execution, self.program.seats[inst.node]
        name, generation = self.state.prefix + seat.node.name, inst.generation
        del self.instances[inst.node, inst.item]
        ex.touch(self)
        cause, inst.cause = inst.cause, None  # its traceback holds the frames that hold the instance: a cycle
        if inst.settled:  # the end of its attempt has said so
            return
        failure = outcome.failure
        if failure is None:
            status = "degraded" if outcome.status == "degraded" else "completed"
            ex.emit(inst, Event(ex.t(), "settled", name, inst.item, generation, status=status))
        elif seat.node.on_error == "skip" or _is_degraded(seat, failure):
            ex.emit(inst, Event(ex.t(), "skipped", name, inst.item, generation, status="error", error=str(failure)))
        else:
            if cause is not None:
                ex.causes[name, inst.item] = cause
            # Inside another node's attempt it is told in full, for that attempt's policies decide by it.
            body = msgspec.to_builtins(failure) if self.state.prefix else None
            ex.emit(
                inst,
                Event(ex.t(), "settled", name, inst.item, generation, status="failed", error=str(failure), body=body),
            )

    def record(self, event: Event) -> None:
        """Record an event of a node of it."""
        self.execution.record(event)
        self.execution.touch(self)

    # How it ends

    def fail(self) -> bool:
        """Stop because a node has failed; say whether anything was done."""
        raise NotImplementedError

    def end(self) -> bool:
        """End because nothing is left to do; say whether anything was done."""
        raise NotImplementedError

    def halt(self) -> None:
        """Cancel what is in flight, in the order of the keys."""
        ex = self.execution
        for inst in sorted(self.instances.values(), key=lambda one: one.key):
            ex.hide_pending(inst)
            ex.kernel.cancel(inst)
        self.instances.clear()


def _is_degraded(seat: Seat, failure: Failure) -> bool:
    budget: Budget | None = seat.node.policy("budget")
    return budget is not None and budget.then == "degrade" and failure.type == BudgetExhausted.__name__


class InnerScope(Scope):
    """What a node's attempt has opened.

    Attributes
    ----------
    owner : Leg
        Whose attempt it is.
    tell : callable
        Gets what it came to: the attempt itself, or its body where that has called it.
    """

    __slots__ = ("execution", "instances", "key", "owner", "program", "state", "tell")

    def __init__(
        self,
        owner: Leg,
        program: Program,
        state: ScopeState,
        key: tuple[int, ...],
        tell: Callable[[Outcome], None] | None = None,
    ) -> None:
        self.execution = owner.inst.execution
        self.owner = owner
        self.tell = tell or partial(self.execution.kernel.resume, owner)
        self.program = program
        self.state = state
        self.key = key
        self.instances = {}

    def fail(self) -> bool:
        """Stop because a node has failed: so has the attempt that opened it."""
        self.halt()
        return self.end()

    def end(self) -> bool:
        """Tell the attempt that opened it what it came to."""
        self.execution.leave(self)
        self.tell(outcome_inside(self.state))
        return True

    def cancel(self) -> None:
        """Cancel what is in flight, for the attempt that opened it is over."""
        self.halt()
        self.execution.leave(self)

"""The execution of one run: instances on the kernel, one place that records, one loop that asks the plan."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any

from orchkit.clock.dice import Stream, path_of
from orchkit.clock.kernel import Host, Kernel, suspend
from orchkit.engine.context import Context
from orchkit.engine.dropping import begin_lost_again, begin_stale_again, drop_leg, spare_the_rest
from orchkit.engine.gatekeeper import Gatekeeper
from orchkit.engine.gateroom import Gates
from orchkit.engine.inner import InnerScope
from orchkit.engine.instance import Instance, Leg, Place
from orchkit.engine.keys import ItemKeys
from orchkit.engine.program import Program
from orchkit.engine.questions import Questions
from orchkit.engine.redrive import brief, go_on_stopping, redrive, same
from orchkit.engine.scope import Scope
from orchkit.engine.stopping import Overtime
from orchkit.engine.undoing import Undoing, undo_next
from orchkit.errors import DefinitionError, ReplayMismatch, RunCrashed
from orchkit.model.events import Event
from orchkit.model.fold import apply, fold
from orchkit.model.protocols import Journal
from orchkit.model.smallest import SmallestFirst
from orchkit.model.state import RunState, ScopeState, end_of, result_of

__all__ = ["Execution"]


_KEPT = "its log is kept, go on with store.resume"
_LOST = "a simulated run without durability is lost with it: durability='group' goes on from its log"


class _Crash(BaseException):
    """Thrown by the record after which the engine is to stop as if it had been killed."""


class _Halted(BaseException):
    """Thrown at whoever still wants to record after the execution was aborted."""


class Execution(Scope):
    """One run on one kernel: its outermost scope, and what all its scopes share.

    Parameters
    ----------
    program : Program
    kernel : Kernel
    host : Host
    journal : Journal
    run_id : str
    base : int, microseconds
        The kernel's time at which the run started: event times count from it.
    dice_base : int
        From `orchkit.clock.dice.base_of`.
    events : sequence of Event
        The log so far; empty for a new run.
    changed : bool
        Whether the log is of another shape of the workflow; a ``resumed`` that says so is recorded next.
    number : int
        Breaks ties between runs of one kernel.
    strict : bool
        Whether every body waits until its start is durable, and not only those of effects.
    room : int
        How many events are kept in memory; with fewer than all, the journal's store has the rest.
    gates : Gates, optional
        What it shares with other runs; without it, they are its own.
    deps : object
        Handed to steps; never recorded.
    on_body : callable, optional
        Called where a step's body begins, in its context.
    on_event : callable, optional
        Sees each event once it is folded.
    on_question : callable, optional
        Called when a question has become visible.
    on_end : callable, optional
        Called once, when the run has ended and its end is durable, or with the error that ended it.
    """

    def __init__(
        self,
        program: Program,
        kernel: Kernel,
        host: Host,
        journal: Journal,
        *,
        run_id: str,
        base: int = 0,
        dice_base: int = 0,
        events: Sequence[Event] = (),
        changed: bool = False,
        number: int = 0,
        strict: bool = False,
        room: int = sys.maxsize,
        gates: Gates | None = None,
        deps: object = None,
        on_body: Callable[[], object] | None = None,
        on_event: Callable[[Event], None] | None = None,
        on_question: Callable[[], None] | None = None,
        on_end: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        self.program = program
        self.kernel = kernel
        self.host = host
        self.journal = journal
        self.run_id = run_id
        self.base = base
        self.dice_base = dice_base
        self.strict = strict
        self.deps = deps
        self.on_body = on_body
        self.on_event = on_event
        self.on_partial: Callable[[Context, int, Any], None] | None = None  # sees what steps emit, on their threads
        self.on_end = on_end
        self.on_deadline: Callable[[Instance, Event], None] | None = None  # looks for mail before a question expires
        self.events: list[Event] = list(events)
        self.recorded = len(self.events)
        self.forgot = False
        self._room = room
        self._rebuilt = not self.events  # until then they are all needed, in their order
        self.state: RunState = fold(program.graph, self.events, changed=changed)
        self.key = (number,)
        self.gatekeeper = Gatekeeper(gates or Gates(kernel), run_id, program.gated)
        self.instances: dict[tuple[int, int], Instance] = {}
        self.item_keys: dict[int, ItemKeys] = {}
        self.scopes: dict[str, InnerScope] = {}
        self._to_look_at: SmallestFirst[tuple[int, ...]] = SmallestFirst()
        self._to_mend: SmallestFirst[tuple[int, ...]] = SmallestFirst()
        self.unfed: deque[Instance] = deque()
        self.questions = Questions(on_question)
        self.deferred: list[tuple[Leg, Callable[[], None]]] = []
        self.undoing: Undoing | None = None
        self.overtime: Overtime | None = None
        self.held: list[Leg] = []
        self.cancelled_by = ""
        self.causes: dict[tuple[str, int], BaseException] = {}
        self.error: BaseException | None = None
        self.driving = False
        self._advancing = False
        self._over = False
        self._crash_after = program.faults.crash_after if program.faults is not None else None

    # In an attribute it would be a cycle.
    @property
    def execution(self) -> Execution:  # type: ignore[override]  # of an inner scope it is an attribute
        """Itself."""
        return self

    # Time and luck

    @property
    def is_over(self) -> bool:
        """Whether it has ended or stopped: nothing more happens."""
        return self._over

    def elapsed(self) -> int:
        """Give the microseconds since the run started."""
        return self.kernel.now - self.base

    def t(self) -> int:
        """Give the time for the next event: the kernel's, and never before the last event's."""
        now, last = self.kernel.now - self.base, self.state.last_t
        return now if now > last else last

    def dice(self, path: str, item: int, leg: int, n: int) -> Stream:
        """Give the luck of one attempt by its path."""
        return Stream(self.dice_base, path_of(path), item, leg, n)

    # Recording

    def record(self, event: Event) -> None:
        """Append, then fold, then show: the one place where an event enters the run."""
        if self.error is not None:
            raise _Halted
        self.journal.append(event)
        self.events.append(event)
        self.recorded += 1
        apply(self.state, event)
        if self.gatekeeper:
            self.gatekeeper.see(event, self.base, self.recorded)
        if self.on_event is not None:
            self.on_event(event)
        if self.recorded == self._crash_after:
            raise _Crash
        if len(self.events) > self._room and self._rebuilt:
            self.forgot = True
            del self.events[: -(self._room // 2)]

    def emit(self, inst: Instance, event: Event) -> Event:
        """Record an instance's event; while its log is fed back, check that the log says the same.

        Returns
        -------
        Event
            The recorded one, whose time and values hold.
        """
        if inst.records:
            recorded = inst.records.popleft()
            if same(recorded, event):
                return recorded
            raise ReplayMismatch(
                f"run {self.run_id!r}: the log says {brief(recorded)}, the workflow now wants {brief(event)}; "
                "resume it with the workflow that recorded it",
                run_id=self.run_id,
                node=event.node,
            )
        if self.driving and self._is_feeding():
            # Only the owner of the log's last event may have something new to say.
            raise ReplayMismatch(
                f"run {self.run_id!r}: the workflow now wants {brief(event)} where the log goes on without it; "
                "resume it with the workflow that recorded it",
                run_id=self.run_id,
                node=event.node,
            )
        self.record(event)
        self.touch(inst.scope)
        return event

    async def fence(self, leg: Leg) -> None:
        """Wait until everything recorded so far is durable; at once in virtual time, and while a log is fed back.

        Raises
        ------
        StoreWriteError
            If it cannot be made durable; the run then stops.
        """
        if self.driving:
            await self._fence_of_old(leg)
            return
        if not self.journal.behind():
            return
        self.journal.when_durable(partial(self.host.post, leg, leg.token))
        error = await suspend()
        if error is not None:
            raise error

    async def _fence_of_old(self, leg: Leg) -> None:
        # While it waited for the store others went on, so their records come first: it goes on when all are fed,
        # and not at all where the run was stopping.
        if not leg.inst.records and (self._stopping() or self._is_feeding()):
            self.deferred.append((leg, lambda: self.kernel.resume(leg, None)))
            await suspend()

    def _is_feeding(self) -> bool:
        # Records only become fewer, so nobody who has none is asked again: n effects may all wait for their fence.
        unfed = self.unfed
        while unfed and not (unfed[0].records and unfed[0].is_open):
            unfed.popleft()
        return bool(unfed)

    # From start to end

    def start(self, input: Any, deadline: int | None = None) -> None:
        """Admit the run: its first event, without which there is no run.

        Parameters
        ----------
        input : object
            JSON.
        deadline : int, microseconds since the start, optional
            When it fails unless it has ended.
        """
        bound = {} if deadline is None else {"deadline": deadline}
        self.record(Event(self.t(), "run_started", body={"input": input, **bound}))
        self.overtime = Overtime.of(self)

    def advance(self) -> None:
        """Do what the plan says until it says nothing; never re-entered, so that nothing recurses.

        Of the scopes in which something can be done the one with the smallest key is next, whichever was heard of
        first: so a resume does the same.
        """
        if self._advancing or self._over or self.driving:
            return
        self._advancing = True
        try:
            self._advance()
        except BaseException as error:
            self.abort(error)
        finally:
            self._advancing = False

    def _advance(self) -> None:
        waiting = self._to_look_at
        while not self._over and self.error is None:
            if self.deferred:
                self._take_up()
            if (self._to_mend and self._mend()) or self.act():
                continue
            if not waiting:
                return
            key = waiting.first
            scope = self.scopes.get(waiting[key])
            if scope is None or not scope.act():
                waiting.drop(key)

    def _mend(self) -> bool:
        # What somebody has decided, and what has become stale, goes before anything that starts in any scope: after a
        # restart it does too.
        if self.state.stale or self.state.decided:
            return self.act()
        key = self._to_mend.first
        scope = self.scopes.get(self._to_mend[key])
        if scope is None or not (scope.state.stale or scope.state.decided) or not scope.act():
            self._to_mend.drop(key)
        return True

    def touch(self, scope: Scope) -> None:
        """Have the plan of an inner scope looked at: something has happened in it. The run's own always is."""
        if scope is not self:
            self._to_look_at.put(scope.key, scope.state.id)
            if scope.state.stale or scope.state.decided:
                self._to_mend.put(scope.key, scope.state.id)

    def enter(self, owner: Leg, program: Program, state: ScopeState, place: Place) -> None:
        """Begin with a scope that an attempt has opened, as soon as that attempt waits for it."""
        scope = InnerScope(self, program, state, place)
        scope.claim(owner, partial(self.kernel.resume, owner))
        self._enter(scope)
        if self.driving:
            self.feed_later(scope)
        elif not self._advancing:
            self.kernel.after = self.advance

    def enter_child(self, scope: InnerScope, events: Sequence[Event]) -> None:
        """Begin with what a body has called, or go on with it where its events leave it."""
        self._enter(scope)
        if events:
            redrive(self, scope, events)
            self.host.go_on(self._go_on)
        else:
            self.host.go_on(self.advance)

    def _enter(self, scope: InnerScope) -> None:
        self.scopes[scope.state.id] = scope
        self.touch(scope)

    def leave(self, scope: InnerScope) -> None:
        """Be done with a scope."""
        if self.scopes.get(scope.state.id) is scope:
            del self.scopes[scope.state.id]
        self._to_look_at.drop(scope.key)
        self._to_mend.drop(scope.key)

    def scope_at(self, state: ScopeState) -> Scope | None:
        """Give the scope of a state, unless that is over."""
        return self if state is self.state else self.scopes.get(state.id)

    def instances_of(self, state: ScopeState) -> dict[tuple[int, int], Instance]:
        """Give what is open in a scope; nothing where that is over."""
        scope = self.scope_at(state)
        return {} if scope is None else scope.instances

    def all_scopes(self) -> list[Scope]:
        """Give all scopes in which something is open, the run's own first."""
        return [self, *self.scopes.values(), *([] if self.undoing is None else [self.undoing])]

    # Generations

    def invalidate(
        self, node: int, item: int = -1, status: str = "retry", why: str | None = None, by: str = ""
    ) -> None:
        """Open the next generation of a node, or of one item of a map, and go on.

        What is open of it is cancelled; what follows is invalidated when it settles with another value. Does nothing
        once the run has ended.

        Parameters
        ----------
        node, item : int
            Index of the node; -1, or of an item that has begun.
        status : {"retry", "override", "changed", "stale", "failed", "cancelled"}
            What for.
        why, by : str
            Recorded.

        Raises
        ------
        DefinitionError
            If that item has not begun: there is nothing to start again.
        """
        if self._over or self.driving:
            return
        progress = self.state.maps.get(node)
        if item >= 0 and (progress is None or not progress.has_begun(item)):
            name = self.program.seats[node].node.name
            raise DefinitionError(f"{name!r}[{item}] of run {self.run_id!r} has not begun: nothing of it starts again")
        try:
            self.open_generation(node, item, status, why, by)
        except BaseException as error:
            self.abort(error)
            return
        self.advance()

    def go_on(self) -> None:
        """Ask the plans of all scopes what follows from what somebody has done."""
        for scope in self.scopes.values():
            self.touch(scope)
        self.advance()

    def wake(self, legs: Sequence[Leg]) -> None:
        """Let legs go on in the order of their keys, before anything new begins."""
        self._advancing = True
        try:
            for leg in sorted(legs, key=lambda one: one.key):
                if leg.coro is not None and leg.inst.is_open:
                    self.kernel.resume(leg, None)
        finally:
            self._advancing = False

    def stop(self, status: str) -> None:
        """Start nothing new, cancel what is in flight in key order, and end the run."""
        if self._over or self.driving:
            return
        self.halt()
        if self.error is None:
            self._wind_up(status, self.state.overdue)

    def halt(self) -> None:
        """Cancel what is in flight, in the order of the keys, and last of all what is being undone."""
        super().halt()
        undoing, self.undoing = self.undoing, None
        if undoing is not None:
            self.kernel.cancel(undoing.inst)

    def cancel(self, by: str = "", why: str = "", undo: bool = False) -> None:
        """End the run on somebody's wish; what is recorded stays, and what it did too unless it is to be undone."""
        if self._over:
            return
        try:
            self.record(Event(self.t(), "cancelled", status="undo" if undo else "", by=by, body=why or None))
            if not (undo and self.undoing is not None):
                self.stop("cancelled")
        except BaseException as error:
            self.abort(error)

    def fail(self) -> bool:
        """Stop because a node has failed, or somebody has cancelled it: what it did is undone first."""
        if self.undoing is not None:
            return False
        self.stop("cancelled" if self.state.cancelling else "failed")
        return True

    def end(self) -> bool:
        """End because nothing is left to do."""
        if self.undoing is not None:
            return False
        self._wind_up(*end_of(self.state))
        return True

    def _wind_up(self, status: str, error: str = "") -> None:
        to_undo = self.state.undo_wanted if status == "cancelled" else status == "failed"
        if not (to_undo and undo_next(self)):
            self._end(status, error)

    def _end(self, status: str, error: str = "") -> None:
        body = result_of(self.state) if status in ("completed", "degraded") else None
        self._over = True
        self.record(Event(self.t(), "run_ended", status=status, error=error, body=body))
        if body is not None or status in ("completed", "degraded"):
            self.gatekeeper.gates.end(self.run_id)
        self.journal.when_durable(self._tell_end)

    def _tell_end(self, error: BaseException | None) -> None:
        if self.overtime is not None:
            self.overtime.drop()
            self.overtime = None
        if self.on_end is not None:
            self.on_end(error)

    def abort(self, error: BaseException) -> None:
        """Stop without another record: a crash, a store that cannot write, a bug. The log is what is left."""
        if self.error is not None:
            return
        self._over = True
        if isinstance(error, _Crash):
            error = RunCrashed(
                f"run {self.run_id!r} crashed on purpose after record {self.recorded}; "
                f"{_LOST if self.host.virtual else _KEPT}",
                run_id=self.run_id,
            )
        self.error = error
        for scope in self.all_scopes():
            for inst in list(scope.instances.values()):
                inst.tell_late()
                for leg in (inst, *inst.branches):
                    drop_leg(self, leg)
            scope.instances.clear()
        self.scopes.clear()
        self.gatekeeper.gates.forget(self.run_id)
        self.questions.clear()
        self._tell_end(error)

    # People

    @property
    def pending(self) -> dict[tuple[str, int], Event]:
        """What people are asked, as it was asked."""
        return self.questions.pending

    # Resuming

    def redrive(self) -> None:
        """Continue a log: rebuild the open instances from their records, then go on.

        Raises
        ------
        ReplayMismatch
            If the workflow wants something else than the log holds.
        """
        self.gatekeeper.see_all(self.events, self.base)
        redrive(self, self, self.events)
        self._rebuilt = True
        self.overtime = Overtime.of(self)
        if self._stopping():
            self.deferred.clear()
            go_on_stopping(self)
            return
        self._go_on()

    def _go_on(self) -> None:
        if self._advancing:
            return  # a body that was begun has found what it had called before: whoever advances takes that up too
        self._advancing = True  # what was wanted when the log was cut comes first, and what follows from it then
        try:
            self._take_up()
        finally:
            self._advancing = False
        self.advance()

    def _take_up(self) -> None:
        begin_lost_again(self)
        begin_stale_again(self)  # before any body: one whose input has changed must not start again
        spare_the_rest(self)
        for scope in sorted(self.scopes.values(), key=lambda one: one.key):
            if scope.state.failing is not None:
                scope.fail()
        for leg, go_on in self._deferred_in_order():
            if leg.coro is not None and leg.inst.is_open:
                go_on()
        for scope in self.scopes.values():
            self.touch(scope)
        self.gatekeeper.gates.go_on(self.run_id)

    def _deferred_in_order(self) -> Iterator[tuple[Leg, Callable[[], None]]]:
        waiting: list[tuple[tuple[int, ...], int, Leg, Callable[[], None]]] = []
        numbers = count()
        while self.deferred or waiting:  # who goes on may find others to go on with
            for leg, go_on in self.deferred:
                heappush(waiting, (leg.key, next(numbers), leg, go_on))
            self.deferred.clear()
            _, _, leg, go_on = heappop(waiting)
            yield leg, go_on

    def feed_later(self, scope: Scope) -> None:
        """Rebuild what is open in a scope; its records are fed to it in their turn."""
        for key, opened in scope.state.open.items():
            if scope.state.stale.get((key[0], -1)) == "changed" or scope.state.stale.get(key) == "inside":
                continue  # what it has begun is about to be dropped, for its code or what it has opened is another
            if key in scope.state.decided:
                continue  # somebody has said what it comes to
            scope.instances[key] = inst = Instance(scope, *key)
            inst.records = deque(opened.events)
            self.unfed.append(inst)

    def rebase(self) -> None:
        """Place the log before now: one from a clock that is ahead must not move a kernel that others share."""
        self.base = min(self.base, self.kernel.now - self.state.last_t)

    def _stopping(self) -> bool:
        state = self.state
        return bool(state.failing is not None or state.overdue or state.cancelling or state.undoing is not None)

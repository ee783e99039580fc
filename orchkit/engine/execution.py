"""The execution of one run: instances on the kernel, one place that records, one loop that asks the plan."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from orchkit.clock.dice import Stream, path_of
from orchkit.clock.kernel import Host, Kernel, suspend
from orchkit.engine.context import Context
from orchkit.engine.dropping import drop_open
from orchkit.engine.instance import Instance
from orchkit.engine.pipeline import pipeline
from orchkit.engine.plan import plan
from orchkit.engine.program import Program, Seat, Site
from orchkit.engine.redrive import brief, redrive, same
from orchkit.errors import ContextConflict, DefinitionError, ReplayMismatch, RunCrashed, RunStuck, RunSuspended
from orchkit.model.events import ATTEMPT_ENDS, Event
from orchkit.model.fold import apply, fold
from orchkit.model.protocols import Failure, Journal, Outcome
from orchkit.model.standings import COMPLETED, DEGRADED, READY
from orchkit.model.state import RunState, result_of

__all__ = ["Execution"]


_KEPT = "its log is kept, go on with store.resume"
_LOST = "a simulated run without durability is lost with it: durability='group' goes on from its log"


class _Crash(BaseException):
    """Thrown by the record after which the engine is to stop as if it had been killed."""


class _Halted(BaseException):
    """Thrown at whoever still wants to record after the execution was aborted."""


class Execution:
    """One run on one kernel.

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
        self.number = number
        self.strict = strict
        self.deps = deps
        self.on_body = on_body
        self.on_event = on_event
        self.on_partial: Callable[[Context, int, Any], None] | None = None  # sees what steps emit, on their threads
        self.on_question = on_question
        self.on_end = on_end
        self.events: list[Event] = list(events)
        self.recorded = len(self.events)
        self.forgot = False
        self._room = room
        self._rebuilt = not self.events  # until then they are all needed, in their order
        self.state: RunState = fold(program.graph, self.events, changed=changed)
        self.instances: dict[tuple[int, int], Instance] = {}
        self.unfed: deque[Instance] = deque()
        self.pending: dict[tuple[int, int], Event] = {}
        self.deferred: list[tuple[Instance, Callable[[], None]]] = []
        self.causes: dict[tuple[int, int], BaseException] = {}
        self.error: BaseException | None = None
        self.driving = False
        self._advancing = False
        self._over = False
        self._crash_after = program.faults.crash_after if program.faults is not None else None

    # Time and luck

    def elapsed(self) -> int:
        """Give the microseconds since the run started."""
        return self.kernel.now - self.base

    def t(self) -> int:
        """Give the time for the next event: the kernel's, and never before the last event's."""
        now, last = self.kernel.now - self.base, self.state.last_t
        return now if now > last else last

    def dice_at(self, site: Site, item: int, leg: int, n: int) -> Stream:
        """Give the luck of one attempt at a site."""
        return Stream(self.dice_base, site.dice_path, item, leg, n)

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
        return event

    def has_record_of(self, inst: Instance, path: str, leg: int, n: int) -> bool:
        """Say whether the log that is fed back knows how this attempt ended."""
        return any(
            record.attempt == n and record.leg == leg and record.node == path
            for record in inst.records or ()
            if record.kind in ATTEMPT_ENDS
        )

    def has_answer(self, inst: Instance) -> bool:
        """Say whether the log that is fed back knows what came of this question."""
        return bool(inst.records)

    async def fence(self, inst: Instance) -> None:
        """Wait until everything recorded so far is durable; at once in virtual time, and while a log is fed back.

        Raises
        ------
        StoreWriteError
            If it cannot be made durable; the run then stops.
        """
        if self.driving:
            await self._fence_of_old(inst)
            return
        if not self.journal.behind():
            return
        self.journal.when_durable(partial(self.host.post, inst, inst.token))
        error = await suspend()
        if error is not None:
            raise error

    async def _fence_of_old(self, inst: Instance) -> None:
        # While it waited for the store others went on, so their records come first: it goes on when all are fed,
        # and not at all where the run was stopping.
        if not inst.records and (self._stopping() or self._is_feeding()):
            self.deferred.append((inst, lambda: self.kernel.resume(inst, None)))
            await suspend()

    def _is_feeding(self) -> bool:
        # Records only become fewer, so nobody who has none is asked again: n effects may all wait for their fence.
        unfed = self.unfed
        while unfed and not (unfed[0].records and self.instances.get((unfed[0].node, unfed[0].item)) is unfed[0]):
            unfed.popleft()
        return bool(unfed)

    def skip_injected(self, inst: Instance) -> None:
        """Pass over records of faults that are no longer injected; a resumed run has none."""
        while inst.records and inst.records[0].kind == "injected":
            inst.records.popleft()

    # What steps get

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
            if required or state.is_live(source):
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

    # From start to end

    def start(self, input: Any) -> None:
        """Admit the run: its first event, without which there is no run."""
        self.record(Event(self.t(), "run_started", body={"input": input}))

    def advance(self) -> None:
        """Do what the plan says until it says nothing; never re-entered, so that nothing recurses."""
        if self._advancing or self._over or self.driving:
            return
        self._advancing = True
        try:
            state = self.state
            while (state.ready or state.stale) and self.error is None and (action := plan(state)) is not None:
                seat = self.program.seats[action.node]
                if action.verb == "start":
                    if state.shared is not None and (conflict := self._conflict_before(action.node)) is not None:
                        self._fail(action.node, conflict)
                    else:
                        self._launch(seat, action.node, action.item)
                elif action.verb == "close":
                    self._close_map(seat, action.node)
                elif action.verb == "invalidate":
                    self._invalidate(action.node, action.item, state.stale[action.node, action.item])
                else:
                    status = "" if action.verb == "skip" else "effect"
                    self.record(self._node_event("skipped", action.node, status))
        except BaseException as error:
            self.abort(error)
        finally:
            self._advancing = False
        if not self.instances and not self.state.left:
            self._maybe_end()

    def _conflict_before(self, node: int) -> str | None:
        shared = self.state.shared
        if shared is None or self.state.standing[node] != READY:  # a map that has begun
            return None
        conflict = shared.conflict(shared.ancestors(node, self.state.values))
        return None if conflict is None else f"{ContextConflict.__name__}: {conflict}"

    def _fail(self, node: int, error: str) -> None:
        self.record(self._node_event("settled", node, "failed", error))
        self.stop("failed")

    def _launch(self, seat: Seat, node: int, item: int) -> Instance:
        inst = self.instances[node, item] = Instance(self, node, item)
        before = self.recorded
        self.kernel.start(inst, pipeline(seat, inst))
        # The plan would start it again for ever if its first segment did not record that it began.
        assert self.recorded > before or self.driving or self.error is not None
        return inst

    def _node_event(self, kind: str, node: int, status: str, error: str = "") -> Event:
        state = self.state
        generation = 1 if not state.generations else state.generation(node)
        name = self.program.seats[node].node.name
        return Event(self.t(), kind, name, generation=generation, status=status, error=error)

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
            self._fail(node, error)

    def settle(self, inst: Instance, outcome: Outcome) -> None:
        """Record what an instance came to, unless the end of its attempt has said it, and go on."""
        try:
            self._settle(inst, outcome)
        except BaseException as error:
            self.abort(error)
            return
        self.advance()

    def _settle(self, inst: Instance, outcome: Outcome) -> None:
        seat = self.program.seats[inst.node]
        name, generation = seat.node.name, inst.generation
        del self.instances[inst.node, inst.item]
        cause, inst.cause = inst.cause, None  # its traceback holds the frames that hold the instance: a cycle
        if inst.settled:  # the end of its attempt has said so
            return
        if outcome.failure is None:
            status = "degraded" if outcome.status == "degraded" else "completed"
            self.emit(inst, Event(self.t(), "settled", name, inst.item, generation, status=status))
        elif seat.node.on_error == "skip":
            error = str(outcome.failure)
            self.emit(inst, Event(self.t(), "skipped", name, inst.item, generation, status="error", error=error))
        else:
            if cause is not None:
                self.causes[inst.node, inst.item] = cause
            error = str(outcome.failure)
            self.emit(inst, Event(self.t(), "settled", name, inst.item, generation, status="failed", error=error))
            self.stop("failed")

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
        if item >= 0 and (progress is None or item >= progress.next):
            name = self.program.seats[node].node.name
            raise DefinitionError(f"{name!r}[{item}] of run {self.run_id!r} has not begun: nothing of it starts again")
        try:
            self._invalidate(node, item, status, why, by)
        except BaseException as error:
            self.abort(error)
            return
        self.advance()

    def _invalidate(self, node: int, item: int, status: str, why: str | None = None, by: str = "") -> None:
        drop_open(self, node, item)
        self.causes.pop((node, item), None)
        if self.error is None:
            name, generation = self.program.seats[node].node.name, self.state.generation(node) + 1
            self.record(Event(self.t(), "invalidated", name, item, generation, status=status, by=by, body=why))

    def _invalidate_stale(self) -> None:
        state = self.state
        while state.stale and self.error is None and (action := plan(state)) is not None:
            self._invalidate(action.node, action.item, state.stale[action.node, action.item])

    def stop(self, status: str) -> None:
        """Start nothing new, cancel what is in flight in key order, and end the run."""
        if self._over or self.driving:
            return
        self._cancel_instances()
        if self.error is None:
            self._end(status)

    def _cancel_instances(self) -> None:
        for inst in sorted(self.instances.values(), key=lambda one: one.key):
            self.hide_pending(inst)
            self.kernel.cancel(inst)
        self.instances.clear()

    def cancel(self, by: str = "", why: str = "") -> None:
        """End the run on somebody's wish; what is recorded stays."""
        if self._over:
            return
        try:
            self.record(Event(self.t(), "cancelled", by=by, body=why or None))
            self.stop("cancelled")
        except BaseException as error:
            self.abort(error)

    def suspend(self, by: str = "", why: str = "") -> None:
        """Stop without an end: bodies are dropped, and a resume runs again what has no outcome in the log."""
        if self._over:
            return
        try:
            self.record(Event(self.t(), "suspended", by=by, body=why or None))
        except BaseException as error:
            self.abort(error)
            return
        who = f" by {by}" if by else ""
        because = f": {why}" if why else ""
        self.abort(
            RunSuspended(
                f"run {self.run_id!r} was suspended{who}{because}; go on with store.resume({self.run_id!r}, workflow)",
                run_id=self.run_id,
            )
        )

    def _maybe_end(self) -> None:
        if not self._over and self.error is None:
            try:
                self._end("degraded" if self.state.degraded else "completed")
            except BaseException as error:
                self.abort(error)

    def _end(self, status: str) -> None:
        if status == "degraded" and not any(
            self.state.standing[sink] in (COMPLETED, DEGRADED) for sink in self.program.graph.sinks
        ):
            status = "failed"
        error = ""
        shared = self.state.shared
        if shared is not None and status != "failed" and (conflict := shared.conflict(shared.everyone)) is not None:
            status, error = "failed", f"{ContextConflict.__name__}: {conflict}"
        body = result_of(self.state) if status in ("completed", "degraded") else None
        self._over = True
        self.record(Event(self.t(), "run_ended", status=status, error=error, body=body))
        self.journal.when_durable(self._tell_end)

    def _tell_end(self, error: BaseException | None) -> None:
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
        for inst in list(self.instances.values()):
            self._drop(inst)
        self.instances.clear()
        self.pending.clear()
        self._tell_end(error)

    def _drop(self, inst: Instance) -> None:
        inst.token += 1
        inst.tell_late()
        if inst.handle is not None:
            self.host.stop(inst.handle)
            inst.handle = None
        if inst.coro is not None and self.kernel.current is not inst:
            coro, inst.coro = inst.coro, None
            _discard(coro)

    def raise_if_stuck(self) -> None:
        """Raise when nothing is left that could ever happen; for hosts whose time ends with the heap.

        Raises
        ------
        RunStuck
            Naming what waits for what.
        """
        if self._over or self.error is not None:
            return
        names = sorted(self.program.seats[inst.node].node.name for inst in self.instances.values())
        raise RunStuck(
            f"run {self.run_id!r} waits for ever at {self.elapsed() / 1e6:g} s in {', '.join(dict.fromkeys(names))}: "
            "nothing that could wake it is left; give the step a timeout, or the approval a person or a timeout",
            run_id=self.run_id,
            node=names[0] if names else "",
        )

    # People

    def show_pending(self, inst: Instance, asked: Event) -> None:
        """Make a question visible; it is durable by now."""
        self.pending[inst.node, inst.item] = asked
        if self.on_question is not None:
            self.on_question()

    def hide_pending(self, inst: Instance) -> None:
        """Take a question back: it is settled, or the run stops."""
        self.pending.pop((inst.node, inst.item), None)

    # Resuming

    def redrive(self) -> None:
        """Continue a log: rebuild the open instances from their records, then go on.

        Raises
        ------
        ReplayMismatch
            If the workflow wants something else than the log holds.
        """
        redrive(self)
        self._rebuilt = True
        waiting, self.deferred = self.deferred, []
        if self._stopping():
            self.stop("failed" if self.state.failing is not None else "cancelled")
            return
        self._invalidate_stale()  # before any body: one whose input has changed must not start again
        for inst, go_on in sorted(waiting, key=lambda pair: pair[0].key):
            if self.instances.get((inst.node, inst.item)) is inst:
                go_on()
        self.advance()

    def rebase(self) -> None:
        """Place the log before now: one from a clock that is ahead must not move a kernel that others share."""
        self.base = min(self.base, self.kernel.now - self.state.last_t)

    def _stopping(self) -> bool:
        return self.state.failing is not None or self.state.cancelling


def _discard(coro: Any) -> None:
    try:
        coro.close()
    except BaseException:
        pass  # a coroutine that is mid-flight in an outer frame is dropped with that frame

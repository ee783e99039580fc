"""Live runs: on the engine's thread, by the wall, into a store."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import count
from typing import Any

from orchkit.clock.bridge import done_with
from orchkit.clock.dice import base_of
from orchkit.clock.ids import fresh_run_id
from orchkit.clock.kernel import micro
from orchkit.clock.live import EngineThread, engine_thread
from orchkit.engine.context import Context
from orchkit.engine.execution import Execution
from orchkit.engine.operating import is_quiet
from orchkit.engine.program import Program
from orchkit.engine.questions import awaits_people
from orchkit.engine.stopping import suspend
from orchkit.errors import DefinitionError, RunCrashed, RunError, RunSuspended
from orchkit.model.events import Event
from orchkit.model.protocols import Journal, RunStore
from orchkit.model.questions import asking_order
from orchkit.model.records import Head
from orchkit.runs.changes import go_on_from, rehearse
from orchkit.runs.clerk import Approver
from orchkit.runs.desk import Desk
from orchkit.runs.fingerprint import fingerprints
from orchkit.runs.gates import gates_of
from orchkit.runs.handle import Handle, PastRun, failing_key, run_error, typed_result
from orchkit.runs.mail import checked_text, mailbox_of
from orchkit.runs.operating import Deed, prepared, refusal
from orchkit.runs.partials import Piece
from orchkit.runs.sources import Follower, Followers, Going, Look, Source

__all__ = ["DURABILITY", "LiveRun", "live_run", "present", "resume", "start", "suspend_runs_of"]

DURABILITY = ("strict", "group", "exit", "memory")

_LIVE: dict[tuple[RunStore, str], LiveRun] = {}  # a copy of a store has the same ids
_INSIDE: ContextVar[str] = ContextVar("orchkit_inside", default="")
_NUMBERS = count(1)
_ROOM = 20_000  # events of a run that are kept in memory, some 5 MB; a run of a million stays as small


def live_run(store: RunStore | None, run_id: str) -> LiveRun | None:
    """Give the run of that id if this process is executing it."""
    run = None if store is None else _LIVE.get((store, run_id))
    return None if run is None or run._engine.pid != os.getpid() else run


def present(handle: Handle) -> Handle:
    """Give a run as it can be answered now: where this process executes it, or else by what its store holds."""
    store, run_id = handle.store, handle.head.run_id
    going = live_run(store, run_id)
    if going is not None:
        return going
    stopped = isinstance(handle, LiveRun) and handle.status() in ("suspended", "orphaned", "failed", "cancelled")
    if store is None or mailbox_of(store) is None or not stopped:
        return handle
    holder = store.holders().get(run_id)  # type: ignore[attr-defined]  # whoever takes letters has them
    return PastRun(handle.head, store.events(run_id), handle.program, holder=holder, store=store)


class LiveRun:
    """A run that this process executes.

    Every method may be called from any thread; the execution itself is touched on the engine's thread only.
    """

    def __init__(
        self,
        head: Head,
        program: Program,
        store: RunStore,
        journal: Journal,
        deps: object,
        events: list[Event],
        *,
        changed: bool = False,
        approver: Approver | None = None,
    ) -> None:
        self.head = head
        self.deps = deps
        self.on_interrupt = "suspend"
        self.store: RunStore | None = store
        self.program: Program | None = program
        self._program = program
        self._engine: EngineThread = engine_thread()
        self._outcome: Future[Any] = _Waited()
        self._settled: list[Future[None]] = []
        self._watchers: dict[Callable[[Event], None], None] = {}
        self._followers = Followers()
        self._lock = threading.Lock()
        host = self._engine.host
        self._execution = Execution(
            program,
            host.kernel,
            host,
            journal,
            run_id=head.run_id,
            base=head.started,
            dice_base=base_of(0, head.run_id),
            events=events,
            changed=changed,
            number=next(_NUMBERS),
            strict=head.durability == "strict",
            room=_ROOM if head.durability in ("group", "strict") else sys.maxsize,
            gates=gates_of(self._engine),
            deps=deps,
            on_body=partial(_INSIDE.set, head.run_id),
            on_question=self._asked,
            on_end=self._ended,
        )
        self._desk = Desk(head, program.graph, self._execution, self._engine, store, approver)

    # On the engine's thread

    def begin(self, value: Any, deadline: int | None, admitted: Future[None] | None) -> None:
        """Record the start, say when it is durable, and go."""
        execution = self._execution
        self._engine.host.stamp()
        try:
            execution.start(value, deadline)
        except BaseException as error:
            execution.abort(error)
        # Before it goes on: `start` returns when the admission is durable, whatever else follows.
        self._admit(admitted)
        execution.advance()
        self._engine.host.pump()

    def _admit(self, admitted: Future[None] | None) -> None:
        if admitted is None:  # nobody waits for it
            return
        # One voice: were it told yes by the store's thread and no by the engine's, the faster would win.
        error = self._execution.error
        if error is None or isinstance(error, RunCrashed):
            self._execution.journal.when_durable(lambda failure: _tell(admitted, failure))
        else:
            _tell(admitted, error)

    def go_on(self, news: dict[str, Any], admitted: Future[None] | None) -> None:
        """Record that it is resumed, and what is new; rebuild what was open, and go."""
        execution = self._execution
        self._engine.host.stamp()
        execution.rebase()
        try:
            execution.record(Event(execution.t(), "resumed", body=news or None))
            execution.redrive()
        except BaseException as error:
            execution.abort(error)
        self._desk.look_at_once()
        self._admit(admitted)
        self._engine.host.pump()

    def _saw(self, event: Event) -> None:
        for watcher in tuple(self._watchers):
            watcher(event)
        self._followers.ring()
        self._look_soon()

    def _asked(self) -> None:
        self._desk.asked()
        self._look_soon()

    def _look_soon(self) -> None:
        if self._settled:
            # What follows in the same instant may open something new: look once it is quiet.
            self._engine.loop.call_soon(self._tell_settled)

    def _quiet(self) -> bool:
        execution = self._execution
        return self._outcome.done() or awaits_people(execution) or is_quiet(execution)

    def _tell_settled(self) -> None:
        if self._quiet():
            waiting, self._settled = self._settled, []
            for future in waiting:
                future.set_result(None)

    def _ended(self, error: BaseException | None) -> None:
        # From whichever thread has committed the end, the writer's or the engine's; from the engine's when it broke.
        # Types of users are not rebuilt on the writer's: it would keep every other run waiting.
        if self._engine.on_it():
            self._finish(error)
            return
        try:
            self._engine.loop.call_soon_threadsafe(self._finish, error)
        except RuntimeError:  # the loop is closed: Python ends
            self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        self.forget()
        self._desk.close()
        self.release()  # before anybody is told: who hears of a failure may resume it at once
        with self._lock:
            if self._outcome.done():
                return
            try:
                error = error or self._execution.error or self._failure()
                value = typed_result(self._program, self._execution.state) if error is None else None
            except Exception as broken:  # whoever waits must hear of it, whatever it is
                self._outcome.set_exception(broken)
            else:
                self._tell_outcome(value, error)
        self._tell_settled()
        self._followers.ring()
        # These make a cycle. Without it what ends is freed at once and not by the garbage collector, which took a tenth
        # of the time of two hundred runs at once to go through all objects there are.
        self._execution.questions.on_question = self._execution.on_event = self._execution.on_end = None
        self._execution.on_partial = None

    def _tell_outcome(self, value: Any, error: BaseException | None) -> None:
        if error is None:
            self._outcome.set_result(value)
        else:
            self._outcome.set_exception(error if isinstance(error, RunError) else _stopped(self.head.run_id, error))

    def forget(self) -> None:
        """Be found by its id no more."""
        if self.store is not None:
            _LIVE.pop((self.store, self.head.run_id), None)

    def release(self) -> None:
        """Let the run go; whoever takes it next comes behind its last record."""
        self._execution.journal.release()

    def _failure(self) -> BaseException | None:
        execution = self._execution
        if execution.state.status in ("completed", "degraded"):
            return None
        events = self.log()
        error = run_error(self.head, events)
        key = failing_key(events)
        error.__cause__ = error.__cause__ if key is None else execution.causes.get(key)
        return error

    def let_go(self, why: str) -> None:
        """Drop it without another record, on the engine's thread; its log is what is left."""
        self._execution.abort(
            RunSuspended(f"run {self.head.run_id!r} stopped: {why}; go on with store.resume", run_id=self.head.run_id)
        )

    # From anywhere

    def log(self) -> list[Event]:
        """Give its events so far; the last may not be durable yet."""
        events = list(self._execution.events)
        return self._whole() if self._execution.forgot else events

    def _whole(self) -> list[Event]:
        assert self.store is not None
        return self.store.events(self.head.run_id)

    def status(self) -> str:
        """Give its status; "waiting" when only people are awaited, be it that they let it go on."""
        execution = self._execution
        if execution.error is not None:
            return "suspended" if isinstance(execution.error, RunSuspended) else "orphaned"
        if execution.state.status != "running":
            return execution.state.status if self._outcome.done() else "running"
        return "waiting" if self._quiet() else "running"

    def outcome(self) -> Future[Any]:
        """Give the future of its result.

        Raises
        ------
        RunError
            Inside one of its own steps, which would wait for itself.
        """
        self._refuse_inside()
        return self._outcome

    def _refuse_inside(self) -> None:
        self._refuse_forked()
        if _INSIDE.get() == self.head.run_id and not self._outcome.done():
            raise RunError(
                f"a step of run {self.head.run_id!r} waits for its own run, which waits for the step",
                run_id=self.head.run_id,
            )

    def paused(self) -> bool:
        """Say whether somebody has paused it."""
        return self._execution.state.paused

    def settled(self) -> Future[None]:
        """Give a future that is done when only people are awaited, or nobody; refused inside its own steps."""
        self._refuse_inside()
        future: Future[None] = _Waited()

        def look() -> None:
            self._execution.on_event = self._saw
            self._settled.append(future)
            self._tell_settled()

        self._engine.loop.call_soon_threadsafe(look)
        return future

    def watch(self, watcher: Callable[[Event], None]) -> None:
        """Call `watcher` on the engine's thread with each event from now on; it must not block or raise."""
        self._watchers[watcher] = None
        self._listen()

    def unwatch(self, watcher: Callable[[Event], None]) -> None:
        """Call it no more; safe to call twice."""
        self._watchers.pop(watcher, None)

    def source(self) -> Source:
        """Give what a stream of its events reads."""
        return Going(self)

    def follow(self, follower: Follower) -> None:
        """Ring whenever there is more to look at, and at the end; hand it what steps emit, if it wants that."""
        self._followers.add(follower)
        self._listen()

    def unfollow(self, follower: Follower) -> None:
        """Ring no more; safe to call twice."""
        self._followers.remove(follower)
        self._listen()

    def _listen(self) -> None:
        if not self._outcome.done():
            self._execution.on_event = self._saw
            self._execution.on_partial = self._said if self._followers.want_partials() else None

    def _said(self, ctx: Context, n: int, chunk: Any) -> None:
        # On whichever thread the step runs. The kernel's time stands still while a body runs, so the wall is asked.
        execution = self._execution
        t = max(self._engine.host.time() - execution.base, 0)
        who = ctx.node, -1 if ctx.item is None else ctx.item, ctx.generation, ctx.leg, ctx.attempt
        self._followers.hand(Piece(who, n, t, chunk), execution.recorded)

    def look(self, after: int, limit: int) -> Future[Look]:
        """Give what was recorded after the first `after` events; refused inside its own steps until it has ended."""
        if self._outcome.done():
            return done_with(self._look(after, limit))
        self._refuse_inside()
        return self._engine.submit(lambda: self._look(after, limit))

    def _look(self, after: int, limit: int) -> Look:
        execution, over = self._execution, self._outcome.done()
        start = after - (execution.recorded - len(execution.events))
        if start < 0:
            return Look(None, over, durable=True)
        # The other durabilities never say that they are behind: nothing was promised until the run stops.
        durable = not execution.journal.behind() and (over or self.head.durability != "exit")
        return Look(execution.events[start : start + limit], over, durable)

    def pending(self) -> list[Event]:
        """Give the questions that are open, as they were asked: a resume puts them there in an order of its own."""
        asked = list(self._execution.pending.values())
        return sorted(asked, key=lambda event: asking_order(event.t, event.node, event.item))

    def answer(self, name: str, value: Any, *, by: str, item: int | None = None, via: str = "python") -> None:
        """Answer an open question; see `Desk.answer`."""
        self._refuse_forked()
        self._desk.answer(name, value, by=by, via=via, item=item)

    def escalate(self, name: str, *, to: str, by: str, why: str, item: int | None, via: str = "python") -> None:
        """Hand an open question to somebody else; see `Desk.escalate`."""
        self._refuse_forked()
        self._desk.escalate(name, to=to, by=by, why=why, via=via, item=item)

    def cancel(self, *, by: str = "", why: str = "", undo: bool = False) -> None:
        """End it; returns when that is durable, and what is recorded stays."""
        by, why = checked_text("by", by, self.head.run_id), checked_text("why", why, self.head.run_id)
        self._act(lambda: self._execution.cancel(by, why, undo))

    def suspend(self, *, by: str = "", why: str = "") -> None:
        """Stop it for now; returns when that is durable, and `resume` goes on with it."""
        by, why = checked_text("by", by, self.head.run_id), checked_text("why", why, self.head.run_id)
        self._act(lambda: suspend(self._execution, by, why))

    def operate(self, deed: Deed) -> None:
        """Do what somebody wants of it; returns when that is durable.

        Raises
        ------
        DefinitionError
            If a name or a value does not fit.
        RunError
            If it has ended, or what is named has not begun.
        """
        run_id = self.head.run_id
        checked_text("by", deed.by, run_id), checked_text("why", deed.why, run_id)
        act = prepared(self._program, run_id, deed)

        def check_and_act() -> None:
            if self._execution.is_over:
                raise refusal(run_id, self.status(), deed.said)
            act(self._execution)
            self._engine.host.pump()  # what begins may have a bound

        self._act(check_and_act)

    def _act(self, action: Callable[[], None]) -> None:
        self._refuse_forked()
        told: Future[None] = Future()

        def act() -> None:
            self._engine.host.stamp()
            self._engine.host.go_on(action)
            self._execution.journal.when_durable(lambda error: _tell(told, error))

        self._engine.call(act)  # what it refuses comes out here
        if not self._engine.on_it():
            told.result()

    def _refuse_forked(self) -> None:
        if os.getpid() != self._engine.pid:
            raise RunError(
                f"run {self.head.run_id!r} is executed by the process that this one was forked from; act on it there",
                run_id=self.head.run_id,
            )


class _Waited(Future[Any]):
    """A future of the engine's, which refuses to be waited for on the thread that would have to settle it."""

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result, unless that would block the engine."""
        if not self.done() and timeout != 0 and engine_thread().on_it():
            raise RunError(
                "waiting for a run inside an async step would block the engine that has to finish it; "
                "await the run there, or wait in a step written with plain def"
            )
        return super().result(timeout)


def _tell(future: Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _stopped(run_id: str, error: BaseException) -> RunError:
    stopped = RunError(f"run {run_id!r} stopped: {error}", run_id=run_id)
    stopped.__cause__ = error
    return stopped


def start(
    program: Program,
    value: Any,
    *,
    store: RunStore,
    durability: str,
    deps: object,
    approver: Approver | None = None,
    deadline: float | None = None,
) -> LiveRun:
    """Begin a run; returns when its admission is durable.

    Parameters
    ----------
    program : Program
    value : object
        The input's JSON.
    store : RunStore
    durability : {"strict", "group", "exit", "memory"}
    deps : object
        Handed to steps; never recorded.
    approver : callable, optional
        Asked for each question.
    deadline : float, seconds, optional
        From now on.

    Raises
    ------
    DefinitionError
        For an unknown durability.
    StoreWriteError
        If the store cannot take it; nothing has run then.
    """
    if durability not in DURABILITY:
        raise DefinitionError(f"durability={durability!r}: use one of {', '.join(DURABILITY)}")
    head = Head(
        fresh_run_id(),
        program.graph.name,
        started=engine_thread().host.time(),
        durability=durability,
        fingerprints=fingerprints(program.graph),
    )
    journal = store.admit(head)
    with _released_if_refused(journal):
        run = LiveRun(head, program, store, journal, deps, [], approver=approver)
    bound = None if deadline is None else micro(deadline)
    _launch(run, lambda admitted: run.begin(value, bound, admitted))
    return run


@contextmanager
def _released_if_refused(journal: Journal) -> Iterator[None]:
    try:
        yield
    except BaseException:
        journal.release()
        raise


def resume(
    program: Program,
    run_id: str,
    *,
    store: RunStore,
    deps: object,
    on_change: Any,
    tell: Callable[[str], object] = print,
    approver: Approver | None = None,
) -> LiveRun | None:
    """Go on with a run from its log; returns when that is durable, or None when the run is already done.

    Parameters
    ----------
    on_change : str or dict
        As in ``store.resume``.
    tell : callable
        Gets the one line that says what runs again, if anything does because of a change, before it does.
    approver : callable, optional
        Asked for each question.

    Raises
    ------
    RunUnknown
        If the store has no such run.
    RunHeld
        If somebody is executing it.
    DefinitionChanged
        If the workflow is not the recorded one and `on_change` says "error".
    ChangedEffect
        If an effect that is done would be done again.
    ReplayMismatch
        If the workflow wants something else than the log holds.
    """
    head, events, journal = store.take(run_id)
    with _released_if_refused(journal):
        if head.workflow != program.graph.name:
            raise DefinitionError(f"run {run_id!r} is of workflow {head.workflow!r}, not {program.graph.name!r}")
        if events[-1].kind == "run_ended" and events[-1].status in ("completed", "degraded"):
            journal.release()
            return None
        going = go_on_from(head, events, program.graph, on_change)
        if going.changed:
            rehearse(program, head, events, going)
        if going.line:
            tell(going.line)
        run = LiveRun(head, program, store, journal, deps, events, changed=going.lenient, approver=approver)
    _launch(run, partial(run.go_on, going.news))
    return run


def _launch(run: LiveRun, begin: Callable[[Future[None] | None], None]) -> None:
    assert run.store is not None
    _LIVE[run.store, run.head.run_id] = run
    engine = engine_thread()
    if _let_all_go not in engine.at_close:
        engine.at_close.append(_let_all_go)
    try:
        if engine.on_it():
            begin(None)  # to wait here would block the engine that has to be waited for
        else:
            admitted: Future[None] = Future()
            engine.submit(lambda: begin(admitted)).result()
            admitted.result()
    except KeyboardInterrupt:
        # Nobody will hold its handle, so it must not go on spending; and it is still executed until it is stopped.
        run.suspend(why="interrupted")
        raise
    except BaseException:
        run.forget()
        run.release()
        raise


def suspend_runs_of(store: RunStore) -> None:
    """Stop for now whatever this process executes in a store that is about to close; a later resume goes on."""
    for run in list(_LIVE.values()):
        if run.store is store and run._engine.pid == os.getpid():
            run.suspend(why="the store was closed")


def _let_all_go() -> None:
    for run in list(_LIVE.values()):
        run.let_go("Python has ended")

"""The run: one execution, live or finished, as users hold it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from orchkit.clock.bridge import wait_async, wait_blocking
from orchkit.errors import ApprovalUnknown, DefinitionError, RunError
from orchkit.runs.fork import Fork, fork
from orchkit.runs.frames import event_frame
from orchkit.runs.handle import Handle, receipt, shared_of
from orchkit.runs.operating import Deed

if TYPE_CHECKING:
    import pandas as pd

    from orchkit.engine.program import Program
    from orchkit.hall.workflow import Workflow
    from orchkit.model.events import Event

__all__ = ["Run"]


class Run:
    """One execution of a workflow.

    It comes from ``wf.start``, ``wf.simulate``, ``store.resume`` and ``store.run``; all give the same object. Await
    it in a cell, or call `result` from plain Python.

    Attributes
    ----------
    id : str
    status : str
        "running", "waiting" (only people are awaited; also when `paused` and quiet), "completed", "degraded", "failed",
        "cancelled", "suspended", or "orphaned" (its log has no end and nothing executes it).

    Examples
    --------
    >>> import orchkit as ok
    >>> wf = ok.Workflow("hello", input=str)
    >>> @wf.step
    ... def greet(input: str) -> str:
    ...     return f"Hello {input}"
    >>> run = wf.simulate("Dana", world=ok.World())
    >>> run.status, run.events.kind.tolist()
    ('completed', ['run_started', 'started', 'completed', 'run_ended'])
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    @property
    def id(self) -> str:
        """The run's id; derived from seed and case for a simulated run."""
        return self._handle.head.run_id

    @property
    def status(self) -> str:
        """The run's status now."""
        return self._handle.status()

    @property
    def events(self) -> pd.DataFrame:
        """The log as a DataFrame, a row an event.

        Columns: seq, t (s since the start), wall (UTC, NaT for a virtual run), run, kind, node, item, generation,
        leg, attempt, status, dur (s), cost (USD), tokens, error, by, body. They mean what they mean in the store's
        view ``event``, and differ from it in this: `seq` counts within the run, from 1; text that does not apply is
        "" and not null (node, status, error, by); `body` is the object and not JSON text; there is no `key`.
        Made anew each time. Of a live run the last rows may not be durable yet.
        """
        return event_frame(self._handle.head, self._handle.log())

    @property
    def log(self) -> list[Event]:
        """The log as it is, copied; times in integer microseconds since the start."""
        return self._handle.log()

    @property
    def receipt(self) -> str:
        """A digest of the log: ``exact:`` of a virtual run, ``canonical:`` (times left out) of a live one."""
        return receipt(self._handle.head, self._handle.log())

    @property
    def shared(self) -> Any:
        """The shared context as all steps that are done have written it: an instance of the model of ``wf.context``.

        Folded anew from the log each time, also while the run goes on. Of a run that was looked up without its
        workflow, whose rules would fold it: a dict of what each step wrote.

        Raises
        ------
        ContextConflict
            If two steps, neither before the other, wrote a field that has no merge rule.
        DefinitionError
            If the workflow has no context.
        """
        return shared_of(self._handle.program, self.id, self._handle.log())

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the result, as `result` does, without blocking the loop.

        Returns
        -------
        object
            What the workflow delivers.

        Raises
        ------
        RunError
            If the run ended without a result, was suspended, or is awaited inside one of its own steps.

        Notes
        -----
        Any cancellation of the task that awaits suspends the run: it stops spending, and ``store.resume`` goes on
        with it. The Interrupt button is one; so are ``asyncio.wait_for``, ``asyncio.timeout`` and a ``TaskGroup`` of
        which another task failed. To look without stopping it use ``run.status``, ``await run.settled()`` or
        ``run.result(timeout=...)``, or await it inside ``asyncio.shield``.
        """
        return wait_async(self._handle.outcome(), lambda: self.suspend(why="interrupted")).__await__()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result in plain Python; blocks the calling thread.

        Ctrl-C suspends the run; `timeout` does not, it only stops the waiting.

        Parameters
        ----------
        timeout : float, seconds, >= 0, optional
            How long to wait; without it, until the run ends, people's answers included.

        Returns
        -------
        object
            What the workflow delivers.

        Raises
        ------
        RunError
            If the run ended without a result: node and attempt are attributes. Also if it was suspended, or if this
            would block the engine that has to finish it.
        TimeoutError
            If it has not ended in time; it goes on.
        """
        outcome = self._handle.outcome()
        try:
            return wait_blocking(outcome, timeout, lambda: self.suspend(why="interrupted"))
        except TimeoutError:
            if outcome.done():
                raise
            raise TimeoutError(f"run {self.id!r} has not ended after {timeout:g} s; {self._awaits()}") from None

    def _awaits(self) -> str:
        names = self.pending()
        if self.status != "waiting" or not names:
            return "it goes on"
        listed = ", ".join(map(repr, names))
        return f"it waits for {listed}: run.answer({names[0]!r}, ...)"

    async def settled(self) -> Run:
        """Wait until the run is done, only people are awaited, or it is paused and quiet; never waits for a person.

        Does not block the loop. A cancellation ends the waiting, and the run goes on.

        Returns
        -------
        Run
            This one, however it ended: it raises nothing of the run's own failure.

        Raises
        ------
        RunError
            Inside one of the run's own steps, which would wait for itself.
        """
        await wait_async(self._handle.settled(), lambda: None)
        return self

    def wait_settled(self, timeout: float | None = None) -> Run:
        """Wait as `settled` does, in plain Python; blocks the calling thread. Ctrl-C leaves the run as it is.

        Parameters
        ----------
        timeout : float, seconds, >= 0, optional
            How long to wait; without it, until the run is settled.

        Returns
        -------
        Run
            This one.

        Raises
        ------
        TimeoutError
            If it has not settled in time; it goes on.
        RunError
            Inside one of the run's own steps, which would wait for itself.
        """
        wait_blocking(self._handle.settled(), timeout, lambda: None)
        return self

    def pending(self) -> list[str]:
        """Give the names of the approvals that are open, as they were asked; returns at once.

        Returns
        -------
        list of str
            Empty when nothing is asked, or the run has ended. Of a run that is suspended or orphaned: what it will
            ask again once it is resumed.
        """
        return [event.node for event in self._handle.pending()]

    def question(self, name: str, *, item: int | None = None) -> Any:
        """Give what an open approval shows; returns at once.

        Parameters
        ----------
        name : str
            The approval's.
        item : int, optional
            Which one, where several are open under the name; without it, the first.

        Returns
        -------
        object
            JSON: the recorded value of the node that its ``show=`` names; None without one.

        Raises
        ------
        ApprovalUnknown
            If it is not open.
        """
        for event in self._handle.pending():
            if event.node == name and item in (None, event.item):
                return event.body["show"]
        raise ApprovalUnknown(
            f"run {self.id!r} does not ask {name!r} now; open: {', '.join(self.pending()) or 'none'}",
            run_id=self.id,
            node=name,
        )

    def answer(self, name: str, value: Any, *, by: str = "", item: int | None = None) -> None:
        """Answer an approval; blocks until the answer is durable, which takes milliseconds.

        Parameters
        ----------
        name : str
        value : object
            What the approval's ``answer=`` describes.
        by : str
            Who answers; recorded.
        item : int, optional
            Which one, where several are open under the name.

        Raises
        ------
        ApprovalUnknown
            If it is not open, or the name fits several.
        AnswerInvalid
            If the answer does not fit; the question stays open.
        AnswerLate
            If another answer or the deadline came first.
        RunError
            If nothing executes the run: resume it first.
        StoreWriteError
            If the answer could not be made durable.
        """
        self._handle.answer(name, value, by=by, item=item)

    def cancel(self, *, by: str = "", why: str = "", undo: bool = False) -> None:
        """End the run: bodies are cancelled and recorded so, and what is recorded stays.

        Blocks until that is durable, which takes milliseconds. ``store.resume`` goes on with it, unless it has
        ``durability="memory"``. A run that has ended stays as it is.

        Parameters
        ----------
        by : str
            Who ends it; recorded.
        why : str
            Recorded, and part of the error that awaiting the run raises.
        undo : bool
            Whether what is done and has an ``undo=`` is undone first, as when a run fails. The call returns before
            that; the run ends after it.

        Raises
        ------
        RunError
            If `by` or `why` is no text.
        StoreWriteError
            If the end could not be made durable.
        """
        self._handle.cancel(by=by, why=why, undo=undo)

    def suspend(self, *, by: str = "", why: str = "") -> None:
        """Stop the run for now: bodies are dropped, and ``store.resume`` runs again what has no outcome yet.

        Blocks until that is durable, which takes milliseconds. Who awaits the run gets `RunSuspended`. A run that
        has ended stays as it is; one with ``durability="memory"`` cannot be resumed.

        Parameters
        ----------
        by : str
            Who stops it; recorded.
        why : str
            Recorded.

        Raises
        ------
        RunError
            If `by` or `why` is no text.
        StoreWriteError
            If that could not be made durable.
        """
        self._handle.suspend(by=by, why=why)

    @property
    def paused(self) -> bool:
        """Whether somebody has paused the run, and nobody has let it go on since."""
        return self._handle.paused()

    def pause(self, *, by: str = "", why: str = "") -> None:
        """Let nothing new start: no step, no item of a map, no further attempt, no fallback, no question.

        Attempts in flight go on to their end, and questions that are open can be answered. Once only such are left
        the run is "waiting", and `settled` returns; what has ended by then decides no less than before, so a run of
        which the last step was in flight ends. Deadlines and time-outs go on. Blocks until it is durable, which takes
        milliseconds; ``store.resume`` finds the run paused still. Does nothing to a run that is paused already.

        Parameters
        ----------
        by, why : str
            Who did it, and why; recorded.

        Raises
        ------
        RunError
            If the run has ended or another process executes it.
        StoreWriteError
            If it could not be made durable.

        See Also
        --------
        unpause
            Lets it go on. (``store.resume`` is for a run that nobody executes.)
        suspend
            Stops what is in flight too.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("letter", input=str)
        >>> wf.approval("review", answer=bool, show="input")
        >>> @wf.step
        ... def send(input: str, review: bool) -> str:
        ...     return f"sent {input}"
        >>> run = wf.start("Dear Dana", durability="memory").wait_settled()
        >>> run.pause(by="lee", why="the printer is down")
        >>> run.answer("review", True)
        >>> run.wait_settled().status, run.paused
        ('waiting', True)
        >>> run.unpause(by="lee")
        >>> run.result()
        'sent Dear Dana'
        """
        self._handle.operate(Deed("pause", by=by, why=why))

    def unpause(self, *, by: str = "", why: str = "") -> None:
        """Let a paused run go on; does nothing to one that is not. Blocks until it is durable.

        Parameters
        ----------
        by, why : str
            Who did it, and why; recorded.

        Raises
        ------
        RunError
            If the run has ended or another process executes it.
        StoreWriteError
            If it could not be made durable.
        """
        self._handle.operate(Deed("unpause", by=by, why=why))

    def override(self, node: str, value: Any, *, item: int | None = None, by: str = "", why: str = "") -> None:
        """Say what a node comes to: its result is now this value, whatever it does or has done.

        An attempt in flight is cancelled, a question withdrawn; a node that has not begun never will. What has used
        another value begins again; what follows from an equal one stays as it is. The node keeps the value however
        its inputs change, until somebody retries it. What it wrote to the shared context is dropped. Blocks until it
        is durable.

        Parameters
        ----------
        node : str
            A node's path: ``"draft"``, or within the workflow that a node holds ``"enrich/extract"``,
            ``"lookup[3]/check"``, ``"polish#2/critic"``. Attempts and rounds may be left out: the latest counts. If
            that node has settled, it begins a next generation, and goes on with the one that was changed within it.
        value : object
            What the node delivers, validated by its annotation: of a route the target, or a list of them; of an
            approval its answer; of a map the whole list, or with `item` what that item delivers.
        item : int, optional
            Of a map that has begun.
        by, why : str
            Who did it, and why; recorded.

        Raises
        ------
        DefinitionError
            If no node has that name, or the value does not fit.
        RunError
            If the run has ended or another process executes it, or there is no such item.
        StoreWriteError
            If it could not be made durable.

        Notes
        -----
        A completed effect that gets an overridden input is not repeated; `retry` does that.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("letter", input=str)
        >>> @wf.step
        ... def draft(input: str) -> str:
        ...     return f"Dear {input}"
        >>> wf.approval("review", answer=bool, show="draft")
        >>> @wf.step
        ... def send(draft: str, review: bool) -> str:
        ...     return f"sent {draft}"
        >>> run = wf.start("Dana", durability="memory").wait_settled()
        >>> run.override("draft", "Hello Dana", by="lee", why="too stiff")
        >>> run.wait_settled().question("review")
        'Hello Dana'
        >>> run.override("review", True, by="lee")
        >>> run.result()
        'sent Hello Dana'
        """
        self._handle.operate(Deed("override", node, item, value, by=by, why=why))

    def retry(self, node: str, *, item: int | None = None, by: str = "", why: str = "", new_key: bool = False) -> None:
        """Let a node that has begun begin again, in its next generation. Blocks until that is durable.

        An attempt in flight is cancelled. What follows begins again when the new value differs from the old one. What
        somebody has overridden or skipped is taken back by it. With a node that holds a workflow all within it begins
        anew; to repeat one step of that, name the step.

        Parameters
        ----------
        node : str
            A path, as for `override`.
        item : int, optional
            Of a map; without it, the whole map.
        by, why : str
            Who did it, and why; recorded.
        new_key : bool
            For an effect: whether its receiver is to take it for another one. By default a repeat has the idempotency
            key that it had, **also when it has been completed**: a receiver that knows the key does nothing twice and
            gives the first answer again. With True the key ends in ``#2``, then ``#3``, for good.

        Raises
        ------
        DefinitionError
            If no node has that name, or it is no effect and `new_key` is given.
        RunError
            If the run has ended or another process executes it, or the node has not begun.
        StoreWriteError
            If it could not be made durable.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("letter", input=str)
        >>> drafts = iter(["Dear Dana", "Hello Dana"])
        >>> @wf.step
        ... def draft(input: str) -> str:
        ...     return next(drafts)
        >>> wf.approval("review", answer=bool, show="draft")
        >>> run = wf.start("Dana", durability="memory").wait_settled()
        >>> run.retry("draft", by="lee", why="too stiff")
        >>> run.wait_settled().question("review")
        'Hello Dana'
        >>> run.cancel()
        """
        self._handle.operate(Deed("retry", node, item, new_key=new_key, by=by, why=why))

    def skip(self, node: str, *, item: int | None = None, by: str = "", why: str = "") -> None:
        """Let a node, or an item of a map, count as skipped, whatever it does or has done. Blocks until it is durable.

        An attempt in flight is cancelled. What needs it is skipped too; a parameter with a default takes that, and a
        map's list is shorter by an item. If the workflow still delivers, the run is degraded.

        Parameters
        ----------
        node : str
            A path, as for `override`.
        item : int, optional
            Of a map that has begun.
        by, why : str
            Who did it, and why; recorded.

        Raises
        ------
        DefinitionError
            If no node has that name.
        RunError
            If the run has ended or another process executes it, or it is skipped already.
        StoreWriteError
            If it could not be made durable.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("letter", input=str)
        >>> wf.approval("review", answer=bool, show="input")
        >>> @wf.step
        ... def send(input: str, review: bool = False) -> str:
        ...     return f"sent {input}, {review}"
        >>> run = wf.start("Dear Dana", durability="memory").wait_settled()
        >>> run.skip("review", by="lee", why="nobody is there")
        >>> run.result(), run.status
        ('sent Dear Dana, False', 'degraded')
        """
        self._handle.operate(Deed("skip", node, item, by=by, why=why))

    def update_context(self, *, by: str = "", why: str = "", **changes: Any) -> None:
        """Write to the shared context; steps that begin from now on see it. Blocks until it is durable.

        A step sees it in all its attempts or in none. It comes behind what those steps wrote that began before it, and
        before what those write that begin after it; it is in conflict with nobody. Where a field has a merge rule, the
        change is merged by it. Workflows within this one see it unless they have a context of their own.

        Parameters
        ----------
        by, why : str
            Who did it, and why; recorded.
        **changes
            By field of the model of ``wf.context``. Fields called ``by`` and ``why`` cannot be changed here.

        Raises
        ------
        DefinitionError
            If the workflow has no context, the context no such field, or a value does not fit.
        RunError
            If the run has ended or another process executes it.
        StoreWriteError
            If it could not be made durable.

        Examples
        --------
        >>> import orchkit as ok
        >>> from pydantic import BaseModel
        >>> class Case(BaseModel):
        ...     tone: str = "warm"
        >>> wf = ok.Workflow("letter", input=str)
        >>> wf.context(Case)
        >>> wf.approval("review", answer=bool, show="input")
        >>> @wf.step
        ... def send(review: bool, ctx: ok.Context) -> str:
        ...     return ctx.shared.tone
        >>> run = wf.start("Dear Dana", durability="memory").wait_settled()
        >>> run.update_context(tone="formal", by="lee")
        >>> run.answer("review", True)
        >>> run.result()
        'formal'
        """
        self._handle.operate(Deed("update_context", value=changes, by=by, why=why))

    def fork(
        self,
        at: str | None = None,
        *,
        set: Mapping[str, Any] | None = None,
        workflow: Workflow | None = None,
        effects: str = "run",
    ) -> Run:
        """Make a new run that keeps what this one has recorded, but for a node and all that follows it.

        Blocks until the new run is durable, which takes milliseconds; nothing executes before `go`. This run stays as
        it is, and may still be going.

        Parameters
        ----------
        at : str, optional
            The node from which on everything is dropped; may be left out when something is set.
        set : dict of node to value, optional
            Results that somebody decides: these nodes do not execute, and what follows them is dropped. A map's is
            its whole list.
        workflow : Workflow, optional
            Whose code goes on; without it, this run's. What is kept is kept also where the code has changed. Faults
            that were injected into this run are not in the new one.
        effects : {"run", "skip"}
            Whether effects that come up in the new run happen, under keys of its own, or are skipped.

        Returns
        -------
        Run
            Suspended, with an id of its own and the same start; `plan` lists what will execute. What had failed, was
            cancelled or was open, and is kept, goes on there too, and so does a question, with its deadline.

        Raises
        ------
        DefinitionError
            If a name is no node's, a value does not fit, or neither `at` nor `set` is given.
        RunError
            For a simulated run, and one from a store without ``workflow=``.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("letter", input=str)
        >>> @wf.step
        ... def draft(input: str) -> str:
        ...     return f"Dear {input}"
        >>> @wf.step
        ... def polish(draft: str) -> str:
        ...     return f"{draft}!"
        >>> run = wf.start("Dana", durability="memory")
        >>> run.result()
        'Dear Dana!'
        >>> new = run.fork(set={"draft": "Hello Dana"})
        >>> new.status, new.plan.node.tolist()
        ('suspended', ['polish'])
        >>> new.result()
        'Hello Dana!'
        """
        program = None if workflow is None else _program_of(workflow)
        return Run(fork(self._handle, at, _checked_set(set), program, effects))

    @property
    def plan(self) -> pd.DataFrame:
        """What a forked run will execute, a row a node or item, as long as no route goes elsewhere.

        Columns: node, item, why ("at", "follows", "open", "failed", "cancelled", "not begun"), effect ("" for none,
        "new key": its receiver will see another effect, for the key holds the run's id, or "skipped").

        Raises
        ------
        RunError
            If the run is not a fork.
        """
        import pandas as pd

        rows = [(one.node, one.item, one.why, one.effect) for one in self._forked().planned]
        frame = pd.DataFrame(rows, columns=["node", "item", "why", "effect"])
        frame["item"] = frame["item"].astype("Int64")
        return frame

    def go(self, *, deps: object = None) -> Run:
        """Start a forked run; awaiting it or asking for its result does the same. Does nothing the second time.

        Blocks until it is recorded that it goes on, which takes milliseconds, and not until it ends.

        Parameters
        ----------
        deps : object, optional
            Handed to steps; without it, what the forked run had if this process executed it.

        Returns
        -------
        Run
            This one.

        Raises
        ------
        RunError
            If the run is not a fork.
        """
        self._forked().go(deps)
        return self

    def _forked(self) -> Fork:
        if not isinstance(self._handle, Fork):
            raise RunError(
                f"run {self.id!r} is no fork: it has nothing planned; new = run.fork(at=...) makes one", run_id=self.id
            )
        return self._handle

    def __repr__(self) -> str:
        return f"Run({self._handle.head.workflow!r}, {self.id}, {self.status})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        if self._handle.program is None:
            return {"text/plain": repr(self)}
        from orchkit.hall.drawing import show_run  # only a notebook draws

        return show_run(self._handle.program.graph, self.log, f"run {self.id} · {self.status}")


def _program_of(workflow: Any) -> Program:
    from orchkit.engine.program import Program
    from orchkit.hall.workflow import Workflow

    if not isinstance(workflow, Workflow):
        raise DefinitionError(f"fork(workflow={workflow!r}): give the ok.Workflow that recorded the run")
    return Program(workflow.checked())


def _checked_set(values: Any) -> Mapping[str, Any]:
    if values is not None and not isinstance(values, Mapping):
        raise DefinitionError(f"fork(set={values!r}): give a dict of node to the value that it is to have")
    return values or {}

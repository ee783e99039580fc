"""The run: one execution, live or finished, as users hold it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from orchkit.clock.bridge import wait_async, wait_blocking
from orchkit.errors import ApprovalUnknown, DefinitionError, RunError
from orchkit.hall.looking import Looked, program_of
from orchkit.hall.stepping import Stepping
from orchkit.model.questions import question_id
from orchkit.runs.answers import answers_frame
from orchkit.runs.fork import Fork, fork
from orchkit.runs.live import present

if TYPE_CHECKING:
    import pandas as pd

    from orchkit.hall.workflow import Workflow

__all__ = ["Run"]


class Run(Looked, Stepping):
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
        ``run.result(timeout=...)``, or await it inside ``asyncio.shield``; or start it with
        ``on_interrupt="detach"``.
        """
        return wait_async(self._handle.outcome(), self._interrupted).__await__()

    def _interrupted(self) -> None:
        """Do what the run was started with for whoever stops waiting for it."""
        act = self._handle.on_interrupt
        if act == "suspend":
            self.suspend(why="interrupted")
        elif act == "cancel":
            self.cancel(why="interrupted")

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result in plain Python; blocks the calling thread.

        Ctrl-C suspends the run, unless it was started with another ``on_interrupt``; `timeout` does not, it only stops
        the waiting.

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
            return wait_blocking(outcome, timeout, self._interrupted)
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

        One of an approval for each item bears its index, ``review[3]``; `answer` takes it as it is.

        Returns
        -------
        list of str
            Empty when nothing is asked, or the run has ended. Of a run that is suspended or orphaned: what it will
            ask again once it is resumed.
        """
        return [question_id(event.node, event.item) for event in self._handle.pending()]

    def question(self, name: str, *, item: int | None = None) -> Any:
        """Give what an open approval shows; returns at once.

        Parameters
        ----------
        name : str
            The approval's, or its id, such as "review[3]".
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
            if name in (event.node, question_id(event.node, event.item)) and item in (None, event.item):
                return event.body["show"]
        raise ApprovalUnknown(
            f"run {self.id!r} does not ask {name!r} now; open: {', '.join(self.pending()) or 'none'}",
            run_id=self.id,
            node=name,
        )

    def answer(self, name: str, value: Any, *, by: str = "", item: int | None = None) -> str | None:
        """Answer an approval, wherever the run is executed; blocks until the answer is durable.

        That takes milliseconds; where another process executes the run, up to a second, and at most ten.

        Parameters
        ----------
        name : str
            The approval's, or its id, such as "review[3]".
        value : object
            What the approval's ``answer=`` describes.
        by : str
            Who answers; recorded.
        item : int, optional
            Which one, where several are open under the name; ``answer("review[3]", ...)`` says so too.

        Returns
        -------
        str or None
            None once the answer is in the run's log. Else where it lies: if nobody executes the run it is kept, and
            counts when the run is resumed, also after the deadline.

        Raises
        ------
        ApprovalUnknown
            If it is not open, or the name fits several.
        AnswerInvalid
            If the answer does not fit; the question stays open.
        AnswerLate
            If another answer or the deadline came first; it says which, and when.
        RunError
            If the run has ended, or is in no store.
        StoreError
            If the answer could not be made durable.
        """
        return present(self._handle).answer(name, value, by=by, item=item, via="python")

    def escalate(self, name: str, *, to: str, by: str = "", why: str = "", item: int | None = None) -> str | None:
        """Hand an open approval to somebody else; recorded, and shown by `ok.inbox`. Anybody may still answer.

        Parameters
        ----------
        name : str
            The approval's, or its id.
        to : str
            To whom.
        by, why : str
            Recorded.
        item : int, optional
            Which one, where several are open under the name.

        Returns
        -------
        str or None
            As of `answer`.

        Raises
        ------
        ApprovalUnknown
            If it is not open, or the name fits several.
        AnswerLate
            If it has been settled meanwhile.
        """
        return present(self._handle).escalate(name, to=to, by=by, why=why, item=item, via="python")

    @property
    def answers(self) -> pd.DataFrame:
        """The audit trail of its approvals, a row a question, in the order in which they were asked.

        Columns: node, item, generation, asked and answered (UTC, NaT for a virtual run), wait (s), by, via (from
        where: python, inbox, cli, approver), shown, answer, diff (``{field: [before, after]}`` of the prefilled fields
        that are another in the answer), status (asked, answered, edited, expired), assigned (to whom it was handed).
        """
        return answers_frame(self._handle.head, self._handle.log())

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
            The node from which on everything is dropped; may be left out when something is set. Within a node that
            holds a workflow, ``enrich/extract`` or ``polish#2/critic``, and for an item, ``lookup[3]``, the rest of
            the node is kept, and of a loop the later rounds where the round comes to the same.
        set : dict of node to value, optional
            Results that somebody decides: these nodes do not execute, and what follows them is dropped. A map's is
            its whole list. Names as for `at`.
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
        program = None if workflow is None else program_of(workflow, "fork")
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


def _checked_set(values: Any) -> Mapping[str, Any]:
    if values is not None and not isinstance(values, Mapping):
        raise DefinitionError(f"fork(set={values!r}): give a dict of node to the value that it is to have")
    return values or {}

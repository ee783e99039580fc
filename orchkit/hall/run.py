"""The run: one execution, live or finished, as users hold it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from orchkit.clock.bridge import wait_async, wait_blocking
from orchkit.errors import ApprovalError
from orchkit.hall.drawing import show_run
from orchkit.runs.frames import event_frame
from orchkit.runs.handle import Handle, receipt

if TYPE_CHECKING:
    import pandas as pd

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
        "running", "waiting" (only people are awaited), "completed", "degraded", "failed", "cancelled", "suspended", or
        "orphaned" (its log has no end and nothing executes it).

    Examples
    --------
    >>> import orchkit as ok
    >>> wf = ok.Workflow("hello", input=str)
    >>> @wf.step
    ... def greet(input: str) -> str:
    ...     return f"Hello {input}"
    >>> run = wf.simulate("Dana", world=ok.World())
    >>> run.status, run.events.kind.tolist()
    ('completed', ['run_started', 'started', 'completed', 'settled', 'run_ended'])
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
        """The log as a DataFrame, a row an event; columns as documented in the store's table ``event``."""
        return event_frame(self._handle.head, self._handle.log())

    @property
    def log(self) -> list[Event]:
        """The log as it is; times in integer microseconds since the start."""
        return self._handle.log()

    @property
    def receipt(self) -> str:
        """A digest of the log: ``exact:`` of a virtual run, ``canonical:`` (times left out) of a live one."""
        return receipt(self._handle.head, self._handle.log())

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the result; the Interrupt button suspends the run: it stops spending, and can be resumed."""
        return wait_async(self._handle.outcome(), lambda: self.suspend(why="interrupted")).__await__()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result in plain Python.

        Parameters
        ----------
        timeout : float, seconds, optional
            How long to wait.

        Returns
        -------
        object
            What the workflow delivers.

        Raises
        ------
        RunError
            If the run ended without a result: node and attempt are attributes.
        TimeoutError
            If it has not ended in time; it goes on.
        """
        return wait_blocking(self._handle.outcome(), timeout, lambda: self.suspend(why="interrupted"))

    async def settled(self) -> Run:
        """Wait until the run is done or only people are awaited; never waits for a person.

        Returns
        -------
        Run
            This one.
        """
        await wait_async(self._handle.settled(), lambda: None)
        return self

    def wait_settled(self, timeout: float | None = None) -> Run:
        """Wait as `settled` does, in plain Python.

        Raises
        ------
        TimeoutError
            If neither has come to pass in time.
        """
        wait_blocking(self._handle.settled(), timeout, lambda: None)
        return self

    def pending(self) -> list[str]:
        """Give the names of the approvals that are open."""
        return [event.node for event in self._handle.pending()]

    def question(self, name: str, *, item: int | None = None) -> Any:
        """Give what an open approval shows.

        Raises
        ------
        ApprovalError
            If it is not open.
        """
        for event in self._handle.pending():
            if event.node == name and item in (None, event.item):
                return event.body["show"]
        raise ApprovalError(f"run {self.id!r} does not ask {name!r} now; open: {', '.join(self.pending()) or 'none'}")

    def answer(self, name: str, value: Any, *, by: str = "", item: int | None = None) -> None:
        """Answer an approval; returns when the answer is durable.

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
        """
        self._handle.answer(name, value, by=by, item=item)

    def cancel(self, *, by: str = "", why: str = "") -> None:
        """End the run: bodies are cancelled and recorded so, and what is recorded stays."""
        self._handle.cancel(by=by, why=why)

    def suspend(self, *, by: str = "", why: str = "") -> None:
        """Stop the run for now: bodies are dropped, and ``store.resume`` runs again what has no outcome yet."""
        self._handle.suspend(by=by, why=why)

    def __repr__(self) -> str:
        return f"Run({self._handle.head.workflow!r}, {self.id}, {self.status})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        if self._handle.program is None:
            return {"text/plain": repr(self)}
        return show_run(self._handle.program.graph, self.log, f"run {self.id} · {self.status}")

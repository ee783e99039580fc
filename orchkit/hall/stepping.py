"""What somebody may do to a run while it goes on, as users say it."""

from __future__ import annotations

from typing import Any

from orchkit.runs.handle import Handle
from orchkit.runs.operating import Deed

__all__ = ["Stepping"]


class Stepping:
    """The part of a run by which people step in; each act is recorded, with who and why, before its call returns."""

    _handle: Handle

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

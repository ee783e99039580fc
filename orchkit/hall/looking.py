"""Looking at a run: its events, what they come to, and how it got there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchkit.errors import DefinitionError, RunError
from orchkit.model.events import Event
from orchkit.runs.frames import event_frame
from orchkit.runs.handle import Handle, receipt, shared_of

if TYPE_CHECKING:
    import pandas as pd

    from orchkit.engine.program import Program
    from orchkit.hall.drawing import Drawing
    from orchkit.hall.replay import Replay
    from orchkit.hall.workflow import Workflow
    from orchkit.runs.lineage import Passage
    from orchkit.runs.streaming import Stream

__all__ = ["Looked", "known_program", "program_of"]


class Looked:
    """What can be looked at of a run, whoever executes it; nothing here changes it."""

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

    @property
    def lineage(self) -> pd.DataFrame:
        """Who wrote what to the shared context, and who sees it: a row a field, a writer and a reader.

        Columns: field; writer, as ``node`` or ``node[item]``; reader, a node ("" for nobody, NA where nobody knows);
        value, the JSON that was written, before a merge rule put it together with what others wrote; t (s), when it
        was recorded. Only writes that count are there: not those of attempts that failed, or that were done again.

        A reader is a step that began with `ctx` after the writer, all items of a map together. It *sees* the field:
        whether it looked cannot be told, for ``ctx.shared`` is the whole model. Of a field without a merge rule it
        sees the last write only. A node whose body the world of a simulation stands for sees nothing. Readers are
        known by the workflow: the run's own, or the one that this process has defined under its name.
        """
        import pandas as pd

        rows = [(one.field, one.writer, _or_na(one.reader), one.value, one.t / 1e6) for one in self._passages()]
        frame = pd.DataFrame(rows, columns=["field", "writer", "reader", "value", "t"], dtype=object)
        return frame.astype({"t": float})

    def draw_lineage(self) -> Drawing:
        """Draw what passed between steps by the shared context: an arrow from who wrote to who sees, by field.

        Returns
        -------
        Drawing
            Shows itself in a notebook; ``.svg`` and ``.text`` have it as str.

        Raises
        ------
        RunError
            If nobody knows the workflow.
        ReplayMismatch
            If the log is of another shape of it.

        Examples
        --------
        >>> import orchkit as ok
        >>> from pydantic import BaseModel
        >>> class Notes(BaseModel):
        ...     mood: str = ""
        >>> wf = ok.Workflow("letter", input=str)
        >>> wf.context(Notes)
        >>> @wf.step
        ... def read(input: str, ctx: ok.Context) -> int:
        ...     ctx.update(mood="angry")
        ...     return len(input)
        >>> @wf.step
        ... def reply(read: int, ctx: ok.Context) -> str:
        ...     return ctx.shared.mood
        >>> run = wf.simulate("Where is it?", world=ok.World())
        >>> run.lineage[["field", "writer", "reader", "value"]].values.tolist()
        [['mood', 'read', 'reply', 'angry']]
        >>> print(run.draw_lineage())
        letter · run ... · shared context
          ✓ input  input  completed
            str
          ✓ read   step   completed  ← (input)
          ✓ reply  step   completed  ← (read), mood by read
        3 nodes: 3 completed
        """
        from orchkit.hall.drawing import draw_lineage
        from orchkit.runs.lineage import context_arrows

        program = self._handle.program or known_program(self._handle.head.workflow)
        if program is None:
            raise RunError(
                f"run {self.id!r} was read from a store, which holds no code to draw: define workflow "
                f"{self._handle.head.workflow!r} in this process; run.lineage has what is recorded",
                run_id=self.id,
            )
        return draw_lineage(program.graph, self._handle.log(), f"run {self.id}", context_arrows(self._passages()))

    def _passages(self) -> list[Passage]:
        from orchkit.runs.lineage import lineage

        program = self._handle.program or known_program(self._handle.head.workflow)
        return lineage(program, self._handle.log())

    def stream(self, *, since: int = 0, partial: bool = False) -> Stream:
        """Read the events as they come, from the beginning to the end of the run: by ``async for``, or by ``for``.

        Of a run that goes on it waits for what comes next, and ends when the run has ended, is suspended, or is let
        go; of any other it gives the log. Each reader has a pace of its own, and the run waits for none. Leaving the
        loop early, or a cancellation, ends the reading and not the run.

        Parameters
        ----------
        since : int, >= 0
            How many events to leave out: the `seq` of the last that is known.
        partial : bool
            Also give what steps emit by ``ctx.emit`` from now on, between the events of their attempts. It is not
            recorded, so only a run that this process executes has it. Of a reader who is slow, text of one attempt is
            joined, and what is beyond some 1 MB is dropped, the oldest first, and counted.

        Returns
        -------
        Stream
            Of `RunEvent`: the columns of ``run.events`` as attributes, and `durable`: whether the event was known to
            be committed when it was given. With `partial` also of `Partial`: `node`, `item`, `generation`, `leg`,
            `attempt`, `n`, `t` (s), `chunk`, `missed`; its `kind` is "partial".

        Raises
        ------
        DefinitionError
            If `since` is no such number.
        RunError
            While it is read, inside one of the run's own steps, which would wait for itself.

        Notes
        -----
        A ``for`` blocks the calling thread, and a notebook with it. A run that another process executes is followed
        by asking its store, 20 times a second while something happens and once a second otherwise.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("tale", input=str)
        >>> @wf.step
        ... async def tell(input: str, ctx: ok.Context) -> str:
        ...     for word in input.split():
        ...         ctx.emit(word)
        ...     return input.upper()
        >>> run = wf.start("once upon", durability="memory")
        >>> for event in run.stream():
        ...     print(event.seq, event.kind, event.node)
        1 run_started
        2 started tell
        3 completed tell
        4 run_ended
        """
        from orchkit.runs.streaming import Stream

        if isinstance(since, bool) or not isinstance(since, int) or since < 0:
            raise DefinitionError(f"stream(since={since!r}): give the seq of the last event that is known, 0 for none")
        return Stream(self._handle.head, self._handle.source(), since, partial=partial)

    def replay(self, *, workflow: Workflow | None = None) -> Replay:
        """Fold the log again for looking at it, moment by moment; nothing executes, and nothing is recorded.

        Returns at once, with the log as it is now. For a run that goes on: ``store.resume``; for one that goes
        another way from here: `fork`.

        Parameters
        ----------
        workflow : Workflow, optional
            What draws the moments of a run from a store, which holds no code; else the run's own, or the one that
            this process has defined under its name.

        Returns
        -------
        Replay
            ``replay[k]`` and ``replay.at(t)`` give moments; iterating gives all of them, in order.

        Raises
        ------
        DefinitionError
            If `workflow` is none.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("letter", input=str)
        >>> @wf.step
        ... def draft(input: str) -> str: ...
        >>> @wf.step
        ... def polish(draft: str) -> str: ...
        >>> world = ok.World(draft=ok.fake("Dear Dana", latency=2.0), polish=ok.fake("Dear Dana!", latency=1.0))
        >>> replay = wf.simulate("Dana", world=world).replay()
        >>> replay
        Replay('letter', ..., 6 moments, 3 s)
        >>> replay.at(2.5).values, replay.at(2.5).nodes.status.tolist()
        ({'draft': 'Dear Dana'}, ['completed', 'running'])
        >>> [moment.event.kind for moment in replay][-1]
        'run_ended'
        """
        from orchkit.hall.replay import Replay
        from orchkit.runs.replaying import Recording

        program = self._handle.program if workflow is None else program_of(workflow, "replay")
        if program is None:
            program = known_program(self._handle.head.workflow)
        graph = None if program is None else program.graph
        return Replay(Recording(self._handle.head, self._handle.log(), graph), program)


def _or_na(text: str | None) -> Any:
    import pandas as pd

    return pd.NA if text is None else text


def known_program(name: str) -> Program | None:
    """Give the program of what this process has defined under a name, if it has and it is sound."""
    from orchkit.engine.program import Program
    from orchkit.hall.registry import find_workflow

    try:
        return Program(find_workflow(name).checked())
    except DefinitionError:  # it is asked only what it would draw, by somebody who looks at something else
        return None


def program_of(workflow: Any, what: str) -> Program:
    """Give the program of what somebody has handed over as a workflow, to the method that `what` names.

    Raises
    ------
    DefinitionError
        If it is none.
    """
    from orchkit.engine.program import Program
    from orchkit.hall.workflow import Workflow

    if not isinstance(workflow, Workflow):
        raise DefinitionError(f"{what}(workflow={workflow!r}): give the ok.Workflow that recorded the run")
    return Program(workflow.checked())

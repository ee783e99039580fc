"""The replay: a run's log as moments, as users look at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

from orchkit.errors import DefinitionError, ReplayMismatch
from orchkit.runs.accounts import NOTHING
from orchkit.runs.handle import shared_of
from orchkit.runs.lines import RunEvent, line_of
from orchkit.runs.replaying import Recording

if TYPE_CHECKING:
    import pandas as pd

    from orchkit.engine.program import Program

__all__ = ["Moment", "Replay"]


class Replay:
    """A run's log, to be looked at moment by moment; nothing executes and nothing is recorded.

    It comes from ``run.replay()``, which takes the log as it is then: of a run that goes on, ask again for what has
    come since. ``len(replay)`` is the number of events; ``replay[k]`` is the moment after event k, counted from 0,
    and ``replay[-1]`` the last; iterating gives all of them.

    Notes
    -----
    One fold is kept. Going forward costs each event once; going back costs the log up to there, some microseconds
    an event.
    """

    def __init__(self, recording: Recording, program: Program | None) -> None:
        self._recording = recording
        self._program = program

    def __len__(self) -> int:
        return len(self._recording.events)

    @overload
    def __getitem__(self, k: int) -> Moment: ...
    @overload
    def __getitem__(self, k: slice) -> list[Moment]: ...
    def __getitem__(self, k: int | slice) -> Moment | list[Moment]:
        numbers = range(len(self))[k]
        if isinstance(numbers, range):
            return [self._moment(number + 1) for number in numbers]
        return self._moment(numbers + 1)

    def __iter__(self) -> Iterator[Moment]:
        return (self._moment(count) for count in range(1, len(self) + 1))

    def at(self, t: float) -> Moment:
        """Give the run as it was at a time.

        Parameters
        ----------
        t : float, seconds since the run started, >= 0

        Returns
        -------
        Moment
            After the last event that had been recorded by then.

        Raises
        ------
        DefinitionError
            If that is before the run's first event.
        """
        count = self._recording.count_at(round(t * 1e6)) if abs(t) < float("inf") else 0
        if t == float("inf"):
            count = len(self)
        if not count:
            first = f"its log begins at {self[0].t:g} s" if len(self) else "its log is empty"
            raise DefinitionError(f"replay.at({t!r}): nothing of run {self._recording.head.run_id!r} is there; {first}")
        return self._moment(count)

    def _moment(self, count: int) -> Moment:
        return Moment(self._recording, self._program, count)

    def __repr__(self) -> str:
        head = self._recording.head
        length = f", {self[-1].t:g} s" if len(self) else ""
        return f"Replay({head.workflow!r}, {head.run_id}, {len(self)} moments{length})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle = self[-1]._repr_mimebundle_() if len(self) else {"text/plain": ""}
        return {**bundle, "text/plain": f"{self!r}\n{bundle['text/plain']}".rstrip()}


class Moment:
    """A run as its log tells of it after one of its events.

    Attributes
    ----------
    t : float, seconds since the run started
    event : RunEvent
        The last one.
    status : str
        "running", "waiting" (only people are awaited), "suspended", or how the run ended.
    """

    def __init__(self, recording: Recording, program: Program | None, count: int) -> None:
        self._recording = recording
        self._program = program
        self._count = count

    @property
    def event(self) -> RunEvent:
        """The event after which this is; its `seq` counts from 1."""
        return line_of(self._recording.head, self._count, self._recording.events[self._count - 1])

    @property
    def t(self) -> float:
        """When that was, in seconds since the run started."""
        return self._recording.events[self._count - 1].t / 1e6

    @property
    def status(self) -> str:
        """The run's status then."""
        return self._recording.after(self._count).status

    @property
    def nodes(self) -> pd.DataFrame:
        """A row a node, and a row an item of a map that has begun: node, item, status, attempts, value.

        `status` is "idle", "running", "waiting", "completed", "degraded", "failed", "skipped" or "cancelled";
        `attempts` counts all that were started by then; `value` is JSON, None before there is one. Without the
        workflow only nodes that the log has named by then are there.
        """
        import pandas as pd

        rows = [
            (node, pd.NA if item < 0 else item, status, attempts, None if value is NOTHING else value)
            for node, item, status, attempts, value in self._recording.rows(self._count)
        ]
        frame = pd.DataFrame(rows, columns=["node", "item", "status", "attempts", "value"], dtype=object)
        return frame.astype({"item": "Int64", "attempts": "int64"})

    @property
    def values(self) -> dict[str, Any]:
        """What each node had delivered, as JSON; of a map that goes on the items that had."""
        return self._recording.after(self._count).values()

    @property
    def pending(self) -> list[str]:
        """The names of the approvals that were open."""
        return [event.node for event in self._recording.after(self._count).pending]

    @property
    def shared(self) -> Any:
        """The shared context as it was; None if the workflow has none.

        Without the workflow, or where its log was recorded by another shape of it, a dict of what each step had
        written.

        Raises
        ------
        ContextConflict
            If two steps, neither before the other, had written a field that has no merge rule.
        """
        program, run_id = self._program, self._recording.head.run_id
        events = self._recording.events[: self._count]
        if program is None:
            return shared_of(None, run_id, events)
        if program.graph.shared is None:
            return None
        try:
            return shared_of(program, run_id, events)
        except ReplayMismatch:
            return shared_of(None, run_id, events)

    def __repr__(self) -> str:
        event = self.event
        what = f"{event.kind} {event.node}".rstrip() + ("" if event.item is None else f"[{event.item}]")
        return f"Moment({self._count} of {len(self._recording.events)}, {self.t:g} s, {what}; {self.status})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        if self._program is None:
            return {"text/plain": f"{self._told()}\n{_NO_CODE}"}
        from orchkit.hall.drawing import show_run  # only a notebook draws

        head, event = self._recording.head, self.event
        try:
            return show_run(
                self._program.graph,
                self._recording.events[: self._count],
                f"run {head.run_id} · {event.seq} of {len(self._recording.events)} · {self.status}",
            )
        except ReplayMismatch as error:
            return {"text/plain": f"{self._told()}\nno picture: {error}"}

    def _told(self) -> str:
        frame = self.nodes
        return f"{self!r}\n{frame.to_string(index=False, max_colwidth=40)}" if len(frame) else repr(self)


_NO_CODE = "no picture: a store holds no code; run.replay(workflow=wf) draws it"

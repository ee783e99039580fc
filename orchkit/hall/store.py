"""The store: where runs are kept, looked at and resumed from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from orchkit.errors import DefinitionError, OrchkitError, RunError
from orchkit.hall import arguments
from orchkit.hall.registry import find_graph, find_workflow, is_known
from orchkit.hall.run import Run
from orchkit.hall.storefile import StoreFile
from orchkit.model.questions import asking_order
from orchkit.runs import live
from orchkit.runs.approvers import checked_approver
from orchkit.runs.clerk import Approver
from orchkit.runs.frames import event_frame
from orchkit.runs.handle import PastRun
from orchkit.runs.listing import runs_frame, stuck_frame

if TYPE_CHECKING:
    import pandas as pd

    from orchkit.engine.program import Program
    from orchkit.hall.workflow import Workflow
    from orchkit.store.duck import DuckStore

__all__ = ["Openers", "Store"]


class Openers(Protocol):
    """Who has a store open in this process: it is opened once a path, and shared."""

    def leave(self, store: Store) -> bool:
        """Count one less; say whether that was the last."""

    def forget(self, store: Store) -> None:
        """Open it anew when it is asked for again."""


class Resumed(list[Run]):
    """The runs that go on; `left` says of each other run why it does not.

    Attributes
    ----------
    left : dict of str to str
    """

    def __init__(self) -> None:
        super().__init__()
        self.left: dict[str, str] = {}

    def __repr__(self) -> str:
        left = "".join(f"\n  left: {run_id}: {why}" for run_id, why in self.left.items())
        return f"{super().__repr__()}{left}"


class Store(StoreFile):
    """Runs in one DuckDB file; made by ``ok.open(path)``.

    Examples
    --------
    >>> import tempfile, orchkit as ok
    >>> wf = ok.Workflow("hello", input=str)
    >>> @wf.step
    ... def greet(input: str) -> str:
    ...     return f"Hello {input}"
    >>> with tempfile.TemporaryDirectory() as folder, ok.open(f"{folder}/lab.duckdb") as store:
    ...     run = wf.start("Dana", store=store)
    ...     print(run.result(), store.runs().status.tolist())
    Hello Dana ['completed']
    """

    def __init__(self, kept: DuckStore, openers: Openers) -> None:
        super().__init__(kept)
        self._openers = openers

    def runs(self) -> pd.DataFrame:
        """List all runs, a row each.

        Columns: run, workflow, mode, seed, started (UTC), durability, parent (of a fork), status, t (s), events, cost
        (USD), tokens.
        A status is one of those of `Run`: "running" and "waiting" also of what other processes execute, "orphaned"
        when nobody does.

        Returns
        -------
        pandas.DataFrame
            In order of admission.
        """
        return runs_frame(self._kept)

    def stuck(self) -> pd.DataFrame:
        """List the runs that will not go on by themselves, a row each: run, workflow, status, why, todo.

        Orphaned (the process that executed them is gone), suspended, failed, or waiting for people only.

        Returns
        -------
        pandas.DataFrame
            In order of admission; `todo` says how each goes on.
        """
        return stuck_frame(self._kept, is_known)

    def events(self, run_id: str) -> pd.DataFrame:
        """Give a run's log as a DataFrame, a row an event, with the columns of ``run.events``.

        Parameters
        ----------
        run_id : str

        Returns
        -------
        pandas.DataFrame
            What is recorded by now. The view ``event``, which `sql` sees, has the same rows, laid out a little
            differently: see `Run.events`.

        Raises
        ------
        RunUnknown
            If there is no such run.
        """
        return event_frame(self._kept.head(run_id), self._kept.events(run_id))

    def pending(self) -> pd.DataFrame:
        """List the open questions of runs without an end, a row each: run, node, item, asked (s), shown (JSON).

        Run by run, in the order in which they were asked.
        """
        frame: pd.DataFrame = self._kept.frame(
            """select a.run, a.node, a.item, a.asked, a.shown from approval a join run r using (run)
               where a.status = 'asked' and r.status in ('open', 'suspended') and not exists (
                   select 1 from event e where e.run = a.run and e.node = a.node and e.kind = 'invalidated'
                   and e.generation > a.generation and (e.item is null or e.item = a.item))
               order by r.started, a.run"""
        )
        items = frame["item"].fillna(-1).astype(int)
        runs = frame.groupby("run", sort=False).ngroup()
        turns = list(zip(runs, map(asking_order, frame.asked, frame.node, items), strict=True))
        return frame.iloc[sorted(range(len(turns)), key=turns.__getitem__)].reset_index(drop=True)

    def sql(self, query: str) -> pd.DataFrame:
        """Query the store: views ``event``, ``attempt``, ``node_run``, ``effect``, ``approval``, ``lineage``, ``run``.

        Parameters
        ----------
        query : str
            One SELECT. ``by`` and ``key`` are words of SQL: write them in double quotes.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        StoreError
            For anything that is not a reading statement, or that DuckDB refuses.

        Notes
        -----
        Times and lengths are seconds, ``t`` since the run's start; ``wall`` and ``started`` are UTC; cost is USD.

        - ``event``: a row an event: seq, t, wall, run, kind, node, item (index in a map), generation, leg, attempt
          (from 1), status, dur (of what ended, or of the wait that begins), cost, tokens, error, "by", body (JSON
          text; null if it is longer than 4096 bytes or holds bytes), "key" (an effect's idempotency key without the
          run's id), n (place in the run's log), ref (of a body that stands in ``payload``: ref, codec, text, data).
        - ``attempt``: run, node, item, generation, leg, attempt, t, status (completed, error, timeout, cancelled,
          open), dur, cost, tokens, error, injected (how many faults struck it).
        - ``node_run``: run, node, item, generation, status (completed, degraded, failed, skipped, open), begun, t,
          error.
        - ``timeline``: run, node, item, generation, leg, attempt, what (attempt, wait, approval), t, dur, status.
        - ``effect``: the ledger: run, node, item, idempotency_key, status, attempts, completed.
        - ``approval``: run, node, item, generation, asked, timeout, status (asked, answered, expired), settled, "by",
          via, shown, answer (JSON text), edited, assigned.
        - ``lineage``: what steps wrote to the shared context: run, node, item, generation, attempt, field, value (JSON
          text), t; `Run.lineage` also says which steps were given it.
        - ``run``: run, workflow, mode, seed, started, durability, parent, status, t, events, cost, tokens.

        Examples
        --------
        ``store.sql("select node, median(dur) from attempt where status = 'completed' group by node")``
        """
        frame: pd.DataFrame = self._kept.query(query)
        return frame

    def run(self, run_id: str) -> Run:
        """Give a handle to look at a run; nothing executes. A run that this process executes is given live.

        Parameters
        ----------
        run_id : str

        Returns
        -------
        Run
            Without the workflow its result is plain JSON.

        Raises
        ------
        RunUnknown
            If there is no such run.
        """
        going = live.live_run(self._kept, run_id)
        if going is not None:
            return Run(going)
        head, events = self._kept.head(run_id), self._kept.events(run_id)
        holder = self._kept.holders().get(run_id)
        return Run(PastRun(head, events, holder=holder, store=self._kept, knows=partial(find_graph, head.workflow)))

    def resume(
        self,
        run_id: str,
        workflow: Workflow | None = None,
        *,
        deps: object = None,
        on_change: Any = "rerun",
        tell: Callable[[str], object] = print,
        approver: Approver | None = None,
        on_interrupt: str = "suspend",
    ) -> Run:
        """Go on with a run from its log; one that was completed is given as it is.

        Blocks until it is recorded that the run goes on, which takes milliseconds, and not until it ends.

        What is recorded is not run again. An attempt without an outcome starts again under the same number, and an
        effect with the same idempotency key. What failed a run, or was cancelled with it, starts again in the next
        generation; a question that was open stays open, with the deadline that it had.

        Parameters
        ----------
        run_id : str
        workflow : Workflow, optional
            The one that recorded it, as it is now; without it, the one that this process has defined under its name.
        deps : object
            As in ``wf.start``.
        on_change : {"rerun", "keep", "error"} or dict of node to one of these
            What to do when a step is not as it was recorded: run it again, and what follows where its value is
            another one then, which is printed first; keep what is recorded and go on with the new code; or refuse.
            A node that a dict does not name is rerun.
        tell : callable
            Gets the line that says what runs again because of a change, before it does.
        approver : callable, optional
            As in ``wf.start``; asked for what is open, too.
        on_interrupt : {"suspend", "cancel", "detach"}
            As in ``wf.start``.

        Returns
        -------
        Run

        Raises
        ------
        RunUnknown
            If there is no such run.
        RunHeld
            If a process is executing it; `pid` and `host` say which.
        ChangedEffect
            If a changed step has completed its effect already, and a dict does not say what to do with it.
        DefinitionChanged
            If the workflow has changed and `on_change` says "error"; it names the nodes.
        ReplayMismatch
            If the workflow wants something else than the log holds.
        DefinitionError
            If the workflow is another one, or an argument makes no sense.

        Notes
        -----
        An effect that has been completed is never repeated because of a new input: it stays as it is, and the printed
        line says so. ``on_change={"send": "rerun"}`` allows it, under the same idempotency key.
        """
        from orchkit.engine.program import Program
        from orchkit.hall.workflow import Workflow

        arguments.on_interrupt("resume", "on_interrupt", on_interrupt)
        if workflow is None:
            workflow = find_workflow(self._kept.head(run_id).workflow)
        if not isinstance(workflow, Workflow):
            raise DefinitionError(f"resume({run_id!r}, {workflow!r}): give the ok.Workflow that recorded it")
        program = Program(workflow.checked())
        if self._kept.head(run_id).mode == "virtual":
            return self._simulated(run_id, program)
        resumed = live.resume(
            program, run_id, store=self._kept, deps=deps, on_change=on_change, tell=tell,
            approver=checked_approver(program.graph, approver),
        )  # fmt: skip
        if resumed is not None:
            resumed.on_interrupt = on_interrupt
            return Run(resumed)
        return Run(PastRun(self._kept.head(run_id), self._kept.events(run_id), program, store=self._kept))

    def _simulated(self, run_id: str, program: Program) -> Run:
        head = self._kept.head(run_id)
        run, seed = Run(PastRun(head, self._kept.events(run_id), program, store=self._kept)), head.seed
        if run.status in ("completed", "degraded"):
            return run
        raise RunError(
            f"run {run_id!r} was simulated, and is over: simulate it again, by wf.simulate(..., seed={seed})",
            run_id=run_id,
        )

    def resume_all(self, *, deps: object = None, on_change: Any = "rerun", approver: Approver | None = None) -> Resumed:
        """Go on with every run that is orphaned or suspended; those that have failed are left as they are.

        Each by the workflow that this process has defined under its name. Blocks until it is recorded that each goes
        on, and not until they end.

        Parameters
        ----------
        deps : object
            As in ``wf.start``, for all of them.
        on_change : str or dict
            As in `resume`.
        approver : callable, optional
            As in ``wf.start``, for all of them.

        Returns
        -------
        Resumed
            A list of the runs that go on; its attribute ``left`` says of each other run why it does not.

        Examples
        --------
        >>> import tempfile, orchkit as ok
        >>> wf = ok.Workflow("hello", input=str)
        >>> wf.approval("sure")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with ok.open(f"{folder}/lab.duckdb") as store:
        ...         run = wf.start("Dana", store=store).wait_settled()
        ...     with ok.open(f"{folder}/lab.duckdb") as store:  # as after a restart
        ...         print(store.stuck().why.tolist())
        ...         (run,) = store.resume_all()
        ...         run.answer("sure", True)
        ...         print(run.result())
        ['the store was closed']
        True
        """
        stuck = self.stuck()
        resumed = Resumed()
        for run_id in stuck.run[stuck.status.isin(["orphaned", "suspended"])]:
            try:
                resumed.append(self.resume(run_id, deps=deps, on_change=on_change, approver=approver))
            except OrchkitError as error:
                resumed.left[run_id] = str(error)
        return resumed

    def close(self) -> None:
        """Suspend what this process executes in it, make everything durable, and let the file go.

        Safe to call twice; a suspended run goes on with ``ok.open(path).resume(id, workflow)``.
        """
        live.suspend_runs_of(self._kept)
        self._openers.forget(self)
        self._kept.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        # It is shared: a cell that only looks must not stop the runs of the cell before, which has opened it too.
        if self._openers.leave(self):
            self.close()

    def __repr__(self) -> str:
        return f"Store({self.path.name!r})"

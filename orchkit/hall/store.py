"""The store: where runs are kept, looked at and resumed from."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from orchkit.errors import DefinitionError, OrchkitError
from orchkit.hall import arguments
from orchkit.hall.registry import find_workflow, is_known
from orchkit.hall.run import Run
from orchkit.runs import live
from orchkit.runs.frames import event_frame
from orchkit.runs.handle import PastRun
from orchkit.runs.listing import runs_frame, stuck_frame

if TYPE_CHECKING:
    import pandas as pd

    from orchkit.hall.workflow import Workflow
    from orchkit.store.care import Compacted
    from orchkit.store.damage import Damage
    from orchkit.store.duck import DuckStore
    from orchkit.store.sizes import StoreSize

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


class Store:
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
        self.path = kept.path
        self._kept = kept
        self._openers = openers

    @property
    def damage(self) -> Damage | None:
        """What is missing in the file, None if it is whole: `missing` events, by `runs`, and a `report` in words.

        While something is missing nothing can be written; `confirm` goes on with what is there.
        """
        return self._kept.damage

    def confirm(self) -> None:
        """Go on with what is there, although acknowledged events are missing.

        The number of them is recorded in the table ``opening``. A run that is resumed does again what is missing.

        Raises
        ------
        StoreReadOnly
            If the store was opened for reading only.
        """
        self._kept.confirm()

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
            What is recorded by now. The table ``event``, which `sql` sees, has the same rows, laid out a little
            differently: see `Run.events`.

        Raises
        ------
        RunUnknown
            If there is no such run.
        """
        return event_frame(self._kept.head(run_id), self._kept.events(run_id))

    def pending(self) -> pd.DataFrame:
        """List the open questions of runs without an end, a row each: run, node, item, asked (s), shown (JSON)."""
        frame: pd.DataFrame = self._kept.frame(
            """select a.run, a.node, a.item, a.asked, a.shown from approval a join run r using (run)
               where a.status = 'asked' and r.status in ('open', 'suspended') and not exists (
                   select 1 from event e where e.run = a.run and e.node = a.node and e.kind = 'invalidated'
                   and e.generation > a.generation and (e.item is null or e.item = a.item))"""
        )
        return frame

    def sql(self, query: str) -> pd.DataFrame:
        """Query the store: table ``event``; views ``attempt``, ``node_run``, ``effect``, ``approval``, ``run``.

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
          shown, answer (JSON text).
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
        return Run(PastRun(head, events, holder=self._kept.holders().get(run_id), store=self._kept))

    def resume(
        self,
        run_id: str,
        workflow: Workflow | None = None,
        *,
        deps: object = None,
        on_change: Any = "rerun",
        tell: Callable[[str], object] = print,
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

        if workflow is None:
            workflow = find_workflow(self._kept.head(run_id).workflow)
        if not isinstance(workflow, Workflow):
            raise DefinitionError(f"resume({run_id!r}, {workflow!r}): give the ok.Workflow that recorded it")
        program = Program(workflow.checked())
        resumed = live.resume(program, run_id, store=self._kept, deps=deps, on_change=on_change, tell=tell)
        if resumed is not None:
            return Run(resumed)
        return Run(PastRun(self._kept.head(run_id), self._kept.events(run_id), program, store=self._kept))

    def resume_all(self, *, deps: object = None, on_change: Any = "rerun") -> Resumed:
        """Go on with every run that is orphaned or suspended; those that have failed are left as they are.

        Each by the workflow that this process has defined under its name. Blocks until it is recorded that each goes
        on, and not until they end.

        Parameters
        ----------
        deps : object
            As in ``wf.start``, for all of them.
        on_change : str or dict
            As in `resume`.

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
                resumed.append(self.resume(run_id, deps=deps, on_change=on_change))
            except OrchkitError as error:
                resumed.left[run_id] = str(error)
        return resumed

    def prune(
        self,
        keep_days: float | None = None,
        keep_runs: int | None = None,
        *,
        workflow: str | None = None,
        dry_run: bool = False,
    ) -> pd.DataFrame:
        """Delete runs that have ended. The only thing in orchkit that deletes what was recorded; it cannot be undone.

        A run goes as a whole: its log, its admission, and those long bodies that no other run refers to. It stays if
        one of the rules keeps it, if it is suspended, waits for a person, has no end, or if somebody executes it. A
        fork has its own copy of the log that it was cut from, so it stays whole without its parent.

        Parameters
        ----------
        keep_days : float, days, >= 0, optional
            Keep runs that ended less long ago. A simulated run has no date, and is kept by this rule where it stands
            alone.
        keep_runs : int, >= 0, optional
            Keep so many of the newest runs that have ended.
        workflow : str, optional
            Prune the runs of this workflow only, and count only these.
        dry_run : bool
            Only say what would be deleted.

        Returns
        -------
        pandas.DataFrame
            What was, or would be, deleted, oldest first: run, workflow, mode, status, started, ended (UTC), events.

        Raises
        ------
        DefinitionError
            If no rule is given.
        StoreError
            If it could not be done; nothing is deleted then.

        Notes
        -----
        Blocks while it deletes; runs that go on wait for their next commit as long. The file keeps its size, and the
        room is used again: see `compact`.

        Examples
        --------
        >>> import tempfile, orchkit as ok
        >>> wf = ok.Workflow("hello", input=str)
        >>> @wf.step
        ... def greet(input: str) -> str:
        ...     return f"Hello {input}"
        >>> with tempfile.TemporaryDirectory() as folder, ok.open(f"{folder}/lab.duckdb") as store:
        ...     for name in ("Ada", "Bob", "Cy"):
        ...         _ = wf.start(name, store=store).result()
        ...     print(len(store.prune(keep_runs=1)), len(store.runs()))
        2 1
        """
        import pandas as pd

        from orchkit.store.care import PRUNED, Keep

        gone = pd.DataFrame(
            self._kept.prune(Keep(keep_days, keep_runs, workflow), dry_run=dry_run), columns=list(PRUNED)
        )
        for column in ("started", "ended"):
            gone[column] = pd.to_datetime(gone[column], unit="us")
        return gone

    def compact(self) -> Compacted:
        """Give the room of what was deleted back to the disk: deleting alone does not shrink a file.

        Copies what is there into a new file, and puts that in the place of the old one by one rename. Killed at any
        moment, it leaves one good file; what may be left beside it, ``<path>.compacting``, the next time removes.

        Returns
        -------
        Compacted
            ``before`` and ``after``, in bytes.

        Raises
        ------
        StoreBusy
            If any process executes a run of this store, or a query does not end for ten seconds.
        StoreError
            If it could not be done, for one because the disk has no room for the copy; the file is as it was.

        Notes
        -----
        Blocks, about two seconds for 150 MB. Runs that are started meanwhile, in any process, wait for it.

        Examples
        --------
        >>> import tempfile, orchkit as ok
        >>> with tempfile.TemporaryDirectory() as folder, ok.open(f"{folder}/lab.duckdb") as store:
        ...     done = store.compact()
        ...     print(done.before > 0, done.after > 0)
        True True
        """
        return self._kept.compact()

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """Copy the store into a new file, as it is at one moment; runs go on meanwhile. Blocks until it is written.

        The file is a store of its own. A run that some process executes in this store counts as executed in the copy
        as well, for as long as that process lives: going on with it twice would act twice.

        Parameters
        ----------
        path : path-like
            Of a file that does not exist.

        Raises
        ------
        StoreError
            If it exists, cannot be written, or is a name that belongs to the store; nothing is left of it then.
        DefinitionError
            If no file can have that path.

        Examples
        --------
        >>> import tempfile, orchkit as ok
        >>> with tempfile.TemporaryDirectory() as folder, ok.open(f"{folder}/lab.duckdb") as store:
        ...     store.snapshot(f"{folder}/yesterday.duckdb")
        ...     with ok.open(f"{folder}/yesterday.duckdb") as copy:
        ...         print(len(copy.runs()))
        0
        """
        from orchkit.store.targets import checked_target

        target = arguments.path("snapshot", "path", path)
        self._kept.snapshot(checked_target(target, self.path))

    def export(
        self, folder: str | os.PathLike[str], format: str = "parquet", *, overwrite: bool = False
    ) -> pd.DataFrame:
        """Write each table and view into a Parquet file (zstd) that other programs read, and what they mean beside.

        From a file that is damaged inside it writes what can be read; cells that cannot are null. A file that does
        not open at all is exported by ``orchkit export --store``.

        Parameters
        ----------
        folder : path-like
            Made if it is not there.
        format : {"parquet"}
        overwrite : bool
            Use a folder that is not empty; files of other names in it stay.

        Returns
        -------
        pandas.DataFrame
            A row a file: name, rows, bytes, problem (what could not be read; "" for nothing).

        Raises
        ------
        StoreError
            If the folder is not empty, cannot be written, or has a name that belongs to the store.
        DefinitionError
            For another format, or if no folder can have that path.

        Examples
        --------
        >>> import tempfile, orchkit as ok
        >>> with tempfile.TemporaryDirectory() as folder, ok.open(f"{folder}/lab.duckdb") as store:
        ...     told = store.export(f"{folder}/lab")
        ...     print(told.name.tolist()[:3], told.problem.any())
        ['admission', 'event', 'holder'] False
        """
        import pandas as pd

        from orchkit.store.targets import checked_folder

        if format != "parquet":
            raise DefinitionError(f"format={format!r}: a store is exported as 'parquet'; DuckDB and pandas read it")
        target = checked_folder(arguments.path("export", "folder", folder), self.path, overwrite=overwrite)
        told = self._kept.export(target, overwrite=overwrite)
        rows = [(one.name, one.rows, one.bytes, one.problem) for one in told]
        return pd.DataFrame(rows, columns=["name", "rows", "bytes", "problem"])

    def size(self) -> StoreSize:
        """Measure the store, on the disk and inside.

        Returns
        -------
        StoreSize
            ``file``, ``wal``, ``beside`` (all other files named ``<path>*``), ``free`` inside the file, ``total`` and
            ``disk`` (what is left on it) in bytes, ``rows`` by table, and ``hint``: what to do about it.

        Examples
        --------
        >>> import tempfile, orchkit as ok
        >>> with tempfile.TemporaryDirectory() as folder, ok.open(f"{folder}/lab.duckdb") as store:
        ...     size = store.size()
        ...     print(size.rows["event"], size.total > 0, size.hint == "")
        0 True True
        """
        return self._kept.size()

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

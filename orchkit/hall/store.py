"""The store: where runs are kept, looked at and resumed from."""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchkit.errors import DefinitionError, StoreBusy, StoreNotice
from orchkit.hall.run import Run
from orchkit.model.protocols import RunStore
from orchkit.runs import live
from orchkit.runs.frames import event_frame
from orchkit.runs.handle import PastRun

if TYPE_CHECKING:
    import pandas as pd

    from orchkit.hall.workflow import Workflow
    from orchkit.store.damage import Damage
    from orchkit.store.duck import DuckStore

__all__ = ["Store", "open_store", "store_for"]

_OPEN: dict[Path, Store] = {}
_LOCK = threading.Lock()


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

    def __init__(self, kept: DuckStore) -> None:
        self.path = kept.path
        self._kept = kept

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

        Columns: run, workflow, mode, seed, started (UTC), durability, status, t (s), events, cost (USD), tokens.
        A status of "open" means that the log has no end: the run is going on, or was cut off; "suspended", that it
        was stopped for now.

        Returns
        -------
        pandas.DataFrame
            In order of admission.
        """
        frame: pd.DataFrame = self._kept.frame("select * from run")
        return frame

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
               where a.status = 'asked' and r.status in ('open', 'suspended')"""
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
          text), "key" (an effect's idempotency key without the run's id).
        - ``attempt``: run, node, item, generation, leg, attempt, t, status (completed, error, timeout, cancelled,
          open), dur, cost, tokens, error, injected (how many faults struck it).
        - ``node_run``: run, node, item, generation, status (completed, degraded, failed, skipped), t, error.
        - ``effect``: the ledger: run, node, item, idempotency_key, status, attempts, completed.
        - ``approval``: run, node, item, generation, asked, timeout, status (asked, answered, expired), settled, "by",
          shown, answer (JSON text).
        - ``run``: run, workflow, mode, seed, started, durability, status, t, events, cost, tokens.

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
        going = live.live_run(run_id)
        if going is not None:
            return Run(going)
        return Run(PastRun(self._kept.head(run_id), self._kept.events(run_id)))

    def resume(self, run_id: str, workflow: Workflow, *, deps: object = None, on_change: str = "error") -> Run:
        """Go on with a run from its log; a run that has ended is given as it is.

        Blocks until it is recorded that the run goes on, which takes milliseconds, and not until it ends.

        What is recorded is not run again. An attempt without an outcome starts again under the same number, and an
        effect with the same idempotency key.

        Parameters
        ----------
        run_id : str
        workflow : Workflow
            The one that recorded it.
        deps : object
            As in ``wf.start``.
        on_change : {"error", "keep"}
            What to do when a step is not as it was recorded: refuse, or keep what is recorded and go on with the
            new code.

        Returns
        -------
        Run

        Raises
        ------
        RunUnknown
            If there is no such run.
        RunHeld
            If this process is executing it.
        DefinitionChanged
            If the workflow has changed; it names the nodes.
        ReplayMismatch
            If the workflow wants something else than the log holds.
        DefinitionError
            If the workflow is another one, or an argument makes no sense.
        """
        from orchkit.engine.program import Program
        from orchkit.hall.workflow import Workflow

        if not isinstance(workflow, Workflow):
            raise DefinitionError(f"resume({run_id!r}, {workflow!r}): give the ok.Workflow that recorded it")
        program = Program(workflow.checked())
        resumed = live.resume(program, run_id, store=self._kept, deps=deps, on_change=on_change)
        if resumed is not None:
            return Run(resumed)
        return Run(PastRun(self._kept.head(run_id), self._kept.events(run_id), program))

    def close(self) -> None:
        """Suspend what this process executes in it, make everything durable, and let the file go.

        Safe to call twice; a suspended run goes on with ``ok.open(path).resume(id, workflow)``.
        """
        live.suspend_runs_of(self._kept)
        with _LOCK:
            if _OPEN.get(self.path) is self:
                del _OPEN[self.path]
        self._kept.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.path.name!r})"


def open_store(path: str | os.PathLike[str], *, read_only: bool = False) -> Store:
    """Open a store's file; made if it is not there. A path is opened once per process and shared.

    Parameters
    ----------
    path : path-like
    read_only : bool
        Write nothing, not even a file beside it. If the path is open to write in this process, that store is given.

    Returns
    -------
    Store

    Raises
    ------
    StoreBusy
        If whoever holds it does not answer, or this process has it open for reading only and wants to write.
    StoreUnreadable
        If it is no store, damaged beyond repair, or newer than this orchkit; with `read_only` also if it is not
        there, or would have to be mended or migrated first.

    Warns
    -----
    StoreDamaged
        If its log was damaged and had to be mended, or acknowledged events are missing: then nothing can be written
        until `Store.confirm`.
    StoreNotice
        If it was written by an older orchkit and has been moved to the schema of today; the old file is kept.

    Examples
    --------
    >>> import tempfile, orchkit as ok
    >>> with tempfile.TemporaryDirectory() as folder, ok.open(f"{folder}/lab.duckdb") as store:
    ...     print(store, len(store.runs()))
    Store('lab.duckdb') 0
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise DefinitionError(f"ok.open({path!r}): give the path of a file, such as 'lab.duckdb'")
    # Imported here: `import orchkit` must not load the database.
    from orchkit.store.duck import DuckStore

    key = Path(path).absolute().resolve()
    notices: tuple[StoreNotice, ...] = ()
    with _LOCK:
        store = _OPEN.get(key)
        if store is None or store._kept.is_closed():
            store = _OPEN[key] = Store(DuckStore(key, read_only=read_only))
            notices = store._kept.notices
        elif store._kept.read_only and not read_only:
            raise StoreBusy(
                f"{key.name} is open in this process for reading only; close that store, and open it again to write",
                pid=os.getpid(),
            )
    for notice in notices:
        warnings.warn(notice, stacklevel=2)
    return store


def store_for(store: Any, *, memory: bool) -> RunStore:
    """Give the kept store behind what users pass as ``store=``."""
    if memory:
        from orchkit.store.memory import MemoryStore

        return MemoryStore()
    if isinstance(store, Store):
        return store._kept
    return open_store(store)._kept

"""The file of a store, as users tend it: what is missing in it, its size, what is deleted, copied or exported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchkit.errors import DefinitionError
from orchkit.hall import arguments

if TYPE_CHECKING:
    import pandas as pd

    from orchkit.store.care import Compacted
    from orchkit.store.damage import Damage
    from orchkit.store.duck import DuckStore
    from orchkit.store.sizes import StoreSize

__all__ = ["StoreFile"]


class StoreFile:
    """What can be done with a store's file, whatever runs are in it; users have it as part of `Store`.

    Parameters
    ----------
    kept : DuckStore
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

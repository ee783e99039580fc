"""``orchkit resume``: go on with runs that nobody executes.

JSON: ``store``, ``runs``: a list of run, status, result, error, asks (names of open questions).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchkit.cli._common import AsJson, StorePath, ending, open_for_writing, print_json, whole_run_id
from orchkit.cli._terminal import Refusal, table
from orchkit.errors import ReplayError, RunHeld

if TYPE_CHECKING:
    from types import ModuleType

    from orchkit.hall.run import Run
    from orchkit.hall.store import Store
    from orchkit.hall.workflow import Workflow

__all__ = ["load_workflow", "resume"]

_STOPPED = ("orphaned", "suspended")
_FINE = ("completed", "degraded", "waiting")


def resume(
    workflow: Annotated[
        str, typer.Option(help="The workflow that recorded it: FILE.py:name or module:name.", metavar="WHERE:NAME")
    ],
    run: Annotated[str | None, typer.Argument(help="A run's id, or the beginning of it.", metavar="RUN")] = None,
    every: Annotated[bool, typer.Option("--all", help="All runs of the workflow that stopped.")] = False,
    on_change: Annotated[
        str, typer.Option(help="Where the workflow has changed: error, keep or rerun, as in store.resume.")
    ] = "error",
    store: StorePath = Path("orchkit.duckdb"),
    as_json: AsJson = False,
) -> None:
    """Go on with runs until each has ended or waits for a person only; 1 if one failed.

    A run that waits for a person is suspended again when the command ends: what it has done stays done.
    """
    with ending("resume"):
        if (run is None) != every:
            given = "a run and --all are both given" if every else "no run is given"
            raise Refusal(f"{given}; give either a run or --all")
        with open_for_writing(store) as opened:
            definition = load_workflow(workflow)
            ids = [whole_run_id(opened, run)] if run is not None else _stopped(opened, definition)
            told = _go_on(opened, definition, ids, on_change, one=run is not None)
            path = str(opened.path)
        if as_json:
            print_json({"store": path, "runs": told})
        else:
            _print(told)
        if any(one["error"] or one["status"] not in _FINE for one in told):
            raise typer.Exit(1)


def load_workflow(where: str) -> Workflow:
    """Import a workflow by ``FILE.py:name`` or ``module:name``.

    Raises
    ------
    Refusal
        If it cannot be imported, or is none.
    """
    from orchkit.hall.workflow import Workflow

    source, colon, name = where.rpartition(":")
    if not (source and colon and name):
        raise Refusal(f"--workflow {where!r}: give FILE.py:name or module:name")
    try:
        module = _load_file(Path(source)) if source.endswith(".py") else _load_module(source)
    except (Exception, SystemExit) as error:
        raise Refusal(f"{source} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not isinstance(found, Workflow):
        there = sorted(key for key, value in vars(module).items() if isinstance(value, Workflow))
        raise Refusal(f"{source} has no workflow {name!r}; there are: {', '.join(there) or 'none'}")
    return found


def _load_module(source: str) -> ModuleType:
    # As `python -m` does: what lies in the working directory can be named.
    sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(source)


def _load_file(path: Path) -> ModuleType:
    # Under a name of its own: a file may be called as a module is that others need.
    name = f"workflow file {path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.absolute())
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    sys.path.insert(0, str(path.absolute().parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are looked up there
    spec.loader.exec_module(module)
    return module


def _stopped(store: Store, workflow: Workflow) -> list[str]:
    frame = store.runs()
    return [str(run) for run in frame.run[frame.status.isin(_STOPPED) & (frame.workflow == workflow.name)]]


def _go_on(store: Store, workflow: Workflow, ids: list[str], on_change: str, *, one: bool) -> list[dict[str, Any]]:
    going: list[tuple[str, Run | None, str]] = []
    for run_id in ids:
        try:
            going.append((run_id, store.resume(run_id, workflow, on_change=on_change, tell=_tell), ""))
        except (RunHeld, ReplayError) as error:
            if one:
                raise
            going.append((run_id, None, str(error)))
    return [_settle(run_id, run, error) for run_id, run, error in going]


def _tell(line: str) -> None:
    print(line, file=sys.stderr)  # what is on stdout may be one JSON document


def _settle(run_id: str, run: Run | None, refusal: str) -> dict[str, Any]:
    if run is None:
        return {"run": run_id, "status": "not resumed", "result": None, "error": refusal, "asks": []}
    run.wait_settled()
    status, result, error = run.status, None, ""
    if status in ("completed", "degraded"):
        # As it was recorded: a result's own type may be no JSON.
        result = run.log[-1].body
    elif status != "waiting":
        try:
            run.result(0)
        except Exception as failure:
            error = str(failure)
    return {"run": run_id, "status": status, "result": result, "error": error, "asks": run.pending()}


def _print(told: list[dict[str, Any]]) -> None:
    def what(one: dict[str, Any]) -> str:
        if one["status"] == "waiting":
            return f"asks {', '.join(one['asks'])}; suspended: answer it by `orchkit answer`, and resume it"
        return one["error"] or json.dumps(one["result"], ensure_ascii=False, default=str)

    if told:
        typer.echo(table(("run", "status", "result"), [(one["run"], one["status"], what(one)) for one in told]))
    else:
        typer.echo("no run of the workflow has stopped")

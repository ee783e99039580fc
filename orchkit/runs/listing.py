"""Listings: all runs of a store with what they are doing, and those that will not go on by themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from orchkit.model.protocols import RunStore
from orchkit.runs.handle import only_people
from orchkit.runs.live import live_run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Listed", "runs_frame", "stuck_frame"]


class Listed(RunStore, Protocol):
    """A store that can be listed."""

    def frame(self, sql: str, parameters: Sequence[Any] | None = None) -> Any:
        """Run a query and give a DataFrame."""

    def holders(self) -> Mapping[str, Any]:
        """Give the living processes that execute runs, by run."""


_FAILED = """
    select run, coalesce(arg_max(error, seq) filter (kind = 'settled'), arg_max(error, seq)) as why
    from event where kind in ('settled', 'skipped') and error is not null and run in (select unnest(?)) group by run"""
_SUSPENDED = """
    select run, arg_max({who: "by", why: json_extract_string(body, '$')}, seq) as note
    from event where kind = 'suspended' and run in (select unnest(?)) group by run"""
_LEASED = """
    select t.run, any_value(h.pid) as pid, any_value(h.host) as host
    from (select run, arg_max(holder, seq) as holder
          from (select run, seq, holder from admission union all select run, seq, holder from lease)
          where run in (select unnest(?)) group by run) t
    join holder h on h.holder = t.holder group by t.run"""


def runs_frame(store: Listed) -> pd.DataFrame:
    """List all runs, a row each, in order of admission."""
    frame: pd.DataFrame = store.frame("select * from run")
    begun = frame.run[frame.status == "open"].tolist()
    if begun:
        doing = _doing(store, begun)
        frame["status"] = [doing.get(run, status) for run, status in zip(frame.run, frame.status, strict=True)]
    return frame


def _doing(store: Listed, begun: list[str]) -> dict[str, str]:
    holders = store.holders()
    doing = {}
    for run in begun:
        live = live_run(store, run)
        if live is not None:
            doing[run] = live.status()
        elif run in holders:
            doing[run] = "waiting" if only_people(store.events(run)) else "running"
        else:
            doing[run] = "orphaned"
    return doing


def stuck_frame(store: Listed, is_known: Callable[[str], bool]) -> pd.DataFrame:
    """List the runs that wait for somebody: orphaned, suspended, failed, or waiting for people; with why, and for what.

    Parameters
    ----------
    store : Listed
    is_known : callable
        Says whether this process has a workflow of that name.
    """
    import pandas as pd

    frame = runs_frame(store)
    frame = frame[frame.status.isin(["orphaned", "suspended", "failed", "waiting"]) & (frame["mode"] == "live")]
    whys = _whys(store, frame)
    rows = [
        (run, workflow, status, whys.get(run, ""), _todo(run, workflow, status, is_known(workflow)))
        for run, workflow, status in zip(frame.run, frame.workflow, frame.status, strict=True)
    ]
    return pd.DataFrame(rows, columns=["run", "workflow", "status", "why", "todo"])


def _whys(store: Listed, frame: pd.DataFrame) -> dict[str, str]:
    def of(status: str) -> list[str]:
        return list(frame.run[frame.status == status])

    why = {}
    for row in store.frame(_LEASED, [of("orphaned")]).itertuples():
        why[row.run] = f"process {row.pid} on {row.host}, which executed it, is gone"
    for row in store.frame(_SUSPENDED, [of("suspended")]).itertuples():
        who, said = row.note["who"], row.note["why"]
        why[row.run] = ": ".join(part for part in (who and f"by {who}", said) if part)
    for row in store.frame(_FAILED, [of("failed")]).itertuples():
        why[row.run] = row.why
    for run in of("waiting"):
        questions = only_people(store.events(run))
        nodes = ", ".join(sorted({question.node for question in questions}))
        since = min((question.t for question in questions), default=0) / 1e6
        why[run] = f"asks {nodes}, since {since:g} s"
    return why


def _todo(run: str, workflow: str, status: str, known: bool) -> str:
    if status == "waiting":
        return "answer it: ok.inbox(store) shows what it asks"
    first = "" if known else f"define workflow {workflow!r}, then "
    fix = "mend what failed, then " if status == "failed" else ""
    return f"{fix}{first}store.resume({run!r})"

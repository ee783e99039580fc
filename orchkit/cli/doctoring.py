"""``orchkit doctor``: what is wrong with a store, and what to do about it.

JSON: ``store``; ``healthy`` (no finding is an error); ``owner``: pid and host of the process that has the file, or
null; ``schema_version``; ``size``: file, wal, free, beside, disk (bytes) and rows by table, null if it does not open;
``runs``: how many by status; ``findings``: a list of severity (error, warning, advice), code, what, todo.

Codes: unreadable, busy, damage, rows_unreadable, log_gap, log_twice, run_without_admission, run_without_events,
payload_missing, stuck, leftover, disk, compact.
"""

from __future__ import annotations

import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchkit.cli._common import (
    AsJson,
    StorePath,
    ending,
    open_for_reading,
    open_for_writing,
    print_json,
    records,
    refuse_missing,
)
from orchkit.cli._terminal import WIDTH, Refusal, megabytes, plain
from orchkit.errors import StoreError, StoreUnreadable

if TYPE_CHECKING:
    from orchkit.hall.store import Store

__all__ = ["Finding", "doctor"]

_FEW: Final = 5  # runs that a finding names
_ROOM: Final = 100_000_000  # bytes that should be left on a disk
_LEFTOVERS: Final = {
    ".damaged-": "a copy from before a repair; delete it once you miss nothing",
    ".migrating": "of a migration that was cut short; delete it while nobody has the store open",
    ".compacting": "of a compaction that was cut short; the next one deletes it, or delete it yourself",
    ".rescue-": "of a rescue that was cut short; delete it",
    ".mending": "of a repair that was cut short; the next one deletes it, or delete it yourself",
    ".new": "of a store that was just being made; delete it while nobody has the store open",
    ".marks.new": "of marks that were just being made; delete it while nobody has the store open",
    ".part": "of a copy that was cut short; delete it, unless you have named a store so",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a store's owner should know.

    Attributes
    ----------
    severity : {"error", "warning", "advice"}
    code : str
        Which kind it is; one of those of this module.
    what, todo : str
    """

    severity: str
    code: str
    what: str
    todo: str


def doctor(
    store: StorePath = Path("orchkit.duckdb"),
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="Go on without the events that are missing; until then nothing is written."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Examine a store: every row is read. 1 if something is wrong that loses data or stops work."""
    with ending("doctor"):
        refuse_missing(store)
        told = _examined(store, confirm=confirm)
        if as_json:
            print_json(told)
        else:
            _print(told)
        if not told["healthy"]:
            raise typer.Exit(1)


def _examined(path: Path, *, confirm: bool) -> dict[str, Any]:
    owner = _owner(path)
    told: dict[str, Any] = {
        "store": str(path.absolute()), "healthy": True, "owner": owner, "schema_version": None, "size": None,
        "runs": {},
    }  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they say what is found below
            opened = (open_for_writing if confirm else open_for_reading)(path)
    except StoreUnreadable as error:
        rescue = f"take out what can be read: orchkit export FOLDER --store {path}"
        findings = [Finding("error", "unreadable", str(error), rescue), *_leftovers(path)]
    except Refusal as error:
        findings = [Finding("error", "busy", str(error), "end that process, or wait for it"), *_leftovers(path)]
    else:
        with opened:
            if confirm:
                opened.confirm()
            told["schema_version"] = _attempt(lambda: _schema(opened))
            told["size"] = _attempt(lambda: asdict(opened.size()))
            told["runs"] = _attempt(lambda: dict(Counter(opened.runs().status))) or {}
            findings = [*_findings(opened), *_leftovers(path)]
    told["findings"] = [asdict(finding) for finding in findings]
    told["healthy"] = not any(finding.severity == "error" for finding in findings)
    return told


def _owner(path: Path) -> dict[str, Any] | None:
    from orchkit.store.client import RemoteFile
    from orchkit.store.election import read_notice
    from orchkit.store.wire import OwnerGone

    # What a killed owner wrote is still there: only who answers is one.
    notice = read_notice(path.absolute().resolve())
    if notice is None:
        return None
    try:
        RemoteFile(notice).let_go()
    except (OwnerGone, StoreError):
        return None
    return {"pid": notice.pid, "host": notice.host}


def _attempt(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except StoreError:
        return None  # what cannot be read has a finding of its own


def _schema(store: Store) -> int | None:
    found = store.sql("select value from meta where key = 'schema_version'").value.tolist()
    return int(found[0]) if found else None


def _findings(store: Store) -> Iterator[Finding]:
    for look in (_damage, _unread, _gaps, _heads, _payloads, _stuck, _sizes):
        try:
            yield from look(store)
        except StoreError as error:
            yield Finding("error", "rows_unreadable", str(error), _export(store))


def _export(store: Store) -> str:
    return f"take out what can be read: orchkit export FOLDER --store {store.path}"


def _damage(store: Store) -> Iterator[Finding]:
    if store.damage is not None:
        todo = f"go on without it: orchkit doctor --confirm --store {store.path}"
        yield Finding("error", "damage", str(store.damage), todo)


def _unread(store: Store) -> Iterator[Finding]:
    # A block that is damaged says so when it is read, and not before.
    for name in ("event", "payload", "admission", "lease", "holder"):
        try:
            store.sql(f"select bit_xor(hash(one)) as digest from {name} one")
        except StoreError as error:
            yield Finding("error", "rows_unreadable", f"rows of {name} cannot be read: {error}", _export(store))


_TORN: Final = """
    select run, count(*) as rows, count(distinct n) as places, min(n) as low, max(n) as high from event
    group by run having low <> 1 or high <> places or rows <> places order by run"""


def _gaps(store: Store) -> Iterator[Finding]:
    torn = records(store.sql(_TORN))
    gaps = [f"{one['run']} ({one['high'] - one['places']})" for one in torn if one["high"] > one["places"]]
    if gaps:
        yield Finding(
            "error", "log_gap", f"events are missing within the logs of {_some(gaps)}",
            "restore the store from a copy; do not resume these runs, they would do again what is missing",
        )  # fmt: skip
    twice = [f"{one['run']} ({one['rows'] - one['places']})" for one in torn if one["rows"] > one["places"]]
    if twice:
        yield Finding(
            "error", "log_twice", f"events are recorded twice in the logs of {_some(twice)}",
            "do not resume these runs; keep the file and report it, this should not be possible",
        )  # fmt: skip


def _heads(store: Store) -> Iterator[Finding]:
    query = "select distinct run from {} where run not in (select run from {}) order by run"
    for code, what, one, other in (
        ("run_without_admission", "events without the admission of their run", "event", "admission"),
        ("run_without_events", "admissions without an event", "admission", "event"),
    ):
        found = store.sql(query.format(one, other)).run.tolist()
        if found:
            todo = "restore the store from a copy; these runs cannot be resumed"
            yield Finding("error", code, f"there are {what}: {_some(found)}", todo)


_WITHOUT_PAYLOAD: Final = """
    select run, count(*) as events from event
    where ref is not null and ref not in (select ref from payload) group by run order by run"""


def _payloads(store: Store) -> Iterator[Finding]:
    found = records(store.sql(_WITHOUT_PAYLOAD))
    if found:
        named = [f"{one['run']} ({one['events']})" for one in found]
        yield Finding(
            "error", "payload_missing", f"long values of events are missing in {_some(named)}",
            "restore the store from a copy; these runs can be listed, and not resumed",
        )  # fmt: skip


def _stuck(store: Store) -> Iterator[Finding]:
    rows = records(store.stuck())
    for row in rows[:_FEW]:
        what = f"run {row['run']} of {row['workflow']} is {row['status']}: {row['why']}"
        yield Finding("warning", "stuck", what, row["todo"])
    if len(rows) > _FEW:
        yield Finding("warning", "stuck", f"{len(rows) - _FEW} more runs are stuck", "orchkit runs lists them")


def _sizes(store: Store) -> Iterator[Finding]:
    size = store.size()
    if size.disk < max(_ROOM, size.file // 2):
        what = f"{megabytes(size.disk)} are left on the disk, beside a store of {megabytes(size.total)}"
        yield Finding("warning", "disk", what, "free some: a store that cannot write stops its runs")
    if size.hint:
        yield Finding("advice", "compact", size.hint.partition(";")[0], f"orchkit compact --store {store.path}")


def _leftovers(path: Path) -> Iterator[Finding]:
    real = path.absolute()
    for found in sorted(real.parent.iterdir()):
        for mark, todo in _LEFTOVERS.items():
            if found.name.startswith(real.name + mark):
                size = f", {megabytes(found.stat().st_size)}" if found.is_file() else ""
                yield Finding("advice", "leftover", f"{found.name} lies beside the store{size}", todo)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")


def _print(told: dict[str, Any]) -> None:
    owner, size = told["owner"], told["size"]
    who = f"process {owner['pid']} on {owner['host']} has it" if owner else "nobody has it open"
    typer.echo(plain(told["store"], 4 * WIDTH))
    typer.echo(f"{who}; schema version {told['schema_version'] or 'unknown'}")
    if size:
        beside = sum(size["beside"].values())
        typer.echo(
            f"{megabytes(size['file'])}, of which {megabytes(size['free'])} are free; {megabytes(size['wal'])} log; "
            f"{megabytes(beside)} beside; {megabytes(size['disk'])} left on the disk"
        )
        rows = size["rows"]
        typer.echo(f"{rows['event']} events of {rows['admission']} runs"
                   + "".join(f", {count} {status}" for status, count in told["runs"].items()))  # fmt: skip
    for finding in told["findings"]:
        typer.echo("")
        _wrap(f"{finding['severity']}: {finding['what']}", "")
        _wrap(finding["todo"], "    ")
    if not told["findings"]:
        typer.echo("nothing to find fault with")


def _wrap(text: str, before: str) -> None:
    # A path or a command stays in one piece, to be copied.
    for line in textwrap.wrap(plain(text, 1000), WIDTH - len(before), break_long_words=False, break_on_hyphens=False):
        typer.echo(before + line)

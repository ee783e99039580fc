"""The live part of the demo, as a process of its own: the one that is killed, and the one that goes on.

``python -m orchkit.cli.demo.live STORE OUTBOX INPUT [--resume]`` writes one JSON object a line to its standard output:
``admitted``, ``sent`` (on disk, and not yet in the log) and ``settled`` for each message, then one ``report``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import orchkit as ok
from orchkit.cli._terminal import Refusal, plain
from orchkit.cli.demo.documents import Document, read_documents
from orchkit.cli.demo.pipeline import Desk, Message, Outbox, inbox

__all__ = ["AT_ONCE", "Report", "Tally", "desk_for", "main", "recorded", "report_since"]

AT_ONCE = 20

Say = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of one step's executions; all counted from the log.

    Attributes
    ----------
    kept : int
        Had a result before the cut.
    again : int
        Of these, executed again all the same.
    cut : int
        Had begun before the cut, without a result: begun anew, under the same number.
    after : int
        Got their result after the cut.
    """

    node: str
    kept: int
    again: int
    cut: int
    after: int


@dataclass(frozen=True, slots=True)
class Report:
    """What the store and the outbox say when all that needs no person is done."""

    tallies: tuple[Tally, ...]
    sent: int
    twice: int
    lines: int
    keys: int
    statuses: dict[str, int]

    @classmethod
    def from_line(cls, line: dict[str, Any]) -> Self:
        """Read a report back from its line."""
        facts = {key: value for key, value in line.items() if key != "at"}
        return cls(**{**facts, "tallies": tuple(Tally(**tally) for tally in line["tallies"])})


def recorded(store: ok.Store) -> dict[str, tuple[str, str, Message]]:
    """Find what a store holds, by document: run id, status ("open" without an end) and the input, from the log."""
    frame = store.sql(
        "select run, e.body, r.status from event e join run r using (run) where e.kind = 'run_started' order by e.seq"
    )
    found: dict[str, tuple[str, str, Message]] = {}
    for run_id, body, status in frame.itertuples(index=False):
        message = Message.model_validate(json.loads(body)["input"])
        found[message.id] = (str(run_id), str(status), message)
    return found


def desk_for(outbox: Path, on_sent: Callable[[str], None] | None = None) -> Desk:
    """Give the steps their outbox, and a model if the environment names one."""
    return Desk(Outbox(outbox, on_sent), ok.interop.openai_chat_from_env())


def _work(store: ok.Store, desk: Desk, documents: Sequence[Document], say: Say) -> None:
    known = recorded(store)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waits = [
            pool.submit(_settle, partial(_open, store, desk, document, known, say), document.id, say)
            for document in documents
            if document.id not in known or known[document.id][1] == "open"
        ]
        try:
            for wait in waits:
                wait.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _open(
    store: ok.Store, desk: Desk, document: Document, known: dict[str, tuple[str, str, Message]], say: Say
) -> ok.Run:
    if document.id in known:
        return store.resume(known[document.id][0], inbox, deps=desk)
    run = inbox.start(Message(id=document.id, text=document.text), store=store, deps=desk)
    say("admitted", id=document.id)
    return run


def _settle(open_run: Callable[[], ok.Run], id_: str, say: Say) -> None:
    run = open_run().wait_settled()
    say("settled", id=id_, status=run.status)


def report_since(store: ok.Store, cut: int, outbox: Outbox) -> Report:
    """Count from the log what was kept, repeated and done since event number `cut`."""
    rows = store.sql(_TALLIES.format(cut=cut)).to_dict("records")
    tallies = {row["node"]: Tally(row["node"], row["kept"], row["again"], row["cut"], row["after"]) for row in rows}
    effects = store.sql(_EFFECTS).to_dict("records")[0]
    statuses = store.sql(_STATUSES).to_dict("records")
    order = [node.name for node in inbox.checked().nodes if node.kind != "approval"]
    return Report(
        tuple(tallies.get(name, Tally(name, 0, 0, 0, 0)) for name in order),
        effects["sent"],
        effects["twice"],
        len(outbox.lines()),
        len(outbox.received()),
        {row["status"]: row["runs"] for row in statuses},
    )


# An execution is one node of one run. It is kept if a result of it was recorded by then.
_TALLIES = """
    with execution as (
        select run, split_part(node, '/', 1) as node,
            bool_or(kind = 'completed' and seq <= {cut}) as kept,
            bool_or(kind = 'started' and seq <= {cut}) as begun,
            bool_or(kind = 'started' and seq > {cut}) as later,
            bool_or(kind = 'completed' and seq > {cut}) as after
        from event where attempt > 0 group by all)
    select node, count(*) filter (kept) as kept, count(*) filter (kept and later) as again,
        count(*) filter (begun and not kept) as cut, count(*) filter (after and not kept) as after
    from execution group by node"""
_EFFECTS = "select count(*) filter (completed > 0) as sent, count(*) filter (completed > 1) as twice from effect"
_STATUSES = """
    select case when status = 'open' then 'waiting' else status end as status, count(*) as runs
    from run where events > 0 group by all order by 2 desc"""


class _Teller:
    """Writes progress, one whole line at a time, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, at: str, **facts: Any) -> None:
        line = json.dumps({"at": at, **facts})
        with self._lock:
            try:
                print(line, flush=True)
            except OSError:
                # Nobody listens any more. Raising would fail a step that has done its work; the log is enough.
                os._exit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run or resume the live part; returns the exit code, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m orchkit.cli.demo.live")
    parser.add_argument("store", type=Path)
    parser.add_argument("outbox", type=Path)
    parser.add_argument("input", type=Path)
    parser.add_argument("--first", type=int, default=None, help="take so many messages only")
    parser.add_argument("--resume", action="store_true", help="go on with what the store holds")
    asked = parser.parse_args(arguments)
    try:
        documents = read_documents(asked.input)[: asked.first]
        with ok.open(asked.store) as store:
            return _serve(store, asked.outbox, documents, resume=asked.resume)
    except (Refusal, ok.OrchkitError, OSError) as error:
        print(plain(str(error), 1000), file=sys.stderr)
        return 2


def _serve(store: ok.Store, path: Path, documents: Sequence[Document], *, resume: bool) -> int:
    say = _Teller()
    desk = desk_for(path, lambda key: say("sent", key=key))
    cut = int(store.sql("select coalesce(max(seq), 0) as cut from event").cut[0])
    if cut and not resume:
        raise Refusal(f"{store.path} already holds runs; go on with them by --resume")
    _work(store, desk, documents, say)
    say("report", **asdict(report_since(store, cut, desk.outbox)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``orchkit inbox`` and ``orchkit answer``: what runs ask people, and what people say, whoever executes the runs.

JSON of ``inbox``: ``store``, ``questions``: a list of run, workflow, node, item, id, asked and deadline (UTC), left
(s), shown, prefill, assigned, kept, executed_by. JSON of ``answer``: ``store``, ``run``, ``node``, ``item``,
``outcome``: "taken", or where the answer lies; and where it was refused ``error``, and ``outcome`` "late", "invalid" or
"unknown".

An answer that is late, does not fit or fits no question ends with 1; one that is kept for the next resume with 0.
"""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer

from orchkit.cli._common import (
    AsJson,
    StorePath,
    ending,
    open_for_reading,
    open_for_writing,
    print_json,
    records,
    whole_run_id,
)
from orchkit.cli._terminal import WIDTH, plain, seconds, table, when
from orchkit.errors import AnswerInvalid, AnswerLate, ApprovalError

__all__ = ["answer", "inbox"]


def inbox(store: StorePath = Path("orchkit.duckdb"), as_json: AsJson = False) -> None:
    """List what runs ask people, the question that expires first on top."""
    from orchkit.hall.inbox import Inbox

    with ending("inbox"), open_for_reading(store) as opened:
        found = [_plainer(row) for row in records(Inbox(opened).frame)]
        if as_json:
            print_json({"store": str(opened.path), "questions": found})
            return
        if found:
            rows = [
                (one["id"], one["workflow"], when(one["asked"]), seconds(one["left"]), one["assigned"],
                 json.dumps(one["shown"], ensure_ascii=False))
                for one in found
            ]  # fmt: skip
            typer.echo(table(("question", "workflow", "asked (UTC)", "left", "for", "shows"), rows, right=("left",)))
        typer.echo(f"{len(found)} open")


def _plainer(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: None if row[name] is None else json.loads(row[name]) for name in ("shown", "prefill")}


def answer(
    run: Annotated[str, typer.Argument(help="A run's id, or the beginning of it.", metavar="RUN")],
    node: Annotated[str, typer.Argument(help="The approval's name, or its id, such as 'review[3]'.", metavar="NODE")],
    value: Annotated[str, typer.Argument(help="The answer: JSON; what is no JSON is a text.", metavar="VALUE")],
    item: Annotated[int | None, typer.Option(min=0, help="Which one, where several are open under the name.")] = None,
    by: Annotated[str, typer.Option(help="Who answers.  [default: the name you are logged in by]")] = "",
    store: StorePath = Path("orchkit.duckdb"),
    as_json: AsJson = False,
) -> None:
    """Answer a question of a run, whoever executes it; kept for the next resume if nobody does."""
    from orchkit.runs.live import present

    with ending("answer"), open_for_writing(store) as opened:
        run_id = whole_run_id(opened, run)
        handle = present(opened.run(run_id)._handle)
        told: dict[str, Any] = {"store": str(opened.path), "run": run_id, "node": node, "item": item}
        try:
            kept = handle.answer(node, _value(value), by=by or _user(), item=item, via="cli")
        except ApprovalError as error:
            if as_json:
                print_json({**told, "outcome": _word(error), "error": str(error)})
            raise
        if as_json:
            print_json({**told, "outcome": kept or "taken"})
        else:
            typer.echo(fill(plain(kept or f"taken: {node} of run {run_id}", 1000), WIDTH))


def _word(error: ApprovalError) -> str:
    if isinstance(error, AnswerLate):
        return "late"
    return "invalid" if isinstance(error, AnswerInvalid) else "unknown"


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # nobody has that number here, as in some containers
        return ""

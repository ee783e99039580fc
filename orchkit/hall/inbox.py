"""The inbox: what all runs of a store ask people, in the order in which it expires."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final

from orchkit.clock.ids import wall_micro
from orchkit.errors import AnswerInvalid, AnswerLate, ApprovalError, ApprovalUnknown, DefinitionError, OrchkitError
from orchkit.hall.opened import open_store
from orchkit.hall.store import Store
from orchkit.model.questions import asking_order, question_id
from orchkit.model.records import ANSWER
from orchkit.runs.live import present

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Inbox", "inbox"]

_COLUMNS: Final = (
    "run", "workflow", "node", "item", "id", "asked", "deadline", "left", "shown", "prefill", "assigned", "kept",
    "executed_by",
)  # fmt: skip
_OPEN: Final = """
    select a.run, r.workflow, a.node, a.item, a.generation, epoch_us(r.started) as started, a.asked, a.timeout,
        a.shown, a.assigned
    from approval a join run r using (run)
    where a.status = 'asked' and r.mode = 'live' and r.status in ('open', 'suspended') and not exists (
        select 1 from event e where e.run = a.run and e.node = a.node and e.kind = 'invalidated'
        and e.generation > a.generation and (e.item is null or e.item = a.item))"""
_SHOWN: Final = 120  # characters of what is shown, in a table
_NOTHING: Final = object()


class Inbox:
    """The review queue over all runs of a store: look, answer, hand on.

    Comes from `ok.inbox`. It shows what is open at the moment at which it is looked at.

    Parameters
    ----------
    store : Store

    Examples
    --------
    >>> import tempfile, orchkit as ok
    >>> wf = ok.Workflow("letter", input=str)
    >>> wf.approval("review", answer=bool, show="draft", timeout=3600.0)
    >>> @wf.step
    ... def draft(input: str) -> str:
    ...     return f"Dear {input}"
    >>> @wf.step
    ... def send(draft: str, review: bool | None) -> str:
    ...     return draft if review else "not sent"
    >>> with tempfile.TemporaryDirectory() as folder, ok.open(f"{folder}/lab.duckdb") as store:
    ...     run = wf.start("Dana", store=store).wait_settled()
    ...     inbox = ok.inbox(store)
    ...     print(inbox.frame[["node", "shown"]].values.tolist())
    ...     inbox.answer(f"{run.id}/review", True, by="lee")
    ...     print(run.result(), len(inbox))
    [['review', '"Dear Dana"']]
    Dear Dana 0
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def frame(self) -> pd.DataFrame:
        """What is asked, a row a question, the one that expires first on top.

        Columns: run, workflow, node, item, id (``<run>/<node>[item]``), asked (UTC), deadline (UTC, NaT for none), left
        (s), shown (JSON text of what is to be judged), prefill (JSON text, null for none), assigned (to whom it was
        handed, "" for nobody), kept (how many answers wait for the run to be resumed), executed_by (a pid, null if
        nobody executes the run). What can be answered no more, and what a run with ``durability="memory"`` or
        "exit" asks, is not listed.
        """
        import pandas as pd

        now = wall_micro()
        rows = sorted(self._rows(now), key=_in_turn)
        frame = pd.DataFrame([tuple(row[name] for name in _COLUMNS) for row in rows], columns=list(_COLUMNS))
        for name in ("item", "kept", "executed_by"):
            frame[name] = frame[name].astype("Int64")
        for name in ("asked", "deadline"):
            frame[name] = pd.to_datetime(frame[name], unit="us", utc=True)
        frame["left"] = frame["left"].astype("float64")
        return frame

    def _rows(self, now: int) -> Iterator[dict[str, Any]]:
        kept = self._store._kept
        found = kept.fetch(_OPEN)
        holders = kept.holders()
        letters = [one for one in kept.unread(sorted({row[0] for row in found})) if one.kind == ANSWER]
        for run, workflow, node, item, generation, started, asked, timeout, shown, assigned in found:
            at = started + round(asked * 1e6)
            ends = None if timeout is None else at + round(timeout * 1e6)
            question = run, node, -1 if item is None else item, generation
            sent = [one.sent for one in letters if (one.run, one.node, one.item, one.generation) == question]
            if ends is not None and ends < now and not any(time <= ends for time in sent):
                continue  # it expires as soon as the run is resumed
            body = json.loads(shown) if shown else {}
            yield {
                "run": run, "workflow": workflow, "node": node, "item": item,
                "id": f"{run}/{question_id(*question[1:3])}", "asked": at, "deadline": ends,
                "left": None if ends is None else (ends - now) / 1e6, "shown": _text(body.get("show")),
                "prefill": _text(body["prefill"]) if "prefill" in body else None, "assigned": assigned or "",
                "kept": len(sent), "executed_by": holders[run].pid if run in holders else None,
            }  # fmt: skip

    def answer(self, id: str | Mapping[str, Any], value: Any = _NOTHING, *, by: str = "") -> Any:
        """Answer a question, or several at once; wherever their runs are executed, also if nowhere.

        Parameters
        ----------
        id : str, or dict of id to answer
            As in the frame's column ``id``.
        value : object
            The answer to the one question.
        by : str
            Who answers; recorded.

        Returns
        -------
        str or None, or dict of id to str
            As of `Run.answer`; of several, "taken" for each that is in its run's log, else where it lies.

        Raises
        ------
        ApprovalUnknown
            If a question is not open, or its id fits several.
        AnswerInvalid
            If an answer does not fit; its question stays open.
        AnswerLate
            If another answer or the deadline came first.
        ApprovalError
            If answers of several failed, for several reasons. The others have been taken; each is tried.
        """
        if isinstance(id, Mapping):
            if value is not _NOTHING:
                raise DefinitionError("inbox.answer: give one id and a value, or a dict of ids and values")
            return self._answer_all(id, by)
        if value is _NOTHING:
            raise DefinitionError(f"inbox.answer({id!r}): give a value too")
        return self._answer(id, value, by, "inbox")

    def _answer(self, id: str, value: Any, by: str, via: str) -> str | None:
        run, name = self._parted(id)
        return present(self._store.run(run)._handle).answer(name, value, by=by, item=None, via=via)

    def _answer_all(self, answers: Mapping[str, Any], by: str) -> dict[str, str]:
        told: dict[str, str] = {}
        failed: dict[str, OrchkitError] = {}
        for id, value in answers.items():
            try:
                told[id] = self._answer(id, value, by, "inbox") or "taken"
            except OrchkitError as error:
                failed[id] = error
        if failed:
            kinds = {type(error) for error in failed.values()}
            kind = kinds.pop() if len(kinds) == 1 else ApprovalError
            listed = "; ".join(f"{id}: {error}" for id, error in failed.items())
            raise (kind if kind in (AnswerInvalid, AnswerLate, ApprovalUnknown) else ApprovalError)(
                f"{len(failed)} of {len(answers)} answers were not taken, the others were: {listed}"
            ) from next(iter(failed.values()))
        return told

    def escalate(self, id: str, *, to: str, by: str = "", why: str = "") -> str | None:
        """Hand a question to somebody else; recorded in its run's log. Anybody may still answer it.

        Parameters
        ----------
        id : str
            As in the frame's column ``id``.
        to : str
            To whom; the frame's column ``assigned`` shows it.
        by, why : str
            Recorded.

        Returns
        -------
        str or None
            As of `Run.answer`.

        Raises
        ------
        ApprovalUnknown
            If it is not open, or the id fits several.
        AnswerLate
            If it has been settled meanwhile.
        """
        run, name = self._parted(id)
        return present(self._store.run(run)._handle).escalate(name, to=to, by=by, why=why, item=None, via="inbox")

    def _parted(self, id: Any) -> tuple[str, str]:
        run, slash, name = id.partition("/") if isinstance(id, str) else ("", "", "")
        if not (run and slash and name):
            raise ApprovalUnknown(f"{id!r} is no question's id; one is <run>/<node>[item]: inbox.frame.id lists them")
        return run, name

    def __len__(self) -> int:
        return sum(1 for _ in self._rows(wall_micro()))

    def __repr__(self) -> str:
        return f"Inbox({self._store.path.name!r}, {len(self)} open)"

    def _shown(self) -> pd.DataFrame:
        frame = self.frame[["id", "workflow", "asked", "left", "shown", "assigned", "kept", "executed_by"]]
        return frame.assign(
            asked=frame["asked"].dt.strftime("%Y-%m-%d %H:%M:%S"),
            left=frame["left"]
            .map("{:.0f} s".format, na_action="ignore")
            .astype(object)
            .where(frame["left"].notna(), ""),
            shown=[text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…" for text in frame["shown"]],
            executed_by=frame["executed_by"].astype("string").fillna(""),
        )

    def _repr_html_(self) -> str:
        frame = self._shown()
        title = f"{escape(self._store.path.name)}: {len(frame)} open"
        # Escaped: what is shown was written by models.
        return f"<div><p>{title}</p>{frame.to_html(index=False, escape=True, border=0)}</div>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        frame = self._shown()
        text = repr(self) if frame.empty else f"{self!r}\n{frame.to_string(index=False)}"
        return {"text/plain": text, "text/html": self._repr_html_()}


def inbox(store: str | os.PathLike[str] | Store) -> Inbox:
    """Open the review queue over all runs of a store: what people are asked, with its deadlines.

    Parameters
    ----------
    store : path or Store

    Returns
    -------
    Inbox
        Its ``frame`` lists the questions, ``answer`` and ``escalate`` take their ids.

    Examples
    --------
    >>> import tempfile, orchkit as ok
    >>> with tempfile.TemporaryDirectory() as folder, ok.open(f"{folder}/lab.duckdb") as store:
    ...     print(ok.inbox(store))
    Inbox('lab.duckdb', 0 open)
    """
    return Inbox(store if isinstance(store, Store) else open_store(store))


def _in_turn(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["deadline"] is None, row["deadline"] or 0, asking_order(row["asked"], row["id"])


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

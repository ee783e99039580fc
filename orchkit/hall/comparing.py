"""Comparing two runs, as users see it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from orchkit.errors import DefinitionError
from orchkit.hall.looking import known_program
from orchkit.hall.run import Run
from orchkit.runs.accounts import NOTHING, Account, Accounts
from orchkit.runs.changes import recorded_fingerprints
from orchkit.runs.comparing import Compared, Difference, Side, compare, took
from orchkit.runs.fingerprint import fingerprints
from orchkit.runs.unlike import shown_pair

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Diff", "cell_of", "diff", "texts_of", "where_of"]

_LINES = 8


def diff(run_a: Run, run_b: Run) -> Diff:
    """Show where two runs part, and what follows from that; nothing executes.

    Two runs of one workflow, or of two versions of it: live or finished, forked, simulated, or looked up in a store.
    One that goes on is compared as it is now.

    Parameters
    ----------
    run_a, run_b : Run

    Returns
    -------
    Diff
        True where they differ.

    Raises
    ------
    DefinitionError
        If one of them is no run.

    Notes
    -----
    Logs of two simulated runs are compared to the last digit of each time; where one is live, without times, as their
    receipts are: `Diff.times` has those. A difference is a *first* one if no ancestor of its node delivered or wrote
    something else. What comes after what is told by the runs' workflows, or those that this process has defined under
    their names; without any of them the first difference in the logs is the only first one.

    Examples
    --------
    >>> import orchkit as ok
    >>> wf = ok.Workflow("letter", input=str)
    >>> @wf.step
    ... def draft(input: str) -> dict[str, str]:
    ...     return {"to": input, "text": "Dear"}
    >>> @wf.step
    ... def polish(draft: dict[str, str]) -> str:
    ...     return f"{draft['text']} {draft['to']}!"
    >>> run = wf.start("Dana", durability="memory")
    >>> run.result()
    'Dear Dana!'
    >>> other = run.fork(set={"draft": {"to": "Dana", "text": "Hello"}})
    >>> other.result()
    'Hello Dana!'
    >>> parts = ok.diff(run, other)
    >>> bool(parts), parts.frame.query("first")[["node", "what", "a", "b"]].values.tolist()
    (True, [['draft', 'attempts', 1, 0], ['draft', 'value.text', 'Dear', 'Hello']])
    """
    for name, run in (("run_a", run_a), ("run_b", run_b)):
        if not isinstance(run, Run):
            raise DefinitionError(f"diff({name}={run!r}): give an ok.Run, such as store.run(run_id)")
    return Diff(_side(run_a), _side(run_b))


def _side(run: Run) -> Side:
    handle = run._handle
    events, program = handle.log(), handle.program
    known = recorded_fingerprints(handle.head, events)
    if not known and program is not None:
        known = fingerprints(program.graph)
    if program is None:  # it may not be the one that recorded the run, and tells only what follows what
        program = known_program(handle.head.workflow)
    return Side(handle.head, events, None if program is None else program.graph, known)


class Diff:
    """In what two runs differ; true if they do. It comes from ``ok.diff``.

    Attributes
    ----------
    equal : bool
        Whether the logs are equal. Even then a definition, or who answered, may differ.
    exact : bool
        Whether times were compared as well: both runs were simulated.
    """

    def __init__(self, a: Side, b: Side) -> None:
        self._ids = a.head.run_id, b.head.run_id
        self._logs = a.events, b.events
        compared: Compared = compare(a, b)
        self.equal = compared.equal
        self.exact = compared.exact
        self._differences = compared.differences

    def __bool__(self) -> bool:
        return bool(self._differences)

    @property
    def frame(self) -> pd.DataFrame:
        """A row a difference: node, item, what, a, b, first.

        Those that follow from no other come first, then in the workflow's order. `node` is "input" for the workflow's
        input, "" for the run itself. `what` is "workflow", "definition" (a step's code, place or policies; a and b are
        fingerprints), "in one run only", "status", "attempts", "error", "value" and "writes" (to the shared context)
        with the place in the JSON behind, such as ``value[3].note``, "answered by", "cost" (USD), "tokens", of two
        simulated runs "began" and "took" (s), "result", or "event", where none of these differs and an event does.
        a and b are JSON; NA where that run has nothing there.
        """
        import pandas as pd

        rows = [
            (one.node, pd.NA if one.item < 0 else one.item, one.what, cell_of(one.a), cell_of(one.b), one.first)
            for one in self._differences
        ]
        frame = pd.DataFrame(rows, columns=["node", "item", "what", "a", "b", "first"], dtype=object)
        return frame.astype({"item": "Int64", "first": bool})

    @property
    def times(self) -> pd.DataFrame:
        """How long each node and item took in either run, whether or not that differs: node, item, a, b (s)."""
        import pandas as pd

        ours, theirs = (Accounts(log).of for log in self._logs)
        rows = [
            (key[0], pd.NA if key[1] < 0 else key[1], *(_took(of.get(key)) for of in (ours, theirs)))
            for key in dict.fromkeys([*ours, *theirs])
        ]
        frame = pd.DataFrame(rows, columns=["node", "item", "a", "b"], dtype=object)
        return frame.astype({"item": "Int64", "a": float, "b": float})

    def __repr__(self) -> str:
        lines = [self._said(), *(f"  {where}: {what}: {a} | {b}" for where, what, a, b in self._told())]
        return "\n".join([*lines, *([f"  {rest}"] if (rest := self._rest()) else [])])

    def _said(self) -> str:
        a, b = self._ids
        how = "exact" if self.exact else "canonical, without times"
        if not self:
            return f"runs {a} and {b} are equal ({how})"
        parts = dict.fromkeys(where_of(one) for one in self._differences if one.first)
        said = f"runs {a} and {b} part at {', '.join([*parts][:_LINES])}{', ...' if len(parts) > _LINES else ''}"
        return f"{said}; their logs are equal ({how})" if self.equal else said

    def _told(self) -> Iterator[tuple[str, str, str, str]]:
        for one in self._shown():
            yield where_of(one), one.what, *texts_of(one.a, one.b)

    def _shown(self) -> list[Difference]:
        return [one for one in self._differences if one.first][:_LINES]

    def _rest(self) -> str:
        shown = self._shown()
        left = [one for one in self._differences if one not in shown]
        if not left:
            return ""
        where = [*dict.fromkeys(where_of(one) for one in left)]
        listed = ", ".join(where[:_LINES]) + (", ..." if len(where) > _LINES else "")
        return f"{len(left)} more in .frame: {listed}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": self._html()}

    def _html(self) -> str:
        # Values are what models said: text, never markup.
        parts = [f"<p>{escape(self._said())}</p>"]
        if self:
            heads = "".join(f"<th>{escape(head)}</th>" for head in ("where", "what", *self._ids))
            rows = ["".join(f"<td>{escape(cell)}</td>" for cell in cells) for cells in self._told()]
            body = "".join(f"<tr>{row}</tr>" for row in rows)
            parts.append(f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>")
        if rest := self._rest():
            parts.append(f"<p>{escape(rest)}</p>")
        return "".join(parts)


def where_of(one: Difference) -> str:
    """Name the node or item of a difference."""
    if not one.node:
        return "the run"
    return one.node if one.item < 0 else f"{one.node}[{one.item}]"


def texts_of(a: Any, b: Any) -> tuple[str, str]:
    """Show both sides of a difference."""
    one, other = shown_pair(a, b)
    return "(nothing)" if a is NOTHING else one, "(nothing)" if b is NOTHING else other


def cell_of(value: Any) -> Any:
    """Give what a frame shows of one side."""
    import pandas as pd

    return pd.NA if value is NOTHING else value


def _took(account: Account | None) -> float:
    seconds: Any = NOTHING if account is None else took(account)
    return float("nan") if seconds is NOTHING else float(seconds)

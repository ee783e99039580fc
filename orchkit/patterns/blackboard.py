"""Blackboard: sources of knowledge read one board and add to it, round after round, until the case is solved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed, name_of, taking

__all__ = ["Board", "blackboard"]


class Board(BaseModel):
    """The shared context of a `blackboard`: each note is a dict of ``by``, who wrote it, and ``note``."""

    notes: list[dict[str, Any]] = []


def blackboard(
    name: str,
    *,
    sources: Sequence[Callable[..., Any]],
    solved: Callable[..., bool],
    conclude: Callable[..., Any],
    rounds: int = 5,
    input: Any = object,
) -> ok.Workflow:
    """Let sources write notes on a shared board until it says enough, then conclude from it.

    Parameters
    ----------
    name : str
        The workflow's.
    sources : sequence of callable
        Each returns what it has to add, or None. Offered: board (a list of notes, dicts of ``by`` and ``note``; the
        first is the input, by "input").
    solved : callable
        ``solved(result, round)``: whether the board, as it is after a round, says enough. Plain and quick.
    conclude : callable
        Offered: board, input.
    rounds : int, >= 1
        How many at most; if it is not solved by then, the run is degraded.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own steps: ``pose`` and ``rounds``, the loop. Within the loop, where sources have paths such as
        ``rounds/chemist``: ``board`` and ``post``. The board is ``run.shared.notes``.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    What must hold, whatever the times: in a round all sources read the same board, each note is on it exactly once, and
    notes stand by round and within it in the order of `sources`. So the outcome is a function of what was written and
    not of who was first, which is where blackboards are hard to debug. If each of *n* sources finds the missing piece
    in a round with *p*, independently, a round solves the case with ``q = 1 - (1 - p)^n``, and of at most *m* rounds it
    takes ``(1 - (1 - q)^m) / q`` on average.

    References
    ----------
    L. Erman, F. Hayes-Roth, V. Lesser, D. Reddy, The Hearsay-II speech-understanding system, ACM Computing Surveys 12
    (1980).

    Examples
    --------
    >>> import orchkit as ok
    >>> def chemist(board: list) -> str | None:
    ...     return "it is salt" if len(board) == 1 else None
    >>> def cook(board: list) -> str | None:
    ...     return "then soup" if any(note["note"] == "it is salt" for note in board) else None
    >>> def enough(result: list, round: int) -> bool:
    ...     return result[-1]["by"] == "cook"
    >>> def verdict(board: list) -> str:
    ...     return ", ".join(note["note"] for note in board[1:])
    >>> wf = ok.patterns.blackboard(
    ...     "lab", sources=[chemist, cook], solved=enough, conclude=verdict, input=str
    ... )
    >>> run = wf.simulate("a white powder", world=ok.World())
    >>> run.result(), [note["by"] for note in run.shared.notes]
    ('it is salt, then soup', ['input', 'chemist', 'cook'])
    """
    checked_steps(f"blackboard({name!r})", [*sources, conclude], own=["pose", "rounds", "board", "post"], least=2)
    wf = ok.Workflow(name, input=input, output=name_of(conclude))
    wf.context(Board, merge={"notes": ok.append})

    @wf.step
    def pose(input: Any, ctx: ok.Context) -> list[Any]:
        ctx.update(notes=[{"by": "input", "note": input}])
        return list(ctx.shared.notes)

    wf.loop("rounds", body=_round(name, sources), input="pose", until=solved, max=rounds)
    wf.step(fed(conclude, board="rounds", input="input"))
    return wf


def _round(name: str, sources: Sequence[Any]) -> ok.Workflow:
    body = ok.Workflow(f"{name}.round", input=list[Any], output="post")

    @body.step
    def board(input: list[Any]) -> list[Any]:
        return input

    for source in sources:
        body.step(fed(source, board="board"))

    @body.step
    @taking(*sources)
    def post(ctx: ok.Context, **said: Any) -> list[Any]:
        # One step writes for all: a source that the world models runs no body, and could write nothing itself.
        notes = [{"by": name_of(one), "note": said[name_of(one)]} for one in sources]
        ctx.update(notes=[note for note in notes if note["note"] is not None])
        return list(ctx.shared.notes)

    return body

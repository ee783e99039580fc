"""Supervisor and workers: one step gives orders and reads what comes back, others carry them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed, given, name_of

__all__ = ["supervisor"]


def supervisor(
    name: str,
    *,
    plan: Callable[..., Any],
    workers: Sequence[Callable[..., Any]],
    report: Callable[..., Any],
    rounds: int = 5,
    limit: int | None = None,
    input: Any = object,
) -> ok.Workflow:
    """Let a supervisor order work, round after round, until it orders none; then report on what the workers said.

    Parameters
    ----------
    name : str
        The workflow's.
    plan : callable
        Returns the orders of this round: a list of pairs of a worker's name and what it is to do; none ends the work.
        Offered: input, notes (a list of what was done so far, each a dict of worker, order and said).
    workers : sequence of callable
        Each carries out one order at a time; several at once. Offered: order, input.
    report : callable
        Offered: notes, input.
    rounds : int, >= 1
        How often the supervisor plans at most; if it then still orders work, the run is degraded.
    limit : int, >= 1, optional
        How many orders of a round are under way at once.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own steps: ``rounds``, the loop, and ``notes``. Within the loop, where the planner has the path
        ``rounds/plan`` and a worker ``rounds/work/<its name>``: ``task``, ``done``, ``work`` and ``round``.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    What must hold, whatever the times: each order has exactly one note, and the notes stand in the order of the orders;
    so what is planned and reported depends on what was said and never on who was first. Orders that take independent
    exponential times of mean *m* take ``m H_n`` a round of *n*; with *k* rounds the work succeeds with the product of
    all orders' probabilities.

    Which workers are called only the run shows; a new version of one is not seen by a resume (see `Context.call`).

    References
    ----------
    R. Smith, The contract net protocol, IEEE Trans. Computers C-29 (1980).

    Examples
    --------
    >>> import orchkit as ok
    >>> def lead(case: str, notes: list) -> list[tuple[str, str]]:
    ...     return [("law", "any risk?"), ("sums", "how much?")] if not notes else []
    >>> def law(order: str) -> str: ...
    >>> def sums(order: str) -> str: ...
    >>> def brief(notes: list) -> str:
    ...     return ", ".join(note["said"] for note in notes)
    >>> wf = ok.patterns.supervisor("case", plan=lead, workers=[law, sums], report=brief, input=str)
    >>> world = ok.World({"rounds/work/law": ok.fake("none", latency=9), "rounds/work/sums": ok.fake("12 EUR")})
    >>> wf.simulate("a claim", world=world).result()
    'none, 12 EUR'
    """
    own = ["rounds", "notes", "task", "done", "work", "round"]
    checked_steps(f"supervisor({name!r})", [plan, *workers, report], own=own, least=3)
    for worker in workers:
        given(worker, order=None, input=None)  # what does not fit is told now
    wf = ok.Workflow(name, input=input, output=name_of(report))
    body = _round(name, plan, {name_of(worker): worker for worker in workers}, limit)
    wf.loop("rounds", body=body, input={"task": "input"}, until=nothing_is_ordered, max=rounds)

    @wf.step
    def notes(rounds: dict[str, Any]) -> list[Any]:
        return list(rounds["notes"])

    wf.step(fed(report, notes="notes", input="input"))
    return wf


def nothing_is_ordered(result: dict[str, Any], round: int) -> bool:
    """Say whether the supervisor was content."""
    return not result["ordered"]


def _round(name: str, plan: Any, team: dict[str, Any], limit: int | None) -> ok.Workflow:
    body = ok.Workflow(f"{name}.round", input=dict[str, Any], output="round")

    @body.step
    def task(input: dict[str, Any]) -> Any:
        return input["task"]

    @body.step
    def done(input: dict[str, Any]) -> list[Any]:
        return list(input.get("notes", []))

    body.step(fed(plan, input="task", notes="done"))

    @body.map(over=plan, limit=limit)
    async def work(item: tuple[str, Any], task: Any, ctx: ok.Context) -> dict[str, Any]:
        who, order = item
        if who not in team:
            raise ok.DefinitionError(f"{name_of(plan)!r} orders {order!r} of {who!r}; there are {', '.join(team)}")
        said = await ctx.call(team[who], **given(team[who], order=order, input=task))
        return {"worker": who, "order": order, "said": said}

    @body.step
    def round(task: Any, done: list[Any], work: list[Any]) -> dict[str, Any]:
        return {"task": task, "notes": done + work, "ordered": len(work)}

    return body

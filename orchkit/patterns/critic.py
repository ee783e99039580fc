"""Critic loop: write, have it judged, and write again with the remarks, until it is good enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed, like

__all__ = ["critic_loop"]


def critic_loop(
    name: str,
    *,
    write: Callable[..., Any],
    judge: Callable[..., Any],
    rounds: int = 3,
    then: Literal["last", "fail"] = "fail",
    input: Any = object,
) -> ok.Workflow:
    """Write and judge in turns, at most so many rounds, and deliver what the judge accepts.

    Parameters
    ----------
    name : str
        The workflow's.
    write : callable
        Offered: input, draft (its own of the round before; None in the first), remarks (the judge's on that; None in
        the first).
    judge : callable
        Returns True to accept; anything else is its remarks. Offered: draft, input.
    rounds : int, >= 1
        How many at most.
    then : {"fail", "last"}
        What follows when the judge has accepted none: a failure, which a fallback or a person can take over
        (``wf.using(rounds=ok.Fallback(...))``), or the last draft, marked degraded.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own steps: ``rounds``, the loop, and ``accepted``. Within the loop, where your steps have paths such as
        ``rounds/write``: ``task``, ``before``, ``remarks`` and ``round``.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    If each draft is right with *w*, whatever was remarked, and the judge accepts what is right with *a* and rejects
    what is wrong with *r*, a round ends the loop with ``P = w a + (1 - w)(1 - r)``. Within *m* rounds

    - it accepts ``1 - (1 - P)^m`` and delivers a right answer in ``w a (1 - (1 - P)^m) / P``;
    - it takes ``(1 - (1 - P)^m) / P`` rounds on average;
    - it gives up in ``(1 - P)^m``.

    What is accepted is right with ``w a / P``, in each round alike: more rounds deliver more, and nothing better. Only
    remarks that raise *w* do that.

    References
    ----------
    A truncated geometric distribution. A. Madaan et al., Self-Refine (2023), arXiv:2303.17651.

    Examples
    --------
    >>> import orchkit as ok
    >>> def draft(letter: str, before: str | None, remarks: str | None) -> str:
    ...     return letter if before is None else before + "!"
    >>> def critic(draft: str) -> bool | str:
    ...     return draft.endswith("!!") or "louder"
    >>> wf = ok.patterns.critic_loop("shout", write=draft, judge=critic, rounds=5, input=str)
    >>> run = wf.simulate("hello", world=ok.World())
    >>> run.result(), run.events.query("kind == 'judged'").status.tolist()
    ('hello!!', ['again', 'again', 'done'])
    """
    own = ["rounds", "accepted", "task", "before", "remarks", "round"]
    checked_steps(f"critic_loop({name!r})", [write, judge], own=own)
    wf = ok.Workflow(name, input=input)
    wf.loop(
        "rounds", body=_round(name, write, judge), input={"task": "input"}, until=good_enough, max=rounds, then=then
    )

    @wf.step
    @like(write)
    def accepted(rounds: dict[str, Any]):  # type: ignore[no-untyped-def]  # its type is the writer's
        return rounds["draft"]

    return wf


def good_enough(result: dict[str, Any], round: int) -> bool:
    """Say whether the judge has accepted."""
    return result["remarks"] is True


def _round(name: str, write: Any, judge: Any) -> ok.Workflow:
    body = ok.Workflow(f"{name}.round", input=dict[str, Any], output="round")

    @body.step
    def task(input: dict[str, Any]) -> Any:
        return input["task"]

    @body.step
    def before(input: dict[str, Any]) -> Any:
        return input.get("draft")

    @body.step
    def remarks(input: dict[str, Any]) -> Any:
        return input.get("remarks")

    body.step(fed(write, input="task", draft="before", remarks="remarks"))
    body.step(fed(judge, draft=write, input="task"))

    @body.step
    def round(task: Any, draft: Any = ok.ref(write), verdict: Any = ok.ref(judge)) -> dict[str, Any]:
        return {"task": task, "draft": draft, "remarks": verdict}

    return body

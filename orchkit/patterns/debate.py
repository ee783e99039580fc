"""Debate: several steps answer, read each other's answers and answer again, until they agree or a judge decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed, like, name_of, taking

__all__ = ["debate"]


def debate(
    name: str,
    *,
    debaters: Sequence[Callable[..., Any]],
    judge: Callable[..., Any],
    rounds: int = 3,
    input: Any = object,
) -> ok.Workflow:
    """Let steps answer in rounds until all say the same; else a judge decides, and the run is degraded.

    Parameters
    ----------
    name : str
        The workflow's.
    debaters : sequence of callable
        Two or more. Offered: input, said (a dict of each one's answer in the round before; empty in the first).
    judge : callable
        Asked only where they do not agree. Offered: said (in the last round), input.
    rounds : int, >= 1
        How many at most.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own steps: ``rounds``, the loop; ``said``; ``settled``, the route; ``agreed``. Within the loop, where
        debaters have paths such as ``rounds/optimist``: ``task``, ``before`` and ``round``.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    If each of two debaters is right with *p* at first, the wrong answers agree, and in each further round each changes
    to the other's answer with *s*, all independent, they disagree after round *m* with ``2 p (1 - p)(1 - 2 s (1 -
    s))^(m - 1)``, for they come together if exactly one of the two changes. As either is as likely to be the one, an
    agreement that was reached by talking is right in half of the cases: talking makes a debate more agreed and no more
    right, unless the one who is right is changed less often. Accuracy is ``p^2 + p (1 - p)(1 - D) + 2 p (1 - p) D j``
    with ``D = (1 - 2 s (1 - s))^(m - 1)`` and *j* how often the judge is right.

    References
    ----------
    An absorbing Markov chain. Y. Du et al., Improving factuality and reasoning through multiagent debate (2023),
    arXiv:2305.14325.

    Examples
    --------
    >>> import orchkit as ok
    >>> def eager(question: str, said: dict) -> str:
    ...     return "yes"
    >>> def careful(question: str, said: dict) -> str:
    ...     return said.get("eager", "no")
    >>> def chair(said: dict) -> str: ...
    >>> wf = ok.patterns.debate("talk", debaters=[eager, careful], judge=chair, input=str)
    >>> run = wf.simulate("Is it late?", world=ok.World())
    >>> run.result(), run.events.query("kind == 'judged'").status.tolist()
    ('yes', ['again', 'done'])
    """
    own = ["rounds", "said", "settled", "agreed", "task", "before", "round"]
    checked_steps(f"debate({name!r})", [*debaters, judge], own=own, least=3)
    wf = ok.Workflow(name, input=input)
    wf.loop("rounds", body=_round(name, debaters), input={"task": "input"}, until=all_say_the_same, max=rounds)

    @wf.step
    def said(rounds: dict[str, Any]) -> dict[str, Any]:
        return dict(rounds["said"])

    @wf.route(to=["agreed", judge])
    def settled(rounds: dict[str, Any]) -> str:
        return "agreed" if all_say_the_same(rounds, 0) else name_of(judge)

    @wf.step
    @like(debaters[0])
    def agreed(said: dict[str, Any]):  # type: ignore[no-untyped-def]  # its type is the debaters'
        return next(iter(said.values()))

    wf.step(fed(judge, said="said", input="input"))
    return wf


def all_say_the_same(result: dict[str, Any], round: int) -> bool:
    """Say whether a round has ended in agreement."""
    first, *others = result["said"].values()
    return all(one == first for one in others)


def _round(name: str, debaters: Sequence[Any]) -> ok.Workflow:
    body = ok.Workflow(f"{name}.round", input=dict[str, Any], output="round")

    @body.step
    def task(input: dict[str, Any]) -> Any:
        return input["task"]

    @body.step
    def before(input: dict[str, Any]) -> dict[str, Any]:
        return dict(input.get("said", {}))

    for debater in debaters:
        body.step(fed(debater, input="task", said="before"))

    @body.step
    @taking("task", *debaters)
    def round(**values: Any) -> dict[str, Any]:
        return {"task": values.pop("task"), "said": values}

    return body

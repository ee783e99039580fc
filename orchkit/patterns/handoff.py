"""Hand-off: agents pass a case on to one another, until one of them closes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed, name_of

__all__ = ["handoff"]


def handoff(name: str, *, agents: Sequence[Callable[..., Any]], turns: int = 10, input: Any = object) -> ok.Workflow:
    """Give the case to the first agent; each agent names the next, or nobody and so ends it.

    Parameters
    ----------
    name : str
        The workflow's.
    agents : sequence of callable
        Two or more; the first begins. Each returns a pair: the name of the next agent, or None when it is done, and the
        message for it, or the result. Offered: message (for the first, the input).
    turns : int, >= 1
        How many at most; a case that goes round in circles then fails, rather than costing more.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own steps: ``begin``; ``turns``, the loop; ``closed``. Within the loop, where agents have paths such as
        ``turns/triage``: ``turn``, the route, and ``message``.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    A chain of *n* agents that each succeed with *p* succeeds with ``p^n``: ten steps at 0.98 are 0.817. Where agent
    *i* passes to *j* with probability ``Q[i, j]``, and else closes the case, this is an absorbing Markov chain: the
    mean number of turns from the first agent is the first row's sum of ``(I - Q)^-1``, and all of them succeed with the
    first entry of ``(I - p Q)^-1 p (1 - Q 1)``. Only the message is passed on: what an agent leaves out is lost.

    References
    ----------
    J. Kemeny, J. Snell, Finite Markov Chains (1960), chapter 3.

    Examples
    --------
    >>> import orchkit as ok
    >>> def triage(letter: str) -> tuple[str | None, str]:
    ...     return "billing" if "invoice" in letter else None, letter
    >>> def billing(letter: str) -> tuple[str | None, str]:
    ...     return None, f"{letter}: paid"
    >>> wf = ok.patterns.handoff("desk", agents=[triage, billing], input=str)
    >>> wf.simulate("my invoice", world=ok.World()).result()
    'my invoice: paid'
    """
    own = ["begin", "turns", "closed", "turn", "message"]
    checked_steps(f"handoff({name!r})", agents, own=own, least=2)
    first = name_of(agents[0])
    wf = ok.Workflow(name, input=input)

    @wf.step
    def begin(input: Any) -> list[Any]:
        return [first, input]

    wf.loop("turns", body=_turn(name, agents), input="begin", until=nobody_is_next, max=turns, then="fail")

    @wf.step
    def closed(turns: list[Any]) -> Any:
        return turns[1]

    return wf


def nobody_is_next(result: Any, round: int) -> bool:
    """Say whether the agent has closed the case."""
    return result[0] is None


def _turn(name: str, agents: Sequence[Any]) -> ok.Workflow:
    body = ok.Workflow(f"{name}.turn", input=list[Any])

    @body.route(to=agents)
    def turn(input: list[Any]) -> str:
        return str(input[0])

    @body.step
    def message(input: list[Any]) -> Any:
        return input[1]

    for agent in agents:
        body.step(after="message")(fed(agent, message="message"))  # also an agent that does not read it comes after it
    return body

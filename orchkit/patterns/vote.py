"""Vote: ask the same step several times, and take the answer that comes most often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed, like

__all__ = ["vote"]


def vote(name: str, *, voter: Callable[..., Any], n: int = 5, input: Any = object) -> ok.Workflow:
    """Ask a step n times at once, and deliver the most frequent answer; of equals the first.

    Parameters
    ----------
    name : str
        The workflow's.
    voter : callable
        Its answers are compared as they are, so have it give a choice or a number and no prose. Offered: input; the
        number of the ballot is ``item``.
    n : int, >= 1
        Odd where there are two answers.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own steps: ``ballots``, the list that the voters are mapped over, and ``majority``.

    Raises
    ------
    DefinitionError
        If the step does not fit, or `n` is no number of ballots.

    Notes
    -----
    If each ballot is right with probability *p*, independently, and wrong ones agree, the vote is right with the
    binomial tail ``sum over k > n/2 of C(n, k) p^k (1 - p)^(n - k)``: better than one ballot if ``p > 1/2``, and worse
    below. Wrong answers that differ make it better than that. Ballots on one question are not independent: with *p*
    itself drawn from a Beta(a, b) for each question the tail is beta-binomial, and a vote of 5 at a mean of 0.606 gives
    0.616 in place of 0.692.

    References
    ----------
    Condorcet, Essai sur l'application de l'analyse (1785). X. Wang et al., Self-consistency improves chain of thought
    reasoning (2022), arXiv:2203.11171.

    Examples
    --------
    >>> import orchkit as ok
    >>> def solve(question: str) -> int: ...
    >>> wf = ok.patterns.vote("sum", voter=solve, n=5, input=str)
    >>> world = ok.World(solve=ok.fake(lambda inputs, rng: 4 if rng.random() < 0.7 else 5, latency=2.0))
    >>> run = wf.simulate("2 + 2", world=world, seed=2)
    >>> run.result(), run.log[-1].t / 1e6
    (4, 2.0)
    """
    where = f"vote({name!r})"
    checked_steps(where, [voter], own=["ballots", "majority"])
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ok.DefinitionError(f"{where}: n={n!r}; give how many ballots, a whole number from 1")
    wf = ok.Workflow(name, input=input)

    @wf.step
    def ballots() -> list[int]:
        return list(range(n))

    wf.map(over="ballots")(fed(voter, input="input"))

    @wf.step
    @like(voter)
    def majority(votes: list[Any] = ok.ref(voter)):  # type: ignore[no-untyped-def]  # its type is the voter's
        return max(votes, key=votes.count)  # of equals the first; answers need not be hashable

    return wf

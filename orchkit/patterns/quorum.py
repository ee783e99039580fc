"""Quorum: ask different steps, and go on only if enough of them say the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed, like, name_of, taking

__all__ = ["quorum"]


def quorum(name: str, *, voters: Sequence[Callable[..., Any]], need: int, input: Any = object) -> ok.Workflow:
    """Ask several steps at once, and deliver the answer that at least `need` of them give.

    A voter that fails abstains, as one that answers None does, and the run is degraded. Without a quorum it fails.

    Parameters
    ----------
    name : str
        The workflow's.
    voters : sequence of callable
        Two or more. Offered: input.
    need : int, from 1 to the number of voters
        More than half, or two answers may both have a quorum, and the first of them wins.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own step: ``agreed``, which fails without a quorum, so a fallback for that is
        ``wf.using(agreed=ok.Fallback(...))``.

    Raises
    ------
    DefinitionError
        If the steps do not fit, or `need` is more than there are.

    Notes
    -----
    With voters that deliver the right answer with probabilities ``p_1 .. p_n``, independently, it delivers that with
    the sum, over all sets of at least `need` voters, of the product of *p* in the set and of ``1 - p`` outside: for 2
    of 3 at .9, .8 and .7 that is 0.902, more than the best of them alone. It is the k-out-of-n system of reliability
    theory. The time is that of the slowest voter: an early majority does not end the others.

    References
    ----------
    R. Barlow, F. Proschan, Statistical Theory of Reliability and Life Testing (1975).

    Examples
    --------
    >>> import orchkit as ok
    >>> def a(question: str) -> str: ...
    >>> def b(question: str) -> str: ...
    >>> def c(question: str) -> str: ...
    >>> wf = ok.patterns.quorum("three", voters=[a, b, c], need=2, input=str)
    >>> world = ok.World(a=ok.fake("yes"), b=ok.fake("no", latency=2.0), c=ok.fake("yes", latency=1.0))
    >>> wf.simulate("Is it late?", world=world).result()
    'yes'
    """
    where = f"quorum({name!r})"
    checked_steps(where, voters, own=["agreed"], least=2)
    if isinstance(need, bool) or not isinstance(need, int) or not 1 <= need <= len(voters):
        raise ok.DefinitionError(f"{where}: need={need!r}; give how many of the {len(voters)} voters must agree")
    wf = ok.Workflow(name, input=input)
    for voter in voters:
        wf.step(on_error="skip")(fed(voter, input="input"))

    @wf.step
    @like(voters[0])
    @taking(*voters, optional=True)
    def agreed(**votes):  # type: ignore[no-untyped-def]  # its type is the voters'
        cast = [votes[name_of(voter)] for voter in voters]
        winner = max(cast, key=lambda one: -1 if one is None else cast.count(one))
        if winner is None or cast.count(winner) < need:
            raise ValueError(f"no answer has {need} of the {len(voters)} votes: {votes}")
        return winner

    return wf

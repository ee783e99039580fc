"""Router: look at the case first, then send it to the step that is made for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed

__all__ = ["router"]


def router(
    name: str, *, classify: Callable[..., Any], to: Sequence[Callable[..., Any]], input: Any = object
) -> ok.Workflow:
    """Let a classifier pick which of several steps handles the input.

    Parameters
    ----------
    name : str
        The workflow's.
    classify : callable
        Returns the name of one of `to`, and is annotated so (``-> str``); one that returns a list of names starts
        several, and the result is a dict of theirs. Offered: input.
    to : sequence of callable
        Offered: input.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        With no steps of its own: the classifier is the route.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    A mixture. With a share ``p_k`` of the cases of kind *k*, sent to step *j* with probability ``C[k, j]``, where they
    end well with ``a[k, j]`` and take ``L_j``:

    - accuracy is the sum over *k* and *j* of ``p_k C[k, j] a[k, j]``;
    - the time is that of the classifier plus the sum of ``p_k C[k, j] L_j``.

    Its gain over the best single step is bounded by what the classifier's matrix *C* leaves of it.

    References
    ----------
    R. Jacobs, M. Jordan, S. Nowlan, G. Hinton, Adaptive mixtures of local experts, Neural Computation 3 (1991).

    Examples
    --------
    >>> import orchkit as ok
    >>> def kind(letter: str) -> str:
    ...     return "billing" if "invoice" in letter else "support"
    >>> def billing(letter: str) -> str: ...
    >>> def support(letter: str) -> str: ...
    >>> wf = ok.patterns.router("mail", classify=kind, to=[billing, support], input=str)
    >>> world = ok.World(billing=ok.fake("paid"), support=ok.fake("try again", latency=5.0))
    >>> wf.simulate("my invoice", world=world).result()
    'paid'
    """
    checked_steps(f"router({name!r})", [classify, *to], least=2)
    wf = ok.Workflow(name, input=input)
    wf.route(to=to)(fed(classify, input="input"))
    for target in to:
        wf.step(fed(target, input="input"))
    return wf

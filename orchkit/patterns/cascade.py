"""Cascade: ask the cheap model first, and the dear one only where a verifier is not content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed, name_of, passed_on

__all__ = ["cascade"]


def cascade(
    name: str,
    *,
    weak: Callable[..., Any],
    verify: Callable[..., Any],
    strong: Callable[..., Any],
    input: Any = object,
) -> ok.Workflow:
    """Deliver the weak step's answer if the verifier accepts it, else the strong step's.

    Parameters
    ----------
    name : str
        The workflow's.
    weak : callable
        Offered: input.
    verify : callable
        Returns True to accept. Offered: answer (the weak one), input.
    strong : callable
        Offered: input, answer (the weak one), verdict.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own steps: ``judged``, the route, and ``accept``, where an accepted answer ends.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    Let *w* and *s* be how often weak and strong are right, *a* how often the verifier accepts what is right and *r* how
    often it rejects what is wrong, all independent. It accepts with ``P = w a + (1 - w)(1 - r)``; then

    - accuracy is ``w a + (1 - P) s``, and cost ``c_weak + c_verify + (1 - P) c_strong``;
    - of what was accepted ``(1 - w)(1 - r) / P`` is wrong, and nobody knows.

    It beats the strong step alone exactly if accepted answers are more often right than the strong step is *on the
    same questions*. Models that fail on the same questions make the formula too kind: put what strong achieves on
    rejected questions for *s*.

    References
    ----------
    L. Chen, M. Zaharia, J. Zou, FrugalGPT (2023), arXiv:2305.05176.

    Examples
    --------
    >>> import orchkit as ok
    >>> def small(question: str) -> str: ...
    >>> def check(answer: str) -> bool: ...
    >>> def large(question: str) -> str: ...
    >>> wf = ok.patterns.cascade("qa", weak=small, verify=check, strong=large, input=str)
    >>> world = ok.World(
    ...     small=ok.fake("perhaps", latency=1.0),
    ...     check=ok.fake(lambda inputs, rng: inputs["answer"] != "perhaps"),
    ...     large=ok.fake("yes", latency=9.0),
    ... )
    >>> run = wf.simulate("Is it late?", world=world)
    >>> run.result(), run.log[-1].t / 1e6
    ('yes', 10.0)
    """
    checked_steps(f"cascade({name!r})", [weak, verify, strong], own=["judged", "accept"])
    wf = ok.Workflow(name, input=input)
    wf.step(fed(weak, input="input"))
    wf.step(fed(verify, answer=weak, input="input"))

    @wf.route(to=["accept", strong])
    def judged(verdict: bool = ok.ref(verify)) -> str:
        return "accept" if verdict else name_of(strong)

    wf.step(passed_on("accept", weak))
    wf.step(fed(strong, input="input", answer=weak, verdict=verify))
    return wf

"""People: a gate that every proposal passes, and an escalation to a person of what a check has doubts about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed, name_of, passed_on

__all__ = ["human_escalation", "human_gate"]


def human_gate(
    name: str,
    *,
    propose: Callable[..., Any],
    otherwise: Callable[..., Any],
    timeout: float | None = None,
    input: Any = object,
) -> ok.Workflow:
    """Show each proposal to a person; deliver it if they approve, else what another step gives.

    Parameters
    ----------
    name : str
        The workflow's.
    propose : callable
        Offered: input.
    otherwise : callable
        Delivers if the person says no, or nothing in time. Offered: input, answer (the one proposed).
    timeout : float, seconds, optional
        How long the question stays open.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own steps: ``review``, the approval; ``decided``, the route; ``approved``.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    A cascade with a person as its verifier: with proposals right in *w*, a person who approves what is right with *a*,
    rejects what is wrong with *r*, and does not answer in time with *q*, it approves ``P = (1 - q)(w a + (1 - w)(1 -
    r))``, and is right in ``(1 - q) w a + (1 - P) s``, where *s* is how often `otherwise` is. Of approved answers ``w a
    / (w a + (1 - w)(1 - r))`` are right, however late people are.

    References
    ----------
    As for any test of sensitivity *a* and specificity *r*: J. Yerushalmy, Public Health Reports 62 (1947).

    Examples
    --------
    >>> import orchkit as ok
    >>> def draft(letter: str) -> str:
    ...     return f"Dear {letter}"
    >>> def apologise() -> str:
    ...     return "We are sorry."
    >>> wf = ok.patterns.human_gate("letters", propose=draft, otherwise=apologise, timeout=3600.0, input=str)
    >>> wf.simulate("Dana", world=ok.World(review=ok.person(600.0, approve=1.0))).result()
    'Dear Dana'
    >>> wf.simulate("Dana", world=ok.World(review=ok.person(9000.0, approve=1.0))).result()
    'We are sorry.'
    """
    checked_steps(f"human_gate({name!r})", [propose, otherwise], own=["review", "decided", "approved"])
    wf = ok.Workflow(name, input=input)
    wf.step(fed(propose, input="input"))
    wf.approval("review", answer=bool, show=propose, timeout=timeout)

    @wf.route(to=["approved", otherwise])
    def decided(review: bool | None) -> str:
        return "approved" if review else name_of(otherwise)

    wf.step(passed_on("approved", propose))
    wf.step(fed(otherwise, input="input", answer=propose))
    return wf


def human_escalation(
    name: str,
    *,
    propose: Callable[..., Any],
    verify: Callable[..., Any],
    late: Callable[..., Any],
    timeout: float,
    answer: Any = str,
    input: Any = object,
) -> ok.Workflow:
    """Deliver what a check accepts; ask a person about the rest, and do not wait for them for ever.

    Parameters
    ----------
    name : str
        The workflow's.
    propose : callable
        Offered: input.
    verify : callable
        Returns True to accept. Offered: answer (the one proposed), input.
    late : callable
        Delivers if nobody answers in time. Offered: input, answer (the one proposed).
    timeout : float, seconds
        How long the question stays open.
    answer : type
        What the person gives in place of the proposal, which they are shown.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own steps: ``judged`` and ``in_time``, routes; ``accept``; ``person``, the approval; ``answered``.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    With a check that accepts ``P = w a + (1 - w)(1 - r)`` (see `cascade`), a person who is absent with *q* and else
    answers after an exponential time of mean *m*, and a time-out *T*: of the questions ``q + (1 - q) exp(-T / m)`` stay
    without an answer, a person is asked in ``1 - P`` of the runs, and waits ``(1 - q) m (1 - exp(-T / m)) + q T`` on
    average for it. Accuracy is ``w a + (1 - P)(answered h + late s)``, *h* being how often people are right. What this
    leaves out is that people are few: the more is escalated, the later they answer.

    References
    ----------
    C. Chow, On optimum recognition error and reject tradeoff, IEEE Trans. Information Theory 16 (1970).

    Examples
    --------
    >>> import orchkit as ok
    >>> def reply(question: str) -> str: ...
    >>> def sure(answer: str) -> bool: ...
    >>> def hold() -> str:
    ...     return "We will call you."
    >>> wf = ok.patterns.human_escalation(
    ...     "desk", propose=reply, verify=sure, late=hold, timeout=7200.0, answer=str, input=str
    ... )
    >>> world = ok.World(reply=ok.fake("Perhaps."), sure=ok.fake(False), person=ok.person(600.0, answers="Yes."))
    >>> wf.simulate("Is it late?", world=world).result()
    'Yes.'
    """
    own = ["judged", "accept", "person", "in_time", "answered"]
    checked_steps(f"human_escalation({name!r})", [propose, verify, late], own=own)
    wf = ok.Workflow(name, input=input)
    wf.step(fed(propose, input="input"))
    wf.step(fed(verify, answer=propose, input="input"))

    @wf.route(to=["accept", "person"])
    def judged(verdict: bool = ok.ref(verify)) -> str:
        return "accept" if verdict else "person"

    wf.step(passed_on("accept", propose))
    wf.approval("person", answer=answer, show=propose, timeout=timeout)

    @wf.route(to=["answered", late])
    def in_time(person: Any) -> str:
        return name_of(late) if person is None else "answered"

    wf.step(passed_on("answered", "person"))
    wf.step(fed(late, input="input", answer=propose))
    return wf

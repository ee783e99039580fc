"""Retrieval with checks: keep what is relevant, answer from that alone, and deliver only what it bears out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed, name_of, needs_item, passed_on

__all__ = ["retrieval"]


def retrieval(
    name: str,
    *,
    retrieve: Callable[..., Any],
    relevant: Callable[..., Any],
    write: Callable[..., Any],
    grounded: Callable[..., Any],
    otherwise: Callable[..., Any],
    input: Any = object,
) -> ok.Workflow:
    """Answer from passages that were checked, check the answer against them, and else do something else.

    Parameters
    ----------
    name : str
        The workflow's.
    retrieve : callable
        Returns a list of passages. Offered: input.
    relevant : callable
        Gets one passage, as ``item``; returns True to keep it. Offered besides: input.
    write : callable
        Offered: passages (those kept), input.
    grounded : callable
        Returns True if the passages bear the answer out. Offered: answer, passages, input.
    otherwise : callable
        Delivers if no passage was kept or the answer was not borne out: a refusal, or a search elsewhere. Offered:
        input.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own steps: ``kept``; ``enough`` and ``judged``, routes; ``accept``.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    Of *k* passages, each relevant with *d*, a check that keeps what is relevant with *b* and drops what is not with *c*
    keeps at least one with ``1 - (1 - K)^k``, ``K = d b + (1 - d)(1 - c)``, and what it keeps is relevant with ``d b /
    K``. If answers are right with *w*, and the last check accepts what is right with *a* and rejects what is wrong with
    *r*, an accepted answer is right with ``w a / (w a + (1 - w)(1 - r))``: Bayes' rule, and the one number that a
    reader of the answers sees. With rare right answers a good check is not enough: at ``w = .1, a = r = .9`` half of
    what is accepted is wrong.

    References
    ----------
    Bayes' rule, as the positive predictive value of a test. P. Lewis et al., Retrieval-augmented generation (2020),
    arXiv:2005.11401; S. Yan et al., Corrective retrieval (2024), arXiv:2401.15884.

    Examples
    --------
    >>> import orchkit as ok
    >>> def search(question: str) -> list[str]:
    ...     return ["owls hunt at night", "tea is hot"]
    >>> def about(item: str, question: str) -> bool:
    ...     return question in item
    >>> def answer(passages: list[str]) -> str:
    ...     return passages[0]
    >>> def borne_out(answer: str, passages: list[str]) -> bool:
    ...     return answer in passages
    >>> def refuse(question: str) -> str:
    ...     return f"Nothing is known of {question}."
    >>> wf = ok.patterns.retrieval(
    ...     "ask", retrieve=search, relevant=about, write=answer, grounded=borne_out, otherwise=refuse, input=str
    ... )
    >>> wf.simulate("owls", world=ok.World()).result(), wf.simulate("cats", world=ok.World()).result()
    ('owls hunt at night', 'Nothing is known of cats.')
    """
    where = f"retrieval({name!r})"
    checked_steps(where, [retrieve, relevant, write, grounded, otherwise], own=["kept", "enough", "judged", "accept"])
    needs_item(where, relevant)
    wf = ok.Workflow(name, input=input)
    wf.step(fed(retrieve, input="input"))
    wf.map(over=retrieve)(fed(relevant, input="input"))

    @wf.step
    def kept(found: list[Any] = ok.ref(retrieve), verdicts: list[bool] = ok.ref(relevant)) -> list[Any]:
        return [passage for passage, good in zip(found, verdicts, strict=True) if good]

    @wf.route(to=[write, otherwise])
    def enough(kept: list[Any]) -> str:
        return name_of(write if kept else otherwise)

    wf.step(fed(write, passages="kept", input="input"))
    wf.step(fed(grounded, answer=write, passages="kept", input="input"))

    @wf.route(to=["accept", otherwise])
    def judged(verdict: bool = ok.ref(grounded)) -> str:
        return "accept" if verdict else name_of(otherwise)

    wf.step(passed_on("accept", write))
    wf.step(fed(otherwise, input="input"))
    return wf

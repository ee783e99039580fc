"""Saga: several steps that touch the world, and what takes each of them back when a later one fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, fed, name_of, taking

__all__ = ["saga"]


def saga(
    name: str, *, steps: Sequence[tuple[Callable[..., Any], Callable[..., Any] | None]], input: Any = object
) -> ok.Workflow:
    """Go through steps in order; if one fails, undo those that were done, the last first, and fail.

    Parameters
    ----------
    name : str
        The workflow's.
    steps : sequence of (callable, callable or None)
        Each step and what undoes it. A step is offered: input, and by name what each step before it gave. Its undoing
        is offered: done (what the step gave), input.
    input : type
        The workflow's.

    Returns
    -------
    Workflow
        Its own step: ``results``, which delivers a dict of what each gave. What undoes a step has a path such as
        ``book/undo:cancel``, so one function may undo several.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    If step *i*, from 0, fails with ``q_i``, it takes ``sum over i of i q_i (1 - q_0) .. (1 - q_(i - 1))`` undoings on
    average, and all goes well with ``(1 - q_0) .. (1 - q_n)``. Put the step that fails most first.

    If step *k* fails, exactly the *k* - 1 before it are undone, in reverse, as far as each has something that undoes
    it; a crash anywhere resumes to the same log.

    It is written by ``undo=``, whose notes say the rest (`Workflow.step`): an undoing is tried three times unless its
    step has a retry of its own, one that fails for good is told and the rest still undone, and what a resume does
    again has a key of its own. Two things it does not do. A step that fails is itself not undone: it must have had no
    effect. And a run that is cancelled keeps what it did, unless by ``run.cancel(undo=True)``.

    References
    ----------
    H. Garcia-Molina, K. Salem, Sagas, SIGMOD (1987).

    Examples
    --------
    >>> import orchkit as ok
    >>> def book(trip: str) -> str: ...
    >>> def cancel(booking: str) -> str: ...
    >>> def pay(trip: str, book: str) -> str: ...
    >>> wf = ok.patterns.saga("trip", steps=[(book, cancel), (pay, None)], input=str)
    >>> world = ok.World({
    ...     "book": ok.fake("seat 7"), "book/undo:cancel": ok.fake("free"), "pay": ok.fake("paid", error=1.0)
    ... })
    >>> run = wf.simulate("Rome", world=world)
    >>> run.status, [event.node for event in run.log if event.kind == "undone"]
    ('failed', ['book'])
    """
    where = f"saga({name!r})"
    pairs = [pair if isinstance(pair, tuple) and len(pair) == 2 else _refused(where, pair) for pair in steps]
    checked_steps(where, [do for do, _ in pairs], own=["results"])
    wf = ok.Workflow(name, input=input)
    done: dict[str, Any] = {}
    for do, undo in pairs:
        if undo is not None:
            checked_steps(where, [undo])
        back = None if undo is None else fed(undo, done=do, input="input")
        wf.step(undo=back, after=list(done)[-1:])(fed(do, input="input", **done))
        done[name_of(do)] = do

    @wf.step
    @taking(*done)
    def results(**values: Any) -> dict[str, Any]:
        return values

    return wf


def _refused(where: str, pair: Any) -> Any:
    raise ok.DefinitionError(f"{where}: {pair!r}; give pairs of a step and what undoes it, or None: (book, cancel)")

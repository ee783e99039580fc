"""Saga: several steps that touch the world, and what takes each of them back when a later one fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orchkit as ok
from orchkit.patterns._wiring import checked_steps, given, name_of

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
        Its one node is ``saga``, which calls the steps, so their paths are such as ``saga/book``. It delivers a dict of
        what each gave.

    Raises
    ------
    DefinitionError
        If the steps do not fit.

    Notes
    -----
    If step *i*, from 0, fails with ``q_i``, it takes ``sum over i of i q_i (1 - q_0) .. (1 - q_(i - 1))`` undoings on
    average, and all goes well with ``(1 - q_0) .. (1 - q_n)``. Put the step that fails most first.

    A crash anywhere resumes where it was: what was done is not done again, and what was undone stays so. Three things
    it does not do. A step that fails is itself not undone: it must have had no effect. An undoing that fails ends the
    run there, with what is left to undo in the log; make undoings repeatable, and let them try until they succeed. And
    a run that is cancelled is not undone.

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
    ...     "saga/book": ok.fake("seat 7"), "saga/cancel": ok.fake("free"), "saga/pay": ok.fake("paid", error=1.0)
    ... })
    >>> run = wf.simulate("Rome", world=world)
    >>> run.status, run.events.query("kind == 'called'").body.map(lambda body: body["id"].split("(")[0]).tolist()
    ('failed', ['saga/book', 'saga/pay', 'saga/cancel'])
    """
    where = f"saga({name!r})"
    pairs = [pair if isinstance(pair, tuple) and len(pair) == 2 else _refused(where, pair) for pair in steps]
    checked_steps(where, [one for pair in pairs for one in pair if one is not None], own=["saga"])
    before: dict[str, Any] = {}
    for do, undo in pairs:  # what does not fit is told now, and not when it is too late
        given(do, input=None, **before)
        before[name_of(do)] = None
        if undo is not None:
            given(undo, done=None, input=None)
    wf = ok.Workflow(name, input=input)

    @wf.step
    async def saga(input: Any, ctx: ok.Context) -> dict[str, Any]:
        done: dict[str, Any] = {}
        try:
            for do, _ in pairs:
                done[name_of(do)] = await ctx.call(do, **given(do, input=input, **done))
        except ok.CallFailed:
            for do, undo in reversed(pairs[: len(done)]):
                if undo is not None:
                    await ctx.call(undo, **given(undo, done=done[name_of(do)], input=input))
            raise
        return done

    return wf


def _refused(where: str, pair: Any) -> Any:
    raise ok.DefinitionError(f"{where}: {pair!r}; give pairs of a step and what undoes it, or None: (book, cancel)")

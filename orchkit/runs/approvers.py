"""Approvers: who answers when nobody sits there: ``wf.start(..., approver=ok.approvers.auto(True))``.

An approver is any callable that gets an `ok.Question` and gives the answer, or None to leave the question open for a
person. It is called off the engine's thread, one question of a run after the other, and its answers are validated and
recorded as anybody's, with who gave them and ``via`` "approver". What it raises is printed, and the question stays
open.

>>> import orchkit as ok
>>> wf = ok.Workflow("letter", input=str)
>>> wf.approval("review", answer=bool, show="draft")
>>> @wf.step
... def draft(input: str) -> str:
...     return f"Dear {input}"
>>> wf.output = "review"
>>> kind = ok.approvers.auto(lambda question: "Dear" in question.shown)
>>> wf.start("Dana", durability="memory", approver=kind).result()
True
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from orchkit.errors import DefinitionError
from orchkit.model.graph import Graph
from orchkit.model.wording import nearest
from orchkit.runs.clerk import Approver, Question

__all__ = ["auto", "checked_approver", "from_file", "scripted"]


class _Named:
    """An approver, with the name that is recorded with its answers."""

    def __init__(self, by: str, answer: Approver, nodes: Mapping[str, Any] | None = None) -> None:
        self.by = by
        self.nodes = nodes or {}
        self._answer = answer

    def __call__(self, question: Question) -> Any:
        return self._answer(question)

    def __repr__(self) -> str:
        return f"ok.approvers.{self.by}"


def auto(answer: Any) -> Approver:
    """Answer every question alike, or by a function.

    Parameters
    ----------
    answer : object or callable
        The answer; or what gets an `ok.Question` and gives the answer, None to leave it open. Not async.

    Returns
    -------
    callable
        Recorded as by "auto".

    Raises
    ------
    DefinitionError
        For an async function, and for None, which answers nothing.

    Examples
    --------
    >>> import orchkit as ok
    >>> careful = ok.approvers.auto(lambda question: False if "refund" in question.shown else None)
    >>> careful(ok.Question("a1", "review", shown="a refund"))
    False
    """
    if answer is None:
        raise DefinitionError("approvers.auto(None): None leaves every question open; give an answer or a function")
    if callable(answer) and not isinstance(answer, type):
        _refuse_async("approvers.auto", answer)
        return _Named("auto", answer)
    return _Named("auto", lambda _: answer)


def scripted(answers: Mapping[str, Any]) -> Approver:
    """Answer by a script: for each node, or ``node[item]``, an answer, or a list of them that is used up in order.

    Parameters
    ----------
    answers : mapping of str to object
        An answer that is itself a list is given as the one element of a list. Each run begins at the beginning; when
        a list is used up the question is left open.

    Returns
    -------
    callable
        Recorded as by "scripted".

    Raises
    ------
    DefinitionError
        If `answers` is no mapping of names. When a run is started with it: if a name is no approval of the workflow.

    Examples
    --------
    >>> import orchkit as ok
    >>> script = ok.approvers.scripted({"review": [True, False]})
    >>> [script(ok.Question("a1", "review")) for _ in range(3)]
    [True, False, None]
    """
    if not isinstance(answers, Mapping) or not all(isinstance(name, str) and name for name in answers):
        raise DefinitionError(f"approvers.scripted({answers!r}): give a dict from an approval's name to its answers")
    script = _Script()
    return _Named("scripted", lambda question: script.next(dict(answers), question), answers)


def from_file(path: str | os.PathLike[str]) -> Approver:
    """Answer from a JSON file, an object with what `scripted` takes; it is read anew for each question.

    Parameters
    ----------
    path : path-like
        A file that is not there answers nothing; one that is no JSON object is an error that is printed, and the
        question stays open. A list begins at its beginning again when another process goes on with the run.

    Returns
    -------
    callable
        Recorded as by "from_file".

    Examples
    --------
    >>> import orchkit as ok, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "answers.json")
    ...     _ = file.write_text('{"review": {"approve": true}}')
    ...     ok.approvers.from_file(file)(ok.Question("a1", "review"))
    {'approve': True}
    """
    file = Path(path).absolute()
    script = _Script()
    return _Named("from_file", lambda question: script.next(_read(file), question))


def _read(file: Path) -> Mapping[str, Any]:
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return {}
    try:
        answers = json.loads(text)
    except ValueError as error:
        raise DefinitionError(f"{file} is no JSON: {error}; the question stays open") from error
    if not isinstance(answers, dict):
        raise DefinitionError(f"{file} holds no JSON object of names and answers; the question stays open")
    return answers


class _Script:
    """Which answer of a list is next, for each run."""

    def __init__(self) -> None:
        self._used: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def next(self, answers: Mapping[str, Any], question: Question) -> Any:
        name = question.id if question.id in answers else question.node
        answer = answers.get(name)
        if not isinstance(answer, list):
            return answer
        with self._lock:
            n = self._used[question.run_id, name]
            self._used[question.run_id, name] += 1
        return answer[n] if n < len(answer) else None


def checked_approver(graph: Graph, approver: Any) -> Approver | None:
    """Take an approver, or None.

    Raises
    ------
    DefinitionError
        If it cannot be called, is async, or names what is no approval of the workflow.
    """
    if approver is None:
        return None
    if not callable(approver) or isinstance(approver, type):
        raise DefinitionError(
            f"approver={approver!r}: give a function of an ok.Question, or ok.approvers.auto({approver!r})"
        )
    _refuse_async("approver", approver)
    named: Mapping[str, Any] = approver.nodes if isinstance(approver, _Named) else {}
    known = {node.name for node in graph.nodes if node.kind == "approval"}
    for name in _nodes(named, known):
        raise DefinitionError(f"the approver names {name!r}, which {graph.name!r} does not ask; {nearest(name, known)}")
    checked: Approver = approver
    return checked


def _nodes(named: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    return (name for name in named if name not in known and name.rpartition("[")[0] not in known)


def _refuse_async(where: str, function: Callable[..., Any]) -> None:
    if iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        raise DefinitionError(f"{where}={function!r} is async; give a plain function, it has a thread of its own")

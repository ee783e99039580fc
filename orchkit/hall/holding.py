"""Nodes that hold a workflow: calls and loops, as users write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from orchkit.errors import DefinitionError
from orchkit.hall import arguments
from orchkit.hall.nodes import Nodes
from orchkit.hall.options import node_of

if TYPE_CHECKING:
    from orchkit.hall.definition import Definition

__all__ = ["Holding", "held"]


class Holding(Nodes):
    """The part of a definition by which it holds others."""

    def call(self, name: str, workflow: Definition, *, input: Any = "input", **options: Any) -> None:
        """Add a workflow as a node; its own nodes have paths such as ``enrich/extract``.

        Parameters
        ----------
        name : str
            The node's; steps that name it as a parameter get what the workflow delivers.
        workflow : Workflow
            As it is when this one is first drawn or run after a change.
        input : str, callable, or mapping of str to these
            The node whose value is the workflow's input, or a dict from the fields of its input to nodes.
        **options
            As in `step`; they hold for the workflow as a whole. A retry goes through it anew; a time-out, and a
            failure in it that its own policies do not get over, end the attempt and cancel what is open in it.

        Raises
        ------
        DefinitionError
            For options that make no sense.

        Notes
        -----
        Worlds and faults address what is inside by path, ``ok.World({"enrich/extract": ...})``, or the node as a
        whole: a modelled one goes through nothing. A workflow with a shared context of its own keeps it to itself;
        one without shares this one's.

        Examples
        --------
        >>> import orchkit as ok
        >>> inner = ok.Workflow("enrich", input=str)
        >>> @inner.step
        ... def extract(input: str) -> str:
        ...     return input.upper()
        >>> wf = ok.Workflow("letter", input=str)
        >>> wf.call("enrich", inner)
        >>> @wf.step
        ... def send(enrich: str) -> str:
        ...     return f"{enrich}!"
        >>> run = wf.simulate("dear Dana", world=ok.World())
        >>> run.result(), run.events.node.unique().tolist()
        ('DEAR DANA!', ['', 'enrich', 'enrich/extract', 'send'])
        """
        where = f"call({name!r})"
        own = {"workflow": held(where, "workflow", workflow), "feeds": arguments.feeds(where, "input", input)}
        self._add(node_of("call", name, options, own))

    def loop(
        self,
        name: str,
        *,
        body: Definition,
        until: Callable[..., Any],
        input: Any = "input",
        max: int = 3,
        then: Literal["last", "fail"] = "last",
        **options: Any,
    ) -> None:
        """Add a workflow that is gone through again until its result is good enough, each round with the last's result.

        Parameters
        ----------
        name : str
            The node's. Nodes of round 2 have paths such as ``polish#2/critic``.
        body : Workflow
            Gone through once a round. Its input in the second round is what the first has delivered.
        until : callable
            ``until(result, round)``, round from 1: true ends the loop. Plain, quick and pure; it is called once a
            round, and its verdict is recorded as an event ``judged``.
        input : str, callable, or mapping of str to these
            As in `call`, for the first round.
        max : int, >= 1
            How many rounds at most.
        then : {"last", "fail"}
            What follows when the last round is not good enough either: its result, marked degraded, or a failure.
        **options
            As in `step`; they hold for the loop as a whole.

        Raises
        ------
        DefinitionError
            For arguments that make no sense.

        Examples
        --------
        >>> import orchkit as ok
        >>> body = ok.Workflow("round", input=str)
        >>> @body.step
        ... def shorten(input: str) -> str:
        ...     return input[:-1]
        >>> def short(result: str, round: int) -> bool:
        ...     return len(result) < 4
        >>> wf = ok.Workflow("letter", input=str)
        >>> wf.loop("polish", body=body, until=short, max=5)
        >>> run = wf.simulate("hello", world=ok.World())
        >>> run.result(), run.events.query("kind == 'judged'").status.tolist()
        ('hel', ['again', 'done'])
        """
        where = f"loop({name!r})"
        own = {
            "workflow": held(where, "body", body),
            "feeds": arguments.feeds(where, "input", input),
            "until": arguments.function_of(where, "until", until, ("result", "round")),
            "rounds": arguments.count(where, "max", max) or 1,
            "then": arguments.choice(("last", "fail"))(where, "then", then),
        }
        self._add(node_of("loop", name, options, own))


def held(where: str, name: str, workflow: Any) -> Definition:
    """Take a workflow."""
    from orchkit.hall.definition import Definition

    if not isinstance(workflow, Definition):
        raise DefinitionError(f"{where}: {name}={workflow!r}; give an ok.Workflow")
    return workflow

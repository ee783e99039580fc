"""The nodes of a definition, and the graph that they make."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from orchkit.errors import DefinitionError, GraphError, GraphWarning
from orchkit.hall import arguments
from orchkit.model.build import build_graph
from orchkit.model.doubts import doubts
from orchkit.model.graph import Graph
from orchkit.model.merging import SharedModel
from orchkit.model.places import Place, here
from orchkit.model.problems import Problem
from orchkit.model.steps import Node

__all__ = ["Nodes"]

_CHECKING: ContextVar[tuple[Nodes, ...]] = ContextVar("orchkit_checking", default=())  # by this thread


class Nodes:
    """Nodes by name, as cells define and define them again, and their graph once it has been checked.

    Parameters
    ----------
    name : str
    input : type
    output : str or None
    redact : iterable of str
    """

    def __init__(self, name: str, *, input: Any, output: str | None, redact: Iterable[str]) -> None:
        if not isinstance(name, str) or not name.strip():
            raise DefinitionError(f"Workflow({name!r}): give it a name; its runs are recorded under it")
        self.name = name
        self._input = input
        self._output = arguments.label(f"Workflow({name!r})", "output", output)
        self._redact = frozenset(arguments.tags(f"Workflow({name!r})", "redact", redact))
        self._nodes: dict[str, Node] = {}
        self._shared: SharedModel | None = None
        self._graph: Graph | None = None
        self._doubts: tuple[Problem, ...] = ()
        self._said: set[str] = set()
        self._place = here("orchkit.hall")

    def _add(self, node: Node) -> None:
        before = self._nodes.get(node.name)
        if before is not None and (before.fn is None) != (node.fn is None):
            raise DefinitionError(
                f"{node.name!r} is {_a(before)} already and cannot become {_a(node)}: give one of them another name, "
                "or run the cell that makes the workflow again"
            )
        if node.fn is None:
            node = replace(node, place=here("orchkit.hall"))
        self._nodes[node.name] = node  # a cell that runs again replaces its node, in place
        self._graph = None
        self._said = set()

    def checked(self) -> Graph:
        """Give the checked graph.

        Raises
        ------
        GraphError
            With all that is wrong, at once.
        """
        held = _CHECKING.get()
        if any(one is self for one in held):
            raise GraphError(
                f"workflow {self.name!r} holds itself; repeat by wf.loop, which is bounded",
                problems=(f"workflow {self.name!r} holds itself; repeat by wf.loop, which is bounded",),
            )
        token = _CHECKING.set((*held, self))
        try:
            if self._graph is None or any(self._is_old(node) for node in self._graph.nodes):
                graph = build_graph(
                    self.name, self._nodes.values(), self._input, self._output, self._shared, self._redact, self._place
                )
                # Kept before anybody is warned: where warnings are errors, the second call gives the graph.
                self._graph, self._doubts = graph, doubts(graph)
                self._warn()
        finally:
            _CHECKING.reset(token)
        return self._graph

    @staticmethod
    def _is_old(node: Node) -> bool:
        return node.workflow is not None and node.workflow.checked() is not node.body

    def warnings(self) -> list[str]:
        """Give what is doubtful in the graph, a sentence each; it runs all the same.

        Python warns of them too, by `GraphWarning`, once for each definition, when it is first drawn or run.

        Returns
        -------
        list of str

        Raises
        ------
        GraphError
            With all that is wrong, at once.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("hello", input=str)
        >>> @wf.step
        ... def greet(input: str) -> str: ...
        >>> wf.warnings()
        []
        """
        self.checked()
        return [doubt.text for doubt in self._doubts]

    def _warn(self) -> None:
        new = [doubt for doubt in self._doubts if doubt.text not in self._said]
        self._said.update(doubt.text for doubt in new)  # of variants too: each would only say it again
        for doubt in new:
            # At the line that is to be changed: whoever draws or runs the workflow may be a notebook's own code.
            place = doubt.place or self._place or Place("<orchkit>", 1)
            warning = GraphWarning(f"workflow {self.name!r}: {doubt}")
            warnings.warn_explicit(warning, GraphWarning, place.file, place.line)


def _a(node: Node) -> str:
    return f"{'an' if node.kind == 'approval' else 'a'} {node.kind}"

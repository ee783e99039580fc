"""The registry: which workflow of this process bears a name, for resuming runs without being handed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchkit.errors import DefinitionError, GraphError

if TYPE_CHECKING:
    from orchkit.hall.workflow import Workflow
    from orchkit.model.graph import Graph

__all__ = ["find_graph", "find_workflow", "is_known", "register"]

_WORKFLOWS: dict[str, Workflow] = {}


def register(workflow: Workflow) -> None:
    """Remember a workflow under its name; the last definition wins, as it does for a cell that runs again."""
    _WORKFLOWS[workflow.name] = workflow


def is_known(name: str) -> bool:
    """Say whether this process has defined a workflow of that name."""
    return name in _WORKFLOWS


def find_graph(name: str) -> Graph | None:
    """Give the graph of the workflow of that name, if this process has defined one that could run."""
    workflow = _WORKFLOWS.get(name)
    try:
        return None if workflow is None else workflow.checked()
    except GraphError:
        return None


def find_workflow(name: str) -> Workflow:
    """Give the workflow of that name.

    Raises
    ------
    DefinitionError
        If this process has defined none.
    """
    try:
        return _WORKFLOWS[name]
    except KeyError:
        there = ", ".join(map(repr, _WORKFLOWS)) or "none"
        raise DefinitionError(
            f"no workflow {name!r} is defined in this process (there are: {there}); run the code that defines it, or "
            "hand it over by store.resume(id, workflow)"
        ) from None

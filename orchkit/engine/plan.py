"""The plan: what may happen next is a pure function of the state."""

from __future__ import annotations

from typing import NamedTuple

from orchkit.model.state import RunState, map_state

__all__ = ["Action", "plan"]


class Action(NamedTuple):
    """One thing to do: "skip" a node, "start" an instance, or "close" a map whose items are done."""

    verb: str
    node: int
    item: int = -1


def plan(state: RunState) -> Action | None:
    """Give the next thing to do, or None when everything waits for something.

    Each action leads to an event, and folding that event changes the answer: ask again after each.

    Parameters
    ----------
    state : RunState

    Returns
    -------
    Action or None
    """
    if state.failing is not None or state.cancelling or state.status != "running":
        return None
    for node in state.ready:
        if state.doomed(node):
            return Action("skip", node)
        spec = state.graph.nodes[node]
        if spec.kind != "map":
            return Action("start", node)
        progress = map_state(state, node)
        if progress.done == progress.size:
            return Action("close", node)
        if progress.next < progress.size and (spec.limit is None or progress.running < spec.limit):
            return Action("start", node, progress.next)
    return None

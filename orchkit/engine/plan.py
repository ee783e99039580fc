"""The plan: what may happen next is a pure function of the state."""

from __future__ import annotations

from typing import NamedTuple

from orchkit.model.standings import READY
from orchkit.model.state import ScopeState, map_state

__all__ = ["Action", "plan"]


class Action(NamedTuple):
    """One thing to do.

    It is to "follow" what somebody has decided of an instance, "invalidate" one whose input has changed, "skip" a node,
    "withhold" an effect, "start" an instance, "spare" an item of a map whose quorum is decided, or "close" a map whose
    items are done.
    """

    verb: str
    node: int
    item: int = -1


def plan(state: ScopeState) -> Action | None:
    """Give the next thing to do, or None when everything waits for something.

    Each action leads to an event, and folding that event changes the answer: ask again after each.

    Parameters
    ----------
    state : ScopeState

    Returns
    -------
    Action or None
    """
    if state.failing is not None or state.overdue or state.cancelling or state.status != "running":
        return None
    if state.decided or state.stale:
        return Action("follow", *min(state.decided)) if state.decided else Action("invalidate", *state.stale.first)
    held = state.unsure() if state.before else ()
    for node in state.ready:
        if node in held:
            continue
        if state.doomed(node):
            return Action("skip", node)
        spec = state.graph.nodes[node]
        withhold = state.withheld and spec.effect and state.standing[node] == READY
        if withhold:
            return Action("withhold", node)
        action = Action("start", node) if spec.over is None else _of_map(state, node, spec.limit)
        if action is not None and not (state.paused and action.verb == "start"):
            return action
    return None


def _of_map(state: ScopeState, node: int, limit: int | None) -> Action | None:
    progress = map_state(state, node)
    if progress.over:
        return Action("spare", node, progress.going.first) if progress.going else Action("close", node)
    if limit is None or progress.running < limit:
        if progress.again:
            return Action("start", node, progress.again.first)
        if progress.next < progress.size:
            return Action("start", node, progress.next)
    return None

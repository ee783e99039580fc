"""Dropping what is open of a node whose next generation begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orchkit.model.events import ATTEMPT_ENDS, Event

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution
    from orchkit.engine.scope import Scope
    from orchkit.model.state import ScopeState

__all__ = ["drop_open"]


def drop_open(scope: Scope, node: int, item: int) -> None:
    """Cancel what is open of a node (item -1: all of it) in order of its items, and record that."""
    execution = scope.execution
    for key in scope.state.open_of(node, item):
        inst = scope.instances.pop(key, None)
        if inst is None:
            _end_lost_inside(execution, scope.state, key)
            _end_lost(execution, scope.state.open[key].events)
        else:
            execution.hide_pending(inst)
            execution.kernel.cancel(inst)


def _end_lost_inside(execution: Execution, state: ScopeState, key: tuple[int, int]) -> None:
    for prefix in state.nested.get(key, ()):
        inner = execution.state.scopes[prefix]
        for deeper, opened in sorted(inner.open.items()):
            _end_lost_inside(execution, inner, deeper)
            _end_lost(execution, opened.events)


def _end_lost(execution: Execution, events: list[Event]) -> None:
    # Nobody executes it any more: the process that did is gone, and its code is another one now.
    going: dict[tuple[str, int, int], Event] = {}
    for event in events:
        if event.kind == "started":
            going[event.node, event.leg, event.attempt] = event
        elif event.kind in ATTEMPT_ENDS:
            going.pop((event.node, event.leg, event.attempt), None)
    for begun in going.values():
        t = execution.t()
        execution.record(msgspec.structs.replace(begun, t=t, kind="cancelled", dur=t - begun.t))

"""Opening the next generation of an instance: what is open of it is cancelled first, and recorded so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from orchkit.model.events import ATTEMPT_ENDS, Event

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution
    from orchkit.engine.instance import Leg
    from orchkit.model.state import ScopeState

__all__ = ["begin_again", "begin_lost_again", "drop_leg", "drop_open"]

_BY_HAND = "operator"


def begin_again(execution: Execution, state: ScopeState, wanted: Event) -> None:
    """Record an ``invalidated``, which says why and of what, in the place that it gets in the log.

    What somebody's act cancels is marked as that. A log that ends between the two does not know of the act, and the
    mark tells a resume that what was cancelled is to begin again.
    """
    execution.cancelled_by = _BY_HAND if wanted.by or wanted.status in ("retry", "override", "skip") else ""
    node = state.node(wanted.node)
    try:
        drop_open(execution, state, node, wanted.item)
    finally:
        execution.cancelled_by = ""
    execution.causes.pop((wanted.node, wanted.item), None)
    if execution.error is None:
        generation = state.generation(node) + 1
        execution.record(msgspec.structs.replace(wanted, t=execution.t(), generation=generation))


def begin_lost_again(execution: Execution) -> None:
    """Let begin again what was cancelled for an act that did not come into the log."""
    for state in [scope.state for scope in execution.all_scopes() if scope.state.failing is None]:
        instances = execution.instances_of(state)
        for node, item in sorted(state.open.keys() - instances.keys() - state.stale.keys() - state.decided.keys()):
            last = state.open[node, item].events[-1]
            if (last.kind, last.status) == ("cancelled", _BY_HAND) and (node, -1) not in state.stale:
                name = state.prefix + state.graph.nodes[node].name
                begin_again(execution, state, Event(0, "invalidated", name, item, status="cancelled"))


def drop_open(execution: Execution, state: ScopeState, node: int, item: int) -> None:
    """Cancel what is open of a node (item -1: all of it) in order of its items, and record that."""
    instances = execution.instances_of(state)
    for key in state.open_of(node, item):
        inst = instances.pop(key, None)
        if inst is None:
            _end_lost_inside(execution, state, key)
            _end_lost(execution, state.open[key].events)
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


def drop_leg(execution: Execution, leg: Leg) -> None:
    """Let go of a fibre without another record: the run stops."""
    leg.token += 1
    leg.bodies += 1
    leg.spent = None
    leg.inner = ()
    if leg.handle is not None:
        execution.host.stop(leg.handle)
        leg.handle = None
    if leg.coro is not None and execution.kernel.current is not leg:
        coro, leg.coro = leg.coro, None
        _discard(coro)


def _discard(coro: Any) -> None:
    try:
        coro.close()
    except BaseException:
        pass  # a coroutine that is mid-flight in an outer frame is dropped with that frame

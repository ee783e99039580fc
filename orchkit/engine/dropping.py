"""Opening the next generation of an instance: what is open of it is cancelled first, and recorded so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from orchkit.engine.plan import plan
from orchkit.engine.unclaimed import end_lost
from orchkit.model.events import Event
from orchkit.model.standings import OPEN

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution
    from orchkit.engine.instance import Leg
    from orchkit.model.state import ScopeState

__all__ = ["begin_again", "begin_lost_again", "begin_stale_again", "drop_leg", "drop_open", "spare_the_rest"]

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
    if wanted.item < 0 and (scope := execution.scope_at(state)) is not None:
        scope.item_keys.pop(node, None)
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


def begin_stale_again(execution: Execution) -> None:
    """Do what somebody has decided, and let begin again what is stale, in all scopes in the order of their keys."""
    for scope in sorted(execution.all_scopes(), key=lambda one: one.key):
        state = scope.state
        while execution.error is None and (state.decided or state.stale) and (action := plan(state)) is not None:
            scope.do(action)


def spare_the_rest(execution: Execution) -> None:
    """Give up what maps still have in flight whose quorum is decided."""
    for scope in execution.all_scopes():
        state = scope.state
        held = state.unsure() if state.before else ()  # their list may come anew: nothing of them is decided
        for node in [node for node in state.maps if node not in held]:
            progress = state.maps[node]
            while progress.going and progress.over and state.standing[node] == OPEN and execution.error is None:
                scope.spare(node, progress.going.first)


def drop_open(execution: Execution, state: ScopeState, node: int, item: int) -> None:
    """Cancel what is open of a node (item -1: all of it) in order of its items, and record that."""
    instances = execution.instances_of(state)
    for key in state.open_of(node, item):
        inst = instances.pop(key, None)
        if inst is None:
            end_lost(execution, state, key)
        else:
            execution.questions.hide(inst)
            execution.kernel.cancel(inst)


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

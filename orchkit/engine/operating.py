"""What somebody may do to a run while it goes on; each act is decided by one event, and the plan does the rest.

So a log that ends anywhere within an act goes on by itself: before that event as if nobody had acted, and after it as
if nothing had happened to the log. An act on a scope that is over lets the attempt that opened it begin again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchkit.clock.kernel import suspend
from orchkit.engine.dropping import begin_again
from orchkit.model.events import Event

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution
    from orchkit.engine.instance import Leg
    from orchkit.engine.program import Site
    from orchkit.model.instances import Open
    from orchkit.model.state import ScopeState

__all__ = [
    "again",
    "follow",
    "is_quiet",
    "override",
    "pause",
    "skip",
    "unpause",
    "update_context",
    "wait_while_paused",
]


def pause(execution: Execution, by: str = "", why: str = "") -> None:
    """Let nothing new start; what is in flight goes on to its end. Does nothing when it is paused already."""
    if not execution.state.paused:
        _act(execution, lambda: execution.record(Event(execution.t(), "paused", by=by, body=why or None)))


def unpause(execution: Execution, by: str = "", why: str = "") -> None:
    """Let things start again: first what was held back within an instance, in the order of the keys."""

    def act() -> None:
        execution.record(Event(execution.t(), "unpaused", by=by, body=why or None))
        held, execution.held = execution.held, []
        execution.wake(held)

    if execution.state.paused:
        _act(execution, act)


def again(
    execution: Execution, state: ScopeState, node: int, item: int, *, by: str = "", why: str = "", key: str = ""
) -> None:
    """Open the next generation of a node, or of an item; `key` is what an effect is known by from now on."""
    wanted = Event(0, "invalidated", _path(state, node), item, status="retry", by=by, key=key, body=why or None)
    _act(execution, lambda: begin_again(execution, state, wanted))


def override(
    execution: Execution, state: ScopeState, node: int, item: int, value: Any, *, by: str = "", why: str = ""
) -> None:
    """Say what a node, or an item, comes to; `value` is JSON."""
    body = {"value": value, "why": why or None}
    wanted = Event(0, "invalidated", _path(state, node), item, status="override", by=by, body=body)
    _act(execution, lambda: begin_again(execution, state, wanted))


def skip(execution: Execution, state: ScopeState, node: int, item: int, *, by: str = "", why: str = "") -> None:
    """Say that a node, or an item, counts as skipped."""
    wanted = Event(0, "invalidated", _path(state, node), item, status="skip", by=by, body={"why": why or None})
    _act(execution, lambda: begin_again(execution, state, wanted))


def update_context(execution: Execution, changes: dict[str, Any], *, by: str = "", why: str = "") -> None:
    """Write to the run's shared context; what begins from now on sees it."""
    body = {"changes": changes, "why": why or None}
    _act(execution, lambda: execution.record(Event(execution.t(), "context", by=by, body=body)))


def _act(execution: Execution, act: Callable[[], None]) -> None:
    if execution.is_over or execution.driving:
        return
    try:
        act()
    except BaseException as error:
        execution.abort(error)
    else:
        execution.go_on()


def _path(state: ScopeState, node: int) -> str:
    return state.prefix + state.graph.nodes[node].name


def follow(execution: Execution, state: ScopeState, key: tuple[int, int]) -> None:
    """Record the next event that follows from what somebody has decided of an instance."""
    act = state.decided[key]
    t, by, generation = execution.t(), act.by, act.generation
    opened = state.open.get(key)
    if act.status == "skip":
        why = act.body["why"]
        wanted = Event(t, "skipped", act.node, act.item, generation, status="operator", by=by, body=why)
    elif opened is None:
        wanted = Event(t, "completed", act.node, act.item, generation, status="set", by=by, body=act.body["value"])
    elif state.graph.nodes[key[0]].kind == "route" and opened.events[-1].kind != "picked":
        value = act.body["value"]
        picks = value if isinstance(value, list) else [value]
        wanted = Event(t, "picked", act.node, act.item, generation, by=by, body=picks)
    else:
        wanted = Event(t, "settled", act.node, act.item, generation, status="completed", by=by)
    execution.record(wanted)


def is_quiet(execution: Execution) -> bool:
    """Say whether a run is paused and nothing is in flight: all that is open waits to start, or for a person."""
    if not execution.state.paused:
        return False
    undoing = execution.state.undoing
    if execution.undoing is not None and undoing is not None:
        return undoing.events[-1].kind == "waiting"
    scopes = [scope.state for scope in execution.all_scopes()]
    return all(_is_idle(state, key, opened) for state in scopes for key, opened in state.open.items())


def _is_idle(state: ScopeState, key: tuple[int, int], opened: Open) -> bool:
    last = next(event for event in reversed(opened.events) if event.kind not in ("injected", "context"))
    if last.kind in ("started", "judged"):
        spec = state.graph.nodes[key[0]]
        return spec.body is not None and last.node == state.prefix + spec.name
    return last.kind in ("waiting", "asked")


async def wait_while_paused(leg: Leg, site: Site, n: int) -> None:
    """Hold an attempt back that is not an instance's first, for as long as the run is paused.

    That it waits is recorded, and so it stands in the log where it would have begun.
    """
    inst = leg.inst
    ex = inst.execution
    if inst.records:
        head = inst.records[0]
        if (head.kind, head.status) != ("waiting", "paused"):
            return
    elif not ex.state.paused:
        return
    path = inst.scope.path(site)
    ex.emit(inst, Event(ex.t(), "waiting", path, inst.item, inst.generation, leg.number, n, status="paused"))
    if not inst.records:
        if ex.state.paused:
            ex.held.append(leg)
        else:
            ex.deferred.append((leg, lambda: ex.kernel.resume(leg, None)))
    try:
        await suspend()
    finally:
        ex.held = [one for one in ex.held if one is not leg]

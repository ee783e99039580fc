"""Stepping in: what somebody wants of a run is checked against its workflow and its state, and then done.

A name is a node's path: ``draft``, ``lookup[3]``, ``enrich/extract``. Attempts and rounds may be left out of it, for of
those the latest counts; ``polish#1/critic`` names an earlier round.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from orchkit.engine import operating
from orchkit.engine.execution import Execution
from orchkit.engine.keys import next_key
from orchkit.engine.program import Program, Seat
from orchkit.errors import CodecError, DefinitionError, RunError
from orchkit.model.events import Event
from orchkit.model.graph import Graph
from orchkit.model.paths import attempt_of, owner_of
from orchkit.model.standings import IDLE, READY, SKIPPED
from orchkit.model.state import RunState, ScopeState
from orchkit.model.wording import nearest
from orchkit.runs.given import dump_given

__all__ = ["Deed", "holder_of", "is_inner", "is_paused", "prepared", "recorded", "refusal"]

_SEGMENT: Final = re.compile(r"(?P<name>.*?)(?:\[(?P<item>\d+)\])?(?:~\d+)?(?:\.\d+)?(?:#\d+)?")
_ROUND: Final = re.compile(r"#\d+$")


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody wants of a run.

    Attributes
    ----------
    verb : str
    node : str
        A node's path; "" for what concerns the run itself.
    item : int or None
        Of a map.
    value : object
        What `node` is to come to, or the changes of the context by field.
    new_key : bool
        Whether a repeated effect is to be another one to its receiver.
    by, why : str
        Recorded.
    said : str
        What errors call it; without one, the method of a run that is named like the verb.
    """

    verb: Literal["pause", "unpause", "override", "retry", "skip", "update_context"]
    node: str = ""
    item: int | None = None
    value: Any = None
    new_key: bool = False
    by: str = ""
    why: str = ""
    said: str = ""

    def __post_init__(self) -> None:
        said = self.said or (f"run.{self.verb}({self.node!r})" if self.node else f"run.{self.verb}()")
        object.__setattr__(self, "said", said)


def prepared(program: Program, run_id: str, deed: Deed) -> Callable[[Execution], None]:
    """Check all that can be checked without the run, and give what is left to do on the engine's thread.

    Raises
    ------
    DefinitionError
        If no node has that name, or a value does not fit.
    """
    if deed.verb == "update_context":
        changes = _changes(program, deed)
        return lambda ex: operating.update_context(ex, changes, by=deed.by, why=deed.why)
    if deed.verb in ("pause", "unpause"):
        act = operating.pause if deed.verb == "pause" else operating.unpause
        return lambda ex: act(ex, deed.by, deed.why)
    path, item = _path_of(deed)
    seat = _seat(program, path, deed)
    _check_item(seat, item, deed)
    value = _dumped(seat, item, deed, run_id) if deed.verb == "override" else None
    if deed.new_key and not seat.node.effect:
        raise DefinitionError(
            f"{deed.said}: new_key= is for an effect, and {deed.node!r} is none; name the effect, or leave it out"
        )
    return lambda ex: _do(ex, path, item, value, deed)


def _do(execution: Execution, path: list[str], item: int, value: Any, deed: Deed) -> None:
    if execution.undoing is not None:
        raise RunError(
            f"{deed.said}: what the run did is being undone, for it has failed or was cancelled; once it has ended, "
            "store.resume goes on with it",
            run_id=execution.run_id,
        )
    state = _scope(execution.state, path[:-1], deed, execution.run_id)
    node = state.graph.index[path[-1]]
    who: dict[str, Any] = {"by": deed.by, "why": deed.why}
    if deed.verb == "retry":
        _check_begun(state, node, item, deed, execution.run_id)
        key = next_key(execution, state, node, item) if deed.new_key else ""
        operating.again(execution, state, node, item, key=key, **who)
        return
    _check_there(state, node, item, deed, execution.run_id)
    if deed.verb == "override":
        operating.override(execution, state, node, item, value, **who)
    else:
        operating.skip(execution, state, node, item, **who)


# In a log that nobody executes


def is_inner(graph: Graph, name: Any) -> bool:
    """Say whether a name is that of an item, or of something within a node that holds a workflow."""
    return isinstance(name, str) and name not in graph.index and ("/" in name or _parsed(name)[1] >= 0)


def holder_of(program: Program, deed: Deed) -> int:
    """Give the index of the workflow's own node that something belongs to.

    Raises
    ------
    DefinitionError
        If there is none.
    """
    first = deed.node.partition("/")[0]
    return program.graph.index[_seat_in(program, _parsed(first)[0], deed).node.name]


def recorded(program: Program, state: RunState, run_id: str, t: int, deed: Deed) -> Event:
    """Give the event by which a log says that something of it begins again, or what it comes to.

    Raises
    ------
    DefinitionError
        If no node has that name, or a value does not fit.
    RunError
        If it has not begun.
    """
    path, item = _path_of(deed)
    seat = _seat(program, path, deed)
    _check_item(seat, item, deed)
    scope = _scope(state, path[:-1], deed, run_id)
    node, why = scope.graph.index[path[-1]], deed.why or None
    if deed.verb == "retry":
        _check_begun(scope, node, item, deed, run_id)
        body: Any = why
    else:
        _check_there(scope, node, item, deed, run_id)
        body = {"value": _dumped(seat, item, deed, run_id), "why": why}
    name, generation = scope.prefix + path[-1], scope.generation(node) + 1
    return Event(t, "invalidated", name, item, generation, status=deed.verb, by=deed.by, body=body)


# Before it goes to the engine


def _changes(program: Program, deed: Deed) -> dict[str, Any]:
    shared = program.graph.shared
    if shared is None:
        raise DefinitionError(
            f"{deed.said}: workflow {program.graph.name!r} has no shared context; describe it by wf.context(Model)"
        )
    if not deed.value:
        raise DefinitionError(f"{deed.said}: say what changes, run.update_context(field=value)")
    return shared.dump(deed.value, deed.said)


def _path_of(deed: Deed) -> tuple[list[str], int]:
    if not isinstance(deed.node, str) or not deed.node:
        raise DefinitionError(f"run.{deed.verb}({deed.node!r}): name a node, as run.events shows it")
    path = deed.node.split("/")
    name, item = _parsed(path[-1])
    if item >= 0 and deed.item not in (None, item):
        raise DefinitionError(f"{deed.said}: item={deed.item!r} is another one; say it once")
    given = deed.item
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 0):
        raise DefinitionError(f"{deed.said}: item={given!r}; give its index in the map's list, from 0")
    return [*path[:-1], name], item if given is None else given


def _parsed(segment: str) -> tuple[str, int]:
    found = _SEGMENT.fullmatch(segment)
    assert found is not None  # of anything, for the name may be anything
    return found["name"], -1 if found["item"] is None else int(found["item"])


def _seat(program: Program, path: list[str], deed: Deed) -> Seat:
    for segment in path[:-1]:
        name, item = _parsed(segment)
        seat = _seat_in(program, name, deed)
        if seat.site.inside is None:
            raise DefinitionError(f"{deed.said}: {name!r} holds no workflow; there is nothing within it")
        if seat.node.over is not None and item < 0:
            raise DefinitionError(f"{deed.said}: {name!r} has items; say of which, such as {f'{name}[0]'!r}")
        program = seat.site.inside.program
    return _seat_in(program, path[-1], deed)


def _seat_in(program: Program, name: str, deed: Deed) -> Seat:
    if name not in program.graph.index:
        within = f" of {program.prefix[:-1]!r}" if program.prefix else ""
        names = [*program.graph.index, *(() if program.prefix else _deeper(program.graph))]
        raise DefinitionError(f"{deed.said}: no node{within} is called {name!r}; {nearest(name, names)}")
    return program.seats[program.graph.index[name]]


def _deeper(graph: Graph, prefix: str = "") -> list[str]:
    bodies = [(f"{prefix}{node.name}/", node.body) for node in graph.nodes if node.body is not None]
    return [one for path, body in bodies for one in (*(path + name for name in body.index), *_deeper(body, path))]


def _check_item(seat: Seat, item: int, deed: Deed) -> None:
    if item >= 0 and seat.node.over is None:
        raise DefinitionError(f"{deed.said}: {seat.node.name!r} is no map, and has no items; leave item= out")


def _dumped(seat: Seat, item: int, deed: Deed, run_id: str) -> Any:
    try:
        return dump_given(seat, deed.value, deed.node, item)
    except (TypeError, ValueError) as error:
        if isinstance(error, CodecError):
            error.run_id = run_id
        raise DefinitionError(f"{deed.said}: the value is not what {deed.node!r} delivers: {error}") from error


# On the engine's thread


def _scope(run: RunState, path: list[str], deed: Deed, run_id: str) -> ScopeState:
    scope: ScopeState = run
    for segment in path:
        name, item = _parsed(segment)
        there = scope.nested.get((scope.graph.index[name], item), [])
        fitting = [prefix for prefix in there if _is_meant(segment, prefix[len(scope.prefix) : -1])]
        if not fitting:
            listed = ", ".join(repr(prefix[:-1]) for prefix in there)
            raise RunError(
                f"{deed.said}: {scope.prefix + segment!r} has not begun"
                f"{f'; there are: {listed}' if listed else ', and nothing within it can be acted on'}",
                run_id=run_id,
                node=deed.node,
            )
        if attempt_of(fitting[-1]) != attempt_of(there[-1]):
            raise RunError(
                f"{deed.said}: that attempt is over, and another counts; say {there[-1][:-1]!r}, or leave the number "
                "out",
                run_id=run_id,
                node=deed.node,
            )
        scope = run.scopes[fitting[-1]]
    return scope


def _is_meant(given: str, segment: str) -> bool:
    tried = owner_of(f"{segment}/")[:-1]
    return given in (segment, tried, _ROUND.sub("", tried))


def _check_there(state: ScopeState, node: int, item: int, deed: Deed, run_id: str) -> None:
    if item >= 0:
        size = _size(state, node, deed, run_id)
        if item >= size:
            raise RunError(f"{deed.said}: there are {size} items, from 0 to {size - 1}", run_id=run_id, node=deed.node)
        fed = state.maps[node].fed
        if fed is not None and item not in fed:
            raise RunError(
                f"{deed.said}: what it streams over has not delivered that item; act on it there, or wait",
                run_id=run_id,
                node=deed.node,
            )
    if deed.verb != "skip":
        return
    if state.standing[node] == SKIPPED or (item >= 0 and item in state.maps[node].skipped):
        raise RunError(f"{deed.said}: it is skipped already", run_id=run_id, node=deed.node)


def _check_begun(state: ScopeState, node: int, item: int, deed: Deed, run_id: str) -> None:
    standing = state.standing[node]
    if standing in (IDLE, READY) and item < 0:
        raise _not_begun(deed, run_id)
    if item >= 0:
        _size(state, node, deed, run_id)
        progress = state.maps[node]
        if not progress.has_begun(item) or item in progress.again:
            raise _not_begun(deed, run_id)
    elif standing == SKIPPED and node not in state.errors and state.doomed(node):
        raise RunError(
            f"{deed.said}: it was skipped because something before it was, or a route went elsewhere; retry or "
            "override that",
            run_id=run_id,
            node=deed.node,
        )


def _not_begun(deed: Deed, run_id: str) -> RunError:
    why = "nothing of it starts again; override and skip act on what has not begun"
    return RunError(f"{deed.said}: it has not begun, and {why}", run_id=run_id, node=deed.node)


def _size(state: ScopeState, node: int, deed: Deed, run_id: str) -> int:
    progress = state.maps.get(node)
    if progress is None:
        why = "its whole list was set" if node in state.fixed else "it has not begun, and its list is not known"
        raise RunError(
            f"{deed.said}: no item of it can be acted on, for {why}; leave item= out for all of it",
            run_id=run_id,
            node=deed.node,
        )
    return progress.size


# What can be said of a run that cannot be acted on


def refusal(run_id: str, status: str, said: str) -> RunError:
    """Say why a run that nothing executes here is not acted on, and what to do instead."""
    if status in ("completed", "degraded"):
        todo = "another end of it is another run: run.fork(at='node') or run.fork(set={'node': value})"
    else:
        todo = (
            f"store.resume({run_id!r}, workflow) goes on with it, and then it can be acted on; run.fork makes another"
        )
    return RunError(f"{said}: run {run_id!r} is {status}, and nothing of it goes on; {todo}", run_id=run_id)


def is_paused(kinds: list[str]) -> bool:
    """Say whether a log leaves its run paused, by the kinds of its events."""
    last = next((kind for kind in reversed(kinds) if kind in ("paused", "unpaused")), "")
    return last == "paused"

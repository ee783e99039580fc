"""What nobody will end any more: it is cancelled in the log, in the order in which a cancellation would have gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from orchkit.model.events import ATTEMPT_ENDS, Event
from orchkit.model.nesting import prefix_of
from orchkit.model.paths import FALLBACK, segment_of, split_path, static_path

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution
    from orchkit.engine.scope import Scope
    from orchkit.model.state import ScopeState

__all__ = ["end_lost", "end_unclaimed"]

_DECIDED = frozenset({"fail", "hang"})


def end_lost(execution: Execution, state: ScopeState, key: tuple[int, int]) -> None:
    """Cancel what is open of an instance whose process is gone, and whose code is another by now or was not called."""
    _end(execution, _lost(execution, state, key))


def end_unclaimed(scope: Scope, started: Event) -> None:
    """Cancel what an attempt that is over had under way before a restart, and has not come back to since."""
    execution, state = scope.execution, scope.state
    own = prefix_of(state, started)[:-1]
    key = (state.node(started.node), started.item)
    inside = _lost_inside(execution, state, key, (f"{own}/", f"{own}#"))
    _end(execution, [*inside, *_called_by(execution, {_who(started)})])


_Lost = list[tuple[Event, bool]]
"""How attempts began that nobody will end, and whether a model had been struck by a fault that decided."""


def _lost(execution: Execution, state: ScopeState, key: tuple[int, int]) -> _Lost:
    own = _under_way(state.open[key].events)
    return [*own, *_lost_inside(execution, state, key), *_called_by(execution, {_who(event) for event, _ in own})]


def _lost_inside(
    execution: Execution, state: ScopeState, key: tuple[int, int], begins: tuple[str, ...] = ("",)
) -> _Lost:
    found: _Lost = []
    for prefix in state.nested.get(key, ()):
        if prefix.startswith(begins):
            inner = execution.state.scopes[prefix]
            found += [lost for deeper in sorted(inner.open) for lost in _lost(execution, inner, deeper)]
    return found


def _called_by(execution: Execution, attempts: set[tuple[object, ...]]) -> _Lost:
    children = [child for child in execution.state.children.values() if child.events and child.called.status == "call"]
    return [lost for child in children if _who(child.called) in attempts for lost in _under_way(child.events)]


def _end(execution: Execution, lost: _Lost) -> None:
    for begun, struck in _inner_first(lost):
        t = execution.t()
        if begun.kind == "started":
            cost = 0.0 if struck else _cost(execution, begun)
            event = msgspec.structs.replace(begun, t=t, kind="cancelled", dur=t - begun.t, cost=cost, body=None)
        else:
            event = msgspec.structs.replace(begun, t=t, kind="rejected", status="withdrawn", body=None)
        execution.record(event)


def _under_way(events: Sequence[Event]) -> _Lost:
    """Give how each attempt began, or came to wait at a gate, that has not ended; by instances, then legs."""
    going: dict[tuple[object, ...], Event] = {}
    order: dict[tuple[str, int], int] = {}
    struck = set()
    for event in events:
        who = _who(event)
        order.setdefault((event.node, event.item), len(order))
        if event.kind == "started":
            going[who] = event
        elif event.kind in ATTEMPT_ENDS or event.kind == "rejected":
            going.pop(who, None)
        elif event.kind == "injected" and event.status in _DECIDED:
            struck.add(who)
        elif who not in going and ((event.kind == "waiting" and event.status) or event.status == "half-open"):
            going[who] = event
    begun = sorted(going.values(), key=lambda event: (order[event.node, event.item], event.leg))
    return [(event, _who(event) in struck) for event in begun]


def _who(event: Event) -> tuple[object, ...]:
    return event.node, event.item, event.generation, event.leg, event.attempt


def _inner_first(lost: _Lost) -> Iterator[tuple[Event, bool]]:
    """Order attempts as a cancellation goes: what one has opened or called before itself."""
    rest = dict.fromkeys(range(len(lost)))

    def visit(i: int) -> Iterator[tuple[Event, bool]]:
        del rest[i]
        begun = lost[i][0]
        prefix, _ = split_path(begun.node)
        name = begun.node.removeprefix(prefix).replace(FALLBACK, "!")
        own = prefix + segment_of(name, begun.item, begun.leg, begun.attempt)[:-1]
        for j in list(rest):
            if j in rest and lost[j][0].node.startswith((f"{own}/", f"{own}#")):
                yield from visit(j)
        yield lost[i]

    for i in range(len(lost)):
        if i in rest:
            yield from visit(i)


def _cost(execution: Execution, begun: Event) -> float:
    # What a model would have billed: a resume must not make a call cheaper. What a body had spent nobody knows.
    world = execution.program.world
    model = None if world is None else world.model(static_path(begun.node))
    return float(getattr(model, "cost", 0.0))

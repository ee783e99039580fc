"""What a body asks for as it goes: a step or a workflow that is called, and a question to a person.

Each is a child with an id of its own, derived from who asks and for what: so a body that runs again from its top finds
what it has asked for before. What a child is only the body knows; until it asks again, the log's events of the child
are kept as they are.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchkit.engine.inner import InnerScope
from orchkit.engine.inside import outcome_inside
from orchkit.engine.instance import Place
from orchkit.engine.program import Program, Site
from orchkit.errors import CallFailed, DefinitionError, ReplayMismatch, RunError
from orchkit.model.codec import ANY, codec_for
from orchkit.model.events import Event
from orchkit.model.fold import apply
from orchkit.model.graph import Graph
from orchkit.model.nesting import adopt, result_type
from orchkit.model.paths import FALLBACK, segment_of, static_path
from orchkit.model.protocols import Outcome
from orchkit.model.shared import SharedState
from orchkit.model.steps import Function, Node, Param, Step, describe

if TYPE_CHECKING:
    from orchkit.engine.context import Context
    from orchkit.engine.instance import Leg
    from orchkit.model.state import ScopeState

__all__ = ["Calls"]

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_.:-]{1,40}")


@dataclass(frozen=True, slots=True)
class _Callee:
    """What is called: its graph once it has a name, its input's JSON, and what it delivers."""

    name: str
    graph: Callable[[str], Graph]
    value: Any
    result: Any
    whole: bool = False


class Calls:
    """What one attempt's body has asked for.

    Parameters
    ----------
    leg : Leg
    path : str
        Of the attempt, in the log.
    site : Site
    attempt : int
    """

    __slots__ = ("_attempt", "_body", "_claimed", "_leg", "_name", "_path", "_site", "_turns")

    def __init__(self, leg: Leg, path: str, site: Site, attempt: int) -> None:
        self._leg = leg
        self._path = path
        self._site = site
        self._name = site.name.replace(FALLBACK, "!")
        self._attempt = attempt
        self._body = leg.bodies
        self._turns: dict[str, int] = {}
        self._claimed: set[str] = set()

    async def call(self, ctx: Context, callee: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], key: Any) -> Any:
        """Run a child to its end and give what it delivers.

        Raises
        ------
        CallFailed
            If it has failed in spite of its own policies.
        """
        wanted = _callee(callee, args, kwargs, self._leg.inst.scope.state.graph.redact)
        found, outcome = await self._child(ctx, wanted, (self._leg.number, self._attempt), key, "call")
        if outcome.failure is not None:
            error = CallFailed(f"{found!r} failed: {outcome.failure}", node=found, transient=outcome.failure.transient)
            raise error from self._leg.inst.execution.causes.pop((found, -1), None)
        return codec_for(wanted.result).load(outcome.value)

    async def ask(self, ctx: Context, answer: Any, show: Any, timeout: float | None, key: Any) -> Any:
        """Ask a person, once, whatever the attempt; give the answer, or None when none came in time."""
        redact = self._leg.inst.scope.state.graph.redact
        shown = codec_for(ANY if show is None else type(show), redact).dump(show, f"ctx.ask in {self._path!r}")

        def graph(name: str) -> Graph:
            shows = (Param("input", "input", ANY, True),)
            node = Node(name, "approval", deps=shows, answer=answer, show="input", timeout=timeout, dynamic=True)
            return Graph(name, [node], redact=redact)

        wanted = _Callee("ask", graph, shown, answer)
        with ctx.standing_still():
            # Not the attempt's own: nobody is asked the same thing twice.
            _, outcome = await self._child(ctx, wanted, (0, 1), key, "ask")
        return None if outcome.value is None else codec_for(answer).load(outcome.value)

    async def _child(
        self, ctx: Context, wanted: _Callee, tried: tuple[int, int], key: Any, status: str
    ) -> tuple[str, Outcome]:
        leg = self._leg
        inst = leg.inst
        ex = inst.execution
        if leg.bodies != self._body:
            raise RunError(f"the attempt of {self._path!r} that asks is over", run_id=ex.run_id, node=self._path)
        name = self._named(wanted, key)
        prefix = inst.scope.prefix + segment_of(self._name, inst.item, *tried)
        found = prefix + name
        self._claimed.add(found)
        ex.host.stamp()
        if found not in ex.state.children:
            body = {"id": found, "input": wanted.value}
            called = Event(
                ex.t(), "called", self._path, inst.item, inst.generation, leg.number, self._attempt, status, body=body
            )  # fmt: skip
            try:
                ex.record(called)
            except BaseException as error:
                # A crash, or a store that cannot write: let out here, it would be the body's own error, and retried.
                ex.abort(error)
                await ex.host.waiter().wait()  # until it is stopped
        state, events = self._adopted(ctx, wanted, prefix, name, found)
        attempt = 0 if status == "ask" else self._attempt
        place = self._place(state, attempt, tried, name if wanted.whole else "")
        outcome = await self._wait(state, place, events)
        if state.shared is not None and state.graph.shared is None and outcome.failure is None:
            ctx.join(state.shared.delta())
        return found, outcome

    def _named(self, wanted: _Callee, key: Any) -> str:
        told = _digest([wanted.value, str(wanted.result)]) if key is None else str(key)
        if not _PLAIN_KEY.fullmatch(told):
            told = _digest(told)
        turn = self._turns[f"{wanted.name}({told}"] = self._turns.get(f"{wanted.name}({told}", 0) + 1
        return f"{wanted.name}({told})" if turn == 1 else f"{wanted.name}({told},{turn})"

    def _adopted(
        self, ctx: Context, wanted: _Callee, prefix: str, name: str, found: str
    ) -> tuple[ScopeState, list[Event]]:
        run = self._leg.inst.execution.state
        there = run.scopes.get(found) or run.scopes.get(f"{found}/")
        if there is not None:  # a question that another attempt has asked, and may wait for no more
            return there, [event for opened in there.open.values() for event in opened.events]
        graph, key = wanted.graph(name), found
        if wanted.whole:
            key = prefix = f"{found}/"
        shared = None
        if ctx.view is not None:
            shared = SharedState(graph, ctx.view.model)
            shared.onto = ctx.view.values()
        state = adopt(run, key, prefix, graph, wanted.value, shared)
        child = run.children[found]
        events, child.events = child.events, []
        for event in events:
            apply(run, event)
        return state, events

    def _place(self, state: ScopeState, attempt: int, tried: tuple[int, int], within: str) -> Place:
        inst = self._leg.inst
        scope, item = inst.scope, inst.item
        known = None if self._site.node.key is None else scope.key_of(inst)
        end = f"{within}/" if within else ""
        return Place(
            (*inst.key, attempt, *state.id.encode()),
            scope.luck + segment_of(self._name, item, *tried, key=known) + end,
            scope.effects + segment_of(self._name, item, key=known) + end,
        )

    async def _wait(self, state: ScopeState, place: Place, events: list[Event]) -> Outcome:
        leg = self._leg
        ex = leg.inst.execution
        over = not state.left or (state.failing is not None and not state.open)
        if over and not ex.gatekeeper.wonders:
            return outcome_inside(state)
        world = None if ex.program.world is None else ex.program.world.within(state.graph, static_path(state.prefix))
        program = Program(state.graph, world, ex.program.faults, static_path(state.prefix))
        ex.gatekeeper.learn(program, ex.base)
        if over:
            return outcome_inside(state)
        waiter = ex.host.waiter()
        if (asked := ex.scopes.get(state.id)) is not None:
            asked.claim(leg, waiter.wake)
        else:
            scope = InnerScope(ex, program, state, place)
            scope.claim(leg, waiter.wake)
            ex.enter_child(scope, events)
        outcome: Outcome = await waiter.wait()
        return outcome

    def refuse_unclaimed(self) -> None:
        """Refuse what is recorded that the body no longer asks for: it has gone another way.

        Raises
        ------
        ReplayMismatch
            Naming both.
        """
        inst = self._leg.inst
        ex = inst.execution
        who = (self._path, inst.item, inst.generation, self._leg.number, self._attempt)
        for found, child in ex.state.children.items():
            by = child.called
            mine = (by.node, by.item, by.generation, by.leg, by.attempt) == who
            if mine and by.status == "call" and found not in self._claimed:
                asked = ", ".join(map(repr, sorted(self._claimed))) or "nothing"
                raise ReplayMismatch(
                    f"run {ex.run_id!r}: the log says that {self._path!r} called {found!r} with {by.body['input']!r}, "
                    f"and its body has now asked for {asked} instead; what it calls must follow from its inputs and "
                    "from what it got: give a key=, or take what differs each time from ctx.now(), ctx.random",
                    run_id=ex.run_id,
                    node=self._path,
                )


def _digest(value: Any) -> str:
    return blake2b(msgspec.msgpack.encode(value), digest_size=4).hexdigest()


def _callee(callee: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], redact: frozenset[str]) -> _Callee:
    if hasattr(callee, "checked"):
        graph: Graph = callee.checked()
        if len(args) != 1 or kwargs:
            raise DefinitionError(f"ctx.call({callee!r}, ...): a workflow gets one argument, its input")
        value = codec_for(graph.input_type, redact).dump(args[0], f"the input of {graph.name!r}")
        name = graph.name if graph.name.isidentifier() else re.sub(r"\W", "_", graph.name)
        return _Callee(name, lambda _: graph, value, result_type(graph), whole=True)
    function = describe(callee, what=f"ctx.call({getattr(callee, '__name__', callee)!r})")
    return _Callee(
        function.name,
        lambda name: _graph_of(name, callee, function, redact),
        _bound(function, args, kwargs, redact),
        function.returns,
    )


def _fields(function: Function) -> tuple[Param, ...]:
    params = (*function.params, *([] if function.item is None else [function.item]))
    return tuple(replace(param, source="input", field=param.name) for param in params)


def _bound(function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any], redact: frozenset[str]) -> Any:
    where = f"ctx.call({function.name})"
    given = [name for name in inspect.signature(function.fn).parameters if name not in ("ctx", "error")]
    consts = {name for name, _ in function.consts}
    names = [name for name in given if name not in consts]
    values = dict(zip(names, args, strict=False)) | dict(kwargs)
    if len(args) > len(names) or len(values) < len(args) + len(kwargs) or not values.keys() <= set(names):
        raise DefinitionError(
            f"{where}: it takes {', '.join(names) or 'nothing'}, and got {len(args)} and {dict(kwargs)}"
        )
    fields = _fields(function)
    missing = [param.name for param in fields if param.required and param.name not in values]
    if missing:
        raise DefinitionError(f"{where}: give {', '.join(missing)}")
    return {
        param.name: codec_for(param.annotation, redact).dump(values.get(param.name, param.default), where)
        for param in fields
    }


def _graph_of(name: str, callee: Any, function: Function, redact: frozenset[str]) -> Graph:
    bound = replace(function, params=_fields(function), item=None)
    options: dict[str, Any] = dict(callee.options) if isinstance(callee, Step) else {}
    node = Node(name, "step", fn=function.fn, function=bound, deps=bound.params, dynamic=True, **options)
    return Graph(name, [node], redact=redact)

"""Forks: a new run that keeps what one has recorded, but for a node and all that follows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from orchkit.clock.ids import fresh_run_id
from orchkit.engine.program import Program
from orchkit.errors import DefinitionError, RunError
from orchkit.model.events import Event
from orchkit.model.fold import fold
from orchkit.model.graph import Graph
from orchkit.model.paths import has_node, node_of, split_path
from orchkit.model.protocols import RunStore
from orchkit.model.records import Head
from orchkit.model.standings import IDLE, OPEN, READY, SKIPPED
from orchkit.model.state import RunState, ScopeState
from orchkit.model.steps import Node
from orchkit.model.wording import nearest
from orchkit.runs import live
from orchkit.runs.admitting import admit_whole
from orchkit.runs.fingerprint import fingerprints
from orchkit.runs.given import dump_given
from orchkit.runs.handle import Handle, PastRun
from orchkit.runs.operating import Deed, holder_of, is_inner, recorded
from orchkit.runs.sources import Source

__all__ = ["EFFECTS", "Fork", "Planned", "fork"]

EFFECTS: Final = ("run", "skip")
_HERE: Final = "forked here"


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of what a fork will execute, if nothing goes elsewhere.

    Attributes
    ----------
    node : str
    item : int or None
        Of a map of which some items are kept.
    why : str
        "at", "follows", "if changed" (a loop's later rounds), "open", "failed", "cancelled", or "not begun".
    effect : str
        "" for none, "new key": its receiver will see another effect, for the key holds the run's id; "skipped".
    """

    node: str
    item: int | None
    why: str
    effect: str = ""


class Fork:
    """A forked run: suspended until `go`, and then as the live run that it becomes.

    Parameters
    ----------
    head : Head
    program : Program
    store : RunStore
    deps : object
        Handed to steps, unless `go` gets others.
    planned : sequence of Planned
    """

    on_interrupt = "suspend"

    def __init__(self, head: Head, program: Program, store: RunStore, deps: object, planned: Sequence[Planned]) -> None:
        self.head = head
        self.program: Program | None = program
        self.store: RunStore | None = store
        self.planned = tuple(planned)
        self._program = program
        self._kept = store
        self.deps = deps
        self._live: Handle | None = None

    def go(self, deps: object = None) -> None:
        """Start it; does nothing when it has started.

        Raises
        ------
        RunHeld
            If it was resumed by somebody else.
        """
        if self._live is not None:
            return
        run_id = self.head.run_id
        self._live = live.live_run(self._kept, run_id)  # somebody may have resumed it by its id
        if self._live is None:
            deps = self.deps if deps is None else deps
            going = live.resume(self._program, run_id, store=self._kept, deps=deps, on_change="error")
            self._live = going or self._read()

    @property
    def _now(self) -> Handle:
        if self._live is not None:
            return self._live
        going = live.live_run(self._kept, self.head.run_id)
        if going is not None:
            return going
        return self._read()

    def _read(self) -> PastRun:
        return PastRun(self.head, self._kept.events(self.head.run_id), self._program, store=self._kept)

    def log(self) -> list[Event]:
        """Give its events so far."""
        return self._now.log()

    def source(self) -> Source:
        """Give what a stream of its events reads, as it is now."""
        return self._now.source()

    def status(self) -> str:
        """Give its status: "suspended" until it goes."""
        return self._now.status()

    def outcome(self) -> Future[Any]:
        """Start it if need be, and give the future of its result."""
        self.go()
        return self._now.outcome()

    def paused(self) -> bool:
        """Say whether somebody has paused it, once it goes."""
        return self._now.paused()

    def settled(self) -> Future[None]:
        """Give a future that is done when only people are awaited, or nobody; starts nothing."""
        return self._now.settled()

    def pending(self) -> list[Event]:
        """Give the questions that are open."""
        return self._now.pending()

    def answer(self, name: str, value: Any, *, by: str, item: int | None, via: str = "python") -> str | None:
        """Answer one of them; before it goes, to be taken then."""
        return self._now.answer(name, value, by=by, item=item, via=via)

    def escalate(self, name: str, *, to: str, by: str, why: str, item: int | None, via: str = "python") -> str | None:
        """Hand one of them to somebody else."""
        return self._now.escalate(name, to=to, by=by, why=why, item=item, via=via)

    def cancel(self, *, by: str, why: str, undo: bool) -> None:
        """End it, once it goes."""
        self._now.cancel(by=by, why=why, undo=undo)

    def suspend(self, *, by: str, why: str) -> None:
        """Stop it for now; nothing to do for one that has not started."""
        if self._live is not None:
            self._live.suspend(by=by, why=why)

    def operate(self, deed: Deed) -> None:
        """Do what somebody wants of it, once it goes."""
        self._now.operate(deed)


def fork(run: Handle, at: str | None, set_: Mapping[str, Any], program: Program | None, effects: str) -> Fork:
    """Make a new, suspended run of what a run has recorded, but for `at`, what is set, and what follows these.

    Raises
    ------
    DefinitionError
        If a name or a value does not fit, or nothing says what is to be another.
    RunError
        For a simulated run, or one whose workflow is not known.
    """
    store, program = _where(run, program)
    graph = program.graph
    if effects not in EFFECTS:
        raise DefinitionError(f"fork(effects={effects!r}): use one of {', '.join(map(repr, EFFECTS))}")
    if at is None and not set_:
        raise DefinitionError(f"run {run.head.run_id!r}: say where it forks, fork(at='node'), or what is set, set={{}}")
    inner, at, set_ = _apart(graph, at, set_)
    for name in (*([] if at is None else [at]), *set_):
        _known(graph.index, name)
    fixed = {graph.index[name] for name in set_}
    heads = fixed | (set() if at is None else {graph.index[at]})
    holders = {holder_of(program, deed): deed for deed in inner}
    log = run.log()
    if not log:
        raise RunError(f"run {run.head.run_id!r} has not begun: there is nothing to fork", run_id=run.head.run_id)
    dropped = heads | graph.descendants(heads | holders.keys())
    for holder in holders.keys() & dropped:
        name = graph.nodes[holder].name
        said = holders[holder].said
        raise DefinitionError(f"{said}: {name!r} begins anew because of what else is named; leave this out")
    if effects == "skip":
        dropped |= _open_effects(program, fold(graph, log, changed=True))
    events = [event for event in log if _is_kept(program, event, dropped)]
    t = max(event.t for event in events)
    for name, value in set_.items():
        events += _set(program, name, value, t)
    news: dict[str, Any] = {"fingerprints": fingerprints(graph)}
    if effects == "skip":
        news["withhold"] = True
    events.append(Event(t, "resumed", body=news))
    acts = _acts(program, events, run.head.run_id, t, inner)
    events += [*acts, Event(t, "suspended", body=f"forked from {run.head.run_id}")]
    head = msgspec.structs.replace(
        run.head, run_id=fresh_run_id(), fingerprints=fingerprints(graph), parent=run.head.run_id
    )
    state = fold(graph, events)
    below = graph.descendants(heads | holders.keys())
    own = _plan(program, state, None if at is None else graph.index[at], below, effects, holders.keys())
    told = {(event.node, event.item) for event in acts}
    begun = {(event.node, event.item) for event in acts if event.body == _HERE}
    within = list(_plan_within(state, acts, begun, effects))
    planned = [*within, *(line for line in own if (line.node, -1 if line.item is None else line.item) not in told)]
    admit_whole(store, head, events)
    return Fork(head, program, store, run.deps, planned)


def _where(run: Handle, program: Program | None) -> tuple[RunStore, Program]:
    run_id = run.head.run_id
    if run.head.mode == "virtual":
        raise RunError(
            f"run {run_id!r} was simulated, and is over: to see what another value would lead to, simulate "
            "again with a world that gives it, ok.World(node=ok.fake(value)), and the same seed",
            run_id=run_id,
        )
    if program is None and run.program is not None:
        program = Program(run.program.graph)  # without the faults that were injected there, as a resume is
    if program is None:
        raise RunError(
            f"run {run_id!r} was read from a store, which holds no code: pass run.fork(..., workflow=wf)", run_id=run_id
        )
    if program.graph.name != run.head.workflow:
        raise DefinitionError(f"run {run_id!r} is of workflow {run.head.workflow!r}, not {program.graph.name!r}")
    if run.store is None:
        raise RunError(f"run {run_id!r} is kept in no store, and cannot be forked", run_id=run_id)
    return run.store, program


def _known(index: Mapping[str, int], name: Any) -> None:
    if name not in index:
        raise DefinitionError(f"fork names {name!r}, which is no node of the workflow; {nearest(name, index)}")


def _open_effects(program: Program, state: RunState) -> set[int]:
    # What has begun without an end would begin again.
    return {node for node, _ in state.open if program.graph.nodes[node].effect and not state.keeps(node)}


def _is_kept(program: Program, event: Event, dropped: set[int]) -> bool:
    if not event.node:
        return event.kind in ("run_started", "context")  # an operator's update, which what is kept may have seen
    return has_node(program.graph, event.node) and node_of(program.graph, event.node) not in dropped


def _set(program: Program, name: str, value: Any, t: int) -> Iterator[Event]:
    seat = program.seats[program.graph.index[name]]
    try:
        body = dump_given(seat, value, name)
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"fork(set={{{name!r}: ...}}) is not what {name!r} delivers: {error}") from error
    yield Event(t, "completed", name, status="set", body=body)
    if seat.node.kind == "route":
        yield Event(t, "picked", name, body=body if isinstance(body, list) else [body])
    yield Event(t, "settled", name, status="completed")


def _apart(graph: Graph, at: str | None, set_: Mapping[str, Any]) -> tuple[list[Deed], str | None, dict[str, Any]]:
    """Tell what lies within a node, which is kept, from the workflow's own nodes."""
    inner = [
        Deed("override", name, value=value, why="set by a fork", said=f"fork(set={{{name!r}: ...}})")
        for name, value in set_.items()
        if is_inner(graph, name)
    ]
    own = {name: value for name, value in set_.items() if not is_inner(graph, name)}
    if not is_inner(graph, at):
        return inner, at, own
    assert at is not None
    return [Deed("retry", at, why=_HERE, said=f"fork({at!r})"), *inner], None, own


def _acts(program: Program, events: Sequence[Event], run_id: str, t: int, inner: Sequence[Deed]) -> list[Event]:
    """Give the events by which what lies within begins again, or is set, and by which all that follows it does."""
    acts: list[Event] = []
    for deed in inner:
        state = fold(program.graph, [*events, *acts])
        act = recorded(program, state, run_id, t, deed)
        done = {(one.node, one.item) for one in acts}
        if (act.node, act.item) in done:
            raise DefinitionError(f"{deed.said}: {deed.node!r} follows from what else is named; leave one of them out")
        acts.append(act)
        for scope, node in _outwards(state, act):
            for follower in sorted(scope.graph.descendants({node})):
                name = scope.prefix + scope.graph.nodes[follower].name
                if _has_begun(scope, follower) and (name, -1) not in done:
                    generation = scope.generation(follower) + 1
                    acts.append(Event(t, "invalidated", name, -1, generation, status="retry", body="follows a fork"))
    return acts


def _outwards(state: RunState, act: Event) -> Iterator[tuple[ScopeState, int]]:
    """Give each scope that an act lies in, the innermost first and the run's own left out, with what in it is meant."""
    prefix = split_path(act.node)[0]
    scope: ScopeState = state.scopes[prefix] if prefix else state
    node = scope.node(act.node)
    while scope is not state:
        yield scope, node
        scope, (node, _) = state.outer_of(scope), scope.owner


def _has_begun(scope: ScopeState, node: int) -> bool:
    standing = scope.standing[node]
    return standing not in (IDLE, READY) and (standing != SKIPPED or node in scope.errors)


def _plan_within(
    state: RunState, acts: Sequence[Event], heads: Set[tuple[str, int]], effects: str
) -> Iterator[Planned]:
    """Say what executes within nodes that are kept; of a loop, whose rounds have to be judged first, that it may."""
    loops: set[str] = set()
    for act in acts:
        prefix, name = split_path(act.node)
        scope: ScopeState = state.scopes[prefix] if prefix else state
        spec = scope.graph.nodes[scope.graph.index[name]]
        if act.status == "retry":
            why = "at" if (act.node, act.item) in heads else "follows"
            yield Planned(act.node, None if act.item < 0 else act.item, why, _effect(spec, effects))
        for inner, _ in _outwards(state, act):
            outer, holder = state.outer_of(inner), inner.owner[0]
            path = outer.prefix + outer.graph.nodes[holder].name
            if outer.graph.nodes[holder].kind == "loop" and path not in loops:
                loops.add(path)
                yield Planned(path, None, "if changed")


def _effect(spec: Node, effects: str) -> str:
    return "" if not spec.effect else "skipped" if effects == "skip" else "new key"


def _plan(
    program: Program, state: RunState, at: int | None, below: Set[int], effects: str, held: Set[int]
) -> Iterator[Planned]:
    graph = program.graph
    for node, spec in enumerate(graph.nodes):
        standing = state.standing[node]
        effect = _effect(spec, effects)
        again = {
            item: why
            for (one, item), why in state.stale.items()
            if one == node and not (why == "inside" and node in held)
        }
        if -1 in again:
            yield Planned(spec.name, None, again[-1], effect)
        elif node == at:
            yield Planned(spec.name, None, "at", effect)
        elif standing in (IDLE, READY):
            yield Planned(spec.name, None, _why(graph, state, node, below), effect)
        elif standing == OPEN and spec.over is None:
            yield Planned(spec.name, None, "open", effect)
        elif standing == OPEN or again:
            for item in _items(state, node):
                yield Planned(spec.name, item, again.get(item, "open"), effect)


def _why(graph: Any, state: RunState, node: int, below: Set[int]) -> str:
    fixed = graph.descendants(state.fixed)
    return "follows" if node in below or node in fixed else "not begun"


def _items(state: RunState, node: int) -> list[int]:
    progress = state.maps[node]
    going = {item for one, item in [*state.open, *state.stale] if one == node}
    to_come = range(progress.next, progress.size) if not progress.over else ()
    unfed = set(range(progress.size)) - progress.fed.keys() if progress.fed is not None and not progress.whole else ()
    return sorted(going | set(progress.again) | set(to_come) | set(unfed))

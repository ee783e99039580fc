"""Random workflows into which somebody steps: they fail or are stopped, are mended, and go on."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import orchkit as ok
from orchkit.engine.program import Program
from orchkit.model.events import Event, decode_log, encode_log
from orchkit.model.fold import fold
from orchkit.model.graph import Graph
from orchkit.model.instances import MapState
from orchkit.model.records import Head
from orchkit.model.shared import SharedState
from orchkit.model.standings import COMPLETED, SKIPPED
from orchkit.model.state import RunState, ScopeState, has_delivered
from orchkit.runs.changes import GoingOn, go_on_from
from orchkit.runs.fingerprint import fingerprints
from orchkit.runs.simulate import prepare
from orchkit.sim.world import Fake, Person
from tests.support.engines import Drive
from tests.support.graphs import Bodies, random_workflow


def everything(state: ScopeState) -> dict[str, Any]:
    """Give all that a state holds, as plain values, and all that its scopes do."""
    slots = [name for one in type(state).__mro__ for name in getattr(one, "__slots__", ())]
    held = {name: getattr(state, name) for name in slots if name not in ("graph", "maps", "open", "shared", "scopes")}
    held["maps"] = {i: {n: getattr(m, n) for n in MapState.__slots__} for i, m in state.maps.items()}
    held["open"] = {key: (one.events, one.value, one.degraded) for key, one in state.open.items()}
    if state.shared is not None:
        held["shared"] = {n: getattr(state.shared, n) for n in SharedState.__slots__ if n not in UNSAID}
    if isinstance(state, RunState):
        held["undoing"] = None if state.undoing is None else state.undoing.events
        held["undoable"] = list(state.undoable.items())
        held["scopes"] = {prefix: everything(scope) for prefix, scope in state.scopes.items()}
        held["children"] = {id: (child.called, child.events) for id, child in state.children.items()}
    return held


UNSAID = ("_graph", "_last", "model")


def number(*parts: Any) -> int:
    """Give a number that follows from its parts, the same in every process."""
    return zlib.crc32(repr(parts).encode())


def mindful(graph: Graph, world: ok.World, salts: dict[str, int], *, error: float | None = None) -> ok.World:
    """Make each model's value depend on its inputs, and on the salt of its node: a new value changes what follows."""
    models: dict[str, Any] = {}
    for node in graph.nodes:
        model = world.model(node.name)
        if isinstance(model, Person):
            models[node.name] = model
        elif isinstance(model, Fake):
            value = _mindful(node.kind, node.targets, model.value, salts.get(node.name, 0))
            models[node.name] = replace(model, value=value, error=model.error if error is None else error)
        for path in _spares(world, node.name):
            models[path] = world.model(path)
    return ok.World(models)


def _spares(world: ok.World, name: str) -> list[str]:
    path = f"{name}/fallback:spare_{name}"
    return [path] if world.model(path) is not None else []


def _mindful(kind: str, targets: tuple[str, ...], value: Any, salt: int) -> Callable[[dict[str, Any], Any], Any]:
    def decide(inputs: dict[str, Any], rng: Any) -> Any:
        seen = number(sorted(inputs.items()), salt)
        if kind == "route":
            return [targets[0], targets[-1], list(targets)][seen % 3]
        if isinstance(value, list):
            return [*value, *(f"x{seen % 5}" for _ in range(seen % 3))][: 4 if salt else None]
        # Some say the same to many inputs, so that a new one does not always change what follows.
        return f"{value}-{seen % (2 if number(value) % 3 == 0 else 99)}"

    return decide


class Story:
    """One run in several legs: each goes on from the log of the one before, with a program of its own.

    Attributes
    ----------
    legs : list
        ``(program, begin)`` of each, where `begin` is the first cut from which it goes on by itself.
    """

    def __init__(self, seed: int, *, grid: bool) -> None:
        self.rng = random.Random(seed * 7 + 1)
        self.seed = seed
        self.wf, self.plain, self.faults, _ = random_workflow(seed, modelled=True, grid=grid)
        self.graph = self.wf.checked()
        self.legs: list[tuple[Program, int, list[Event]]] = []
        self.log: list[Event] = []
        self.error: float | None = None
        self.programs: list[Program] = []

    def program(
        self, *, salted: Sequence[str] = (), error: float | None = None, faults: ok.Faults | None = None
    ) -> Program:
        """Make a program in which these nodes have another value."""
        salts = {name: self.rng.randint(1, 99) for name in salted}
        self.programs.append(prepare(self.graph, mindful(self.graph, self.plain, salts, error=error), faults))
        return self.programs[-1]

    def some(self, most: int) -> list[str]:
        """Give the names of a few nodes."""
        return self.rng.sample([node.name for node in self.graph.nodes], self.rng.randint(1, most))

    def drive(self, program: Program, events: Sequence[Event], *, changed: bool = False) -> Drive:
        """Make an execution that compares its state with the fold of its log after every event."""

        def look(event: Event) -> None:
            self.check_beginning(drive.execution.state, event)
            log = decode_log(encode_log(drive.execution.events))
            running, folded = everything(drive.execution.state), everything(fold(program.graph, log))
            assert running == folded, f"seed {self.seed}: after {event}: {_unlike(running, folded)}"
            recalled = everything(fold(program.graph, [*log, RECALL]))
            again = everything(fold(program.graph, log))
            assert_same_but_for_what_reopens(again, recalled, f"seed {self.seed}: after {event}")

        drive = Drive(program, events=list(events), seed=self.seed, on_event=look, changed=changed)
        return drive

    def check_beginning(self, state: RunState, event: Event) -> None:
        """See that nothing begins, or is skipped, below a node that is about to settle once more."""
        begins = event.kind == "asked" or (event.kind == "started" and event.attempt == 1)
        if (
            "/fallback:" not in event.node
            and "/undo:" not in event.node
            and (begins or (event.kind == "skipped" and not event.status))
        ):
            scope = state.scope_of(event.node)
            assert scope is not None
            assert scope.node(event.node) not in scope.unsure(), f"seed {self.seed}: {event} is too early"

    def begin(self, until: int | None = None) -> None:
        """Run from the start, to the end or up to an instant."""
        program = self.program(faults=self.faults, error=self.error)
        drive = self.drive(program, ()).start("x")
        if until is None:
            drive.run()
        else:
            drive.until(until)
        self.keep(program, 1, drive)

    def keep(self, program: Program, begin: int, drive: Drive) -> None:
        """Take a leg's log over."""
        assert drive.execution.error is None, f"seed {self.seed}: {drive.execution.error!r}"
        self.log = list(drive.log)
        self.legs.append((program, begin, self.log))

    def resume(self, program: Program) -> None:
        """Open an ended run again."""
        drive = self.drive(program, self.log)
        begin = len(self.log) + 1
        drive.execution.record(Event(drive.execution.t(), "resumed"))
        drive.redrive().run()
        self.keep(program, begin, drive)

    def change(self) -> GoingOn:
        """Change the workflow: a node goes, one comes, some get another input, another order or another way out."""
        wf, rng, bodies = ok.Workflow(self.wf.name), self.rng, Bodies()
        wf._nodes = dict(self.wf._nodes)
        models = {node.name: self.plain.model(node.name) for node in self.graph.nodes}
        models |= {path: self.plain.model(path) for name in list(models) for path in _spares(self.plain, name)}
        wanted = {edge.source for edge in self.graph.edges()} | {name for n in self.graph.nodes for name in n.targets}
        free = [node.name for node in self.graph.nodes if node.name not in wanted]
        if len(free) > 1 and rng.random() < 0.7:
            gone = rng.choice(free)
            del wf._nodes[gone], models[gone]
            models.pop(f"{gone}/fallback:spare_{gone}", None)
        order = [node.name for node in self.graph.nodes if node.name in wf._nodes]
        for position, name in enumerate(order):
            node = self.graph.nodes[self.graph.index[name]]
            if position and node.kind == "step" and rng.random() < 0.3:
                inputs = rng.sample(order[:position], min(position, rng.randint(0, 2)))
                value = getattr(models[name], "value", "v")
                wf.step(on_error=rng.choice(["fail", "skip"]))(
                    bodies.step(name, inputs, sync=False, fails=0, nap=0.0, value=value)
                )
                models.pop(f"{name}/fallback:spare_{name}", None)
            elif position and node.kind != "approval" and rng.random() < 0.1:
                wf._nodes[name] = replace(wf._nodes[name], after=(rng.choice(order[:position]),))
        wf.step()(bodies.step("fresh", rng.sample(order, 1), sync=False, fails=0, nap=0.0, value="fresh"))
        models["fresh"] = ok.fake("fresh", latency=1.0)
        head = Head("run", self.wf.name, fingerprints=fingerprints(self.graph))
        self.wf, self.graph, self.plain = wf, wf.checked(), ok.World(models)
        return go_on_from(head, self.log, self.graph, "rerun")

    def resume_changed(self, going: GoingOn, program: Program) -> None:
        """Go on with the changed workflow."""
        drive = self.drive(program, self.log, changed=True)
        begin = len(self.log) + 1
        drive.execution.record(Event(drive.execution.t(), "resumed", body=going.news))
        drive.redrive().run()
        self.keep(program, begin, drive)

    def step_in(self, program: Program, act: Callable[[Drive], None]) -> None:
        """Go on with another program, and do something at once."""
        drive = self.drive(program, self.log).redrive()
        act(drive)
        begin = len(drive.log)
        drive.run()
        self.keep(program, begin, drive)

    def check_inputs(self) -> int:
        """See that whatever ended was made of the inputs as they ended, and not of older ones; give how many were."""
        drive = Drive(self.programs[-1], events=self.log, seed=self.seed)
        execution = drive.execution
        state, checked = execution.state, 0
        for index, standing in enumerate(state.standing):
            kind = self.graph.nodes[index].kind
            if self.graph.routes[index] and index not in state.errors:
                assert state.doomed(index) == (standing == SKIPPED), f"seed {self.seed}: {index} stands wrong"
            if standing != COMPLETED or kind == "approval":
                continue
            values = list(has_delivered(state, index)) if index in state.maps else [(-1, state.values[index])]
            for item, value in values if kind != "map" or index in state.maps else ():
                assert value in self._possible(execution, index, item), f"seed {self.seed}: {index}[{item}]: {value}"
                checked += 1
            self._check_stream(state, index)
        return checked

    def _check_stream(self, state: RunState, index: int) -> None:
        source, progress = self.graph.stream_of[index], state.maps.get(index)
        if progress is not None and progress.fed is not None and source in state.maps:
            now = dict(has_delivered(state, source))
            used = {item: progress.fed[item] for item, _ in has_delivered(state, index)}
            assert used == {item: now.get(item) for item in used}, f"seed {self.seed}: {index} streamed old values"

    def _possible(self, execution: Any, index: int, item: int) -> list[Any]:
        values = []
        name = self.graph.nodes[index].name
        for program in self.programs:
            if name not in program.graph.index:
                continue
            site = program.seats[program.graph.index[name]].site
            if {source for _, source, *_ in site.loads} - {"input", *self.graph.index}:
                continue  # it got something that is no longer there
            inputs = execution.arguments(SimpleNamespace(node=index, item=item), site, None)
            values.append(site.dump(site.model.value(inputs, None), site.path))
        return values

    def check_prefixes(self) -> int:
        """Resume every prefix of every leg; give how many there were."""
        points = 0
        for program, begin, log in self.legs:
            for cut in range(begin, len(log)):
                prefix = decode_log(encode_log(log[:cut]))
                drive = Drive(program, events=prefix, seed=self.seed)
                if drive.execution.state.status in ("new", "running"):
                    drive.redrive().run()
                    assert drive.log == log, f"seed {self.seed}: cut after {cut} ({log[cut - 1]}): {_part(log, drive)}"
                    points += 1
        return points


RECALL = Event(0, "resumed", body={"fingerprints": {}})


def _unlike(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {name: (one[name], other[name]) for name in one if one[name] != other[name]}


def assert_same_but_for_what_reopens(strict: dict[str, Any], recalled: dict[str, Any], where: str) -> None:
    """Compare a log read as it is with the same log read as one of another shape."""
    strict, recalled = _but_for_what_reopens(strict), _but_for_what_reopens(recalled)
    assert strict == recalled, f"{where}: {_unlike(strict, recalled)}"


def _but_for_what_reopens(held: dict[str, Any]) -> dict[str, Any]:
    reopened = ("status", "result", "failing", "cancelling", "stale", "onward", "undoing", "undoable", "undo_wanted")
    kept = {name: value for name, value in held.items() if name not in reopened}
    if "scopes" in kept:
        kept["scopes"] = {prefix: _but_for_what_reopens(scope) for prefix, scope in kept["scopes"].items()}
    return kept


def _part(log: list[Event], drive: Drive) -> str:
    if drive.execution.error is not None:
        return repr(drive.execution.error)
    for i, (wanted, got) in enumerate(zip(log, drive.log, strict=False)):
        if wanted != got:
            return f"event {i + 1} is {got} instead of {wanted}"
    return f"{len(drive.log)} events instead of {len(log)}"

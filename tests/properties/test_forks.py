"""Laws of forks: the same code comes to the same values, what is kept does not execute, and every prefix resumes."""

from __future__ import annotations

from typing import Any

import pytest

import orchkit as ok
from orchkit.clock.dice import base_of
from orchkit.engine.program import Program
from orchkit.model.events import canonical_digest, decode_log, encode_log
from orchkit.model.fold import fold
from orchkit.model.standings import COMPLETED, DEGRADED
from orchkit.runs import live
from orchkit.runs.fork import Fork, fork
from orchkit.runs.simulate import continue_virtual
from orchkit.sim.world import Person
from orchkit.store.memory import MemoryStore
from tests.support.graphs import Bodies, random_workflow

WAIT = 60.0


def finished(seed: int) -> tuple[Program, live.LiveRun, Bodies]:
    """Run a random workflow live, in which nothing depends on luck, for a fork has a luck of its own."""
    wf, world, _, bodies = random_workflow(seed, modelled=False, failing=False, unit=0.001)
    graph = wf.checked()
    people = {name: ok.person(0.001, approve=1.0) for name, one in world.models.items() if isinstance(one, Person)}
    program = Program(graph, ok.World({name: one for name, one in people.items() if name in graph.index}).fit_to(graph))
    run = live.start(program, "x", store=MemoryStore(), durability="memory", deps=None)
    end(run)
    return program, run, bodies


def end(run: Any) -> None:
    try:
        run.outcome().result(WAIT)
    except ok.RunError:
        pass


def check(program: Program, run: live.LiveRun, new: Fork, bodies: Bodies, dropped: set[int]) -> int:
    """Let a fork go; give how many of its prefixes were resumed."""
    graph = program.graph
    before = run.log()
    assert new.status() == "suspended"
    planned = {line.node for line in new.planned}
    bodies.ran.clear()
    end(new)
    names = {graph.nodes[node].name for node in dropped}
    executed = {node.partition("/")[0] for node, _, _ in bodies.ran}
    assert executed <= names & planned
    assert run.log() == before
    old, now = fold(graph, before), fold(graph, new.log())
    assert (now.status, now.standing, now.values) == (old.status, old.standing, old.values)
    return check_prefixes(program, new)


def check_prefixes(program: Program, new: Fork) -> int:
    """Go on from each prefix of what a fork has recorded; give how many there were."""
    wanted, run_id, log = canonical_digest(new.log()), new.head.run_id, new.log()
    begin = next(i for i, event in enumerate(log) if event.kind == "suspended") + 1
    for cut in range(begin, len(log)):
        prefix = decode_log(encode_log(log[:cut]))
        assert canonical_digest(continue_virtual(program, run_id, base_of(0, run_id), prefix).events) == wanted
    return len(log) - begin


@pytest.mark.parametrize("seed", range(12))
def test_a_fork_with_the_same_code_comes_to_the_same_end(seed: int) -> None:
    program, run, bodies = finished(seed)
    graph = program.graph
    for node, spec in enumerate(graph.nodes):
        new = fork(run, spec.name, {}, program, "run")
        check(program, run, new, bodies, {node} | graph.descendants({node}))


@pytest.mark.parametrize("seed", range(12, 24))
def test_what_is_set_to_what_it_was_changes_nothing(seed: int) -> None:
    program, run, bodies = finished(seed)
    graph = program.graph
    state = fold(graph, run.log())
    for node, spec in enumerate(graph.nodes):
        if state.standing[node] == COMPLETED and state.values[node] is not None:
            new = fork(run, None, {spec.name: state.values[node]}, program, "run")
            assert spec.name not in {line.node for line in new.planned}
            check(program, run, new, bodies, graph.descendants({node}))


@pytest.mark.parametrize(
    "seed", [*range(24, 36), *(pytest.param(one, marks=pytest.mark.slow) for one in range(36, 136))]
)
def test_a_fork_within_what_a_node_holds_comes_to_the_same_end(seed: int) -> None:
    held, world, _, bodies = random_workflow(seed, modelled=False, failing=False, unit=0.001)
    wf = ok.Workflow("holds")
    wf.call("first", held, input="input")

    @wf.step
    def tail(first: Any) -> Any:
        return first

    people = {
        f"first/{name}": ok.person(0.001, approve=1.0) for name, one in world.models.items() if isinstance(one, Person)
    }
    graph = wf.checked()
    program = Program(graph, ok.World(people).fit_to(graph))
    run = live.start(program, "x", store=MemoryStore(), durability="memory", deps=None)
    end(run)
    before = run.log()
    state = fold(graph, before)
    scope = state.scopes["first/"]
    for node, spec in enumerate(scope.graph.nodes):
        if scope.standing[node] not in (COMPLETED, DEGRADED):
            continue
        new = fork(run, f"first/{spec.name}", {}, program, "run")
        planned = {line.node for line in new.planned}
        bodies.ran.clear()
        end(new)
        follow = {f"first/{scope.graph.nodes[one].name}" for one in {node} | scope.graph.descendants({node})}
        assert {path.partition("/fallback")[0].partition("/undo")[0] for path, _, _ in bodies.ran} <= follow & planned
        now = fold(graph, new.log())
        assert (now.status, now.standing, now.values) == (state.status, state.standing, state.values)
        assert now.scopes["first/"].values == scope.values
        assert run.log() == before
        check_prefixes(program, new)

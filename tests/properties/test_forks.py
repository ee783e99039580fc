"""Laws of forks: the same code comes to the same values, what is kept does not execute, and every prefix resumes."""

from __future__ import annotations

from typing import Any

import pytest

import orchkit as ok
from orchkit.clock.dice import base_of
from orchkit.engine.program import Program
from orchkit.model.events import canonical_digest, decode_log, encode_log
from orchkit.model.fold import fold
from orchkit.model.standings import COMPLETED
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

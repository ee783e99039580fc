"""What routes can lead to: the same as trying every choice, and quick where there are too many to try."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

import orchkit as ok
from orchkit.model import build, ways
from orchkit.model.graph import Graph
from orchkit.model.order import in_topological_order
from orchkit.model.ways import Ways

Picks = dict[int, tuple[int, ...]]


def tried(graph: Graph) -> list[tuple[frozenset[int], Picks]]:
    """Try every way the routes can go, with what then runs."""
    routes = [i for i, targets in enumerate(graph.targets) if targets]
    choices = [ways._choices(graph.nodes[i], graph.targets[i]) for i in routes]
    found = []
    for way in itertools.product(*choices):
        picks: Picks = dict(zip(routes, way, strict=True))
        live: set[int] = set()
        for j, node in enumerate(graph.nodes):
            there = [dep.source == "input" or graph.index[dep.source] in live for dep in node.deps]
            picked = not graph.routes[j] or any(j in picks[i] for i in picks if i in live)
            required = all(here for here, dep in zip(there, node.deps, strict=True) if dep.required)
            if picked and required and (not there or any(there)):
                live.add(j)
        found.append((frozenset(live), {route: way for route, way in picks.items() if route in live}))
    return found


def random_workflow(rng: random.Random) -> ok.Workflow:
    """Make up to nine nodes, some of which may never run."""
    wf = ok.Workflow("ways", input=int)
    names = [f"n{i}" for i in range(rng.randint(2, 9))]
    for i, name in enumerate(names):
        inputs = rng.sample([*names[:i], "input"], min(i + 1, rng.randint(0, 3)))
        asked = ", ".join(
            sorted((f"{one}=None" if rng.random() < 0.4 else one for one in inputs), key=lambda a: "=" in a)
        )
        scope: dict[str, Any] = {}
        ahead = rng.sample(names[i + 1 :], min(len(names) - i - 1, rng.randint(0, 3)))
        returns = rng.choice([" -> str", ""])
        exec(f"def {name}({asked}){returns if ahead else ''}: ...", scope)
        (wf.route(to=ahead) if ahead and rng.random() < 0.6 else wf.step)(scope[name])
    return wf


def unchecked(wf: ok.Workflow) -> Graph:
    """Compile a graph as `Graph` does, and leave it at that: some of its nodes may never run."""
    nodes, _ = build._read(wf._nodes.values())
    graph = object.__new__(Graph)
    graph.nodes = tuple(in_topological_order(nodes))
    graph.index = {node.name: i for i, node in enumerate(graph.nodes)}
    graph._compile()
    return graph


def test_it_is_what_trying_every_way_tells() -> None:
    nevers = 0
    for seed in range(400):
        wf = random_workflow(random.Random(seed))
        graph = unchecked(wf)
        every = tried(graph)
        sinks = set(graph.sinks)
        live = frozenset().union(*(live for live, _ in every))
        assert graph.ways.ever_live() == live
        assert graph.ways.are_alternatives() == all(len(sinks & live) <= 1 for live, _ in every)
        for one, other in itertools.combinations(range(len(graph.nodes)), 2):
            assert Ways(graph).can_all(live=(one, other)) == any({one, other} <= live for live, _ in every)
        for node, pickers in enumerate(graph.pickers):
            for one, other in itertools.combinations(pickers, 2):
                both = any(node in picks.get(one, ()) and node in picks.get(other, ()) for _, picks in every)
                assert Ways(graph).can_all(picks=((one, node), (other, node))) == both
        never = {node.name for i, node in enumerate(graph.nodes) if i not in live}
        nevers += len(never)
        if never:
            with pytest.raises(ok.GraphError) as caught:
                wf.checked()
            assert {problem.split("'")[1] for problem in caught.value.problems} == never
    assert nevers > 20


def many_routes(count: int, *, joined: bool) -> ok.Workflow:
    wf = ok.Workflow("many", input=int)
    for i in range(count):
        scope: dict[str, Any] = {}
        exec(f"def r{i}(input) -> str: ...\ndef a{i}(input): ...\ndef b{i}(input): ...", scope)
        wf.route(to=[f"a{i}", f"b{i}"])(scope[f"r{i}"])
        wf.step(scope[f"a{i}"])
        wf.step(scope[f"b{i}"])
    if joined:
        scope = {}
        exec(f"def both(a{count - 1}, b{count - 1}): ...", scope)
        wf.step(scope["both"])
    return wf


def test_routes_that_have_nothing_to_do_with_each_other_do_not_multiply() -> None:
    with pytest.raises(ok.GraphError, match="'both' can never run"):
        many_routes(300, joined=True).checked()


def test_too_many_ways_leave_it_open() -> None:
    wf = many_routes(40, joined=False)
    scope: dict[str, Any] = {}
    exec(f"def last({', '.join(f'a{i}=None' for i in range(40))}): ...", scope)
    wf.step(scope["last"])
    graph = wf.checked()
    assert graph.ways.ever_live() == frozenset(range(len(graph.nodes)))
    assert not graph.ways.are_alternatives()
    assert not Ways(graph).can_all(live=(graph.index["last"],))

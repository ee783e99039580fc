"""The order of a graph: as the plainest way would have it, in any graph; and every knot of nodes is found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from orchkit.model.codec import ANY
from orchkit.model.order import cycles, in_topological_order, mended
from orchkit.model.steps import Node, Param


def sources_of(nodes: Sequence[Node]) -> dict[str, set[str]]:
    names = {node.name for node in nodes}
    found: dict[str, set[str]] = {name: set() for name in names}
    for node in nodes:
        found[node.name] |= {s for s in (*(dep.source for dep in node.deps), *node.after) if s in names - {node.name}}
        for target in names & set(node.targets):
            found[target].add(node.name)
    return found


def slowly(nodes: Sequence[Node]) -> list[Node]:
    """Take again and again the first node, as they were defined, whose sources have all been taken."""
    sources, order, rest = sources_of(nodes), [], list(nodes)
    while free := next((n for n in rest if sources[n.name] <= {done.name for done in order}), None):
        order.append(free)
        rest.remove(free)
    return order


def edge(name: str) -> Param:
    return Param(name, name, ANY, True)


@st.composite
def graphs(draw: st.DrawFn, back: bool = True) -> list[Node]:
    names = [f"n{i}" for i in range(draw(st.integers(1, 9)))]
    nodes = []
    for i, name in enumerate(names):
        some = st.lists(st.sampled_from([*(names if back else names[:i]), "input", "nowhere"]), max_size=2)
        ahead = st.lists(st.sampled_from([*(names if back else names[i + 1 :]), "nowhere"]), max_size=2)
        nodes.append(
            Node(name, "step", deps=tuple(map(edge, draw(some))), after=tuple(draw(some)), targets=tuple(draw(ahead)))
        )
    return draw(st.permutations(nodes))


@given(graphs() | graphs(back=False))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_the_order_is_that_of_the_plainest_way(nodes: list[Node]) -> None:
    assert in_topological_order(nodes) == slowly(nodes)


@given(graphs())
@settings(max_examples=500, deadline=None, derandomize=True)
def test_each_cycle_is_one_and_without_them_there_is_an_order(nodes: list[Node]) -> None:
    sources = sources_of(nodes)
    found = cycles(nodes)
    for cycle in found:
        assert cycle[0] == cycle[-1]
        assert len(cycle) > len(set(cycle)) == len(cycle) - 1
        assert all(one in sources[other] for one, other in pairwise(cycle))
    assert len({name for cycle in found for name in cycle}) == sum(len(cycle) - 1 for cycle in found)
    assert bool(found) == (len(in_topological_order(nodes)) < len(nodes))
    sound = mended(nodes)
    assert len(in_topological_order(sound)) == len(nodes)
    assert all(dep.source != "nowhere" for node in sound for dep in node.deps)
    if not found:
        assert sources_of(sound) == sources


def test_a_long_chain_is_no_deep_recursion() -> None:
    names = [f"n{i}" for i in range(5000)]
    nodes = [Node(name, "step", after=(names[i - 1],)) for i, name in enumerate(names)]
    (cycle,) = cycles(nodes)
    assert len(cycle) == 5001
    assert [node.name for node in in_topological_order(mended(nodes))] == names

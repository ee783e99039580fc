"""What a graph costs by its size: to check and plan it, to fold and plan each event, and to map; medians of passes.

Run it alone: ``python tests/bench/bench_graph.py``. The goals are 1,000 nodes checked and planned in under 50 ms, and a
map of 10,000 items in memory within a second. These figures are never asserted in a test, because the machines that run
tests are noisy.
"""

from __future__ import annotations

import linecache
import random
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

import orchkit as ok
from orchkit.engine.plan import plan
from orchkit.hall.definition import Definition
from orchkit.model.build import build_graph
from orchkit.model.doubts import doubts
from orchkit.model.events import Event
from orchkit.model.fold import apply, fold
from orchkit.model.graph import Graph
from orchkit.model.state import RunState

PASSES = 15
SIZES = (10, 100, 1000)
MAPPED = (100, 1000, 10_000)


class Ticket(BaseModel):
    """A value that is not plain."""

    id: str
    text: str = ""


class Case(BaseModel):
    """A shared context; each writer of it is looked into."""

    notes: list[str] = []
    status: str = "new"


Shape = Callable[[int], ok.Workflow]


def step(name: str, asked: list[str], returns: str, body: str = "...") -> Any:
    """Make a function as a user would write it, with a code object and a source of its own."""
    scope: dict[str, Any] = {"Ticket": Ticket}
    text = f"async def {name}({', '.join(asked)}) -> {returns}:\n    {body}\n"
    file = f"<bench {name} {len(linecache.cache)}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    exec(compile(text, file, "exec"), scope)
    return scope[name]


def chain(size: int) -> ok.Workflow:
    """Make each step follow the last."""
    wf = ok.Workflow("chain", input=int)
    for i in range(size):
        wf.step(step(f"s{i}", [f"s{i - 1}: str" if i else "input: int"], "str"))
    return wf


def wide(size: int) -> ok.Workflow:
    """Make all steps but the last independent, and the last ask for all of them."""
    wf = ok.Workflow("wide", input=int)
    for i in range(size - 1):
        wf.step(step(f"s{i}", ["input: int"], "int"))
    wf.step(step("end", [f"s{i}: int" for i in range(size - 1)], "int"))
    return wf


def tangled(size: int) -> ok.Workflow:
    """Make each step ask for up to three earlier ones, by models, lists and unions."""
    rng, names = random.Random(1), list[str]()
    wf = ok.Workflow("tangled", input=Ticket)
    for i in range(size):
        sources = rng.sample(names, min(len(names), rng.randint(1, 3)))
        asked = [f"{source}: {rng.choice(['Ticket', 'Ticket | None', 'dict[str, str]'])}" for source in sources]
        wf.step(step(f"s{i}", asked or ["input: Ticket"], "Ticket"))
        names.append(f"s{i}")
    return wf


def routed(size: int) -> ok.Workflow:
    """Make every fifth node a route to two of the next ones, which may be named by two routes."""
    rng = random.Random(1)
    wf = ok.Workflow("routed", input=int)
    for i in range(size):
        asked = ["input: int", *([f"s{rng.randrange(i)}=None"] if i else [])]
        if i % 5 == 0 and i + 5 < size:
            wf.route(to=[f"s{n}" for n in rng.sample(range(i + 1, i + 5), 2)])(step(f"s{i}", asked, "str"))
        else:
            wf.step(step(f"s{i}", asked, "int"))
    return wf


def writing(size: int) -> ok.Workflow:
    """Make a chain whose steps all write to the shared context, as their source shows."""
    wf = ok.Workflow("writing", input=int)
    wf.context(Case, merge={"notes": ok.append})
    for i in range(size):
        asked = [f"s{i - 1}: str" if i else "input: int", "ctx"]
        wf.step(step(f"s{i}", asked, "str", f"ctx.update(notes=['s{i}'], status='s{i}')"))
    return wf


SHAPES: tuple[Shape, ...] = (chain, wide, tangled, routed, writing)


def mapping() -> ok.Workflow:
    """Map over the input, by a body that does nothing."""
    wf = ok.Workflow("mapping", input=list)

    @wf.map(over="input")
    async def each(item: int) -> int:
        return item

    return wf


def built(wf: Definition) -> Graph:
    """Check a definition as its first drawing or run does, and give its graph."""
    graph = build_graph(wf.name, wf._nodes.values(), wf._input, wf._output, wf._shared, wf._redact)
    doubts(graph)
    return graph


def check_and_plan(wf: Definition) -> float:
    """Give the milliseconds from a definition to what may run first."""
    begin = time.perf_counter()
    state = fold(built(wf), [Event(0, "run_started", body={"input": 1})])
    assert plan(state) is not None
    return (time.perf_counter() - begin) * 1e3


def fold_and_plan(graph: Graph, log: list[Event]) -> float:
    """Give the microseconds for each event of a log: fold it, and ask what may happen next."""
    state = RunState(graph)
    begin = time.perf_counter()
    for event in log:
        apply(state, event)
        plan(state)
    return (time.perf_counter() - begin) / len(log) * 1e6


def log_of(size: int) -> tuple[Graph, list[Event]]:
    """Simulate a chain whose steps give what they say, and give its graph and its log."""
    wf = chain(size)
    run = wf.simulate(1, world=ok.World({f"s{i}": ok.fake("x", latency=1.0) for i in range(size)}))
    return wf.checked(), list(run.log)


def map_items(wf: ok.Workflow, count: int, world: ok.World | None) -> float:
    """Map over so many items, live in memory or simulated; give seconds for all."""
    items = list(range(count))
    begun = time.perf_counter()
    if world is None:
        wf.start(items, durability="memory").result()
    else:
        wf.simulate(items, world=world)
    return time.perf_counter() - begun


def row(name: str, taken: list[float], unit: str) -> None:
    """Print the median of some passes, the smallest and the largest; the first alone, for it fills the caches."""
    first, rest = taken[0], taken[1:]
    middle = statistics.median(rest)
    print(f"{name:48s} {middle:8.2f} {unit} ({min(rest):.2f}-{max(rest):.2f}; first {first:.2f})")


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore", ok.GraphWarning)
    for shape in SHAPES:
        for size in SIZES:
            # Made anew each time, as cells do that run again: what is kept is kept by type or by code.
            made = [shape(size) for _ in range(PASSES)]
            row(f"{shape.__name__}: check and plan {size} nodes", [check_and_plan(wf) for wf in made], "ms")
    for size in SIZES:
        graph, log = log_of(size)
        row(f"fold and plan an event, {size} nodes", [fold_and_plan(graph, log) for _ in range(PASSES)], "us")
    wf, world = mapping(), ok.World(each=ok.fake(1, latency=1.0))
    for count in MAPPED:
        for how, where in (("live", None), ("simulated", world)):
            row(f"map of {count} items, {how}", [map_items(wf, count, where) * 1e3 for _ in range(5)], "ms")


if __name__ == "__main__":
    main()

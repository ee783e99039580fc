"""Random workflows for property tests: the shape, the policies, the faults and the world all follow from a seed."""

from __future__ import annotations

import inspect
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orchkit as ok

Attempt = tuple[str, int, int]


class Bodies:
    """Counts which attempts' bodies have run."""

    def __init__(self) -> None:
        self.ran: Counter[Attempt] = Counter()

    def step(
        self, name: str, params: list[str], *, sync: bool, fails: int, nap: float, value: Any
    ) -> Callable[..., Any]:
        """Make a step's function that fails its first attempts, naps, and returns a value."""

        def act(ctx: ok.Context) -> Any:
            item = -1 if ctx.item is None else ctx.item
            self.ran[ctx.node, item, ctx.attempt] += 1
            if ctx.attempt <= fails:
                raise ConnectionError(f"{ctx.node} fails attempt {ctx.attempt}")
            return value

        async def coroutine(**inputs: Any) -> Any:
            if nap:
                await inputs["ctx"].sleep(nap)
            return act(inputs["ctx"])

        def plain(**inputs: Any) -> Any:
            return act(inputs["ctx"])

        fn: Any = plain if sync else coroutine
        fn.__name__ = name
        fn.__annotations__ = {}
        names = [*params, "ctx"]
        fn.__signature__ = inspect.Signature([inspect.Parameter(p, inspect.Parameter.KEYWORD_ONLY) for p in names])
        return fn  # type: ignore[no-any-return]


def known(item: Any) -> str:
    """Give an item's key; some lists hold the same twice, whose maps fail by it."""
    return str(item)


def wf_inputs(wf: ok.Workflow, name: str) -> list[str]:
    """Give the names that a step asks for."""
    return list(inspect.signature(wf._nodes[name].fn).parameters)


def random_workflow(
    seed: int, *, modelled: bool, grid: bool = False, failing: bool = True, unit: float = 1.0
) -> tuple[ok.Workflow, ok.World, ok.Faults, Bodies]:
    """Make a workflow of 4 to 12 nodes.

    Parameters
    ----------
    seed : int
    modelled : bool
        Whether the world models every node, or the bodies run.
    grid : bool
        Whether all durations are whole units, so that ties are common.
    failing : bool
        Whether a step's failure may end the run; without it a failure is skipped.
    unit : float, seconds
        Scale of all durations.
    """
    rng = random.Random(seed)
    bodies = Bodies()
    wf = ok.Workflow(f"random-{seed}")
    models: dict[str, Any] = {}
    faults: list[Any] = []
    names: list[str] = []
    lists: list[str] = []
    maps: list[str] = []
    routed: list[str] = []

    def duration() -> Any:
        if grid:
            return unit * rng.randint(0, 4)
        return ok.dist.lognormal(p50=unit * rng.uniform(0.5, 4), sigma=0.8)

    def options(name: str) -> dict[str, Any]:
        chosen: dict[str, Any] = {"on_error": "fail" if failing and rng.random() < 0.3 else "skip"}
        if rng.random() < 0.5:
            waits = ok.backoff(base=unit, factor=2, cap=8 * unit, jitter=None if grid else "full")
            chosen["retry"] = ok.Retry(rng.randint(2, 4), wait=waits)
        if rng.random() < 0.3:
            # Bodies on the wall must not race it: long beside what a body takes, and only hangs reach it.
            chosen["timeout"] = unit * (3 if grid else 5) if modelled else 0.2
            if rng.random() < 0.5:
                faults.append(ok.faults.hang(name, **rng.choice([{"first": 1}, {"nth": 2}, {"rate": 0.3}])))
        if rng.random() < 0.25:
            chosen["fallback"] = rng.choice(
                ["spare", bodies.step(f"spare_{name}", [], sync=False, fails=0, nap=0, value="s")]
            )
            if modelled and callable(chosen["fallback"]):
                models[f"{name}/fallback:spare_{name}"] = ok.fake("s", latency=duration(), error=0.2)
        if rng.random() < 0.25:
            faults.append(ok.faults.fail(name, **rng.choice([{"first": 1}, {"nth": 1}, {"rate": 0.4}])))
        if modelled and rng.random() < 0.2:
            faults.append(ok.faults.slow(name, factor=2.0, rate=0.5))
        return chosen

    def add(kind: str, name: str, inputs: list[str], value: Any, **extra: Any) -> None:
        fails = 0 if rng.random() < 0.6 else rng.randint(1, 2)
        chosen = options(name) | extra
        sync = rng.random() < 0.3 and "timeout" not in chosen
        fn = bodies.step(name, inputs, sync=sync, fails=fails, nap=0.0, value=value)
        if kind == "route":
            chosen.pop("fallback", None)
            models.pop(f"{name}/fallback:spare_{name}", None)
        if modelled:
            models[name] = ok.fake(value, latency=duration(), error=rng.choice([0.0, 0.3]))
        {"step": wf.step, "map": wf.map, "route": wf.route}[kind](**chosen)(fn)

    def is_sure(over: str) -> bool:
        # What goes over no list fails; where it cannot be skipped, that stops its siblings.
        return failing or over in maps or wf._nodes[over].policy("fallback") is None

    def of_map(over: str) -> dict[str, Any]:
        chosen: dict[str, Any] = {"over": over, "limit": rng.choice([None, 1, 2])}
        quorum = rng.choice([None, None, None, 1, 2, 0.5])
        chosen["quorum"] = quorum if modelled else None  # which items are first is a race of bodies
        if over in maps and rng.random() < 0.6:
            chosen["stream"] = True
            chosen["quorum"] = None if chosen["quorum"] == 0.5 else chosen["quorum"]
        if rng.random() < 0.2 and (modelled or over not in maps):
            chosen["key"] = known
        if quorum is None and rng.random() < 0.25 and is_sure(over):
            chosen["on_error"] = "collect"
        return chosen

    for i in range(rng.randint(4, 12)):
        name = f"n{i}"
        inputs = rng.sample(names, min(len(names), rng.randint(0, 2)))
        roll = rng.random()
        if roll < 0.25 and lists:
            # The newest first, so that maps over maps are common.
            over = lists[-1] if rng.random() < 0.5 else rng.choice(lists)
            add("map", name, ["item", *rng.sample(inputs, min(len(inputs), 1))], f"v{i}", **of_map(over))
            if over in maps and wf._nodes[name].stream and over in wf_inputs(wf, name):
                wf._nodes[name] = replace(wf._nodes[name], stream=False)
            lists.append(name)
            maps.append(name)
        elif roll < 0.35 and names:
            timeout = rng.choice([None, unit * 4])
            sure = [one for one in lists if is_sure(one)]
            asked: dict[str, Any] = {"over": rng.choice(sure)} if sure and rng.random() < 0.4 else {}
            asked = asked or {"show": rng.choice(names)}
            wf.approval(name, answer=bool, timeout=timeout if modelled else None, **asked)
            models[name] = ok.person(duration(), approve=0.5, absent=0.2 if timeout and modelled else 0.0)
        elif roll < 0.5:
            targets = [f"{name}a", f"{name}b"]
            add("route", name, inputs, rng.choice([*targets, targets]), to=targets)
            for target in targets:
                add("step", target, rng.sample(inputs, min(len(inputs), 1)), f"v{target}")
                routed.append(target)
            names.extend(targets)
        else:
            value = [f"e{k}" for k in range(rng.randint(0, 4))] if rng.random() < 0.5 else f"v{i}"
            add("step", name, inputs, value)
            if isinstance(value, list):
                lists.append(name)
        if name not in names and not wf._nodes[name].targets:
            names.append(name)
    return wf, ok.World(models), ok.Faults(*faults), bodies

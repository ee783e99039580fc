"""Wild workflows for property tests: workflows within workflows, every policy, shared gates, and bodies that call.

All of it follows from a random generator. Durations, values and luck do not depend on the order of definition, so the
same workflow may be defined in another.
"""

from __future__ import annotations

import inspect
import json
import random
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pydantic import BaseModel

import orchkit as ok
from orchkit.model.codec import ANY
from orchkit.model.nesting import result_type
from orchkit.model.policies import in_order
from orchkit.model.steps import Step

Define = Callable[[ok.Workflow], None]
Attempt = tuple[str, int, int, int]


class Case(BaseModel):
    id: int
    notes: list[str] = []
    due: date | None = None


VALUES: list[tuple[Any, Any]] = [
    (str, "text"),
    (str, "text"),
    (int, -3),
    (float, 0.1),
    (bytes, b"\x00\xff"),
    (tuple[int, str], (1, "one")),
    (dict[str, float], {"b": 1.5, "a": -0.0}),
    (Case, Case(id=7, notes=["a"], due=date(2026, 2, 28))),
    (Case | None, None),
    (ANY, {"free": [1, None, "x"]}),
]


@dataclass
class Traits:
    """What a wild workflow may hold.

    Attributes
    ----------
    modelled : float, 0..1
        How many of the steps the world models; the bodies of the others take no time.
    grid : bool
        Whether all durations are whole seconds, so that ties are common.
    shared : bool
        Whether gates are shared by nodes that do not know each other, and a failure ends the run.
    dynamic : bool
        Whether bodies call and ask as they go.
    """

    modelled: float = 1.0
    grid: bool = False
    shared: bool = True
    dynamic: bool = True


@dataclass
class Wild:
    """A wild workflow with what it runs in."""

    wf: ok.Workflow
    world: ok.World
    faults: ok.Faults
    bodies: Bodies


class Bodies:
    """Counts which attempts' bodies have begun, and which are at work."""

    def __init__(self) -> None:
        self.ran: Counter[Attempt] = Counter()
        self.at_work: Counter[Attempt] = Counter()

    def of(self, name: str, params: list[str], returns: Any, act: Callable[[dict[str, Any]], Any]) -> Any:
        """Make an async step's function that counts itself."""

        async def body(**inputs: Any) -> Any:
            ctx: ok.Context = inputs["ctx"]
            who = (ctx.node, -1 if ctx.item is None else ctx.item, ctx.leg, ctx.attempt)
            self.ran[who] += 1
            self.at_work[who] += 1
            try:
                return await act(inputs)
            finally:
                self.at_work[who] -= 1

        body.__name__ = name
        asked = [inspect.Parameter(p, inspect.Parameter.KEYWORD_ONLY) for p in [*params, "ctx"]]
        body.__annotations__ = {} if returns is ANY else {"return": returns}
        body.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # inspect reads it
            asked, return_annotation=inspect.Signature.empty if returns is ANY else returns
        )
        return body


def wild_workflow(rng: random.Random, traits: Traits | None = None, *, order: random.Random | None = None) -> Wild:
    """Make a wild workflow.

    Parameters
    ----------
    rng : random.Random
    traits : Traits, optional
    order : random.Random, optional
        Shuffles in which order nodes are defined; drawn from apart, so that the rest is the same.
    """
    maker = _Maker(rng, traits or Traits(), order)
    wf = maker.workflow("wild", "", depth=0)
    return Wild(wf, ok.World(maker.models), ok.Faults(*maker.faults), maker.bodies)


def seeded(seed: int, traits: Traits | None = None, *, order: int | None = None) -> Wild:
    """Make the wild workflow of a seed."""
    return wild_workflow(random.Random(seed), traits, order=None if order is None else random.Random(order))


@dataclass
class _Maker:
    rng: random.Random
    traits: Traits
    order: random.Random | None
    models: dict[str, Any] = field(default_factory=dict)
    faults: list[Any] = field(default_factory=list)
    bodies: Bodies = field(default_factory=Bodies)
    agents: int = 0

    def duration(self) -> Any:
        if self.traits.grid:
            return float(self.rng.randint(0, 4))
        return ok.dist.lognormal(p50=self.rng.uniform(0.5, 4), sigma=0.8)

    def chance(self, rate: float) -> bool:
        return self.rng.random() < rate

    def workflow(self, name: str, prefix: str, depth: int, *, called: bool = False) -> ok.Workflow:
        wf = ok.Workflow(name)
        one = _Scope(self, prefix, depth, called)
        for i in range(self.rng.randint(2, 6) if depth == 0 else self.rng.randint(1, 2)):
            one.add(f"n{i}")
        if self.order is not None:
            self.order.shuffle(one.defines)
        for define in one.defines:
            define(wf)
        return wf


class _Scope:
    """One graph on its way: nodes are drawn one by one, and defined when all are known."""

    def __init__(self, maker: _Maker, prefix: str, depth: int, called: bool) -> None:
        self.maker = maker
        self.called = called
        self.rng = maker.rng
        self.prefix = prefix
        self.depth = depth
        self.names: list[str] = []
        self.lists: list[str] = []
        self.defines: list[Define] = []

    def add(self, name: str) -> None:
        roll = self.rng.random()
        if roll < 0.12 and self.lists:
            self.map(name)
        elif roll < 0.2:
            self.approval(name)
        elif roll < 0.3:
            self.route(name)
        elif roll < 0.62 and self.depth < 2:
            self.holder(name)
        elif roll < 0.75 and self.maker.traits.dynamic:
            self.agent(name)
        else:
            self.step(name)
        self.names.append(name)

    def inputs(self, most: int = 2) -> list[str]:
        known = [*self.names, "input"]
        return self.rng.sample(known, min(len(known), self.rng.randint(0, most)))

    def step(self, name: str, inputs: list[str] | None = None) -> None:
        several = [f"e{k}" for k in range(self.rng.randint(0, 3))] if self.maker.chance(0.4) else None
        returns, value = self.rng.choice(VALUES) if several is None else (list[str], several)
        if several is not None:
            self.lists.append(name)
        inputs = self.inputs() if inputs is None else inputs
        fn = self.work(name, inputs, returns, value)
        options = self.options(name, leaf=True, value=value)
        self.defines.append(lambda wf: wf.step(**options)(fn))

    def map(self, name: str) -> None:
        returns, value = self.rng.choice(VALUES)
        over, limit = self.rng.choice(self.lists), self.rng.choice([None, 1, 2])
        fn = self.work(name, ["item"], returns, value)
        options = self.options(name, leaf=True, value=value)
        self.defines.append(lambda wf: wf.map(over=over, limit=limit, **options)(fn))

    def route(self, name: str) -> None:
        targets = [f"{name}a", f"{name}b"]
        inputs = self.inputs()
        fn = self.work(name, inputs, ANY, self.rng.choice([*targets, targets]), names=targets)
        options = self.options(name, leaf=True, spared=False)
        self.defines.append(lambda wf: wf.route(to=targets, **options)(fn))
        for target in targets:
            self.step(target, inputs[:1])
        self.names += targets

    def approval(self, name: str) -> None:
        show = self.rng.choice([*self.names, "input"])
        timeout = self.rng.choice([None, 4.0])
        self.models[self.prefix + name] = self.person(timeout)
        self.defines.append(lambda wf: wf.approval(name, answer=bool, show=show, timeout=timeout))

    def person(self, timeout: float | None) -> Any:
        return ok.person(self.maker.duration(), approve=0.5, absent=0.3 if timeout else 0.0)

    @property
    def models(self) -> dict[str, Any]:
        return self.maker.models

    def holder(self, name: str) -> None:
        """Add a node that holds a workflow."""
        kind = self.rng.choice(["call", "loop", "map"] if self.lists else ["call", "loop"])
        body = self.maker.workflow(f"in_{name}", f"{self.prefix}{name}/", self.depth + 1, called=self.called)
        source = self.rng.choice([*self.names, "input"])
        returns = result_type(body.checked())
        fitting = [value for annotation, value in VALUES if annotation is returns]
        options = self.options(name, leaf=False, spared=bool(fitting), value=fitting[0] if fitting else None)
        if kind == "call":
            self.defines.append(lambda wf: wf.call(name, body, input=source, **options))
        elif kind == "map":
            over, limit = self.rng.choice(self.lists), self.rng.choice([None, 1, 2])
            self.defines.append(lambda wf: wf.map(name, over=over, body=body, limit=limit, **options))
        else:
            rounds, most = self.rng.randint(1, 3), self.rng.randint(1, 3)
            until = self.rng.choice([_after_round(rounds), _by_value])
            then = self.rng.choice(["last", "fail"])
            self.defines.append(
                lambda wf: wf.loop(name, body=body, until=until, input=source, max=most, then=then, **options)
            )

    def agent(self, name: str) -> None:
        """Add a step whose body calls and asks as it goes."""
        rng, maker = self.rng, self.maker
        maker.agents += 1
        helper = f"h{maker.agents}"
        stack = [
            ok.Retry(2, wait=ok.backoff(1.0, jitter=None)), ok.Timeout(3.0 + 0.01 * maker.agents), ok.Hedge(2.0),
            ok.Deadline(6.0), ok.Bulkhead(1, key=helper), ok.RateLimit(1.0, key=helper), ok.Fallback("spare"),
        ]  # fmt: skip
        policies = in_order([policy for policy in stack if maker.chance(0.25)])
        called = Step(maker.bodies.of(helper, ["word"], str, _says(helper)), (("policies", policies),))
        self.models[f"{self.prefix}{name}/{helper}"] = maybe_fails(maker, f"{helper} said")
        inner = None
        if self.depth < 2 and maker.chance(0.3):
            inner = maker.workflow(f"in_{helper}", f"{self.prefix}{name}/in_{helper}/", 2, called=True)
        # A bound that is no sum of others: at equal instants the order of definition decides, as it may.
        asks, timeout = maker.chance(0.35), rng.choice([None, 4.0 + 1e-3 * maker.agents])
        if asks:
            self.models[f"{self.prefix}{name}/ask"] = self.person(timeout)
        calls, forgiving, fails = rng.randint(1, 3), maker.chance(0.6), rng.choice([0, 0, 0, 1])

        async def act(inputs: dict[str, Any]) -> Any:
            ctx: ok.Context = inputs["ctx"]
            found: list[Any] = []
            for k in range(calls):
                try:
                    last = k == calls - 1
                    found.append(
                        await ctx.call(inner, found)
                        if inner is not None and last
                        else await ctx.call(called, f"w{k // 2}")
                    )
                except ok.CallFailed:
                    if not forgiving:
                        raise
                    found.append("failed")
            if asks:
                found.append(await ctx.ask(answer=bool, show=len(found), timeout=timeout))
            if ctx.attempt <= fails:
                raise ConnectionError(f"{ctx.node} fails attempt {ctx.attempt}")
            return found

        fn = maker.bodies.of(name, self.inputs(1), ANY, act)
        options = self.options(name, leaf=False, timed=False)
        self.defines.append(lambda wf: wf.step(**options)(fn))

    def work(self, name: str, params: list[str], returns: Any, value: Any, names: list[str] | None = None) -> Any:
        """Make a step's function, and its model if the world is to have one."""
        maker, path = self.maker, self.prefix + name
        fails = self.rng.choice([0, 0, 0, 1, 2])
        if maker.chance(maker.traits.modelled):
            latency = maker.duration()
            cost = self.rng.choice([0.0, 0.4])
            self.models[path] = ok.fake(
                _mindful(path, value, names), latency=latency, error=self.rng.choice([0.0, 0.3]), cost=cost
            )

        async def act(inputs: dict[str, Any]) -> Any:
            ctx: ok.Context = inputs["ctx"]
            if ctx.attempt <= fails:
                raise ConnectionError(f"{ctx.node} fails attempt {ctx.attempt}")
            return _mindful(path, value, names)({k: v for k, v in inputs.items() if k != "ctx"}, None)

        return maker.bodies.of(name, params, returns, act)

    def options(
        self, name: str, *, leaf: bool, spared: bool = True, timed: bool = True, value: Any = None
    ) -> dict[str, Any]:
        """Draw the policies of a node, and what goes wrong with it."""
        rng, maker, path = self.rng, self.maker, self.prefix + name
        traits = maker.traits
        chosen: dict[str, Any] = {"on_error": "fail" if rng.random() < (0.3 if traits.shared else 0.1) else "skip"}
        bounded = False
        if maker.chance(0.4):
            waits = ok.backoff(1.0, factor=2, cap=8.0, jitter=None if traits.grid else "full")
            chosen["retry"] = ok.Retry(rng.randint(2, 3), wait=waits)
        if timed and maker.chance(0.25):
            chosen["timeout"], bounded = rng.choice([2.0, 5.0, 9.0]), True
        if maker.chance(0.2):
            chosen["deadline"], bounded = rng.choice([3.0, 6.0, 12.0]), True
        if maker.chance(0.2):
            chosen["hedge"] = rng.choice([1.0, 2.0, 4.0])
        chosen |= self.gates(path, leaf)
        if spared and maker.chance(0.2):
            chosen["fallback"] = self.spare(name, value)
        if spared and maker.chance(0.12):
            chosen["escalate"] = self.rescue(name, value)
        if maker.chance(0.2):
            faults: list[Any] = [ok.faults.fail]
            faults += [ok.faults.hang] if bounded else []
            if leaf:
                faults.append(lambda target, **when: ok.faults.slow(target, factor=2.0, **when))
            strike = rng.choice(faults)
            maker.faults.append(strike(path, **rng.choice([{"first": 1}, {"nth": 2}, {"rate": 0.4}])))
        return chosen

    def gates(self, path: str, leaf: bool) -> dict[str, Any]:
        """Draw what attempts go through.

        Only leaves share theirs, for a holder would wait for itself; and not what bodies call, for after a restart
        nobody knows of it before they call again.
        """
        rng, maker = self.rng, self.maker
        chosen: dict[str, Any] = {}

        def key() -> str:
            return rng.choice(["llm:a", "llm:b"]) if leaf and maker.traits.shared and not self.called else path

        if maker.chance(0.12):
            chosen["breaker"] = ok.Breaker(rng.randint(1, 2), reset=rng.choice([2.0, 5.0]), key=key())
        if maker.chance(0.15):
            chosen["bulkhead"] = ok.Bulkhead(rng.randint(1, 2), queue=rng.choice([None, None, 1]), key=key())
        if maker.chance(0.12):
            chosen["rate_limit"] = ok.RateLimit(rng.choice([0.5, 1.0, 3.0]), burst=rng.randint(1, 2), key=key())
        if maker.chance(0.12):
            limits = rng.choice([{"calls": 2}, {"cost": 0.8}, {"calls": 4, "cost": 1.2}])
            chosen["budget"] = ok.Budget(**limits, then=rng.choice(["stop", "degrade"]), key=key())
        return chosen

    def spare(self, name: str, value: Any) -> Any:
        if self.maker.chance(0.5):
            return value
        fn = self.maker.bodies.of(f"spare_{name}", [], _annotation(value), _gives(value))
        if self.maker.chance(self.maker.traits.modelled):
            self.models[f"{self.prefix}{name}/fallback:spare_{name}"] = maybe_fails(self.maker, value)
        return fn

    def rescue(self, name: str, value: Any) -> str:
        rescue = f"rescue_{name}"
        timeout = self.rng.choice([None, 5.0])
        absent = 0.3 if timeout else 0.0
        self.models[self.prefix + rescue] = ok.person(
            self.maker.duration(), answers=lambda inputs, rng: value, absent=absent
        )
        self.defines.append(lambda wf: wf.approval(rescue, answer=_annotation(value), show="input", timeout=timeout))
        return rescue


def _annotation(value: Any) -> Any:
    if isinstance(value, list):
        return list[str]
    return next((annotation for annotation, one in VALUES if one is value), ANY)


def maybe_fails(maker: _Maker, value: Any) -> Any:
    return ok.fake(value, latency=maker.duration(), error=maker.rng.choice([0.0, 0.3]))


def _mindful(path: str, value: Any, names: list[str] | None) -> Callable[[dict[str, Any], Any], Any]:
    """Let a value depend on the inputs where its type has room for that."""

    def decide(inputs: dict[str, Any], rng: Any) -> Any:
        # As JSON with sorted keys: a dict's order may follow the order of definition, which must not matter here.
        seen = zlib.crc32(json.dumps((path, inputs), sort_keys=True, default=repr).encode())
        if names is not None:
            return [names[0], names[1], names][seen % 3]
        if isinstance(value, str):
            return f"{value}-{seen % 7}"
        if isinstance(value, list):
            return value[: seen % 4]
        return value

    return decide


def _says(name: str) -> Callable[[dict[str, Any]], Any]:
    async def act(inputs: dict[str, Any]) -> str:
        return f"{name} says {inputs['word']}"

    return act


def _gives(value: Any) -> Callable[[dict[str, Any]], Any]:
    async def act(inputs: dict[str, Any]) -> Any:
        return value

    return act


def _after_round(rounds: int) -> Callable[[Any, int], bool]:
    def until(result: Any, round: int) -> bool:
        return round >= rounds

    return until


def _by_value(result: Any, round: int) -> bool:
    # Of what it is, not of the order in which the nodes that it comes from were defined.
    return zlib.crc32(json.dumps(result, sort_keys=True).encode()) % 2 == 0

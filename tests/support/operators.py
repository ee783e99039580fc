"""Runs into which somebody steps at random moments: every prefix, with what was done afterwards done again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orchkit as ok
from orchkit.engine import operating
from orchkit.engine.program import Program
from orchkit.errors import DefinitionError, RunError
from orchkit.model.events import Event, decode_log, encode_log
from orchkit.model.paths import attempt_of
from orchkit.model.state import RunState, ScopeState
from orchkit.runs.operating import Deed, prepared
from orchkit.runs.simulate import prepare
from tests.support.engines import Drive
from tests.support.interventions import Story, number


@dataclass
class Moment:
    """One act: when it was done, which events of the log it made up to the one that decides it."""

    deed: Deed
    t: int
    start: int
    decided: int


class Operated:
    """One run, acted on now and again."""

    def __init__(self, story: Story, program: Program) -> None:
        self.story, self.program, self.rng = story, program, story.rng
        self.moments: list[Moment] = []
        self.log: list[Event] = []

    def run(self, acts: int, longest: int) -> None:
        drive = self.story.drive(self.program, ()).start("x")
        t = 0
        for _ in range(acts):
            t += self.rng.randint(0, longest) // 1_000_000 * 1_000_000
            drive.until(t)
            if drive.execution.is_over:
                break
            self._act(drive, t)
        drive.until(t + longest)
        if drive.execution.state.paused:
            self._do(drive, Deed("unpause", by="lee"), t + longest)
        drive.run()
        self._check(drive)
        self.log = list(drive.log)

    def _check(self, drive: Drive) -> None:
        error = drive.execution.error
        assert error is None, f"seed {self.story.seed}: {error!r}"
        assert drive.execution.is_over, f"seed {self.story.seed}: it waits for ever\n{self.told(drive.log)}"

    def _act(self, drive: Drive, t: int) -> None:
        for _ in range(20):
            deed = self._some_deed(drive.execution.state)
            try:
                self._do(drive, deed, t)
            except (RunError, DefinitionError):
                continue  # it makes no sense now
            return

    def _do(self, drive: Drive, deed: Deed, t: int) -> None:
        start = len(drive.log)
        prepared(self.program, "run", deed)(drive.execution)
        made = [i for i in range(start, len(drive.log)) if drive.log[i].by == "lee"]
        if made:
            self.moments.append(Moment(deed, t, start, made[0] + 1))

    def _some_deed(self, state: RunState) -> Deed:
        rng = self.rng
        verb = rng.choice(["pause", "unpause", "override", "override", "retry", "retry", "retry", "skip", "context"])
        if verb in ("pause", "unpause"):
            return Deed(verb, by="lee")  # type: ignore[arg-type]
        if verb == "context":
            return Deed("update_context", value={"notes": [f"n{rng.randint(1, 9)}"], "last": "op"}, by="lee")
        scope = rng.choice([state, *(one for one in state.scopes.values() if _is_latest(state, one))])
        node = rng.choice(scope.graph.nodes)
        progress = scope.maps.get(scope.graph.index[node.name])
        item = None if progress is None or not progress.size or rng.random() < 0.3 else rng.randrange(progress.size)
        value: Any = f"set{rng.randint(1, 3)}"
        if node.kind == "route":
            value = rng.choice([node.targets[0], list(node.targets)])
        elif node.kind == "approval":
            value = rng.random() < 0.5
        elif node.kind == "map" and item is None:
            value = [value] * rng.randint(0, 3)
        new_key = verb == "retry" and node.effect and rng.random() < 0.5
        return Deed(verb, scope.prefix + node.name, item, value, new_key, by="lee", why="so")  # type: ignore[arg-type]

    def check_prefixes(self, begin: int = 1) -> int:
        points = 0
        for cut in range(begin, len(self.log)):
            within = next((one for one in self.moments if one.start < cut < one.decided), None)
            prefix = decode_log(encode_log(self.log[:cut]))
            drive = Drive(self.program, events=prefix, seed=self.story.seed)
            if drive.execution.state.status not in ("new", "running"):
                continue
            drive.redrive()
            if within is not None:
                self._check_lost(drive)
                continue
            for moment in [one for one in self.moments if one.decided > cut]:
                drive.until(moment.t)
                prepared(self.program, "run", moment.deed)(drive.execution)
            drive.run()
            assert drive.log == self.log, f"seed {self.story.seed}: cut after {cut}\n{self.unlike(drive)}"
            points += 1
        return points

    def _check_lost(self, drive: Drive) -> None:
        drive.run()
        if drive.execution.state.paused:
            operating.unpause(drive.execution)
            drive.run()
        self._check(drive)

    def unlike(self, drive: Drive) -> str:
        if drive.execution.error is not None:
            return repr(drive.execution.error)
        at = next((i for i, (a, b) in enumerate(zip(self.log, drive.log, strict=False)) if a != b), None)
        at = min(len(self.log), len(drive.log)) if at is None else at
        wanted, got = self.told(self.log[max(0, at - 30) : at + 3]), self.told(drive.log[at : at + 3])
        return f"at {at + 1}: wanted\n{wanted}\ngot\n{got}"

    @staticmethod
    def told(log: list[Event]) -> str:
        return "\n".join(
            f"{i + 1} {e.t / 1e6:g} {e.kind} {e.node}[{e.item}] g{e.generation} a{e.attempt} {e.status} {e.by} {e.body}"
            for i, e in enumerate(log)
        )


def _is_latest(run: RunState, scope: ScopeState) -> bool:
    while scope is not run:
        outer = run.outer_of(scope)
        if attempt_of(scope.prefix) != attempt_of(outer.nested[scope.owner][-1]):
            return False
        scope = outer
    return True


class NestedStory(Story):
    """A workflow of calls, loops and maps with a body, with failures, retries, a route and an approval."""

    def __init__(self, seed: int, *, grid: bool, shared: type | None = None, failing: bool = False) -> None:
        super().__init__(seed, grid=grid)
        self.models: dict[str, Any] = {}
        self.failing = failing
        self.wf = self._outer(shared)
        self.graph = self.wf.checked()
        self.world = ok.World(self.models)
        self.grid = grid

    def program(self, **_: Any) -> Program:
        return prepare(self.graph, self.world)

    def _model(self, path: str, pick: Callable[[int], Any] | None = None, error: float = 0.15) -> None:
        rng = self.rng
        latency = rng.randint(0, 3) * 1.0 if rng.random() < 0.7 else ok.dist.lognormal(p50=1.5, sigma=0.6)

        def value(inputs: dict[str, Any], _: Any) -> Any:
            seen = number(sorted(inputs.items()))
            return pick(seen) if pick is not None else f"{path}-{seen % 5}"

        self.models[path] = ok.fake(value, latency=latency, error=error)

    def _undo(self, path: str, name: str) -> dict[str, Any]:
        if self.rng.random() < 0.5:
            return {}

        def undo(**made: Any) -> str: ...

        one = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)
        undo.__signature__ = inspect.Signature([one])  # type: ignore[attr-defined]
        self._model(f"{path}/undo:undo", error=0.3)
        return {"undo": undo}

    def _options(self) -> dict[str, Any]:
        rng = self.rng
        options: dict[str, Any] = {}
        if rng.random() < 0.6:
            options["retry"] = ok.Retry(rng.randint(2, 3), wait=ok.backoff(base=1.0, jitter=None))
        if rng.random() < 0.3:
            options["fallback"] = "spare"
        return options

    def _inner(self, path: str, depth: int = 0) -> ok.Workflow:
        wf = ok.Workflow(path.replace("/", "_"), output="third")
        first, second, third = (_named(name) for name in ("first", "second", "third"))

        def one(input: Any) -> str: ...
        def two(input: Any, first: Any) -> str: ...
        def three(first: Any, second: Any = None) -> str: ...

        wf.step(**self._options(), **self._undo(f"{path}/first", "first"))(first(one))
        if depth:
            wf.call("second", self._inner(f"{path}/second"), input="first", **self._options())
        else:
            wf.step(on_error="skip")(second(two))
            self._model(f"{path}/second")
        wf.step(effect=self.rng.random() < 0.3, **self._undo(f"{path}/third", "third"))(third(three))
        self._model(f"{path}/first")
        self._model(f"{path}/third", error=0.05)
        return wf

    def _outer(self, shared: type | None) -> ok.Workflow:
        wf = ok.Workflow(f"nested-{self.seed}", output="end")
        if shared is not None:
            wf.context(shared, merge={"notes": ok.append})

        def plan(input: Any) -> list[str]: ...
        def way(plan: Any) -> str: ...
        def alone(call: Any) -> str: ...
        def end(items: Any = None, loop: Any = None, alone: Any = None, review: Any = None) -> str: ...

        def until(result: Any, round: int) -> bool:
            return number(result) % 3 == 0

        wf.step(plan)
        self._model("plan", lambda seen: [f"e{i}" for i in range(1 + seen % 3)], error=0.0)
        wf.map("items", over="plan", body=self._inner("items"), limit=self.rng.choice([None, 1]), on_error="skip")
        wf.call("call", self._inner("call", self.rng.randint(0, 1)), input="plan", **self._options())
        wf.loop("loop", body=self._inner("loop"), input="plan", until=until, max=3, **self._options())
        wf.step(effect=True, on_error="skip", **self._options(), **self._undo("alone", "alone"))(alone)
        self._model("alone")
        wf.approval("review", answer=bool, show="plan", timeout=9.0)
        self.models["review"] = ok.person(3.0, approve=0.5, absent=0.3)
        wf.step(end)
        self._model("end", error=0.7 if self.failing else 0.0)
        return wf


def _named(name: str) -> Callable[[Any], Any]:
    def rename(fn: Any) -> Any:
        fn.__name__ = name
        return fn

    return rename


__all__ = ["NestedStory", "Operated"]

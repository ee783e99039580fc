"""Random pipelines of maps over maps: streams with limits, policies, faults, quorums, keys and bodies, from a seed."""

from __future__ import annotations

import random
from typing import Any

from pydantic import BaseModel

import orchkit as ok


class Notes(BaseModel):
    """What the steps write to."""

    notes: list[str] = []


def of_item(item: str) -> str:
    """Give an item's key: what it was at first."""
    return item.rpartition("<")[2].rstrip(">")


def random_pipeline(seed: int, *, stream: bool | None = None, calm: bool = False) -> tuple[ok.Workflow, ok.World, Any]:
    """Make a list, two to four maps that go over it one after the other, and a step that takes the last.

    Parameters
    ----------
    seed : int
    stream : bool, optional
        Whether maps over maps stream; without it, some do.
    calm : bool
        Whether nothing fails and nothing is left out, so that the result must not depend on `stream`.
    """
    rng = random.Random(seed)
    grid = seed % 2 == 1
    wf = ok.Workflow(f"pipeline-{seed}", input=list)
    if seed % 3 == 0:
        wf.context(Notes, merge={"notes": ok.append})
    models: dict[str, Any] = {}
    faults: list[Any] = []

    def duration() -> Any:
        return float(rng.randint(0, 4)) if grid else ok.dist.lognormal(p50=rng.uniform(0.5, 4), sigma=0.8)

    def value(name: str) -> Any:
        return lambda inputs, rng: f"{name}<{inputs['item']}>"

    def options(name: str, over: str) -> dict[str, Any]:
        chosen: dict[str, Any] = {"over": over, "limit": rng.choice([None, None, 1, 2])}
        streams = rng.random() < 0.75 if stream is None else stream
        chosen["stream"] = streams and over != "input"
        retry, timeout, key = rng.random() < 0.5, rng.random() < 0.3, rng.random() < 0.4
        trouble, quorum, on_error = rng.random(), rng.choice([1, 2, 3, 0.5]), rng.choice(["fail", "skip", "collect"])
        if retry:
            chosen["retry"] = ok.Retry(3, wait=ok.backoff(base=1.0, jitter=None if grid else "full"))
        if key:
            chosen["key"] = of_item
        if calm:
            return chosen
        if timeout:
            chosen["timeout"] = 3.0
        if trouble < 0.35 and not (chosen["stream"] and quorum == 0.5):
            chosen["quorum"] = quorum
            on_error = "fail" if on_error == "collect" else on_error
        chosen["on_error"] = on_error
        if rng.random() < 0.2:
            chosen["fallback"] = "spare"
        if rng.random() < 0.4:
            faults.append(rng.choice([ok.faults.fail, ok.faults.hang if timeout else ok.faults.fail])(name, rate=0.3))
        return chosen

    over = "input"
    for name in ["a", "b", "c", "d"][: rng.randint(2, 4)]:
        error = 0.0 if calm else rng.choice([0.0, 0.0, 0.3])
        if rng.random() < 0.3:
            wf.map(name, body=_body(name), **options(name, over))
            models[f"{name}/first"] = ok.fake(f"first of {name}", latency=duration(), error=error)
            models[f"{name}/last"] = ok.fake(
                lambda inputs, rng, of=name: f"{of}<{inputs['input']}>", latency=duration()
            )
        else:
            extra = rng.random() < 0.25
            wf.map(**options(name, over))(_function(name, extra))
            if not wf._shared or rng.random() < 0.5:
                models[name] = ok.fake(value(name), latency=duration(), error=error)
        over = name

    @wf.step
    def other(input: list) -> str: ...

    models["other"] = ok.fake("x", latency=duration())
    scope: dict[str, Any] = {}
    exec(f"def end({over}): ...", scope)
    wf.step(scope["end"])
    models["end"] = ok.fake(lambda inputs, rng: inputs[over], latency=duration())
    return wf, ok.World(models), ok.Faults(*faults)


def _function(name: str, extra: bool) -> Any:
    scope: dict[str, Any] = {"ok": ok}
    more = ", other" if extra else ""
    exec(
        f"async def {name}(item: object, ctx: ok.Context{more}):\n"
        "    if ctx._view is not None:\n"
        f"        ctx.update(notes=[f'{name}[{{ctx.item}}] saw {{ctx.shared.notes}}'[:200]])\n"
        f"    return f'{name}<{{item}}>'",
        scope,
    )
    return scope[name]


def _body(name: str) -> ok.Workflow:
    body = ok.Workflow(f"inside-{name}", input=object)

    @body.step
    def first(input: object) -> str: ...

    @body.step
    def last(first: str, input: object) -> str: ...

    return body

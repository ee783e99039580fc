"""Cut a log after every event, resume, and expect the same end: the strongest single test there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.clock.bare import BareHost
from orchkit.clock.dice import base_of
from orchkit.clock.kernel import Kernel
from orchkit.engine.execution import Execution
from orchkit.engine.journal import MemoryJournal
from orchkit.model.events import Event, canonical_digest, decode_log, encode_log, exact_digest
from orchkit.model.fold import fold
from orchkit.runs.checks import dump_input
from orchkit.runs.simulate import continue_virtual, prepare, simulate
from orchkit.testing import every_prefix
from tests.support.graphs import random_workflow
from tests.support.interventions import everything


class Ticket(BaseModel):
    id: str
    text: str


class Decision(BaseModel):
    approve: bool
    note: str = ""


def triage() -> tuple[ok.Workflow, Counter[tuple[str, int, int]]]:
    """A retry, a fallback, a route, a map and an approval, with bodies that count themselves."""
    ran: Counter[tuple[str, int, int]] = Counter()
    wf = ok.Workflow("triage", input=Ticket)

    def count(ctx: ok.Context) -> None:
        ran[ctx.node, -1 if ctx.item is None else ctx.item, ctx.attempt] += 1

    @wf.step
    async def plan(input: Ticket, ctx: ok.Context) -> list[str]:
        count(ctx)
        await ctx.sleep(2)
        return input.text.split()

    @wf.map(over="plan", limit=2, retry=ok.Retry(3))
    async def lookup(item: str, ctx: ok.Context) -> str:
        count(ctx)
        await ctx.sleep(1)
        if item == "bad" and ctx.attempt < 3:
            raise ConnectionError("down")
        return f"found {item}"

    async def canned(input: Ticket, error: Any, ctx: ok.Context) -> str:
        count(ctx)
        return "refund, we are sorry"

    @wf.step(retry=ok.Retry(2), timeout=20.0, fallback=canned)
    async def draft(lookup: list[str], ctx: ok.Context) -> str:
        count(ctx)
        await ctx.sleep(30)
        return "never in time"

    @wf.route(to=["send", "review"])
    def risk(draft: str) -> str:
        return "review" if "refund" in draft else "send"

    wf.approval("review", answer=Decision, show="draft", timeout=7200.0)

    @wf.route(to=["send", "apologise"])
    def verdict(review: Decision | None) -> str:
        return "send" if review and review.approve else "apologise"

    @wf.step(effect=True)
    def send(draft: str, ctx: ok.Context) -> str:
        count(ctx)
        return ctx.idempotency_key.partition(":")[2]

    @wf.step
    def apologise(input: Ticket) -> str:
        return "sorry"

    return wf, ran


TICKET = Ticket(id="7", text="a bad cat")
WORLD = ok.World(review=ok.person(600.0, approve=1.0), send=ok.real)
STORM = ok.Faults(ok.faults.fail("draft", first=1), ok.faults.hang("lookup", nth=9), ok.faults.slow("plan", add=3))
SLOW = ok.dist.lognormal(p50=3, p99=30)
MODELLED = ok.World(
    {"draft/fallback:canned": ok.fake("refund", latency=1.0)},
    plan=ok.fake(["a", "b", "c"], latency=SLOW),
    lookup=ok.fake(lambda inputs, rng: f"found {inputs['item']}", latency=SLOW, error=0.3),
    draft=ok.fake("refund", latency=SLOW, error=0.3),
    review=ok.person(SLOW, approve=0.5),
    risk=ok.fake("review"),
    verdict=ok.fake("send"),
    send=ok.skip_effect("sent"),
    apologise=ok.fake("sorry", latency=1.0),
)


def test_every_prefix_of_the_triage_resumes_to_the_same_log() -> None:
    wf, _ = triage()
    report = every_prefix(wf, TICKET, world=WORLD)
    assert report.points > 35
    assert report.ok, "\n".join(report.differences)
    assert 0 < report.exact < report.points  # bodies that take time start again when they are cut


def test_every_prefix_of_a_modelled_triage_is_equal_to_the_last_digit() -> None:
    wf, _ = triage()
    report = every_prefix(wf, TICKET, world=MODELLED, faults=STORM, seed=5)
    assert report.ok, "\n".join(report.differences)
    assert report.exact == report.points > 35


def test_no_recorded_body_runs_again() -> None:
    wf, ran = triage()
    program = prepare(wf.checked(), WORLD)
    whole = simulate(program, dump_input(program, TICKET)).log()
    for cut in range(1, len(whole)):
        prefix = decode_log(encode_log(whole[:cut]))
        recorded = {
            (event.node, event.item, event.attempt) for event in prefix if event.kind in ("completed", "failed")
        }
        ran.clear()
        continue_virtual(program, "r", base_of(0), prefix)
        again = recorded & set(ran)
        assert not again, f"cut after {cut}: {again} ran again"
        assert all(times == 1 for times in ran.values())


def test_the_same_seed_gives_the_same_log_event_for_event() -> None:
    wf, _ = triage()
    runs = [wf.simulate(TICKET, world=WORLD, seed=3) for _ in range(2)]
    assert runs[0].log == runs[1].log
    assert runs[0].receipt == runs[1].receipt


@pytest.mark.parametrize("grid", [False, True], ids=["continuous", "grid"])
@pytest.mark.parametrize("block", range(4))
def test_every_prefix_of_random_workflows(grid: bool, block: int) -> None:
    for seed in range(block * 12, block * 12 + 12):
        wf, world, faults, _ = random_workflow(seed, modelled=True, grid=grid)
        report = every_prefix(wf, "x", world=world, faults=faults, seed=seed)
        assert report.ok, f"seed {seed}: {report.differences[0]}"


@pytest.mark.slow
def test_every_prefix_of_many_random_workflows() -> None:
    points = 0
    for seed in range(1000, 1600):
        wf, world, faults, _ = random_workflow(seed, modelled=True, grid=bool(seed % 2))
        report = every_prefix(wf, "x", world=world, faults=faults, seed=seed)
        points += report.points
        assert report.ok, f"seed {seed}: {report.differences[0]}"
    assert points > 10_000


def watched(seed: int) -> int:
    """Simulate a random workflow and compare its state with the fold of its log after every event."""
    wf, world, faults, _ = random_workflow(seed, modelled=True, grid=bool(seed % 2))
    program = prepare(wf.checked(), world, faults)
    kernel = Kernel()
    host = BareHost(kernel)

    def look(event: Event) -> None:
        log = decode_log(encode_log(execution.events))
        assert everything(execution.state) == everything(fold(program.graph, log)), f"seed {seed}: after {event}"

    execution = Execution(program, kernel, host, MemoryJournal(), run_id="r", dice_base=seed, on_event=look)
    execution.start("x")
    execution.advance()
    host.run()
    assert execution.error is None
    assert execution.state.status == execution.events[-1].status
    if execution.state.status in ("completed", "degraded"):
        assert not execution.state.left
        assert not execution.state.open
    return len(execution.events)


def test_the_running_state_is_the_fold_of_its_log_after_every_event() -> None:
    """One place folds an event, while a run goes on and when its log is read."""
    assert sum(watched(seed) for seed in range(25)) > 400


@pytest.mark.parametrize(("world", "digest"), [(MODELLED, exact_digest), (WORLD, canonical_digest)])
def test_a_crash_after_any_record_costs_nothing(world: ok.World, digest: Callable[[list[Event]], str]) -> None:
    wf, _ = triage()
    faults = () if world is WORLD else STORM.faults
    whole = wf.simulate(TICKET, world=world, faults=ok.Faults(*faults), seed=5)
    for record in range(1, len(whole.log)):
        plan = ok.Faults(*faults, ok.faults.crash(after=record))
        crashed = wf.simulate(TICKET, world=world, faults=plan, seed=5, durability="group")
        assert digest(crashed.log) == digest(whole.log), f"crash after {record}"


def test_a_crash_without_durability_loses_the_run() -> None:
    wf, _ = triage()
    run = wf.simulate(TICKET, world=WORLD, faults=ok.Faults(ok.faults.crash(after=5)))
    assert run.status == "orphaned"
    with pytest.raises(ok.RunCrashed, match="after record 5"):
        run.result()

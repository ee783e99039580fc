"""Laws of random workflows within workflows, with every policy, shared gates, faults, answers and bodies that call."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchkit.engine.program import Program
from orchkit.model.codec import codec_for
from orchkit.model.events import ATTEMPT_ENDS, Event, decode_log, encode_log
from orchkit.model.fold import apply
from orchkit.model.kinds import REDACTED
from orchkit.model.nesting import adopt
from orchkit.model.paths import static_path
from orchkit.model.state import RunState
from orchkit.runs.simulate import prepare
from orchkit.testing import every_prefix
from tests.support.engines import Drive, check_log
from tests.support.interventions import everything
from tests.support.wild import Traits, Wild, wild_workflow

pytestmark = pytest.mark.filterwarnings("ignore::orchkit.GraphWarning")  # nested retries are meant

WILD = settings(
    max_examples=70, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
MANY = settings(WILD, max_examples=1500)

traits = st.builds(Traits, modelled=st.sampled_from([1.0, 0.5, 0.0]), grid=st.booleans())
generators = st.randoms(use_true_random=False)
seeds = st.integers(0, 99)


def prepared(wild: Wild) -> Program:
    return prepare(wild.wf.checked(), wild.world, wild.faults)


# 1, 2: nothing starts twice, and every prefix comes to the same end


def resumes(rng: random.Random, given_traits: Traits, seed: int) -> None:
    wild = wild_workflow(rng, given_traits)
    report = every_prefix(wild.wf, "x", world=wild.world, faults=wild.faults, seed=seed)
    assert report.ok, report.differences[0]
    assert report.exact == report.points  # models end when they would have, and bodies take no time of their own


@WILD
@given(generators, traits, seeds)
def test_every_prefix_resumes_to_the_same_log(rng: random.Random, given_traits: Traits, seed: int) -> None:
    resumes(rng, given_traits, seed)


# 1, 4, 5, 6: while it runs, and at its end


class Watched(Drive):
    """A run whose state is compared with the fold of its log after every event."""

    def __init__(self, wild: Wild, seed: int, *, every: int = 1) -> None:
        self.wild = wild
        self.mirror = RunState(wild.wf.checked())
        self.every = every
        program = prepared(wild)
        super().__init__(program, seed=seed, on_event=self.look)
        self.execution.on_end = lambda error: self.over()

    def look(self, event: Event) -> None:
        apply(self.mirror, decode_log(encode_log([event]))[0])
        self.adopt_children()
        if len(self.log) % self.every == 0:
            running, folded = everything(self.execution.state), everything(self.mirror)
            assert running == folded, f"after {event}"

    def adopt_children(self) -> None:
        # What a child is only its body knows; the fold by itself keeps its events as they are.
        running = self.execution.state
        for id in running.scopes.keys() - self.mirror.scopes.keys():
            of = running.scopes[id]
            child = self.mirror.children.get(id.removesuffix("/"))
            if child is not None and id in running.scopes:
                adopt(self.mirror, id, of.prefix, of.graph, child.called.body["input"], None)
                events, child.events = child.events, []
                for event in events:
                    apply(self.mirror, event)

    def over(self) -> None:
        self.ends.append(None)
        assert not self.wild.bodies.at_work.total(), +self.wild.bodies.at_work
        self.leaves_nothing()

    def leaves_nothing(self) -> None:
        """At the very end: no fibre that could wake, nothing open, and nobody inside a gate or before one."""
        execution = self.execution
        assert not execution.instances
        assert not execution.scopes
        assert not execution.deferred
        assert not execution.pending
        assert not execution.questions.askers
        alive = [fibre for fibre in self.sleepers() if fibre is not self.kernel.current]
        assert not alive, alive
        gates = execution.gatekeeper.gates
        assert not gates._waiting
        assert not any(gates._through.values()), gates._through
        for gate in gates._gates.values():
            assert not getattr(gate, "inside", 0)
            assert not getattr(gate, "waiting", 0)


def runs(rng: random.Random, given_traits: Traits, seed: int) -> None:
    wild = wild_workflow(rng, given_traits)
    drive = Watched(wild, seed).start("x").run()
    assert drive.execution.error is None, drive.execution.error
    assert drive.ends == [None]
    check_log(drive.log)
    round_trips(wild, drive.log)
    state = drive.execution.state
    if state.status in ("completed", "degraded"):
        assert not state.left
        assert not any(under_way(opened.events) for scope in state.all_scopes() for opened in scope.open.values())


def under_way(events: list[Event]) -> set[Any]:
    """Give the attempts that have started and not ended; what a body has called may stay unfinished when it is over."""
    begun = {(e.node, e.leg, e.attempt) for e in events if e.kind == "started"}
    return begun - {(e.node, e.leg, e.attempt) for e in events if e.kind in ATTEMPT_ENDS}


def round_trips(wild: Wild, log: list[Event]) -> None:
    """What is stored is read back as it was, and stored again as it is."""
    assert decode_log(encode_log(log)) == log
    annotations = {
        site.path: site.function.returns
        for site in prepared(wild).sites
        if site.function is not None and site.node.kind in ("step", "map")
    }
    for event in log:
        if event.kind == "completed" and event.node and (path := static_path(event.node)) in annotations:
            codec = codec_for(annotations[path])
            value = codec.load(event.body)
            assert codec.dump(value, path) == event.body
            assert value != REDACTED


@WILD
@given(generators, traits, seeds)
def test_a_run_starts_nothing_twice_is_its_log_and_leaves_nothing(
    rng: random.Random, given_traits: Traits, seed: int
) -> None:
    runs(rng, given_traits, seed)


@WILD
@given(generators, traits, seeds, st.integers(0, 12_000_000))
def test_a_run_that_is_cancelled_anywhere_leaves_nothing(
    rng: random.Random, given_traits: Traits, seed: int, until: int
) -> None:
    drive = Watched(wild_workflow(rng, given_traits), seed, every=7).start("x").until(until)
    drive.execution.cancel(by="dana")
    assert drive.execution.error is None, drive.execution.error
    check_log(drive.log)


# 3: independent branches commute


def grouped(log: list[Event]) -> dict[tuple[str, int, int], list[Event]]:
    groups: dict[tuple[str, int, int], list[Event]] = {}
    for event in log:
        groups.setdefault((event.node, event.item, event.leg), []).append(event)
    return groups


def commutes(seed: int, order: int, luck: int) -> None:
    logs = []
    for shuffle in (None, random.Random(order)):
        # Gates that nodes share, and ties of two instants, are where one node may know of another.
        wild = wild_workflow(random.Random(seed), Traits(shared=False), order=shuffle)
        logs.append(grouped(wild.wf.simulate("x", world=wild.world, faults=wild.faults, seed=luck).log))
    one, other = logs
    assert one.keys() == other.keys()
    for key, events in one.items():
        assert other[key] == events, key


@WILD
@given(st.integers(0, 2**32), seeds, seeds)
def test_the_order_of_definition_changes_no_value_and_no_time(seed: int, order: int, luck: int) -> None:
    commutes(seed, order, luck)


@pytest.mark.slow
@MANY
@given(generators, traits, seeds)
def test_every_prefix_of_many_wild_workflows(rng: random.Random, given_traits: Traits, seed: int) -> None:
    resumes(rng, given_traits, seed)


@pytest.mark.slow
@MANY
@given(generators, traits, seeds)
def test_many_wild_runs(rng: random.Random, given_traits: Traits, seed: int) -> None:
    runs(rng, given_traits, seed)


@pytest.mark.slow
@MANY
@given(st.integers(0, 2**32), seeds, seeds)
def test_many_orders_of_definition(seed: int, order: int, luck: int) -> None:
    commutes(seed, order, luck)

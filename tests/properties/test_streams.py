"""Laws of maps over maps: every prefix, one state from the log, the same result streamed or not, and new starts."""

from __future__ import annotations

import random

import pytest

import orchkit as ok
from orchkit.engine.program import Program
from orchkit.model.events import Event, decode_log, encode_log
from orchkit.model.fold import fold
from orchkit.model.standings import COMPLETED, DEGRADED
from orchkit.model.state import RunState, has_delivered
from orchkit.runs.checks import dump_input
from orchkit.runs.simulate import prepare
from orchkit.testing import every_prefix
from tests.support.engines import Drive
from tests.support.interventions import RECALL, assert_same_but_for_what_reopens, everything
from tests.support.pipelines import random_pipeline


def given(seed: int) -> list[str]:
    return [f"i{k}" for k in range(seed % 6)]


def check_prefixes(block: range) -> int:
    points = 0
    for seed in block:
        wf, world, faults = random_pipeline(seed)
        report = every_prefix(wf, given(seed), world=world, faults=faults, seed=seed)
        assert report.ok, f"seed {seed}: {report.differences[0]}"
        points += report.points
    return points


@pytest.mark.parametrize("block", range(4))
def test_every_prefix_of_a_random_pipeline(block: int) -> None:
    assert check_prefixes(range(block * 20, block * 20 + 20)) > 300


@pytest.mark.slow
def test_every_prefix_of_many_random_pipelines() -> None:
    assert check_prefixes(range(1000, 1800)) > 20_000


@pytest.mark.parametrize("block", range(2))
def test_a_stream_comes_to_the_result_that_the_list_comes_to(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        results = []
        for stream in (False, True):
            wf, world, _ = random_pipeline(seed, stream=stream, calm=True)
            run = wf.simulate(given(seed), world=world, seed=seed)
            results.append((run.status, run.result(), run.log[-1].t))
        assert results[0][:2] == results[1][:2], f"seed {seed}"
        if not any(node.limit for node in wf.checked().nodes):  # with a limit, who comes first may keep others waiting
            assert results[1][2] <= results[0][2], f"seed {seed}: streaming took longer"


class Watched:
    """A program whose state is compared with the fold of its log after every event."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        wf, world, faults = random_pipeline(seed)
        self.program: Program = prepare(wf.checked(), world, faults)

    def drive(self, events: list[Event] | None = None) -> Drive:
        graph = self.program.graph

        def look(event: Event) -> None:
            where = f"seed {self.seed}: after {event}"
            log = decode_log(encode_log(drive.execution.events))
            running, folded = everything(drive.execution.state), everything(fold(graph, log))
            assert running == folded, where
            assert_same_but_for_what_reopens(folded, everything(fold(graph, [*log, RECALL])), where)

        drive = Drive(self.program, events=events or [], seed=self.seed, on_event=look)
        return drive

    def start(self) -> Drive:
        return self.drive().start(dump_input(self.program, given(self.seed)))

    def check_prefixes(self, log: list[Event], begin: int) -> int:
        points = 0
        for cut in range(begin, len(log)):
            drive = Drive(self.program, events=decode_log(encode_log(log[:cut])), seed=self.seed)
            if drive.execution.state.status == "running":
                drive.redrive().run()
                assert drive.execution.error is None, f"seed {self.seed}: cut after {cut}: {drive.execution.error!r}"
                assert drive.log == log, f"seed {self.seed}: cut after {cut} ({log[cut - 1]})"
                points += 1
        return points


def check_streams(state: RunState, seed: int) -> None:
    """See that what a stream was made of is what its source has come to."""
    for node, source in enumerate(state.graph.stream_of):
        if source < 0 or state.standing[node] not in (COMPLETED, DEGRADED):
            continue
        now, fed = dict(has_delivered(state, source)), state.maps[node].fed
        if fed is not None:
            made = {item: fed[item] for item, _ in has_delivered(state, node)}
            assert made == {item: now.get(item, "nothing") for item in made}, f"seed {seed}"


def test_the_running_state_is_the_fold_of_its_log() -> None:
    for seed in range(30):
        drive = Watched(seed).start().run()
        assert drive.execution.error is None, f"seed {seed}: {drive.execution.error!r}"
        check_streams(drive.execution.state, seed)


@pytest.mark.parametrize("block", range(3))
def test_items_that_start_again_in_the_middle(block: int) -> None:
    points = 0
    for seed in range(block * 15, block * 15 + 15):
        rng, watched = random.Random(seed), Watched(seed)
        whole = watched.start().run().log
        drive = watched.start()
        for t in sorted(rng.randint(0, whole[-1].t) for _ in range(3)):
            drive.until(t)
            state = drive.execution.state
            items = [(n, i) for n, p in state.maps.items() for i in range(p.size) if p.has_begun(i)]
            if items and state.status == "running" and state.failing is None:
                node, item = rng.choice(items)
                drive.execution.invalidate(node, rng.choice([item, item, item, -1]))
        drive.run()
        assert drive.execution.error is None, f"seed {seed}: {drive.execution.error!r}"
        check_streams(drive.execution.state, seed)
        begin = next((i for i, event in enumerate(drive.log) if event.kind == "invalidated"), len(drive.log))
        last = max((i for i, event in enumerate(drive.log) if event.status == "retry"), default=begin)
        points += watched.check_prefixes(drive.log, last + 1)
    assert points > 100


def test_a_pipeline_that_failed_goes_on_where_it_stopped() -> None:
    reopened = 0
    for seed in range(120):
        watched = Watched(seed)
        log = watched.start().run().log
        if log[-1].status != "failed":
            continue
        calm = Watched(seed)
        calm.program = Program(calm.program.graph, ok.World(
            {path: ok.fake(model.value) for path, model in calm.program.world.models.items()}
        ))  # fmt: skip
        drive = calm.drive(list(log))
        drive.execution.record(Event(drive.execution.t(), "resumed"))
        begin = len(drive.log)
        drive.redrive().run()
        assert drive.execution.error is None, f"seed {seed}: {drive.execution.error!r}"
        check_streams(drive.execution.state, seed)
        calm.check_prefixes(drive.log, begin)
        reopened += drive.log[-1].status != "failed"
    assert reopened > 5

"""The experiment of the demo: three ways to protect a call that takes thirty seconds, in a storm of faults."""

from __future__ import annotations

from collections.abc import Sequence

import orchkit as ok
from orchkit.cli.demo.documents import Document
from orchkit.cli.demo.pipeline import Message, inbox
from orchkit.cli.demo.rules import Facts, read_by_rules

__all__ = ["BASELINE", "TRIALS", "experiment", "storm", "world"]

TRIALS = 1000
BASELINE = "plain"
_SAMPLE = 125


def _read(inputs: dict[str, Message], rng: object) -> Facts:
    return read_by_rules(inputs["input"].text)


def world() -> ok.World:
    """Say how the parts behave that are not run: a slow model, a person, and a mail that must not go out.

    The numbers are assumptions. All other steps, vaderSentiment among them, run as they are.
    """
    return ok.World(
        extract=ok.fake(_read, latency=ok.dist.lognormal(p50=30, p99=75), error=0.02, cost=0.004),
        approve=ok.person(ok.dist.lognormal(p50=600, p99=7200), approve=0.8),
        send=ok.skip_effect("sent"),
    )


def storm() -> ok.Faults:
    """Make a bad hour at the model's provider: refused calls, calls that never come back, slow ones."""
    return ok.Faults(
        ok.faults.fail("extract", rate=0.25, after=1.0),
        ok.faults.hang("extract", rate=0.03),
        ok.faults.slow("extract", factor=2, rate=0.10),
    )


def variants() -> dict[str, ok.Workflow]:
    """Give the arms. All have a timeout: without one, a call that hangs is waited for until the end of time."""
    bound = ok.Timeout(120)
    return {
        BASELINE: inbox.using(extract=ok.only(bound)),
        "retry": inbox.using(extract=ok.only(ok.Retry(3), bound)),
        "retry + fallback": inbox.using(extract=bound),
    }


def experiment(documents: Sequence[Document], seed: int) -> ok.Experiment:
    """Cross the arms with a sample of the messages and as many seeds as make `TRIALS` simulated runs an arm."""
    size = min(_SAMPLE, len(documents))
    sample = [documents[i * len(documents) // size] for i in range(size)]
    count = -(-TRIALS // len(sample))
    return ok.Experiment(
        variants(),
        inputs=[Message(id=document.id, text=document.text) for document in sample],
        world=world(),
        faults={"storm": storm()},
        seeds=range(seed * count, (seed + 1) * count),
    )

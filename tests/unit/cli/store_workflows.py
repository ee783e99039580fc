"""Workflows that the tests of the command line record, and import by name."""

from pydantic import BaseModel

import orchkit as ok


class Decision(BaseModel):
    approve: bool


hello = ok.Workflow("hello", input=str)


@hello.step
def greet(input: str) -> str:
    if input == "bad":
        raise ValueError("nobody's name")
    return f"Hello {input}"


asking = ok.Workflow("asking", input=str)


@asking.step
def draft(input: str) -> str:
    return input.upper()


asking.approval("review", answer=Decision, show="draft")


@asking.step
def send(draft: str, review: Decision) -> str:
    return f"sent {draft}: {review.approve}"


def settled(store, workflow, value):
    """Start a run and wait until it has ended, however, or asks."""
    run = workflow.start(value, store=store)
    run.wait_settled(20)
    return run.id

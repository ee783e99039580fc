"""The program refuses what the pipeline would not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import orchkit as ok
from orchkit.engine.program import _NOT_YET
from orchkit.model.policies import POLICIES

ONE_EACH: dict[str, Any] = {
    "escalate": ok.Escalate("review"), "deadline": ok.Deadline(60), "hedge": ok.Hedge(15), "retry": ok.Retry(2),
    "budget": ok.Budget(calls=3), "breaker": ok.Breaker(5), "bulkhead": ok.Bulkhead(2), "fallback": ok.Fallback("x"),
    "rate_limit": ok.RateLimit(2), "timeout": ok.Timeout(9),
}  # fmt: skip


def one_step(policy: Any) -> ok.Workflow:
    wf = ok.Workflow("one", input=str)

    @wf.step
    def draft(input: str) -> str:
        return input

    return wf.using(draft=policy)


@pytest.mark.parametrize("kind", sorted(_NOT_YET))
def test_a_policy_is_never_silently_ignored(kind: str, tmp_path: Path) -> None:
    wf = one_step(ONE_EACH[kind])
    with pytest.raises(ok.DefinitionError, match=rf"'draft' has {type(ONE_EACH[kind]).__name__}\(.*leave {kind} out"):
        wf.simulate("x", world=ok.World())
    with pytest.raises(ok.DefinitionError, match=rf"leave {kind} out"):
        wf.start("x", store=tmp_path / "lab.duckdb")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", sorted({policy.kind for policy in POLICIES} - _NOT_YET))
def test_what_the_pipeline_knows_runs(kind: str) -> None:
    assert one_step(ONE_EACH[kind]).simulate("x", world=ok.World()).result() == "x"

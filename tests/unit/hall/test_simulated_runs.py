"""Simulated runs that are kept: whole, once, and never gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import orchkit as ok


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ok.Store]:
    with ok.open(tmp_path / "lab.duckdb") as opened:
        yield opened


def mail(say: str = "sent") -> ok.Workflow:
    wf = ok.Workflow("mail", input=str)

    @wf.step(retry=3)
    async def draft(input: str) -> str: ...

    wf.approval("review", answer=bool, show="draft")

    @wf.step(effect=True)
    async def send(draft: str, review: bool) -> str:
        return f"{say} {draft}"

    return wf


def world() -> ok.World:
    return ok.World(
        draft=ok.fake("dear", latency=ok.dist.lognormal(p50=3, p99=15), error=0.3, cost=0.01),
        review=ok.person(delay=60.0, approve=1.0),
        send=ok.skip_effect("sent"),
    )


def test_a_simulated_run_is_kept_whole_and_reads_the_same_later(store: ok.Store, tmp_path: Path) -> None:
    run = mail().simulate("x", world=world(), seed=7, store=store)
    plain = mail().simulate("x", world=world(), seed=7)
    assert run.receipt == plain.receipt
    assert run.receipt.startswith("exact:")
    store.close()
    with ok.open(tmp_path / "lab.duckdb") as again:
        kept = again.run(run.id)
        assert kept.log == run.log
        assert (kept.status, kept.receipt) == ("completed", run.receipt)
        assert again.runs()[["run", "mode", "seed"]].values.tolist() == [[run.id, "virtual", 7]]
        assert len(again.pending()) == len(ok.inbox(again)) == len(again.stuck()) == 0
        assert repr(kept.replay()).startswith(f"Replay('mail', {run.id}, ")


def test_the_same_run_is_kept_once_and_another_of_its_seed_beside_it(store: ok.Store) -> None:
    first, second = (mail().simulate("x", world=world(), seed=7, store=store) for _ in range(2))
    assert first.id == second.id
    other = mail().simulate("another input", world=world(), seed=7, store=store)
    again = mail().simulate("another input", world=world(), seed=7, store=store)
    assert other.id == again.id != first.id
    assert store.runs().run.tolist() == [first.id, other.id]
    assert len(ok.diff(first, other).frame) > 0


def test_without_a_store_nothing_is_written(store: ok.Store) -> None:
    mail().simulate("x", world=world())
    assert len(store.runs()) == 0


def test_a_kept_simulated_run_is_not_gone_on_with(store: ok.Store) -> None:
    done = mail().simulate("x", world=world(), seed=7, store=store)
    assert store.resume(done.id, mail()).result() == "sent"
    failed = mail().simulate("x", world=world(), faults=ok.Faults(ok.faults.fail("draft")), store=store)
    crashed = mail().simulate("x", world=world(), faults=ok.Faults(ok.faults.crash(after=3)), seed=3, store=store)
    assert (failed.status, crashed.status) == ("failed", "orphaned")
    for run in (failed, crashed):
        with pytest.raises(ok.RunError, match=r"was simulated, and is over: simulate it again, by wf\.simulate"):
            store.resume(run.id, mail())
        with pytest.raises(ok.RunError, match="simulated"):
            store.run(run.id).answer("review", True)
        with pytest.raises(ok.RunError, match="simulated"):
            run.fork(at="draft")
    assert len(store.stuck()) == 0
    assert store.resume_all() == []


def test_a_path_is_a_store(tmp_path: Path) -> None:
    run = mail().simulate("x", world=world(), store=tmp_path / "other.duckdb")
    with ok.open(tmp_path / "other.duckdb") as other:
        assert other.runs().run.tolist() == [run.id]

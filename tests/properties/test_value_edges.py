"""Runs whose edges carry frames, arrays and bytes: each prefix resumes, in every mode, through every door."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import orchkit as ok
from orchkit.experiments import Experiment
from orchkit.model.events import decode_log, encode_log
from orchkit.runs.fingerprint import fingerprints
from orchkit.testing import every_prefix

FRAME = pd.DataFrame({"item": ["a", None, "c"], "n": [1, 2, 3]}, index=pd.Index([3, 5, 8], name="id"))
EMPTY = pd.DataFrame({"item": pd.Series([], dtype="str"), "n": pd.Series([], dtype="int64")})


@dataclasses.dataclass
class Report:
    frame: pd.DataFrame
    blob: bytes


def pipeline() -> ok.Workflow:
    """A frame goes in, is split, worked on as arrays and bytes, judged by a person, and comes out."""
    wf = ok.Workflow("frames", input=pd.DataFrame)

    @wf.step
    async def split(input: pd.DataFrame, ctx: ok.Context) -> list[pd.DataFrame]:
        await ctx.sleep(1)
        return [input.iloc[[i]] for i in range(len(input))]

    @wf.map(over="split", limit=2, retry=ok.Retry(2))
    async def double(item: pd.DataFrame, ctx: ok.Context) -> np.ndarray:
        await ctx.sleep(2)
        if ctx.attempt == 1 and item["n"].iloc[0] == 2:
            raise ConnectionError("down")
        return item["n"].to_numpy() * 2.5

    @wf.step(retry=ok.Retry(2), fallback=ok.Fallback(b"\xff\x00"))
    async def pack(double: list[np.ndarray]) -> bytes:
        raise ConnectionError("down")

    wf.approval("review", answer=pd.DataFrame, show="pack", timeout=60.0)

    @wf.step
    async def end(review: pd.DataFrame | None, double: list[np.ndarray], pack: bytes) -> Report:
        assert review is not None
        return Report(review.assign(x=np.concatenate(double)), pack)

    return wf


WORLD = ok.World(review=ok.person(5.0, answers=FRAME))
MODELLED = ok.World(
    split=ok.fake([FRAME, EMPTY], latency=1.0),
    double=ok.fake(lambda inputs, rng: inputs["item"]["n"].to_numpy() * rng.random(), latency=2.0, error=0.3),
    pack=ok.fake(b"\x80", latency=1.0, error=0.5),
    review=ok.person(5.0, answers=lambda inputs, rng: EMPTY),
    end=ok.fake(Report(FRAME, b"\xfe"), latency=1.0),
)


def test_every_prefix_of_a_run_over_frames_resumes_to_the_same_log() -> None:
    report = every_prefix(pipeline(), FRAME, world=WORLD)
    assert report.ok, "\n".join(report.differences)
    assert report.points > 20


@pytest.mark.parametrize("seed", range(5))
def test_every_prefix_of_a_modelled_one_is_equal_to_the_last_byte(seed: int) -> None:
    report = every_prefix(pipeline(), FRAME, world=MODELLED, seed=seed)
    assert report.ok, "\n".join(report.differences)
    assert report.exact == report.points


def check_result(run: ok.Run) -> None:
    result = run.result(timeout=30)
    assert_frame_equal(result.frame, FRAME.assign(x=[2.5, 5.0, 7.5]))
    assert result.blob == b"\xff\x00"
    bodies = {event.kind: event.body for event in run.log}
    assert isinstance(bodies["answered"], bytes)
    assert isinstance(bodies["run_ended"]["frame"], bytes)
    assert run.events.body.map(type).eq(bytes).any()
    assert decode_log(encode_log(run.log)) == run.log


def test_a_simulated_run_gives_the_frame_back_and_shows_its_bytes() -> None:
    run = pipeline().simulate(FRAME, world=WORLD)
    check_result(run)
    assert run.receipt == pipeline().simulate(FRAME.copy(), world=WORLD).receipt
    assert "svg" in str(run._repr_mimebundle_())


def test_a_live_run_takes_a_frame_for_an_answer() -> None:
    run = (
        pipeline()
        .using(double=ok.Retry(2, wait=ok.backoff(base=0.001)), pack=ok.Retry(1))
        .start(FRAME, durability="memory")
    )
    run.wait_settled(timeout=30)
    assert run.question("review") == b"\xff\x00"
    with pytest.raises(ok.AnswerInvalid, match="instance of DataFrame"):
        run.answer("review", "yes")
    with pytest.raises(ok.AnswerInvalid, match=f"column 'a'.*{run.id}"):
        run.answer("review", pd.DataFrame({"a": [{1}]}))
    run.answer("review", FRAME)
    check_result(run)


def test_sweeps_over_frames_have_a_digest() -> None:
    exp = Experiment({"a": pipeline()}, inputs=[FRAME, EMPTY], world=MODELLED, seeds=2)
    assert len(exp.run(progress=False).frame) == 4


def test_a_frame_may_be_a_fallback() -> None:
    wf = ok.Workflow("fallback", input=int)

    @wf.step(fallback=ok.Fallback(FRAME))
    def load(input: int) -> pd.DataFrame:
        raise ConnectionError("down")

    wf = wf.using(load=ok.Retry(2))
    assert fingerprints(wf.checked())
    assert wf.policies("load")[0] == ok.Fallback(FRAME)
    run = wf.simulate(1, world=ok.World())
    assert run.status == "degraded"
    assert_frame_equal(run.result(), FRAME)


def codec_failure(value: Any, returns: Any, live: bool) -> tuple[ok.Run, ok.CodecError]:
    wf = ok.Workflow("refused", input=int)

    def draft(input: int) -> Any:
        return value

    draft.__annotations__["return"] = returns
    wf.step(draft)
    run = wf.start(1, durability="memory") if live else wf.simulate(1, world=ok.World())
    with pytest.raises(ok.RunError) as caught:
        run.result(timeout=30)
    error = caught.value.__cause__
    assert isinstance(error, ok.CodecError)
    return run, error


@pytest.mark.parametrize("live", [False, True], ids=["simulated", "live"])
def test_a_codec_error_says_run_step_path_type_and_remedy(live: bool) -> None:
    run, error = codec_failure({"rows": [pa.table({"a": [1]})]}, dict[str, Any], live)
    assert (error.run_id, error.node, error.path, error.type) == (run.id, "draft", ".rows[0]", "Table")
    for part in (run.id, "'draft'", ".rows[0]", "(Table)", "annotate it as pyarrow.Table"):
        assert part in str(error)
    # The recorded text leaves the run out, as digests of logs do.
    assert run.id not in repr([event for event in run.log if event.kind == "failed"])


def test_an_input_that_cannot_be_stored_is_told_before_there_is_a_run() -> None:
    with pytest.raises(ok.CodecError, match=r"the workflow's input is .*DataFrame.*column") as caught:
        pipeline().simulate(pd.DataFrame({"a": [{1}]}), world=WORLD)
    assert caught.value.run_id == ""


def test_a_consumer_of_another_type_fails_and_says_so() -> None:
    wf = ok.Workflow("misread", input=int)

    @wf.step
    def make(input: int) -> np.ndarray:
        return np.zeros(2)

    @wf.step
    def use(make: pd.DataFrame) -> int:
        return 1

    run = wf.simulate(1, world=ok.World())
    assert run.status == "failed"
    with pytest.raises(ok.RunError, match=r"(?s)use failed.*error for DataFrame.*are no pandas\.DataFrame"):
        run.result()

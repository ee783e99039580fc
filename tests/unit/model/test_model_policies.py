"""Policies as values: what they refuse, how long they wait, and which errors are worth another attempt."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest

import orchkit as ok
from orchkit.model.policies import LONGEST, Backoff, status_of

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("attempts", [0, -1, 2.0, True, "3", None])
def test_retry_counts_whole_attempts_from_one(attempts: Any) -> None:
    with pytest.raises(ok.DefinitionError, match="attempts counts the first"):
        ok.Retry(attempts)


@pytest.mark.parametrize("wait", [1.0, None, "1s", (1, 2)])
def test_retry_waits_by_a_backoff(wait: Any) -> None:
    with pytest.raises(ok.DefinitionError, match=r"use ok\.backoff"):
        ok.Retry(2, wait=wait)


@pytest.mark.parametrize("on", [5, "ValueError", int, (ValueError, 3), (ValueError, int), [ValueError], None])
def test_retry_on_what_is_no_error_is_refused_at_once(on: Any) -> None:
    with pytest.raises(ok.DefinitionError, match="use an exception type"):
        ok.Retry(2, on=on)


@pytest.mark.parametrize(
    ("on", "wanted"),
    [
        (ValueError, True),
        (KeyError, False),
        ((KeyError, ValueError), True),
        ((), False),
        (lambda error: "busy" in str(error), True),
        (lambda error: [], False),
    ],
)
def test_retry_wants_what_it_is_told_to(on: Any, wanted: bool) -> None:
    assert ok.Retry(2, on=on).wants(ValueError("busy")) is wanted


@pytest.mark.parametrize("seconds", [0, -1, NAN, INF, 1e300, "5", None, True])
def test_a_timeout_is_a_number_of_seconds_above_zero(seconds: Any) -> None:
    with pytest.raises(ok.DefinitionError, match=r"Timeout\("):
        ok.Timeout(seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base": -1}, {"base": NAN}, {"factor": 0.5}, {"factor": NAN}, {"cap": -1}, {"cap": INF}, {"cap": NAN},
        {"base": "1"}, {"jitter": "half"}, {"jitter": True},
    ],
)  # fmt: skip
def test_a_backoff_refuses_what_is_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ok.DefinitionError, match="backoff"):
        ok.backoff(**wrong)


def test_a_fallback_needs_an_option() -> None:
    with pytest.raises(ok.DefinitionError, match="at least one option"):
        ok.Fallback()
    assert ok.Fallback(None).options == (None,)


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        (ok.Retry(3), "Retry(3)"),
        (ok.Timeout(2.50), "Timeout(2.5)"),
        (ok.Fallback("a", len), "Fallback('a', len)"),
        (ok.only(ok.Retry(2)), "Only(policies=(Retry(2),))"),
    ],
)
def test_policies_show_themselves(policy: Any, shown: str) -> None:
    assert repr(policy) == shown


def test_policies_are_values() -> None:
    assert ok.Retry(3) == ok.Retry(3) != ok.Retry(4)
    assert hash(ok.Fallback("a")) == hash(ok.Fallback("a"))
    assert ok.Fallback("a") != ok.Fallback("a", correct=True)
    assert pickle.loads(pickle.dumps(ok.Retry(3, on=ValueError))) == ok.Retry(3, on=ValueError)


# base, factor, cap, jitter, k, u, seconds
WAITS = [
    (1, 2, 60, None, 1, 0.7, 1.0),
    (1, 2, 60, None, 2, 0.7, 2.0),
    (1, 2, 60, None, 6, 0.7, 32.0),
    (1, 2, 60, None, 7, 0.7, 60.0),
    (1, 2, 60, None, 5000, 0.7, 60.0),  # 2**4999 is no float
    (0.5, 3, 60, None, 3, 0.7, 4.5),
    (0.5, 1, 60, None, 9, 0.7, 0.5),
    (0, 2, 60, None, 9, 0.7, 0.0),
    (100, 2, 60, None, 1, 0.7, 60.0),
    (4, 2, 60, "full", 1, 0.0, 0.0),
    (4, 2, 60, "full", 1, 0.25, 1.0),
    (4, 2, 60, "full", 2, 1.0, 8.0),
    (4, 2, 60, "full", 9, 0.5, 30.0),
    (4, 2, 60, "equal", 1, 0.0, 2.0),
    (4, 2, 60, "equal", 1, 0.5, 3.0),
    (4, 2, 60, "equal", 2, 1.0, 8.0),
    (4, 2, 60, "sdk", 1, 0.0, 4.0),
    (4, 2, 60, "sdk", 1, 1.0, 3.0),
    (4, 2, 60, "sdk", 2, 0.5, 7.0),
]


@pytest.mark.parametrize(("base", "factor", "cap", "jitter", "k", "u", "seconds"), WAITS)
def test_the_wait_follows_its_formula(
    base: float, factor: float, cap: float, jitter: Any, k: int, u: float, seconds: float
) -> None:
    assert Backoff(base, factor, cap, jitter).seconds(k, u) == pytest.approx(seconds)
    assert ok.backoff(base, factor, cap, jitter).seconds(k, u) == pytest.approx(seconds)


def carrying(**attributes: Any) -> Exception:
    error = RuntimeError("from a client")
    error.__dict__.update(attributes)
    return error


JUDGED = [
    (ConnectionError("reset"), True),
    (TimeoutError(), True),
    (ValueError("no JSON"), True),
    (KeyError("answer"), True),
    (OSError(28, "no space"), True),
    (ExceptionGroup("several", [ValueError()]), True),
    (TypeError(), False),
    (NameError(), False),
    (AttributeError(), False),
    (AssertionError(), False),
    (ImportError(), False),
    (UnboundLocalError(), False),
    (KeyboardInterrupt(), False),
    (SystemExit(), False),
    (ok.CodecError("no"), False),
    (ok.DefinitionError("no"), False),
    (ok.AttemptTimeout("late"), True),
    (carrying(status_code=400), False),
    (carrying(status_code=401), False),
    (carrying(status_code=403), False),
    (carrying(status_code=404), False),
    (carrying(status_code=408), True),
    (carrying(status_code=409), True),
    (carrying(status_code=422), False),
    (carrying(status_code=429), True),
    (carrying(status_code=500), True),
    (carrying(status_code=503), True),
    (carrying(status_code=529), True),
    (carrying(status_code=200), True),
    (carrying(status=404), False),
    (carrying(response=SimpleNamespace(status_code=403)), False),
    (carrying(response=SimpleNamespace(status=429)), True),
    (carrying(status_code=429, code="insufficient_quota"), False),
    (carrying(status_code=429, code="rate_limit_exceeded"), True),
    (carrying(code="spend_limit"), False),
    (carrying(code=429), True),
    (carrying(code=["unhashable"]), True),
    (carrying(status_code="404"), True),
    (carrying(status_code=None, response=None), True),
]


@pytest.mark.parametrize(("error", "worth_it"), JUDGED, ids=[f"{e!r} {e.__dict__}" for e, _ in JUDGED])
def test_transient_tells_what_trying_again_could_help(error: BaseException, worth_it: bool) -> None:
    assert ok.transient(error) is worth_it


def test_the_errors_own_status_goes_before_its_responses() -> None:
    assert status_of(carrying(status_code=500, response=SimpleNamespace(status_code=400))) == 500
    assert status_of(ValueError()) is None


# As a run records them


class Busy(Exception):
    def __init__(self, retry_after: Any) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [
        (30, 30.0), (0.5, 1.0), (1.0, 1.0), (0, 1.0), (-5, 1.0), (NAN, 1.0), (INF, 1.0), (None, 1.0), ("30", 1.0),
        (1e300, LONGEST),
    ],
)  # fmt: skip
def test_a_longer_retry_after_takes_the_place_of_the_backoff(retry_after: Any, waited: float) -> None:
    wf = ok.Workflow("busy")

    @wf.step(retry=ok.Retry(2, wait=ok.backoff(1, jitter=None)))
    def call(input, ctx: ok.Context):
        if ctx.attempt == 1:
            raise Busy(retry_after)
        return "served"

    run = wf.simulate("x", world=ok.World())
    assert run.result() == "served"
    assert [event.dur / 1e6 for event in run.log if event.kind == "waiting"] == [waited]
    assert run.log[-1].t / 1e6 == waited


def test_the_jitter_stays_within_its_bounds_and_differs_by_attempt_and_item() -> None:
    wf = ok.Workflow("jitter", input=list)

    @wf.map(over="input", retry=ok.Retry(4, wait=ok.backoff(8, factor=2, jitter="equal")))
    def each(item):
        raise ConnectionError

    run = wf.simulate([0] * 20, world=ok.World(), seed=4)
    waits: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for event in run.log:
        if event.kind == "waiting":
            waits[event.attempt].append(event.dur / 1e6)
    for k, found in waits.items():
        nominal = 8 * 2 ** (k - 1)
        assert len(set(found)) == len(found) > 3
        assert all(nominal / 2 <= wait <= nominal for wait in found)

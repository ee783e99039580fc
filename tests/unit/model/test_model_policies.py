"""Policies as values: what they refuse, how long they wait, and which errors are worth another attempt."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

import orchkit as ok
from orchkit.model.policies import LONGEST, POLICIES, Backoff, in_order, status_of

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


# The rest of the stack


def refused(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ok.DefinitionError, match=says):
        make()


@pytest.mark.parametrize("seconds", [0, -1, NAN, INF, 1e300, 10**400, "5", None, True])
def test_bounds_in_seconds_are_numbers_above_zero(seconds: Any) -> None:
    refused(lambda: ok.Deadline(seconds), r"^Deadline\(.*use seconds above 0, at most 1e9")
    refused(lambda: ok.Hedge(seconds), r"^Hedge\(.*use seconds above 0, at most 1e9")
    refused(lambda: ok.Breaker(reset=seconds), r"^Breaker\(reset=.*use seconds above 0, at most 1e9")


@pytest.mark.parametrize("count", [0, -1, 2.0, True, "3", NAN])
def test_counts_are_whole_numbers_from_one(count: Any) -> None:
    refused(lambda: ok.Breaker(count), r"^Breaker\(.*a whole number >= 1")
    refused(lambda: ok.Bulkhead(count), r"^Bulkhead\(.*a whole number >= 1")
    refused(lambda: ok.RateLimit(1, count), r"^RateLimit\(burst=.*a whole number >= 1")
    refused(lambda: ok.Budget(tokens=count), r"^Budget\(tokens=.*a whole number >= 1")
    refused(lambda: ok.Budget(calls=count), r"^Budget\(calls=.*a whole number >= 1")


@pytest.mark.parametrize("queue", [-1, 1.0, False, "0", INF])
def test_a_queue_may_be_empty_or_endless(queue: Any) -> None:
    refused(lambda: ok.Bulkhead(1, queue), r"^Bulkhead\(queue=.*a whole number >= 0, or None")
    assert (ok.Bulkhead(1, 0).queue, ok.Bulkhead(1).queue) == (0, None)


@pytest.mark.parametrize("rate", [0, -1, NAN, INF, 1e-10, 5e-324, "2", None, True, 10**400])
def test_a_rate_is_a_number_above_zero(rate: Any) -> None:
    refused(lambda: ok.RateLimit(rate), r"^RateLimit\(.*how many a second, above 0; ten a minute are 10 / 60")
    assert ok.RateLimit(1e-9).per_second == 1e-9


@pytest.mark.parametrize("cost", [0, -1, NAN, INF, "1", True])
def test_a_budget_is_dollars_above_zero(cost: Any) -> None:
    refused(lambda: ok.Budget(cost=cost), r"^Budget\(cost=.*US dollars above 0")


def test_a_budget_bounds_something_and_says_what_then() -> None:
    refused(ok.Budget, "bounds nothing: give cost=")
    odd: Any = "fail"
    refused(lambda: ok.Budget(calls=1, then=odd), r"then='fail'.*use 'stop' or 'degrade'")
    with pytest.raises(TypeError):
        ok.Budget(0.5)  # type: ignore[misc]  # dollars or tokens?


@pytest.mark.parametrize("key", ["", " ", 3, ("a",), True])
def test_a_key_is_a_name(key: Any) -> None:
    for make in (ok.Breaker, partial(ok.Bulkhead, 1), partial(ok.RateLimit, 1), partial(ok.Budget, calls=1)):
        refused(lambda make=make: make(key=key), r"\(key=.*name what is shared")  # type: ignore[misc]


@pytest.mark.parametrize("to", ["", " ", None, 3, ["review"]])
def test_an_escalation_names_an_approval(to: Any) -> None:
    refused(lambda: ok.Escalate(to), r"^Escalate\(.*give the name of an approval")


EVERY = [
    (ok.Escalate("review"), "Escalate('review')"),
    (ok.Fallback(None), "Fallback(None)"),
    (ok.Deadline(60), "Deadline(60)"),
    (ok.Hedge(after=2.5), "Hedge(2.5)"),
    (ok.Retry(3), "Retry(3)"),
    (ok.Budget(cost=1, tokens=9, calls=2, then="degrade", key="k"),
     "Budget(cost=1, tokens=9, calls=2, then='degrade', key='k')"),
    (ok.Breaker(3, 10, key="k"), "Breaker(3, 10, key='k')"),
    (ok.Bulkhead(4, 0, key="k"), "Bulkhead(4, queue=0, key='k')"),
    (ok.RateLimit(0.5, 3, key="k"), "RateLimit(0.5, burst=3, key='k')"),
    (ok.Timeout(5), "Timeout(5)"),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "shown"), EVERY, ids=[shown for _, shown in EVERY])
def test_each_policy_is_a_value_that_its_repr_makes_again(policy: Any, shown: str) -> None:
    assert repr(policy) == shown
    assert eval(shown, vars(ok)) == policy == pickle.loads(pickle.dumps(policy))
    assert hash(eval(shown, vars(ok))) == hash(policy)
    if not isinstance(policy, ok.Fallback):
        with pytest.raises((FrozenInstanceError, TypeError)):
            policy.key = "other"


def test_every_policy_has_its_place_and_its_option() -> None:
    assert tuple(type(policy) for policy, _ in EVERY) == POLICIES  # outermost first, as DESIGN has it
    kinds = [policy.kind for policy in POLICIES]
    assert len(set(kinds)) == len(kinds)
    assert in_order(policy for policy, _ in reversed(EVERY)) == tuple(policy for policy, _ in EVERY)


def test_one_number_is_one_value() -> None:
    assert repr(ok.Deadline(60)) == repr(ok.Deadline(60.0))
    for whole, broken in ((ok.Hedge(1), ok.Hedge(1.0)), (ok.RateLimit(1), ok.RateLimit(1.0))):
        assert [type(getattr(one, whole.__slots__[0])) for one in (whole, broken)] == [float, float]


REJECTIONS = (ok.BreakerOpen, ok.BulkheadFull, ok.BudgetExhausted, ok.DeadlineExceeded)


@pytest.mark.parametrize("kind", REJECTIONS)
def test_what_a_policy_rejected_is_never_tried_again(kind: type[ok.PolicyRejection]) -> None:
    error = kind("no", node="draft", run_id="r1", key="llm:a")
    assert (error.node, error.run_id, error.key) == ("draft", "r1", "llm:a")
    assert (kind("no").node, kind("no").run_id, kind("no").key) == ("", "", "")
    assert not ok.transient(error)
    for on in (Exception, (OSError, Exception), lambda error: True):
        assert not ok.Retry(3, on=on).wants(error)
        assert ok.Retry(3, on=on).wants(ok.AttemptTimeout("late"))
    for asked in (kind, (ValueError, kind), ok.PolicyRejection):
        refused(lambda asked=asked: ok.Retry(3, on=asked), "rejections are never retried")  # type: ignore[misc]


def test_a_deadline_is_a_time_out_as_python_has_it() -> None:
    assert issubclass(ok.DeadlineExceeded, TimeoutError)
    assert [kind for kind in REJECTIONS if issubclass(kind, OSError)] == [ok.DeadlineExceeded]


def test_the_preset_is_what_the_sdks_do() -> None:
    retry, timeout = ok.presets.sdk_default
    assert (retry.attempts, timeout.seconds) == (3, 600)
    assert [retry.wait.seconds(k, 0.0) for k in (1, 2, 3, 5, 6)] == [0.5, 1.0, 2.0, 8.0, 8.0]
    assert [retry.wait.seconds(k, 1.0) for k in (1, 2)] == [0.375, 0.75]
    wf = ok.Workflow("w")

    @wf.step(fallback="sorry", retry=9)
    def draft() -> str: ...

    variant = wf.using(draft=ok.presets.sdk_default)
    assert variant.policies("draft") == (ok.Fallback("sorry"), *ok.presets.sdk_default)
    run = variant.simulate(None, world=ok.World(draft=ok.fake("done", error=1.0)))
    assert (run.status, sum(event.kind == "started" for event in run.log)) == ("degraded", 3)


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

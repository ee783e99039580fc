"""Wrong arguments fail at the call, and say what is wrong, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import orchkit as ok
from tests.support.names import shown

NAN, INF = float("nan"), float("inf")


def draft(input: str) -> str:
    return f"Dear {input}"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tags": "llm"}, r"tags='llm'; give a list, tags=\['llm'\]"),
        ({"tags": 5}, r"tags=5; give a list of texts"),
        ({"tags": ["a", 5]}, r"tags=\['a', 5\]; give a list of texts"),
        ({"tags": [""]}, r"tags=\[''\]; give a list of texts"),
        ({"tags": None}, r"tags=None; give a list of texts"),
        ({"after": 5}, r"after=5; give the function or the name of a step"),
        ({"after": None}, r"after=None; give the function"),
        ({"after": ["a", 5]}, r"after=5; give the function"),
        ({"after": ""}, r"after=''; give the function"),
        ({"effect": "no"}, r"effect='no'; give True or False"),
        ({"effect": 1}, r"effect=1; give True or False"),
        ({"version": 3}, r"version=3; give a text"),
        ({"version": ""}, r"version=''; give a text"),
        ({"provider": 3}, r"provider=3; give a text"),
        ({"on_error": "ignore"}, r"on_error='ignore'; use one of 'fail', 'skip'"),
        ({"on_error": []}, r"on_error=\[\]; use one of"),
        ({"breaker": 5}, r"breaker=5; give an ok\.Breaker\(\.\.\.\)"),
        ({"rate_limit": 2.0}, r"rate_limit=2\.0; give an ok\.RateLimit"),
        ({"budget": 0.5}, r"budget=0\.5; give an ok\.Budget"),
        ({"hedge": ok.Deadline(5)}, r"hedge=Deadline\(5\); give an ok\.Hedge"),
        ({"fallback": ok.Retry(5)}, r"fallback=Retry\(5\); give an ok\.Fallback"),
        ({"retries": 3}, r"no option 'retries'; there are: escalate, fallback, .*retry, .*timeout, effect"),
        ({"over": "a"}, r"no option 'over'; there are"),
        ({"targets": ["a"]}, r"no option 'targets'; there are"),
    ],
    ids=shown,
)
def test_options_of_a_step(options: dict[str, Any], says: str) -> None:
    wf = ok.Workflow("w", input=str)
    with pytest.raises(ok.DefinitionError, match=rf"^@wf\.step of 'draft': {says}"):
        wf.step(**options)(draft)
    assert repr(wf) == "Workflow('w', 0 nodes)"


def test_policies_are_given_by_options_in_any_order_and_told_outermost_first() -> None:
    wf = ok.Workflow("w", input=str)
    guards = {"breaker": ok.Breaker(5, 30), "rate_limit": ok.RateLimit(2), "budget": ok.Budget(cost=0.5)}
    wf.step(timeout=20, bulkhead=4, retry=3, hedge=15, deadline=60, fallback="x", escalate="review", **guards)(draft)
    assert repr(wf.policies("draft")) == (
        "(Escalate('review'), Fallback('x'), Deadline(60), Hedge(15), Retry(3), Budget(cost=0.5), Breaker(5, 30), "
        "Bulkhead(4), RateLimit(2), Timeout(20))"
    )
    wf.step(hedge=None, breaker=None, budget=None, fallback=None)(draft)
    assert wf.policies("draft") == ()


@pytest.mark.parametrize("options", [{"deadline": 0}, {"hedge": "15"}, {"bulkhead": 2.5}, {"escalate": 3}], ids=shown)
def test_what_is_short_for_a_policy_is_checked_by_it(options: dict[str, Any]) -> None:
    with pytest.raises(ok.DefinitionError, match=rf"^{next(iter(options)).title()}\("):
        ok.Workflow("w").step(**options)(draft)


def test_a_variant_replaces_policies_of_its_kind_in_their_place() -> None:
    wf = hello().using(draft=[ok.Timeout(5), ok.Breaker(3)])
    variant = wf.using(draft=[ok.Hedge(after=15), ok.Breaker(9)])
    assert variant.policies("draft") == (ok.Hedge(15), ok.Breaker(9), ok.Timeout(5))
    assert variant.using(draft=ok.only(ok.Bulkhead(2))).policies("draft") == (ok.Bulkhead(2),)
    assert wf.policies("draft") == (ok.Breaker(3), ok.Timeout(5))
    with pytest.raises(ok.DefinitionError, match="one of a kind"):
        wf.using(draft=[ok.Hedge(1), ok.Hedge(2)])


def test_a_node_that_is_not_there_is_answered_with_what_was_meant() -> None:
    wf = ok.Workflow("w", input=str)
    wf.step(draft)
    with pytest.raises(ok.DefinitionError, match=r"^using\(daft=\.\.\.\): no such node; did you mean 'draft'\?$"):
        wf.using(daft=ok.Retry(3))
    with pytest.raises(ok.DefinitionError, match=r"^policies\('zzz'\): no such node; there are: draft$"):
        wf.policies("zzz")


@pytest.mark.parametrize("limit", [0, -1, 2.0, True, "3"])
def test_a_limit_counts_from_one(limit: Any) -> None:
    with pytest.raises(ok.DefinitionError, match=r"^map: limit=.*a whole number from 1, or None for all"):
        ok.Workflow("w").map(over="a", limit=limit)


@pytest.mark.parametrize("over", [5, "", None, ["a"], object()], ids=shown)
def test_a_map_goes_over_one_node(over: Any) -> None:
    with pytest.raises(ok.DefinitionError, match=r"^map: over=.*give the function or the name of a step"):
        ok.Workflow("w").map(over=over)


@pytest.mark.parametrize("to", [5, None, ["a", 5]], ids=shown)
def test_a_route_leads_to_nodes(to: Any) -> None:
    with pytest.raises(ok.DefinitionError, match=r"^route: to=.*give the function or the name of a step"):
        ok.Workflow("w").route(to=to)
    with pytest.raises(ok.DefinitionError, match=r"to=\['a'\]"):
        ok.Workflow("w").route(to="a")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        *(({"timeout": wrong}, "timeout=.*give seconds above 0, at most 1e9") for wrong in (0, -1, NAN, INF, 1e300)),
        *(({"timeout": wrong}, "timeout=.*give seconds above 0, at most 1e9") for wrong in ("5", True, 10**400)),
        ({"show": 5}, "show=5; give the function"),
        ({"show": ["draft"]}, r"show=\['draft'\]; give the function"),
        ({"prefill": 5}, "prefill=5; give a dict"),
        ({"prefill": ["note"]}, "prefill=.*give a dict"),
        ({"prefill": {1: "draft"}}, "prefill=.*give a dict"),
        ({"prefill": {"note": 5}}, r"prefill\['note'\]=5; give the function"),
        ({"after": 5}, "after=5; give the function"),
        ({"tags": "desk"}, r"tags='desk'; give a list, tags=\['desk'\]"),
    ],
    ids=shown,
)
def test_arguments_of_an_approval(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ok.DefinitionError, match=rf"^approval\('review'\): {says}"):
        ok.Workflow("w").approval("review", **arguments)


@pytest.mark.parametrize("name", [3, None, draft], ids=shown)
def test_an_approval_has_a_name(name: Any) -> None:
    with pytest.raises(ok.DefinitionError, match="give it a name; steps get the answer by it"):
        ok.Workflow("w").approval(name)


def test_the_output_is_a_name() -> None:
    with pytest.raises(ok.DefinitionError, match=r"^Workflow\('w'\): output=3; give a text"):
        ok.Workflow("w", output=3)  # type: ignore[arg-type]  # that is the point


def hello() -> ok.Workflow:
    wf = ok.Workflow("hello", input=str)
    wf.step(draft)
    return wf


@pytest.mark.parametrize("seed", ["x", 1.5, True, None, [1]], ids=shown)
def test_a_seed_is_an_integer(seed: Any) -> None:
    with pytest.raises(ok.DefinitionError, match=r"^simulate: seed=.*give an integer, such as seed=1"):
        hello().simulate("Dana", world=ok.World(), seed=seed)


def test_an_integer_of_numpy_is_that_seed() -> None:
    wf, world = hello(), ok.World()
    odd: Any = np.int64(7)
    assert wf.simulate("Dana", world=world, seed=odd).receipt == wf.simulate("Dana", world=world, seed=7).receipt


@pytest.mark.parametrize("durability", [3, "disk", None, []], ids=shown)
def test_durability_is_one_of_four_words(durability: Any, tmp_path: Path) -> None:
    file = tmp_path / "lab.duckdb"
    calls: list[Callable[[], object]] = [
        lambda: hello().start("Dana", store=file, durability=durability),
        lambda: hello().simulate("Dana", world=ok.World(), durability=durability),
    ]
    for call in calls:
        with pytest.raises(ok.DefinitionError, match=r"durability=.*use one of 'strict', 'group', 'exit', 'memory'"):
            call()
    assert not file.exists()


def test_what_is_right_is_kept_as_it_was_meant() -> None:
    wf = hello()
    wf.step(tags={"llm"}, after=draft, provider="llm:a", version="2", effect=True)(plan)
    wf.map(over=plan, limit=2, after=[ok.ref("draft"), plan])(each)
    wf.approval("review", show=draft, prefill={"note": draft, "to": "each"}, timeout=5, after=ok.ref(draft))
    first, second, third = (wf.checked().nodes[i] for i in (1, 2, 3))
    assert (first.tags, first.after, first.provider, first.version) == (("llm",), ("draft",), "llm:a", "2")
    assert (second.over, second.limit, second.after) == ("plan", 2, ("draft", "plan"))
    assert (third.show, third.prefill, third.timeout) == ("draft", (("note", "draft"), ("to", "each")), 5)


def plan(input: str) -> list[str]: ...


def each(item: str) -> str: ...

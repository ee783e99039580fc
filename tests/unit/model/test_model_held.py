"""What goes into a workflow that a node holds, and what comes out of it, must fit; what nobody can be sure of may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, Field

import orchkit as ok
from orchkit.model.delivering import result_of_graph
from orchkit.model.fits import misfit
from orchkit.model.shapes import OneOf, Record, named

MEND = "correct one of the two annotations"


class Ticket(BaseModel):
    id: str
    text: str
    urgent: bool = False


class Renamed(BaseModel):
    ticket: str = Field(validation_alias="text")


def problems(wf: ok.Workflow) -> list[str]:
    try:
        wf.checked()
    except ok.GraphError as error:
        return list(error.problems)
    return []


def step(name: str, takes: Any = ..., gives: Any = ..., source: str = "input") -> Callable[..., Any]:
    scope: dict[str, Any] = {}
    exec(f"def {name}({source}): ...", scope)
    fn: Callable[..., Any] = scope[name]
    fn.__annotations__ |= {} if takes is ... else {source: takes}
    fn.__annotations__ |= {} if gives is ... else {"return": gives}
    return fn


def flow(name: str, takes: Any = object, gives: Any = ..., uses: Any = ..., **more: Any) -> ok.Workflow:
    """A workflow of one step, `work`, with an input of one annotation that is used by another."""
    wf = ok.Workflow(name, input=takes)
    wf.step(**more)(step("work", uses, gives))
    return wf


def within(inner: ok.Workflow, depth: int) -> ok.Workflow:
    for i in range(depth):
        outer = ok.Workflow(f"level{i}")
        outer.call("deeper", inner)
        inner = outer
    return inner


def always(result: Any, round: int) -> bool:
    return True


# What comes out


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("kind", ["call", "loop", "map"])
def test_what_a_workflow_delivers_is_compared_with_what_is_taken(kind: str, depth: int) -> None:
    inner = within(flow("inner", gives=list[str]), depth)
    wf = ok.Workflow("outer")
    if kind == "call":
        wf.call("held", inner)
    elif kind == "loop":
        wf.loop("held", body=inner, until=always)
    else:
        wf.map("held", over="input", body=inner)
    wf.step(step("send", int, source="held"))
    given = "list[list[str]]" if kind == "map" else "list[str]"
    assert problems(wf) == [f"'send' cannot get its 'held': no {given} can be read as int; {MEND}"]
    wf.step(step("send", list, source="held"))
    assert problems(wf) == []


def test_both_ends_are_quoted_also_the_one_within() -> None:
    inner = ok.Workflow("inner", input=str)

    @inner.step
    def extract(input: str) -> list[str]: ...

    wf = ok.Workflow("outer", input=str)
    wf.call("enrich", inner)

    @wf.step
    def send(enrich: str) -> str: ...

    with pytest.raises(ok.GraphError) as caught:
        wf.checked()
    said = [line.strip().partition("   (test_model_held.py:")[0] for line in str(caught.value).splitlines()[2:]]
    assert said == [
        "def send(enrich: str) -> str: ...",
        'wf.call("enrich", inner)',
        "def extract(input: str) -> list[str]: ...",
    ]


def test_several_sinks_deliver_a_dict_of_theirs() -> None:
    inner = flow("inner", gives=int)
    inner.step(step("count", gives=str))
    wf = ok.Workflow("outer")
    wf.call("held", inner)
    wf.step(step("send", list, source="held"))
    assert problems(wf) == [
        f"'send' cannot get its 'held': no {{'work': int, 'count': str}} can be read as list; {MEND}"
    ]
    wf.step(step("send", Ticket, source="held"))
    (problem,) = problems(wf)
    assert "can be read as Ticket, which needs 'id', 'text'" in problem
    wf.step(step("send", dict[str, Any], source="held"))
    assert problems(wf) == []


def test_of_alternatives_one_must_fit() -> None:
    def routed(left: Any, right: Any) -> ok.Workflow:
        inner = ok.Workflow("inner")

        @inner.route(to=["a", "b"])
        def pick(input) -> str: ...

        inner.step(step("a", gives=left))
        inner.step(step("b", gives=right))
        return inner

    for left, right, fits in [(int, bool, False), (int, list[str], True), (int, ..., True)]:
        wf = ok.Workflow("outer")
        wf.call("held", routed(left, right))
        wf.step(step("send", list[str], source="held"))
        said = f"'send' cannot get its 'held': no int | bool | None can be read as list[str]; {MEND}"
        assert problems(wf) == ([] if fits else [said])


def test_what_may_be_left_out_may_be_none() -> None:
    inner = ok.Workflow("inner", output="a")

    @inner.route(to=["a", "b"])
    def pick(input) -> str:
        return "b"

    inner.step(step("a", gives=int))
    inner.step(step("b", gives=int))
    wf = ok.Workflow("outer")
    wf.call("held", inner)
    wf.step(step("send", list[str] | None, gives=int, source="held"))
    assert problems(wf) == []
    world = ok.World({"held/b": ok.fake(1), "send": ok.fake(2)})
    assert wf.simulate("x", world=world).result() == 2


def test_an_answer_that_may_not_come_in_time_may_be_none() -> None:
    for timeout, said in [(None, "no int can"), (5.0, "no int | None can")]:
        inner = ok.Workflow("inner")
        inner.approval("review", answer=int, timeout=timeout)
        wf = ok.Workflow("outer")
        wf.call("held", inner)
        wf.step(step("send", list[str], source="held"))
        (problem,) = problems(wf)
        assert said in problem
        wf.step(step("send", list[str] | None, source="held"))
        assert len(problems(wf)) == (timeout is None)


def test_a_workflow_with_problems_of_its_own_says_those_only() -> None:
    inner = flow("inner", gives=int)
    inner.step(step("other", source="wrok"))
    wf = ok.Workflow("outer")
    wf.call("held", inner)
    wf.step(step("send", list[str], source="held"))
    (problem,) = problems(wf)
    assert problem.startswith("in call 'held': 'other' has a parameter 'wrok'")


# What goes in


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_what_a_workflow_gets_is_compared_with_its_input(depth: int) -> None:
    wf = ok.Workflow("outer", input=list[int])
    wf.call("held", within(flow("inner", str), depth))
    assert problems(wf) == [
        "call 'held' cannot get its 'input': no list[int] can be read as str, the input of workflow 'inner'; " + MEND
    ]


@pytest.mark.parametrize(("depth", "path"), [(0, "work"), (1, "deeper/work"), (2, "deeper/deeper/work")])
def test_and_with_the_steps_that_get_it_where_that_says_nothing(depth: int, path: str) -> None:
    wf = ok.Workflow("outer", input=int)
    wf.step(step("count", gives=int))
    wf.call("held", within(flow("inner", uses=list[str]), depth), input="count")
    assert problems(wf) == [
        f"call 'held' cannot get its 'input': no int can be read as list[str], as {path!r} does; {MEND}"
    ]


def test_each_item_of_a_map_goes_into_its_body() -> None:
    wf = ok.Workflow("outer", input=list[int])
    wf.map("held", over="input", body=flow("inner", Ticket))
    assert problems(wf) == [
        f"map 'held' cannot get its 'input': no int can be read as Ticket, the input of workflow 'inner'; {MEND}"
    ]


def test_a_map_within_needs_a_list_and_items_that_fit() -> None:
    inner = ok.Workflow("inner")
    inner.map(over="input")(step("each", list[str], source="item"))
    wf = ok.Workflow("outer", input=int)
    wf.call("held", inner)
    assert problems(wf) == [f"call 'held' cannot get its 'input': map 'each' goes over it, and int is no list; {MEND}"]
    wf = ok.Workflow("outer", input=list[int])
    wf.call("held", inner)
    assert problems(wf) == [
        "call 'held' cannot get its 'input': no int can be read as list[str], as map 'each' reads its 'item'; " + MEND
    ]


def test_a_round_gets_what_the_one_before_delivers() -> None:
    def loop(max: int, uses: Any) -> ok.Workflow:
        wf = ok.Workflow("outer", input=list[int])
        wf.loop("held", body=flow("inner", list[int], int, uses), until=always, max=max)
        return wf

    assert problems(loop(2, list[int])) == [
        "loop 'held' cannot go round again, for a round gets what the one before delivers: no int can be read as "
        f"list[int], as 'work' does; {MEND}, or go round once: max=1"
    ]
    assert problems(loop(1, list[int])) == []
    assert problems(loop(2, ...)) == []


def test_a_round_is_read_by_who_uses_it() -> None:
    body = ok.Workflow("body", input=str)

    @body.step
    def work(input) -> int:
        return len(str(input))

    def short(result: int, round: int) -> bool:
        return result < 2

    wf = ok.Workflow("outer", input=str)
    wf.loop("held", body=body, until=short)
    assert wf.simulate("0123456789", world=ok.World()).result() == 1


def test_a_dict_of_fields_is_compared_field_by_field() -> None:
    def call(takes: Any, **feeds: str) -> list[str]:
        wf = ok.Workflow("outer", input=str)
        wf.step(step("count", gives=int))
        wf.step(step("some", gives=list[str]))
        wf.call("held", flow("inner", takes), input=feeds)
        return problems(wf)

    start = "call 'held' cannot get its 'input': no "
    assert call(Ticket, id="input", text="input") == []
    assert call(Renamed, text="input") == call(dict, text="some") == call(object, text="some") == []
    (lacks,) = call(Ticket, id="input", urgent="count")
    assert lacks.startswith(start + "{'id': str, 'urgent': int} can be read as Ticket, which needs 'text'")
    (clash,) = call(Ticket, id="input", text="some")
    assert clash.startswith(start + "{'id': str, 'text': list[str]} can be read as Ticket, because of its 'text'")
    (late,) = call(Ticket, id="input", text="input", urgent="some")
    assert "because of its 'urgent'" in late
    (text,) = call(str, id="input")
    assert text.startswith(start + "{'id': str} can be read as str, the input of workflow 'inner'")


# What nobody can be sure of


def test_what_a_route_may_keep_away_is_left_alone() -> None:
    inner = ok.Workflow("inner")

    @inner.route(to=["texts", "numbers"])
    def pick(input) -> str:
        return "texts" if isinstance(input, list) else "numbers"

    inner.step(step("texts", list[str], list[str]))
    inner.step(step("numbers", int, int))
    wf = ok.Workflow("outer", input=int)
    wf.call("held", inner)
    assert problems(wf) == []
    assert wf.simulate(3, world=ok.World({"held/numbers": ok.fake(4)})).result() == 4


@pytest.mark.parametrize("more", [{"fallback": "none"}, {"on_error": "skip"}])
def test_who_gets_over_it_is_left_alone(more: Any) -> None:
    wf = ok.Workflow("outer", input=int)
    wf.call("held", flow("inner", uses=list[str], **more))
    assert problems(wf) == []


@pytest.mark.parametrize(
    ("given", "takes", "uses"),
    [
        (object, str, ...),
        (int, object, ...),
        (int, Any, ...),
        (str, int, ...),
        (int, int | list[str], int),
        (dict, Ticket, ...),
        (Ticket, dict[str, Any], ...),
        (int | list[str], str | list[int], ...),
    ],
)
def test_what_may_fit_is_left_alone(given: Any, takes: Any, uses: Any) -> None:
    wf = ok.Workflow("outer", input=given)
    wf.call("held", flow("inner", takes, uses=uses))
    assert problems(wf) == []


def test_what_says_nothing_delivers_anything() -> None:
    for gives in (..., Any, object):
        wf = ok.Workflow("outer", input=int)
        wf.call("held", flow("inner", gives=gives))
        wf.map(over="held")(step("each", Ticket, source="item"))
        assert problems(wf) == []


# Shapes


def test_shapes_are_named_as_their_users_would() -> None:
    shape = Record((("a", int), ("b", OneOf((str, None, str)))))
    assert named(shape) == "{'a': int, 'b': str | None}"
    assert misfit(OneOf((shape, int)), list[str]) == f"no {named(shape)} | int can be read as list[str]"
    assert misfit(OneOf((shape, list[int])), list[str]) is None
    assert misfit(list[shape], str) is not None  # type: ignore[valid-type]  # a shape is made here
    assert misfit(list[shape], list[int]) is None  # type: ignore[valid-type]  # as above


def test_what_a_graph_delivers_has_a_shape() -> None:
    assert result_of_graph(flow("inner", gives=int).checked()) is int
    two = flow("inner", gives=int)
    two.step(step("other", gives=str))
    assert result_of_graph(two.checked()) == Record((("work", int), ("other", str)))
    two.step(on_error="skip")(step("other", gives=str))
    assert result_of_graph(two.checked()) == dict[str, Any]

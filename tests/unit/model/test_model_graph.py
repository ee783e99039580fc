"""What can be wrong with a graph: all of it is found when it is built, at once, with the nearest names."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.model.codec import codec_for
from orchkit.model.steps import describe


def problems(wf: ok.Workflow) -> list[str]:
    with pytest.raises(ok.GraphError) as caught:
        wf.checked()
    assert isinstance(caught.value, ValueError)
    for problem in caught.value.problems:
        assert problem in str(caught.value)
    return list(caught.value.problems)


def workflow(*functions: Callable[..., Any], **options: Any) -> ok.Workflow:
    wf = ok.Workflow("graph", **options)
    for function in functions:
        wf.step(function)
    return wf


def plan(input): ...


class Client:
    """Nothing that pydantic knows how to check."""


def no_client() -> str:
    with pytest.raises(ok.DefinitionError) as caught:
        codec_for(Client)
    return str(caught.value)


def test_an_unknown_parameter_names_the_nearest_nodes() -> None:
    def draft(plam): ...

    (problem,) = problems(workflow(plan, draft))
    assert problem == "'draft' has a parameter 'plam', which is no node: did you mean 'plan'?"


def test_a_default_does_not_excuse_an_unknown_parameter() -> None:
    def draft(plan, temprature=0.2): ...

    (problem,) = problems(workflow(plan, draft))
    assert "'temprature', which is no node" in problem
    assert "there are: input, plan, draft" in problem


def test_const_does_excuse_it() -> None:
    def draft(plan, temperature=ok.const(0.2)): ...

    assert workflow(plan, draft).checked().index == {"plan": 0, "draft": 1}


@pytest.mark.parametrize(("written", "meant"), [("inputt", "input"), ("contx", "ctx"), ("items", "item")])
def test_a_misspelled_special_name_is_recognised(written: str, meant: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"def draft({written}): ...", scope)
    (problem,) = problems(workflow(scope["draft"]))
    assert f"did you mean {meant!r}" in problem


def test_unknown_names_are_found_in_every_place_that_takes_one() -> None:
    wf = ok.Workflow("graph", output="plam")
    wf.step(plan)

    @wf.step(after="plam")
    def late(input): ...

    @wf.route(to=["plam", "late"])
    def choose(input): ...

    @wf.map(over="plam")
    def each(item): ...

    wf.approval("review", show="plam", prefill={"text": "plam"})
    found = problems(wf)
    assert [problem.partition(" 'plam'")[0] for problem in found] == [
        "'late' comes after",
        "route 'choose' leads to",
        "'each' has a parameter",
        "'review' has a parameter",
        "'review' has a parameter",
        "the workflow's output is",
    ]
    assert all("did you mean 'plan'" in problem for problem in found)


@pytest.mark.parametrize("place", ["after", "to"])
def test_the_input_is_no_node_and_is_not_offered_in_its_own_stead(place: str) -> None:
    wf = workflow(plan)
    if place == "after":

        @wf.step(after="input")
        def late(plan): ...

    else:

        @wf.route(to=["input", "plan"])
        def choose(input): ...

    (problem,) = problems(wf)
    assert "'input', which is no node" in problem
    assert "did you mean 'input'" not in problem


def test_all_problems_come_at_once() -> None:
    wf = ok.Workflow("graph", output="nothing")

    @wf.step
    def one(nowhere): ...

    @wf.step
    def two(*everything): ...

    @wf.step
    def three(two: Undefined): ...  # type: ignore[name-defined]  # noqa: F821 - that is the point

    @wf.step
    def four(five): ...

    @wf.step
    def five(four): ...

    @wf.step
    def six(six, error, elsewhere, item): ...

    @wf.route(to=[])
    def seven(input): ...

    found = "\n".join(problems(wf))
    for expected in (
        "'one' has a parameter 'nowhere'",
        "step 'two': parameter '*everything' has no name",
        "step 'three': annotation names 'Undefined'",
        "cycle: four -> five -> four",
        "'six' asks for its own result",
        "'six' asks for 'error', which only a fallback has",
        "'six' has a parameter 'elsewhere'",
        "'six' asks for 'item', which only a map has",
        "route 'seven' declares no targets",
        "the workflow's output is 'nothing'",
    ):
        assert expected in found


def test_a_cycle_is_told_with_its_path_also_through_routes_and_after() -> None:
    wf = ok.Workflow("graph")

    @wf.step
    def start(input): ...

    @wf.step
    def draft(start, judge=None): ...

    @wf.step(after=draft)
    def check(start): ...

    @wf.route(to=["draft", "done"])
    def judge(check) -> str: ...

    @wf.step
    def done(check): ...

    (problem,) = problems(wf)
    path = problem.removeprefix("cycle: ").partition(";")[0].split(" -> ")
    assert path[0] == path[-1]
    assert set(path) <= {"draft", "check", "judge"}
    edges = {("draft", "check"), ("check", "judge"), ("judge", "draft")}
    assert set(itertools.pairwise(path)) <= edges


def test_a_node_cannot_wait_for_itself_in_any_way() -> None:
    wf = ok.Workflow("graph")

    @wf.step
    def data(data): ...

    @wf.step(after="order")
    def order(input): ...

    @wf.route(to=["choice", "order"])
    def choice(input): ...

    found = problems(wf)
    assert "'data' asks for its own result" in found
    assert "'order' comes after itself" in found
    assert any(problem.startswith("cycle: choice -> choice") for problem in found)


@pytest.mark.parametrize("name", ["input", "item", "ctx", "error", "not a name", "class", "1st", ""])
def test_names_that_no_parameter_can_bear_are_refused(name: str) -> None:
    wf = workflow(plan)
    wf.approval(name)
    (problem,) = problems(wf)
    assert repr(name) in problem


def test_what_has_no_name_or_no_named_parameters_is_no_step() -> None:
    with pytest.raises(ok.DefinitionError, match="lambda"):
        ok.Workflow("graph").step(lambda input: input)
    with pytest.raises(ok.DefinitionError, match="is not a function"):
        ok.Workflow("graph").step(3)
    with pytest.raises(ok.DefinitionError, match="with a name"):
        ok.step(3)  # type: ignore[arg-type]

    def keywords(**inputs): ...
    def positional(input, /): ...

    found = problems(workflow(keywords, positional, max))
    assert "'**inputs' has no name" in found[0]
    assert "'input' has no name" in found[1]
    assert "step 'max'" in found[2]


@pytest.mark.parametrize("annotation", ["1 +", "ok.nothing", "list[", "5 / 0"])
def test_an_annotation_that_cannot_be_read_names_its_step(annotation: str) -> None:
    def draft(input): ...

    draft.__annotations__["input"] = annotation
    (problem,) = problems(workflow(draft))
    assert problem.startswith("step 'draft': an")


def test_item_belongs_to_maps_and_error_to_fallbacks() -> None:
    def single(item): ...
    def anxious(error): ...

    found = problems(workflow(single, anxious))
    assert found == [
        "'single' asks for 'item', which only a map has; use @wf.map(over=...)",
        "'anxious' asks for 'error', which only a fallback has",
    ]


def test_a_map_may_leave_its_item_alone() -> None:
    # As many independent answers as the list is long: what a vote asks for.
    wf = ok.Workflow("graph", input=list)

    @wf.map(over="input")
    def sample(ctx: ok.Context) -> int:
        assert ctx.item is not None
        return ctx.item * 10

    assert wf.simulate(["a", "b", "c"], world=ok.World()).result() == [0, 10, 20]


def test_a_fallback_outside_a_map_has_no_item_either() -> None:
    def spare(item): ...

    wf = ok.Workflow("graph", input=str)
    wf.step(fallback=spare)(plan)
    with pytest.raises(ok.DefinitionError, match="'spare' of 'plan' asks for 'item'"):
        wf.simulate("x", world=ok.World())


def test_a_fallback_gets_the_inputs_of_its_node_and_no_others() -> None:
    def spare(elsewhere): ...

    wf = ok.Workflow("graph", input=str)
    wf.step(fallback=spare)(plan)
    with pytest.raises(ok.DefinitionError, match=r"'spare' of 'plan' asks for 'elsewhere'"):
        wf.simulate("x", world=ok.World())


def test_a_fallback_value_must_be_what_the_node_delivers() -> None:
    wf = ok.Workflow("graph", input=str)

    @wf.step(fallback="none")
    def count(input: str) -> int: ...

    with pytest.raises(ok.DefinitionError, match="fallback 'none' of 'count' is not what the node delivers"):
        wf.simulate("x", world=ok.World())


def test_a_class_without_a_schema_is_refused_by_name_and_place() -> None:
    wf = ok.Workflow("graph", input=str)

    @wf.step
    def connect(input: str) -> Client: ...

    @wf.step
    def use(connect: Client) -> str: ...

    with pytest.raises(ok.DefinitionError, match=r"result of 'connect': values of .*Client.* cannot be"):
        wf.simulate("x", world=ok.World())


def test_redefining_replaces_a_node_in_its_place() -> None:
    wf = ok.Workflow("graph")

    @wf.step
    def one(input):
        return "first"

    @wf.step
    def two(input):
        return "two"

    before = wf.checked()

    @wf.step(retry=2)
    def one(input):  # noqa: F811 - as a cell that runs again does
        return "again"

    after = wf.checked()
    assert [node.name for node in before.nodes] == [node.name for node in after.nodes] == ["one", "two"]
    assert wf.simulate(0, world=ok.World()).result() == {"one": "again", "two": "two"}
    assert wf.policies("one") == (ok.Retry(2),)


def test_a_redefinition_mends_a_broken_graph() -> None:
    def draft(plam): ...

    wf = workflow(plan, draft)
    problems(wf)

    @wf.step
    def draft(plan): ...

    assert list(wf.checked().index) == ["plan", "draft"]


def test_cells_may_define_in_any_order() -> None:
    def a(input):
        return [1, 2]

    def b(a, c):
        return [*a, c]

    def c(a):
        return len(a)

    def d(b, c):
        return [*b, c]

    for order in itertools.permutations([a, b, c, d]):
        wf = workflow(*order, input=str)
        assert wf.simulate("x", world=ok.World()).result() == [1, 2, 2, 2]
        positions = wf.checked().index
        assert positions["a"] < positions["c"] < positions["b"] < positions["d"]


def test_what_no_choice_of_routes_leads_to_is_refused() -> None:
    wf = ok.Workflow("graph")

    @wf.route(to=["left", "right"])
    def choose(input) -> str: ...

    @wf.step
    def left(input): ...

    @wf.step
    def right(input): ...

    @wf.step
    def both(left, right): ...

    (problem,) = problems(wf)
    assert problem == "'both' can never run: no choice of routes leads to it"

    @wf.step
    def both(left=None, right=None): ...  # noqa: F811 - as a cell that runs again does

    assert "both" in wf.checked().index


def test_many_routes_are_no_reason_to_wait() -> None:
    wf = ok.Workflow("graph")
    for i in range(30):
        scope: dict[str, Any] = {}
        exec(f"def r{i}(input) -> str: ...\ndef a{i}(input): ...\ndef b{i}(input): ...", scope)
        wf.route(to=[f"a{i}", f"b{i}"])(scope[f"r{i}"])
        wf.step(scope[f"a{i}"])
        wf.step(scope[f"b{i}"])
    assert len(wf.checked().sinks) == 60
    assert not wf.checked().alternatives


def test_compiled_lists_agree_with_the_edges_in_any_random_graph() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        wf = ok.Workflow("graph")
        names: list[str] = []
        for i in range(rng.randint(1, 10)):
            inputs = rng.sample(names, min(len(names), rng.randint(0, 3)))
            scope: dict[str, Any] = {}
            exec(f"def n{i}({', '.join(inputs)}): ...", scope)
            wf.step(after=rng.sample(names, min(len(names), rng.randint(0, 2))))(scope[f"n{i}"])
            names.append(f"n{i}")
        graph = wf.checked()
        edges = list(graph.edges())
        for j, node in enumerate(graph.nodes):
            into = {edge.source for edge in edges if edge.target == node.name}
            assert graph.waits[j] == sum(dep.target == j for deps in graph.followers for dep in deps)
            assert graph.waits[j] >= len(into)
            assert all(graph.index[source] < j for source in into)


def test_describe_reads_flags_and_constants() -> None:
    def step(input, item, ctx, error, other=3, temperature=ok.const(0.5), drawn=ok.ref("plan")): ...

    function = describe(step, what="step")
    assert [(p.name, p.source, p.required, p.default) for p in function.params] == [
        ("input", "input", True, None),
        ("other", "other", False, 3),
        ("drawn", "plan", True, None),
    ]
    assert function.item is not None
    assert (function.wants_ctx, function.wants_error, function.consts) == (True, True, (("temperature", 0.5),))


def test_descendants_follow_data_order_and_choice() -> None:
    wf = ok.Workflow("w", input=int)

    @wf.step
    def a(input): ...

    @wf.route(to=["c"])
    def b(a) -> str: ...

    @wf.step
    def c(input): ...

    @wf.step(after=["c"])
    def d(input): ...

    @wf.step
    def e(input): ...

    graph = wf.checked()

    def below(*names: str) -> set[str]:
        return {graph.nodes[i].name for i in graph.descendants(graph.index[name] for name in names)}

    assert below("a") == {"b", "c", "d"}
    assert below("b", "c") == {"c", "d"}
    assert below("d") == below() == set()


# All at once, whoever finds it


def test_what_fallbacks_annotations_and_edges_have_wrong_comes_with_the_rest() -> None:
    def spare(elsewhere, inptu, item): ...
    def loose(*inputs): ...

    wf = ok.Workflow("graph", input=Client)

    @wf.step(fallback=ok.Fallback(spare, lambda input: "x", loose, 3.5))
    def plan(input) -> list[str]: ...

    @wf.step
    def connect(plan, lokup) -> Client: ...

    @wf.step
    def count(plan: int) -> int: ...

    @wf.map(over="count")
    def each(item: Nowhere, *others): ...  # type: ignore[name-defined]  # noqa: F821 - that is the point

    wf.approval("review", answer=Client)
    assert problems(wf) == [
        "fallback 'spare' of 'plan' asks for 'item', which only a map's has",
        "fallback 'spare' of 'plan' asks for 'elsewhere'; it gets the node's inputs by name (input), and 'error' and "
        "'ctx' if it asks",
        "fallback 'spare' of 'plan' asks for 'inptu'; it gets the node's inputs by name (input), and 'error' and 'ctx' "
        "if it asks; did you mean 'input'?",
        "fallback of 'plan': a lambda has no name to resume by; write it with def",
        "fallback of 'plan': parameter '*inputs' has no name to be fed by; use named parameters",
        "fallback 3.5 of 'plan' is not what the node delivers: 1 validation error for list[str], Input should be a "
        "valid list [type=list_type, input_value=3.5, input_type=float]",
        f"result of 'connect': {no_client()}",
        "'connect' has a parameter 'lokup', which is no node: there are: input, plan, connect, count, each, review",
        "'count' cannot get its 'plan': no list[str] can be read as int; correct one of the two annotations",
        "map 'each': annotation names 'Nowhere', which is not known where the function is "
        "defined; define it at module level, or in a cell above",
        "map 'each': parameter '*others' has no name to be fed by; use named parameters",
        "map 'each' goes over 'count', which gives int; it needs a list",
        f"answer of 'review': {no_client()}",
        f"the workflow's input: {no_client()}",
    ]


def test_what_can_never_run_is_said_beside_other_problems() -> None:
    wf = ok.Workflow("graph")

    @wf.route(to=["left", "right", "rihgt"])
    def choose(input) -> str: ...

    @wf.step
    def left(input): ...

    @wf.step
    def right(input): ...

    @wf.step
    def both(left, right, nowhere): ...

    @wf.step
    def one(other): ...

    @wf.step
    def other(one): ...

    found = problems(wf)
    assert [problem.partition(";")[0].partition(",")[0] for problem in found] == [
        "route 'choose' leads to 'rihgt'",
        "'both' has a parameter 'nowhere'",
        "'both' can never run: no choice of routes leads to it",
        "cycle: one -> other -> one",
    ]


def test_each_knot_has_its_cycle() -> None:
    wf = ok.Workflow("graph")
    for name, source in [("a", "b"), ("b", "a"), ("c", "b"), ("d", "e"), ("e", "d"), ("f", "f")]:
        scope: dict[str, Any] = {}
        exec(f"def {name}({source}): ...", scope)
        wf.step(scope[name])
    assert [problem.partition(";")[0] for problem in problems(wf)] == [
        "cycle: a -> b -> a",
        "cycle: d -> e -> d",
        "'f' asks for its own result",
    ]


# What routes say that they return


def test_a_route_names_its_targets_and_all_of_them() -> None:
    wf = ok.Workflow("graph")

    @wf.route(to=["send", "review"])
    def risk(input) -> Literal["sendd", "review"]: ...

    @wf.route(to=["send"])
    def several(input) -> list[Literal["send", "revue"]]: ...

    @wf.route(to=["send"])
    def wrong(input) -> bool: ...

    @wf.step
    def send(input): ...

    @wf.step
    def review(input): ...

    assert problems(wf) == [
        "route 'risk' says that it returns 'sendd', which is not in to=['send', 'review']; did you mean 'send'?",
        "route 'risk' leads to 'send', which Literal['sendd', 'review'] leaves out: it is never picked; name it there, "
        "or take it out of to=[...]",
        "route 'several' says that it returns 'revue', which is not in to=['send']; there are: send",
        "route 'wrong' gives bool; it must give the name of one of its targets, or several",
    ]


def test_what_a_fallback_picks_is_no_target_that_is_left_out() -> None:
    wf = ok.Workflow("graph", input=str)

    @wf.route(to=["send", "review"], fallback="review")
    def risk(input: str) -> Literal["send"]:
        raise ConnectionError

    @wf.step
    def send(input: str) -> str: ...

    @wf.step
    def review(input: str) -> str:
        return "reviewed"

    assert wf.simulate("x", world=ok.World()).result() == "reviewed"

    @wf.route(to=["send", "review"], fallback="revue")
    def risk(input: str) -> str: ...  # noqa: F811 - as a cell that runs again does

    (problem,) = problems(wf)
    assert problem == (
        "fallback 'revue' of 'risk' is not what the node delivers: 'revue' is not among its targets ['send', 'review']"
    )


# What edges bring


def test_edges_that_cannot_bring_anything_are_found_with_both_ends() -> None:
    wf = ok.Workflow("graph", input=str)

    @wf.step
    def count(input: list[str]) -> int: ...

    @wf.step
    def log(input: str) -> None: ...

    @wf.map(over="pairs")
    def each(item: int) -> str: ...

    @wf.step
    def pairs(input) -> list[tuple[str, int]]: ...

    @wf.step
    def end(count: str, log: str, each: dict[str, str], pick: int) -> str: ...

    @wf.route(to=["end"])
    def pick(input) -> str: ...

    wf.approval("review", answer=int)

    @wf.step
    def after(review: list[int], count: int = 3): ...

    with pytest.raises(ok.GraphError) as caught:
        wf.checked()
    assert list(caught.value.problems) == [
        "'count' cannot get its 'input': no str can be read as list[str]; correct one of the two annotations",
        "map 'each' cannot get its 'item': no tuple[str, int] can be read as int; correct one of the two annotations",
        "'end' cannot get its 'count': no int can be read as str; correct one of the two annotations",
        "'end' cannot get its 'log': no None can be read as str; correct one of the two annotations",
        "'end' cannot get its 'each': no list[str] can be read as dict[str, str]; correct one of the two annotations",
        "'after' cannot get its 'review': no int can be read as list[int]; correct one of the two annotations",
    ]
    assert "def end(count: str, log: str, each: dict[str, str], pick: int) -> str: ...   (test_model" in str(
        caught.value
    )
    assert "def count(input: list[str]) -> int: ...   (test_model_graph.py:" in str(caught.value)


def test_what_a_fallback_delivers_must_fit_too() -> None:
    def canned(input: str) -> list[str]: ...

    wf = ok.Workflow("graph", input=str)

    @wf.step(fallback=canned)
    def draft(input: str) -> str: ...

    @wf.step
    def send(draft: str) -> str: ...

    (problem,) = problems(wf)
    assert problem.startswith("'send' cannot get its 'draft': its fallback 'canned' gives it, and no list[str] can be")


# What steps may write


def test_only_fields_of_the_context_can_be_written() -> None:
    class Case(BaseModel):
        notes: list[str] = []

    wf = workflow(input=str)
    wf.step(writes=["nots"])(plan)
    (problem,) = problems(wf)
    assert problem == ("'plan' writes 'nots', and the workflow has no shared context; give it wf.context(Model)")
    wf.context(Case)
    (problem,) = problems(wf)
    assert problem == "'plan' writes 'nots', which is no field of Case: did you mean 'notes'?"
    with pytest.raises(ok.DefinitionError, match=r"writes=\['notes'\]"):
        wf.step(writes="notes")(plan)

"""The model of a shared context: what it refuses, and what its rules make of deltas."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import uuid4

import pytest
from pydantic import BaseModel, Field, RootModel, ValidationError

import orchkit as ok
from orchkit.model.merging import SharedModel


class Case(BaseModel):
    notes: list[str] = []
    story: str = "Once"
    spent: float = 0
    seen: set[int] = Field(default_factory=set)
    due: datetime | None = None
    score: Annotated[int, Field(ge=0)] = 0


def union(old: set[int], new: set[int]) -> set[int]:
    assert isinstance(old, set)
    assert isinstance(new, set)
    return old | new


RULES = {"notes": ok.append, "story": ok.append, "spent": ok.add, "seen": union}


def folded(*deltas: dict[str, Any], rules: dict[str, Any] | None = None) -> Case:
    model = SharedModel(Case, RULES if rules is None else rules)
    case = model.load(model.fold([model.dump(delta, "here") for delta in deltas], model.defaults))
    assert isinstance(case, Case)
    return case


def test_without_writes_it_is_the_defaults() -> None:
    assert folded() == Case()


def test_each_rule_merges_in_order() -> None:
    case = folded(
        {"notes": ["a"], "story": " upon", "spent": 0.25, "seen": {1, 2}},
        {"notes": ["b", "a"], "story": " a time", "spent": 1, "seen": {2, 3}, "score": 4},
        {"score": 5, "notes": []},
    )
    assert case == Case(notes=["a", "b", "a"], story="Once upon a time", spent=1.25, seen={1, 2, 3}, score=5)


def test_values_keep_their_types() -> None:
    noon = datetime(2024, 5, 1, 12)
    case = folded({"due": noon, "seen": {1}})
    assert case.due == noon
    assert case.seen == {1}


def test_folding_changes_neither_the_deltas_nor_the_defaults() -> None:
    model = SharedModel(Case, RULES)
    deltas = [model.dump({"notes": ["a"], "seen": {1}}, ""), model.dump({"notes": ["b"], "seen": {2}}, "")]
    one = model.load(model.fold(deltas, model.defaults))
    one.notes.append("mine")
    assert deltas[0] == {"notes": ["a"], "seen": [1]}
    assert model.defaults["notes"] == []
    assert model.load(model.fold(deltas, model.defaults)).notes == ["a", "b"]


def test_two_deltas_of_one_attempt_make_one() -> None:
    model = SharedModel(Case, RULES)
    joined = model.joined({"notes": ["a"], "spent": 1.0, "score": 1, "seen": [1]}, {"notes": ["b"], "score": 2})
    assert joined == {"notes": ["a", "b"], "spent": 1.0, "score": 2, "seen": [1]}
    assert model.joined({"seen": [1]}, {"seen": [2]}) == {"seen": [1, 2]}


def test_sums_do_not_depend_on_how_python_sums() -> None:
    assert folded(*({"spent": 0.1} for _ in range(10))).spent == 0.9999999999999999


def test_a_recorded_field_that_the_model_no_longer_has_is_left_out() -> None:
    model = SharedModel(Case, RULES)
    assert model.load(model.fold([{"gone": 1, "score": 2}], model.defaults)) == Case(score=2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"note": ["a"]}, "here: Case has no field 'note'; did you mean 'notes'?"),
        ({"zzz": 1}, "here: Case has no field 'zzz'; there are: notes, story, spent, seen, due, score"),
        ({"notes": "a"}, "here: the value for 'notes' does not fit the field: "),
        ({"score": -1}, "here: the value for 'score' does not fit the field: "),
        ({"spent": float("nan")}, "here: the value for 'spent' does not fit the field: "),
    ],
)
def test_a_write_that_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ok.DefinitionError) as caught:
        SharedModel(Case, RULES).dump(changes, "here")
    assert str(caught.value).startswith(said)


def test_a_whole_that_does_not_fit_is_found_by_who_reads_it() -> None:
    class Bounded(BaseModel):
        spent: Annotated[float, Field(le=1)] = 0.0

    model = SharedModel(Bounded, {"spent": ok.add})
    values = model.fold([{"spent": 0.75}, {"spent": 0.75}], model.defaults)
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        model.load(values)


def test_aliases_and_strict_models_come_back() -> None:
    class Aliased(BaseModel, strict=True):
        when: datetime | None = Field(None, alias="When")

    model = SharedModel(Aliased, {})
    noon = datetime(2024, 5, 1, 12)
    assert model.load(model.fold([model.dump({"when": noon}, "")], model.defaults)).when == noon


def one_argument(old: Any) -> Any: ...


async def awaited(old: Any, new: Any) -> Any: ...


class Bare(BaseModel):
    id: str
    notes: list[str] = []


class Drawn(BaseModel):
    id: str = Field(default_factory=lambda: uuid4().hex)


class Misfit(BaseModel):
    count: int = None  # type: ignore[assignment]  # what is refused


class Several(RootModel[list[str]]):
    root: list[str] = []


@pytest.mark.parametrize(
    ("model", "merge", "said"),
    [
        (Bare, None, "wf.context(Bare): field 'id' has no default; a run begins with the defaults of all fields"),
        (Drawn, None, "wf.context(Drawn): the default of field 'id' differs each time; a resume needs one that stays"),
        (Misfit, None, "wf.context(Misfit): its defaults do not fit it: "),
        (Several, None, "wf.context(<class '"),
        (dict, None, "wf.context(<class 'dict'>): give a pydantic model"),
        (Case(), None, "wf.context(Case("),
        (Case, [ok.append], "wf.context(Case): merge=[<function append"),
        (Case, {"note": ok.append}, "wf.context(Case): merge={'note': append}: no such field; did you mean 'notes'?"),
        (Case, {"notes": "append"}, "wf.context(Case): merge={'notes': 'append'}: use ok.append, ok.add, or a func"),
        (Case, {"notes": lambda old, new: old}, "wf.context(Case): merge={'notes': <lambda>}: use ok.append"),
        (Case, {"notes": awaited}, "wf.context(Case): merge={'notes': awaited}: use ok.append"),
        (Case, {"notes": one_argument}, "wf.context(Case): merge={'notes': one_argument}: a rule gets (old, new); "),
        (Case, {"spent": ok.append}, "wf.context(Case): merge={'spent': append}: its default is 0.0, and ok.append"),
        (Case, {"notes": ok.add}, "wf.context(Case): merge={'notes': add}: its default is [], and ok.add needs a num"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(model: Any, merge: Any, said: str) -> None:
    with pytest.raises(ok.DefinitionError) as caught:
        ok.Workflow("w").context(model, merge=merge)
    assert str(caught.value).startswith(said)

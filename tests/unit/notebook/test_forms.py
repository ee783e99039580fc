"""Forms: whatever an answer's type is, there is a form for it, and what it gives back fits."""

from __future__ import annotations

from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

import orchkit as ok
from orchkit.notebook.forms import form_of, problems_of, verdict_of
from orchkit.runs.mail import fitted


class Reason(Enum):
    damaged = "damaged"
    late = "late"


class Line(BaseModel):
    amount: Annotated[float, Field(ge=0, le=100)]
    note: str | None = None


class Decision(BaseModel):
    """What to do."""

    approve: bool
    reason: Reason = Reason.damaged
    tone: Literal["kind", "plain"] = "kind"
    due: date | None = None
    stars: int = Field(3, gt=0, le=5, description="How bad it is,\n  from 1 to 5")
    text: str = Field("", max_length=500)
    lines: list[Line] = Field([], max_length=3)
    either: int | str = 0
    free: dict[str, int] = {}


class Node(BaseModel):
    inner: Node | None = None


def fields(form: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in form["fields"]}


def test_each_type_has_the_field_that_suits_it() -> None:
    found = fields(form_of(Decision))
    assert {name: field["kind"] for name, field in found.items()} == {
        "approve": "boolean", "reason": "choice", "tone": "choice", "due": "date", "stars": "integer", "text": "text",
        "lines": "list", "either": "json", "free": "json",
    }  # fmt: skip
    assert [name for name, field in found.items() if field["required"]] == ["approve"]
    assert found["reason"]["options"] == ["damaged", "late"]
    assert found["due"]["nullable"] is True
    assert (found["stars"]["above"], found["stars"]["max"], found["stars"]["default"]) == (0, 5, 3)
    assert found["stars"]["help"] == "How bad it is, from 1 to 5"
    assert found["text"]["long"] is True
    assert found["lines"]["most"] == 3
    line = fields(found["lines"]["element"])
    assert (line["amount"]["min"], line["amount"]["max"], line["note"]["nullable"]) == (0, 100, True)


def test_what_refers_to_itself_ends() -> None:
    form, depth = form_of(Node), 0
    while form["kind"] == "object":
        form, depth = fields(form)["inner"], depth + 1
    assert form["kind"] == "json"
    assert 3 < depth < 10


@pytest.mark.parametrize("answer", [object, dict, Any, lambda: None])
def test_what_has_no_form_is_written_as_json(answer: Any) -> None:
    assert form_of(answer)["kind"] == "json"


def test_the_verdict_is_the_one_required_yes_or_no() -> None:
    class Two(BaseModel):
        one: bool
        other: bool

    assert verdict_of(form_of(bool)) == ""
    assert verdict_of(form_of(Decision)) == "approve"
    assert verdict_of(form_of(Two)) is None
    assert verdict_of(form_of(Line)) is None


def test_what_does_not_fit_is_told_by_field() -> None:
    wf = ok.Workflow("letter", input=str)
    wf.approval("review", answer=Decision)
    spec = wf.checked().nodes[0]
    with pytest.raises(ok.AnswerInvalid) as caught:
        fitted(spec, frozenset(), {"approve": "perhaps", "stars": 9, "lines": [{"amount": -1}]}, "r1")
    assert {tuple(one["path"]) for one in problems_of(caught.value)} == {
        ("approve",), ("stars",), ("lines", 0, "amount")
    }  # fmt: skip
    assert fitted(spec, frozenset(), {"approve": True, "due": "2026-02-28"}, "r1")["due"] == "2026-02-28"

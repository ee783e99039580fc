"""Which annotations cannot fit, and how it is said; that nothing else is said is a law in ``tests/properties``."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pytest
from pydantic import BaseModel, BeforeValidator, Field

from orchkit.model.codec import ANY
from orchkit.model.fits import elements, misfit, named
from tests.support.names import shown

T = TypeVar("T")


class Topic(enum.Enum):
    REFUND = "refund"


class Ticket(BaseModel):
    id: str
    text: str
    tags: list[str] = []


class Decision(BaseModel):
    approve: bool
    text: str = ""


class Renamed(BaseModel):
    ticket: str = Field(validation_alias="approve")


CANNOT = [
    (int, list[str]),
    (int, str),
    (list[str], int),
    (list[str], str),
    (str, list[str]),
    (str, Ticket),
    (None, str),
    (None, int),
    (str, None),
    (dict[str, int], list[int]),
    (Ticket, list[Ticket]),
    (list[Ticket], Ticket),
    (Ticket, str),
    (bool, str),
    (dt.date, list[dt.date]),
    (list[list[str]], dict[str, str]),
    (int | float, str | None),
    (None, Annotated[int, Field(gt=0)]),
    (Literal["a", "b"], Literal["c"]),
    (Topic, Literal["other"]),
    (Literal["a"], Topic),
    (Decision, Ticket),
]
MAY = [
    (str, int),
    (int, float),
    (float, int),
    (int, bool),
    (str, dt.date),
    (list[str], list[int]),
    (list[str], set[str]),
    (list[int], tuple[int, ...]),
    (None, str | None),
    (int | None, str | None),
    (int, Any),
    (int, object),
    (int, ANY),
    (ANY, int),
    (Any, int),
    (T, int),
    (int, T),
    (int, Annotated[list[str], BeforeValidator(lambda one: [one])]),
    (dict, Ticket),
    (Ticket, dict[str, Any]),
    (Ticket, Decision | Ticket),
    (Decision, Renamed),
    (np.ndarray, int),
    (int, np.ndarray),
    (Literal["a", "b"], Literal["b", "c"]),
    (Literal["1"], int),
]


@pytest.mark.parametrize(("given", "taken"), CANNOT, ids=shown)
def test_what_can_never_be_is_said(given: Any, taken: Any) -> None:
    told = misfit(given, taken)
    assert told is not None
    assert told.startswith(f"no {named(given)} can be read as {named(taken)}")


@pytest.mark.parametrize(("given", "taken"), MAY, ids=shown)
def test_what_may_be_is_left_alone(given: Any, taken: Any) -> None:
    assert misfit(given, taken) is None


def test_what_a_model_lacks_is_named() -> None:
    class Ask(BaseModel):
        approve: bool
        by: str
        when: float

    assert misfit(Decision, Ask) == "no Decision can be read as Ask, which needs 'by', 'when'"


def test_annotations_that_cannot_be_hashed_are_compared_too() -> None:
    unhashable: Any = Annotated[int, {"unit": "s"}]
    with pytest.raises(TypeError):
        hash(unhashable)
    assert misfit(unhashable, list[str]) is not None


@pytest.mark.parametrize(
    ("annotation", "element"),
    [(list[int], int), (tuple[str, ...], str), (set[Ticket], Ticket), (tuple[int, str], ANY), (list, ANY), (int, ANY)],
)
def test_the_elements_of_a_list_are_those_of_its_items(annotation: Any, element: Any) -> None:
    assert elements(annotation) is element


def test_annotations_are_written_as_their_users_do() -> None:
    written = [None, int, list[str], Ticket | None, dict[str, Any], Literal["a.b", "c"], Annotated[int, Field]]
    assert [named(one) for one in written][:6] == [
        "None", "int", "list[str]", "Ticket | None", "dict[str, Any]", "Literal['a.b', 'c']",
    ]  # fmt: skip

"""What is said not to fit never fits: for random annotations, and random values through the codec that edges use."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Union
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    RootModel,
    SecretStr,
    model_validator,
)

from orchkit.errors import CodecError
from orchkit.model.codec import codec_for
from orchkit.model.fits import misfit


class Topic(enum.Enum):
    REFUND = "refund"
    OTHER = "other"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Lenient(enum.Enum):
    ONLY = "only"

    @classmethod
    def _missing_(cls, value: object) -> Lenient:
        return cls.ONLY


class Ticket(BaseModel):
    id: str
    text: str = ""


class Decision(BaseModel):
    approve: bool
    note: str = ""


class Aliased(BaseModel):
    id: str = Field(validation_alias="approve")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int = 0


class Reading(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    real: int = 0


class Tolerant(BaseModel):
    id: str

    @model_validator(mode="before")
    @classmethod
    def take(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"id": str(value)}


class Judged(BaseModel):
    id: str

    @model_validator(mode="after")
    def judge(self) -> Judged:
        return self


class Coercing(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)
    id: str


class Names(RootModel[list[str]]):
    pass


class Node(BaseModel):
    id: str
    below: list[Node] = []


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


TEXTS = st.text("ab12- ", max_size=6) | st.sampled_from(["1", "true", "2026-01-01", "P1D", "[1]", "0.5", "refund", "a"])
INTS = st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1.0])
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, INTS),
    (float, FLOATS),
    (str, TEXTS),
    (bytes, st.sampled_from([b"", b"1", b"a", b"\xff", b"true"])),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.datetime, st.datetimes()),
    (dt.timedelta, st.timedeltas(dt.timedelta(0), dt.timedelta(days=9))),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False, places=2)),
    (UUID, st.uuids()),
    (Path, st.just(Path("a/b"))),
    (complex, st.just(1j)),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Literal["b", "refund"], st.sampled_from(["b", "refund"])),
    (Literal["c"], st.just("c")),
    (Literal[1, "a", None], st.sampled_from([1, "a", None])),
    (Topic, st.sampled_from(Topic)),
    (Level, st.sampled_from(Level)),
    (Lenient, st.just(Lenient.ONLY)),
    (Ticket, st.builds(Ticket, id=TEXTS)),
    (Decision, st.builds(Decision, approve=st.booleans())),
    (Aliased, st.builds(Aliased, approve=TEXTS)),
    (Open, st.builds(Open, id=TEXTS, approve=st.booleans())),
    (Reading, st.just(Reading())),
    (Tolerant, st.builds(Tolerant, id=TEXTS)),
    (Judged, st.builds(Judged, id=TEXTS)),
    (Coercing, st.builds(Coercing, id=TEXTS)),
    (Names, st.builds(Names, st.lists(TEXTS, max_size=2))),
    (Node, st.builds(Node, id=TEXTS, below=st.just([Node(id="1")]))),
    (Point, st.builds(Point, x=st.integers(0, 3))),
    (SecretStr, st.just(SecretStr("s"))),
    (Json[list[int]], st.just("[1]")),
    (Sequence[int], st.lists(INTS, max_size=2)),
    (Annotated[str, BeforeValidator(str)], TEXTS),
    (Annotated[int, AfterValidator(str)], INTS),
    (Annotated[str, PlainSerializer(lambda text: [text])], TEXTS),
    (Annotated[int, Field(gt=0)], st.integers(1, 9)),
    (Annotated[str, Field(coerce_numbers_to_str=True)], TEXTS),
    (list, st.lists(INTS, max_size=2)),
    (dict, st.dictionaries(TEXTS, INTS, max_size=2)),
    (Any, INTS | TEXTS | st.none()),
]


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def several(one: Any) -> st.SearchStrategy[Any]:
        annotation, values = one
        lists = st.lists(values, max_size=3)
        return st.sampled_from(
            [
                (list[annotation], lists),
                (tuple[annotation, ...], lists.map(tuple)),
                (tuple[annotation], values.map(lambda value: (value,))),
                (dict[str, annotation], st.dictionaries(TEXTS, values, max_size=2)),
            ]
        )

    def either(pair: Any) -> Any:
        (one, its), (other, theirs) = pair
        return Union[one, other], its | theirs  # noqa: UP007 - the other way takes no Literal of None

    return inner.flatmap(several) | st.tuples(inner, inner).map(either)


TYPED = st.recursive(st.sampled_from(LEAVES), containers, max_leaves=3)


def recorded(annotation: Any, value: Any) -> Any:
    try:
        return codec_for(annotation).dump(value, "n")
    except (CodecError, ValueError):
        return ...


@given(st.data())
@settings(max_examples=1500, deadline=None, derandomize=True)
def test_what_cannot_fit_never_does(data: st.DataObject) -> None:
    (given_type, values), (taken, _) = data.draw(TYPED), data.draw(TYPED)
    if misfit(given_type, taken) is None:
        return
    for _ in range(5):
        json = recorded(given_type, data.draw(values))
        if json is not ...:
            with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
                codec_for(taken).load(json)


@pytest.mark.parametrize(("given_type", "values"), LEAVES, ids=lambda one: getattr(one, "__name__", ""))
def test_each_pair_of_plain_types(given_type: Any, values: st.SearchStrategy[Any]) -> None:
    @given(values)
    @settings(max_examples=30, deadline=None, derandomize=True)
    def check(value: Any) -> None:
        json = recorded(given_type, value)
        for taken, _ in LEAVES if json is not ... else ():
            if misfit(given_type, taken) is not None:
                with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
                    codec_for(taken).load(json)

    check()


@given(st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_type_fits_itself_and_a_union_with_it(data: st.DataObject) -> None:
    annotation, _ = data.draw(TYPED)
    assert misfit(annotation, annotation) is None
    assert misfit(annotation, Any) is None
    assert misfit(Any, annotation) is None
    assert misfit(annotation, Union[annotation, None]) is None  # noqa: UP007 - annotations may be None

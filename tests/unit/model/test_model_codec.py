"""Values as JSON and back: what survives, what is refused, and that nobody shares an object with the log."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, Optional, Union
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, Json, ValidationError, computed_field, model_serializer
from typing_extensions import TypedDict

import orchkit as ok
from orchkit.model.codec import ANY, codec_for, plain
from orchkit.model.events import Event, decode_log, encode_log

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.integers(-(2**63), 2**64 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INTS | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
BYTES = st.binary(max_size=8)
JSON_AND_BYTES = st.recursive(
    JSON | BYTES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


class Colour(enum.Enum):
    RED = "r"
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Tone(enum.StrEnum):
    WARM = "warm"


class Place(NamedTuple):
    x: float
    name: str = "home"


class Movie(TypedDict):
    title: str
    year: int


@dataclasses.dataclass
class Stock:
    name: str
    count: int = 0
    prices: list[Decimal] = dataclasses.field(default_factory=list)


class Author(BaseModel):
    name: str
    born: date | None = None


class Poet(Author):
    verses: int


@dataclasses.dataclass
class Share(Stock):
    isin: str = ""


class Book(BaseModel):
    title: str
    authors: list[Author]
    tags: set[str] = set()
    extra: dict[str, Any] = {}


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    name: str


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


class Aliased(BaseModel):
    size: int = Field(alias="theSize")
    either: str = Field("", validation_alias=AliasChoices("one", "two"), serialization_alias="three")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    when: datetime
    pair: tuple[int, int]
    colour: Colour


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def area(self) -> int:
        return self.side**2


class Parsed(BaseModel):
    data: Json[list[int]]


class Blob(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    raw: bytes
    when: date
    rows: list[tuple[int, bytes]] = []


class StrictBlob(BaseModel):
    model_config = ConfigDict(strict=True)
    raw: bytes
    when: date
    pair: tuple[int, bytes]


BLOBS = st.builds(Blob, raw=BYTES, when=st.dates(), rows=st.lists(st.tuples(INTS, BYTES), max_size=3))


class Approved(BaseModel):
    note: str


class Denied(BaseModel):
    note: str


def round_trip(annotation: Any, value: Any) -> Any:
    """Through the codec, and through both ways in which a log is kept."""
    codec = codec_for(annotation)
    json = codec.dump(value, "node")
    (event,) = decode_log(encode_log([Event(0, "completed", "node", body=json)]))
    assert repr(event.body) == repr(json)  # repr: -0.0 equals 0.0
    if not has_bytes(json):
        assert repr(msgspec.json.decode(msgspec.json.encode(json))) == repr(json)
    assert plain(json) == json
    return codec.load(event.body)


def has_bytes(json: Any) -> bool:
    inner = json.values() if isinstance(json, dict) else json if isinstance(json, list) else ()
    return isinstance(json, bytes) or any(map(has_bytes, inner))


DATETIMES = st.datetimes() | st.datetimes(timezones=st.just(UTC))
TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "str": (str, TEXT),
    "int": (int, INTS),
    "float": (float, FLOATS),
    "bool": (bool, st.booleans()),
    "None": (None, st.none()),
    "bytes": (bytes, BYTES),
    "bytearray": (bytearray, BYTES.map(bytearray)),
    "list of bytes": (list[bytes], st.lists(BYTES, max_size=3)),
    "set of bytes": (set[bytes], st.sets(BYTES, max_size=3)),
    "bytes by date": (dict[date, bytes], st.dictionaries(st.dates(), BYTES, max_size=3)),
    "bytes or str": (bytes | str | None, BYTES | TEXT | st.none()),
    "bytes in a model": (Blob, BLOBS),
    "bytes in a strict model": (
        StrictBlob,
        st.builds(StrictBlob, raw=BYTES, when=st.dates(), pair=st.tuples(INTS, BYTES)),
    ),
    "bytes in Any": (dict[str, Any], st.dictionaries(TEXT, JSON_AND_BYTES, max_size=3)),
    "datetime": (datetime, DATETIMES),
    "date": (date, st.dates()),
    "time": (time, st.times()),
    "timedelta": (timedelta, st.timedeltas(timedelta(-999999), timedelta(999999))),
    "Decimal": (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    "UUID": (UUID, st.uuids()),
    "Enum": (Colour, st.sampled_from(Colour)),
    "IntEnum": (Level, st.sampled_from(Level)),
    "StrEnum": (Tone, st.sampled_from(Tone)),
    "Literal": (Literal["a", 1, None], st.sampled_from(["a", 1, None])),
    "path": (PurePosixPath, st.from_regex(r"\A(/[a-z]{1,5}){1,4}\Z").map(PurePosixPath)),
    "list": (list[int], st.lists(INTS, max_size=5)),
    "tuple": (tuple[int, str], st.tuples(INTS, TEXT)),
    "long tuple": (tuple[float, ...], st.lists(FLOATS, max_size=5).map(tuple)),
    "set": (set[str], st.sets(TEXT, max_size=5)),
    "frozenset": (frozenset[int], st.frozensets(INTS, max_size=5)),
    "deque": (deque[int], st.lists(INTS, max_size=5).map(deque)),
    "int keys": (dict[int, str], st.dictionaries(INTS, TEXT, max_size=4)),
    "date keys": (dict[date, float], st.dictionaries(st.dates(), FLOATS, max_size=4)),
    "enum keys": (dict[Tone, int], st.dictionaries(st.sampled_from(Tone), INTS)),
    "NamedTuple": (Place, st.builds(Place, FLOATS, TEXT)),
    "TypedDict": (Movie, st.fixed_dictionaries({"title": TEXT, "year": INTS})),
    "dataclass": (Stock, st.builds(Stock, TEXT, INTS, st.lists(st.decimals(-9, 9, places=2), max_size=3))),
    "model": (Author, st.builds(Author, name=TEXT, born=st.none() | st.dates())),
    "nested model": (
        Book,
        st.builds(
            Book,
            title=TEXT,
            authors=st.lists(st.builds(Author, name=TEXT, born=st.none() | st.dates()), max_size=3),
            tags=st.sets(TEXT, max_size=3),
            extra=st.dictionaries(TEXT, JSON, max_size=3),
        ),
    ),
    "Optional": (Optional[Author], st.none() | st.builds(Author, name=TEXT, born=st.none())),  # noqa: UP045
    "Union of models": (Union[Cat, Dog], st.builds(Cat, name=TEXT) | st.builds(Dog, name=TEXT)),  # noqa: UP007
    "tagged": (
        Annotated[Cat | Dog, Field(discriminator="kind")],
        st.builds(Cat, name=TEXT) | st.builds(Dog, name=TEXT),
    ),
    "int or str": (int | str, INTS | TEXT),
    "list of models or None": (list[Cat | None], st.lists(st.none() | st.builds(Cat, name=TEXT), max_size=3)),
    "Any": (Any, JSON_AND_BYTES),
    "nothing": (ANY, JSON_AND_BYTES),
    "object": (object, JSON_AND_BYTES),
    "bare list": (list, st.lists(JSON_AND_BYTES, max_size=4)),
    "bare dict": (dict, st.dictionaries(TEXT, JSON_AND_BYTES, max_size=4)),
    "aliases": (Aliased, st.builds(Aliased, theSize=INTS, two=TEXT)),
    "strict model": (
        Strict,
        st.builds(Strict, when=DATETIMES, pair=st.tuples(INTS, INTS), colour=st.sampled_from(Colour)),
    ),
    "computed field": (Computed, st.builds(Computed, side=st.integers(-1000, 1000))),
    "Json": (Parsed, st.lists(INTS, max_size=3).map(lambda xs: Parsed(data=msgspec.json.encode(xs).decode()))),
}


@pytest.mark.parametrize("name", TYPES)
def test_what_goes_in_comes_out(name: str) -> None:
    annotation, values = TYPES[name]

    @SETTINGS
    @given(values)
    def check(value: Any) -> None:
        back = round_trip(annotation, value)
        assert back == value
        assert type(back) is type(value)

    check()


@SETTINGS
@given(JSON_AND_BYTES)
def test_plain_copies_json_and_bytes_as_they_are(value: Any) -> None:
    copy = plain(value)
    assert repr(copy) == repr(value)
    assert not containers(copy) & containers(value)


WILD = st.recursive(
    JSON_AND_BYTES | st.floats() | st.integers() | st.text(max_size=3) | st.dates() | st.decimals() | st.builds(object),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "annotation", [ANY, Any, list, dict, list[Any], dict[str, object], float | None, list[str | float]]
)
def test_what_the_codec_lets_through_every_store_can_keep(annotation: Any) -> None:
    codec = codec_for(annotation)

    @SETTINGS
    @given(WILD)
    def check(value: Any) -> None:
        try:
            body = codec.dump(value, "draft")
        except (ok.CodecError, ValidationError):
            return
        assert repr(decode_log(encode_log([Event(0, "completed", body=body)]))[0].body) == repr(body)
        if not has_bytes(body):
            assert repr(msgspec.json.decode(msgspec.json.encode(body))) == repr(body)

    check()


def containers(value: Any) -> set[int]:
    """The ids of every list and dict in a value."""
    inner = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    own = {id(value)} if isinstance(value, (list, dict)) else set()
    return own.union(*map(containers, inner))


def test_minus_zero_and_the_ends_of_64_bits_survive() -> None:
    for value in (-0.0, 5e-324, 1.7976931348623157e308, -(2**63), 2**64 - 1):
        assert repr(round_trip(Any, value)) == repr(value)
    assert repr(round_trip(list[float], [-0.0])) == "[-0.0]"


REFUSED = [
    (math.nan, "", "NaN"),
    ({"a": [1.0, math.inf]}, ".a[1]", "infinity"),
    ([2**64], "[0]", "64 bits"),
    (-(2**63) - 1, "", "64 bits"),
    ({"text": "\ud800"}, ".text", "lone surrogate"),
    ({"\ud800": 1}, ".'\\ud800'", "lone surrogate"),
    ({1: 2}, ".1", "keys of a JSON object are str"),
    ({"a": {None: 2}}, ".a.None", "keys of a JSON object are str"),
    ([object()], "[0]", "annotate the step's return type"),
    ({1, 2}, "", "annotate the step's return type"),
    (np.float64(math.nan), "", "no NaN and no"),
    (np.datetime64("2026"), "", "annotate the step's return type (a"),
    (np.longdouble(1), "", "annotate the step's return type"),
    (np.zeros(2), "", "annotate the step: -> numpy.ndarray"),
    ({"a": [bytearray(b"x")]}, ".a[0]", "annotate the step: -> bytearray"),
    (Author(name="A"), "", "annotate the step's return type"),
]


@pytest.mark.parametrize(("value", "path", "remedy"), REFUSED, ids=[remedy for _, _, remedy in REFUSED])
@pytest.mark.parametrize("annotation", [ANY, Any, object], ids=["none", "Any", "object"])
def test_what_json_cannot_carry_is_refused_with_place_and_remedy(
    annotation: Any, value: Any, path: str, remedy: str
) -> None:
    with pytest.raises(ok.CodecError, match=re.escape(remedy)) as caught:
        codec_for(annotation).dump(value, "draft")
    assert (caught.value.path, caught.value.node) == (path, "draft")
    assert "result of 'draft'" in str(caught.value)


TYPED_REFUSED: list[tuple[Any, Any, str]] = [
    (dict[str, Any], {"a": math.nan}, "at .a is nan"),
    (list[float | None], [1.0, math.nan], r"at \[1\] is nan"),
    (deque[float | None], deque([math.inf]), "infinity"),
    (dict[str, float], OrderedDict(a=math.nan), "at .a is nan"),
    (Place, Place(math.nan), "NaN"),
    (dict[str, int], {"\ud800": 1}, "lone surrogate"),
    (list[str], ["\ud800"], "lone surrogate"),
    (dict[str, Any], {"key": np.zeros(2)}, "at .key .*annotate it as numpy.ndarray"),
    (dict[str, Any], {"key": np.datetime64("2026")}, "at .key .*annotate"),
    (set[bytes | date], {b"x", date(2026, 1, 1)}, "annotate"),
    (dict[tuple[int, int], int], {(1, 2): 3}, "cannot be read back"),
    (Callable[..., Any], print, "cannot be stored"),
    (Approved | Denied, Denied(note="no"), "come back as Approved"),
    (list[Approved | Denied], [Denied(note="no")], "come back as"),
    (str | datetime, datetime(2026, 1, 1), "come back as '2026"),
    (date | str, date(2026, 1, 1), "come back as '2026"),
    # What nothing names would come back as JSON, or as the base class without the fields that it lacks.
    (dict[str, Any], {"who": [Author(name="A")]}, r"at .who\[0\] .*\(Author\): it would come back as \{'name': 'A'"),
    (dict, {"when": date(2026, 1, 1)}, "at .when .*come back as '2026"),
    (list, [{1, 2}], r"at \[0\] .*\(set\): it would come back as \[1, 2\]"),
    (list[Any], [Colour.RED], r"at \[0\] .*come back as 'r'"),
    (Book, Book(title="T", authors=[], extra={"by": Author(name="A")}), r"at .extra.by .*come back as \{'name'"),
    (Author, Poet(name="A", verses=3), r"\(Poet\): it would come back as Author\(name='A'"),
    (list[Author], [Author(name="A"), Poet(name="B", verses=3)], r"at \[1\] .*name Poet there"),
    (BaseModel, Author(name="A"), r"\(Author\): it would come back as .*\(BaseModel\)"),
    (Stock, Share("S", isin="X"), r"\(Share\): it would come back as Stock\(name='S'"),
    (Any | None, {"at": (date(2026, 1, 1),)}, r"at .at\[0\] .*come back as '2026"),
]


@pytest.mark.parametrize(("annotation", "value", "message"), TYPED_REFUSED, ids=[str(row[0]) for row in TYPED_REFUSED])
def test_what_would_be_lost_without_a_word_is_refused(annotation: Any, value: Any, message: str) -> None:
    with pytest.raises(ok.CodecError, match=message) as caught:
        codec_for(annotation).dump(value, "draft")
    assert caught.value.node == "draft"


def test_a_model_that_was_spoiled_after_its_making_is_refused_where_it_was_spoiled() -> None:
    author = Author(name="A")
    author.name = 5  # type: ignore[assignment]  # as users do
    with pytest.raises(ok.CodecError, match=r"cannot be read back.*valid string"):
        codec_for(Author).dump(author, "draft")


@pytest.mark.parametrize(
    ("annotation", "value"), [(int, "x"), (Author, {"nme": "A"}), (Colour, "green"), (Literal["a"], "b")]
)
def test_what_does_not_fit_is_a_validation_error(annotation: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        codec_for(annotation).dump(value, "draft")


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (float, np.float64(0.5)),
        (float, np.float32(0.5)),
        (int, np.int64(3)),
        (bool, np.bool_(True)),
        (str, np.str_("a")),
        (str, Tone.WARM),
        (dict, Counter("aab")),
        (dict, OrderedDict(a=1)),
    ],
)
def test_near_relatives_of_builtin_types_are_stored_as_those(annotation: Any, value: Any) -> None:
    json = codec_for(annotation).dump(value, "draft")
    assert type(json) is annotation
    assert json == value


def test_what_a_model_leaves_out_of_itself_is_meant_to_be_lost() -> None:
    class Held(BaseModel):
        name: str
        client: Any = Field(None, exclude=True)

    record = codec_for(Held).dump(Held(name="A", client=date(2026, 1, 1)), "draft")
    assert codec_for(Held).load(record) == Held(name="A")


@pytest.mark.parametrize("annotation", [ANY, dict, dict[str, Any], dict[str, Any] | None])
def test_below_an_open_annotation_a_tuple_is_a_list(annotation: Any) -> None:
    assert codec_for(annotation).dump({"pair": (1, 2)}, "draft") == {"pair": [1, 2]}


@pytest.mark.parametrize("annotation", [ANY, list, list[Any], Any])
def test_numbers_of_numpy_without_an_annotation_of_their_own_become_builtin_ones(annotation: Any) -> None:
    values = [np.float64(0.1), np.float16(0.1), np.uint64(2**64 - 1), np.int8(-1), np.bool_(False), np.str_("a")]
    json = codec_for(annotation).dump(values, "draft")
    assert json == [0.1, 0.0999755859375, 2**64 - 1, -1, False, "a"]
    assert [type(element) for element in json] == [float, float, int, int, bool, str]


class Reshaped(BaseModel):
    raw: bytes
    note: str = ""

    @model_serializer(mode="plain", when_used="json")
    def short(self) -> list[str]:
        return [self.note]


@pytest.mark.parametrize(
    ("annotation", "value"), [(Reshaped, Reshaped(raw=b"\xff")), (dict[str, Any], {"__all__": b"\xff", "a": 1})]
)
def test_nothing_is_lost_where_bytes_cannot_be_put_back(annotation: Any, value: Any) -> None:
    with pytest.raises(ok.CodecError, match="another shape"):
        codec_for(annotation).dump(value, "draft")


def test_an_iterable_may_be_a_list_or_a_generator() -> None:
    for value in ([1, 2, 3], (i for i in (1, 2, 3))):
        json = codec_for(Iterable[int]).dump(value, "draft")
        assert json == [1, 2, 3]
        assert list(codec_for(Iterable[int]).load(json)) == [1, 2, 3]
    assert codec_for(Sequence[int]).dump((1, 2), "draft") == [1, 2]


class Unknown: ...


class Half(BaseModel):
    other: "Missing"  # type: ignore[name-defined]  # noqa: F821, UP037 - that is the point


@pytest.mark.parametrize("annotation", [Unknown, list[Unknown], 5, "Nowhere", Half, Callable[[int], Unknown] | Unknown])
def test_an_annotation_without_a_schema_is_a_definition_error(annotation: Any) -> None:
    with pytest.raises(ok.DefinitionError, match="cannot be checked or stored"):
        codec_for(annotation)


class Rude:
    def __repr__(self) -> str:
        raise ValueError("no repr")


class Loud:
    def __repr__(self) -> str:
        return "x" * 10**6


@pytest.mark.parametrize("value", [Rude(), Loud()])
def test_a_message_survives_the_repr_of_what_it_shows(value: Any) -> None:
    with pytest.raises(ok.CodecError) as caught:
        plain([value])
    assert len(str(caught.value)) < 400


def test_a_value_that_contains_itself_is_told() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ok.CodecError, match="nested too deeply, or contains itself"):
        codec_for(ANY).dump(loop, "draft")
    with pytest.raises(ok.CodecError, match="recursion"):
        codec_for(list).dump(loop, "draft")


def test_the_order_of_a_unions_members_is_kept() -> None:
    # `A | B == B | A`, so a cache by equality would give one the codec of the other.
    first, second = codec_for(Approved | Denied), codec_for(Denied | Approved)
    assert type(first.load({"note": ""})) is Approved
    assert type(second.load({"note": ""})) is Denied


@pytest.mark.parametrize(
    "annotation", [ANY, Any, object, list, dict, dict[str, Any], dict[str, object], list[Any], dict[str, list[Any]]]
)
def test_loading_shares_no_container_with_the_record(annotation: Any) -> None:
    value: Any = [[{"a": [1]}]] if "list" in str(annotation) and "dict" not in str(annotation) else {"a": [[1, {}]]}
    loaded = codec_for(annotation).load(value)
    assert loaded == value
    assert not containers(loaded) & containers(value)


@pytest.mark.parametrize("annotation", ["", ": dict", ": dict[str, Any]", ": Any"])
def test_a_consumer_that_spoils_its_input_spoils_it_for_nobody_else(annotation: str) -> None:
    wf = ok.Workflow("spoil", input=dict)
    scope: dict[str, Any] = {"Any": Any}

    @wf.step
    def plan(input) -> dict[str, Any]:
        input["items"].append("mine")
        return {"items": [[1]]}

    exec(
        f"""def spoil(plan{annotation}, input{annotation}):
    plan["items"][0].append("spoiled")
    plan["new"] = 1
    input["items"].clear()
    return plan

def sibling(plan{annotation}, spoil, input{annotation}):
    return [plan, input]
""",
        scope,
    )
    wf.step(scope["spoil"])
    wf.step(scope["sibling"])
    given = {"items": ["a"]}
    run = wf.simulate(given, world=ok.World())
    assert run.result() == [{"items": [[1]]}, {"items": ["a"]}]
    bodies = {event.node: event.body for event in run.log if event.kind == "completed"}
    assert bodies["plan"] == {"items": [[1]]}
    assert bodies["spoil"] == {"items": [[1, "spoiled"]], "new": 1}
    assert given == {"items": ["a"]}


def test_a_producer_that_keeps_its_result_cannot_change_it_later() -> None:
    kept: list[Any] = []
    wf = ok.Workflow("keep", input=str)

    @wf.step
    def plan(input):
        kept.append(1)
        return kept

    @wf.step
    def use(plan):
        kept.append(2)
        return plan

    assert wf.simulate("x", world=ok.World()).result() == [1]


def test_items_of_a_map_do_not_share_their_element() -> None:
    wf = ok.Workflow("items", input=list)

    @wf.map(over="input")
    def each(item, input):
        item.append("spoiled")
        input.clear()
        return len(item)

    shared = [1]
    assert wf.simulate([shared, shared], world=ok.World()).result() == [2, 2]

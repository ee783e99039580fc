"""Arrays, frames and tables as values: what survives to the last bit, what is refused, and who may read it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import re
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pandas.testing import assert_frame_equal, assert_series_equal
from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import TypedDict

import orchkit as ok
from orchkit.model.codec import ANY, codec_for
from orchkit.model.events import Event, decode_log, encode_log

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
DTYPES = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes()
    | hnp.datetime64_dtypes()
    | hnp.timedelta64_dtypes()
    | hnp.unicode_string_dtypes(max_len=3)
    | hnp.byte_string_dtypes(max_len=3)
)
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint8": st.integers(0, 255),
    "float64": st.floats(),
    "float32": st.floats(width=32),
    "bool": st.booleans(),
    "str": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    "Int64": st.none() | st.integers(-(2**63), 2**63 - 1),
    "boolean": st.none() | st.booleans(),
    "datetime64[ns]": st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    "timedelta64[ns]": st.timedeltas(dt.timedelta(-999), dt.timedelta(999)),
    "category": st.sampled_from(["x", "y"]),
}


@dataclasses.dataclass
class Table:
    frame: pd.DataFrame
    rows: int = 0


class Pair(NamedTuple):
    array: np.ndarray
    when: dt.date


class Typed(TypedDict):
    array: np.ndarray
    name: str


class Model(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    frame: pd.DataFrame
    arrays: dict[str, np.ndarray] = {}
    raw: bytes = b"\xff"
    when: dt.date = dt.date(2026, 1, 1)


class Foreign: ...


def round_trip(annotation: Any, value: Any) -> Any:
    codec = codec_for(annotation)
    (event,) = decode_log(encode_log([Event(0, "completed", body=codec.dump(value, "draft"))]))
    return codec.load(event.body)


@SETTINGS
@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=3)))
def test_arrays_come_back_to_the_last_bit(array: Any) -> None:
    array = np.asarray(array)
    back = round_trip(np.ndarray, array)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable


@SETTINGS
@given(st.data(), st.lists(st.sampled_from(sorted(COLUMNS)), max_size=4), st.integers(0, 4))
def test_frames_come_back_with_dtypes_names_and_index(data: Any, dtypes: list[str], rows: int) -> None:
    columns = {
        f"{dtype} {i}": pd.Series(data.draw(st.lists(COLUMNS[dtype], min_size=rows, max_size=rows)), dtype=dtype)
        for i, dtype in enumerate(dtypes)
    }
    frame = pd.DataFrame(columns)
    assert_frame_equal(round_trip(pd.DataFrame, frame), frame, check_exact=True)


FRAMES = {
    "nothing": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": np.array([], dtype="float64")}),
    "index": pd.DataFrame({"a": [1, 2]}, index=[5, 9]),
    "named range": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(1, 5, 2, name="k")),
    "text index": pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="id")),
    "levels": pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["p", None])),
    "levels of columns": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("b", "y")])),
    "numbers for names": pd.DataFrame([[1, 2]]),
    "a name of names": pd.DataFrame([[1]], columns=pd.Index(["a"], name="names")),
    "ordered": pd.DataFrame({"a": pd.Categorical(["x", "y"], categories=["y", "x", "z"], ordered=True)}),
    "zone": pd.DataFrame({"a": pd.to_datetime(["2026-01-01", None]).tz_localize("Europe/Berlin")}),
    "seconds": pd.DataFrame({"a": np.array(["2026", "2027"], dtype="M8[s]")}),
    "periods": pd.DataFrame({"a": pd.period_range("2026", periods=2, freq="M")}),
    "intervals": pd.DataFrame({"a": pd.interval_range(0, 2)}),
    "arrow": pd.DataFrame({"a": pd.array([1, None], dtype=pd.ArrowDtype(pa.int32()))}),
    "bytes": pd.DataFrame({"a": [b"x", b"\xff"]}),
    "dates": pd.DataFrame({"a": [dt.date(2026, 1, 1), None]}),
    "NaN": pd.DataFrame({"a": [math.nan, math.inf, -0.0]}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_what_a_frame_is_made_of_survives(name: str) -> None:
    frame = FRAMES[name]
    assert_frame_equal(round_trip(pd.DataFrame, frame), frame, check_exact=True)


def test_the_attrs_of_a_frame_survive_and_the_frequency_of_its_index_is_no_value() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2026", periods=2, freq="D"))
    frame.attrs["unit"] = "kg"
    back = round_trip(pd.DataFrame, frame)
    assert_frame_equal(back, frame, check_freq=False)
    assert back.attrs == {"unit": "kg"}


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([1.0, None]),
        pd.Series([1, None], name="k", dtype="Int64"),
        pd.Series(["a"], index=[7], name="k"),
        pd.Series([], dtype="float64", name=""),
    ],
)
def test_a_series_keeps_name_and_index(series: Any) -> None:
    assert_series_equal(round_trip(pd.Series, series), series, check_exact=True)


ARROW = {
    "table": pa.table({"a": [1, None], "b": [math.nan, 1.0], "c": [[1], None], "d": [{"x": 1}, None]}),
    "chunks": pa.concat_tables([pa.table({"a": [1]}), pa.table({"a": [2]})]),
    "slice": pa.table({"a": [1, None, 3]}).slice(1),
    "about": pa.table({"a": [1]}).replace_schema_metadata({"unit": "kg"}),
    "dictionary": pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode()}),
    "empty": pa.table({"a": pa.array([], pa.decimal128(5, 2))}),
    "batch": pa.record_batch({"a": [1, None]}),
    "empty batch": pa.record_batch({"a": pa.array([], pa.int8())}),
}


@pytest.mark.parametrize("name", ARROW)
def test_tables_and_batches_come_back_with_their_schema(name: str) -> None:
    value = ARROW[name]
    back = round_trip(type(value), value)
    assert type(back) is type(value)
    assert back.schema.equals(value.schema, check_metadata=True)
    assert repr(back.to_pylist()) == repr(value.to_pylist())


A, F = np.arange(3.0), pd.DataFrame({"a": [1, 2]})
PLACES: list[tuple[Any, Any]] = [
    (list[pd.DataFrame], [F, F]),
    (dict[str, np.ndarray], {"a": A}),
    (dict[int, np.ndarray], {-1: A, 7: A}),
    (dict[dt.date, bytes], {dt.date(2026, 1, 1): b"\xff"}),
    (tuple[np.ndarray, dt.date, np.ndarray], (A, dt.date(2026, 1, 1), A)),
    (pd.DataFrame | None, F),
    (pd.DataFrame | None, None),
    (np.ndarray | pd.DataFrame, A),
    (np.ndarray | pd.DataFrame, F),
    (np.ndarray | str, "text"),
    (np.ndarray | bytes, b"\xff"),
    (Annotated[pd.DataFrame, "checked by hand"], F),
    (npt.NDArray[np.float64], A),
    (Table, Table(F, 2)),
    (list[Table], [Table(F, 2)]),
    (Pair, Pair(A, dt.date(2026, 1, 1))),
    (Typed, {"array": A, "name": "n"}),
    (Model, Model(frame=F, arrays={"a": A})),
    (list[Model | int], [Model(frame=F), 1]),
]


def same(one: Any, other: Any) -> bool:
    assert type(one) is type(other)
    if isinstance(one, BaseModel | Table):
        return same(vars(one), vars(other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, pd.DataFrame):
        return one.equals(other)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)


@pytest.mark.parametrize(("annotation", "value"), PLACES, ids=[str(annotation) for annotation, _ in PLACES])
def test_they_stand_wherever_other_values_do(annotation: Any, value: Any) -> None:
    assert same(round_trip(annotation, value), value)


REFUSED: list[tuple[Any, Any, str, str]] = [
    (np.ndarray, np.array([object()]), "", "dtype object holds Python objects"),
    (np.ndarray, np.ma.masked_array([1.0], mask=[True]), "", "come back as ndarray"),
    (
        list[pd.DataFrame],
        [F, pd.DataFrame({"a": pd.Series([1, "x"], dtype=object)})],
        "[1]",
        "column a with type object",
    ),
    (pd.DataFrame, pd.DataFrame({"ok": [1], "bad": [[1]]}), "", "column 'bad' (dtype object) would come back"),
    (pd.DataFrame, pd.DataFrame({"a": pd.Series(["x"], dtype=object)}), "", "would come back with dtype str"),
    (pd.DataFrame, pd.DataFrame({"a": [1j]}), "", "column a with type complex128"),
    (pd.DataFrame, pd.DataFrame([[1, 2]], columns=["a", "a"]), "", "Duplicate column names"),
    (pd.DataFrame, pd.DataFrame([[1, 2]], columns=["a", 3]), "", "frame.columns.map(str)"),
    (pd.Series, pd.Series([1], name=0), "", "give it a text for a name"),
    (Table | None, Table(pd.DataFrame({"a": [{1}]})), ".frame", "column 'a' (dtype object)"),
    (ANY, F, "", "annotate the step: -> pandas.DataFrame"),
    (ANY, [pa.table({"a": [1]})], "[0]", "annotate the step: -> pyarrow.Table"),
    (dict[str, Any], {"a": [A]}, ".a[0]", "annotate it as numpy.ndarray"),
    (pd.DataFrame | pa.Table, pa.table({"a": [1]}), "", "come back as DataFrame"),
]


@pytest.mark.parametrize(("annotation", "value", "path", "remedy"), REFUSED, ids=[row[3] for row in REFUSED])
def test_what_would_not_survive_is_refused_where_it_is_made(
    annotation: Any, value: Any, path: str, remedy: str
) -> None:
    with pytest.raises(ok.CodecError, match=re.escape(remedy)) as caught:
        codec_for(annotation).dump(value, "draft")
    error = caught.value
    assert (error.path, error.node) == (path, "draft")
    assert f"({error.type}): {error.remedy}" in str(error)


def test_the_attrs_of_a_frame_must_be_json() -> None:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["made by"] = object()
    with pytest.raises(ok.CodecError, match="its attrs are no JSON"):
        codec_for(pd.DataFrame).dump(frame, "draft")


@pytest.mark.parametrize(
    ("wrote", "value", "reads"),
    [
        (np.ndarray, A, pd.DataFrame),
        (pd.DataFrame, F, np.ndarray),
        (pd.DataFrame, F, pd.Series | None),
        (bytes, b"abc", np.ndarray),
        (bytes, b"\x80\x04N.", np.ndarray),
        (str, "abc", pd.DataFrame),
        (np.ndarray, A, dict),
        (pd.DataFrame, F, str),
        (bytes, b"\xff", str),
    ],
)
def test_a_reader_of_another_type_is_told(wrote: Any, value: Any, reads: Any) -> None:
    frame = pd.DataFrame({"a": [1], "b": [2]}) if wrote is pd.DataFrame else value
    record = codec_for(wrote).dump(frame, "draft")
    with pytest.raises(ValidationError):
        codec_for(reads).load(record)


def test_pickles_are_not_read() -> None:
    packed = codec_for(np.ndarray).dump(np.zeros(1), "draft").replace(b"<f8", b"|O8")
    with pytest.raises(ValidationError, match="allow_pickle=False"):
        codec_for(np.ndarray).load(packed)


def test_a_table_may_be_read_as_a_frame_and_bytes_as_they_are() -> None:
    record = codec_for(pd.DataFrame).dump(F, "draft")
    assert codec_for(pa.Table).load(record).column_names == ["a"]
    assert codec_for(ANY).load(record) == codec_for(bytes).load(record) == record


def test_a_frame_has_the_same_bytes_whoever_wrote_it() -> None:
    record = codec_for(pd.DataFrame).dump(F, "draft")
    assert pd.__version__.encode() not in record
    assert b"pyarrow" not in record


@pytest.mark.parametrize("annotation", [pd.DataFrame | Foreign, Foreign, list[tuple[np.ndarray, Foreign]]])
def test_what_only_looks_like_an_array_is_still_a_definition_error(annotation: Any) -> None:
    with pytest.raises(ok.DefinitionError, match="cannot be checked or stored"):
        codec_for(annotation)


def test_a_consumer_may_change_what_it_got() -> None:
    codec = codec_for(pd.DataFrame)
    record = codec.dump(F, "draft")
    mine = codec.load(record)
    mine.loc[0, "a"] = 9
    assert codec.load(record).equals(F)

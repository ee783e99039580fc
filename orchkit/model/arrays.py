"""Arrays and frames as bytes: npy for numpy, an Arrow IPC stream for pandas and pyarrow; never pickle.

The stream format and not the file format: values are read whole and once, so a footer to seek by would be dead
weight, and DuckDB and every Arrow library read streams too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from orchkit.model.kinds import kind_of
from orchkit.model.wording import one_line

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

__all__ = ["Unpackable", "alike", "pack", "unpacker"]


class Unpackable(Exception):
    """Bytes cannot carry a value; the text says why and how to mend it."""


def pack(value: Any) -> bytes:
    """Give the bytes of an array, a frame or bytes.

    Raises
    ------
    Unpackable
        Naming the column, or the dtype, and the remedy.
    """
    packed: bytes = _PACKERS[kind_of(type(value))](value)
    return packed


def unpacker(cls: type) -> Callable[[Any], Any]:
    """Give what reads a class of arrays back from bytes, and lets anything else pass.

    It raises ValueError for bytes of something else.
    """
    kind = kind_of(cls)
    read, what = _READERS[kind], f"{cls.__module__.partition('.')[0]}.{cls.__name__}"

    def read_bytes(packed: Any) -> Any:
        if type(packed) is not bytes:
            return packed
        try:
            return read(packed)
        except Exception as error:  # pyarrow and numpy raise half a dozen classes for damaged bytes
            raise ValueError(f"these {len(packed)} bytes are no {what} as orchkit stores it: {error}") from error

    return read_bytes


def alike(one: Any, other: Any) -> str:
    """Say how a value that was read back differs from the one that was packed; "" if it is the same.

    Equal in value, dtype and shape, NaN included. The ``freq`` of an index of times is no value, and may differ.
    """
    kind = kind_of(type(one))
    if type(one) is not type(other) and kind != "bytes":
        return f"it would come back as {type(other).__name__}; make it one before it is returned"
    return _DIFFERENCES[kind](one, other)


# numpy


def _pack_ndarray(array: np.ndarray[Any, Any]) -> bytes:
    from numpy.lib import format as npy

    if array.dtype.hasobject:
        raise Unpackable(
            f"an array of dtype {array.dtype} holds Python objects, and only pickle could store them; give it a dtype "
            "(.astype(float), .astype(str), ...) or return a list"
        )
    file = BytesIO()
    npy.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def _read_ndarray(packed: bytes) -> Any:
    from numpy.lib import format as npy

    return npy.read_array(BytesIO(packed), allow_pickle=False)


def _ndarray_differs(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> str:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return f"it would come back with dtype {other.dtype} and shape {other.shape}"
    # By bytes, so that a NaN equals itself.
    return "" if one.tobytes() == other.tobytes() else "it would come back with other values"


# pyarrow


def _pack_table(table: pa.Table | pa.RecordBatch) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _read_table(packed: bytes) -> Any:
    import pyarrow as pa

    return pa.ipc.open_stream(pa.py_buffer(packed)).read_all()


def _read_batch(packed: bytes) -> Any:
    import pyarrow as pa

    table = _read_table(packed).combine_chunks()
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _table_differs(one: Any, other: Any) -> str:
    if not one.schema.equals(other.schema, check_metadata=True):
        return f"it would come back with schema {other.schema}"
    if one.num_rows != other.num_rows:
        return f"it would come back with {other.num_rows} rows"
    # To Arrow a NaN differs from itself; its bytes do not.
    same = one.equals(other) or _pack_table(one) == _pack_table(other)
    return "" if same else "it would come back with other values"


# pandas


def _pack_dataframe(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa

    # Both looked at before: pyarrow would go on with a warning and lose them.
    if frame.columns.nlevels == 1 and frame.columns.inferred_type.startswith("mixed"):
        raise Unpackable(f"its column names {list(frame.columns)[:5]} are of several types; {_MEND_NAMES}")
    try:
        json.dumps(frame.attrs)
    except (TypeError, ValueError) as error:
        raise Unpackable(f"its attrs are no JSON: {error}; keep them beside the frame") from error
    try:
        table = pa.Table.from_pandas(frame)
    except Exception as error:
        raise Unpackable(f"{one_line(error)}; {_MEND_COLUMN}") from error
    meta = dict(table.schema.metadata)
    about = json.loads(meta[b"pandas"])
    # Which versions wrote it is no part of the value: the same frame has the same bytes, and a log the same digest.
    about.pop("creator", None)
    about.pop("pandas_version", None)
    meta[b"pandas"] = json.dumps(about).encode()
    return _pack_table(table.replace_schema_metadata(meta))


def _read_dataframe(packed: bytes) -> Any:
    return _read_table(packed).to_pandas()


def _dataframe_differs(one: pd.DataFrame, other: pd.DataFrame) -> str:
    from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal

    try:
        assert_index_equal(one.columns, other.columns, exact="equiv")
    except AssertionError:
        return f"its column names would come back as {list(other.columns)[:5]}; {_MEND_NAMES}"
    for i, name in enumerate(one.columns):
        try:
            assert_series_equal(one.iloc[:, i], other.iloc[:, i], check_exact=True, check_index=False, check_freq=False)
        except (AssertionError, ValueError):
            before, after = one.dtypes.iloc[i], other.dtypes.iloc[i]
            came = f"dtype {after}" if before != after else "other values"
            return f"column {name!r} (dtype {before}) would come back with {came}; {_MEND_COLUMN}"
    try:
        assert_frame_equal(one, other, check_exact=True, check_freq=False)
    except (AssertionError, ValueError) as error:
        return f"it would come back otherwise: {one_line(error)}; reset_index() or rename what differs"
    return "" if one.attrs == other.attrs else "its attrs would be lost; keep them beside the frame"


def _pack_series(series: pd.Series[Any]) -> bytes:
    return _pack_dataframe(series.to_frame())


def _read_series(packed: bytes) -> Any:
    frame = _read_dataframe(packed)
    if frame.shape[1] != 1:
        raise ValueError(f"a series is one column, and there are {frame.shape[1]}")
    series = frame.iloc[:, 0]
    series.attrs = frame.attrs
    # What `to_frame` calls the column of a series without a name.
    return series.rename(None) if series.name == 0 else series


def _series_differs(one: pd.Series[Any], other: pd.Series[Any]) -> str:
    if one.name != other.name:
        return f"its name would come back as {other.name!r}; give it a text for a name"
    return _dataframe_differs(one.to_frame(), other.to_frame())


_MEND_NAMES: Final = "make them text: frame.columns = frame.columns.map(str)"
_MEND_COLUMN: Final = (
    "give the column one type (.astype('str'), .astype('Int64'), .astype('category'), ...) or return a pyarrow.Table"
)


def _bytes_differ(one: Any, other: Any) -> str:
    return "" if one == other else "it would come back as other bytes"


_PACKERS: Final[dict[str, Callable[[Any], bytes]]] = {
    "bytes": bytes,
    "bytearray": bytes,
    "ndarray": _pack_ndarray,
    "dataframe": _pack_dataframe,
    "series": _pack_series,
    "table": _pack_table,
    "batch": _pack_table,
}
_READERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "bytearray": bytearray,
    "ndarray": _read_ndarray,
    "dataframe": _read_dataframe,
    "series": _read_series,
    "table": _read_table,
    "batch": _read_batch,
}
_DIFFERENCES: Final[dict[str, Callable[[Any, Any], str]]] = {
    "bytes": _bytes_differ,
    "bytearray": _bytes_differ,
    "ndarray": _ndarray_differs,
    "dataframe": _dataframe_differs,
    "series": _series_differs,
    "table": _table_differs,
    "batch": _table_differs,
}

"""Kinds of values beside JSON, told by their class alone: nothing is imported to look."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

__all__ = ["ARRAYS", "BINARY", "REDACTED", "kind_of", "number_of"]

REDACTED: Final = "**********"
"""What is recorded in place of a secret; what pydantic writes for one."""

_NAMED: Final = {
    ("builtins", "bytes"): "bytes",
    ("builtins", "bytearray"): "bytearray",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "generic"): "number",
    ("pandas", "DataFrame"): "dataframe",
    ("pandas", "Series"): "series",
    ("pyarrow", "Table"): "table",
    ("pyarrow", "RecordBatch"): "batch",
}
BINARY: Final = frozenset({"bytes", "bytearray", "ndarray", "dataframe", "series", "table", "batch"})
"""Kinds that are stored as bytes."""
ARRAYS: Final = BINARY - {"bytes"}
"""Kinds that pydantic knows nothing of."""


def _kind_of(cls: type) -> str:
    """Give the kind of a class that the log does not hold as JSON; "" of any other, which is pydantic's affair.

    Examples
    --------
    >>> kind_of(bytes), kind_of(str)
    ('bytes', '')
    """
    if hasattr(cls, "get_secret_value"):
        return "secret"
    for base in cls.__mro__:
        kind = _NAMED.get((base.__module__.partition(".")[0], base.__name__))
        if kind is not None:
            return kind
    return ""


kind_of: Final[Callable[[type], str]] = lru_cache(maxsize=4096)(_kind_of)
"""Of a class, the kind; made once."""


def number_of(value: Any) -> Any:
    """Give the built-in bool, int, float or str that equals a scalar of numpy's; None if there is none."""
    dtype = value.dtype
    exact = dtype.kind in "biuU" or (dtype.kind == "f" and dtype.itemsize <= 8)
    return value.item() if exact else None

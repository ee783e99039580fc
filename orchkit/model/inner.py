"""Looking into typed values: whether two are the same but for secrets, what is lost in one, which secrets it holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from orchkit.model.arrays import alike
from orchkit.model.kinds import BINARY, REDACTED, kind_of

__all__ = ["equal", "lost", "same", "secrets_of"]

_ROWS = (list, tuple, deque)
_OPEN = (dict, list, str, int, float, bool, type(None))


def same(one: Any, other: Any, names: Collection[str]) -> bool:
    """Say whether two values are the same but for what is redacted.

    Parameters
    ----------
    one : object
        As it was made.
    other : object
        As it was read back.
    names : collection of str
        Fields that are redacted.
    """
    kind = kind_of(type(one))
    if kind == "secret":
        return other is None or kind_of(type(other)) == "secret" or other == REDACTED
    if kind in BINARY:
        return not alike(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(key in names or same(one[key], other[key], names) for key in one)
    if isinstance(one, _ROWS) and isinstance(other, _ROWS):
        return len(one) == len(other) and all(map(same, one, other, [names] * len(one)))
    inner = _fields(one)
    if inner is not None:
        return type(one) is type(other) and same(inner, _fields(other), names)
    return equal(one, other)


def lost(one: Any, other: Any, names: Collection[str], path: Any = "") -> tuple[Any, Any, Any] | None:
    """Find the first thing in a value that comes back as another, because its annotation does not tell what it is.

    What merely comes back as what it is a kind of does not count: a tuple as a list, a Counter as a dict, a StrEnum
    as a str. A model or a dataclass of a subclass does, for its fields are gone.

    Parameters
    ----------
    one : object
        As it was made.
    other : object
        As it was read back.
    names : collection of str
        Fields that are redacted.
    path : str or pair
        Where they stand.

    Returns
    -------
    tuple of path, object and object, or None
        Where it stands, what was made, and what comes back.
    """
    if kind_of(type(one)):
        return None  # numbers of numpy's, bytes and secrets have rules of their own
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = [key for key in one if key not in names and key in other]
        return _first_lost(((one[key], other[key], (path, str(key))) for key in keys), names)
    if isinstance(one, _ROWS) and isinstance(other, _ROWS):
        pairs = enumerate(zip(one, other, strict=False))
        return _first_lost(((mine, theirs, (path, i)) for i, (mine, theirs) in pairs), names)
    inner = _fields(one)
    if inner is None:
        open_ = type(other) in _OPEN and not isinstance(one, type(other))
        return (path, one, other) if open_ else None
    if type(one) is type(other) or equal(one, other, unsure=False):
        kept = {key: element for key, element in inner.items() if key not in _left_out(one)}
        return lost(kept, _fields(other) or {}, names, path)
    return path, one, other


def _left_out(model: Any) -> set[str]:
    # Whoever writes Field(exclude=True) wants it lost.
    return {name for name, field in getattr(type(model), "__pydantic_fields__", {}).items() if field.exclude}


def _first_lost(pairs: Iterator[tuple[Any, Any, Any]], names: Collection[str]) -> tuple[Any, Any, Any] | None:
    found = (lost(one, other, names, path) for one, other, path in pairs)
    return next((place for place in found if place is not None), None)


def equal(one: Any, other: Any, unsure: bool = True) -> bool:
    """Say whether two values are equal, as far as they can tell; `unsure` where they cannot."""
    try:
        return bool(one == other)
    except Exception:  # an array's == gives an array; nothing can be said then
        return unsure


def secrets_of(value: Any) -> frozenset[Any]:
    """Give what the secrets in a value hold, as text; those of one character or none are not told from other text."""
    return frozenset(text for text in _secrets(value) if len(text) > 1)


def _secrets(value: Any) -> Iterator[str]:
    if kind_of(type(value)) == "secret":
        secret = value.get_secret_value()
        yield secret.decode(errors="replace") if isinstance(secret, bytes) else str(secret)
        return
    inner = value if isinstance(value, Mapping) else _fields(value)
    rows = inner.values() if inner is not None else value if isinstance(value, (*_ROWS, set, frozenset)) else ()
    for row in rows:
        yield from _secrets(row)


def _fields(value: Any) -> Mapping[str, Any] | None:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "__pydantic_fields_set__"):
        return {**vars(value), **(value.__pydantic_extra__ or {})}
    return None

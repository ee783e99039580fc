"""Looking into typed values: whether two are the same but for secrets, and which secrets are in one."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from orchkit.model.arrays import alike
from orchkit.model.kinds import BINARY, REDACTED, kind_of

__all__ = ["equal", "same", "secrets_of"]

_ROWS = (list, tuple, deque)


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


def equal(one: Any, other: Any) -> bool:
    """Say whether two values are equal, as far as they can tell."""
    try:
        return bool(one == other)
    except Exception:  # an array's == gives an array; nothing can be said then
        return True


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

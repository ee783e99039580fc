"""The codec: values cross every edge, and enter the log, as JSON that their annotation can read back.

A consumer always gets the value rebuilt from what was recorded, whether the producer ran just now or before a
restart; so a run cannot come to depend on something that a resume would lose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchkit.errors import CodecError, DefinitionError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["ANY", "Codec", "codec_for", "plain"]

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_NO_NAN: Final = "JSON has no NaN and no infinity; use None"
_SEVERAL: Final = (list, tuple, set, frozenset, deque)
_ENCODE: Final = msgspec.json.encode
_SIMPLE: Final = (str, int, float, bool, type(None))


class _Any:
    """No annotation."""

    def __repr__(self) -> str:
        return "no annotation"


ANY: Final = _Any()


def plain(value: Any, path: Any = "", node: str = "") -> Any:
    """Copy a value as plain JSON, or say exactly what in it is not.

    Parameters
    ----------
    value : object
    path : str
        Where the value stands, for messages. Inside, a pair of the path so far and an index or key: it is written
        out only where it is needed, for that would cost more than the copy.
    node : str
        Whose value it is, for messages.

    Returns
    -------
    None, bool, int, float, str, list or dict
        Shares no container with `value`.

    Raises
    ------
    CodecError
        With the path, the type and the remedy.

    Examples
    --------
    >>> plain({"items": (1, 2.5)})
    {'items': [1, 2.5]}
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return value if value.isascii() else _checked_text(value, path, node)
    if kind is int:
        if _INT_MIN <= value <= _INT_MAX:
            return value
        raise _refusal(value, path, node, "an integer beyond 64 bits does not survive JSON; store it as a str")
    if kind is float:
        if isfinite(value):
            return value
        raise _refusal(value, path, node, _NO_NAN)
    if kind is list or kind is tuple:
        return [plain(element, (path, i), node) for i, element in enumerate(value)]
    if kind is dict:
        return {_key(key, path, node): plain(element, (path, key), node) for key, element in value.items()}
    raise _refusal(
        value,
        path,
        node,
        "annotate the step's return type (a pydantic model, dataclass, datetime, enum, ...) or return plain JSON",
    )


def _refuse_lossy(value: Any, path: Any, node: str) -> None:
    # Pydantic turns a NaN under `Any` into null, a secret into asterisks and a surrogate in a key into question
    # marks, all without a word; what it would lose is looked for before.
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return
    if kind is float:
        if not isfinite(value):
            raise _refusal(value, path, node, _NO_NAN)
    elif isinstance(value, Mapping):
        for key, element in value.items():
            if type(key) is str and not key.isascii():
                _checked_text(key, (path, repr(key)), node)
            _refuse_lossy(element, (path, str(key)), node)
    elif isinstance(value, _SEVERAL):
        for i, element in enumerate(value):
            _refuse_lossy(element, (path, i), node)
    elif hasattr(value, "get_secret_value"):
        raise _refusal(value, path, node, "a secret does not go into a log; hand it to steps by deps=")


def _checked_text(value: str, path: Any, node: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refusal(value, path, node, "it has a lone surrogate; decode it with errors='replace'") from None
    return value


def _key(key: Any, path: Any, node: str) -> str:
    if type(key) is str:
        return key if key.isascii() else _checked_text(key, (path, repr(key)), node)
    raise _refusal(key, (path, repr(key)), node, "keys of a JSON object are str; annotate the type or convert the keys")


def _refusal(value: Any, path: Any, node: str, remedy: str) -> CodecError:
    path = _written(path)
    at = f" at {path}" if path else ""
    return CodecError(f"{_whose(node)}{at} is {_shown(value)} ({type(value).__name__}): {remedy}", path=path, node=node)


def _written(path: Any) -> str:
    steps: list[str] = []
    while isinstance(path, tuple):
        path, step = path
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return str(path) + "".join(reversed(steps))


def _whose(node: str) -> str:
    return f"result of {node!r}" if node else "value"


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except Exception as error:
        return f"<a value whose repr raises {type(error).__name__}>"
    return shown if len(shown) <= 80 else shown[:77] + "..."


class Codec:
    """Turns values of one annotation into JSON and back.

    Attributes
    ----------
    dump : callable
        ``dump(value, node)`` validates and gives plain JSON; raises pydantic's ``ValidationError`` for a value
        that does not fit the annotation and `CodecError` for one that JSON cannot carry.
    load : callable
        ``load(json)`` gives the value again.
    """

    __slots__ = ("annotation", "dump", "load")

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self.dump: Callable[[Any, str], Any]
        self.load: Callable[[Any], Any]
        if annotation is ANY or annotation is Any or annotation is object:
            self.dump = _dump_plain
            self.load = _copy
        else:
            self._adapt(annotation)

    def _adapt(self, annotation: Any) -> None:
        annotation = type(None) if annotation is None else annotation
        adapter = _adapter_of(annotation)
        simple = annotation if annotation in _SIMPLE else None
        self.load = _reader(adapter, simple)
        self.dump = _writer(adapter, simple, self.load)


def _adapter_of(annotation: Any) -> TypeAdapter[Any]:
    # Imported here: the fold and the plan must not pay for pydantic.
    from pydantic import TypeAdapter

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        if not adapter.pydantic_complete:
            adapter.rebuild(raise_errors=True)
    except Exception as error:  # pydantic refuses by half a dozen classes, and by TypeError and NameError
        raise DefinitionError(
            f"values of {annotation!r} cannot be checked or stored: {_first_line(error)}; "
            "use a pydantic model, a dataclass or built-in types"
        ) from error
    return adapter


def _writer(
    adapter: TypeAdapter[Any], simple: type | None, from_json: Callable[[Any], Any]
) -> Callable[[Any, str], Any]:
    validate, dump = adapter.validate_python, adapter.dump_python
    ambiguous = _has_union(adapter.core_schema)

    def to_json(value: Any, node: str) -> Any:
        if simple is not None and type(value) is simple:
            return plain(value, "", node)
        valid = validate(value)
        try:
            _refuse_lossy(dump(valid, by_alias=False, round_trip=True, warnings=False), "", node)
            json = plain(dump(valid, mode="json", by_alias=False, round_trip=True, warnings=False), "", node)
        except CodecError:
            raise
        except Exception as error:
            raise _unstorable(valid, node, _first_line(error)) from error
        _check_readable(valid, json, node, from_json, ambiguous)
        return json

    return to_json


def _check_readable(valid: Any, json: Any, node: str, from_json: Callable[[Any], Any], ambiguous: bool) -> None:
    # Read back at once: what cannot be read would otherwise fail in whoever comes next, or after a restart.
    try:
        back = from_json(json)
    except Exception as error:
        raise _unstorable(valid, node, f"its JSON cannot be read back: {_one_line(error)}") from error
    if ambiguous and not _alike(valid, back):
        why = f"it would come back as {_shown(back)}; tell a union's members apart by a discriminator"
        raise _unstorable(valid, node, why)


def _reader(adapter: TypeAdapter[Any], simple: type | None) -> Callable[[Any], Any]:
    validate = adapter.validate_python

    def from_json(value: Any) -> Any:
        kind = type(value)
        if kind is simple:
            return value
        if kind is list or kind is dict:
            value = _copy(value)  # below `Any` pydantic hands out the very object, and the log with it
        try:
            return validate(value, by_alias=True, by_name=True)
        except ValueError:
            # A strict model takes a date from JSON text, and not from a str.
            try:
                return adapter.validate_json(_ENCODE(value), by_alias=True, by_name=True)
            except ValueError:
                pass
            raise

    return from_json


def _unstorable(value: Any, node: str, why: str) -> CodecError:
    return CodecError(
        f"{_whose(node)} is {_shown(value)} ({type(value).__name__}) and cannot be stored: {why}; "
        "use a type that JSON can carry",
        node=node,
    )


def _alike(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # an array's == gives an array; nothing can be said then
        return True


def _has_union(schema: Any) -> bool:
    """Say whether a pydantic schema leaves open which of several types a value is."""
    if isinstance(schema, Mapping):
        return schema.get("type") == "union" or any(map(_has_union, schema.values()))
    return isinstance(schema, (list, tuple)) and any(map(_has_union, schema))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if "errors.pydantic.dev" not in line]
    return ", ".join(lines)[:300]


def _dump_plain(value: Any, node: str) -> Any:
    try:
        return plain(value, "", node)
    except RecursionError:
        raise CodecError(f"{_whose(node)} is nested too deeply, or contains itself", node=node) from None


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return [_copy(element) for element in value]
    if kind is dict:
        return {key: _copy(element) for key, element in value.items()}
    return value


@lru_cache(maxsize=2048)
def _cached(annotation: Any, written: str) -> Codec:
    return Codec(annotation)


def codec_for(annotation: Any) -> Codec:
    """Give the codec of an annotation; made once where the annotation can be hashed.

    Raises
    ------
    DefinitionError
        If pydantic cannot make a schema of it.
    """
    try:
        # `A | B` equals `B | A`, and yet each takes its first member where both would fit.
        return _cached(annotation, repr(annotation))
    except TypeError:
        return Codec(annotation)

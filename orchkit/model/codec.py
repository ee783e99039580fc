"""The codec: values cross every edge, and enter the log, as JSON that their annotation can read back.

A consumer always gets the value rebuilt from what was recorded, whether the producer ran just now or before a
restart; so a run cannot come to depend on something that a resume would lose.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from typing import Any, Final

from orchkit.errors import CodecError, DefinitionError

__all__ = ["ANY", "Codec", "codec_for", "plain"]

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_NO_NAN: Final = "JSON has no NaN and no infinity; use None"
_SIMPLE: Final = (str, int, float, bool, type(None))


class _Any:
    """No annotation."""

    def __repr__(self) -> str:
        return "no annotation"


ANY: Final = _Any()


def plain(value: Any, path: str = "", node: str = "") -> Any:
    """Copy a value as plain JSON, or say exactly what in it is not.

    Parameters
    ----------
    value : object
    path : str
        Where the value stands, for messages.
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
        raise _refusal(
            value, path, node, "an integer beyond 64 bits does not survive JSON; store it as a str"
        )
    if kind is float:
        if isfinite(value):
            return value
        raise _refusal(value, path, node, _NO_NAN)
    if kind is list or kind is tuple:
        return [plain(element, f"{path}[{i}]", node) for i, element in enumerate(value)]
    if kind is dict:
        return {
            _key(key, path, node): plain(element, f"{path}.{key}", node) for key, element in value.items()
        }
    raise _refusal(
        value,
        path,
        node,
        "annotate the step's return type (a pydantic model, dataclass, datetime, enum, ...) or return plain JSON values",
    )


def _refuse_infinite(value: Any, path: str, node: str) -> None:
    kind = type(value)
    if kind is float:
        if not isfinite(value):
            raise _refusal(value, path, node, _NO_NAN)
    elif kind is dict:
        for key, element in value.items():
            _refuse_infinite(element, f"{path}.{key}", node)
    elif kind is list or kind is tuple or kind is set or kind is frozenset:
        for i, element in enumerate(value):
            _refuse_infinite(element, f"{path}[{i}]", node)


def _checked_text(value: str, path: str, node: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refusal(
            value, path, node, "it has a lone surrogate; decode it with errors='replace'"
        ) from None
    return value


def _key(key: Any, path: str, node: str) -> str:
    if type(key) is str:
        return key
    raise _refusal(
        key, f"{path}.{key!r}", node, "keys of a JSON object are str; annotate the type or convert the keys"
    )


def _refusal(value: Any, path: str, node: str, remedy: str) -> CodecError:
    where = f"result of {node!r}" if node else "value"
    at = f" at {path}" if path else ""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return CodecError(f"{where}{at} is {shown} ({type(value).__name__}): {remedy}", path=path, node=node)


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
        # Imported here: the fold and the plan must not pay for pydantic.
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

        if annotation is None:
            annotation = type(None)
        try:
            adapter = TypeAdapter(annotation)
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation) as error:
            raise DefinitionError(
                f"values of {annotation!r} cannot be checked or stored: {str(error).splitlines()[0]}; "
                "use a pydantic model, a dataclass or built-in types"
            ) from error
        validate, dump = adapter.validate_python, adapter.dump_python
        simple = annotation in _SIMPLE

        def to_json(value: Any, node: str) -> Any:
            if simple and type(value) is annotation:
                return plain(value, "", node)
            valid = validate(value)
            # Pydantic lets NaN and lone surrogates through, and turns a NaN under `Any` into null without a word.
            _refuse_infinite(dump(valid), "", node)
            return plain(dump(valid, mode="json"), "", node)

        def from_json(value: Any) -> Any:
            if simple and type(value) is annotation:
                return value
            return validate(value)

        self.dump, self.load = to_json, from_json


def _dump_plain(value: Any, node: str) -> Any:
    return plain(value, "", node)


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return [_copy(element) for element in value]
    if kind is dict:
        return {key: _copy(element) for key, element in value.items()}
    return value


@lru_cache(maxsize=2048)
def _cached(annotation: Any) -> Codec:
    return Codec(annotation)


def codec_for(annotation: Any) -> Codec:
    """Give the codec of an annotation; made once where the annotation can be hashed.

    Raises
    ------
    DefinitionError
        If pydantic cannot make a schema of it.
    """
    try:
        return _cached(annotation)
    except TypeError:
        return Codec(annotation)

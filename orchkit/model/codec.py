"""The codec: values cross every edge, and enter the log, as JSON and bytes that their annotation can read back.

A consumer always gets the value rebuilt from what was recorded, whether the producer ran just now or before a
restart; so a run cannot come to depend on something that a resume would lose.

Which bytes mean what is decided by the annotation that reads them, so no key of a dict is reserved: for `bytes` they
are themselves, for an ``ndarray`` npy, for frames and tables an Arrow IPC stream. Secrets are redacted on the way in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from math import isfinite
from typing import Any, Final

import msgspec

from orchkit.errors import CodecError
from orchkit.model.apart import (
    NoRoom,
    Parts,
    Path,
    blanked,
    found,
    nested,
    put_together,
    read_redacted,
    silenced,
    take_apart,
)
from orchkit.model.arrays import alike
from orchkit.model.inner import equal, lost, same, secrets_of
from orchkit.model.kinds import kind_of
from orchkit.model.plain import NO_NAN, checked_text, has_bytes, plain, refusal, shown, whose
from orchkit.model.schema import Adapted, adapted
from orchkit.model.wording import first_line, one_line

__all__ = ["ANY", "Codec", "codec_for", "plain"]

_SEVERAL: Final = (list, tuple, set, frozenset, deque)
_ENCODE: Final = msgspec.json.encode
_SIMPLE: Final = (str, int, float, bool, type(None))
_NO_NAMES: Final[frozenset[str]] = frozenset()
_SECRET: Final = "a value that is not shown, for something in it is redacted"


class _Any:
    """No annotation."""

    def __repr__(self) -> str:
        return "no annotation"


ANY: Final = _Any()


class Codec:
    """Turns values of one annotation into JSON and bytes, and back.

    Parameters
    ----------
    annotation : object
        What pydantic makes a schema of; also arrays and frames, in containers and models too.
    names : frozenset of str
        Fields and keys whose values are redacted, at any depth.

    Attributes
    ----------
    dump : callable
        ``dump(value, node)`` validates and gives plain JSON and bytes; raises pydantic's ``ValidationError`` for a
        value that does not fit the annotation and `CodecError` for one that cannot be stored.
    load : callable
        ``load(json)`` gives the value again.
    """

    __slots__ = ("annotation", "dump", "load")

    def __init__(self, annotation: Any, names: frozenset[str] = _NO_NAMES) -> None:
        self.annotation = annotation
        self.dump: Callable[[Any, str], Any]
        self.load: Callable[[Any], Any]
        if annotation is ANY or annotation is Any or annotation is object:
            self.dump = _discreet(_plain_writer(names)) if names else _dump_plain
            self.load = _copy
        else:
            self._adapt(annotation, names)

    def _adapt(self, annotation: Any, names: frozenset[str]) -> None:
        annotation = type(None) if annotation is None else annotation
        if annotation in _SIMPLE:
            self.load, self.dump = _simple(annotation, names)
            return
        with_pydantic = adapted(annotation, bool(names))
        self.load = _reader(with_pydantic)
        dump = _writer(with_pydantic, self.load, names)
        self.dump = _discreet(dump) if with_pydantic.hides else dump


def _simple(kind: type, names: frozenset[str]) -> tuple[Callable[[Any], Any], Callable[[Any, str], Any]]:
    # Values of just this type need no pydantic, which a process that resumes a run would wait for.
    @cache
    def made() -> tuple[Callable[[Any], Any], Callable[[Any, str], Any]]:
        with_pydantic = adapted(kind, bool(names))
        read = _reader(with_pydantic)
        return read, _writer(with_pydantic, read, names)

    def load(json: Any) -> Any:
        return json if type(json) is kind else made()[0](json)

    def dump(value: Any, node: str) -> Any:
        return plain(value, "", node) if type(value) is kind else made()[1](value, node)

    return load, _discreet(dump) if names else dump


def _discreet(dump: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Leave the value out of what is said of it: messages are recorded, and it may hold a secret."""

    def discreet(value: Any, node: str) -> Any:
        try:
            return dump(value, node)
        except CodecError as error:
            at = f" at {error.path}" if error.path else ""
            raise CodecError(
                f"{whose(node)}{at} is {_SECRET} ({error.type}): {error.remedy}",
                path=error.path,
                node=node,
                type=error.type,
                remedy=error.remedy,
            ) from None

    return discreet


def _writer(adapter: Adapted, from_json: Callable[[Any], Any], names: frozenset[str]) -> Callable[[Any, str], Any]:
    validate, dump, hides = adapter.validate, adapter.dump, adapter.hides

    def to_json(value: Any, node: str) -> Any:
        valid = validate(value)
        try:
            python = dump(valid, by_alias=False, round_trip=True, warnings=False)
            if _look(blanked(python, names) if names else python, "", node) or hides:
                return _dump_apart(adapter, valid, python, from_json, names, node)
            json = plain(dump(valid, mode="json", by_alias=False, round_trip=True, warnings=False), "", node)
        except CodecError:
            raise
        except Exception as error:
            raise _unstorable(valid, node, first_line(error)) from error
        _check_readable(valid, json, node, from_json, adapter)
        return json

    return to_json


def _look(value: Any, path: Any, node: str) -> bool:
    """Refuse what would be lost without a word; say whether there is something to be dumped apart."""
    # Pydantic turns a NaN under `Any` into null and a surrogate in a key into question marks; what it would lose is
    # looked for before.
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return False
    if kind is float:
        if not isfinite(value):
            raise refusal(value, path, node, NO_NAN)
        return False
    apart = False
    if isinstance(value, Mapping):
        for key, element in value.items():
            if type(key) is str and not key.isascii():
                checked_text(key, (path, repr(key)), node)
            if _look(element, (path, str(key)), node):
                apart = True
    elif isinstance(value, _SEVERAL):
        for i, element in enumerate(value):
            if _look(element, (path, i), node):
                apart = True
    else:
        return kind_of(kind) != ""
    return apart


def _dump_apart(
    adapter: Adapted, valid: Any, python: Any, from_json: Callable[[Any], Any], names: frozenset[str], node: str
) -> Any:
    parts, places = take_apart(python, node, names)
    json = None
    if places is not True:
        json = adapter.dump(valid, mode="json", by_alias=False, round_trip=True, warnings=False, exclude=places or None)
    json = plain(put_together(python, json, parts), "", node)
    sites = parts.secrets
    if names:
        # Once more: a serializer of the user's, or a generator, may have brought in what was not to be seen before.
        json = blanked(json, names, sites)
    if adapter.hides and (told := secrets_of(valid)):
        json = silenced(json, told, sites)
    try:
        json, back = read_redacted(json, sites, from_json)
    except NoRoom as error:
        raise _no_room(python, error.args[0], node) from error.__cause__
    except Exception as error:
        raise _unstorable(valid, node, f"its record cannot be read back: {one_line(error)}") from error
    if parts.binary:
        _check_parts(adapter.dump(back, by_alias=False, round_trip=True, warnings=False), parts, node)
    if adapter.loose:
        _check_types(valid, back, names, node)
    if adapter.ambiguous and not same(valid, back, names):
        raise _ambiguous(valid, back, node)
    return json


def _no_room(python: Any, site: Path, node: str) -> CodecError:
    return refusal(
        _at(python, site),
        nested(site),
        node,
        "it is redacted before it is recorded, and its type has no room for that; make it `SecretStr | None` or str, "
        "or hand it to steps by deps=",
    )


def _at(value: Any, path: Path) -> Any:
    try:
        return found(value, path)
    except (LookupError, TypeError):
        return None


def _check_parts(python: Any, parts: Parts, node: str) -> None:
    for path, value in parts.binary.items():
        other = _at(python, path)
        differs = alike(value, other)
        if differs and type(other) is bytes:
            differs = f"nothing says how to read its bytes; {_annotate(value)}"
        if differs:
            raise refusal(value, nested(path), node, differs)


def _annotate(value: Any) -> str:
    cls = type(value)
    return f"annotate it as {cls.__module__.partition('.')[0]}.{cls.__name__}"


def _check_readable(valid: Any, json: Any, node: str, from_json: Callable[[Any], Any], adapter: Adapted) -> None:
    # Read back at once: what cannot be read would otherwise fail in whoever comes next, or after a restart.
    try:
        back = from_json(json)
    except Exception as error:
        raise _unstorable(valid, node, f"its JSON cannot be read back: {one_line(error)}") from error
    if adapter.loose and not equal(valid, back, unsure=False):
        _check_types(valid, back, _NO_NAMES, node)
    if adapter.ambiguous and not equal(valid, back):
        raise _ambiguous(valid, back, node)


def _check_types(valid: Any, back: Any, names: frozenset[str], node: str) -> None:
    place = lost(valid, back, names)
    if place is not None:
        path, one, other = place
        raise refusal(
            one,
            path,
            node,
            f"it would come back as {shown(other)} ({type(other).__name__}), for the annotation does not say what it "
            f"is; name {type(one).__name__} there, among others by a discriminator, or return plain JSON",
        )


def _ambiguous(valid: Any, back: Any, node: str) -> CodecError:
    why = f"it would come back as {shown(back)}; tell a union's members apart by a discriminator"
    return _unstorable(valid, node, why)


def _reader(adapter: Adapted) -> Callable[[Any], Any]:
    validate = adapter.validate

    def from_json(value: Any) -> Any:
        kind = type(value)
        if kind is list or kind is dict:
            value = _copy(value)  # below `Any` pydantic hands out the very object, and the log with it
        try:
            return validate(value, by_alias=True, by_name=True)
        except ValueError:
            # A strict model takes a date from JSON text, and not from a str.
            try:
                if has_bytes(value):
                    return validate(value, by_alias=True, by_name=True, strict=False)
                return adapter.validate_json(_ENCODE(value), by_alias=True, by_name=True)
            except ValueError:
                pass
            raise

    return from_json


def _unstorable(value: Any, node: str, why: str) -> CodecError:
    remedy = f"{why}; use a type that JSON can carry"
    return CodecError(
        f"{whose(node)} is {shown(value)} ({type(value).__name__}) and cannot be stored: {remedy}",
        node=node,
        type=type(value).__name__,
        remedy=remedy,
    )


def _plain_writer(names: frozenset[str]) -> Callable[[Any, str], Any]:
    return lambda value, node: _dump_plain(value, node, names)


def _dump_plain(value: Any, node: str, names: frozenset[str] = _NO_NAMES) -> Any:
    try:
        return plain(blanked(value, names) if names else value, "", node)
    except RecursionError:
        remedy = "nested too deeply, or contains itself"
        kind = type(value).__name__
        raise CodecError(f"{whose(node)} is {remedy}", node=node, type=kind, remedy=remedy) from None


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return [_copy(element) for element in value]
    if kind is dict:
        return {key: _copy(element) for key, element in value.items()}
    return value


@lru_cache(maxsize=2048)
def _cached(annotation: Any, written: str, names: frozenset[str]) -> Codec:
    return Codec(annotation, names)


def codec_for(annotation: Any, names: frozenset[str] = _NO_NAMES) -> Codec:
    """Give the codec of an annotation, redacting some names; made once where the annotation can be hashed.

    Raises
    ------
    DefinitionError
        If pydantic cannot make a schema of it.
    """
    try:
        # `A | B` equals `B | A`, and yet each takes its first member where both would fit.
        return _cached(annotation, repr(annotation), names)
    except TypeError:
        return Codec(annotation, names)

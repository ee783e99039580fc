"""What pydantic cannot write as JSON (bytes, arrays, frames, secrets): taken out, dumped apart, and put back.

Pydantic dumps the rest with those places left out; so it is neither asked to decode bytes as UTF-8 nor to show a
secret to a serializer of its model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from orchkit.model.arrays import Unpackable, pack
from orchkit.model.kinds import BINARY, REDACTED, kind_of, number_of
from orchkit.model.plain import refusal

__all__ = [
    "NoRoom",
    "Parts",
    "Path",
    "blanked",
    "found",
    "nested",
    "put_together",
    "read_redacted",
    "silenced",
    "take_apart",
]

Path = tuple[Any, ...]
_ROWS = (list, tuple, deque)
_GONE: Final = object()
_SHAPE: Final = "its serializers give its JSON another shape than the value has"


class NoRoom(Exception):
    """A type takes neither asterisks nor None; the argument is the place in the JSON."""


@dataclass(slots=True)
class Parts:
    """What was taken out of a value.

    Attributes
    ----------
    packed : dict
        By path: what is recorded there.
    binary : dict
        By path: the array, frame or bytes itself, to be compared with what is read back.
    secrets : list
        Paths, as they are in the JSON, of what was redacted.
    """

    packed: dict[Path, Any] = field(default_factory=dict)
    binary: dict[Path, Any] = field(default_factory=dict)
    secrets: list[Path] = field(default_factory=list)


def take_apart(value: Any, node: str, names: Collection[str]) -> tuple[Parts, Any]:
    """Find what is dumped apart.

    Parameters
    ----------
    value : object
        As pydantic dumps it for Python.
    node : str
    names : collection of str
        Fields that are redacted; no name is looked for in what they hold.

    Returns
    -------
    tuple
        The parts, and the places as pydantic's ``exclude`` wants them; True if all of the value is one part.

    Raises
    ------
    CodecError
        For an array or a frame that bytes cannot carry.
    """
    parts = Parts()
    return parts, _taken(value, (), parts, node, names)


def _taken(value: Any, path: Path, parts: Parts, node: str, names: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        places = {}
        for key, element in value.items():
            if key in names and element is not None:
                parts.packed[*path, key] = REDACTED
                places[key] = True
            elif inner := _taken(element, (*path, key), parts, node, names):
                places[key] = inner
        return places
    if isinstance(value, _ROWS):
        rows = ((i, _taken(element, (*path, i), parts, node, names)) for i, element in enumerate(value))
        return {i: inner for i, inner in rows if inner}
    if isinstance(value, (set, frozenset)) and any(kind_of(type(element)) for element in value):
        # Nothing can be left out of a set: it is a part as a whole, in one order in every process.
        parts.packed[path] = sorted((_packed(element, path, node) for element in value), key=repr)
        return True
    kind = kind_of(type(value))
    if not kind:
        return None
    parts.packed[path] = _packed(value, path, node)
    if kind in BINARY:
        parts.binary[path] = value
    return True


def _packed(value: Any, path: Path, node: str) -> Any:
    kind = kind_of(type(value))
    if kind in BINARY:
        try:
            return pack(value)
        except Unpackable as error:
            raise refusal(value, nested(path), node, str(error)) from error.__cause__
    if kind == "secret":
        return REDACTED
    # Not a number that a built-in one equals: it is left as it is, and refused with the rest.
    number = number_of(value) if kind == "number" else None
    return value if number is None else number


def nested(path: Path) -> Any:
    """Give a path as the pairs that messages are made from."""
    pairs: Any = ""
    for step in path:
        pairs = (pairs, step)
    return pairs


def put_together(value: Any, json: Any, parts: Parts) -> Any:
    """Put the parts back into the JSON of the rest.

    Raises
    ------
    LookupError
        If a serializer gives the JSON another shape than the value has.
    """
    if not parts.packed:
        return json
    placed: set[Path] = set()
    whole = _together(value, json, parts, ((), ()), placed)
    if len(placed) != len(parts.packed):
        raise LookupError(_SHAPE)
    return whole


def _together(value: Any, json: Any, parts: Parts, at: tuple[Path, Path], placed: set[Path]) -> Any:
    path, place = at  # in the value and in its JSON, where the keys are text
    if path in parts.packed:
        placed.add(path)
        packed = parts.packed[path]
        if packed is REDACTED:
            parts.secrets.append(place)
        return packed
    if isinstance(value, Mapping) and isinstance(json, dict):
        names = [key if type(key) is str else _name_of(key) for key in value]
        rows = [((*path, key), (*place, name)) for key, name in zip(value, names, strict=True)]
        left = [json.get(name, _GONE) for name in names]
        if json.keys() - set(names):
            raise LookupError(_SHAPE)
        return dict(zip(names, _rows(value.values(), left, rows, parts, placed), strict=True))
    if isinstance(value, _ROWS) and isinstance(json, list):
        rows = [((*path, i), (*place, i)) for i in range(len(value))]
        rest = iter(json)
        left = [_GONE if inner in parts.packed else next(rest, _GONE) for inner, _ in rows]
        if next(rest, _GONE) is not _GONE:
            raise LookupError(_SHAPE)
        return _rows(value, left, rows, parts, placed)
    return json


def _rows(
    values: Iterable[Any], left: list[Any], rows: list[tuple[Path, Path]], parts: Parts, placed: Any
) -> list[Any]:
    if any(json is _GONE and at[0] not in parts.packed for json, at in zip(left, rows, strict=True)):
        raise LookupError(_SHAPE)
    triples = zip(values, left, rows, strict=True)
    return [_together(value, json, parts, at, placed) for value, json, at in triples]


def _name_of(key: Any) -> str:
    # As pydantic writes it.
    from pydantic_core import to_jsonable_python

    (name,) = to_jsonable_python({key: None})
    return str(name)


def found(value: Any, path: Path) -> Any:
    """Give what stands at a path.

    Raises
    ------
    LookupError, TypeError
        If nothing does.
    """
    for step in path:
        value = value[step]
    return value


def blanked(value: Any, names: Collection[str], sites: list[Path] | None = None, path: Path = ()) -> Any:
    """Copy a value with asterisks in place of what stands under the names; None stays None.

    Parameters
    ----------
    value : object
        Built-in containers are copied; anything else is taken as it is.
    names : collection of str
    sites : list, optional
        Gets the path of each place.
    path : tuple
        Where the value stands.
    """
    kind = type(value)
    if kind is dict:
        copy = {}
        for key, element in value.items():
            if key not in names:
                copy[key] = blanked(element, names, sites, (*path, key))
                continue
            copy[key] = None if element is None else REDACTED
            if sites is not None and element is not None:
                sites.append((*path, key))
        return copy
    if kind is list or kind is tuple or kind is deque:
        return kind(blanked(element, names, sites, (*path, i)) for i, element in enumerate(value))
    return value


def silenced(json: Any, told: Collection[str], sites: list[Path], path: Path = ()) -> Any:
    """Copy JSON with asterisks in place of secrets that a serializer of the user's has told."""
    if isinstance(json, dict):
        return {key: silenced(element, told, sites, (*path, key)) for key, element in json.items()}
    if isinstance(json, list):
        return [silenced(element, told, sites, (*path, i)) for i, element in enumerate(json)]
    if isinstance(json, str) and json in told:
        sites.append(path)
        return REDACTED
    return json


def read_redacted(json: Any, sites: list[Path], read: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Read JSON with asterisks in it; where the type has no room for them, None is recorded if it takes that.

    Returns
    -------
    tuple
        The JSON, and what was read.

    Raises
    ------
    NoRoom
        If it can be read neither way.
    """
    try:
        return json, read(json)
    except ValueError as error:
        details: list[Any] = getattr(error, "errors", list)()
        if not sites:
            raise
    wrong = [site for site in sites if any(_concerns(detail["loc"], site) for detail in details)] or sites
    for site in wrong:
        json = _replaced(json, site)
    try:
        return json, read(json)
    except ValueError as error:
        raise NoRoom(wrong[0]) from error


def _concerns(loc: Path, site: Path) -> bool:
    # The place of an error also names the members of unions on its way.
    steps = iter(map(str, loc))
    return all(str(step) in steps for step in site)


def _replaced(json: Any, site: Path) -> Any:
    if not site:
        return None
    found(json, site[:-1])[site[-1]] = None
    return json

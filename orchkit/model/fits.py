"""Fits: whether any value of one annotation can be a value of another, once it has crossed an edge as JSON.

Only what is certain is said. Two tables tell, by the type of pydantic's schema, which kinds of JSON a type is written
as, and of which kinds pydantic could make a value of it. Whatever is not in them (functions of users, types that are
known by their class only) may give and take anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum, Flag, auto
from functools import lru_cache, reduce
from operator import or_
from typing import Any, Final

from orchkit.model.shapes import OneOf, Record, elements, is_open, named

__all__ = ["Kind", "elements", "gives", "misfit", "named"]


class Kind(Flag):
    """What a value is in a record."""

    NULL = auto()
    BOOL = auto()
    INT = auto()
    FLOAT = auto()
    TEXT = auto()
    BYTES = auto()
    LIST = auto()
    DICT = auto()
    SCALAR = BOOL | INT | FLOAT | TEXT | BYTES
    ANYTHING = NULL | SCALAR | LIST | DICT


Schema = Mapping[str, Any]
Table = Mapping[str, Kind]

_SCALARS: Final = (
    "bool",
    "int",
    "float",
    "bytes",
    "decimal",
    "complex",
    "date",
    "time",
    "datetime",
    "timedelta",
    "uuid",
)
_LISTS: Final = ("list", "tuple", "set", "frozenset", "deque")
_DICTS: Final = ("dict", "typed-dict", "dataclass", "model", "record")

_GIVES: Final[Table] = {
    "none": Kind.NULL,
    **dict.fromkeys(_SCALARS, Kind.SCALAR),
    "bool": Kind.BOOL,
    "int": Kind.INT,
    "float": Kind.FLOAT | Kind.INT,
    "str": Kind.TEXT,
    "bytes": Kind.BYTES | Kind.TEXT,
    **dict.fromkeys(_LISTS, Kind.LIST),
    **dict.fromkeys(_DICTS, Kind.DICT),
}
"""How the values of a type are written."""

_TAKES: Final[Table] = {
    "none": Kind.NULL,
    **dict.fromkeys(_SCALARS, Kind.SCALAR),
    "str": Kind.TEXT | Kind.BYTES,
    **dict.fromkeys(_LISTS, Kind.LIST),
    **dict.fromkeys(_DICTS, Kind.DICT),
}
"""What the values of a type may be made of, generously: whether "12" is an int is seen when it is there."""

_SIMPLE: Final[Mapping[Any, str]] = {type(None): "none", bool: "bool", int: "int", float: "float", str: "str"}
"""Types that need no pydantic, for whose import a process that resumes would wait."""


def misfit(given: Any, taken: Any) -> str | None:
    """Say why no value of one annotation can be read as one of another; None where one may.

    Parameters
    ----------
    given, taken : object
        Annotations: by which a value is recorded, and by which it is read.

    Examples
    --------
    >>> misfit(int, list[str])
    'no int can be read as list[str]'
    >>> misfit(str, int) is None  # for "12" can
    True
    """
    if given is taken or is_open(given) or is_open(taken):
        return None
    try:
        return _cached(given, taken)
    except TypeError:  # an annotation that cannot be hashed
        return _misfit(given, taken)


def gives(annotation: Any) -> Kind:
    """Give the kinds as which values of an annotation may be recorded."""
    return _kinds(_schema_of(annotation), _GIVES)


def _misfit(given: Any, taken: Any) -> str | None:
    if isinstance(given, OneOf):
        whys = [misfit(choice, taken) for choice in given.choices]
        return f"no {named(given)} can be read as {named(taken)}" if all(whys) else None
    one, other = _schema_of(given), _schema_of(taken)
    if not _kinds(one, _GIVES) & _kinds(other, _TAKES):
        return f"no {named(given)} can be read as {named(taken)}"
    lacking = _lacking(one, other)
    if lacking:
        return f"no {named(given)} can be read as {named(taken)}, which needs {', '.join(map(repr, lacking))}"
    clash = _clashing(one, other) if isinstance(given, Record) else ""
    if clash:
        return f"no {named(given)} can be read as {named(taken)}, because of its {clash!r}"
    if _texts(one) and _texts(other) and _texts(one).isdisjoint(_texts(other)):
        return f"no {named(given)} can be read as {named(taken)}"
    return None


_cached: Final[Callable[[Any, Any], str | None]] = lru_cache(maxsize=2048)(_misfit)


def _schema_of(annotation: Any) -> Schema:
    if annotation is None:
        return {"type": "none"}
    if isinstance(annotation, type) and annotation in _SIMPLE:
        return {"type": _SIMPLE[annotation]}
    if is_open(annotation):
        return {"type": "any"}
    shape = _schema_of_shape(annotation)
    if shape is not None:
        return shape
    from pydantic import TypeAdapter

    try:
        schema: Schema = TypeAdapter(annotation).core_schema
        return _resolved(schema)
    except Exception:  # an array, a frame, or what nobody can make a schema of: that is said elsewhere
        return {"type": "any"}


def _schema_of_shape(annotation: Any) -> Schema | None:
    """Give the schema of what pydantic knows nothing of, and needs not be imported for."""
    if isinstance(annotation, OneOf):
        return {"type": "union", "choices": [_schema_of(one) for one in annotation.choices]}
    if isinstance(annotation, Record):
        return {"type": "record", "fields": {name: {"schema": _schema_of(one)} for name, one in annotation.fields}}
    return {"type": "list"} if isinstance(elements(annotation), (OneOf, Record)) else None


def _resolved(schema: Schema) -> Schema:
    if schema["type"] != "definitions":
        return schema
    by_ref = {one["ref"]: one for one in schema["definitions"]}
    inner: Schema = schema["schema"]
    return by_ref[inner["schema_ref"]] if inner["type"] == "definition-ref" else inner


def _kinds(schema: Schema, table: Table) -> Kind:  # noqa: PLR0911 - one line for each way to be made of others
    """Give the kinds of JSON that a table tells of a schema, and of those that it is made of."""
    if table is _GIVES and "serialization" in schema:
        return Kind.ANYTHING
    match schema["type"]:
        case "nullable":
            return Kind.NULL | _kinds(schema["schema"], table)
        case "union":
            return _all(_kinds(one[0] if isinstance(one, tuple) else one, table) for one in schema["choices"])
        case "tagged-union":
            return _all(_kinds(one, table) for one in schema["choices"].values())
        case "literal":
            return _of_constants(schema["expected"], table)
        case "enum":
            return Kind.ANYTHING if _finds_missing(schema) else _of_constants(schema["members"], table)
        case "function-after" if table is _TAKES:
            return _kinds(schema["schema"], table)
        case "model" if schema.get("root_model") or schema.get("custom_init") or not _is_plain(schema):
            return Kind.ANYTHING
        case "str" if schema.get("coerce_numbers_to_str"):
            return Kind.ANYTHING
        case other:
            return table.get(other, Kind.ANYTHING)


def _is_plain(model: Schema) -> bool:
    # Validators of the whole model come before its fields and may take anything; attributes may be read from anything.
    return model["schema"]["type"] == "model-fields" and not model.get("config", {}).get("from_attributes")


def _all(kinds: Iterable[Kind]) -> Kind:
    return reduce(or_, kinds, Kind(0))


def _finds_missing(enum: Schema) -> bool:
    """Say whether an enum makes members of values that it does not have."""
    found = getattr(enum["cls"]._missing_, "__func__", None)
    return found is not Enum._missing_.__func__  # type: ignore[attr-defined]  # a class method has one


def _of_constants(values: Iterable[Any], table: Table) -> Kind:
    plain = [value.value if isinstance(value, Enum) else value for value in values]
    if all(type(value) is str for value in plain):
        return table["str"]
    return Kind.NULL | Kind.SCALAR if all(value is None or type(value) in _SIMPLE for value in plain) else Kind.ANYTHING


def _fields(schema: Schema) -> Mapping[str, Schema] | None:
    """Give the fields of a record, or of a model of which nothing is known but its fields."""
    if schema["type"] == "record":
        found: Mapping[str, Schema] = schema["fields"]
        return found
    if schema["type"] != "model" or _kinds(schema, _GIVES) is not Kind.DICT:
        return None
    inner: Schema = schema["schema"]
    extra = inner.get("extra_behavior", schema.get("config", {}).get("extra_fields_behavior", "ignore"))
    return None if extra == "allow" else inner["fields"]


def _lacking(given: Schema, taken: Schema) -> list[str]:
    """Give the fields that one model needs and the record of another has not; an alias may be what it has."""
    has, asks = _fields(given), _fields(taken)
    if has is None or asks is None:
        return []
    return [name for name, field in asks.items() if name not in has and _is_needed(field)]


def _clashing(given: Schema, taken: Schema) -> str:
    """Give a key of a record of which no value can be read as the field of a model; "" if there is none."""
    has, asks = _fields(given) or {}, _fields(taken) or {}
    for name, field in asks.items():
        if name in has and "validation_alias" not in field:
            kinds = _kinds(_without_default(field["schema"]), _TAKES)
            if not _kinds(has[name]["schema"], _GIVES) & kinds:
                return name
    return ""


def _without_default(schema: Schema) -> Schema:
    # One that stands in for what is wrong takes anything.
    return schema["schema"] if schema["type"] == "default" and schema.get("on_error", "raise") == "raise" else schema


def _is_needed(field: Schema) -> bool:
    if "validation_alias" in field:
        return False
    schema = field["schema"]
    while schema["type"].startswith("function-") and "schema" in schema:
        schema = schema["schema"]
    return bool(schema["type"] != "default")


def _texts(schema: Schema) -> set[str]:
    """Give the texts of which each value is one; none where it may be another, too."""
    if schema["type"] == "enum" and not _finds_missing(schema):
        values = schema["members"]
    else:
        values = schema["expected"] if schema["type"] == "literal" else []
    plain = [value.value if isinstance(value, Enum) else value for value in values]
    return set(plain) if all(type(value) is str for value in plain) else set()

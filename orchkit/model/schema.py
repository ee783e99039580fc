"""Pydantic for the codec: schemas of annotations, made to read arrays from bytes and to keep secrets out of errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchkit.errors import DefinitionError
from orchkit.model.arrays import unpacker
from orchkit.model.kinds import ARRAYS, kind_of
from orchkit.model.wording import first_line

__all__ = ["Adapted", "adapted"]

_LOOSE: Final = {"any": "", "model": "", "dataclass": "", "dict": "values_schema", "list": "items_schema"}
"""Schemas that take values of types they do not name, unless they have that key."""
_OF_USERS: Final = frozenset({"default", "metadata", "expected"})
"""Keys of a schema below which stand values of users, and no schemas."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """What pydantic can do with one annotation.

    Attributes
    ----------
    validate, validate_json, dump : callable
    ambiguous : bool
        Whether it leaves open which of several types a value is.
    loose : bool
        Whether there is room in it for values of a type that it does not name: below `Any`, or of a subclass.
    hides : bool
        Whether its values may hold something to be redacted, which no message may show.
    """

    validate: Callable[..., Any]
    validate_json: Callable[..., Any]
    dump: Callable[..., Any]
    ambiguous: bool
    loose: bool
    hides: bool


def adapted(annotation: Any, hides: bool) -> Adapted:
    """Adapt an annotation.

    Raises
    ------
    DefinitionError
        If pydantic cannot make a schema of it.
    """
    # Imported here: the fold and the plan must not pay for pydantic.
    from pydantic import TypeAdapter

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        if not adapter.pydantic_complete:
            adapter.rebuild(raise_errors=True)
    except Exception as error:  # pydantic refuses by half a dozen classes, and by TypeError and NameError
        schema = _with_arrays(annotation)
        if schema is None:
            raise DefinitionError(
                f"values of {annotation!r} cannot be checked or stored: {first_line(error)}; "
                "use a pydantic model, a dataclass or built-in types"
            ) from error
    else:
        schema = adapter.core_schema
        hides = hides or _has_secret(schema)
        if not hides and not any(_array_classes(schema)):
            open_ = _has_union(schema), _is_loose(schema)
            return Adapted(adapter.validate_python, adapter.validate_json, adapter.dump_python, *open_, False)
    return _rebuilt(annotation, schema, hides or _has_secret(schema))


def _rebuilt(annotation: Any, schema: Any, hides: bool) -> Adapted:
    from pydantic_core import SchemaSerializer, SchemaValidator
    from pydantic_core.core_schema import CoreConfig

    # By default a title is the make of the schema, with a function for each array in it.
    config = CoreConfig(title=getattr(annotation, "__name__", None) or repr(annotation), hide_input_in_errors=hides)
    if any(_array_classes(schema)):
        # A model's own validator, made with its class, knows nothing of bytes and must not be taken for its part.
        validator = SchemaValidator(_reading_arrays(schema), config, _use_prebuilt=False)
    else:
        validator = SchemaValidator(schema, config)
    dump = SchemaSerializer(schema).to_python
    open_ = _has_union(schema), _is_loose(schema)
    return Adapted(validator.validate_python, validator.validate_json, dump, *open_, hides)


def _with_arrays(annotation: Any) -> Any:
    """Make the schema of an annotation that pydantic refuses for its arrays only; None if there is more to refuse."""
    from pydantic import ConfigDict, TypeAdapter

    try:
        # Inside a list, because a dataclass or a TypedDict of its own takes no configuration from outside.
        adapter = TypeAdapter(list[annotation], config=ConfigDict(arbitrary_types_allowed=True))
        schema: Any = adapter.core_schema
        classes = list(_instance_classes(schema))
    except Exception:
        return None  # what pydantic says of the annotation itself is the better message
    if not classes or any(kind_of(cls) not in ARRAYS for cls in classes):
        return None
    if schema["type"] == "definitions":
        return {**schema, "schema": schema["schema"]["items_schema"]}
    return schema["items_schema"]


def _reading_arrays(schema: Any) -> Any:
    from pydantic_core.core_schema import no_info_before_validator_function

    if isinstance(schema, Mapping):
        if _is_array(schema):
            return no_info_before_validator_function(unpacker(schema["cls"]), dict(schema))
        return {key: part if key in _OF_USERS else _reading_arrays(part) for key, part in schema.items()}
    if isinstance(schema, (list, tuple)):
        return type(schema)(map(_reading_arrays, schema))
    return schema


def _parts(schema: Any) -> Iterator[Any]:
    """Walk a schema: everything in it that is no container."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "is-instance":
            yield schema
        for key, part in schema.items():
            if key not in _OF_USERS:
                yield from _parts(part)
    elif isinstance(schema, (list, tuple)):
        for part in schema:
            yield from _parts(part)
    else:
        yield schema


def _instance_classes(schema: Any) -> Iterator[type]:
    return (part["cls"] for part in _parts(schema) if isinstance(part, Mapping) and isinstance(part["cls"], type))


def _array_classes(schema: Any) -> Iterator[type]:
    return (cls for cls in _instance_classes(schema) if kind_of(cls) in ARRAYS)


def _is_array(schema: Mapping[str, Any]) -> bool:
    cls = schema.get("cls")
    return schema.get("type") == "is-instance" and isinstance(cls, type) and kind_of(cls) in ARRAYS


def _has_secret(schema: Any) -> bool:
    return any(
        "secret" in getattr(part, "__qualname__", "").lower() and part.__module__ == "pydantic.types"
        for part in _parts(schema)
        if callable(part)
    )


def _has_union(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return schema.get("type") == "union" or any(map(_has_union, schema.values()))
    return isinstance(schema, (list, tuple)) and any(map(_has_union, schema))


def _is_loose(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        closed = _LOOSE.get(schema.get("type", ""))
        if closed is not None and closed not in schema:
            return True
        return any(_is_loose(part) for key, part in schema.items() if key not in _OF_USERS)
    return isinstance(schema, (list, tuple)) and any(map(_is_loose, schema))

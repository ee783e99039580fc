"""Forms: what a person fills in to answer a question, told by the type of the answer.

A form is a tree of plain JSON, which the page draws. Nothing in it is markup, and what is filled in is judged by the
run and never by the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["form_of", "problems_of", "verdict_of"]

_DEEPEST: Final = 6
_MOST_FIELDS: Final = 200
_BOUNDS: Final = {
    "minimum": "min", "maximum": "max", "exclusiveMinimum": "above", "exclusiveMaximum": "below", "multipleOf": "step",
    "minLength": "shortest", "maxLength": "longest", "minItems": "fewest", "maxItems": "most", "pattern": "pattern",
}  # fmt: skip
_FORMATS: Final = {"date": "date", "date-time": "datetime", "time": "time", "password": "secret"}
_LONG: Final = 120  # characters from which on a text gets several lines


def form_of(answer: Any) -> dict[str, Any]:
    """Describe the form of an answer.

    Parameters
    ----------
    answer : type or annotation
        As in ``wf.approval(answer=...)``.

    Returns
    -------
    dict
        ``kind``: "boolean", "integer", "number", "text", "date", "datetime", "time", "secret", "choice" (with
        ``options``), "object" (with ``fields``), "list" (with ``element``) or "json" (what no form is made for:
        unions, dicts, deep nesting). ``name``, ``label``, ``help``, ``required``, ``nullable``, ``default``, and
        bounds: ``min``, ``max``, ``above``, ``below``, ``step``, ``shortest``, ``longest``, ``fewest``, ``most``,
        ``pattern``.

    Examples
    --------
    >>> from pydantic import BaseModel, Field
    >>> class Decision(BaseModel):
    ...     approve: bool
    ...     refund: float = Field(0.0, ge=0, le=100, description="EUR")
    >>> [(field["name"], field["kind"], field.get("max")) for field in form_of(Decision)["fields"]]
    [('approve', 'boolean', None), ('refund', 'number', 100)]
    """
    from pydantic import TypeAdapter

    try:
        schema = TypeAdapter(answer).json_schema()
    except Exception:  # pydantic has half a dozen ways to say that it cannot tell
        return {"kind": "json", "name": "", "label": "answer", "required": True}
    return _Former(schema.get("$defs", {})).form(schema, "", required=True, depth=0)


def verdict_of(form: Mapping[str, Any]) -> str | None:
    """Give the field that says yes or no: the answer itself (""), or its one required yes-or-no; None for another form.

    Examples
    --------
    >>> verdict_of(form_of(bool)), verdict_of(form_of(str))
    ('', None)
    """
    if form["kind"] == "boolean":
        return ""
    fields = form.get("fields", ()) if form["kind"] == "object" else ()
    found = [field["name"] for field in fields if field["kind"] == "boolean" and field["required"]]
    return found[0] if len(found) == 1 else None


def problems_of(error: BaseException) -> list[dict[str, Any]]:
    """Give what is wrong with an answer, by field: ``path`` (names and indices) and ``says``.

    Parameters
    ----------
    error : AnswerInvalid
        Its cause, if it is pydantic's, knows the fields.

    Examples
    --------
    >>> problems_of(ValueError("no"))
    [{'path': [], 'says': 'no'}]
    """
    from pydantic import ValidationError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ValidationError):
        cause = cause.__cause__
    if cause is None:
        return [{"path": [], "says": str(error)}]
    return [{"path": list(one["loc"]), "says": one["msg"]} for one in cause.errors(include_url=False)]


class _Former:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._fields = 0

    def form(self, schema: Any, name: str, *, required: bool, depth: int) -> dict[str, Any]:
        schema, nullable = self._resolved(schema)
        form: dict[str, Any] = {"kind": "json", "name": name, "label": _label(name), "required": required}
        if schema.get("description"):
            form["help"] = " ".join(str(schema["description"]).split())[:300]
        if nullable:
            form["nullable"] = True
        if "default" in schema:
            form["default"] = schema["default"]
        form |= {ours: schema[theirs] for theirs, ours in _BOUNDS.items() if theirs in schema}
        self._fields += 1
        if self._fields <= _MOST_FIELDS and depth <= _DEEPEST:
            form |= self._shape(schema, depth)
        return form

    def _shape(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        if "enum" in schema or "const" in schema:
            return {"kind": "choice", "options": list(schema.get("enum", [schema.get("const")]))}
        kind = schema.get("type")
        if kind == "string":
            long = schema.get("maxLength", 0) > _LONG or len(str(schema.get("default", ""))) > _LONG
            return {"kind": _FORMATS.get(schema.get("format", ""), "text"), **({"long": True} if long else {})}
        if kind in ("boolean", "integer", "number"):
            return {"kind": kind}
        if kind == "object" and schema.get("properties"):
            needed = schema.get("required", ())
            fields = [
                self.form(one, name, required=name in needed, depth=depth + 1)
                for name, one in schema["properties"].items()
            ]
            return {"kind": "object", "fields": fields}
        if kind == "array" and isinstance(schema.get("items"), Mapping):
            return {"kind": "list", "element": self.form(schema["items"], "", required=True, depth=depth + 1)}
        return {"kind": "json"}

    def _resolved(self, schema: Any) -> tuple[Mapping[str, Any], bool]:
        """Follow references, and tell ``X | None`` as X that may be nothing."""
        nullable = False
        for _ in range(2 * _DEEPEST):
            if not isinstance(schema, Mapping):
                return {}, nullable
            if "$ref" in schema:
                found = self._definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
                schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
                continue
            options = schema.get("anyOf") or (schema.get("allOf") if len(schema.get("allOf", ())) == 1 else None)
            real = [one for one in options or () if one.get("type") != "null"]
            if options is None or len(real) != 1:
                return schema, nullable
            nullable = nullable or len(real) < len(options)
            schema = {**real[0], **{key: value for key, value in schema.items() if key not in ("anyOf", "allOf")}}
        return {}, nullable


def _label(name: str) -> str:
    return name.replace("_", " ").strip()

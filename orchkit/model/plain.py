"""Plain values: what a log holds (JSON, and bytes), copied or refused with place, type and remedy."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

from orchkit.errors import CodecError
from orchkit.model.kinds import REDACTED, kind_of, number_of

__all__ = ["NO_NAN", "checked_text", "has_bytes", "plain", "refusal", "shown", "whose", "written"]

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
NO_NAN: Final = "JSON has no NaN and no infinity; use None"
_REMEDIES: Final = {
    "bytearray": "annotate the step: -> bytearray; or return bytes",
    "ndarray": "annotate the step: -> numpy.ndarray; or return its .tolist()",
    "dataframe": "annotate the step: -> pandas.DataFrame",
    "series": "annotate the step: -> pandas.Series; or return its .tolist()",
    "table": "annotate the step: -> pyarrow.Table",
    "batch": "annotate the step: -> pyarrow.RecordBatch",
}


def plain(value: Any, path: Any = "", node: str = "") -> Any:  # noqa: PLR0911 - a call more would cost a tenth
    """Copy a value as plain JSON and bytes, or say exactly what in it is not.

    A number of numpy's becomes the built-in one that equals it, a secret becomes asterisks.

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
    None, bool, int, float, str, bytes, list or dict
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
        return value if value.isascii() else checked_text(value, path, node)
    if kind is int:
        if _INT_MIN <= value <= _INT_MAX:
            return value
        raise refusal(value, path, node, "an integer beyond 64 bits does not survive JSON; store it as a str")
    if kind is float:
        if isfinite(value):
            return value
        raise refusal(value, path, node, NO_NAN)
    if kind is list or kind is tuple:
        return [plain(element, (path, i), node) for i, element in enumerate(value)]
    if kind is dict:
        return {_key(key, path, node): plain(element, (path, key), node) for key, element in value.items()}
    return value if kind is bytes else _less_plain(value, path, node)


def _less_plain(value: Any, path: Any, node: str) -> Any:
    kind = kind_of(type(value))
    if kind == "secret":
        return REDACTED
    if kind == "number":
        number = number_of(value)
        if number is not None:
            return plain(number, path, node)
    raise refusal(
        value,
        path,
        node,
        _REMEDIES.get(kind)
        or "annotate the step's return type (a pydantic model, dataclass, datetime, enum, ...) or return plain JSON",
    )


def checked_text(value: str, path: Any, node: str) -> str:
    """Give a text that UTF-8 can carry, or refuse it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise refusal(value, path, node, "it has a lone surrogate; decode it with errors='replace'") from None
    return value


def _key(key: Any, path: Any, node: str) -> str:
    if type(key) is str:
        return key if key.isascii() else checked_text(key, (path, repr(key)), node)
    raise refusal(key, (path, repr(key)), node, "keys of a JSON object are str; annotate the type or convert the keys")


def has_bytes(value: Any) -> bool:
    """Say whether there are bytes in a plain value, which JSON cannot carry."""
    kind = type(value)
    if kind is dict:
        return any(map(has_bytes, value.values()))
    return any(map(has_bytes, value)) if kind is list else kind is bytes


def refusal(value: Any, path: Any, node: str, remedy: str) -> CodecError:
    """Make the error that says whose value cannot be stored, where in it, what it is and how to mend it."""
    path = written(path)
    at = f" at {path}" if path else ""
    kind = type(value).__name__
    message = f"{whose(node)}{at} is {shown(value)} ({kind}): {remedy}"
    return CodecError(message, path=path, node=node, type=kind, remedy=remedy)


def written(path: Any) -> str:
    """Write out a path that was kept as nested pairs."""
    steps: list[str] = []
    while isinstance(path, tuple):
        path, step = path
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return str(path) + "".join(reversed(steps))


def whose(node: str) -> str:
    """Say whose value it is: a workflow's input is a node's result only in the codec's eyes."""
    if node == "input":
        return "the workflow's input"
    return f"result of {node!r}" if node else "value"


def shown(value: Any) -> str:
    """Show a value in a message, whatever its repr does."""
    try:
        text = " ".join(repr(value).split())  # a frame's repr has lines
    except Exception as error:
        return f"<a value whose repr raises {type(error).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."

"""Arguments: a checker for each kind, which gives the value or says what is wrong, where, and how to mend it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import index
from pathlib import Path
from reprlib import repr as brief
from typing import Any

from orchkit.errors import DefinitionError
from orchkit.model.policies import is_bound
from orchkit.model.steps import Ref

__all__ = [
    "Checker", "choice", "count", "feeds", "field_names", "fields", "flag", "function_of", "label", "name_of", "nodes",
    "on_interrupt", "path", "quorum", "seconds", "seed", "tags",
]  # fmt: skip

Checker = Callable[[str, str, Any], Any]
"""Of where an argument is given, its name and its value."""


def _refusal(where: str, name: str, value: Any, mend: str) -> DefinitionError:
    return DefinitionError(f"{where}: {name}={brief(value)}; {mend}")


def label(where: str, name: str, value: Any) -> str | None:
    """Take a text that is not empty, or None."""
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise _refusal(where, name, value, f"give a text, such as {name}='a', or leave it out")


def flag(where: str, name: str, value: Any) -> bool:
    """Take True or False, and nothing that merely counts as one: "no" would count as True."""
    if isinstance(value, bool):
        return value
    raise _refusal(where, name, value, "give True or False")


def count(where: str, name: str, value: Any) -> int | None:
    """Take a whole number from 1, or None."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise _refusal(where, name, value, "give how many, a whole number from 1, or None for all")


def quorum(where: str, name: str, value: Any) -> int | float | None:
    """Take how many of a list must deliver, or which share of them, or None."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return int(value)
    if isinstance(value, float) and 0 < value < 1:
        return float(value)
    raise _refusal(where, name, value, "give how many must deliver, a whole number from 1, or a share between 0 and 1")


def seconds(where: str, name: str, value: Any) -> float | None:
    """Take seconds that a wait can be bounded by, or None."""
    if value is None or is_bound(value):
        bound: float | None = value
        return bound
    raise _refusal(where, name, value, "give seconds above 0, at most 1e9, or None to wait for ever")


def seed(where: str, name: str, value: Any) -> int:
    """Take an integer of any kind, such as one of numpy's."""
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        return index(value)
    raise _refusal(where, name, value, f"give an integer, such as {name}=1")


def path(where: str, name: str, value: Any) -> Path:
    """Take a path that a file can have, and make it absolute; whether there is one does not matter."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str) or not os.fspath(value):
        raise _refusal(where, name, value, "give a path as text, such as 'lab.duckdb'")
    found = Path(value).absolute()
    try:
        str(found).encode()
        found.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # what is in the way depends on what is to be done there
    except (OSError, ValueError) as error:
        # A loop of links, a NUL, a name that is too long or no UTF-8: DuckDB would answer each in its own way.
        why = getattr(error, "strerror", None) or error
        raise _refusal(where, name, value, f"no file can have that path ({why}); give another one") from error
    return found


def choice(options: Sequence[str]) -> Checker:
    """Make a checker that takes one of several words."""

    def check(where: str, name: str, value: Any) -> str:
        if isinstance(value, str) and value in options:
            return value
        raise _refusal(where, name, value, f"use one of {', '.join(map(repr, options))}")

    return check


on_interrupt: Checker = choice(("suspend", "cancel", "detach"))
"""Takes what becomes of a run when whoever awaits it is interrupted."""


def tags(where: str, name: str, value: Any) -> tuple[str, ...]:
    """Take several texts; one alone would fall apart into its letters."""
    if isinstance(value, str):
        raise _refusal(where, name, value, f"give a list, {name}=[{value!r}]")
    found = tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(tag, str) and tag for tag in found):
        raise _refusal(where, name, value, f"give a list of texts, such as {name}=['llm']")
    return found


def field_names(where: str, name: str, value: Any) -> tuple[str, ...] | None:
    """Take the names of several fields; None says nothing of them."""
    return None if value is None else tags(where, name, value)


def name_of(where: str, name: str, value: Any) -> str:
    """Give the node's name that a user means by its function, its name, or a ref."""
    found = value.name if isinstance(value, Ref) else value
    found = found if isinstance(found, str) else getattr(found, "__name__", None)
    if isinstance(found, str) and found:
        return found
    raise _refusal(where, name, value, "give the function or the name of a step")


def nodes(where: str, name: str, value: Any) -> tuple[str, ...]:
    """Give the names of one node or of several."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(name_of(where, name, one) for one in value)
    return (name_of(where, name, value),)


def fields(where: str, name: str, value: Any) -> tuple[tuple[str, str], ...]:
    """Take a dict from fields to the nodes whose values they start from, or None."""
    if value is None:
        return ()
    if not isinstance(value, Mapping) or not all(isinstance(field, str) and field for field in value):
        raise _refusal(where, name, value, "give a dict of the answer's fields and nodes, such as {'note': 'draft'}")
    return tuple((field, name_of(where, f"{name}[{field!r}]", node)) for field, node in value.items())


def feeds(where: str, name: str, value: Any) -> tuple[tuple[str, str], ...]:
    """Take a node whose value is passed on as it is, or a dict from fields to nodes."""
    if isinstance(value, Mapping):
        return fields(where, name, value)
    return (("", name_of(where, name, value)),)


def function_of(where: str, name: str, value: Any, parameters: Sequence[str]) -> Any:
    """Take a plain function with a name that can be called with so many arguments."""
    wanted = f"give a function {name}({', '.join(parameters)}) written with def"
    if (
        not callable(value)
        or getattr(value, "__name__", "<lambda>") == "<lambda>"
        or inspect.iscoroutinefunction(value)
    ):
        raise _refusal(where, name, value, wanted)
    try:
        inspect.signature(value).bind(*parameters)
    except TypeError as error:
        raise _refusal(where, name, value, f"{wanted}: {error}") from None
    except ValueError:
        pass  # a builtin that does not tell its parameters
    return value

"""What the numbers and names of policies may be."""

from __future__ import annotations

from typing import Any

from orchkit.errors import DefinitionError
from orchkit.model.text import is_number

__all__ = ["LONGEST", "is_bound", "is_count", "refuse_unless_key"]

LONGEST = 1e9
"""Seconds, about 32 years: no bound and no wait is longer, so that every time fits the log's 64 bits."""


def is_bound(seconds: Any) -> bool:
    """Say whether something can be bounded by it: a number of seconds above 0, and at most `LONGEST`."""
    return is_number(seconds) and 0 < seconds <= LONGEST


def is_count(value: Any, least: int = 1) -> bool:
    """Say whether it is a whole number, no bool, of at least so many."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def refuse_unless_key(whose: str, key: Any) -> None:
    """Refuse a key that could not be told from none, or that no event could hold."""
    if key is not None and not (isinstance(key, str) and key.strip()):
        raise DefinitionError(f"{whose}(key={key!r}): name what is shared, such as key='llm:a', or leave it out")

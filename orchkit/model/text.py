"""Numbers and reprs as text that is the same in every process."""

from __future__ import annotations

import re
import sys
from math import isfinite
from typing import Any, Final, TypeGuard

__all__ = ["is_number", "shown", "without_addresses"]

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")  # in the repr of what has none of its own; upper case on Windows


def is_number(value: Any) -> TypeGuard[float]:
    """Say whether it is a finite int or float that fits a float, and no bool.

    Examples
    --------
    >>> [is_number(value) for value in (3, 2.5, True, "3", float("nan"), 10**400)]
    [True, True, False, False, False, False]
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def shown(value: object) -> str:
    """Write a number exactly, because digests are made of these texts, and shortly, because people read them.

    Examples
    --------
    >>> shown(5.0), shown(0.25), shown(3), shown("x")
    ('5', '0.25', '3', "'x'")
    """
    if isinstance(value, float) and isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))
    return repr(value)


def without_addresses(text: str) -> str:
    """Drop memory addresses from a repr, which differ from process to process.

    Examples
    --------
    >>> without_addresses("<function draft at 0x7f52a0>")
    '<function draft>'
    """
    return _ADDRESS.sub("", text)

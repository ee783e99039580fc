"""Names of the cases of a test that are the same in every process."""

from __future__ import annotations

import re

__all__ = ["shown"]


def shown(value: object) -> str:
    """Show a value without its address: several processes that share the tests must agree on their names."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(value))

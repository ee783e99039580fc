"""The attic: what tests of workflows need, ours and our users'.

`every_prefix` is the strongest single test of a durable workflow: cut its log after every event, go on from there,
and expect the same end.
"""

from __future__ import annotations

from orchkit.testing.prefixes import every_prefix

__all__ = ["every_prefix"]

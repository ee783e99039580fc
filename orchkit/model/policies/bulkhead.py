"""Bulkhead: only so many attempts at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from orchkit.errors import DefinitionError
from orchkit.model.policies.checks import is_count, refuse_unless_key

__all__ = ["Bulkhead"]


@dataclass(frozen=True, slots=True)
class Bulkhead:
    """Let only so many attempts be under way at once; others wait in order of arrival, or are rejected.

    Parameters
    ----------
    limit : int, >= 1
        How many at once. There is no default: it is what the other side bears.
    queue : int, >= 0, optional
        How many more may wait. None, the default, lets any number wait, so that a limit alone delays and never
        fails; 0 none. Whoever comes to a full queue is rejected with `BulkheadFull`, which costs no time, is not
        retried and does reach the fallback.
    key : str, optional
        What is shared, over all nodes and runs. By default the step's ``provider``, else the node's own.

    Raises
    ------
    DefinitionError
        If a number is out of range or the key is no text.

    Notes
    -----
    Waiting is no part of the attempt: its time-out begins when it is let in, while a deadline goes on. Without a
    queue, a load of ``a`` attempts at once on average is rejected as often as Erlang's B formula says. A plain
    function that has timed out holds its place until it really ends. ``limit=`` of a map bounds one map of one run
    instead.

    Examples
    --------
    >>> Bulkhead(4), Bulkhead(4, queue=0, key="llm:a")
    (Bulkhead(4), Bulkhead(4, queue=0, key='llm:a'))
    """

    limit: int
    queue: int | None = None
    key: str | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "bulkhead"

    def __post_init__(self) -> None:
        if not is_count(self.limit):
            raise DefinitionError(f"Bulkhead({self.limit!r}): count attempts at once; use a whole number >= 1")
        if self.queue is not None and not is_count(self.queue, 0):
            raise DefinitionError(
                f"Bulkhead(queue={self.queue!r}): count who may wait; use a whole number >= 0, or None for any number"
            )
        refuse_unless_key("Bulkhead", self.key)

    def __repr__(self) -> str:
        queue = "" if self.queue is None else f", queue={self.queue}"
        key = "" if self.key is None else f", key={self.key!r}"
        return f"Bulkhead({self.limit}{queue}{key})"

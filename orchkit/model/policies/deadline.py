"""Deadline: bound a node as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchkit.errors import DefinitionError
from orchkit.model.policies.checks import is_bound
from orchkit.model.text import shown

__all__ = ["Deadline"]


@dataclass(frozen=True, slots=True)
class Deadline:
    """Bound a node as a whole: all its attempts, the waits between them, its queues and its hedges.

    When the time is up, what is under way is cancelled and the node fails with `DeadlineExceeded`. Nothing tries
    again after it; a fallback still delivers, for it is what is left when the time is up. ``timeout=`` bounds each
    single attempt instead, and does not count what it queued before.

    Parameters
    ----------
    seconds : float, seconds, > 0, <= 1e9
        From when the node's inputs were there; each item of a map has its own. There is no default: how long an
        answer is still worth having is known to who waits for it, and to nobody else.

    Raises
    ------
    DefinitionError
        If `seconds` is not above 0 and finite.

    Notes
    -----
    A deadline that is shorter than ``attempts`` times the timeout, and the waits between them, cuts the last
    attempts short; that is often what is wanted.

    Examples
    --------
    >>> Deadline(60)
    Deadline(60)
    """

    seconds: float

    kind: ClassVar[str] = "deadline"

    def __post_init__(self) -> None:
        if not is_bound(self.seconds):
            raise DefinitionError(
                f"Deadline({self.seconds!r}): use seconds above 0, at most 1e9, or leave it out for no bound"
            )
        # One number, one value: 60 and 60.0 mean the same to a fingerprint too.
        object.__setattr__(self, "seconds", float(self.seconds))

    def __repr__(self) -> str:
        return f"Deadline({shown(self.seconds)})"

"""Timeout: bound one attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchkit.errors import DefinitionError
from orchkit.model.policies.checks import is_bound
from orchkit.model.text import shown

__all__ = ["Timeout"]


@dataclass(frozen=True, slots=True)
class Timeout:
    """Bound one attempt.

    Parameters
    ----------
    seconds : float, seconds, > 0
        An attempt of exactly this length succeeds. Time spent queueing before the attempt does not count.

    Raises
    ------
    DefinitionError
        If `seconds` is not above 0 and finite.

    Examples
    --------
    >>> Timeout(20)
    Timeout(20)
    """

    seconds: float

    kind: ClassVar[str] = "timeout"

    def __post_init__(self) -> None:
        if not is_bound(self.seconds):
            raise DefinitionError(f"Timeout({self.seconds!r}): use seconds above 0, or leave it out for no bound")

    def __repr__(self) -> str:
        return f"Timeout({shown(self.seconds)})"

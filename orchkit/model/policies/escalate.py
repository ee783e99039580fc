"""Escalate: ask a person when everything else has failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchkit.errors import DefinitionError

__all__ = ["Escalate"]


@dataclass(frozen=True, slots=True)
class Escalate:
    """Ask a person when a node has failed in spite of everything else that protects it.

    It is the outermost of all: retries, hedges and fallbacks have been tried, and whatever rejected the node has
    rejected it.

    Parameters
    ----------
    to : str
        Name of the approval that is asked. There is no default: who can answer in place of a step is a decision.

    Raises
    ------
    DefinitionError
        If `to` is no name.

    Examples
    --------
    >>> Escalate("review")
    Escalate('review')
    """

    to: str

    kind: ClassVar[str] = "escalate"

    def __post_init__(self) -> None:
        if not isinstance(self.to, str) or not self.to.strip():
            raise DefinitionError(f"Escalate({self.to!r}): give the name of an approval, such as Escalate('review')")

    def __repr__(self) -> str:
        return f"Escalate({self.to!r})"

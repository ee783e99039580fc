"""Fallback: deliver something else when a node has failed."""

from __future__ import annotations

from typing import Any, ClassVar

from orchkit.errors import DefinitionError

__all__ = ["Fallback", "option_name"]


class Fallback:
    """Deliver something else when a node has failed; the result is then marked degraded.

    Parameters
    ----------
    *options : callable or JSON value
        Tried in order until one delivers: a step or function gets the node's inputs by name, and ``error`` if it
        asks for it; any other value is delivered as it is. A step has none of its node's policies, but those that
        ``ok.step(timeout=5.0, retry=2, provider="llm:b")`` gave it: retry, time-out, budget, breaker, bulkhead and
        rate limit.
    correct : bool, optional
        Whether a plain value counts as a correct answer in simulations. None leaves it open.

    Raises
    ------
    DefinitionError
        If there is no option.

    Examples
    --------
    >>> Fallback("We are looking into it.")
    Fallback('We are looking into it.')
    """

    __slots__ = ("correct", "options")
    kind: ClassVar[str] = "fallback"

    def __init__(self, *options: Any, correct: bool | None = None) -> None:
        if not options:
            raise DefinitionError("Fallback() needs at least one option: a step, a function or a value")
        self.options = options
        self.correct = correct

    def __repr__(self) -> str:
        correct = "" if self.correct is None else f", correct={self.correct}"
        return f"Fallback({', '.join(map(option_name, self.options))}{correct})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fallback) and (self.options, self.correct) == (other.options, other.correct)

    def __hash__(self) -> int:
        return hash((repr(self), self.correct))


def option_name(option: Any) -> str:
    """Name an option of a fallback: a function by its name, a value by its repr."""
    return str(getattr(option, "__name__", None) or repr(option))

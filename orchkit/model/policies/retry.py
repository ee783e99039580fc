"""Retry: try again when an attempt fails, after a wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from orchkit.errors import DefinitionError, PolicyRejection
from orchkit.model.policies.checks import LONGEST
from orchkit.model.policies.judging import transient
from orchkit.model.text import is_number, shown

__all__ = ["Backoff", "Retry", "backoff"]


@dataclass(frozen=True, slots=True, repr=False)
class Backoff:
    """How long to wait between attempts; made by `backoff`."""

    base: float
    factor: float
    cap: float
    jitter: Literal["full", "equal", "sdk"] | None

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={shown(getattr(self, name))}" for name in ("base", "factor", "cap"))
        return f"backoff({numbers}, jitter={self.jitter!r})"

    def seconds(self, k: int, u: float) -> float:
        """Give the wait before retry k (from 1) for a uniform draw u."""
        try:
            nominal = min(self.cap, self.base * self.factor ** (k - 1))
        except OverflowError:
            nominal = self.cap
        match self.jitter:
            case "full":
                return nominal * u
            case "equal":
                return nominal * (0.5 + 0.5 * u)
            case "sdk":
                return nominal * (1.0 - 0.25 * u)
            case None:
                return nominal


def backoff(
    base: float = 1.0,
    factor: float = 2.0,
    cap: float = 60.0,
    jitter: Literal["full", "equal", "sdk"] | None = "full",
) -> Backoff:
    """Describe exponential waits between attempts.

    Parameters
    ----------
    base : float, seconds, >= 0
        Wait before the first retry, before jitter.
    factor : float, >= 1
        Growth from one retry to the next.
    cap : float, seconds
        Longest wait before jitter.
    jitter : {"full", "equal", "sdk"} or None
        "full" draws from 0 to the nominal wait, "equal" from half of it, "sdk" from three quarters of it.

    Returns
    -------
    Backoff

    Raises
    ------
    DefinitionError
        If a number is out of range or the jitter is unknown.

    Notes
    -----
    The nominal wait before retry k is ``min(cap, base * factor**(k - 1))``. "sdk" is what the common model SDKs
    do, ``d * (1 - u/4)``; "full" spreads the retries of many callers best [1]_, hence the default.

    References
    ----------
    .. [1] M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Examples
    --------
    >>> backoff(base=0.5, jitter=None).seconds(3, u=0.9)
    2.0
    """
    numbers = all(map(is_number, (base, factor, cap)))
    if not (numbers and base >= 0 and factor >= 1 and 0 <= cap <= LONGEST):
        raise DefinitionError(
            f"backoff(base={base!r}, factor={factor!r}, cap={cap!r}): seconds, base and cap >= 0, factor >= 1"
        )
    if jitter not in ("full", "equal", "sdk", None):
        raise DefinitionError(f"backoff(jitter={jitter!r}): use 'full', 'equal', 'sdk' or None")
    return Backoff(float(base), float(factor), float(cap), jitter)


_BACKOFF = Backoff(1.0, 2.0, 60.0, "full")


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again when an attempt fails.

    Parameters
    ----------
    attempts : int, >= 1
        How many in all, the first included.
    wait : Backoff, default ``backoff()``
        Waits between them. A ``retry_after`` (seconds) on the error takes its place when it is longer.
    on : callable or exception type or tuple of them, default `transient`
        Which errors are worth another attempt. What another policy rejected (`PolicyRejection`) never is, whatever
        this says: an open breaker stays open for longer than a wait, and the fallback is there for it.

    Raises
    ------
    DefinitionError
        If `attempts` is not a whole number of at least 1, or `on` asks for what is never retried.

    Examples
    --------
    >>> Retry(3)
    Retry(3)
    """

    attempts: int
    wait: Backoff = _BACKOFF
    on: Callable[[BaseException], bool] | type[BaseException] | tuple[type[BaseException], ...] = transient

    kind: ClassVar[str] = "retry"

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or isinstance(self.attempts, bool) or self.attempts < 1:
            raise DefinitionError(f"Retry({self.attempts!r}): attempts counts the first; use a whole number >= 1")
        if not isinstance(self.wait, Backoff):
            raise DefinitionError(f"Retry(wait={self.wait!r}): use ok.backoff(base=..., factor=..., cap=...)")
        kinds = self.on if isinstance(self.on, tuple) else (self.on,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds) and not (
            callable(self.on) and not isinstance(self.on, type)
        ):
            raise DefinitionError(f"Retry(on={self.on!r}): use an exception type, several, or a function of the error")
        if any(isinstance(kind, type) and issubclass(kind, PolicyRejection) for kind in kinds):
            raise DefinitionError(
                f"Retry(on={_names(self.on)}): rejections are never retried; give the step a fallback"
            )

    def wants(self, error: BaseException) -> bool:
        """Say whether this error is worth another attempt."""
        if isinstance(error, PolicyRejection):
            return False
        if isinstance(self.on, (type, tuple)):
            return isinstance(error, self.on)
        return bool(self.on(error))

    def __repr__(self) -> str:
        wait = "" if self.wait == _BACKOFF else f", wait={self.wait!r}"
        on = "" if self.on is transient else f", on={_names(self.on)}"
        return f"Retry({self.attempts}{wait}{on})"


def _names(on: Any) -> str:
    if isinstance(on, tuple):
        return f"({', '.join(map(_names, on))},)"
    return str(getattr(on, "__name__", None) or repr(on))

"""Policies: values that protect one node. What they do lives in `orchkit.engine`, one file each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from orchkit.errors import DefinitionError, ModelError, OrchkitError
from orchkit.model.text import is_number, shown

__all__ = [
    "LONGEST",
    "Backoff",
    "Fallback",
    "Only",
    "Policy",
    "Retry",
    "Timeout",
    "backoff",
    "is_bound",
    "only",
    "transient",
]

LONGEST = 1e9
"""Seconds, about 32 years: no bound and no wait is longer, so that every time fits the log's 64 bits."""

_PROGRAMMING = (TypeError, NameError, AttributeError, AssertionError, ImportError)
_RETRIABLE_4XX = frozenset({408, 409, 429})
_QUOTA_CODES = frozenset({"insufficient_quota", "quota_exceeded", "billing_hard_limit_reached", "spend_limit"})


def transient(error: BaseException) -> bool:
    """Say whether trying again could help.

    True for any ``Exception`` but programming errors (TypeError, NameError, AttributeError, AssertionError,
    ImportError), orchkit's own refusals, and errors with a ``status`` of 4xx other than 408, 409, 429, or with a
    ``code`` that means an exhausted quota. A time-out of an attempt and a failed validation are transient: a model
    may answer in time, or in shape, when asked again.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool

    Examples
    --------
    >>> transient(ConnectionError("reset")), transient(TypeError("no such argument"))
    (True, False)
    """
    if not isinstance(error, Exception) or isinstance(error, _PROGRAMMING):
        return False
    if isinstance(error, OrchkitError) and not isinstance(error, (TimeoutError, ModelError)):
        return False
    code = getattr(error, "code", None)
    if isinstance(code, str) and code in _QUOTA_CODES:
        return False
    status = status_of(error)
    return not (status is not None and 400 <= status < 500 and status not in _RETRIABLE_4XX)


def is_bound(seconds: Any) -> bool:
    """Say whether something can be bounded by it: a number of seconds above 0, and at most `LONGEST`."""
    return is_number(seconds) and 0 < seconds <= LONGEST


def status_of(error: BaseException) -> int | None:
    """Find the HTTP status that an error carries, by the names that clients use."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status"):
            status = getattr(holder, name, None)
            if isinstance(status, int):
                return status
    return None


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
        Which errors are worth another attempt.

    Raises
    ------
    DefinitionError
        If `attempts` is not a whole number of at least 1.

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

    def wants(self, error: BaseException) -> bool:
        """Say whether this error is worth another attempt."""
        if isinstance(self.on, (type, tuple)):
            return isinstance(error, self.on)
        return bool(self.on(error))

    def __repr__(self) -> str:
        wait = "" if self.wait == _BACKOFF else f", wait={self.wait!r}"
        on = "" if self.on is transient else f", on={_names(self.on)}"
        return f"Retry({self.attempts}{wait}{on})"


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


class Fallback:
    """Deliver something else when a node has failed; the result is then marked degraded.

    Parameters
    ----------
    *options : callable or JSON value
        Tried in order until one delivers: a step or function gets the node's inputs by name, and ``error`` if it
        asks for it; any other value is delivered as it is.
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


def _names(on: Any) -> str:
    if isinstance(on, tuple):
        return f"({', '.join(map(_names, on))},)"
    return str(getattr(on, "__name__", None) or repr(on))


def option_name(option: Any) -> str:
    """Name an option of a fallback: a function by its name, a value by its repr."""
    return str(getattr(option, "__name__", None) or repr(option))


Policy = Retry | Timeout | Fallback


@dataclass(frozen=True, slots=True)
class Only:
    """These policies and no others; made by `only`."""

    policies: tuple[Policy, ...]


def only(*policies: Policy) -> Only:
    """Replace a node's whole stack in ``wf.using``, instead of one kind at a time.

    Examples
    --------
    >>> only(Retry(2), Timeout(5))
    Only(policies=(Retry(2), Timeout(5)))
    """
    return Only(policies)

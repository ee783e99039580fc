"""The kinds of faults."""

from __future__ import annotations

from collections.abc import Callable

from orchkit.errors import DefinitionError
from orchkit.faults.plan import Fault, Trigger
from orchkit.model.text import is_number

__all__ = ["crash", "fail", "hang", "slow"]

_NOTE = "injected by ok.faults"


def fail(
    target: str,
    *,
    rate: float | None = None,
    first: int | None = None,
    nth: int | None = None,
    error: type[BaseException] | BaseException = ConnectionError,
    after: float = 0.0,
) -> Fault:
    """Make attempts fail instead of running.

    Parameters
    ----------
    target : str
        A node's path (``*`` and ``?`` match), a tag, or a provider.
    rate : float, 0..1
        Probability for each attempt.
    first : int, >= 1
        The first so many attempts of each instance.
    nth : int, >= 1
        That one attempt of each instance.
    error : exception type or instance, default ConnectionError
        What is raised.
    after : float, seconds, >= 0
        When it strikes, from the attempt's start; the same for a body and for its model.

    Returns
    -------
    Fault

    Raises
    ------
    DefinitionError
        If something is out of range.

    Notes
    -----
    Without any trigger it strikes every attempt. Triggers that are given together must all hold.

    Examples
    --------
    >>> import orchkit as ok
    >>> ok.faults.fail("draft", rate=0.2)
    ok.faults.fail('draft', rate=0.2)
    >>> ok.faults.fail("llm:a", first=2, after=1.5, error=TimeoutError("read timed out"))
    ok.faults.fail('llm:a', after=1.5, first=2, error=TimeoutError('read timed out'))
    """
    if not (is_number(after) and after >= 0):
        raise DefinitionError(f"faults.fail(after={after!r}): seconds, 0 or more")
    raises = "" if error is ConnectionError else _as_code(error)
    return Fault("fail", target, Trigger(rate, first, nth), _raiser(error), float(after), raises=raises)


def _as_code(error: type[BaseException] | BaseException) -> str:
    if not isinstance(error, type):
        return repr(error)
    module = "" if error.__module__ == "builtins" else f"{error.__module__}."
    return f"{module}{error.__qualname__}"


def _raiser(error: type[BaseException] | BaseException) -> Callable[[], BaseException]:
    if isinstance(error, type) and issubclass(error, Exception):
        kind: type[BaseException] = error
        args: tuple[object, ...] = ("injected failure",)
    elif isinstance(error, Exception):
        kind, args = type(error), error.args
    else:
        raise DefinitionError(f"faults.fail(error={error!r}): give an exception type or instance")
    state = dict(getattr(error, "__dict__", {})) if isinstance(error, BaseException) else {}

    def make() -> BaseException:
        # A new one each time: a raised exception collects a traceback and notes.
        made = _constructed(kind, args)
        made.__dict__.update({name: value for name, value in state.items() if name != "__notes__"})
        made.add_note(_NOTE)
        return made

    make()
    return make


def _constructed(kind: type[BaseException], args: tuple[object, ...]) -> BaseException:
    # An exception whose constructor takes something else than its args (a response, a code) is filled in from
    # outside: calling it with them would fail, or put the message into the message.
    try:
        made = kind(*args)
        if made.args == args:
            return made
    except Exception:
        pass
    made = kind.__new__(kind, *args)
    made.args = args
    return made


def slow(
    target: str,
    *,
    factor: float = 1.0,
    add: float = 0.0,
    rate: float | None = None,
    first: int | None = None,
    nth: int | None = None,
) -> Fault:
    """Make answers late.

    Parameters
    ----------
    target : str
        A node's path (``*`` and ``?`` match), a tag, or a provider.
    factor : float, >= 1
        The answer takes this many times as long.
    add : float, seconds, >= 0
        And this much longer.
    rate : float, 0..1
    first, nth : int, >= 1
        As in `fail`.

    Returns
    -------
    Fault

    Raises
    ------
    DefinitionError
        If something is out of range, or neither `factor` nor `add` is given.

    Notes
    -----
    An attempt of length x then takes ``factor * x + add``, failed ones too; the attempt's time-out bounds that.

    Examples
    --------
    >>> import orchkit as ok
    >>> ok.faults.slow("llm:a", factor=4, rate=0.1)
    ok.faults.slow('llm:a', factor=4, rate=0.1)
    """
    if not (is_number(factor) and is_number(add) and factor >= 1 and add >= 0):
        raise DefinitionError(f"faults.slow(factor={factor!r}, add={add!r}): factor >= 1, add >= 0 seconds")
    if factor == 1.0 and add == 0.0:
        raise DefinitionError("faults.slow: say how slow, factor=4 or add=2.5 (seconds)")
    return Fault("slow", target, Trigger(rate, first, nth), factor=float(factor), add=float(add))


def hang(target: str, *, rate: float | None = None, first: int | None = None, nth: int | None = None) -> Fault:
    """Make attempts never come back; only a timeout ends them.

    Parameters
    ----------
    target : str
        A node's path (``*`` and ``?`` match), a tag, or a provider.
    rate : float, 0..1
    first, nth : int, >= 1
        As in `fail`.

    Returns
    -------
    Fault

    Raises
    ------
    DefinitionError
        If something is out of range.

    Notes
    -----
    Without a time-out on the step a simulated run ends in `RunStuck`, and a live one waits until it is cancelled.

    Examples
    --------
    >>> import orchkit as ok
    >>> ok.faults.hang("draft", nth=1)
    ok.faults.hang('draft', nth=1)
    """
    return Fault("hang", target, Trigger(rate, first, nth))


def crash(*, after: int) -> Fault:
    """Stop the engine as if it had been killed, right after the run's record of this number.

    Nothing is cleaned up and nothing more is recorded. Live, the run's bodies are dropped and whoever awaits it
    gets `RunCrashed`; ``store.resume`` goes on from the log. It strikes once: a resumed log is longer.

    Parameters
    ----------
    after : int, >= 1
        Records are counted from 1, which is ``run_started``.

    Returns
    -------
    Fault

    Raises
    ------
    DefinitionError
        If `after` is below 1.

    Examples
    --------
    >>> import orchkit as ok
    >>> ok.faults.crash(after=5)
    ok.faults.crash(after=5)
    """
    if not isinstance(after, int) or isinstance(after, bool) or after < 1:
        raise DefinitionError(f"faults.crash(after={after!r}): records are counted from 1")
    return Fault("crash", "", Trigger(), after=float(after))

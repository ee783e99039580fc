"""The breaker's gate: closed, open, half-open."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

__all__ = ["BreakerGate"]


class BreakerGate:
    """Count failures in a row under one key, and say who may ask.

    Parameters
    ----------
    failures : int
        How many in a row open it.
    reset : int, µs
        How long it stays open before a probe.

    Notes
    -----
    Only those count that were let in since it last closed. What began before it opened tells of the time before: it
    neither closes it, nor opens it again, nor counts when it has closed meanwhile.

    Examples
    --------
    >>> gate = BreakerGate(failures=1, reset=30_000_000)
    >>> gate.admitted("a", 0)
    >>> gate.ended("a", False, 5)
    >>> gate.due()
    'open'
    >>> gate.opened(5)
    >>> gate.verdict(30_000_004), gate.verdict(30_000_005)
    ('reject', 'probe')
    """

    __slots__ = ("_current", "_failures", "_opened_at", "_passed", "_prober", "_reset", "_status", "_streak")

    def __init__(self, failures: int, reset: int) -> None:
        self._failures = failures
        self._reset = reset
        self._status: Literal["closed", "open", "half-open"] = "closed"
        self._streak = 0
        self._current: set[Hashable] = set()  # under way, let in since the last turn
        self._opened_at = 0
        self._prober: Hashable | None = None
        self._passed: bool | None = None  # what the probe came to

    @property
    def status(self) -> Literal["closed", "open", "half-open"]:
        """What it was last recorded as."""
        return self._status

    @property
    def until(self) -> int | None:
        """When the next attempt may be a probe; None unless it is open."""
        return self._opened_at + self._reset if self._status == "open" else None

    def verdict(self, at: int) -> Literal["admit", "probe", "reject"]:
        """Say what becomes of an attempt that would begin now.

        A "probe" is to be recorded as half-open and fed back by `probing`, an "admit" by `admitted`.
        """
        if self.due() is not None:
            return "reject"  # what is due is recorded before anybody else is let in
        if self._status == "closed":
            return "admit"
        if self._status == "half-open":
            return "reject" if self._prober is not None else "probe"
        return "probe" if at >= self._opened_at + self._reset else "reject"

    def due(self) -> Literal["open", "close"] | None:
        """Say what is to be recorded now, after an end; None if nothing is."""
        if self._status == "closed":
            return "open" if self._streak >= self._failures else None
        if self._passed is None:
            return None
        return "close" if self._passed else "open"

    def admitted(self, who: Hashable, at: int) -> None:
        """Take in that an attempt was let in; of the probe `probing` has said so, and this changes nothing."""
        self._current.add(who)  # while it is not closed nobody is counted, and each turn begins with nobody

    def ended(self, who: Hashable, ok: bool, at: int) -> None:
        """Take in what an attempt came to."""
        if who == self._prober and self._status == "half-open":
            self._passed = ok
        elif who in self._current:
            self._current.remove(who)
            self._streak = 0 if ok else self._streak + 1

    def gone(self, who: Hashable, at: int) -> None:
        """Take in that an attempt was cancelled, or rejected further in, and so says nothing."""
        if who == self._prober:
            self._prober = None  # the next one probes
        self._current.discard(who)

    def opened(self, at: int) -> None:
        """Take in that it was recorded as open."""
        self._turn("open")
        self._opened_at = at

    def probing(self, who: Hashable, at: int) -> None:
        """Take in that it was recorded as half-open, and who the probe is."""
        self._turn("half-open")
        self._prober = who

    def closed(self, at: int) -> None:
        """Take in that it was recorded as closed."""
        self._turn("closed")

    def _turn(self, status: Literal["closed", "open", "half-open"]) -> None:
        self._status = status
        self._streak = 0
        self._current.clear()
        self._prober = self._passed = None

"""A plan of faults: which ones can hit a node, and what they do to one attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from orchkit.clock.kernel import micro
from orchkit.errors import DefinitionError
from orchkit.model.protocols import Dice, Strike
from orchkit.model.text import is_number, shown

__all__ = ["Fault", "Faults", "Trigger"]

_FIRST_BLOCK = 2  # blocks 0 and 1 of an attempt's stream belong to its model and its step


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a fault strikes; all that is given must hold.

    Attempts are counted per instance (a node, or one item of a map) and leg, from 1. So whether a fault strikes
    depends on who the attempt is and never on the order in which instances happened to run, and a resumed run
    meets the same faults as one that was not cut.

    Parameters
    ----------
    rate : float, 0..1, optional
    first, nth : int, >= 1, optional

    Raises
    ------
    DefinitionError
        If one is out of range.
    """

    rate: float | None = None
    first: int | None = None
    nth: int | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and not (is_number(self.rate) and 0 <= self.rate <= 1):
            raise DefinitionError(f"rate={self.rate!r}: a rate is between 0 and 1")
        for name in ("first", "nth"):
            count = getattr(self, name)
            if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
                raise DefinitionError(f"{name}={count!r}: count attempts from 1")

    def fires(self, u: float, attempt: int) -> bool:
        """Say whether it strikes this attempt (from 1), for its uniform draw u in (0, 1)."""
        return (
            (self.rate is None or u < self.rate)
            and (self.first is None or attempt <= self.first)
            and (self.nth is None or attempt == self.nth)
        )

    def __str__(self) -> str:
        parts = ((name, getattr(self, name)) for name in ("rate", "first", "nth"))
        return "".join(f", {name}={shown(value)}" for name, value in parts if value is not None)


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """One kind of trouble for one target; made by the functions of `orchkit.faults`.

    Attributes
    ----------
    kind : str
        "fail", "slow", "hang" or "crash".
    target : str
        A node's path (``*`` and ``?`` match), a tag, or a provider; "" for the process.
    trigger : Trigger
    error : callable or None
        Makes the exception that a "fail" raises.
    after : float, seconds
        When a "fail" strikes, from the attempt's start; for a "crash", the record after which it comes.
    factor : float, >= 1
    add : float, seconds, >= 0
        Of a "slow".
    raises : str
        What `error` makes, as code; "" for the default.

    Raises
    ------
    DefinitionError
        If the target is no text, or there is none.
    """

    kind: str
    target: str
    trigger: Trigger
    error: Callable[[], BaseException] | None = None
    after: float = 0.0
    factor: float = 1.0
    add: float = 0.0
    raises: str = ""

    def __post_init__(self) -> None:
        if self.kind != "crash" and not (isinstance(self.target, str) and self.target):
            raise DefinitionError(
                f"faults.{self.kind}({self.target!r}): say what it hits: a node's path, a tag or a provider"
            )

    def hits(self, path: str, tags: Sequence[str], provider: str | None) -> bool:
        """Say whether a node is its target."""
        return fnmatchcase(path, self.target) or self.target in tags or self.target == provider

    def __repr__(self) -> str:
        if self.kind == "crash":
            return f"ok.faults.crash(after={shown(self.after)})"
        extra = "".join(f", {name}={shown(value)}" for name, value, none in self._severities() if value != none)
        raises = f", error={self.raises}" if self.raises else ""
        return f"ok.faults.{self.kind}({self.target!r}{extra}{self.trigger}{raises})"

    def _severities(self) -> tuple[tuple[str, float, float], ...]:
        return (("after", self.after, 0.0), ("factor", self.factor, 1.0), ("add", self.add, 0.0))


class Faults:
    """A plan of faults.

    Parameters
    ----------
    *faults : Fault
        At most one decisive fault (fail, hang) strikes an attempt: the first in this order. Slow ones add up:
        factors multiply, then seconds are added; they leave an attempt that fails by fault or hangs as it is.

    Raises
    ------
    DefinitionError
        For something that is no fault, or two crashes.

    Notes
    -----
    What is promised of luck: a fault's draw follows from the trial, the attempt (node path, item, leg, number) and
    the fault's place in the plan, and from nothing else. So it stays the same when nodes, policies or other faults'
    severities change, and when faults are added *after* it. To compare with and without, keep the fault in the plan
    at ``rate=0``: taking it out moves the ones behind it to other luck. The models' and steps' own luck never
    depends on faults at all.

    A rate f on a model that fails with probability e gives ``1 - (1 - f)(1 - e)`` an attempt: an attempt that is
    struck does not run its model.

    Examples
    --------
    >>> import orchkit as ok
    >>> ok.Faults(ok.faults.fail("draft", first=2), ok.faults.slow("lookup", factor=4, rate=0.1))
    ok.Faults(ok.faults.fail('draft', first=2), ok.faults.slow('lookup', factor=4, rate=0.1))
    """

    def __init__(self, *faults: Fault) -> None:
        for fault in faults:
            if not isinstance(fault, Fault):
                raise DefinitionError(
                    f"Faults({fault!r}): use ok.faults.fail(...), .slow(...), .hang(...), .crash(...)"
                )
        crashes = [fault for fault in faults if fault.kind == "crash"]
        if len(crashes) > 1:
            raise DefinitionError("Faults: one crash a plan; a run that is gone cannot crash again")
        self.faults = faults
        self.crash_after = int(crashes[0].after) if crashes else None
        self._numbered = tuple((f"{fault.kind}-{i}", i, fault) for i, fault in enumerate(faults))

    def __repr__(self) -> str:
        return f"ok.Faults({', '.join(map(repr, self.faults))})"

    def targets(self, path: str, tags: Sequence[str], provider: str | None) -> Faults | None:
        """Give the plan narrowed to what can hit this node; each fault keeps its number, and so its luck.

        Parameters
        ----------
        path : str
        tags : sequence of str
        provider : str or None

        Returns
        -------
        Faults or None
            None if nothing can. Crashes are left out: they hit no node.
        """
        hitting = tuple(
            (name, i, fault)
            for name, i, fault in self._numbered
            if fault.kind != "crash" and fault.hits(path, tags, provider)
        )
        if not hitting:
            return None
        narrowed = Faults()
        narrowed._numbered = hitting
        return narrowed

    def strike(self, dice: Dice, attempt: int) -> Strike | None:
        """Decide what happens to one attempt.

        Parameters
        ----------
        dice : Dice
            The attempt's.
        attempt : int, from 1

        Returns
        -------
        Strike or None
            None if nothing strikes; its records are what did, and nothing else.

        Notes
        -----
        Each fault has a word of its own, whether or not it strikes and whatever the others do: switching one off,
        or changing another's trigger, leaves everybody's luck as it was.
        """
        slow: list[tuple[str, str, float]] = []
        factor, add = 1.0, 0
        for name, number, fault in self._numbered:
            trigger = fault.trigger
            u = 0.0 if trigger.rate is None else dice.uniform(number % 8, _FIRST_BLOCK + number // 8)
            if not trigger.fires(u, attempt):
                continue
            if fault.kind != "slow":
                # The first decisive one is all that happens: there is no answer left to be late.
                return _decisive(name, fault)
            factor *= fault.factor
            add += micro(fault.add)
            slow.append((name, "slow", fault.factor if fault.factor != 1.0 else fault.add))
        return Strike(tuple(slow), factor=factor, add=add) if slow else None


def _decisive(name: str, fault: Fault) -> Strike:
    records = ((name, fault.kind, fault.after),)
    if fault.error is None:
        return Strike(records, hang=True)
    return Strike(records, fault.error(), micro(fault.after))

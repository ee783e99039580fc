"""A plan of faults: which ones can hit a node, and what they do to one attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from orchkit.clock.kernel import micro
from orchkit.errors import DefinitionError
from orchkit.model.protocols import Dice, Strike

__all__ = ["Fault", "Faults", "Trigger"]

_FIRST_BLOCK = 2  # blocks 0 and 1 of an attempt's stream belong to its model and its step


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a fault strikes; all that is given must hold.

    Attempts are counted per instance (a node, or one item of a map) and leg, from 1. So whether a fault strikes
    depends on who the attempt is and never on the order in which instances happened to run, and a resumed run
    meets the same faults as one that was not cut.
    """

    rate: float | None = None
    first: int | None = None
    nth: int | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 <= self.rate <= 1:
            raise DefinitionError(f"rate={self.rate!r}: a rate is between 0 and 1")
        for name in ("first", "nth"):
            count = getattr(self, name)
            if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
                raise DefinitionError(f"{name}={count!r}: count attempts from 1")

    def fires(self, u: float, attempt: int) -> bool:
        """Say whether it strikes this attempt, for its uniform draw u."""
        return (
            (self.rate is None or u < self.rate)
            and (self.first is None or attempt <= self.first)
            and (self.nth is None or attempt == self.nth)
        )

    def __str__(self) -> str:
        parts = ((name, getattr(self, name)) for name in ("rate", "first", "nth"))
        return "".join(f", {name}={value:g}" for name, value in parts if value is not None)


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
    factor, add : float
        Of a "slow".
    """

    kind: str
    target: str
    trigger: Trigger
    error: Callable[[], BaseException] | None = None
    after: float = 0.0
    factor: float = 1.0
    add: float = 0.0

    def hits(self, path: str, tags: Sequence[str], provider: str | None) -> bool:
        """Say whether a node is its target."""
        return fnmatchcase(path, self.target) or self.target in tags or self.target == provider

    def __repr__(self) -> str:
        if self.kind == "crash":
            return f"crash(after={self.after:g})"
        extra = "".join(f", {name}={value:g}" for name, value, none in self._severities() if value != none)
        return f"{self.kind}({self.target!r}{extra}{self.trigger})"

    def _severities(self) -> tuple[tuple[str, float, float], ...]:
        return (("after", self.after, 0.0), ("factor", self.factor, 1.0), ("add", self.add, 0.0))


class Faults:
    """A plan of faults.

    Parameters
    ----------
    *faults : Fault
        At most one decisive fault (fail, hang) strikes an attempt: the first in this order. Slow ones add up.

    Raises
    ------
    DefinitionError
        For something that is no fault, or two crashes.

    Examples
    --------
    >>> import orchkit as ok
    >>> ok.Faults(ok.faults.fail("draft", first=2), ok.faults.slow("lookup", factor=4, rate=0.1))
    Faults(fail('draft', first=2), slow('lookup', factor=4, rate=0.1))
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
        return f"Faults({', '.join(map(repr, self.faults))})"

    def targets(self, path: str, tags: Sequence[str], provider: str | None) -> Faults | None:
        """Give the plan narrowed to what can hit this node; each fault keeps its number, and so its luck."""
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

        Each fault with a rate draws whether or not it can strike this attempt: switching one off, or changing
        another's trigger, leaves everybody's luck as it was.
        """
        records: list[tuple[str, str, float]] = []
        error: BaseException | None = None
        hang, after, factor, add = False, 0, 1.0, 0
        for name, number, fault in self._numbered:
            trigger = fault.trigger
            u = 0.0 if trigger.rate is None else dice.uniform(number % 8, _FIRST_BLOCK + number // 8)
            if not trigger.fires(u, attempt):
                continue
            if fault.kind == "slow":
                factor *= fault.factor
                add += micro(fault.add)
                records.append((name, "slow", fault.factor if fault.factor != 1.0 else fault.add))
            elif error is None and not hang:
                hang = fault.kind == "hang"
                if fault.error is not None:
                    error, after = fault.error(), micro(fault.after)
                records.append((name, fault.kind, fault.after))
        if not records:
            return None
        return Strike(tuple(records), error, after, hang, factor, add)

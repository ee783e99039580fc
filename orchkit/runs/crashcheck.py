"""Crash checks: crash a simulated run after its records, resume each time, and compare what it comes to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from orchkit.clock.bare import BareHost
from orchkit.clock.dice import base_of
from orchkit.clock.kernel import Fibre, Kernel
from orchkit.engine.instance import Leg
from orchkit.engine.program import Program
from orchkit.errors import RunCrashed
from orchkit.model.events import (
    ATTEMPT_ENDS,
    Event,
    canonical_digest,
    decode_log,
    encode_log,
    exact_digest,
    settles,
)
from orchkit.model.paths import UNDO, segment_of, split_path
from orchkit.model.records import Head
from orchkit.runs.accounts import NOTHING
from orchkit.runs.comparing import Difference, Side, compare
from orchkit.runs.simulate import continue_virtual, simulate

__all__ = ["AGAIN", "RESUMING", "CrashCheck", "Parted", "Repeated", "check_crashes", "crash_points"]

AGAIN: Final = "executed again"
"""What is different where something ran whose outcome was in the log."""

RESUMING: Final = "resuming"
"""What is different where the resume itself ended with an error."""


_WORDS: Final = 2000  # of an error
_ROUND: Final = re.compile(r"#\d+/$")


@dataclass(frozen=True, slots=True)
class Repeated:
    """An attempt that was in flight at a crash, and so started again.

    Attributes
    ----------
    node : str
        Its path.
    item : int
        Index in the map's list; -1 when there is none.
    generation, attempt : int, from 1
    leg : int, from 0
    key : str
        The idempotency key under which it started, both times; "" for what is no effect.
    effect : bool
        Whether it touches the world: its node says ``effect=True``, or it undoes something.
    after : tuple of int
        The records after which the crash made it start again.
    """

    node: str
    item: int
    generation: int
    leg: int
    attempt: int
    key: str
    effect: bool
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Parted:
    """A crash after which the resumed run did not end equal.

    Attributes
    ----------
    after : int, from 1
        The record that was the last before the crash.
    record : str
        What it says, in brief.
    differences : tuple of Difference
        a of the run that did not crash, b of the resumed one; those that follow from no other first.
    bodies : tuple of (str, int)
        Path and item of the bodies, not the models, that were cut and started again.
    """

    after: int
    record: str
    differences: tuple[Difference, ...]
    bodies: tuple[tuple[str, int], ...]


class CrashCheck(NamedTuple):
    """What crashing came to.

    Attributes
    ----------
    run_id : str
    tried, total : int
        How many crashes there were, and how many there could be: one a record before the run's end.
    exact : int
        How many of the resumed runs are equal to the last digit of each time.
    repeated : tuple of Repeated
        In the order of their first start.
    parted : tuple of Parted
    unsteady : tuple of str
        Where a second run differs that did not crash either, if any resumed one does: nothing there can repeat.
    """

    run_id: str
    tried: int
    total: int
    exact: int
    repeated: tuple[Repeated, ...]
    parted: tuple[Parted, ...]
    unsteady: tuple[str, ...]


def check_crashes(program: Program, value: Any, *, seed: int = 0, most: int | None = None) -> CrashCheck:
    """Crash a run after each of its records, or an even sample of them, resume it and compare.

    What goes on passes through the codec first, so nothing but what was recorded can carry over. A crash that the
    program's faults hold comes in the resumed runs too, and is resumed from there.

    Parameters
    ----------
    program : Program
        From `prepare`.
    value : object
        The input's JSON, from `dump_input`.
    seed : int
    most : int, >= 1, optional
        How many crashes to try.

    Raises
    ------
    SimulationError
        If the world does not fit what the run comes to.
    """
    past = simulate(program, value, seed=seed, survive=True)
    checker = _Checker(program, past.head, past.log())
    total = len(checker.whole) - (checker.whole[-1].kind == "run_ended")
    points = crash_points(total, most)
    for point in points:
        checker.crash(point)
    unsteady = _unsteady(checker, program, value, seed) if checker.parted else ()
    return CrashCheck(
        past.head.run_id, len(points), total, checker.exact, checker.repeated(), tuple(checker.parted), unsteady
    )


def _unsteady(checker: _Checker, program: Program, value: Any, seed: int) -> tuple[str, ...]:
    found: Sequence[Difference]
    try:
        found = checker.differences(simulate(program, value, seed=seed, survive=True).log(), exact=True)
    except Exception as error:  # which the first run did not come to
        found = [_ended_by(error)]
    return tuple(dict.fromkeys(one.node for one in found if one.first and one.node))


def crash_points(total: int, most: int | None = None) -> list[int]:
    """Give the records after which to crash: all, or an even sample with the first and the last.

    Examples
    --------
    >>> crash_points(4), crash_points(100, 4)
    ([1, 2, 3, 4], [1, 34, 67, 100])
    """
    if most is None or most >= total:
        return list(range(1, total + 1))
    return [1 + i * (total - 1) // max(1, most - 1) for i in range(most)]


class _Attempt(NamedTuple):
    node: str
    item: int
    generation: int
    leg: int
    number: int


def _attempt_of(event: Event) -> _Attempt:
    return _Attempt(event.node, event.item, event.generation, event.leg, event.attempt)


def _instance_of(event: Event) -> tuple[str, int, int]:
    return "".join(split_path(event.node)), event.item, event.generation


class _Watching(BareHost):
    """Runs bodies as its base does, and notes whose they are."""

    def __init__(self, kernel: Kernel, begun: list[_Attempt]) -> None:
        super().__init__(kernel)
        self.begun = begun

    def begin(self, fibre: Fibre, body: Callable[[], Any]) -> object:
        if isinstance(fibre, Leg):
            self.begun.append(_attempt_of(_started_of(fibre)))
        return super().begin(fibre, body)


def _started_of(leg: Leg) -> Event:
    # A leg makes one attempt at a time, so the last that it has started is the one that it is at.
    inst = leg.inst
    path = inst.scope.state.prefix + inst.scope.program.seats[inst.node].node.name
    mine = (path, inst.item, inst.generation)
    events = reversed(inst.execution.events)
    return next(e for e in events if e.kind == "started" and e.leg == leg.number and _instance_of(e) == mine)


class _Before:
    """What a log says up to a crash: attempts in flight, those that have ended, instances that have settled."""

    def __init__(self) -> None:
        self.open: dict[_Attempt, Event] = {}
        self.ended: set[_Attempt] = set()
        self.settled: set[tuple[str, int, int]] = set()

    def take(self, event: Event) -> None:
        """Fold one event."""
        if event.kind == "started":
            self.open[_attempt_of(event)] = event
        elif event.kind in ATTEMPT_ENDS:
            self.open.pop(_attempt_of(event), None)
            self.ended.add(_attempt_of(event))
        if settles(event):
            self.settled.add(_instance_of(event))


class _Checker:
    """Crashes one run, at points that only grow, and keeps what that comes to."""

    def __init__(self, program: Program, head: Head, whole: list[Event]) -> None:
        self.whole = whole
        self.exact = 0
        self.parted: list[Parted] = []
        self._program, self._head = program, head
        self._dice = base_of(head.seed, 0, "" if program.world is None else program.world.name)
        self._wanted, self._alike = exact_digest(whole), canonical_digest(whole)
        self._before, self._taken = _Before(), 0
        self._holding = _holding(whole)
        self._repeated: dict[_Attempt, tuple[Event, list[int]]] = {}

    def crash(self, point: int) -> None:
        """Crash after a record, resume, and compare."""
        while self._taken < point:
            self._before.take(self.whole[self._taken])
            self._taken += 1
        begun: list[_Attempt] = []
        found: list[Difference] = []
        resumed: list[Event] | None = None
        try:
            resumed = self._resumed(point, begun, found)
        except Exception as error:
            # Whatever it is, an error of the engine's own included, this resume has come to it, and no other need.
            found.append(_ended_by(error))
        else:
            found.extend(self._compared(resumed, begun))
        self._note_repeated(point, begun, resumed)
        if found:
            bodies = tuple((one.node, one.item) for one in begun if one in self._before.open)
            self.parted.append(Parted(point, _brief(self.whole[point - 1]), tuple(found), bodies))

    def _resumed(self, point: int, begun: list[_Attempt], found: list[Difference]) -> list[Event]:
        events, before = self.whole[:point], self._before
        while True:
            mine: list[_Attempt] = []
            host = partial(_Watching, begun=mine)
            try:
                execution = continue_virtual(
                    self._program, self._head.run_id, self._dice, decode_log(encode_log(events)), host
                )
            finally:
                begun.extend(mine)
                found.extend(_executed_again(before, mine))
            found.extend(_started_again(before, execution.events[len(events) :]))
            events, error = execution.events, execution.error
            if not isinstance(error, RunCrashed):
                if error is not None and exact_digest(events) != self._wanted:
                    found.append(_ended_by(error))
                return events
            before = _Before()  # the crash of a fault, in the run that goes on
            for event in events:
                before.take(event)

    def _compared(self, resumed: list[Event], begun: Sequence[_Attempt]) -> Sequence[Difference]:
        if exact_digest(resumed) == self._wanted:
            self.exact += 1
            return ()
        # A body that is cut starts again from its top, and what time it takes it takes again; nothing else may differ.
        timeless = any(attempt in self._before.open for attempt in begun)
        if timeless and canonical_digest(resumed) == self._alike:
            return ()
        return self.differences(resumed, exact=not timeless)

    def differences(self, other: list[Event], *, exact: bool) -> Sequence[Difference]:
        """Compare another log with that of the run that did not crash."""
        graph = self._program.graph
        sides = (Side(self._head, log, graph, {}) for log in (self.whole, other))
        return compare(*sides, exact=exact).differences

    def _note_repeated(self, point: int, begun: Sequence[_Attempt], resumed: list[Event] | None) -> None:
        ends = {_attempt_of(event): event for event in (resumed or ())[point:] if event.kind in ATTEMPT_ENDS}
        for attempt, started in self._before.open.items():
            if attempt in begun or (resumed and self._went_on(attempt, ends.get(attempt), resumed[point - 1].t)):
                self._repeated.setdefault(attempt, (started, []))[1].append(point)

    def _went_on(self, attempt: _Attempt, end: Event | None, t: int) -> bool:
        # A model has no body to be seen. What the stop of a run, or a decision that was cut short, cancels at once
        # has not started again; and what holds a workflow goes on inside.
        if _opens(attempt) in self._holding:
            return False
        return end is None or end.kind != "cancelled" or end.t > t

    def repeated(self) -> tuple[Repeated, ...]:
        """Give what started again, in the order of the first start."""
        place = {id(event): i for i, event in enumerate(self.whole)}
        ordered = sorted(self._repeated.items(), key=lambda one: place[id(one[1][0])])
        return tuple(self._told(attempt, started, after) for attempt, (started, after) in ordered)

    def _told(self, attempt: _Attempt, started: Event, after: list[int]) -> Repeated:
        key = f"{self._head.run_id}:{started.key}" if started.key else ""
        return Repeated(*attempt, key, bool(started.key), tuple(after))


def _executed_again(before: _Before, begun: Sequence[_Attempt]) -> Iterator[Difference]:
    for place, attempt in enumerate(begun):
        if attempt in before.ended or attempt in begun[:place]:
            told = "its outcome was recorded" if attempt in before.ended else "its body had begun in the same run"
            yield Difference(
                attempt.node, attempt.item, AGAIN, told, f"attempt {attempt.number} started again", first=True
            )


def _started_again(before: _Before, events: Sequence[Event]) -> Iterator[Difference]:
    for event in events:
        if event.kind == "started" and UNDO not in event.node and _instance_of(event) in before.settled:
            yield Difference(
                event.node, event.item, AGAIN, "it had settled", f"attempt {event.attempt} started", first=True
            )


def _ended_by(error: BaseException) -> Difference:
    node = getattr(error, "node", None) or ""
    words = " ".join(str(error).split())[:_WORDS]
    return Difference(node, -1, RESUMING, NOTHING, f"{type(error).__name__}: {words}", first=True)


def _holding(whole: Sequence[Event]) -> set[str]:
    """Give what the paths of nodes in scopes begin with that an attempt has opened; a body that calls opens none."""
    found: set[str] = set()
    for node in dict.fromkeys(event.node for event in whole):
        prefix, name = split_path(node)
        while prefix and prefix not in found:
            if "(" not in name:
                found.add(prefix)
            prefix, name = split_path(prefix[:-1])
    return {_ROUND.sub("/", prefix) for prefix in found}


def _opens(attempt: _Attempt) -> str:
    prefix, name = split_path(attempt.node)
    if attempt.node != prefix + name:
        return ""  # a fallback holds no workflow, and an undo neither
    return prefix + segment_of(name, attempt.item, attempt.leg, attempt.number)


def _brief(event: Event) -> str:
    return f"{event.kind} {event.node}".rstrip() + (f"[{event.item}]" if event.item >= 0 else "")

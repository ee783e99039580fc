"""Crash checks, as users see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

from orchkit.hall.comparing import cell_of, texts_of, where_of
from orchkit.model.paths import FALLBACK, static_path
from orchkit.runs.accounts import NOTHING
from orchkit.runs.comparing import Difference
from orchkit.runs.crashcheck import AGAIN, RESUMING, CrashCheck, Parted, Repeated

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CheckReport"]

_LINES: Final = 8
_STEADY: Final = (
    "what a step gives must follow from its inputs: take time from ctx.now(), chance from ctx.random, and keep nothing "
    "outside it that another start of it would see; what has to touch the world is an effect=True"
)


@dataclass(frozen=True, slots=True, repr=False)
class CheckReport:
    """What came of crashing a run after its records and resuming it; it comes from ``wf.check``.

    Attributes
    ----------
    workflow : str
        Its name.
    checked : CrashCheck
        All that was found.

    Examples
    --------
    >>> import orchkit as ok
    >>> wf, starts = ok.Workflow("count", input=str), []
    >>> @wf.step
    ... def ticket(input: str) -> int:
    ...     starts.append(input)
    ...     return len(starts)
    >>> report = wf.check("Dana", world=ok.World())
    >>> report.ok, report.differences[0]
    (False, 'crash after record 1 (run_started): ticket: value: 1 without it, 2 resumed')
    """

    workflow: str
    checked: CrashCheck

    @property
    def ok(self) -> bool:
        """Whether every resumed run ended equal, and nothing with a recorded outcome executed again."""
        return not self.checked.parted

    @property
    def points(self) -> int:
        """How many crashes were tried."""
        return self.checked.tried

    @property
    def total(self) -> int:
        """How many there could be: one after each record before the run's end."""
        return self.checked.total

    @property
    def exact(self) -> int:
        """How many resumed runs are equal to the last digit of each time.

        Where a body was cut that takes time, it takes that time again, and all else has to be equal.
        """
        return self.checked.exact

    @property
    def repeated(self) -> tuple[Repeated, ...]:
        """The attempts that were in flight at a crash and so started again, in the order of their first start.

        Each has `node`, `item` (-1 for none), `generation`, `leg`, `attempt`, `effect`, `key` (the idempotency key of
        an effect, the same both times), and `after`, the records after which a crash made it start again. That is no
        failure: of what has no recorded outcome nobody can know whether it was done.
        """
        return self.checked.repeated

    @property
    def doubled(self) -> tuple[Repeated, ...]:
        """Those of `repeated` that touch the world: who receives them has to know them again by their key."""
        return tuple(one for one in self.checked.repeated if one.effect)

    @property
    def differences(self) -> tuple[str, ...]:
        """One line for each crash after which the run did not end equal."""
        return tuple(map(_line, self.checked.parted))

    @property
    def frame(self) -> pd.DataFrame:
        """A row a difference: after, record, node, item, what, a, b, first.

        `after` is the record (from 1) that was the last before the crash, `record` what it says. a is the run that did
        not crash, b the resumed one. The others are as in the frame of ``ok.diff``; `what` may also be "executed again"
        and, with its error in b, "resuming".
        """
        import pandas as pd

        found = ((parted, one) for parted in self.checked.parted for one in parted.differences)
        rows = [(parted.after, parted.record, *_cells(one)) for parted, one in found]
        columns = ["after", "record", "node", "item", "what", "a", "b", "first"]
        frame = pd.DataFrame(rows, columns=columns, dtype=object)
        return frame.astype({"after": "int64", "item": "Int64", "first": bool})

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        lines = [self._said(), *(f"  {line}" for line in self._equal())]
        lines += [f"  {where}: {what}: {a} | {b}: {when}" for where, what, a, b, when in self._parted()]
        return "\n".join([*lines, *(f"  {line}" for line in (*self._advice(), *self._again()))])

    def _said(self) -> str:
        crashes = f"{self.points:,} of {self.total:,} crash points" if self.points < self.total else _points(self.total)
        bad = len(self.checked.parted)
        came = f"{bad:,} resumed run{_s(bad)} did not end equal" if bad else "every resumed run ends equal"
        return f"check of {self.workflow!r}: {crashes}, {came}"

    def _equal(self) -> Iterator[str]:
        alike = self.points - len(self.checked.parted)
        if self.exact < alike:
            yield f"{self.exact:,} to the last digit of each time, {alike - self.exact:,} but for times: a body was cut"
        elif self.ok and alike:
            yield f"all {alike:,} to the last digit of each time"

    # What differs

    def _parted(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Give the first differences, with both sides at the first crash that showed each."""
        for (where, what), found in [*self._places().items()][:_LINES]:
            parted, one = found[0]
            when = f"first in the crash after record {parted.after} ({parted.record})"
            yield where, what, *_sides(one), when + (f", in {len(found):,} runs" if len(found) > 1 else "")

    def _places(self) -> dict[tuple[str, str], list[tuple[Parted, Difference]]]:
        places: dict[tuple[str, str], list[tuple[Parted, Difference]]] = {}
        for parted in self.checked.parted:
            for one in _first(parted):
                places.setdefault((where_of(one), one.what), []).append((parted, one))
        return places

    def _advice(self) -> Iterator[str]:
        """Say how to read the differences, and where the others are."""
        if (left := len(self._places()) - _LINES) > 0:
            yield f"{left:,} more in .frame"
        first = [(parted, one) for parted in self.checked.parted for one in _first(parted)]
        unsteady = self.checked.unsteady
        if unsteady:
            yield f"without any crash a second run differs too, at {_listed(unsteady)}: {_STEADY}"
        cut = {one.node for parted, one in first if (one.node, one.item) in _bodies(parted) and _delivers(one)}
        if changed := cut.difference(unsteady):
            yield f"{_listed(sorted(changed))} came to something else when started again: {_STEADY}"
        if any(one.what == AGAIN for _, one in first):
            yield "what has a recorded outcome must not execute again: a defect of orchkit's own, please report it"
        known = {*unsteady, *changed}
        timed = {node for parted, one in first if _is_late(one, known) for node, _ in _bodies(parted)}
        if timed:
            yield (
                f"{_listed(sorted(timed))} took time anew when started again, so that what bounds or races it may come "
                "first: a model, ok.fake(..., latency=...), ends when it would have"
            )

    # What happens twice

    def _again(self) -> Iterator[str]:
        if not self.repeated:
            return
        nodes = Counter(static_path(one.node) for one in self.repeated)
        listed = _listed([f"{node} ({times})" if times > 1 else node for node, times in nodes.items()])
        many = len(self.repeated)
        yield f"{many:,} attempt{_s(many)} {_were(many)} cut and started again: {listed}"
        if doubled := self.doubled:
            are = "is an effect" if len(doubled) == 1 else "are effects"
            yield f"{len(doubled):,} of them {are}, which its receiver has to know again by its key:"
            for one in doubled[:_LINES]:
                yield f"  {_named(one)}: {one.key}, after record{_s(len(one.after))} {_ranges(one.after)}"
            if len(doubled) > _LINES:
                yield f"  and {len(doubled) - _LINES:,} more in .doubled"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": self._html()}

    def _html(self) -> str:
        # Values are what models said: text, never markup.
        parts = [f"<p>{escape(line)}</p>" for line in (self._said(), *self._equal())]
        if not self.ok:
            heads = "".join(f"<th>{head}</th>" for head in ("where", "what", "without the crash", "resumed", "when"))
            rows = ["".join(f"<td>{escape(cell)}</td>" for cell in cells) for cells in self._parted()]
            body = "".join(f"<tr>{row}</tr>" for row in rows)
            parts.append(f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>")
        parts += [f"<p>{escape(line.strip())}</p>" for line in (*self._advice(), *self._again())]
        return "".join(parts)


def _line(parted: Parted) -> str:
    first = _first(parted)
    one = first[0]
    a, b = _sides(one)
    more = f" (and {len(first) - 1} more)" if len(first) > 1 else ""
    said = f"{where_of(one)}: {one.what}: {a} without it, {b} resumed{more}"
    return f"crash after record {parted.after} ({parted.record}): {said}"


def _first(parted: Parted) -> Sequence[Difference]:
    return [one for one in parted.differences if one.first] or parted.differences[:1]


def _sides(one: Difference) -> tuple[str, str]:
    # An error's words say what to do, and the remedy stands at their end.
    return ("an end", str(one.b)) if one.what == RESUMING else texts_of(one.a, one.b)


def _bodies(parted: Parted) -> set[tuple[str, int]]:
    return {(node.partition(FALLBACK)[0], item) for node, item in parted.bodies}


def _cells(one: Difference) -> tuple[Any, ...]:
    item = cell_of(NOTHING if one.item < 0 else one.item)
    return one.node, item, one.what, cell_of(one.a), cell_of(one.b), one.first


def _delivers(one: Difference) -> bool:
    return one.what.startswith(("value", "writes", "error", "status", "cost", "tokens"))


def _is_late(one: Difference, known: set[str]) -> bool:
    return one.node not in known and one.what not in (AGAIN, RESUMING)


def _named(one: Repeated) -> str:
    return one.node if one.item < 0 else f"{one.node}[{one.item}]"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_LINES]) + (", ..." if len(names) > _LINES else "")


def _ranges(numbers: Sequence[int]) -> str:
    """Tell ascending numbers briefly.

    Examples
    --------
    >>> _ranges([3, 4, 5, 9])
    '3-5, 9'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return _listed("-".join(map(str, run)) for run in runs)


def _points(total: int) -> str:
    return f"{total:,} crash point{_s(total)}"


def _s(many: int) -> str:
    return "" if many == 1 else "s"


def _were(many: int) -> str:
    return "was" if many == 1 else "were"

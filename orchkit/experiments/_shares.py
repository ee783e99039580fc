"""Shares: how the runs of each arm ended, as stacked bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from orchkit.draw import clean, fit
from orchkit.experiments._levels import Level
from orchkit.experiments._pictures import LABELS, WIDE, accent, figure, row_label, text
from orchkit.experiments._style import ACCENTS
from orchkit.experiments._trials import OUTCOMES
from orchkit.experiments._words import safe

__all__ = ["Share", "shares"]

_BAR: Final = 15


@dataclass(frozen=True, slots=True)
class Share:
    """How one arm ended under one plan of faults."""

    arm: str
    faults: str
    counts: tuple[int, ...]
    success: Level


def shares(rows: Sequence[Share], arms: Sequence[str], faults: Sequence[str]) -> str:
    """Draw how runs ended: a bar for each arm under each plan of faults, with the words beneath."""
    parts = [_patterns(len(arms)), *_legend()]
    y, cell = 34.0, ""
    for row in rows:
        if len(faults) > 1 and row.faults != cell:
            cell = row.faults
            parts.append(text(0, y + 14, fit(clean(cell), LABELS - 10, 12, bold=True), "strong"))
            y += 24
        arm = list(arms).index(row.arm)
        parts += [row_label(arm, row.arm, y + 10), *_stack(row, arm, y + 3)]
        y += 52
    return figure(y, "How runs ended, as shares", parts)


def _patterns(arms: int) -> str:
    found = []
    for i in [*range(min(arms, ACCENTS)), "n"]:
        kind = f' class="a{i}"' if i != "n" else ' style="--c:var(--soft)"'
        found.append(
            f'<g{kind}><pattern id="d{i}" width="6" height="6" patternUnits="userSpaceOnUse"'
            ' patternTransform="rotate(45)"><path d="M0 0V6" stroke="var(--c)" stroke-width="5"/></pattern>'
            f'<pattern id="t{i}" width="5" height="5" patternUnits="userSpaceOnUse">'
            '<path d="M1 2.5h2" stroke="var(--c)" stroke-width="2"/></pattern></g>'
        )
    return f"<defs>{''.join(found)}</defs>"


def _paint(outcome: str, key: str) -> str:
    match outcome:
        case "completed":
            return "var(--c)"
        case "degraded":
            return f"url(#d{key})"
        case "timed out":
            return f"url(#t{key})"
        case _:
            return "var(--bg)"


def _legend() -> Iterator[str]:
    x = float(LABELS)
    for outcome in OUTCOMES:
        place = f'x="{x + 0.5:.1f}" y="4.5" width="18" height="11"'
        yield f'<rect style="--c:var(--soft)" {place} fill="{_paint(outcome, "n")}" stroke="var(--c)"/>'
        if outcome == "failed":
            yield f'<path class="cross" style="--c:var(--soft)" d="M{x + 6.5:.1f} 7l6 6m0 -6l-6 6"/>'
        yield text(x + 26, 14, outcome, "small")
        x += 112
    yield f'<path class="whisker" d="M{x:.1f} 10h18m-18 -4v8m18 -8v8"/>'
    yield text(x + 26, 14, "95 % interval of success", "small")


def _stack(row: Share, arm: int, y: float) -> Iterator[str]:
    room = WIDE - LABELS - 10
    total = sum(row.counts)
    x, words = float(LABELS), []
    for outcome, count in zip(OUTCOMES, row.counts, strict=True):
        wide = room * count / total
        if not count:
            continue
        share = f"{outcome} {100 * count / total:.1f} %"
        words.append(share)
        yield (
            f'<g class="{accent(arm)}"><title>{safe(f"{share}, {count} of {total}")}</title>'
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{_BAR}"'
            f' fill="{_paint(outcome, accent(arm)[1:])}" stroke="var(--c)"/>'
        )
        if outcome == "failed" and wide >= 12:
            middle = x + wide / 2
            yield f'<path class="cross" d="M{middle - 3.5:.1f} {y + 4:.1f}l7 7m0 -7l-7 7"/>'
        yield "</g>"
        x += wide
    low, high = (LABELS + room * value for value in (row.success.low, row.success.high))
    at = y + _BAR + 5
    ends = f"M{low:.1f} {at - 3:.1f}v6M{high:.1f} {at - 3:.1f}v6"
    yield f'<path class="whisker" d="M{low:.1f} {at:.1f}H{high:.1f}{ends}"/>'
    yield text(LABELS, y + _BAR + 21, f"{' · '.join(words)} · n {total}", "small")

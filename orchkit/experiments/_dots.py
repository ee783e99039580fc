"""Dots with intervals: estimates of several metrics side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import Final

from orchkit.draw import clean, fit
from orchkit.experiments._levels import Level
from orchkit.experiments._metrics import METRICS
from orchkit.experiments._pictures import LABELS, WIDE, accent, figure, mark, row_label, text
from orchkit.experiments._words import Measure, interval_words, measure_of, safe

__all__ = ["dots"]

_ROW: Final = 26


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    left: float
    room: float

    def __call__(self, value: float) -> float:
        return self.left + self.room * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


def _steps(low: float, high: float) -> list[float]:
    """Give two to five round numbers between two, evenly spaced."""
    room = high - low
    size = 10 ** floor(log10(room))
    size *= next(factor for factor in (5.0, 2.0, 1.0, 0.5, 0.2) if room / (size * factor) >= 2)
    first = ceil(low / size - 1e-9)
    return [i * size for i in range(first, floor(high / size + 1e-9) + 1)]


def _scale(rows: Sequence[Level], measure: Measure, left: float, room: float) -> _Scale:
    ends = [value for row in rows for value in (row.low, row.estimate, row.high) if isfinite(value)] or [0.0]
    low, high = min(ends), max(ends)
    spread = (high - low) or abs(high) * 0.1 or 1.0
    share = METRICS[rows[0].metric].kind == "rate"
    low = max(0.0, low - 0.06 * spread)
    return _Scale(low, min(1.0, high + 0.06 * spread) if share else high + 0.06 * spread, left, room)


def dots(rows: Sequence[Level], metrics: Sequence[str], arms: Sequence[str], faults: Sequence[str]) -> str:
    """Draw estimates with their intervals: a panel a metric, a row for each arm under each plan of faults."""
    grouped = len(faults) > 1
    top = 46.0
    places, heads, y = {}, [], top
    for cell in faults:
        if grouped:
            heads.append((cell, y + 16))
            y += 28
        for arm in arms:
            places[arm, cell] = y + _ROW / 2
            y += _ROW
        y += 6 if grouped else 0
    room = (WIDE - LABELS) / len(metrics)
    parts = [text(0, at, fit(clean(cell), LABELS - 10, 12, bold=True), "strong") for cell, at in heads]
    parts += [row_label(arms.index(arm), arm, at) for (arm, _), at in places.items()]
    for i, metric in enumerate(metrics):
        own = [row for row in rows if row.metric == metric]
        parts += _panel(own, places, list(arms), LABELS + i * room, room, top, y)
    return figure(y + 30, f"{', '.join(METRICS[m].words for m in metrics)}: estimates and 95 % intervals", parts)


def _panel(
    rows: Sequence[Level], places: dict[tuple[str, str], float], arms: list[str], left: float, room: float, top: float,
    bottom: float,
) -> Iterator[str]:  # fmt: skip
    metric = METRICS[rows[0].metric]
    measure = measure_of(metric.name, rows)
    scale = _scale(rows, measure, left + 12, room - 96)
    yield text(left + 12, 14, metric.words, "strong")
    yield text(left + 12, 31, "more is better →" if metric.higher_is_better else "← less is better", "small")
    steps = _steps(scale.low * measure.factor, scale.high * measure.factor)
    decimals = max(0, -floor(log10(steps[1] - steps[0]) + 1e-9))
    for step in steps:
        x = scale(step / measure.factor)
        words = f"{measure.prefix}{step:.{decimals}f}{measure.suffix if step == steps[-1] else ''}"
        yield f'<path class="grid" d="M{x:.1f} {top:.1f}V{bottom:.1f}"/>'
        yield text(x, bottom + 17, words, "small", anchor="middle")
    for row in rows:
        yield _dot(row, scale, measure, places[row.arm, row.faults], arms.index(row.arm), left + room - 10)


def _dot(row: Level, scale: _Scale, measure: Measure, y: float, arm: int, right: float) -> str:
    low, high = scale(row.low), scale(row.high)
    open_end = "" if isfinite(row.high) else f"M{high - 4:.1f} {y - 4:.1f}l4 4l-4 4"
    words = f"{row.arm}, {row.faults}: {measure(row.estimate)}, {interval_words(measure, row.low, row.high)}, n {row.n}"
    return (
        f"<g><title>{safe(words)}</title>"
        f'<path class="range {accent(arm)}" d="M{low:.1f} {y:.1f}H{high:.1f}{open_end}"/>'
        f"{mark(arm, scale(row.estimate), y)}{text(right, y + 4, measure(row.estimate), 'plain', anchor='end')}</g>"
    )

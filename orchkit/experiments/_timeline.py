"""The timeline of one run: attempts, waits and people, drawn from its log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from orchkit.draw import clean, fit, width
from orchkit.experiments._pictures import WIDE, accent, figure, text
from orchkit.experiments._words import duration, safe
from orchkit.model.events import Event

__all__ = ["Bar", "bars_of", "timeline"]

_LEFT: Final = 176.0
_RIGHT: Final = 140.0
_ROW: Final = 24
_MOST_ROWS: Final = 24


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that took time, in microseconds since the start of the run."""

    row: str
    kind: str
    start: int
    end: int
    words: str


def bars_of(log: Sequence[Event]) -> list[Bar]:
    """Read bars from a log: completed, failed, "timed out", cancelled and unfinished attempts; waits; people."""
    bars: list[Bar] = []
    open_: dict[tuple[str, int, int, int], Event] = {}
    last = log[-1].t
    for event in log:
        key = (event.node, event.item, event.leg, event.attempt)
        if event.kind in ("started", "asked"):
            open_[key] = event
        elif event.kind in ("completed", "failed", "cancelled", "answered", "expired") and key in open_:
            bars.append(_bar(event, open_.pop(key).t))
        elif event.kind == "degraded" and bars:
            bars[-1] = replace(bars[-1], words=f"{bars[-1].words}, fallback")
        elif event.kind == "waiting":
            wait = f"waits {duration(event.dur / 1e6)}"
            bars.append(Bar(_row(event), "wait", event.t, min(event.t + event.dur, last), wait))
    bars += [
        Bar(_row(e), "person" if e.kind == "asked" else "cancelled", e.t, last, "never ends") for e in open_.values()
    ]
    return sorted(bars, key=lambda bar: (bar.start, bar.end))


def _row(event: Event) -> str:
    return f"{event.node}[{event.item}]" if event.item >= 0 else event.node


def _bar(event: Event, start: int) -> Bar:
    took = duration((event.t - start) / 1e6)
    if event.kind in ("answered", "expired"):
        words = f"{'answered' if event.kind == 'answered' else 'no answer'}, {took}"
        return Bar(_row(event), "person", start, event.t, words)
    timed_out = event.kind == "failed" and event.status == "timeout"
    kind = "timed out" if timed_out else event.kind
    return Bar(_row(event), kind, start, event.t, took if kind == "completed" else f"{kind}, {took}")


class _Axis:
    """Time to pixels, where a stretch in which nothing begins or ends is cut if it would dwarf all others."""

    def __init__(self, times: Sequence[int]) -> None:
        self.times = sorted(set(times))
        gaps = [b - a for a, b in zip(self.times, self.times[1:], strict=False)]
        self.cuts = _cuts(gaps)
        rest = sum(gap for i, gap in enumerate(gaps) if i not in self.cuts)
        sizes = [0.35 * rest if i in self.cuts else gap for i, gap in enumerate(gaps)]
        scale = (WIDE - _LEFT - _RIGHT) / (sum(sizes) or 1.0)
        self.places = [_LEFT]
        for size in sizes:
            self.places.append(self.places[-1] + scale * size)

    @property
    def tears(self) -> list[float]:
        """Where the axis is torn."""
        return [(self.places[i] + self.places[i + 1]) / 2 for i in sorted(self.cuts)]

    def tears_from(self, x: float) -> list[float]:
        """Give the tears to the right of a place."""
        return [tear for tear in self.tears if tear > x]

    def __call__(self, t: int) -> float:
        return self.places[self.times.index(t)]


def _cuts(gaps: Sequence[int]) -> set[int]:
    order = sorted(range(len(gaps)), key=lambda i: -gaps[i])
    for k in range(1, min(5, len(order))):
        rest = sum(gaps[i] for i in order[k:])
        if rest and gaps[order[k - 1]] > 8 * rest:
            return set(order[:k])
    return set()


def timeline(log: Sequence[Event], arm: int, title: str) -> str:
    """Draw a run; steps that took no time are named beneath instead."""
    bars = bars_of(log)
    rows = list(dict.fromkeys(bar.row for bar in bars if bar.end > bar.start))
    instant = [name for name in dict.fromkeys(bar.row for bar in bars) if name not in rows]
    shown = rows[:_MOST_ROWS]
    axis = _Axis([0, log[-1].t, *(t for bar in bars if bar.row in shown for t in (bar.start, bar.end))])
    bottom = 8.0 + _ROW * len(shown)
    parts = [*_ticks(axis, bottom)]
    for i, row in enumerate(shown):
        y = 8.0 + _ROW * (i + 0.5)
        parts.append(f"<g><title>{safe(row)}</title>{text(0, y + 4, fit(clean(row), _LEFT - 16, 12), 'plain')}</g>")
        parts += _draw_row([bar for bar in bars if bar.row == row], axis, y, arm)
    parts += _tears(axis, bottom)
    notes = []
    if len(rows) > len(shown):
        notes.append(f"{len(rows) - len(shown)} more rows are left out")
    if instant:
        notes.append(f"in no time: {', '.join(instant)}")
    if notes:
        parts.append(text(_LEFT, bottom + 38, fit(clean("; ".join(notes)), WIDE - _LEFT, 11), "small"))
    return figure(bottom + (48 if notes else 28), title, parts)


def _draw_row(bars: Sequence[Bar], axis: _Axis, y: float, arm: int) -> Iterator[str]:
    for i, bar in enumerate(bars):
        left, right = axis(bar.start), axis(bar.end)
        title = f"<title>{safe(f'{bar.row}: {bar.words}')}</title>"
        yield f'<g class="{accent(arm)}">{title}{_shape(bar, left, right, y)}</g>'
        nearest = [*(axis(later.start) for later in bars[i + 1 :]), *axis.tears_from(right)]
        free = min(nearest, default=float(WIDE))
        wide = width(bar.words, 11)
        if bar.kind != "wait" and right + 8 + wide <= free:
            yield text(right + 6, y + 4, bar.words, "small")
        elif bar.kind in ("failed", "timed out") and wide + 24 <= min([right, *axis.tears_from(left)]) - left:
            yield text(left + 7, y + 4, bar.words, "small")


def _shape(bar: Bar, left: float, right: float, y: float) -> str:
    wide = max(right - left, 2.0)
    place = f'x="{left:.1f}" y="{y - 7:.1f}" width="{wide:.1f}" height="14" rx="2"'
    if bar.kind == "wait":
        return f'<path class="rest" d="M{left + 2:.1f} {y:.1f}H{max(right - 2, left + 2):.1f}"/>'
    if bar.kind == "person":
        head = f'<circle class="bar" cx="{left + 9:.1f}" cy="{y - 2:.1f}" r="2"/>'
        person = f'{head}<path class="bar" d="M{left + 5:.1f} {y + 4:.1f}c0 -4.6 8 -4.6 8 0z"/>'
        return f'<rect class="tint" {place}/>{person if wide > 16 else ""}'
    if bar.kind == "completed":
        return f'<rect class="bar" {place}/>'
    cross = f"M{right - 3:.1f} {y - 3:.1f}l-6 6m6 0l-6 -6"
    if bar.kind == "timed out":
        cross = f"M{right - 4:.1f} {y - 4:.1f}v8"
    dashes = ' stroke-dasharray="3 3"' if bar.kind == "cancelled" else ""
    end = f'<path class="cross" d="{cross}"/>' if wide > 10 and bar.kind != "cancelled" else ""
    return f'<rect class="hollow" {place}{dashes}/>{end}'


def _ticks(axis: _Axis, bottom: float) -> Iterator[str]:
    edges = {0, len(axis.times) - 1, *axis.cuts, *(i + 1 for i in axis.cuts)}
    yield f'<path class="axis" d="M{_LEFT:.1f} {bottom + 4.5:.1f}H{axis.places[-1]:.1f}"/>'
    taken = -1e9
    for i in sorted(edges):
        x = axis.places[i]
        yield f'<path class="grid" d="M{x:.1f} 4V{bottom + 8:.1f}"/>'
        if x - taken >= 56:
            taken = x
            words = duration(axis.times[i] / 1e6) if axis.times[i] else "0"
            yield text(x, bottom + 21, words, "small", anchor="middle")


def _tears(axis: _Axis, bottom: float) -> Iterator[str]:
    for x in axis.tears:
        edge = "".join("q3 4 0 8t0 8" for _ in range(int((bottom + 6) // 16) + 1))
        yield f'<path class="cut" d="M{x - 4:.1f} 0h8V{bottom + 10:.1f}h-8z"/>'
        yield f'<path class="tear" d="M{x - 4:.1f} 2{edge}M{x + 4:.1f} 2{edge}"/>'

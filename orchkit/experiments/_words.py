"""Numbers and names in words, for people: the same everywhere, safe in markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import floor, isfinite, log10
from typing import Final

from orchkit.draw import clean
from orchkit.experiments._compare import Contrast
from orchkit.experiments._levels import Level
from orchkit.experiments._metrics import METRICS

__all__ = ["Measure", "duration", "gap_of", "interval_words", "join", "measure_of", "safe"]

_MOST_DECIMALS: Final = 8


def safe(text: str) -> str:
    """Make any text fit to stand in markup, between tags and in attributes alike."""
    return escape(clean(text), quote=True)


def join(words: Sequence[str], last: str = "and") -> str:
    """List words as a sentence does."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


class Measure:
    """How one metric's numbers are written beside each other: one unit, one number of decimals.

    Parameters
    ----------
    unit : {"share", "s", "USD", "min", ""}
    values : iterable of float
        All numbers that will stand together.

    Examples
    --------
    >>> seconds = Measure("s", [12.3, 200.0])
    >>> seconds(12.3), seconds(200.0), seconds.difference(-30.0)
    ('0.21 min', '3.33 min', '−0.50 min')
    >>> Measure("share", [0.9, 1.0]).difference(0.041)
    '+4.1 points'
    """

    def __init__(self, unit: str, values: Iterable[float]) -> None:
        top = max((abs(value) for value in values if isfinite(value)), default=0.0)
        self.factor, self.suffix, self.prefix = 1.0, "", ""
        if unit == "share":
            self.factor, self.suffix = 100.0, " %"
        elif unit in ("s", "min"):
            self._in_time(top * (60.0 if unit == "min" else 1.0), 60.0 if unit == "min" else 1.0)
        elif unit == "USD":
            self.prefix = "$"
        self.decimals = 1 if unit == "share" else _decimals(top * self.factor)

    def _in_time(self, seconds: float, factor: float) -> None:
        size, self.suffix = (3600.0, " h") if seconds >= 7200 else (60.0, " min") if seconds >= 120 else (1.0, " s")
        self.factor = factor / size

    def __call__(self, value: float) -> str:
        """Write a value."""
        return f"{self.prefix}{self.bare(value)}{self.suffix}" if isfinite(value) else _endless(value)

    def bare(self, value: float) -> str:
        """Write a value without its unit."""
        if not isfinite(value):
            return _endless(value)
        return _minus(f"{value * self.factor:.{self.decimals}f}")

    def difference(self, value: float) -> str:
        """Write a difference, with its sign."""
        suffix = " points" if self.suffix == " %" else self.suffix
        if not isfinite(value):
            return _endless(value)
        return f"{self.sign(value)}{self.prefix}{self.bare(abs(value))}{suffix}"

    def sign(self, value: float) -> str:
        """Give the sign of a value as it is written; none for what is written as zero."""
        return "" if not float(self.bare(abs(value))) else "+" if value > 0 else "−"


def _decimals(top: float) -> int:
    return 1 if top == 0 else max(0, min(_MOST_DECIMALS, 2 - floor(log10(top))))


def _minus(text: str) -> str:
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def _endless(value: float) -> str:
    return "−∞" if value < 0 else "∞" if value > 0 else "–"


def measure_of(metric: str, rows: Iterable[Level]) -> Measure:
    """Make the measure in which estimates of one metric are written."""
    return Measure(METRICS[metric].unit, (x for row in rows for x in (row.estimate, row.low, row.high)))


def gap_of(metric: str, rows: Iterable[Contrast]) -> Measure:
    """Make the measure in which differences of one metric are written."""
    own = [row for row in rows if row.metric == metric]
    measure = Measure(METRICS[metric].unit, (x for row in own for x in (row.difference, row.low, row.high)))
    # A bound that leaves zero out is not written as zero.
    bounds = [abs(x) for row in own if row.verdict != "cannot tell" for x in (row.low, row.high) if x]
    while measure.decimals < _MOST_DECIMALS and not all(float(measure.bare(x)) for x in bounds if isfinite(x)):
        measure.decimals += 1
    return measure


def duration(seconds: float) -> str:
    """Write one duration for itself."""
    return Measure("s", [seconds])(seconds)


def interval_words(measure: Measure, low: float, high: float, *, signed: bool = False) -> str:
    """Write an interval, without its unit."""
    if not isfinite(low) and not isfinite(high):
        return "no bounds"
    return " to ".join(_signed(measure, value) if signed else measure.bare(value) for value in (low, high))


def _signed(measure: Measure, value: float) -> str:
    return f"{measure.sign(value)}{measure.bare(abs(value))}" if isfinite(value) else _endless(value)

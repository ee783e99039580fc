"""Text made safe, and how much room it takes: in pixels for SVG, in columns for a terminal.

There is no font here to ask, so widths are estimates.  They follow DejaVu Sans, the widest of the common
interface fonts: text that fits by this table also fits in Inter, Segoe UI, Roboto or Helvetica.
"""

import re
from collections.abc import Callable
from unicodedata import category, east_asian_width

ELLIPSIS = "…"
# What must not reach markup or a terminal: control characters, marks that turn the direction of text (they
# can make one name look like another), half surrogates, and the two code points that XML forbids.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")
_EMS = {
    0.31: "ijl",
    0.35: " .,I·J|/\\'",
    0.42: "frt()[]-:;!",
    0.52: '_szc?°`*"',
    0.60: "xvykaeLF",
    0.84: "DHNOQUGw+=<>~&#^×→←✓",
    1.00: "mMW%@—…",
}
_EM = {char: em for em, chars in _EMS.items() for char in chars}
_BOLD = 1.1


def clean(text: str) -> str:
    """Return text on one line, without characters that are unsafe or cannot be shown."""
    return _UNSAFE.sub("", " ".join(text.split())).strip()


def _em(char: str) -> float:
    known = _EM.get(char)
    if known is not None:
        return known
    if char.isascii():
        return 0.70 if char.isupper() else 0.64
    return 0.5 * char_columns(char) + 0.14 * (char_columns(char) == 1)


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Estimate the width of a line of text in pixels."""
    return sum(_em(char) for char in text[:400]) * size * (_BOLD if bold else 1.0)


def fit(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """Cut text, with an ellipsis, so that it is no wider than a room in pixels."""
    ems = room / (size * (_BOLD if bold else 1.0))
    return _cut(text, ems, _em)


def char_columns(char: str) -> int:
    """Return how many terminal columns a character fills: 0, 1 or 2."""
    if char.isascii():
        return 1
    if category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(char) in "WF" else 1


def columns(text: str) -> int:
    """Return how many terminal columns a line of text fills."""
    return sum(map(char_columns, text))


def fit_columns(text: str, room: int) -> str:
    """Cut text, with an ellipsis, so that it fills no more than a number of terminal columns."""
    return _cut(text, room, char_columns)


def _cut(text: str, room: float, measure: Callable[[str], float]) -> str:
    used, last = 0.0, 0
    for index, char in enumerate(text):
        used += measure(char)
        if used > room:
            # A joiner at the end would try to join the ellipsis.
            return text[:last].rstrip(" ·\u200d") + ELLIPSIS
        if used <= room - measure(ELLIPSIS):
            last = index + 1
    return text


def wrap(text: str, room: float, size: float, *, lines: int) -> tuple[str, ...]:
    """Break text into a few lines, at ``·`` where there is one, else at spaces; the last may be cut."""
    done: list[str] = []
    rest = text
    while rest and len(done) < lines - 1 and width(rest, size) > room:
        head = _first_line(rest, room, size)
        done.append(head.rstrip(" ·"))
        rest = rest[len(head) :].lstrip(" ·")
    return (*done, fit(rest, room, size)) if rest else tuple(done)


def _first_line(text: str, room: float, size: float) -> str:
    """Return the longest beginning that fits and ends at a good place; at least one word."""
    used, dot, space = 0.0, 0, 0
    for index, char in enumerate(text):
        if used > room:
            break
        if char == "·":
            dot = index
        elif char == " ":
            space = index
        used += _em(char) * size
    else:
        return text
    cut = dot or space or max(index, 1)
    return text[:cut]

"""What the pictures of a report share: signs, names, text and the frame, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchkit.draw import clean, fit
from orchkit.experiments._style import ACCENTS
from orchkit.experiments._words import safe

__all__ = ["LABELS", "WIDE", "accent", "figure", "mark", "row_label", "tag", "text"]

WIDE: Final = 936
LABELS: Final = 176
_MARKS: Final = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "M-4.5 -4.5h9v9h-9z",
    "M0 -6l6 6l-6 6l-6 -6z",
    "M0 -5.5l5.8 10h-11.6z",
    "M0 5.5l5.8 -10h-11.6z",
    "M-5.5 0l2.8 -4.8h5.4l2.8 4.8l-2.8 4.8h-5.4z",
    "M-6 -2h4v-4h4v4h4v4h-4v4h-4v-4h-4z",
)


def accent(arm: int) -> str:
    """Give the class that sets an arm's colour."""
    return f"a{arm % ACCENTS}"


def mark(arm: int, x: float, y: float) -> str:
    """Draw an arm's sign: its shape says the same as its colour."""
    # Colours come round after seven arms, shapes are then one further, so that no pair comes twice for 49 arms.
    shape = _MARKS[(arm + arm // ACCENTS) % len(_MARKS)]
    return f'<path class="dot {accent(arm)}" transform="translate({x:.1f} {y:.1f})" d="{shape}"/>'


def tag(arm: int, name: str) -> str:
    """Write an arm's name behind its sign, as HTML."""
    sign = f'<svg width="13" height="13" viewBox="-6.5 -6.5 13 13" aria-hidden="true">{mark(arm, 0, 0)}</svg>'
    return f'<span class="tag">{sign}{safe(name)}</span>'


def text(x: float, y: float, words: str, kind: str = "", *, anchor: str = "start") -> str:
    """Write text into a drawing."""
    extra = f' class="{kind}"' if kind else ""
    return f'<text{extra} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{safe(words)}</text>'


def figure(height: float, title: str, parts: Sequence[str]) -> str:
    """Wrap a drawing of full width."""
    head = f'<svg class="fig" role="img" width="{WIDE}" height="{height:.0f}" viewBox="0 0 {WIDE} {height:.0f}">'
    return "\n".join([head, f"<title>{safe(title)}</title>", *parts, "</svg>"])


def row_label(arm: int, name: str, y: float) -> str:
    """Write an arm's sign and name at the left of its row."""
    shown = fit(clean(name), LABELS - 30, 12)
    return f"<g><title>{safe(name)}</title>{mark(arm, 8, y)}{text(22, y + 4, shown, 'plain')}</g>"

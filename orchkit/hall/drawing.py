"""How the public objects show themselves: text and SVG, the same bytes each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchkit.draw import duration, picture_of, svg, text
from orchkit.model.events import Event
from orchkit.model.graph import Graph

__all__ = ["show", "show_run"]


def show(graph: Graph) -> dict[str, Any]:
    """Give the mime bundle of a workflow."""
    return _bundle(graph, None, "")


def show_run(graph: Graph, log: Sequence[Event], who: str) -> dict[str, Any]:
    """Give the mime bundle of a run, however it came to its log."""
    length = duration(log[-1].t / 1e6) if log else "not begun"
    return _bundle(graph, log, f"{who} · {length}")


def _bundle(graph: Graph, log: Sequence[Event] | None, caption: str) -> dict[str, Any]:
    picture = picture_of(graph, log, caption)
    return {"text/plain": text(picture), "image/svg+xml": svg(picture)}

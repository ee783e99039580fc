"""How the public objects show themselves: text and SVG, the same bytes each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchkit.draw import Picture, duration, picture_of, svg, text
from orchkit.model.events import Event
from orchkit.model.graph import Graph

__all__ = ["Drawing", "draw_lineage", "show", "show_run"]


def show(graph: Graph) -> dict[str, Any]:
    """Give the mime bundle of a workflow."""
    return _bundle(graph, None, "")


def show_run(graph: Graph, log: Sequence[Event], who: str) -> dict[str, Any]:
    """Give the mime bundle of a run, however it came to its log."""
    length = duration(log[-1].t / 1e6) if log else "not begun"
    return _bundle(graph, log, f"{who} · {length}")


class Drawing:
    """A picture that shows itself in a notebook, and as text elsewhere.

    Attributes
    ----------
    svg, text : str
    """

    def __init__(self, picture: Picture) -> None:
        self.svg = svg(picture)
        self.text = text(picture)

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": self.text, "image/svg+xml": self.svg}


def draw_lineage(
    graph: Graph, log: Sequence[Event], who: str, lineage: Sequence[tuple[str, str, Sequence[str]]]
) -> Drawing:
    """Draw what passed between the nodes of a run by the shared context."""
    return Drawing(picture_of(graph, log, f"{who} · shared context", lineage))


def _bundle(graph: Graph, log: Sequence[Event] | None, caption: str) -> dict[str, Any]:
    return Drawing(picture_of(graph, log, caption))._repr_mimebundle_()

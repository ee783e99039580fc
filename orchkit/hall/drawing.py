"""How the public objects show themselves: text and SVG, the same bytes each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchkit.draw import duration, picture_of, svg, text
from orchkit.model.graph import Graph

if TYPE_CHECKING:
    from orchkit.hall.run import Run

__all__ = ["show"]


def show(graph: Graph, run: Run | None) -> dict[str, Any]:
    """Give the mime bundle of a workflow, or of a run of it."""
    if run is None:
        picture = picture_of(graph)
    else:
        log = run.log
        seconds = log[-1].t / 1e6 if log else 0.0
        picture = picture_of(graph, log, f"run {run.id} · {run.status} · {duration(seconds)}")
    return {"text/plain": text(picture), "image/svg+xml": svg(picture)}

"""Paths of nodes in a log: a node's own name, or one of its fallbacks."""

from __future__ import annotations

from typing import Final

from orchkit.model.graph import Graph

__all__ = ["FALLBACK", "has_node", "node_of"]

FALLBACK: Final = "/fallback:"


def node_of(graph: Graph, path: str) -> int:
    """Give the index of the node that a path belongs to: ``draft/fallback:canned`` belongs to ``draft``."""
    index = graph.index.get(path)
    return graph.index[path.partition(FALLBACK)[0]] if index is None else index


def has_node(graph: Graph, path: str) -> bool:
    """Say whether there is a node that a path belongs to; a log may tell of others that are gone."""
    return path in graph.index or path.partition(FALLBACK)[0] in graph.index

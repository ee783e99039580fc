"""Paths of nodes in a log.

``draft`` is a node of the workflow itself, ``draft/fallback:canned`` a place within it. A node that holds a workflow
opens a scope for each attempt: ``enrich/extract``. What tells its scopes apart stands behind its name, and is left
out where it says nothing: the item of a map (``lookup[3]/fetch``), the attempt from the second on
(``enrich~2/extract``), the leg of a hedge (``enrich.1/extract``), the round of a loop (``polish#2/critic``). What a
body calls as it goes is told by what it is called with: ``agent/search(9f31c2ab)``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchkit.model.graph import Graph

__all__ = [
    "ESCALATE",
    "FALLBACK",
    "UNDO",
    "attempt_of",
    "children_of",
    "has_node",
    "node_of",
    "owner_of",
    "segment_of",
    "split_path",
    "static_path",
]

FALLBACK: Final = "/fallback:"
ESCALATE: Final = "/escalate:"
UNDO: Final = "/undo:"

_PLACE: Final = re.compile(r"/(?:fallback|escalate|undo):.*$", re.DOTALL)
_MARKS: Final = re.compile(r"(?:\[\d+\]|~\d+|\.\d+|#\d+)+(?=/)|\([^()/]*\)(?=/|$)")
_CHILD: Final = re.compile(r"\)(?=/|$)")
_ATTEMPT: Final = re.compile(r"~(\d+)[^/]*/$")
_TRIES: Final = re.compile(r"(?:~\d+|\.\d+)+(?=[#/])")


@lru_cache(maxsize=65_536)
def split_path(path: str) -> tuple[str, str]:
    """Split the path of an event's node into its scope's prefix and the node's own name.

    Examples
    --------
    >>> split_path("draft/fallback:canned"), split_path("polish#2/critic")
    (('', 'draft'), ('polish#2/', 'critic'))
    """
    scope, slash, name = _PLACE.sub("", path).rpartition("/")
    return scope + slash, name


def segment_of(
    name: str, item: int = -1, leg: int = 0, attempt: int = 1, round: int = 0, key: str | None = None
) -> str:
    """Name a scope that a node's attempt opens, within the scope that the node stands in.

    With a `key` it is what the scope's luck and effects are known by, and not its path.

    Examples
    --------
    >>> segment_of("enrich"), segment_of("lookup", item=3, attempt=2), segment_of("polish", round=2)
    ('enrich/', 'lookup[3]~2/', 'polish#2/')
    """
    marks = (
        (f"[{item if key is None else key}]", item >= 0),
        (f"~{attempt}", attempt > 1),
        (f".{leg}", leg > 0),
        (f"#{round}", round > 0),
    )
    return f"{name}{''.join(mark for mark, told in marks if told)}/"


def attempt_of(prefix: str) -> int:
    """Give the number of the attempt that has opened a scope.

    Examples
    --------
    >>> attempt_of("enrich/"), attempt_of("lookup[3]~2/inner~4#1/")
    (1, 4)
    """
    found = _ATTEMPT.search(prefix)
    return int(found.group(1)) if found else 1


def static_path(path: str) -> str:
    """Give the path by which worlds and faults know a node: without items, attempts, legs and rounds.

    Examples
    --------
    >>> static_path("lookup[3]~2/fetch/fallback:canned")
    'lookup/fetch/fallback:canned'
    """
    return _MARKS.sub("", path)


def children_of(path: str) -> list[str]:
    """Give the ids of what bodies have called that a path is of, or lies within, the innermost first.

    Examples
    --------
    >>> children_of("agent/enrich(9f31)/extract"), children_of("agent/walk(1)/search(2)"), children_of("agent")
    (['agent/enrich(9f31)'], ['agent/walk(1)/search(2)', 'agent/walk(1)'], [])
    """
    return [path[: found.end()] for found in _CHILD.finditer(path)][::-1]


def owner_of(prefix: str) -> str:
    """Give a scope's prefix as its effects are known by: without attempts and legs, so that a repeat is one effect.

    Examples
    --------
    >>> owner_of("lookup[3]~2/inner.1/")
    'lookup[3]/inner/'
    """
    return _TRIES.sub("", prefix)


def node_of(graph: Graph, path: str) -> int:
    """Give the index of the node of the workflow itself that a path belongs to, or lies within."""
    index = graph.index.get(path)
    return graph.index[static_path(f"{path}/").partition("/")[0]] if index is None else index


def has_node(graph: Graph, path: str) -> bool:
    """Say whether there is a node that a path belongs to; a log may tell of others that are gone."""
    if path in graph.index:
        return True
    *scopes, name = static_path(_PLACE.sub("", path)).split("/")
    for scope in scopes:
        body = graph.nodes[graph.index[scope]].body if scope in graph.index else None
        if body is None:
            return False
        graph = body
    return name in graph.index

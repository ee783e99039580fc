"""Problems: what is wrong or doubtful in a definition, and the error that says all of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchkit.errors import GraphError
from orchkit.model.places import Place, place_of
from orchkit.model.steps import Node

__all__ = ["Problem", "graph_error", "in_order"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong or doubtful.

    Parameters
    ----------
    text : str
        A sentence: what, with the value, and how to mend it.
    places : tuple of Place or Node or None
        Where it was written; the first tells its rank among the others.
    word : str
        What of those places it is about.
    """

    text: str
    places: tuple[Place | Node | None, ...] = ()
    word: str = ""

    @property
    def place(self) -> Place | None:
        """The first of its places."""
        return next(filter(None, map(_written, self.places)), None)

    def __str__(self) -> str:
        """Give the sentence, and below it what was written where."""
        quotes = (place.quote(self.word) for place in map(_written, self.places) if place is not None)
        return "\n      ".join(dict.fromkeys([self.text, *filter(None, quotes)]))


def _written(place: Place | Node | None) -> Place | None:
    if not isinstance(place, Node):
        return place
    return place.place if place.fn is None else place_of(place.fn)


def in_order(problems: Iterable[Problem], nodes: Sequence[Node]) -> list[Problem]:
    """Sort by the definition: what belongs to no node comes last."""
    rank: Mapping[str, int] = {node.name: i for i, node in enumerate(nodes)}

    def of(problem: Problem) -> int:
        first = problem.places[0] if problem.places else None
        return rank.get(first.name, len(rank)) if isinstance(first, Node) else len(rank)

    return sorted(problems, key=of)


def graph_error(name: str, problems: Sequence[Problem]) -> GraphError:
    """Say all that is wrong with a graph."""
    lines = "\n".join(f"  - {problem}" for problem in problems)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return GraphError(f"workflow {name!r} has {count}:\n{lines}", problems=tuple(one.text for one in problems))

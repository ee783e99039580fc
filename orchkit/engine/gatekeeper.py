"""The gatekeeper of one run: which of its attempts go through which gates, and what the gates are told of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from orchkit.engine.gateroom import Gated, Gates
from orchkit.model.events import Event
from orchkit.model.paths import static_path

if TYPE_CHECKING:
    from orchkit.engine.program import Program, Site

__all__ = ["Gatekeeper"]


class Gatekeeper:
    """Knows the sites of one run that are gated.

    After a restart those of what bodies call are known as soon as one calls them again, and what went through them
    before is told to their gates then. Until then a key that they share with others knows nothing of it.

    Parameters
    ----------
    gates : Gates
        What it shares with other runs, or has of its own.
    run_id : str
    sites : mapping of str to Site
        By their static paths.
    """

    __slots__ = ("_called", "_found", "_run_id", "_sites", "_unknown", "gates")

    def __init__(self, gates: Gates, run_id: str, sites: Mapping[str, Site]) -> None:
        self.gates = gates
        self._run_id = run_id
        self._sites = dict(sites)
        self._found: dict[str, Gated | None] = {}
        self._called: set[str] = set()
        self._unknown: list[tuple[int, Event]] = []

    def __bool__(self) -> bool:
        return bool(self._sites or self._unknown)

    def of(self, path: str) -> Gated | None:
        """Give the gates that attempts at a path go through, if they do."""
        if path not in self._found:
            site = self._sites.get(static_path(path))
            self._found[path] = None if site is None else self.gates.of(self._run_id, site.names, site.gates)
        return self._found[path]

    @property
    def wonders(self) -> bool:
        """Whether the log has attempts of which it does not know yet where they were made."""
        return bool(self._unknown)

    def learn(self, program: Program, base: int) -> None:
        """Take in the sites of what a body calls, and what the log has of them: all at once, in the log's order."""
        new = {site.path for site in program.sites} - self._called
        if not new:
            return
        self._called |= new
        self._sites |= program.gated
        self._found.clear()
        unknown, self._unknown = self._unknown, []
        for count, event in unknown:
            self.see(event, base, count)

    def see(self, event: Event, base: int, count: int) -> None:
        """Tell the gates of an event; `count` is how many the log has by then."""
        gated = self.of(event.node) if event.attempt else None
        if gated is not None:
            self.gates.see(self._run_id, base, event, gated, count)
        elif event.attempt and ")" in event.node and static_path(event.node) not in self._called:
            self._unknown.append((count, event))  # where it was made only the body that has called it can tell

    def see_all(self, events: Sequence[Event], base: int) -> None:
        """Tell the gates of a log, as far as this process has not told them already."""
        begin = self.gates.unseen(self._run_id)
        for count, event in enumerate(events[begin:], begin + 1):
            self.see(event, base, count)

    def release_of(self, started: Event) -> Callable[[], None] | None:
        """Give what frees the place of an attempt whose body runs on after it was given up."""
        gated = self.of(started.node)
        if gated is None:
            return None
        who = (self._run_id, started.node, started.item, started.generation, started.leg, started.attempt)
        return partial(self.gates.release, who, gated)

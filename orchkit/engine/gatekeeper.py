"""The gatekeeper of one run: which of its attempts go through which gates, and what the gates are told of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from orchkit.engine.gateroom import Gated, Gates
from orchkit.model.events import Event
from orchkit.model.paths import static_path

if TYPE_CHECKING:
    from orchkit.engine.program import Site

__all__ = ["Gatekeeper"]


class Gatekeeper:
    """Knows the sites of one run that are gated.

    Parameters
    ----------
    gates : Gates
        What it shares with other runs, or has of its own.
    run_id : str
    sites : mapping of str to Site
        By their static paths.
    """

    __slots__ = ("_found", "_run_id", "_sites", "gates")

    def __init__(self, gates: Gates, run_id: str, sites: Mapping[str, Site]) -> None:
        self.gates = gates
        self._run_id = run_id
        self._sites = dict(sites)
        self._found: dict[str, Gated | None] = {}

    def __bool__(self) -> bool:
        return bool(self._sites)

    def of(self, path: str) -> Gated | None:
        """Give the gates that attempts at a path go through, if they do."""
        if path not in self._found:
            site = self._sites.get(static_path(path))
            self._found[path] = None if site is None else self.gates.of(self._run_id, site.names, site.gates)
        return self._found[path]

    def learn(self, sites: Mapping[str, Site], base: int, events: Sequence[Event], count: int) -> None:
        """Take in sites that were not known before, and what the log has of them."""
        if sites:
            self._sites |= sites
            self._found.clear()
            for event in events:
                self.see(event, base, count)

    def see(self, event: Event, base: int, count: int) -> None:
        """Tell the gates of an event; `count` is how many the log has by then."""
        gated = self.of(event.node) if event.attempt else None
        if gated is not None:
            self.gates.see(self._run_id, base, event, gated, count)

    def see_all(self, events: Sequence[Event], base: int) -> None:
        """Tell the gates of a log, as far as this process has not told them already."""
        if self._sites:
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

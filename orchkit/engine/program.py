"""The program: a graph made ready to run, once for any number of runs.

Places where code can run are sites: a node's own function, and each step among its fallbacks. What can be worked
out beforehand (codecs, hashed paths, models, the faults that can hit) is worked out here, because a sweep runs a
program a million times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchkit.clock.dice import path_of
from orchkit.errors import DefinitionError
from orchkit.model.codec import Codec, codec_for
from orchkit.model.fallbacks import is_function
from orchkit.model.graph import Graph
from orchkit.model.paths import FALLBACK
from orchkit.model.policies import Fallback, Retry, Timeout, option_name
from orchkit.model.protocols import FaultPlan, Model, WorldModel
from orchkit.model.steps import Function, Node, describe

__all__ = ["Program", "Seat", "Site"]


@dataclass(frozen=True, slots=True)
class Site:
    """A place where code runs.

    Attributes
    ----------
    loads : tuple
        ``(parameter, source, codec, required, default)`` of each data input.
    faults : FaultPlan or None
        Those that can hit this place.
    final : bool
        Whether an attempt that completes here is the end of its instance too.
    """

    path: str
    node: Node
    function: Function | None
    loads: tuple[tuple[str, str, Codec, bool, Any], ...]
    item: Codec | None
    dump: Callable[[Any, str], Any]
    model: Model | None
    faults: FaultPlan | None
    dice_path: int
    timeout: int | None
    retry: Retry | None
    final: bool

    @property
    def aim(self) -> tuple[str, tuple[str, ...], str | None]:
        """What faults can target it by: path, tags, provider."""
        return _aim(self.path, self.node)

    @property
    def inline(self) -> bool:
        """Whether a plain function is called on the engine itself: routes decide in no time."""
        return self.node.kind == "route"


@dataclass(frozen=True, slots=True)
class Seat:
    """A node in a program: its own site and those of its fallbacks (a site, or a plain value's JSON)."""

    node: Node
    site: Site
    fallbacks: tuple[Site | tuple[Any], ...] = ()


class Program:
    """A graph with its world and faults, ready to run.

    Parameters
    ----------
    graph : Graph
    world : WorldModel, optional
        Models of nodes; without one every node runs its own body.
    faults : FaultPlan, optional

    Raises
    ------
    DefinitionError
        For a function that cannot be a step, or an annotation that pydantic cannot read.
    """

    def __init__(self, graph: Graph, world: WorldModel | None = None, faults: FaultPlan | None = None) -> None:
        self.graph = graph
        self.world = world
        self.faults = faults
        self.input_codec = codec_for(graph.input_type, graph.redact)
        self.seats = tuple(self._seat(node) for node in graph.nodes)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Every place where an attempt can be made, and so where a fault can strike."""
        seats = (seat for seat in self.seats if seat.node.kind != "approval")
        return tuple(site for seat in seats for site in (seat.site, *seat.fallbacks) if isinstance(site, Site))

    def _seat(self, node: Node) -> Seat:
        timeout: Timeout | None = node.policy("timeout")
        bound = None if timeout is None else int(timeout.seconds * 1e6 + 0.5)
        site = self._site(node.name, node, node.function, bound)
        policy: Fallback | None = node.policy("fallback")
        if policy is None:
            return Seat(node, site)
        return Seat(node, site, tuple(self._fallback(node, option, site) for option in policy.options))

    def _fallback(self, node: Node, option: Any, site: Site) -> Site | tuple[Any]:
        if not is_function(option):
            return (site.dump(option, node.name),)
        path = f"{node.name}{FALLBACK}{option_name(option)}"
        return self._site(path, node, describe(option, what=f"fallback of {node.name!r}"), None)

    def _site(self, path: str, node: Node, function: Function | None, timeout: int | None) -> Site:
        params = node.deps if function is None else function.params
        asked = (*params, function.item) if function is not None and function.item is not None else params
        codecs = {p.name: self._codec(p.annotation, f"parameter {p.name!r} of {path!r}") for p in asked}
        return Site(
            path=path,
            node=node,
            function=function,
            loads=tuple((p.name, p.source, codecs[p.name], p.required, p.default) for p in params),
            item=codecs[function.item.name] if function and function.item else None,
            dump=self._dump(node, function, path),
            model=self.world.model(path) if self.world else None,
            faults=self.faults.targets(*_aim(path, node)) if self.faults else None,
            dice_path=path_of(path),
            timeout=timeout,
            retry=node.policy("retry"),
            final=path == node.name and node.kind in ("step", "map") and not node.effect,
        )

    def _dump(self, node: Node, function: Function | None, path: str) -> Callable[[Any, str], Any]:
        if node.kind == "approval":
            return self._codec(node.answer, f"answer of {path!r}").dump
        assert function is not None
        return _dump_pick(node) if node.kind == "route" else self._codec(function.returns, f"result of {path!r}").dump

    def _codec(self, annotation: Any, whose: str) -> Codec:
        try:
            return codec_for(annotation, self.graph.redact)
        except DefinitionError as error:
            raise DefinitionError(f"{whose}: {error}") from error


def _aim(path: str, node: Node) -> tuple[str, tuple[str, ...], str | None]:
    # A fallback is not its node's provider: it is what is left when that one is down.
    return (path, node.tags, node.provider) if path == node.name else (path, (), None)


def _dump_pick(node: Node) -> Callable[[Any, str], Any]:
    def dump(value: Any, path: str) -> Any:
        picks = list(value) if isinstance(value, (list, tuple)) else [value]
        wrong = [pick for pick in picks if pick not in node.targets]
        if wrong or not picks:
            raise DefinitionError(
                f"route {node.name!r} picked {wrong[0] if wrong else picks!r}, which is not among its targets "
                f"{list(node.targets)}; add it to to=[...] or return one of them"
            )
        # The target's own name: a str enum's member equals it, but is no JSON.
        names = [node.targets[node.targets.index(pick)] for pick in picks]
        return names if isinstance(value, (list, tuple)) else names[0]

    return dump

"""The program: a graph made ready to run, once for any number of runs.

Places where code can run are sites: a node's own function, and each step among its fallbacks. What can be worked
out beforehand (codecs, hashed paths, models, the faults that can hit) is worked out here, because a sweep runs a
program a million times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from orchkit.clock.dice import path_of
from orchkit.errors import DefinitionError
from orchkit.model.codec import Codec, codec_for
from orchkit.model.fallbacks import beside, holds_as_undo, is_function
from orchkit.model.graph import Graph
from orchkit.model.nesting import result_type
from orchkit.model.paths import ESCALATE, FALLBACK, UNDO, static_path
from orchkit.model.policies import Breaker, Budget, Bulkhead, Escalate, Fallback, RateLimit, Retry, Timeout, option_name
from orchkit.model.protocols import FaultPlan, Model, WorldModel
from orchkit.model.steps import Function, Node, Param, describe

__all__ = ["Program", "Seat", "Shared", "Site"]

Shared = Budget | Breaker | Bulkhead | RateLimit
"""Policies that are shared by key, over nodes and runs."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place where code runs.

    Attributes
    ----------
    path : str
        By which worlds and faults know it.
    name, prefix : str
        What it is called in its own scope, and what stands before that in `path`.
    loads : tuple
        ``(parameter, source, codec, required, default)`` of each data input; of the codec only its ``load`` is used.
    faults : FaultPlan or None
        Those that can hit this place.
    final : bool
        Whether an attempt that completes here is the end of its instance too.
    inside : Inside or None
        The workflow that it goes through instead of calling a function.
    gates : tuple of policy
        Those that each attempt goes through before it starts, outermost first.
    names : tuple of (str, str)
        What each of them is shared by, with its kind.
    """

    path: str
    name: str
    prefix: str
    node: Node
    function: Function | None
    loads: tuple[tuple[str, str, Loads, bool, Any], ...]
    item: Codec | None
    dump: Callable[[Any, str], Any]
    model: Model | None
    faults: FaultPlan | None
    dice_path: int
    timeout: int | None
    retry: Retry | None
    final: bool
    inside: Inside | None = None
    gates: tuple[Shared, ...] = ()
    names: tuple[tuple[str, str], ...] = ()

    @property
    def aim(self) -> tuple[str, tuple[str, ...], str | None]:
        """What faults can target it by: path, tags, provider."""
        return self.path, self.node.tags, self.node.provider

    @property
    def is_undo(self) -> bool:
        """Whether it takes back what its node has done."""
        return UNDO in self.name

    @property
    def has_key(self) -> bool:
        """Whether what happens here is known outside by an idempotency key."""
        return self.node.effect or self.is_undo

    @property
    def inline(self) -> bool:
        """Whether a plain function is called on the engine itself: routes decide in no time."""
        return self.node.kind == "route" and not self.is_undo


@dataclass(frozen=True, slots=True)
class Inside:
    """A workflow that a node holds, ready to run.

    Attributes
    ----------
    until : callable or None
        Of a loop: whether a round's result is good enough.
    result : Codec
        Of what it delivers, as `until` gets it.
    """

    program: Program
    until: Callable[[Any, int], Any] | None
    result: Codec


@dataclass(frozen=True, slots=True)
class Seat:
    """A node in a program.

    Attributes
    ----------
    site : Site
        Its own.
    fallbacks : tuple
        Of each option a site, or a plain value's JSON.
    escalation : Seat or None
        Of the approval that is asked when all else has failed.
    undo : Site or None
        What takes back what the node has done.
    """

    node: Node
    site: Site
    fallbacks: tuple[Site | tuple[Any], ...] = ()
    escalation: Seat | None = None
    undo: Site | None = None


class Program:
    """A graph with its world and faults, ready to run.

    Parameters
    ----------
    graph : Graph
    world : WorldModel, optional
        Models of nodes; without one every node runs its own body.
    faults : FaultPlan, optional
    prefix : str
        The path of the node that holds the graph, with a slash behind it; "" for a run's own.

    Raises
    ------
    DefinitionError
        For a function that cannot be a step, or an annotation that pydantic cannot read.
    """

    def __init__(
        self, graph: Graph, world: WorldModel | None = None, faults: FaultPlan | None = None, prefix: str = ""
    ) -> None:
        self.graph = graph
        self.prefix = prefix
        self.world = world
        self.faults = faults
        self.input_codec = codec_for(graph.input_type, graph.redact)
        self.seats = tuple(self._seat(node) for node in graph.nodes)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Every place where an attempt can be made, and so where a fault can strike."""
        seats = (seat for seat in self.seats if seat.node.kind != "approval")
        own = [site for seat in seats for site in (seat.site, *seat.fallbacks, seat.undo) if isinstance(site, Site)]
        inner = [site for one in own if one.inside is not None for site in one.inside.program.sites]
        return (*own, *inner)

    def _seat(self, node: Node) -> Seat:
        site = self._site(node.name, node, node.function)
        fallback: Fallback | None = node.policy("fallback")
        escalate: Escalate | None = node.policy("escalate")
        options = () if fallback is None else tuple(self._fallback(node, one, site) for one in fallback.options)
        escalation = None if escalate is None else self._escalation(node, escalate)
        return Seat(node, site, options, escalation, None if node.undo is None else self._undo(node))

    def _escalation(self, node: Node, policy: Escalate) -> Seat:
        asked = self.graph.templates[policy.to]
        return Seat(asked, self._site(f"{node.name}{ESCALATE}{policy.to}", beside(asked), None))

    def _undo(self, node: Node) -> Site:
        name = option_name(node.undo)
        function = describe(node.undo, what=f"undo of {node.name!r}")
        known = {"input", node.name} | {dep.source for dep in node.deps}
        asked = [*(param.source for param in function.params), *(["item"] if function.item is not None else [])]
        wrong = [source for source in asked if source not in known and not (source == "item" and node.kind == "map")]
        if wrong or function.wants_error:
            raise DefinitionError(
                f"undo {name!r} of {node.name!r} asks for {(wrong or ['error'])[0]!r}; it gets what the node has come "
                f"to ({node.name}), the node's inputs by name ({', '.join(sorted(known - {node.name}))}), 'ctx' if it "
                "asks, and 'item' of a map"
            )
        holds_as_undo(node)
        site = self._site(f"{node.name}{UNDO}{name}", beside(node, node.undo), function)
        return replace(site, retry=site.retry or node.policy("retry") or Retry(3))

    def _fallback(self, node: Node, option: Any, site: Site) -> Site | tuple[Any]:
        if not is_function(option):
            return (site.dump(option, node.name),)
        name = f"{node.name}{FALLBACK}{option_name(option)}"
        return self._site(name, beside(node, option), describe(option, what=f"fallback of {node.name!r}"))

    def _site(self, name: str, node: Node, function: Function | None) -> Site:
        path = static_path(self.prefix + name) if node.dynamic else self.prefix + name
        own = name == node.name
        gates = tuple(policy for policy in node.policies if isinstance(policy, Shared))
        timeout: Timeout | None = node.policy("timeout")
        params = tuple(dep for dep in node.deps if dep.name != "over") if function is None else function.params
        asked = (*params, function.item) if function is not None and function.item is not None else params
        codecs = {p.name: self._codec(p.annotation, f"parameter {p.name!r} of {path!r}") for p in asked}
        return Site(
            path=path,
            name=name,
            prefix=self.prefix,
            node=node,
            function=function,
            loads=tuple((p.name, p.source, _loads(p, codecs[p.name]), p.required, p.default) for p in params),
            item=codecs[function.item.name] if function and function.item else None,
            dump=self._dump(node, function, path),
            model=self._model(path, node),
            faults=self.faults.targets(path, node.tags, node.provider) if self.faults else None,
            dice_path=path_of(self.prefix + name),  # each call of a step has luck of its own
            timeout=None if timeout is None else int(timeout.seconds * 1e6 + 0.5),
            retry=node.policy("retry"),
            final=own and _is_final(node),
            inside=self._inside(path, node) if own and node.body is not None else None,
            gates=gates,
            names=tuple((policy.kind, self._shared_by(policy, path, node)) for policy in gates),
        )

    def _model(self, path: str, node: Node) -> Model | None:
        if self.world is None:
            return None
        # Who answers an approval answers it also where a failed node escalates to it.
        return self.world.model(path) or (self.world.model(self.prefix + node.name) if ESCALATE in path else None)

    def _shared_by(self, policy: Shared, path: str, node: Node) -> str:
        if policy.key is not None:
            return policy.key
        if isinstance(policy, Budget):
            return "run"
        return node.provider or f"{static_path(self.graph.name)}/{path}"  # what a body calls is named by its input too

    @property
    def gated(self) -> dict[str, Site]:
        """The sites whose attempts go through gates, by their paths."""
        return {site.path: site for site in self.sites if site.gates}

    def _inside(self, path: str, node: Node) -> Inside:
        assert node.body is not None
        program = Program(node.body, self.world, self.faults, f"{path}/")
        return Inside(program, node.until, self._codec(result_type(node.body), f"result of {path!r}"))

    def _dump(self, node: Node, function: Function | None, path: str) -> Callable[[Any, str], Any]:
        if node.kind == "approval":
            return self._codec(node.answer, f"answer of {path!r}").dump
        if function is not None and UNDO in path:
            return self._codec(function.returns, f"result of {path!r}").dump
        if node.body is not None:
            return self._codec(result_type(node.body), f"result of {path!r}").dump
        assert function is not None
        return _dump_pick(node) if node.kind == "route" else self._codec(function.returns, f"result of {path!r}").dump

    def _codec(self, annotation: Any, whose: str) -> Codec:
        try:
            return codec_for(annotation, self.graph.redact)
        except DefinitionError as error:
            raise DefinitionError(f"{whose}: {error}") from error


def _is_final(node: Node) -> bool:
    after = node.effect or node.body is not None or node.policy("hedge") or node.policy("breaker")
    return node.kind in ("step", "map") and not after


class Loads(Protocol):
    """Something that rebuilds a value."""

    def load(self, json: Any, /) -> Any:
        """Rebuild a value from its JSON."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    codec: Codec

    def load(self, json: Any, /) -> Any:
        return self.codec.load(json[self.name])


def _loads(param: Param, codec: Codec) -> Loads:
    return _Field(param.field, codec) if param.field else codec


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

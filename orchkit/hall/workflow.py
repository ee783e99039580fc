"""The workflow: what users describe, draw, start and simulate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from orchkit.engine.program import Program
from orchkit.errors import DefinitionError
from orchkit.faults import Faults
from orchkit.hall import arguments
from orchkit.hall.opened import store_for
from orchkit.hall.options import checked_faults, node_from, restacked
from orchkit.hall.registry import register
from orchkit.hall.run import Run
from orchkit.hall.store import Store
from orchkit.model.build import build_graph
from orchkit.model.graph import Graph
from orchkit.model.merging import Rule, SharedModel
from orchkit.model.policies import Only, Policy, Retry, Timeout
from orchkit.model.steps import Node
from orchkit.runs import live
from orchkit.runs import simulate as simulation
from orchkit.sim.world import World

if TYPE_CHECKING:
    import os

    import networkx
    from pydantic import BaseModel

__all__ = ["Workflow"]

F = TypeVar("F", bound=Callable[..., Any])
OnError = Literal["fail", "skip"]
_durability = arguments.choice(live.DURABILITY)
_UNSET: Any = object()
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Workflow:
    """A graph of steps, described by decorators; edges come from parameter names.

    Parameters
    ----------
    name : str
        Runs are recorded under it.
    input : type, optional
        Annotation of what `start` takes; anything JSON without it.
    output : str, optional
        The node whose value is the result. Without it: the one sink; of alternatives that cannot both run, the one
        that did; else a dict of the sinks that completed.
    redact : iterable of str, optional
        Exact names, upper and lower case told apart, of fields (of models, dataclasses and TypedDicts; not their
        aliases) and keys of dicts. In whatever is recorded of a run (its input, results, answers), at any depth,
        "**********" stands for their values, as it does for each ``SecretStr`` and ``SecretBytes`` without being
        named. Where the type has no room for that text, None is recorded if the type takes it; else the value is
        refused with a `CodecError`. A None stays None. Neither the fields of a NamedTuple, which are recorded
        without their names, nor the columns of a frame are looked at. The messages of values that do not fit leave
        those values out.

    Raises
    ------
    DefinitionError
        If the name is empty, `output` is no name, or `redact` is not several texts.

    Notes
    -----
    Steps get what is recorded, so they get the asterisks too, also in the run that was given the secret: a step
    that needs the secret itself takes it from ``ctx.deps``, which `start` hands over by ``deps=`` and nobody records.

    Values are JSON by pydantic with the type that is annotated. Bytes are kept as they are, ``numpy.ndarray`` as npy,
    frames of pandas and tables of pyarrow as an Arrow IPC stream. Arrays, frames and tables need their annotation
    where they are made and where they are used, also inside containers and models. Nothing is pickled.

    Examples
    --------
    >>> import orchkit as ok
    >>> wf = ok.Workflow("hello", input=str)
    >>> @wf.step
    ... def greet(input: str) -> str:
    ...     return f"Hello {input}"
    >>> wf.simulate("Dana", world=ok.World()).result()
    'Hello Dana'

    >>> wf = ok.Workflow("login", input=dict, redact=("api_key",))
    >>> @wf.step
    ... def call(input: dict) -> list:
    ...     return list(input.values())
    >>> wf.simulate({"user": "dana", "api_key": "s3cret"}, world=ok.World()).result()
    ['dana', '**********']
    """

    def __init__(
        self, name: str, *, input: Any = _UNSET, output: str | None = None, redact: Iterable[str] = ()
    ) -> None:
        if not isinstance(name, str) or not name.strip():
            raise DefinitionError(f"Workflow({name!r}): give it a name; its runs are recorded under it")
        self.name = name
        self._input = object if input is _UNSET else input
        self._output = arguments.label(f"Workflow({name!r})", "output", output)
        self._redact = frozenset(arguments.tags(f"Workflow({name!r})", "redact", redact))
        self._nodes: dict[str, Node] = {}
        self._shared: SharedModel | None = None
        self._graph: Graph | None = None
        self._plain: Program | None = None
        register(self)

    # Describing

    @overload
    def step(self, fn: F, /) -> F: ...
    @overload
    def step(
        self,
        *,
        retry: Retry | int | None = None,
        timeout: Timeout | float | None = None,
        fallback: Any = None,
        effect: bool = False,
        on_error: OnError = "fail",
        after: Any = (),
        provider: str | None = None,
        tags: Iterable[str] = (),
        version: str | None = None,
    ) -> Callable[[F], F]: ...
    def step(self, fn: Any = None, /, **options: Any) -> Any:  # type: ignore[misc]  # the second overload has no fn
        """Add a unit of work; its parameters name where their values come from.

        Parameters
        ----------
        fn : callable
            Plain or async. Plain ones run in a thread live, inline in simulation.
        retry : Retry or int, optional
            An int is the number of attempts.
        timeout : Timeout or float, seconds, optional
            Bounds one attempt.
        fallback : Fallback, callable or JSON value, optional
            Delivered, and marked degraded, when the step has failed.
        effect : bool
            It touches the world: it gets an idempotency key and a row in the effect ledger, never acts before
            what led to it is durable, and is refused in simulations unless the world allows it.
        on_error : {"fail", "skip"}
            What its failure does to the run.
        after : str, callable, or several, optional
            Nodes that must have settled before it starts.
        provider : str, optional
            What it calls; faults can target it.
        tags : iterable of str
            Faults can target them.
        version : str, optional
            Takes the place of the code in the step's fingerprint.

        Returns
        -------
        callable
            The function itself, so that it can still be called and tested.

        Raises
        ------
        DefinitionError
            For options that make no sense. The graph as a whole is checked when it is first drawn or run.
        """
        return self._decorate("step", fn, options)

    def map(self, *, over: Any, limit: int | None = None, **options: Any) -> Callable[[F], F]:
        """Add a step that runs once for each element of a list; its result is a list in the order of the items.

        With ``on_error="skip"`` an item that fails is left out of the list, and the result is degraded.

        Parameters
        ----------
        over : str or callable
            The node whose list it goes over; the function gets each element as ``item``.
        limit : int, >= 1, optional
            How many items run at once.
        **options
            As in `step`; they hold for each item.

        Returns
        -------
        callable
            A decorator.

        Raises
        ------
        DefinitionError
            For options that make no sense.
        """
        own = {"over": arguments.name_of("map", "over", over), "limit": arguments.count("map", "limit", limit)}
        return lambda fn: self._decorate("map", fn, options, own)

    def route(self, *, to: Iterable[Any], **options: Any) -> Callable[[F], F]:
        """Add a step that picks what runs next; it returns the name of one of its targets, or a list of them.

        Parameters
        ----------
        to : iterable of str or callable
            The targets. What no route picks is skipped.
        **options
            As in `step`.

        Returns
        -------
        callable
            A decorator.

        Raises
        ------
        DefinitionError
            For options that make no sense.
        """
        if isinstance(to, str):
            raise DefinitionError(f"route(to={to!r}): give a list of targets, to=[{to!r}]")
        own = {"targets": arguments.nodes("route", "to", to)}
        return lambda fn: self._decorate("route", fn, options, own)

    def approval(
        self,
        name: str,
        *,
        answer: Any = bool,
        show: Any = None,
        prefill: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        after: Any = (),
        tags: Iterable[str] = (),
    ) -> None:
        """Add a question to a person; the run waits for the answer, and nothing else does.

        Parameters
        ----------
        name : str
            Its node name; steps that name it as a parameter get the answer.
        answer : type
            What an answer must be: a pydantic model, or a plain type.
        show : str or callable, optional
            The node whose value is to be judged.
        prefill : mapping of str to str or callable, optional
            Fields of the answer and the nodes whose values they start from.
        timeout : float, seconds, > 0, <= 1e9, optional
            How long the question stays open, from when it is asked. Without an answer in time the value is None.
        after : str, callable, or several, optional
            Nodes that must have settled before it is asked.
        tags : iterable of str
            Kept with the node; faults hit steps only.

        Raises
        ------
        DefinitionError
            For arguments that make no sense. Whether the nodes are there is checked with the graph.
        """
        if not isinstance(name, str):
            raise DefinitionError(f"approval({name!r}): give it a name; steps get the answer by it")
        where = f"approval({name!r})"
        self._add(
            Node(
                name,
                "approval",
                answer=answer,
                show=None if show is None else arguments.name_of(where, "show", show),
                prefill=arguments.fields(where, "prefill", prefill),
                timeout=arguments.seconds(where, "timeout", timeout),
                after=arguments.nodes(where, "after", after),
                tags=arguments.tags(where, "tags", tags),
            )
        )

    def context(self, model: type[BaseModel], *, merge: Mapping[str, Rule] | None = None) -> None:
        """Give the runs a shared context: steps read it by ``ctx.shared`` and write to it by ``ctx.update``.

        A step sees the writes of its ancestors: of the sources of its inputs, of ``after=``, of the route that
        picked it, and of theirs. They are folded in the order of the graph and of the items, never in order of
        completion, so no outcome depends on timing; items of a map do not see each other's. What an attempt writes
        is recorded with its success: failed attempts write nothing.

        Parameters
        ----------
        model : type
            A pydantic model; a run begins with the defaults of its fields, so each has one.
        merge : mapping of str to callable, optional
            Per field, how a write merges with what is there: ``ok.append``, ``ok.add``, or a function
            ``rule(old, new)`` that is pure and associative. A field without a rule is replaced; two steps that
            write one, neither before the other, end the run in `ContextConflict`.

        Raises
        ------
        DefinitionError
            Naming the field that has no default, or whose rule makes no sense.

        Notes
        -----
        In simulation bodies write; nodes that the world models run no body, and so write nothing. A target of
        several routes that pick it both sees the writes behind the one that came first. A change of the model does
        not count as a change of the workflow when a run is resumed.

        Examples
        --------
        >>> import orchkit as ok
        >>> from pydantic import BaseModel
        >>> class Case(BaseModel):
        ...     notes: list[str] = []
        ...     spent: float = 0.0
        >>> wf = ok.Workflow("case", input=str)
        >>> wf.context(Case, merge={"notes": ok.append, "spent": ok.add})
        >>> @wf.step
        ... async def read(input: str, ctx: ok.Context) -> int:
        ...     ctx.update(notes=[f"read {input}"], spent=0.25)
        ...     return len(input)
        >>> @wf.step
        ... async def judge(read: int, ctx: ok.Context) -> str:
        ...     ctx.update(notes=["judged"], spent=0.5)
        ...     return " and ".join(ctx.shared.notes)
        >>> run = wf.simulate("a letter", world=ok.World())
        >>> run.result(), run.shared
        ('read a letter and judged', Case(notes=['read a letter', 'judged'], spent=0.75))
        """
        self._shared = SharedModel(model, {} if merge is None else merge, self._redact)
        self._graph = None

    def _decorate(self, kind: Any, fn: Any, options: Mapping[str, Any], own: Mapping[str, Any] = _NOTHING) -> Any:
        if fn is None:
            return lambda later: self._decorate(kind, later, options, own)
        if not callable(fn) or not getattr(fn, "__name__", ""):
            raise DefinitionError(f"@wf.{kind}: {fn!r} is not a function; write it above a def")
        if fn.__name__ == "<lambda>":
            raise DefinitionError(f"@wf.{kind}: a lambda has no name to resume by; write it with def")
        self._add(node_from(kind, fn, options, own))
        return fn

    def _add(self, node: Node) -> None:
        before = self._nodes.get(node.name)
        if before is not None and (before.fn is None) != (node.fn is None):
            raise DefinitionError(
                f"{node.name!r} is {_a(before)} already and cannot become {_a(node)}: give one of them another name, "
                "or run the cell that makes the workflow again"
            )
        self._nodes[node.name] = node  # a cell that runs again replaces its node, in place
        self._graph = None

    def using(self, **stacks: Policy | Only | Iterable[Policy] | None) -> Workflow:
        """Give a variant with other policies; this workflow stays as it is.

        Parameters
        ----------
        **stacks
            By node: a policy, or several, replace those of their kind and keep the rest; ``ok.only(...)`` drops
            the rest; None removes all.

        Returns
        -------
        Workflow

        Raises
        ------
        DefinitionError
            For an unknown node, or something that is no policy.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("hello", input=str)
        >>> @wf.step(retry=ok.Retry(3))
        ... def greet(input: str) -> str: ...
        >>> wf.using(greet=ok.Timeout(5)).policies("greet")
        (Retry(3), Timeout(5))
        """
        variant = copy(self)  # not made anew: a resume by name means the workflow, not its latest variant
        variant._nodes = dict(self._nodes)
        variant._graph = None
        for name, stack in stacks.items():
            node = variant._nodes.get(name)
            if node is None:
                raise DefinitionError(f"using({name}=...): no such node; there are {', '.join(self._nodes)}")
            variant._nodes[name] = replace(node, policies=restacked(name, node.policies, stack))
        return variant

    def policies(self, name: str) -> tuple[Policy, ...]:
        """Give a node's policies, outermost first.

        Parameters
        ----------
        name : str
            The node's.

        Returns
        -------
        tuple of Policy

        Raises
        ------
        DefinitionError
            If there is no such node.
        """
        if name not in self._nodes:
            raise DefinitionError(f"policies({name!r}): no such node; there are {', '.join(self._nodes)}")
        return self._nodes[name].policies

    # Looking

    def checked(self) -> Graph:
        """Give the checked graph.

        Raises
        ------
        GraphError
            With all that is wrong, at once.
        """
        if self._graph is None:
            self._graph = build_graph(
                self.name, self._nodes.values(), self._input, self._output, self._shared, self._redact
            )
        return self._graph

    def graph(self) -> networkx.DiGraph[str]:
        """Give the graph as a networkx ``DiGraph``: nodes with ``kind``, edges with ``kind``.

        Returns
        -------
        networkx.DiGraph
            With the workflow's input as the node ``input``, where one takes it.

        Examples
        --------
        >>> import networkx as nx, orchkit as ok
        >>> wf = ok.Workflow("hello", input=str)
        >>> @wf.step
        ... def greet(input: str) -> str: ...
        >>> @wf.step
        ... def send(greet: str) -> str: ...
        >>> sorted(nx.ancestors(wf.graph(), "send"))
        ['greet', 'input']
        """
        import networkx as nx

        checked = self.checked()
        drawn: networkx.DiGraph[str] = nx.DiGraph(name=self.name)
        edges = list(checked.edges())
        if any(edge.source == "input" for edge in edges):
            drawn.add_node("input", kind="input")
        for node in checked.nodes:
            drawn.add_node(node.name, kind=node.kind)
        for edge in edges:
            drawn.add_edge(edge.source, edge.target, kind=edge.kind)
        return drawn

    def svg(self) -> str:
        """Draw the graph as SVG: offline, the same bytes each time."""
        return str(self._repr_mimebundle_()["image/svg+xml"])

    def __repr__(self) -> str:
        return f"Workflow({self.name!r}, {len(self._nodes)} nodes)"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from orchkit.hall.drawing import show  # only a notebook draws

        return show(self.checked())

    # Running

    def start(
        self,
        input: Any,
        *,
        store: str | os.PathLike[str] | Store = "orchkit.duckdb",
        durability: str = "group",
        deps: object = None,
        faults: Faults | None = None,
    ) -> Run:
        """Start a live run; returns as soon as its admission is durable.

        Inside an async step it returns before that, because waiting would block the engine that has to finish it.

        Parameters
        ----------
        input : object
            What the workflow's ``input=`` describes.
        store : path or Store
            Where the run is recorded.
        durability : {"group", "strict", "exit", "memory"}
            "group": before an effect acts, all that led to it is durable, and its outcome is before any other step
            sees it; so are answers and the end; the rest follows within milliseconds. "strict": every outcome is
            durable before a successor starts. "exit": nothing is durable until the run ends or is suspended, and
            then all of it is. "memory": nothing survives the process, and no file is written.
        deps : object
            Clients and secrets, as ``ctx.deps``; never recorded.
        faults : Faults, optional
            What goes wrong on purpose.

        Returns
        -------
        Run

        Raises
        ------
        GraphError
            If the workflow cannot run.
        DefinitionError
            If the input does not fit, or another argument makes no sense.
        StoreError
            If the store cannot take the run; nothing has run then.
        """
        _durability("start", "durability", durability)
        program = self._program(checked_faults(faults))
        simulation.refuse_misses(program)
        value = simulation.dump_input(program, input)
        kept = store_for(store, memory=durability == "memory")
        return Run(live.start(program, value, store=kept, durability=durability, deps=deps))

    def _program(self, faults: Faults | None) -> Program:
        graph = self.checked()
        if faults is not None:
            return Program(graph, None, faults)
        if self._plain is None or self._plain.graph is not graph:
            self._plain = Program(graph)
        return self._plain

    def simulate(
        self,
        input: Any,
        *,
        world: World,
        faults: Faults | None = None,
        seed: int = 0,
        durability: str = "memory",
    ) -> Run:
        """Run once in virtual time; blocks, and works under a running loop.

        Parameters
        ----------
        input : object
        world : World
            How nodes and people behave.
        faults : Faults, optional
        seed : int
            Decides all luck: the same seed gives the same log, event for event.
        durability : {"memory", "exit", "group", "strict"}
            What an injected crash leaves: "memory" and "exit" nothing, so the run is lost; with the others it
            goes on from its log, at no cost of time.

        Returns
        -------
        Run
            Finished.

        Raises
        ------
        SimulationError
            If something real could happen by accident, before anything runs.
        DefinitionError
            If the input does not fit, or another argument makes no sense.
        """
        if not isinstance(world, World):
            raise DefinitionError(f"simulate(world={world!r}): give an ok.World(...)")
        _durability("simulate", "durability", durability)
        seed = arguments.seed("simulate", "seed", seed)
        program = simulation.prepare(self.checked(), world, checked_faults(faults))
        simulation.refuse_misses(program)
        value = simulation.dump_input(program, input)
        return Run(simulation.simulate(program, value, seed=seed, survive=durability in ("group", "strict")))


def _a(node: Node) -> str:
    return f"{'an' if node.kind == 'approval' else 'a'} {node.kind}"

"""The definition: what a workflow is made of, as its decorators fill it in."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from orchkit.errors import DefinitionError, GraphError, GraphWarning
from orchkit.hall import arguments
from orchkit.hall.holding import Holding, held
from orchkit.hall.options import node_from, node_of, restacked
from orchkit.model.build import build_graph
from orchkit.model.doubts import doubts
from orchkit.model.graph import Graph
from orchkit.model.merging import Rule, SharedModel
from orchkit.model.places import Place, here
from orchkit.model.policies import (
    Breaker,
    Budget,
    Bulkhead,
    Deadline,
    Escalate,
    Hedge,
    Only,
    Policy,
    RateLimit,
    Retry,
    Timeout,
)
from orchkit.model.problems import Problem
from orchkit.model.steps import Node
from orchkit.model.wording import nearest

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Definition"]

F = TypeVar("F", bound=Callable[..., Any])
OnError = Literal["fail", "skip"]
_CHECKING: ContextVar[tuple[Definition, ...]] = ContextVar("orchkit_checking", default=())  # by this thread
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Definition(Holding):
    """Nodes, their policies and a shared context; it knows nothing of runs, and users have it as part of `Workflow`.

    Parameters
    ----------
    name : str
    input : type
    output : str or None
    redact : iterable of str
    """

    def __init__(self, name: str, *, input: Any, output: str | None, redact: Iterable[str]) -> None:
        if not isinstance(name, str) or not name.strip():
            raise DefinitionError(f"Workflow({name!r}): give it a name; its runs are recorded under it")
        self.name = name
        self._input = input
        self._output = arguments.label(f"Workflow({name!r})", "output", output)
        self._redact = frozenset(arguments.tags(f"Workflow({name!r})", "redact", redact))
        self._nodes: dict[str, Node] = {}
        self._shared: SharedModel | None = None
        self._graph: Graph | None = None
        self._doubts: tuple[Problem, ...] = ()
        self._said: set[str] = set()
        self._place = here("orchkit.hall")

    @overload
    def step(self, fn: F, /) -> F: ...
    @overload
    def step(
        self,
        *,
        retry: Retry | int | None = None,
        timeout: Timeout | float | None = None,
        fallback: Any = None,
        deadline: Deadline | float | None = None,
        hedge: Hedge | float | None = None,
        breaker: Breaker | None = None,
        bulkhead: Bulkhead | int | None = None,
        rate_limit: RateLimit | None = None,
        budget: Budget | None = None,
        escalate: Escalate | str | None = None,
        effect: bool = False,
        undo: Any = None,
        on_error: OnError = "fail",
        after: Any = (),
        provider: str | None = None,
        tags: Iterable[str] = (),
        version: str | None = None,
        writes: Iterable[str] | None = None,
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
        deadline : Deadline or float, seconds, optional
            Bounds the step as a whole: all its attempts, waits, queues and hedges.
        hedge : Hedge or float, seconds, optional
            Starts a second leg when there is no answer by then.
        breaker : Breaker, optional
            Stops asking after so many failures in a row, until a probe succeeds.
        bulkhead : Bulkhead or int, optional
            An int is how many attempts may be under way at once; others wait in order of arrival.
        rate_limit : RateLimit, optional
            How many attempts may begin in a second; others wait in order of arrival.
        budget : Budget, optional
            Lets no attempt begin when enough has been spent.
        escalate : Escalate or str, optional
            The approval that is asked when all of the above have failed.
        effect : bool
            It touches the world: it gets an idempotency key and a row in the effect ledger, never acts before
            what led to it is durable, and is refused in simulations unless the world allows it.
        undo : callable or ok.step, optional
            Takes back what the step has done, if the run fails later: it gets what the step has come to by the step's
            name, the step's inputs by theirs, and ``ctx`` if it asks. See Notes.
        on_error : {"fail", "skip"}
            What its failure does to the run.
        after : str, callable, or several, optional
            Nodes that must have settled before it starts.
        provider : str, optional
            What it calls; faults can target it, and breakers, bulkheads and rate limits are shared by it.
        tags : iterable of str
            Faults can target them.
        version : str, optional
            Takes the place of the code in the step's fingerprint.
        writes : iterable of str, optional
            The fields of the shared context that it may write, and no others. Without it the source is looked at
            for ``ctx.update(field=...)``, to warn of writers that nothing orders.

        Returns
        -------
        callable
            The function itself, so that it can still be called and tested.

        Raises
        ------
        DefinitionError
            For options that make no sense. The graph as a whole is checked when it is first drawn or run.

        Notes
        -----
        Policies act in one order, however they are written. Outermost first: escalate, fallback, deadline, hedge,
        retry; then round each single attempt: budget, breaker, bulkhead, rate limit, timeout. What one of these
        rejects is not retried and does reach the fallback.
        When a run fails, what is done and has an ``undo=`` is undone before it ends: one after the other, the last that
        was done first, items of maps and steps of workflows within it included. An undo is retried by the step's own
        ``retry=``, else three times in all, under an idempotency key of its own; worlds and faults know it as
        ``charge/undo:refund``. One that fails for good is recorded and told by the error, and the rest is still
        undone. A run that somebody cancels keeps what it did, unless by ``run.cancel(undo=True)``. When the run is
        resumed later, what was undone is done again, under a key that ends in ``#2``. Another attempt at a workflow
        within it undoes nothing, for it repeats what was done under the same keys, and nor does a fallback. What an
        undo writes to the shared context is dropped.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("order", input=str)
        >>> def refund(charge: str) -> None:
        ...     print("refund", charge)
        >>> @wf.step(effect=True, undo=refund)
        ... def charge(input: str) -> str:
        ...     return f"receipt of {input}"
        >>> @wf.step
        ... def ship(charge: str) -> str:
        ...     raise ValueError("out of stock")
        >>> world = ok.World({"charge/undo:refund": ok.real}, charge=ok.real)
        >>> run = wf.simulate("Dana", world=world)
        refund receipt of Dana
        >>> run.status
        'failed'
        """
        return self._decorate("step", fn, options)

    @overload
    def map(self, *, over: Any, limit: int | None = None, body: None = None, **options: Any) -> Callable[[F], F]: ...
    @overload
    def map(
        self, name: str | None = None, /, *, over: Any, body: Definition, limit: int | None = None, **options: Any
    ) -> None: ...
    def map(  # type: ignore[misc]  # the first overload takes no name
        self,
        name: str | None = None,
        /,
        *,
        over: Any,
        limit: int | None = None,
        body: Any = None,
        **options: Any,
    ) -> Any:
        """Add a step that runs once for each element of a list; its result is a list in the order of the items.

        With ``on_error="skip"`` an item that fails is left out of the list, and the result is degraded.

        Parameters
        ----------
        name : str, optional
            With `body`, the node's; without it, it bears the body's.
        over : str or callable
            The node whose list it goes over; the function gets each element as ``item``.
        limit : int, >= 1, optional
            How many items run at once.
        body : Workflow, optional
            What each item goes through, as its input, instead of one function. Nothing is decorated then.
        **options
            As in `step`; they hold for each item.

        Returns
        -------
        callable or None
            A decorator; None with `body`.

        Raises
        ------
        DefinitionError
            For options that make no sense.
        """
        own = {"over": arguments.name_of("map", "over", over), "limit": arguments.count("map", "limit", limit)}
        if body is not None:
            body_ = held(f"map({name!r})", "body", body)
            self._add(node_of("map", body_.name if name is None else name, options, own | {"workflow": body_}))
            return None
        if name is not None:
            raise DefinitionError(f"map({name!r}, over=...): a map bears its function's name; a name goes with body=")
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
        if node.fn is None:
            node = replace(node, place=here("orchkit.hall"))
        self._nodes[node.name] = node  # a cell that runs again replaces its node, in place
        self._graph = None
        self._said = set()

    def using(self, **stacks: Policy | Only | Iterable[Policy] | None) -> Self:
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
        >>> wf.using(greet=[ok.Retry(2), ok.Hedge(after=15)]).policies("greet")
        (Hedge(15), Retry(2))
        """
        variant = copy(self)  # not made anew: a resume by name means the workflow, not its latest variant
        variant._nodes = dict(self._nodes)
        variant._graph = None
        for name, stack in stacks.items():
            node = variant._nodes.get(name)
            if node is None:
                raise DefinitionError(f"using({name}=...): no such node; {nearest(name, self._nodes)}")
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

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("hello", input=str)
        >>> @wf.step(retry=3, timeout=20.0)
        ... def greet(input: str) -> str: ...
        >>> wf.policies("greet")
        (Retry(3), Timeout(20))
        """
        if name not in self._nodes:
            raise DefinitionError(f"policies({name!r}): no such node; {nearest(name, self._nodes)}")
        return self._nodes[name].policies

    def checked(self) -> Graph:
        """Give the checked graph.

        Raises
        ------
        GraphError
            With all that is wrong, at once.
        """
        held = _CHECKING.get()
        if any(one is self for one in held):
            raise GraphError(
                f"workflow {self.name!r} holds itself; repeat by wf.loop, which is bounded",
                problems=(f"workflow {self.name!r} holds itself; repeat by wf.loop, which is bounded",),
            )
        token = _CHECKING.set((*held, self))
        try:
            if self._graph is None or any(self._is_old(node) for node in self._graph.nodes):
                graph = build_graph(
                    self.name, self._nodes.values(), self._input, self._output, self._shared, self._redact, self._place
                )
                # Kept before anybody is warned: where warnings are errors, the second call gives the graph.
                self._graph, self._doubts = graph, doubts(graph)
                self._warn()
        finally:
            _CHECKING.reset(token)
        return self._graph

    @staticmethod
    def _is_old(node: Node) -> bool:
        return node.workflow is not None and node.workflow.checked() is not node.body

    def warnings(self) -> list[str]:
        """Give what is doubtful in the graph, a sentence each; it runs all the same.

        Python warns of them too, by `GraphWarning`, once for each definition, when it is first drawn or run.

        Returns
        -------
        list of str

        Raises
        ------
        GraphError
            With all that is wrong, at once.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("hello", input=str)
        >>> @wf.step
        ... def greet(input: str) -> str: ...
        >>> wf.warnings()
        []
        """
        self.checked()
        return [doubt.text for doubt in self._doubts]

    def _warn(self) -> None:
        new = [doubt for doubt in self._doubts if doubt.text not in self._said]
        self._said.update(doubt.text for doubt in new)  # of variants too: each would only say it again
        for doubt in new:
            # At the line that is to be changed: whoever draws or runs the workflow may be a notebook's own code.
            place = doubt.place or self._place or Place("<orchkit>", 1)
            warning = GraphWarning(f"workflow {self.name!r}: {doubt}")
            warnings.warn_explicit(warning, GraphWarning, place.file, place.line)


def _a(node: Node) -> str:
    return f"{'an' if node.kind == 'approval' else 'a'} {node.kind}"

"""The definition: what a workflow is made of, as its decorators fill it in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from orchkit.errors import DefinitionError
from orchkit.hall import arguments
from orchkit.hall.holding import Holding, held
from orchkit.hall.maps import own_of_map
from orchkit.hall.options import node_from, node_of, restacked
from orchkit.model.merging import Rule, SharedModel
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
from orchkit.model.steps import ITEM, Node
from orchkit.model.wording import nearest

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Definition"]

F = TypeVar("F", bound=Callable[..., Any])
OnError = Literal["fail", "skip"]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Definition(Holding):
    """Nodes, their policies and a shared context; it knows nothing of runs, and users have it as part of `Workflow`."""

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
    def map(
        self,
        *,
        over: Any,
        limit: int | None = None,
        key: Callable[[Any], Any] | None = None,
        body: None = None,
        quorum: int | float | None = None,
        stream: bool = False,
        **options: Any,
    ) -> Callable[[F], F]: ...
    @overload
    def map(
        self,
        name: str | None = None,
        /,
        *,
        over: Any,
        limit: int | None = None,
        key: Callable[[Any], Any] | None = None,
        body: Definition,
        quorum: int | float | None = None,
        stream: bool = False,
        **options: Any,
    ) -> None: ...
    def map(  # type: ignore[misc]  # the first overload takes no name
        self,
        name: str | None = None,
        /,
        *,
        over: Any,
        limit: int | None = None,
        key: Any = None,
        body: Any = None,
        quorum: Any = None,
        stream: Any = False,
        **options: Any,
    ) -> Any:
        """Add a step that runs once for each element of a list; its result is a list in the order of the items.

        Parameters
        ----------
        name : str, optional
            With `body`, the node's; without it, it bears the body's.
        over : str or callable
            The node whose list it goes over; the function gets each element as ``item``.
        limit : int, >= 1, optional
            How many items run at once.
        key : callable, optional
            ``key(item)``, a text or a whole number that only this item has: luck and effects go by it instead of by
            the index, so that another order of the list leaves each item's as they are. Plain, quick and pure; asked
            once for each item, before the first begins (of a streaming map, before it begins). A failing key, and two
            items with one key, fail the map.
        body : Workflow, optional
            What each item goes through, as its input, instead of one function. Nothing is decorated then.
        quorum : int, >= 1, or float, 0 < quorum < 1, optional
            How many items are enough, or which share of the list, rounded up: as soon as so many have delivered, what
            is in flight is cancelled in the order of the items, what has not begun never begins, and the result is
            what has been delivered, in item order. Failures do not matter as long as the quorum can be met; when it
            cannot, the map fails in ``QuorumMissed``, a list that is too short at once. An empty list gives an empty
            one.
        stream : bool
            Of a map over a map, or over an approval for each item: an item begins as soon as its own source has
            delivered, and not when the whole list is there. It bears its source's index. The other inputs are awaited
            as usual.
        **options
            As in `step`; they hold for each item. With ``on_error="skip"`` an item that fails is left out of the
            list, with ``on_error="collect"`` an `ItemFailed` stands in its place; the result is degraded.

        Returns
        -------
        callable or None
            A decorator; None with `body`.

        Raises
        ------
        DefinitionError
            For options that make no sense.

        Notes
        -----
        With a quorum, ``on_error`` says what its being missed does to the run, ``"fail"`` or ``"skip"``. What an item
        of a streaming map sees of the shared context came before the source map, or was written by its own source;
        when an item that it has used starts again, all of the streaming map does.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("offers", input=list)
        >>> @wf.map(over="input", on_error="skip")
        ... async def ask(item: int, ctx: ok.Context) -> str:
        ...     await ctx.sleep(item)
        ...     return f"offer after {item} s"
        >>> @wf.map(over="ask", stream=True, quorum=2)
        ... def check(item: str) -> str:
        ...     return item.replace("offer", "good")
        >>> wf.simulate([3, 60, 1, 2], world=ok.World()).result()
        ['good after 1 s', 'good after 2 s']
        """
        where = "map" if name is None else f"map({name!r})"
        given = {"over": over, "limit": limit, "key": key, "quorum": quorum, "stream": stream}
        own = own_of_map(where, options, given)
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
        over: Any = None,
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
            The node whose value is to be judged; with `over`, ``"item"`` is the element, and the default.
        over : str or callable, optional
            The node whose list it goes over: each element is a question of its own, ``review[3]``, all of them are
            open at once, and the value is the list of the answers in item order, None for one that came too late.
        prefill : mapping of str to str or callable, optional
            Fields of the answer and the nodes whose values they start from; with `over` also ``"item"``.
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

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("letters", input=list)
        >>> wf.approval("review", over="input", answer=bool)
        >>> @wf.step
        ... def send(input: list, review: list[bool]) -> list:
        ...     return [text for text, good in zip(input, review) if good]
        >>> def judge(inputs: dict, rng: object) -> bool:
        ...     return inputs["item"] != "a threat"
        >>> wf.simulate(["a thank-you", "a threat"], world=ok.World(review=ok.person(60, answers=judge))).result()
        ['a thank-you']
        """
        if not isinstance(name, str):
            raise DefinitionError(f"approval({name!r}): give it a name; steps get the answer by it")
        where = f"approval({name!r})"
        show = ITEM if show is None and over is not None else show
        self._add(
            Node(
                name,
                "approval",
                answer=answer,
                show=None if show is None else arguments.name_of(where, "show", show),
                over=None if over is None else arguments.name_of(where, "over", over),
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

"""What a step may ask of its run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchkit.clock.kernel import TIMER
from orchkit.errors import CodecError, DefinitionError
from orchkit.model.codec import codec_for
from orchkit.model.policies import LONGEST, is_bound
from orchkit.model.shared import SharedState, SharedView

if TYPE_CHECKING:
    import random  # noqa: TID251 - a name for the type checker; the generator is made by the dice

    from orchkit.engine.calling import Calls
    from orchkit.engine.instance import Leg
    from orchkit.engine.program import Site

__all__ = ["Context"]


class Context:
    """What a step gets as ``ctx``: who it is, what time it is, and luck of its own.

    Attributes
    ----------
    run_id, node : str
    item : int or None
        Index in the map's list.
    generation : int, from 1
        Which fresh start of this step it is.
    attempt : int, from 1
    leg : int, from 0
    idempotency_key : str
        Names this effect to its receiver: the same for every attempt, leg and resume of this instance. In a map with
        ``key=`` it holds the item's key in place of its index.
    deps : object
        What ``wf.start(..., deps=)`` was given; never recorded.

    Examples
    --------
    >>> import orchkit as ok
    >>> wf = ok.Workflow("hello", input=str)
    >>> @wf.step
    ... async def greet(input: str, ctx: ok.Context) -> str:
    ...     await ctx.sleep(30)
    ...     return f"{input} at {ctx.now():.0f} s"
    >>> wf.simulate("good morning", world=ok.World()).result()
    'good morning at 30 s'
    """

    _view: SharedView | None = None
    _emitted = 0
    _writes: tuple[str, ...] | None = None

    def __init__(self, leg: Leg, site: Site, key: str, attempt: int, due: int | None) -> None:
        inst = leg.inst
        self._execution = execution = inst.execution
        self._leg = leg
        self._site = site
        self._due = due
        self._asking = 0
        self._asking_since = 0
        self._calls: Calls | None = None
        self.run_id = execution.run_id
        self.node = inst.scope.path(site)
        self.item = None if inst.item < 0 else inst.item
        self.leg = leg.number
        self.generation = inst.generation
        self.attempt = attempt
        self.idempotency_key = f"{execution.run_id}:{key}"
        self.deps = execution.deps
        self.cost = 0.0
        self.tokens = 0

    def now(self) -> float:
        """Give the seconds since the run started, in the run's own time."""
        return self._execution.elapsed() / 1e6

    @property
    def remaining(self) -> float | None:
        """Seconds to the nearest deadline: of this attempt, its node or the run; None if there is none."""
        execution, node = self._execution, self._leg.inst.due
        now = execution.elapsed()
        still = now - self._asking_since if self._asking else 0
        own = None if self._due is None else self._due + still
        bounds = (own, None if node is None else node - execution.base, execution.state.deadline)
        nearest = min((bound for bound in bounds if bound is not None), default=None)
        return None if nearest is None else max(0.0, (nearest - now) / 1e6)

    async def sleep(self, seconds: float) -> None:
        """Sleep in the run's own time: by the wall live, at no cost in simulation.

        Parameters
        ----------
        seconds : float, seconds, >= 0
        """
        if not 0 <= seconds <= LONGEST:
            raise DefinitionError(f"ctx.sleep({seconds!r}) in {self.node!r}: seconds, from 0 to {LONGEST:g}")
        await self._execution.host.sleep(seconds)

    @cached_property
    def random(self) -> random.Random:
        """A generator seeded by this attempt alone: the same again when the attempt is run again."""
        inst = self._leg.inst
        luck = inst.scope.luck_of(inst, self._site)
        return self._execution.dice(*luck, self.leg, self.attempt).generator()

    def spend(self, *, cost: float = 0.0, tokens_in: int = 0, tokens_out: int = 0) -> None:
        """Add to what this attempt has cost; recorded with its outcome.

        Parameters
        ----------
        cost : float, USD, >= 0
        tokens_in, tokens_out : int, >= 0
        """
        # Built-in numbers only go into the log: a client's, or numpy's, would stop the store's writer.
        cost, tokens = self.cost + float(cost), self.tokens + int(tokens_in) + int(tokens_out)
        if not (self.cost <= cost < float("inf") and tokens_in >= 0 and tokens_out >= 0 and tokens < 2**63):
            raise DefinitionError(
                f"ctx.spend(cost={cost!r}, tokens_in={tokens_in!r}, tokens_out={tokens_out!r}) in {self.node!r}: "
                "cost and tokens are 0 or more"
            )
        self.cost, self.tokens = cost, tokens

    def emit(self, chunk: Any) -> None:
        """Show a part of what this attempt is about to return, such as a token, to whoever reads ``run.stream``.

        It reaches ``run.stream(partial=True)`` and nothing else, and waits for nobody. It is not recorded: a record for
        each token would hold the square of what is said, and the step's value says it all. So a resumed run has none
        of it, and in simulation it is checked and goes nowhere.

        Parameters
        ----------
        chunk : object
            JSON, usually a str; what ``redact=`` names is blanked in it.

        Raises
        ------
        DefinitionError
            If it is not JSON.
        """
        told, names = self._execution.on_partial, self._execution.program.graph.redact
        try:
            chunk = codec_for(object, names).dump(chunk, "")
        except CodecError as error:
            raise DefinitionError(f"ctx.emit in {self.node!r} shows JSON, and this is none: {error}") from error
        self._emitted += 1
        if told is not None:
            told(self, self._emitted, chunk)

    @property
    def shared(self) -> Any:
        """The run's shared context as this attempt sees it: a fresh instance of the model of ``wf.context``.

        It holds what the step's ancestors wrote (the sources of its inputs, ``after=``, the route that picked it, and
        theirs), and what this attempt has written so far. Changing the instance changes nothing: write by `update`.

        Raises
        ------
        DefinitionError
            If the workflow has no context.
        pydantic.ValidationError
            If what was written does not fit the model, such as a sum beyond a bound.
        """
        return self._seen("shared").read()

    def update(self, /, **changes: Any) -> None:
        """Write to the run's shared context; recorded with this attempt's success, or not at all.

        Parameters
        ----------
        **changes
            By field: what is appended or added where `Workflow.context` says so, else the new value. Several
            updates of one field are first merged with one another.

        Raises
        ------
        DefinitionError
            If the workflow has no context, the context no such field, the step's ``writes=`` does not name it, or
            the value does not fit; nothing is written then.
        """
        view, where = self._seen("update"), f"ctx.update in {self.node!r}"
        for name in changes:
            if self._writes is not None and name not in self._writes:
                raise DefinitionError(f"{where}: {name!r} is not among its writes={[*self._writes]}; add it there")
        view.write(changes, where)

    async def call(self, callee: Any, /, *args: Any, key: str | int | None = None, **kwargs: Any) -> Any:
        """Run a step or a workflow as a child of this attempt, durably, and give what it delivers.

        Parameters
        ----------
        callee : callable, Step or Workflow
            A function, or what ``@ok.step`` has made of one, with policies of its own; or a workflow, which gets one
            argument, its input.
        *args, **kwargs
            Its arguments, but for ``ctx``.
        key : str or int, optional
            What tells this call from others to the same callee; without it, its arguments do. Equal ones are told
            apart by their order.

        Returns
        -------
        object
            As the callee's annotation says.

        Raises
        ------
        CallFailed
            If it failed in spite of its own policies; as an error of this attempt it is tried again if that could help.
        DefinitionError
            For arguments that do not fit.
        ReplayMismatch
            At the end of a body that was run again and did not ask for what is recorded of it; the run stops then.

        Notes
        -----
        When an attempt is resumed its body runs again from its top, and children that are done are not run again; a new
        attempt calls anew. So what is called must follow from the inputs and from what children gave. Worlds and faults
        address the child by the step's path and its own name: ``ok.World({"agent/search": ...})``.

        Examples
        --------
        >>> import orchkit as ok
        >>> async def search(query: str) -> int:
        ...     return len(query)
        >>> wf = ok.Workflow("agents", input=str)
        >>> @wf.step
        ... async def agent(input: str, ctx: ok.Context) -> int:
        ...     found = 0
        ...     for word in input.split():
        ...         found += await ctx.call(search, word)
        ...     return found
        >>> wf.simulate("a few words", world=ok.World()).result()
        9
        """
        return await self._asked_for().call(self, callee, args, kwargs, key)

    async def ask(
        self, *, answer: Any = bool, show: Any = None, timeout: float | None = None, key: str | int | None = None
    ) -> Any:
        """Ask a person, and wait for the answer; this attempt's time-out stands still meanwhile.

        Parameters
        ----------
        answer : type
            What an answer must be: a pydantic model, or a plain type.
        show : object
            What is to be judged.
        timeout : float, seconds, > 0, optional
            How long the question stays open.
        key : str or int, optional
            What tells this question from others of this step; without it, what is shown does.

        Returns
        -------
        object
            The answer; None if none came in time.

        Notes
        -----
        The question belongs to the step and not to its attempt: a new attempt that asks the same gets the answer that
        was given, and nobody is asked the same thing twice. It is answered like an approval, by its path:
        ``run.answer(run.pending()[0], True)``. In a world: ``ok.World({"agent/ask": ok.person(...)})``.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("agents", input=str)
        >>> @wf.step
        ... async def agent(input: str, ctx: ok.Context) -> str:
        ...     return "sent" if await ctx.ask(show=input) else "dropped"
        >>> world = ok.World({"agent/ask": ok.person(600.0, approve=1.0)})
        >>> wf.simulate("a letter", world=world).result()
        'sent'
        """
        if timeout is not None and not is_bound(timeout):
            raise DefinitionError(
                f"ctx.ask(timeout={timeout!r}) in {self.node!r}: seconds above 0, at most {LONGEST:g}"
            )
        return await self._asked_for().ask(self, answer, show, timeout, key)

    def _asked_for(self) -> Calls:
        if self._calls is None:
            from orchkit.engine.calling import Calls  # it needs the program, which few bodies do

            self._calls = Calls(self._leg, self.node, self._site, self.attempt)
        return self._calls

    def check_asked(self) -> None:
        """Refuse a body that ran again and has not asked for what is recorded of it.

        Raises
        ------
        ReplayMismatch
            Naming both.
        """
        if self._execution.state.children:
            self._asked_for().refuse_unclaimed()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let the attempt's time stand still, as long as a person is asked."""
        execution = self._execution
        if not self._asking:
            self._asking_since = execution.elapsed()
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            if not self._asking and self._due is not None:
                execution.host.stamp()
                self._due += execution.elapsed() - self._asking_since
                self.arm()

    def is_due(self) -> bool:
        """Say whether the attempt's time is over."""
        return not self._asking and (self._due is None or self._due <= self._execution.elapsed())

    def arm(self) -> None:
        """Bound the attempt anew: its fibre waits."""
        if self._due is not None and not self._asking and self._leg.coro is not None:
            self._execution.kernel.arm(self._leg, self._execution.base + self._due, TIMER)

    @property
    def view(self) -> SharedView | None:
        """What this attempt sees of the shared context, and has written."""
        return self._view

    def join(self, delta: dict[str, Any]) -> None:
        """Take what a child has written as if this attempt had."""
        if self._view is not None and delta:
            self._view.join(delta)

    def see(self, shared: SharedState, node: int, item: int) -> None:
        """Fix what of the shared context this attempt sees; its body has not begun."""
        self._view = SharedView(shared.model, shared.seen_by((node, item)))
        self._writes = self._site.node.writes

    def written(self) -> dict[str, Any]:
        """Give what this attempt has written to the shared context, as JSON."""
        return {} if self._view is None else self._view.delta

    def _seen(self, what: str) -> SharedView:
        if self._view is None:
            raise DefinitionError(
                f"ctx.{what} in {self.node!r}: the workflow has no shared context; describe it by wf.context(Model)"
            )
        return self._view

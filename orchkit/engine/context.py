"""What a step may ask of its run."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchkit.errors import DefinitionError
from orchkit.model.policies import LONGEST
from orchkit.model.shared import SharedState, SharedView

if TYPE_CHECKING:
    import random  # noqa: TID251 - a name for the type checker; the generator is made by the dice

    from orchkit.engine.execution import Execution

__all__ = ["Context"]


class Context:
    """What a step gets as ``ctx``: who it is, what time it is, and luck of its own.

    Attributes
    ----------
    run_id, node : str
    item : int or None
        Index in the map's list.
    attempt : int, from 1
    leg : int, from 0
    idempotency_key : str
        Names this effect to its receiver: the same for every attempt, leg and resume of this instance.
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
    _writes: tuple[str, ...] | None = None

    def __init__(self, execution: Execution, node: str, item: int, leg: int, attempt: int, due: int | None) -> None:
        self._execution = execution
        self._due = due
        self.run_id = execution.run_id
        self.node = node
        self.item = None if item < 0 else item
        self.leg = leg
        self.attempt = attempt
        self.idempotency_key = f"{execution.run_id}:{effect_key(node, item)}"
        self.deps = execution.deps
        self.cost = 0.0
        self.tokens = 0

    def now(self) -> float:
        """Give the seconds since the run started, in the run's own time."""
        return self._execution.elapsed() / 1e6

    @property
    def remaining(self) -> float | None:
        """Seconds to the nearest deadline of this attempt; None if there is none."""
        if self._due is None:
            return None
        return max(0.0, (self._due - self._execution.elapsed()) / 1e6)

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
        item = -1 if self.item is None else self.item
        return self._execution.dice(self.node, item, self.leg, self.attempt).generator()

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

    def see(self, shared: SharedState, node: int) -> None:
        """Fix what of the shared context this attempt sees; its body has not begun."""
        self._view = SharedView(shared.model, shared.values(shared.begun[node]))
        self._writes = self._execution.program.graph.nodes[node].writes

    def written(self) -> dict[str, Any]:
        """Give what this attempt has written to the shared context, as JSON."""
        return {} if self._view is None else self._view.delta

    def _seen(self, what: str) -> SharedView:
        if self._view is None:
            raise DefinitionError(
                f"ctx.{what} in {self.node!r}: the workflow has no shared context; describe it by wf.context(Model)"
            )
        return self._view


def effect_key(node: str, item: int) -> str:
    """Name an instance within its run; leaves out generation, leg and attempt, so a repeat is one effect."""
    return node if item < 0 else f"{node}[{item}]"

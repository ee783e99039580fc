"""The seams between rooms: what the engine needs of a log, a world, and a set of faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from orchkit.model.events import Event
from orchkit.model.records import Head

if TYPE_CHECKING:
    from orchkit.model.graph import Graph

__all__ = [
    "Dice",
    "Draw",
    "Failure",
    "FaultPlan",
    "Journal",
    "Model",
    "Outcome",
    "RunStore",
    "Strike",
    "WorldModel",
]


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why an attempt ended badly, as it is recorded; enough for every policy to decide again after a restart.

    Attributes
    ----------
    type, message : str
        Of the exception.
    transient : bool
        Whether the node's retry policy thinks that trying again could help.
    retry_after : float or None, seconds
        What the other side asked us to wait.
    abandoned : bool
        A plain function was given up that cannot be stopped: its thread runs on.
    """

    type: str
    message: str
    transient: bool = False
    retry_after: float | None = None
    abandoned: bool = False

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What an attempt came to: travels through the layers of policies as a value, never as an exception.

    Attributes
    ----------
    status : str
        "completed", "degraded", "error" or "timeout"; an approval's "answered" or "expired".
    value : object
        JSON.
    failure : Failure or None
    by : str
        Who answered.
    cost : float, USD
    tokens : int
    """

    status: str
    value: Any = None
    failure: Failure | None = None
    by: str = ""
    cost: float = 0.0
    tokens: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is a value to go on with."""
        return self.failure is None


class Dice(Protocol):
    """The luck of one attempt: `orchkit.clock.dice.Stream` is the one there is."""

    def uniform(self, purpose: int, block: int = 0) -> float:
        """Give the number in (0, 1) for one purpose; a block above 0 is a digest of its own."""

    def generator(self) -> Any:
        """Give a full generator (``random.Random``) seeded by this attempt alone."""


class Draw(msgspec.Struct, frozen=True, gc=False):
    """What a modelled attempt will come to, decided when it starts.

    Attributes
    ----------
    latency : int, microseconds, or None
        None: nothing ever comes back.
    value : object
        As the step would return it.
    error : BaseException or None
        Raised instead, after the latency.
    cost : float, USD
    tokens : int
    by : str
        Who answers, for persons.
    """

    latency: int | None
    value: Any = None
    error: Any = None
    cost: float = 0.0
    tokens: int = 0
    by: str = ""


class Model(Protocol):
    """How one node behaves in simulation."""

    @property
    def wants_inputs(self) -> bool:
        """Whether `decide` looks at the inputs; building them costs."""

    def decide(self, inputs: dict[str, Any], dice: Dice) -> Draw:
        """Decide one attempt."""


class WorldModel(Protocol):
    """Which nodes are modelled."""

    name: str

    def model(self, path: str) -> Model | None:
        """Give the model of a node path; None runs its own body."""

    def within(self, graph: Graph, prefix: str) -> WorldModel:
        """Give the world fitted to a graph that a body goes through; raises `SimulationError` where it does not."""


class Strike(msgspec.Struct, frozen=True, gc=False):
    """What the faults do to one attempt, decided when it starts.

    Attributes
    ----------
    records : tuple
        ``(fault id, kind, severity)`` of each injection.
    error : BaseException or None
        A decisive fault: the attempt ends with it `after` microseconds instead of running its body.
    hang : bool
        The body never begins and nothing comes back.
    factor, add : float, int microseconds
        The answer comes `factor` times as late, and `add` later.
    """

    records: tuple[tuple[str, str, float], ...] = ()
    error: Any = None
    after: int = 0
    hang: bool = False
    factor: float = 1.0
    add: int = 0


class FaultPlan(Protocol):
    """What goes wrong on purpose."""

    crash_after: int | None

    def targets(self, path: str, tags: Sequence[str], provider: str | None) -> FaultPlan | None:
        """Give the plan narrowed to what can hit this node, or None when nothing can."""

    def strike(self, dice: Dice, attempt: int) -> Strike | None:
        """Decide what happens to one attempt; every draw is made whether or not the fault then strikes."""


class Journal(Protocol):
    """Where a run's events go."""

    def append(self, event: Event) -> None:
        """Take an event; raises `StoreWriteError` when an earlier one could not be made durable."""

    def behind(self) -> bool:
        """Say whether something appended is not yet durable."""

    def when_durable(self, wake: Callable[[BaseException | None], None]) -> None:
        """Call `wake` once all that was appended so far is durable, from any thread; with an error if it failed."""

    def release(self) -> None:
        """Say that this process executes the run no more; safe to call twice."""


class RunStore(Protocol):
    """Where runs are kept; the memory store and the DuckDB store pass one suite of tests."""

    def admit(self, head: Head) -> Journal:
        """Take a new run; it is there as soon as its first event is."""

    def take(self, run_id: str) -> tuple[Head, list[Event], Journal]:
        """Take a run to go on with it, and nobody else may; raises `RunUnknown` and `RunHeld`."""

    def head(self, run_id: str) -> Head:
        """Give a run's admission; raises `RunUnknown`."""

    def heads(self) -> list[Head]:
        """Give all admissions, in order."""

    def events(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        """Give a run's log, whatever is still on its way included; raises `RunUnknown`.

        What comes after its first `after` events, and of that at most `limit`.
        """

    def close(self) -> None:
        """Make everything durable and let go; safe to call twice."""

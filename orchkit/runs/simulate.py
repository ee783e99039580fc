"""Simulated runs: the same engine on a bare heap, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from orchkit.clock.bare import BareHost
from orchkit.clock.dice import base_of
from orchkit.clock.ids import derived_run_id
from orchkit.clock.kernel import Kernel
from orchkit.engine.execution import Execution
from orchkit.engine.journal import MemoryJournal
from orchkit.engine.program import Program
from orchkit.engine.stopping import raise_if_stuck
from orchkit.errors import RunCrashed, RunError, RunUnknown
from orchkit.model.events import Event, exact_digest
from orchkit.model.graph import Graph
from orchkit.model.protocols import RunStore
from orchkit.model.records import Head
from orchkit.runs.admitting import admit_whole
from orchkit.runs.fingerprint import fingerprints
from orchkit.runs.handle import PastRun, failing_key, run_error
from orchkit.sim.world import World

__all__ = ["continue_virtual", "prepare", "simulate", "simulate_into"]

_JOURNAL = MemoryJournal()


def prepare(graph: Graph, world: World, faults: Any = None) -> Program:
    """Make a program of a graph in a world, once for any number of trials.

    Raises
    ------
    SimulationError
        If something real could happen by accident, or a name fits nothing.
    """
    return Program(graph, world.fit_to(graph), faults)


def simulate(
    program: Program, value: Any, *, seed: int = 0, case: int | str = 0, survive: bool = False, run_id: str = ""
) -> PastRun:
    """Run a program once in virtual time.

    Parameters
    ----------
    program : Program
        From `prepare`.
    value : object
        The input's JSON, from `dump_input`.
    seed : int
    case : int or str
        Which input this is, so that equal inputs of one sweep have their own luck.
    survive : bool
        Whether an injected crash is followed by a resume from the log, which costs no time; otherwise nothing
        survives it.
    run_id : str
        Another one than what is derived from what decides the run.

    Returns
    -------
    PastRun
        Finished; its `outcome` holds the result or the error.

    Raises
    ------
    SimulationError
        If the world does not fit what the run comes to.
    """
    world = program.world
    name = world.name if world is not None else ""
    run_id = run_id or derived_run_id(program.graph.name, seed, case, name)
    head = Head(run_id, program.graph.name, "virtual", seed, durability="memory")
    dice = base_of(seed, case, name)
    execution = _drive(program, run_id, dice, (), value)
    if isinstance(execution.error, RunCrashed) and survive:
        execution = continue_virtual(program, run_id, dice, execution.events)
    return PastRun(head, execution.events, program, error=_error_of(execution))


def simulate_into(store: RunStore, program: Program, value: Any, *, seed: int, survive: bool) -> PastRun:
    """Run a program once in virtual time, and record the whole run; returns when it is durable.

    A run is recorded once: one that is there with the same log is left as it is. Another log under its id, of a
    workflow or a world that was another one then, stays too, and the new one gets an id of its own.

    Raises
    ------
    StoreError
        If the store cannot take it.
    """
    run = simulate(program, value, seed=seed, survive=survive)
    while (there := _log_in(store, run.head.run_id)) is not None:
        if exact_digest(there) == exact_digest(run.log()):
            break
        run_id = derived_run_id(run.head.run_id, exact_digest(run.log()))
        run = simulate(program, value, seed=seed, survive=survive, run_id=run_id)
    else:
        run.head = msgspec.structs.replace(run.head, fingerprints=fingerprints(program.graph))
        admit_whole(store, run.head, run.log())
    run.store = store
    return run


def _log_in(store: RunStore, run_id: str) -> list[Event] | None:
    try:
        return store.events(run_id)
    except RunUnknown:
        return None


def continue_virtual(
    program: Program, run_id: str, dice: int, events: Sequence[Event], host: Callable[[Kernel], BareHost] = BareHost
) -> Execution:
    """Go on from any prefix of a virtual run's log, in no time; on a host that may look on."""
    return _drive(program, run_id, dice, events, None, host)


def _drive(
    program: Program,
    run_id: str,
    dice: int,
    events: Sequence[Event],
    value: Any,
    hosted: Callable[[Kernel], BareHost] = BareHost,
) -> Execution:
    kernel = Kernel()
    host = hosted(kernel)
    execution = Execution(program, kernel, host, _JOURNAL, run_id=run_id, dice_base=dice, events=events)
    if execution.state.status not in ("new", "running"):
        return execution
    try:
        if events:
            execution.redrive()
        else:
            execution.start(value)
            execution.advance()
    except BaseException as error:
        execution.abort(error)
    host.run()
    if execution.error is None:
        try:
            raise_if_stuck(execution)
        except RunError as error:
            execution.abort(error)
    if execution.error is not None and not isinstance(execution.error, RunError):
        raise execution.error
    return execution


def _error_of(execution: Execution) -> BaseException | None:
    if execution.error is not None:
        return execution.error
    if execution.state.status in ("completed", "degraded"):
        return None
    head = Head(execution.run_id, execution.program.graph.name, "virtual", durability="memory")
    error = run_error(head, execution.events)
    key = failing_key(execution.events)
    if key is not None:
        error.__cause__ = execution.causes.get(key)
    return error

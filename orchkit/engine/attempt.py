"""One attempt: start the body or its model, bound it, and record how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import msgspec

from orchkit.clock.kernel import OUTCOME, TIMER, Cancelled, ForeignAwait, suspend
from orchkit.engine.context import Context
from orchkit.engine.inside import degraded_inside, inside, written_inside
from orchkit.engine.operating import wait_while_paused
from orchkit.engine.policies.gated import let_in, trip
from orchkit.engine.program import Site
from orchkit.errors import AttemptTimeout, CodecError, ReplayMismatch, SimulationError
from orchkit.model.events import FINAL, Event
from orchkit.model.policies import LONGEST, transient
from orchkit.model.protocols import Draw, Failure, Outcome, Strike
from orchkit.model.shared import recorded_writes

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution
    from orchkit.engine.instance import Leg

__all__ = ["attempt", "failure_of", "first_attempt", "outcome_of"]

_NO_STRIKE = Strike()


def failure_of(error: BaseException, site: Site) -> Failure:
    """Turn an exception into what is recorded of it, the retry policy's opinion included."""
    kind, message = type(error).__name__, _first_lines(error)
    try:
        wants = site.retry.wants(error) if site.retry is not None else transient(error)
        after = getattr(error, "retry_after", None)
        retry_after = None
        if isinstance(after, (int, float)) and 0 < after < float("inf"):
            retry_after = min(float(after), LONGEST)
        return Failure(kind, message, wants, retry_after)
    except Exception as judging:
        # An error that nobody can judge is still the attempt's end: let out, it would leave the run waiting for ever.
        why = f"whether to retry could not be judged: {type(judging).__name__}: {_first_lines(judging)}"
        return Failure(kind, f"{message} ({why})")


def _first_lines(error: BaseException, limit: int = 2000) -> str:
    try:
        text = str(error).encode(errors="replace").decode()
    except Exception as broken:
        return f"its message cannot be shown: __str__ raises {type(broken).__name__}"
    return text if len(text) <= limit else text[:limit] + " ..."


def first_attempt(leg: Leg) -> int:
    """Give the number of a generation's first attempt: a later one's where its scope is gone on with."""
    inst = leg.inst
    if inst.records:
        return inst.records[0].attempt  # by now somebody may want it to begin elsewhere the next time
    onward = inst.scope.state.onward
    return onward.get((inst.node, inst.item), 1) if onward else 1


def outcome_of(event: Event) -> Outcome:
    """Read an attempt's outcome back from its record."""
    if event.kind == "completed":
        return Outcome("completed", event.body, cost=event.cost, tokens=event.tokens)
    return Outcome(event.status, failure=Failure(**event.body), cost=event.cost, tokens=event.tokens)


async def attempt(leg: Leg, site: Site, n: int, error: Failure | None = None) -> Outcome:
    """Make one attempt at one site.

    Order, outermost first: time-out, faults, body or model. A modelled attempt is decided when it starts and costs
    one entry in the heap; a node that holds a workflow opens a scope. While a log is fed back, a recorded attempt gets
    its recorded outcome; one without an outcome is started again under its own number, a model with its original due
    time, and a scope goes on where it was.
    """
    inst = leg.inst
    ex, path = inst.execution, inst.scope.path(site)
    if ex.state.paused or inst.records:
        await wait_while_paused(leg, site, n)
    key = inst.scope.effect_key(inst, site) if site.has_key else ""
    if ex.driving:
        inst.listeners[leg.number] = leg
    gated = ex.gatekeeper.of(path) if site.gates else None
    if gated is not None and (rejected := await let_in(leg, site, gated, n)) is not None:
        return rejected
    started = ex.emit(
        inst,
        Event(
            ex.t(), "started", path, inst.item, inst.generation, leg.number, n, key=key, body=dict(site.names) or None
        ),
    )
    strike = _NO_STRIKE if site.faults is None else _strike(leg, site, n, started)
    if inst.records:
        inst.skip_injected()
    leg.spent = None
    try:
        if inst.records and inst.has_record_of(path, leg.number, n):
            outcome: Outcome | None = await suspend()
        else:
            outcome = await _work(leg, site, started, strike, error)
    except Cancelled:
        _stop_body(leg, started)
        _record_cancelled(leg, started)
        leg.spent = None
        raise
    if outcome is None:
        outcome = _timed_out(leg, site)
    else:
        leg.handle = None
    _record_end(leg, site, started, outcome)
    _leave_body(leg, started, outcome)
    leg.spent = None
    if gated is not None:
        trip(leg, gated, started)
    if site.inside is not None and outcome.failure is None:
        outcome = degraded_inside(leg, site, started, outcome)
    # Where it was an effect when it began, others went on while it waited here, even if it is none by now.
    if (site.has_key or started.key) and not inst.settled:
        await ex.fence(leg)
    return outcome


async def _work(leg: Leg, site: Site, started: Event, strike: Strike, error: Failure | None) -> Outcome | None:
    ex = leg.inst.execution
    if site.model is not None or strike.error is not None or strike.hang:
        _arm_decided(leg, site, started, strike)
        decided: Outcome | None = await suspend()
        return decided
    if site.inside is not None:
        return await inside(leg, site, started)
    if ex.driving:
        ex.deferred.append((leg, lambda: ex.kernel.resume(leg, None)))
        await suspend()  # no body starts before all open instances are rebuilt
    if ex.strict or site.has_key:
        await ex.fence(leg)
    _begin(leg, site, started, error)
    outcome: Outcome | None = await suspend()
    while outcome is None and isinstance(leg.spent, Context) and not leg.spent.is_due():
        ex.host.follow(leg.handle, leg)
        leg.spent.arm()  # its time stood still while a person was asked
        outcome = await suspend()
    if outcome is not None and (strike.factor != 1.0 or strike.add) and leg.handle is not None:
        outcome = await _delay(leg, site, strike, outcome)
    return outcome


def _strike(leg: Leg, site: Site, n: int, started: Event) -> Strike:
    inst = leg.inst
    ex = inst.execution
    assert site.faults is not None
    strike = site.faults.strike(inst.scope.dice_at(inst, site, leg.number, n), n)
    if strike is None:
        return _NO_STRIKE
    for fault, kind, severity in strike.records:
        ex.emit(
            inst,
            Event(
                started.t,
                "injected",
                started.node,
                inst.item,
                inst.generation,
                leg.number,
                n,
                status=kind,
                body=[fault, severity],
            ),
        )
    return strike


def _arm_decided(leg: Leg, site: Site, started: Event, strike: Strike) -> None:
    ex = leg.inst.execution
    outcome: Outcome | None = None
    latency: int | None = None
    if strike.error is not None:
        latency, outcome = strike.after, Outcome("error", failure=failure_of(strike.error, site))
        leg.cause = strike.error
    elif not strike.hang:
        latency, outcome = _modelled(leg, site, started.attempt)
        if latency is not None:
            latency = int(latency * strike.factor + 0.5) + strike.add
    begin = ex.base + started.t
    if latency is not None and (site.timeout is None or latency <= site.timeout):
        ex.kernel.arm(leg, begin + latency, OUTCOME, outcome)
    elif site.timeout is not None:
        ex.kernel.arm(leg, begin + site.timeout, TIMER)


def _modelled(leg: Leg, site: Site, n: int) -> tuple[int | None, Outcome]:
    inst = leg.inst
    assert site.model is not None
    inputs = inst.scope.arguments(inst, site, None) if site.model.wants_inputs else {}
    draw: Draw = site.model.decide(inputs, inst.scope.dice_at(inst, site, leg.number, n))
    leg.spent = draw
    if draw.error is not None:
        leg.cause = draw.error
        failure = failure_of(draw.error, site)
        return draw.latency, Outcome("error", failure=failure, cost=draw.cost, tokens=draw.tokens)
    try:
        value = site.dump(draw.value, site.path)
    except (TypeError, ValueError) as error:
        raise SimulationError(
            f"the world's value for {site.path!r} does not fit the step: {error}; give ok.fake a value of its type"
        ) from error
    return draw.latency, Outcome("completed", value, cost=draw.cost, tokens=draw.tokens)


def _begin(leg: Leg, site: Site, started: Event, error: Failure | None) -> None:
    # The time-out counts from here: waiting for the store before the body is no fault of the body's.
    inst = leg.inst
    ex = inst.execution
    leg.began = ex.kernel.now
    leg.bodies += 1
    due = None if site.timeout is None else leg.began + site.timeout
    if due is not None:
        ex.kernel.arm(leg, due, TIMER)
    ctx = None
    if site.function is not None and site.function.wants_ctx:
        key = started.key or inst.scope.effect_key(inst, site)
        bound = None if due is None else due - ex.base
        leg.spent = ctx = Context(leg, site, key, started.attempt, bound)
    # As a partial: a function of its own would be seven objects more for the garbage collector, of each body.
    leg.handle = ex.host.begin(leg, partial(_body, leg, site, started, ctx, error, leg.bodies))


async def _body(leg: Leg, site: Site, started: Event, ctx: Context | None, error: Failure | None, body: int) -> Outcome:
    inst = leg.inst
    ex, scope = inst.execution, inst.scope
    if ex.on_body is not None:
        ex.on_body()
    try:
        if ctx is not None and scope.state.shared is not None:
            ctx.see(scope.state.shared, inst.node, inst.item)
        arguments = scope.arguments(inst, site, ctx, error)
    except Exception as misfit:
        leg.cause = misfit
        return Outcome("error", failure=Failure(type(misfit).__name__, _first_lines(misfit)))
    try:
        value = await _call(ex, site, arguments, ex.gatekeeper.release_of(started) if site.gates else None)
        if type(value) is CoroutineType:
            value.close()  # or Python warns of it, somewhere else
            raise TypeError(
                f"step {site.path!r} returned a coroutine that nobody awaits; await it inside, or write the step "
                "with async def"
            )
        value = site.dump(value, site.path)
        if ctx is not None:
            ctx.check_asked()
        return _billed(ctx, "completed", value)
    except Cancelled:
        raise
    except ForeignAwait as foreign:
        raise _needs_a_model(site, str(foreign)) from foreign
    except BaseException as caught:
        if leg.bodies != body and not isinstance(caught, Exception):
            raise  # our own cancellation, arriving in the body's task, or the coroutine is being dropped
        _refuse_unreal(ex, site, caught)
        # Everything else is a failed attempt, a SystemExit, CancelledError or GeneratorExit of its own included.
        if leg.bodies == body:
            leg.cause = caught
        return _billed(ctx, "error", failure=_failure_in(ex, caught, site))


def _refuse_unreal(ex: Execution, site: Site, caught: BaseException) -> None:
    """End the run by an error that no policy may get over: what led to it is not the step's own doing."""
    if isinstance(caught, (ReplayMismatch, SimulationError)):
        ex.abort(caught)
    if not ex.host.virtual:
        return
    if isinstance(caught, KeyboardInterrupt):
        raise caught  # whoever simulates has pressed it; live, no key reaches the threads of bodies
    if isinstance(caught, RuntimeError) and "no running event loop" in str(caught):
        raise _needs_a_model(site, "asks for a running event loop") from caught


def _failure_in(ex: Execution, error: BaseException, site: Site) -> Failure:
    failure = failure_of(error, site)
    if isinstance(error, CodecError):
        error.run_id = error.run_id or ex.run_id  # only now: run ids in recorded text make logs unequal
    return failure


def _needs_a_model(site: Site, why: str) -> SimulationError:
    return SimulationError(
        f"step {site.path!r} {why}, which virtual time cannot wake: sleep by ctx.sleep, or model the step in the "
        f"world: World({site.node.name}=ok.fake(...))"
    )


def _billed(ctx: Context | None, status: str, value: Any = None, failure: Failure | None = None) -> Outcome:
    cost, tokens = (0.0, 0) if ctx is None else (ctx.cost, ctx.tokens)
    return Outcome(status, value, failure, cost=cost, tokens=tokens)


def _call(ex: Execution, site: Site, arguments: dict[str, Any], released: Callable[[], None] | None) -> Awaitable[Any]:
    function = site.function
    assert function is not None
    if function.is_async:
        called: Awaitable[Any] = function.fn(**arguments)
        return called
    if site.inline:
        return _at_once(function.fn, arguments)
    return ex.host.call_sync(function.fn, arguments, released)


async def _at_once(fn: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    return fn(**arguments)


async def _delay(leg: Leg, site: Site, strike: Strike, outcome: Outcome) -> Outcome | None:
    # A slow fault on a real body: hold its answer back for as long as a slower body would have taken.
    kernel = leg.inst.execution.kernel
    late = int((kernel.now - leg.began) * strike.factor + 0.5) + strike.add
    if site.timeout is not None and late > site.timeout:
        kernel.arm(leg, leg.began + site.timeout, TIMER)
    else:
        kernel.arm(leg, leg.began + late, OUTCOME, outcome)
    held: Outcome | None = await suspend()
    return held


def _leave_body(leg: Leg, started: Event, outcome: Outcome) -> None:
    # The decision was recorded before what it ends: a log that is cut in between has it.
    if outcome.status == "timeout" or leg.inner or leg.inst.execution.state.children:
        _stop_body(leg, started)


def _stop_body(leg: Leg, started: Event) -> None:
    leg.bodies += 1
    if leg.handle is not None:
        leg.inst.execution.host.stop(leg.handle)
        leg.handle = None
    for scope in leg.inner:
        scope.cancel(leg)
    state = leg.inst.scope.state
    if state.nested or leg.inst.execution.state.children:
        from orchkit.engine.unclaimed import end_unclaimed  # few runs need it

        end_unclaimed(leg.inst.scope, started)


def _timed_out(leg: Leg, site: Site) -> Outcome:
    assert site.timeout is not None
    function = site.function
    runs_on = leg.handle is not None and function is not None and not function.is_async and not site.inline
    abandoned = "; a plain function cannot be stopped, its thread runs on and its result is dropped" if runs_on else ""
    error = AttemptTimeout(
        f"an attempt of {site.path!r} took longer than {site.timeout / 1e6:g} s{abandoned}",
        node=site.path,
        run_id=leg.inst.execution.run_id,
    )
    leg.cause = error
    cost, tokens = _spent(leg)
    failure = failure_of(error, site)
    if runs_on and site.gates:
        failure = msgspec.structs.replace(failure, abandoned=True)  # it holds its place until it really ends
    return Outcome("timeout", failure=failure, cost=cost, tokens=tokens)


def _spent(leg: Leg) -> tuple[float, int]:
    # Nobody pays back what a call has cost by the time it is given up.
    return (0.0, 0) if leg.spent is None else (leg.spent.cost, leg.spent.tokens)


def _record_cancelled(leg: Leg, started: Event) -> None:
    inst = leg.inst
    ex = inst.execution
    t = ex.t()
    cost, tokens = _spent(leg)
    event = Event(
        t, "cancelled", started.node, inst.item, inst.generation, started.leg, started.attempt, ex.cancelled_by,
        t - started.t, cost, tokens, key=started.key,
    )  # fmt: skip
    ex.emit(inst, event)


def _record_end(fibre: Leg, site: Site, started: Event, outcome: Outcome) -> None:
    inst = fibre.inst
    ex = inst.execution
    t, leg, n, key = ex.t(), started.leg, started.attempt, started.key
    failure = outcome.failure
    if failure is None:
        # A log that was cut between an attempt's writes and its end: what holds a workflow knows its end without it.
        while inst.records and inst.records[0].kind == "context":
            inst.records.popleft()
        if inst.scope.state.shared is not None and not inst.records and not site.is_undo:
            _record_writes(fibre, started, t)
        status = FINAL if site.final else "ok"
        event = Event(
            t, "completed", started.node, inst.item, inst.generation, leg, n, status, t - started.t,
            outcome.cost, outcome.tokens, key=key, body=outcome.value,
        )  # fmt: skip
        inst.settled = ex.emit(inst, event).status == FINAL
    else:
        body: dict[str, Any] = {
            "type": failure.type,
            "message": failure.message,
            "transient": failure.transient,
            "retry_after": failure.retry_after,
        }
        if failure.abandoned:
            body["abandoned"] = True
        event = Event(
            t, "failed", started.node, inst.item, inst.generation, leg, n, outcome.status, t - started.t, outcome.cost,
            outcome.tokens, str(failure), key=key, body=body,
        )  # fmt: skip
        ex.emit(inst, event)


def _record_writes(fibre: Leg, started: Event, t: int) -> None:
    # Before the end of its attempt, without which it does not count. A log that was cut between the two has this
    # attempt's writes already; the body that ran again since may have written something else, or nothing.
    inst = fibre.inst
    ex = inst.execution
    delta = fibre.spent.written() if isinstance(fibre.spent, Context) else written_inside(inst, started)
    if delta != recorded_writes(inst.scope.state.open[inst.node, inst.item].events, started):
        leg, n = started.leg, started.attempt
        ex.emit(inst, Event(t, "context", started.node, inst.item, inst.generation, leg, n, body=delta))

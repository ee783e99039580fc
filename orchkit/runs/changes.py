"""What a resume does about code that is no longer the recorded one, decided before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchkit.clock.bare import BareHost
from orchkit.clock.dice import base_of
from orchkit.clock.kernel import Kernel
from orchkit.engine.execution import Execution
from orchkit.engine.journal import MemoryJournal
from orchkit.engine.program import Program
from orchkit.engine.redrive import redrive
from orchkit.errors import ChangedEffect, DefinitionChanged, DefinitionError, RunSuspended
from orchkit.model.events import Event
from orchkit.model.fold import apply, fold
from orchkit.model.graph import Graph
from orchkit.model.records import Head
from orchkit.model.standings import IDLE, OPEN, READY
from orchkit.model.state import RunState
from orchkit.model.streams import below
from orchkit.model.wording import nearest
from orchkit.runs.fingerprint import fingerprints

__all__ = ["ON_CHANGE", "GoingOn", "go_on_from", "recorded_fingerprints", "rehearse"]

ON_CHANGE: Final = ("rerun", "keep", "error")


@dataclass(frozen=True, slots=True)
class GoingOn:
    """How a run goes on.

    Attributes
    ----------
    news : dict
        Body of its ``resumed`` event: ``fingerprints`` if they are new ones, ``rerun`` and ``repeat`` name the nodes
        that are invalidated and the effects that may be repeated. Empty when nothing is new.
    line : str
        What runs again, for people; "" when nothing does because of a change.
    lenient : bool
        Whether the log may be of another shape: something has changed and is not to be kept as it is.
    """

    news: dict[str, Any]
    line: str = ""
    lenient: bool = False

    @property
    def changed(self) -> bool:
        """Whether the log was written by another workflow."""
        return "fingerprints" in self.news


def recorded_fingerprints(head: Head, events: Sequence[Event]) -> dict[str, str]:
    """Give the fingerprints that the run went by last."""
    for event in reversed(events):
        if event.kind == "resumed" and event.body and "fingerprints" in event.body:
            latest: dict[str, str] = event.body["fingerprints"]
            return latest
    return head.fingerprints


def go_on_from(head: Head, events: Sequence[Event], graph: Graph, on_change: Any) -> GoingOn:
    """Decide what runs again.

    Raises
    ------
    DefinitionError
        If `on_change` makes no sense.
    DefinitionChanged
        If something has changed for which it says "error".
    ChangedEffect
        If an effect that is done would be done again, and `on_change` does not name it.
    """
    recorded, now = recorded_fingerprints(head, events), fingerprints(graph)
    modes = _Modes(on_change, recorded.keys() | now.keys())
    changed = {name for name in recorded.keys() | now.keys() if recorded.get(name) != now.get(name)}
    _refuse(graph, sorted(name for name in changed if modes.of(name) == "error"))
    common = changed & recorded.keys() & now.keys()
    rerun = sorted(name for name in common if modes.of(name) == "rerun")
    repeat = sorted(name for name in modes.named if modes.of(name) == "rerun" and name in graph.index)
    news: dict[str, Any] = {"fingerprints": now} if changed else {}
    news |= {"rerun": rerun} if rerun else {}
    news |= {"repeat": repeat} if repeat else {}
    # What cannot be read as this workflow's log is refused here, before anything is recorded.
    lenient = any(modes.of(name) == "rerun" for name in changed)
    as_it_is = fold(graph, events, changed=lenient)
    _refuse_effects(as_it_is, head, [name for name in rerun if name not in repeat])
    after = fold(graph, [*events, Event(as_it_is.last_t, "resumed", body=news)])
    _refuse_half_done(after, head)
    removed = sorted(recorded.keys() - now.keys())
    return GoingOn(news, _line(head, after, rerun, removed) if changed else "", lenient)


class _Modes:
    def __init__(self, on_change: Any, names: Iterable[str]) -> None:
        self.named: Mapping[str, str] = on_change if isinstance(on_change, Mapping) else {}
        self.default = "rerun" if isinstance(on_change, Mapping) else on_change
        if any(mode not in ON_CHANGE for mode in (self.default, *self.named.values())):
            allowed = ", ".join(map(repr, ON_CHANGE))
            raise DefinitionError(f"on_change={on_change!r}: use one of {allowed}, or a dict of nodes to these")
        known = sorted(names)
        for name in self.named:
            if name not in known:
                raise DefinitionError(f"on_change names {name!r}, which is no node of the run; {nearest(name, known)}")

    def of(self, name: str) -> str:
        return self.named.get(name, self.default)


def _refuse(graph: Graph, changed: list[str]) -> None:
    if changed:
        raise DefinitionChanged(
            f"workflow {graph.name!r} is not as it was recorded: {', '.join(map(repr, changed))} changed; resume with "
            "the old definition, or pass on_change='rerun' to run again what has changed, or 'keep' to keep what is "
            "recorded and go on with the new code",
            nodes=tuple(changed),
        )


def _refuse_effects(state: RunState, head: Head, rerun: Sequence[str]) -> None:
    for name in rerun:
        if state.graph.index[name] in state.effected:
            raise ChangedEffect(
                f"{name!r} of run {head.run_id!r} has changed, and its effect has already been completed: it is not "
                f"repeated unless you say so. on_change={{{name!r}: 'keep'}} keeps what it did, {{{name!r}: 'rerun'}} "
                f"does it again under the same idempotency key, and version= on the step says that a change is none",
                run_id=head.run_id,
                node=name,
            )


def _refuse_half_done(state: RunState, head: Head) -> None:
    graph = state.graph
    for node in sorted(below(state) & state.effected - state.repeats):
        if state.standing[node] == OPEN and graph.nodes[node].over is not None:
            name = graph.nodes[node].name
            raise ChangedEffect(
                f"map {name!r} of run {head.run_id!r} is half done, and something that it gets runs again: the effects "
                f"of its finished items would be repeated. on_change={{{name!r}: 'rerun'}} allows it, under the same "
                "idempotency keys; on_change='keep' keeps the recorded inputs",
                run_id=head.run_id,
                node=name,
            )


def _line(head: Head, state: RunState, rerun: Sequence[str], removed: Sequence[str]) -> str:
    graph = state.graph
    begun = [name for name in rerun if state.standing[graph.index[name]] not in (IDLE, READY)]
    heads = {graph.index[name] for name in begun}
    below = [i for i in sorted(graph.descendants(heads) - heads) if state.standing[i] not in (IDLE, READY)]
    follow = [graph.nodes[i].name for i in below if not state.keeps(i)]
    kept = [graph.nodes[i].name for i in below if state.keeps(i)]
    parts = []
    if begun:
        verb = "run" if len(begun) > 1 else "runs"
        parts.append(f"{', '.join(begun)} {verb} again (changed)")
    if follow:
        parts.append(f"what follows does where values change: {', '.join(follow)}")
    if kept:
        parts.append(f"done and not repeated: {', '.join(kept)} (on_change={{{kept[0]!r}: 'rerun'}} would)")
    if removed:
        parts.append(f"no longer there: {', '.join(removed)}")
    return f"resume {head.run_id}: {'; '.join(parts)}" if parts else ""


def rehearse(program: Program, head: Head, events: Sequence[Event], going: GoingOn) -> None:
    """Feed the log back without recording: what does not fit is refused, and the log does not say that it did.

    Raises
    ------
    ReplayMismatch
        If the workflow wants something else than the log holds.
    """
    kernel = Kernel(head.started)
    execution = Execution(
        program, kernel, BareHost(kernel), MemoryJournal(), run_id=head.run_id, base=head.started,
        dice_base=base_of(0, head.run_id), events=events, changed=going.lenient,
    )  # fmt: skip
    apply(execution.state, Event(execution.t(), "resumed", body=going.news))  # not recorded: nothing crashes here
    try:
        redrive(execution, execution, events)
    finally:
        execution.abort(RunSuspended(f"run {head.run_id!r} was only rehearsed", run_id=head.run_id))

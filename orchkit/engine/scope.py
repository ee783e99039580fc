"""Scopes at work: one graph that is gone through, the run's own or one that a node's attempt has opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from orchkit.clock.dice import Stream, item_of, path_of
from orchkit.engine.dropping import begin_again, drop_open
from orchkit.engine.instance import Instance
from orchkit.engine.keys import ItemKeys, KeyTrouble, keys_of, next_key
from orchkit.engine.operating import follow
from orchkit.engine.pipeline import pipeline
from orchkit.engine.plan import Action, plan
from orchkit.errors import BudgetExhausted, ContextConflict, DefinitionError
from orchkit.model.events import SPARED, TOLERATED, Event
from orchkit.model.instances import MapState
from orchkit.model.policies import Budget
from orchkit.model.protocols import Failure, Outcome
from orchkit.model.standings import READY
from orchkit.model.state import ScopeState, map_state

if TYPE_CHECKING:
    from orchkit.engine.context import Context
    from orchkit.engine.execution import Execution
    from orchkit.engine.program import Program, Seat, Site

__all__ = ["Scope"]


class Scope:
    """What the plan of one graph asks for is done here, and what its nodes come to is recorded.

    Attributes
    ----------
    program : Program
    state : ScopeState
        Folded by the execution, like the rest of the run.
    key : tuple of int
        Breaks ties between scopes, and begins the keys of its instances.
    instances : dict
        ``(node index, item)`` to what is open.
    item_keys : dict
        Node index to the keys of its items, of maps that have any.
    luck, effects : str
        What its nodes' luck and effects are known by, before their names: its prefix with the keys of items in place
        of their indices, and for effects without attempts and legs, so that a repeat is one effect.
    """

    execution: Execution
    program: Program
    state: ScopeState
    key: tuple[int, ...]
    instances: dict[tuple[int, int], Instance]
    item_keys: dict[int, ItemKeys]
    luck = ""
    effects = ""

    @property
    def prefix(self) -> str:
        """What the paths of its nodes begin with."""
        return self.state.prefix

    # What steps get

    def path(self, site: Site) -> str:
        """Give a site's path in the log."""
        return self.state.prefix + site.name

    def effect_key(self, inst: Instance, site: Site) -> str:
        """Name an instance's effect within the run, the same for each attempt of it and of what it lies within.

        It changes only when somebody wants the effect once more.
        """
        again = self.execution.state.rekeyed
        item = "" if inst.item < 0 else f"[{inst.item if site.node.key is None else self.key_of(inst)}]"
        key, node = self.effects + site.name + item, self.effects + site.node.name
        time = max(again.get(node + item, 1), again.get(node, 1)) if again else 1
        return key if time == 1 else f"{key}#{time}"

    def dice_at(self, inst: Instance, site: Site, leg: int, n: int) -> Stream:
        """Give the luck of one attempt at a site."""
        luck = self.luck
        path = site.dice_path if luck == site.prefix else path_of(luck + site.name)
        item = inst.item if site.node.key is None else item_of(self.key_of(inst))
        return Stream(self.execution.dice_base, path, item, leg, n)

    def luck_of(self, inst: Instance, site: Site) -> tuple[str, int]:
        """Give the path and the item by which an instance's own generator is seeded."""
        return self.luck + site.name, inst.item if site.node.key is None else item_of(self.key_of(inst))

    def key_of(self, inst: Instance) -> str:
        """Give the key of an instance whose map has keys."""
        return self._keys(inst.node).text(inst.item)

    def _keys(self, node: int) -> ItemKeys:
        keys = self.item_keys.get(node)
        if keys is None:
            keys = self.item_keys[node] = keys_of(self.state, self.program.seats[node].site, node)
        return keys

    def arguments(
        self, inst: Instance, site: Site, ctx: Context | None, error: Failure | None = None
    ) -> dict[str, Any]:
        """Rebuild a site's inputs from what was recorded.

        Raises
        ------
        pydantic.ValidationError
            If a value does not fit the parameter's annotation.
        """
        state = self.state
        arguments: dict[str, Any] = {}
        for name, source, codec, required, default in site.loads:
            if source == site.node.name:  # an undo gets what its node has come to
                own = state.values[inst.node] if inst.item < 0 else state.maps[inst.node].values[inst.item]
                arguments[name] = codec.load(own)
            elif required or state.is_live(source):
                arguments[name] = codec.load(state.value(source))
            else:
                arguments[name] = default
        function = site.function
        if inst.item >= 0 and (site.item is not None or function is None):
            value = state.item_value(inst.node, inst.item)
            arguments["item"] = value if site.item is None else site.item.load(value)
        if function is not None:
            if function.consts:
                arguments.update(function.consts)
            if function.wants_ctx and ctx is not None:
                arguments["ctx"] = ctx
            if function.wants_error:
                arguments["error"] = error
        return arguments

    # What the plan asks for

    def act(self) -> bool:
        """Do the next thing that the plan asks for; say whether there was one."""
        state = self.state
        if state.failing is not None or state.overdue or state.cancelling:
            return self.fail()
        if (state.ready or state.stale or state.decided) and (action := plan(state)) is not None:
            self.do(action)
            return True
        return not state.left and not self.instances and self.end()

    def do(self, action: Action) -> None:
        """Do one thing that the plan asks for."""
        seat = self.program.seats[action.node]
        if action.verb == "start":
            if self.state.shared is not None and (conflict := self._conflict_before(action.node)) is not None:
                self._settle_failed(action.node, conflict)
            elif seat.node.key is None or self._has_keys(seat, action.node, action.item):
                self._launch(seat, action.node, action.item)
        elif action.verb == "spare":
            self.spare(action.node, action.item)
        elif action.verb == "close":
            self._close_map(seat, action.node)
        elif action.verb == "follow":
            follow(self.execution, self.state, (action.node, action.item))
        elif action.verb == "invalidate":
            self.open_generation(action.node, action.item, self.state.stale[action.node, action.item])
        else:
            self.record(self._node_event("skipped", action.node, "" if action.verb == "skip" else "effect"))

    def _has_keys(self, seat: Seat, node: int, item: int) -> bool:
        """Say whether an item may begin; where a key makes no sense, the map has failed."""
        keys, begun = self._keys(node), self.state.maps.get(node)
        progress = map_state(self.state, node)
        try:
            if progress.fed is None:
                keys.claim(range(progress.size) if begun is None else ())
            else:
                begun_ones = () if keys.claimed else [one for one in progress.fed if progress.has_begun(one)]
                keys.claim([*begun_ones, item])
        except KeyTrouble as trouble:
            for _, one in self.state.open_of(node):
                self.spare(node, one)
            self._fail_map(seat, node, f"{DefinitionError.__name__}: map {seat.node.name!r}: {trouble}")
            return False
        return True

    def spare(self, node: int, item: int) -> None:
        """Give an item up that its map can do without; what is open of it is cancelled and recorded so."""
        drop_open(self.execution, self.state, node, item)
        ex, name = self.execution, self.state.prefix + self.program.seats[node].node.name
        if ex.error is None:
            self.record(Event(ex.t(), "skipped", name, item, self.state.generation(node, item), status=SPARED))

    def _conflict_before(self, node: int) -> str | None:
        shared = self.state.shared
        if shared is None or self.state.standing[node] != READY:  # a map that has begun
            return None
        conflict = shared.conflict(shared.ancestors(node, self.state.values))
        return None if conflict is None else f"{ContextConflict.__name__}: {conflict}"

    def _launch(self, seat: Seat, node: int, item: int) -> None:
        ex = self.execution
        inst = self.instances[node, item] = Instance(self, node, item)
        before = ex.recorded
        ex.kernel.start(inst, pipeline(seat, inst))
        # The plan would start it again for ever if its first segment did not record that it began.
        assert ex.recorded > before or ex.driving or ex.error is not None

    def _node_event(self, kind: str, node: int, status: str, error: str = "", body: Any = None) -> Event:
        name = self.state.prefix + self.program.seats[node].node.name
        generation = self.state.generation(node)
        return Event(self.execution.t(), kind, name, generation=generation, status=status, error=error, body=body)

    def _settle_failed(self, node: int, error: str) -> None:
        kind, _, message = error.partition(": ")
        body = msgspec.to_builtins(Failure(kind, message)) if self.state.prefix else None
        self.record(self._node_event("settled", node, "failed", error, body))

    def _fail_map(self, seat: Seat, node: int, error: str) -> None:
        if seat.node.on_error == "skip":
            self.record(self._node_event("skipped", node, "error", error))
        else:
            self._settle_failed(node, error)

    def _close_map(self, seat: Seat, node: int) -> None:
        over = seat.node.over
        assert over is not None
        progress, value = map_state(self.state, node), self.state.value(over)
        if progress.fed is None and not isinstance(value, list):
            what = f"{seat.node.kind} {seat.node.name!r} goes over {over!r}"
            self._fail_map(seat, node, f"TypeError: {what}, which gave a {type(value).__name__}; it needs a list")
        elif progress.missed:
            self._fail_map(seat, node, _missed(seat.node.name, progress))
        else:
            self.record(self._node_event("settled", node, "degraded" if progress.degraded else "completed"))

    def open_generation(self, node: int, item: int, status: str, why: str | None = None, by: str = "") -> None:
        """Open the next generation of a node or item; what is open of it is cancelled and recorded so."""
        name = self.state.prefix + self.program.seats[node].node.name
        key = next_key(self.execution, self.state, node, item) if status == "undone" else ""
        wanted = Event(0, "invalidated", name, item, status=status, by=by, key=key, body=why)
        begin_again(self.execution, self.state, wanted)
        self.execution.touch(self)

    # What instances come to

    def settle(self, inst: Instance, outcome: Outcome) -> None:
        """Record what an instance came to, unless the end of its attempt has said it, and go on."""
        try:
            self._settle(inst, outcome)
        except BaseException as error:
            self.execution.abort(error)
            return
        self.execution.advance()

    def _settle(self, inst: Instance, outcome: Outcome) -> None:
        ex, seat = self.execution, self.program.seats[inst.node]
        name, generation = self.state.prefix + seat.node.name, inst.generation
        del self.instances[inst.node, inst.item]
        ex.touch(self)
        cause, inst.cause = inst.cause, None  # its traceback holds the frames that hold the instance: a cycle
        if inst.settled:  # the end of its attempt has said so
            return
        failure = outcome.failure
        if failure is None:
            status = "degraded" if outcome.status == "degraded" else "completed"
            ex.emit(inst, Event(ex.t(), "settled", name, inst.item, generation, status=status))
        elif inst.item >= 0 and seat.node.quorum is not None:
            if cause is not None:
                ex.causes[name, -1] = cause  # it may be the one too many
            ex.emit(inst, Event(ex.t(), "skipped", name, inst.item, generation, status=TOLERATED, error=str(failure)))
        elif seat.node.on_error in ("skip", "collect") or _is_degraded(seat, failure):
            # Only the fold of a log knows nothing of options: what is to stand in the list is recorded.
            body = {"item": inst.item, "error": str(failure)} if seat.node.on_error == "collect" else None
            event = Event(ex.t(), "skipped", name, inst.item, generation, status="error", error=str(failure), body=body)
            ex.emit(inst, event)
        else:
            if cause is not None:
                ex.causes[name, inst.item] = cause
            # Inside another node's attempt it is told in full, for that attempt's policies decide by it.
            body = msgspec.to_builtins(failure) if self.state.prefix else None
            ex.emit(
                inst,
                Event(ex.t(), "settled", name, inst.item, generation, status="failed", error=str(failure), body=body),
            )

    def record(self, event: Event) -> None:
        """Record an event of a node of it."""
        self.execution.record(event)
        self.execution.touch(self)

    # How it ends

    def fail(self) -> bool:
        """Stop because a node has failed; say whether anything was done."""
        raise NotImplementedError

    def end(self) -> bool:
        """End because nothing is left to do; say whether anything was done."""
        raise NotImplementedError

    def halt(self) -> None:
        """Cancel what is in flight, in the order of the keys."""
        ex = self.execution
        for inst in sorted(self.instances.values(), key=lambda one: one.key):
            ex.questions.hide(inst)
            ex.kernel.cancel(inst)
        self.instances.clear()


def _is_degraded(seat: Seat, failure: Failure) -> bool:
    budget: Budget | None = seat.node.policy("budget")
    return budget is not None and budget.then == "degrade" and failure.type == BudgetExhausted.__name__


def _missed(name: str, progress: MapState) -> str:
    there = progress.size if progress.fed is None else len(progress.fed)
    said = f"QuorumMissed: {progress.needed} of the {there} items of {name!r} had to deliver"
    if not progress.lost:
        return f"{said}, which never can be; lower quorum=, or give it as a share such as 0.5"
    item = min(progress.lost)
    return f"{said}, and {len(progress.lost)} failed; item {item}: {progress.lost[item]}"

"""What can be undone, and what became of it: folded from what nodes come to, and from the undoing itself."""

from __future__ import annotations

from orchkit.model.events import Event
from orchkit.model.instances import Open
from orchkit.model.nesting import go_back_into
from orchkit.model.paths import owner_of
from orchkit.model.state import RunState, ScopeState

__all__ = ["forget_done", "note_done", "reopen_undone", "undo_goes_on", "undone"]


def note_done(run: RunState, scope: ScopeState, event: Event) -> None:
    """Note that something is done that can be undone; of several attempts of what it lies within the last counts."""
    node = scope.node(event.node)
    spec = scope.graph.nodes[node]
    delivered = event.kind != "skipped" and event.status != "failed"
    if spec.undo is None or not delivered or (spec.kind == "map" and event.item < 0) or event.by:
        return  # what somebody has decided was not done by it
    key = scope.prefix, node, event.item
    known = owner_of(scope.prefix)
    for other in [one for one in run.undoable if one[1:] == key[1:] and owner_of(one[0]) == known]:
        del run.undoable[other]
    run.undoable[key] = ""
    run.undo_tries.pop(key, None)


def forget_done(run: RunState, scope: ScopeState, event: Event) -> None:
    """Forget the items of a map that begin again: what they came to is no longer there."""
    node = scope.node(event.node)
    if scope.graph.nodes[node].kind == "map":
        for key in [key for key in run.undoable if key[:2] == (scope.prefix, node) and event.item in (-1, key[2])]:
            del run.undoable[key]


def undo_goes_on(run: RunState, scope: ScopeState, event: Event) -> None:
    """Keep what the log holds of an undo; it changes nothing of where nodes stand."""
    if event.kind == "cancelled":  # somebody has stopped that too
        run.undoing = None
        run.undo_tries[scope.prefix, scope.node(event.node), event.item] = event.attempt
        return
    if run.undoing is None:
        run.undoing = Open()
    run.undoing.events.append(event)


def undone(run: RunState, scope: ScopeState, event: Event) -> None:
    """Note what became of an undo."""
    key = scope.prefix, scope.node(event.node), event.item
    run.undo_tries[key] = 0 if run.undoing is None else max(one.attempt for one in run.undoing.events)
    run.undoing = None
    run.undoable[key] = event.status


def reopen_undone(run: RunState) -> None:
    """Let what was undone be done again, now that the run goes on; what could not be undone is still done."""
    run.undoing, run.undo_wanted = None, False
    for key, status in list(run.undoable.items()):
        if status == "failed":
            run.undoable[key] = ""
        elif status == "completed":
            del run.undoable[key]
            _do_again(run, *key)


def _do_again(run: RunState, prefix: str, node: int, item: int) -> None:
    scope = run.scopes.get(prefix) if prefix else run
    if scope is None:
        return  # what it lay within begins anew
    scope.stale.put((node, item), "undone")
    if scope is not run:
        go_back_into(run, scope)

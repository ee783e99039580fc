"""orchkit: a Jupyter-native lab for AI orchestration.

Describe a workflow of model calls, people and plain code as a graph; run it live with durable checkpoints; break it
on purpose; answer its questions; and compare, over thousands of simulated runs, which pattern holds up.

Importing it loads nothing else: each name is fetched from its room when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchkit import faults, interop, patterns
    from orchkit.engine.context import Context
    from orchkit.errors import (
        AnswerInvalid,
        AnswerLate,
        ApprovalError,
        ApprovalUnknown,
        AttemptTimeout,
        BreakerOpen,
        BudgetExhausted,
        BulkheadFull,
        CallFailed,
        ChangedEffect,
        CodecError,
        ContextConflict,
        DeadlineExceeded,
        DefinitionChanged,
        DefinitionError,
        GraphError,
        GraphWarning,
        ModelError,
        OrchkitError,
        PolicyRejection,
        ReplayError,
        ReplayMismatch,
        RunCancelled,
        RunCrashed,
        RunError,
        RunHeld,
        RunStuck,
        RunSuspended,
        RunUnknown,
        SimulationError,
        StoreBusy,
        StoreDamaged,
        StoreError,
        StoreNotice,
        StoreReadOnly,
        StoreUnreadable,
        StoreWriteError,
    )
    from orchkit.experiments import Experiment, Results
    from orchkit.faults.plan import Faults
    from orchkit.hall.alone import step
    from orchkit.hall.comparing import diff
    from orchkit.hall.inbox import Inbox, inbox
    from orchkit.hall.opened import open_store as open
    from orchkit.hall.run import Run
    from orchkit.hall.store import Store
    from orchkit.hall.workflow import Workflow
    from orchkit.model import presets
    from orchkit.model.items import ItemFailed
    from orchkit.model.merging import add, append
    from orchkit.model.policies import (
        Breaker,
        Budget,
        Bulkhead,
        Deadline,
        Escalate,
        Fallback,
        Hedge,
        RateLimit,
        Retry,
        Timeout,
        backoff,
        only,
        transient,
    )
    from orchkit.model.steps import const, ref
    from orchkit.runs import approvers
    from orchkit.runs.clerk import Question
    from orchkit.sim import dist
    from orchkit.sim.world import World, fake, person, real, skip_effect

__version__ = "0.1.0"

_ROOMS = {
    # describing
    "Workflow": "hall.workflow", "Context": "engine.context", "step": "hall.alone", "const": "model.steps",
    "ref": "model.steps", "append": "model.merging", "add": "model.merging",
    "ItemFailed": "model.items",
    # policies
    "Retry": "model.policies", "Timeout": "model.policies", "Fallback": "model.policies",
    "Deadline": "model.policies", "Hedge": "model.policies", "Breaker": "model.policies",
    "Bulkhead": "model.policies", "RateLimit": "model.policies", "Budget": "model.policies",
    "Escalate": "model.policies", "backoff": "model.policies", "transient": "model.policies",
    "only": "model.policies", "presets": "model.presets:",
    # running
    "Run": "hall.run", "Store": "hall.store", "open": "hall.opened:open_store", "diff": "hall.comparing",
    # people
    "inbox": "hall.inbox", "Inbox": "hall.inbox", "approvers": "runs.approvers:", "Question": "runs.clerk",
    # simulating
    "World": "sim.world", "fake": "sim.world", "person": "sim.world", "real": "sim.world",
    "skip_effect": "sim.world", "dist": "sim.dist:", "Faults": "faults.plan", "faults": "faults:",
    # experimenting
    "Experiment": "experiments", "Results": "experiments",
    # patterns
    "patterns": "patterns:",
    # neighbours
    "interop": "interop:",
}  # fmt: skip
_ERRORS = (
    "OrchkitError", "DefinitionError", "GraphError", "GraphWarning", "SimulationError", "RunError", "RunCancelled",
    "RunSuspended", "RunCrashed", "RunStuck", "ContextConflict", "AttemptTimeout", "CallFailed", "PolicyRejection",
    "BreakerOpen", "BulkheadFull", "BudgetExhausted", "DeadlineExceeded", "ModelError", "ApprovalError",
    "ApprovalUnknown",
    "AnswerInvalid", "AnswerLate", "StoreError", "StoreBusy", "RunHeld", "StoreUnreadable", "StoreWriteError",
    "StoreReadOnly", "StoreNotice", "StoreDamaged", "RunUnknown", "ReplayError", "ReplayMismatch",
    "DefinitionChanged", "ChangedEffect", "CodecError",
)  # fmt: skip
_ROOMS |= dict.fromkeys(_ERRORS, "errors")

__all__ = [
    # describing
    "Workflow", "Context", "step", "const", "ref", "append", "add", "ItemFailed",
    # policies
    "Retry", "Timeout", "Fallback", "Deadline", "Hedge", "Breaker", "Bulkhead", "RateLimit", "Budget", "Escalate",
    "backoff", "transient", "only", "presets",
    # running
    "Run", "Store", "open", "diff",
    # people
    "inbox", "Inbox", "approvers", "Question",
    # simulating
    "World", "fake", "person", "real", "skip_effect", "dist", "Faults", "faults",
    # experimenting
    "Experiment", "Results",
    # patterns
    "patterns",
    # neighbours
    "interop",
    # errors
    "OrchkitError", "DefinitionError", "GraphError", "GraphWarning", "SimulationError", "RunError", "RunCancelled",
    "RunSuspended", "RunCrashed", "RunStuck", "ContextConflict", "AttemptTimeout", "CallFailed", "PolicyRejection",
    "BreakerOpen", "BulkheadFull", "BudgetExhausted", "DeadlineExceeded", "ModelError", "ApprovalError",
    "ApprovalUnknown",
    "AnswerInvalid", "AnswerLate", "StoreError", "StoreBusy", "RunHeld", "StoreUnreadable", "StoreWriteError",
    "StoreReadOnly", "StoreNotice", "StoreDamaged", "RunUnknown", "ReplayError", "ReplayMismatch",
    "DefinitionChanged", "ChangedEffect", "CodecError",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module 'orchkit' has no attribute {name!r}")
    module, colon, inner = room.partition(":")
    found = import_module(f"orchkit.{module}")
    value = found if colon and not inner else getattr(found, inner or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

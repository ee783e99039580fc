"""Every error that orchkit raises.

::

    OrchkitError
    ├── DefinitionError (ValueError)      a workflow, a policy or an argument is wrong
    │   ├── GraphError                    all that is wrong with one graph, at once
    │   └── SimulationError               a world does not fit the workflow it should model
    ├── GraphWarning (UserWarning)        a warning: a workflow can run, and may not do what was meant
    ├── RunError                          a run ended without a result
    │   ├── RunCancelled                  somebody ended it
    │   ├── RunSuspended                  somebody stopped it for now; it can be resumed
    │   ├── RunCrashed                    a crash was injected; the log is what is left
    │   ├── RunStuck                      nothing can happen any more
    │   └── ContextConflict               two steps wrote one field of the shared context, in no order
    ├── AttemptTimeout (TimeoutError)     one attempt took longer than it may
    ├── CallFailed                        what a body has called has failed, its own policies included
    ├── PolicyRejection                   a policy let no attempt begin, or go on; never retried, a fallback may deliver
    │   ├── BreakerOpen                   what it would ask has failed too often just now
    │   ├── BulkheadFull                  too many are at it already, and too many wait
    │   ├── BudgetExhausted               enough has been spent
    │   └── DeadlineExceeded (TimeoutError)  the node, or the run, took longer than it may
    ├── ModelError                        a model answered, but not usably; judged by its status
    │   ├── interop.ModelCallError (RuntimeError)
    │   └── interop.ReplyInvalid (ValueError)
    ├── ApprovalError
    │   ├── ApprovalUnknown (LookupError) no such question is open, or several are
    │   ├── AnswerInvalid (ValueError)    the answer does not fit the question's model
    │   └── AnswerLate                    somebody, or the deadline, was first
    ├── StoreError
    │   ├── StoreBusy                     another process holds the file
    │   ├── RunHeld                       somebody is executing that run right now
    │   ├── StoreUnreadable               not a store, damaged, or from a newer orchkit
    │   ├── StoreWriteError               an event could not be made durable
    │   ├── StoreReadOnly                 it was opened for reading only, or something acknowledged is missing in it
    │   ├── StoreNotice (UserWarning)     a warning: what opening a file had to do, such as move it to a newer schema
    │   │   └── StoreDamaged              a warning: the file was damaged, and what that came to
    │   └── RunUnknown (LookupError)      the store has no such run
    ├── ReplayError
    │   ├── ReplayMismatch                the code asks for something else than the log holds
    │   ├── DefinitionChanged             the workflow is not the one that was recorded
    │   └── ChangedEffect                 an effect that is done would be done again
    └── CodecError (TypeError)            a value cannot be stored as it is

Siblings are things a caller would handle alike. Ids are attributes, not only text, and every error survives
pickling with them.
"""

from __future__ import annotations

from typing import Any, Self

__all__ = [
    "AnswerInvalid",
    "AnswerLate",
    "ApprovalError",
    "ApprovalUnknown",
    "AttemptTimeout",
    "BreakerOpen",
    "BudgetExhausted",
    "BulkheadFull",
    "CallFailed",
    "ChangedEffect",
    "CodecError",
    "ContextConflict",
    "DeadlineExceeded",
    "DefinitionChanged",
    "DefinitionError",
    "GraphError",
    "GraphWarning",
    "ModelError",
    "OrchkitError",
    "PolicyRejection",
    "ReplayError",
    "ReplayMismatch",
    "RunCancelled",
    "RunCrashed",
    "RunError",
    "RunHeld",
    "RunStuck",
    "RunSuspended",
    "RunUnknown",
    "SimulationError",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreNotice",
    "StoreReadOnly",
    "StoreUnreadable",
    "StoreWriteError",
]


def _revive(kind: type[OrchkitError], args: tuple[Any, ...], state: dict[str, Any]) -> OrchkitError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class OrchkitError(Exception):
    """Base of all errors of orchkit.

    Parameters
    ----------
    message : str
        What happened, with the value, and what to do next.
    **ids
        Facts to read by program; they become attributes.

    Examples
    --------
    >>> error = RunError("draft failed", run_id="r1", node="draft", attempt=3)
    >>> error.node, error.attempt
    ('draft', 3)
    """

    def __init__(self, message: str, **ids: Any) -> None:
        super().__init__(message)
        self.__dict__.update(ids)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own __reduce__ calls the class with args only and loses keyword attributes.
        return _revive, (type(self), self.args, self.__dict__.copy())

    def with_note(self, note: str) -> Self:
        """Add a note and return the error, so that raising stays one line."""
        self.add_note(note)
        return self


class DefinitionError(OrchkitError, ValueError):
    """A workflow, a policy or an argument is wrong; nothing has run."""


class GraphError(DefinitionError):
    """A graph cannot run. `problems` holds every reason, a str each."""

    problems: tuple[str, ...]


class GraphWarning(OrchkitError, UserWarning):
    """A warning: a workflow can run, and may not do what was meant; ``wf.warnings()`` lists all of them."""


class SimulationError(DefinitionError):
    """A world does not fit the workflow that it should model; no trial has run."""


class RunError(OrchkitError):
    """A run ended without a result.

    Attributes
    ----------
    run_id : str
    node : str
        Path of the node that ended the run; "" if none did.
    attempt : int
        Its last attempt, from 1; 0 if none began.
    """

    run_id: str = ""
    node: str = ""
    attempt: int = 0


class RunCancelled(RunError):
    """Somebody ended the run; what it has recorded is kept."""


class RunSuspended(RunError):
    """Somebody stopped the run for now; ``store.resume`` goes on with it."""


class RunCrashed(RunError):
    """An injected crash ended the engine of this run; the log is all that is left."""


class RunStuck(RunError):
    """Nothing can happen any more: every open instance waits for something that will not come."""


class ContextConflict(RunError):
    """Two steps, neither before the other, wrote a field of the shared context that has no merge rule."""


class AttemptTimeout(OrchkitError, TimeoutError):
    """One attempt took longer than its timeout allows."""


class CallFailed(OrchkitError):
    """What a body has called has failed, in spite of its own policies.

    Attributes
    ----------
    run_id : str
    node : str
        Path of the child.
    transient : bool
        Whether the error that it failed with was worth another attempt.
    """

    run_id: str = ""
    node: str = ""
    transient: bool = False


class PolicyRejection(OrchkitError):
    """A policy let no attempt begin, or go on. It is never retried, and a fallback may deliver.

    Attributes
    ----------
    run_id : str
    node : str
        Path of the node that was rejected.
    key : str
        What it shares with others: the ``key`` of the policy, or a provider; "" if nothing.
    """

    run_id: str = ""
    node: str = ""
    key: str = ""


class BreakerOpen(PolicyRejection):
    """What the step would ask has failed too often just now; nothing was asked."""


class BulkheadFull(PolicyRejection):
    """Too many are at it already, and as many wait as may; nothing was asked."""


class BudgetExhausted(PolicyRejection):
    """Enough has been spent; nothing was asked."""


class DeadlineExceeded(PolicyRejection, TimeoutError):
    """The node, or the run, took longer than it may; what was under way has been cancelled."""


class ModelError(OrchkitError):
    """A model was reached and did not give a usable answer; asking again may help, as its status says."""


class ApprovalError(OrchkitError):
    """An answer was not taken."""


class ApprovalUnknown(ApprovalError, LookupError):
    """No such question is open, or the name fits several."""


class AnswerInvalid(ApprovalError, ValueError):
    """The answer does not fit the question's model; correct it and send it again."""


class AnswerLate(ApprovalError):
    """The question was settled before this answer came."""


class StoreError(OrchkitError):
    """A store could not do what was asked."""


class StoreBusy(StoreError):
    """Another process holds the store's file.

    Attributes
    ----------
    pid : int
        Of that process; 0 if nobody knows.
    """

    pid: int = 0


class RunHeld(StoreError):
    """Somebody is executing that run right now; watch it by ``store.run(id)``.

    Attributes
    ----------
    run_id : str
    pid : int
        Of the process that executes it; 0 if nobody knows.
    host : str
        Where that process is; "" for this machine.
    """

    run_id: str = ""
    pid: int = 0
    host: str = ""


class StoreUnreadable(StoreError):
    """The file is not a store, is damaged, or was written by a newer orchkit."""


class StoreWriteError(StoreError):
    """Events could not be made durable; the run that wrote them has stopped."""


class StoreReadOnly(StoreError):
    """Nothing may be written: the store was opened for reading only, or waits for ``store.confirm()``."""


class StoreNotice(StoreError, UserWarning):
    """A warning: opening a file had to do something that its user should know, such as move it to a newer schema."""


class StoreDamaged(StoreNotice):
    """A warning: a file was damaged; it says what is missing, what was kept, and what can be done."""


class RunUnknown(StoreError, LookupError):
    """The store has no run of that id."""


class ReplayError(OrchkitError):
    """A log and the code that should continue it do not fit together."""


class ReplayMismatch(ReplayError):
    """The code asks for something else than the log holds."""


class DefinitionChanged(ReplayError):
    """The workflow is not the one that was recorded. `nodes` names what differs."""

    nodes: tuple[str, ...] = ()


class ChangedEffect(ReplayError):
    """An effect that is done would be done again; nothing has run.

    Attributes
    ----------
    run_id, node : str
        Whose effect it is.
    """

    run_id: str = ""
    node: str = ""


class CodecError(OrchkitError, TypeError):
    """A value cannot be stored as it is.

    Attributes
    ----------
    path : str
        Where in the value, such as ``.items[3].when``; "" for all of it.
    node : str
        Path of the node whose value it is.
    run_id : str
        "" before there is a run.
    type : str
        Name of the class of what cannot be stored.
    remedy : str
        Why, and what to do about it.
    """

    path: str = ""
    node: str = ""
    run_id: str = ""
    type: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Say all of it; the run too, once it is known.

        The run is no part of the recorded text, or runs that are equal would have unequal logs.
        """
        said = super().__str__()
        return f"{said} (run {self.run_id!r})" if self.run_id else said

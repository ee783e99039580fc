"""Admission of runs that are whole when they come: forks, and simulated runs that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from orchkit.model.events import Event
from orchkit.model.protocols import RunStore
from orchkit.model.records import Head

__all__ = ["admit_whole"]


def admit_whole(store: RunStore, head: Head, events: Sequence[Event]) -> None:
    """Record a run with its log; returns when both are durable.

    Raises
    ------
    StoreError
        If a run of that id is there, or the store cannot take it.
    """
    journal = store.admit(head)
    told: Future[None] = Future()
    try:
        for event in events:
            journal.append(event)
        journal.when_durable(lambda error: told.set_result(None) if error is None else told.set_exception(error))
        told.result()
    finally:
        journal.release()

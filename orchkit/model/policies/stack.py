"""The stack of a node: its policies, one of a kind, in the one order that they act in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from orchkit.model.policies.breaker import Breaker
from orchkit.model.policies.budget import Budget
from orchkit.model.policies.bulkhead import Bulkhead
from orchkit.model.policies.deadline import Deadline
from orchkit.model.policies.escalate import Escalate
from orchkit.model.policies.fallback import Fallback
from orchkit.model.policies.hedge import Hedge
from orchkit.model.policies.ratelimit import RateLimit
from orchkit.model.policies.retry import Retry
from orchkit.model.policies.timeout import Timeout

__all__ = ["POLICIES", "Only", "Policy", "in_order", "only"]

Policy = Escalate | Fallback | Deadline | Hedge | Retry | Budget | Breaker | Bulkhead | RateLimit | Timeout
"""Any policy. Its `kind` is also the name of the option that gives it to a step."""

# Outermost first. A rejection is not retried but does reach the fallback, so what rejects is inside both; a queue is
# not held against the attempt's own time, so what queues is outside the time-out, and inside the deadline.
POLICIES: Final[tuple[type[Policy], ...]] = (
    Escalate, Fallback, Deadline, Hedge, Retry, Budget, Breaker, Bulkhead, RateLimit, Timeout,
)  # fmt: skip
"""The kinds of policies, outermost first."""

_PLACE: Final = {policy.kind: place for place, policy in enumerate(POLICIES)}


def in_order(policies: Iterable[Policy]) -> tuple[Policy, ...]:
    """Give policies in the order that they act in, outermost first.

    Examples
    --------
    >>> in_order([Timeout(20), Hedge(15), Retry(3)])
    (Hedge(15), Retry(3), Timeout(20))
    """
    return tuple(sorted(policies, key=lambda policy: _PLACE[policy.kind]))


@dataclass(frozen=True, slots=True)
class Only:
    """These policies and no others; made by `only`."""

    policies: tuple[Policy, ...]


def only(*policies: Policy) -> Only:
    """Replace a node's whole stack in ``wf.using``, instead of one kind at a time.

    Examples
    --------
    >>> only(Retry(2), Timeout(5))
    Only(policies=(Retry(2), Timeout(5)))
    """
    return Only(policies)

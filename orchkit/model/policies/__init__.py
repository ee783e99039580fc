"""Policies: values that protect one node, one a file. What they do lives in `orchkit.engine`."""

from __future__ import annotations

from orchkit.model.policies.breaker import Breaker
from orchkit.model.policies.budget import Budget
from orchkit.model.policies.bulkhead import Bulkhead
from orchkit.model.policies.checks import LONGEST, is_bound
from orchkit.model.policies.deadline import Deadline
from orchkit.model.policies.escalate import Escalate
from orchkit.model.policies.fallback import Fallback, option_name
from orchkit.model.policies.hedge import Hedge
from orchkit.model.policies.judging import status_of, transient
from orchkit.model.policies.ratelimit import RateLimit
from orchkit.model.policies.retry import Backoff, Retry, backoff
from orchkit.model.policies.stack import POLICIES, Only, Policy, in_order, only
from orchkit.model.policies.timeout import Timeout

__all__ = [
    "LONGEST",
    "POLICIES",
    "Backoff",
    "Breaker",
    "Budget",
    "Bulkhead",
    "Deadline",
    "Escalate",
    "Fallback",
    "Hedge",
    "Only",
    "Policy",
    "RateLimit",
    "Retry",
    "Timeout",
    "backoff",
    "in_order",
    "is_bound",
    "only",
    "option_name",
    "status_of",
    "transient",
]

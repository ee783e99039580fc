"""Presets: stacks of policies with names, for what others do by themselves.

Each is a tuple of policies, for ``wf.using``.

Examples
--------
>>> from orchkit.model.presets import sdk_default
>>> sdk_default
(Retry(3, wait=backoff(base=0.5, factor=2, cap=8, jitter='sdk')), Timeout(600))
"""

from __future__ import annotations

from typing import Final

from orchkit.model.policies import Retry, Timeout, backoff

__all__ = ["sdk_default"]

sdk_default: Final[tuple[Retry, Timeout]] = (
    Retry(3, wait=backoff(base=0.5, factor=2.0, cap=8.0, jitter="sdk")),
    Timeout(600.0),
)
"""What the common model SDKs do by themselves, in ``wf.using(draft=ok.presets.sdk_default)``.

Two retries, so three attempts; waits of 0.5 s that double up to 8 s, less up to a quarter by chance; ten minutes for
an attempt. The numbers are those of `_constants.py` in openai-python (at 04448952) and anthropic-sdk-python (at
1316de75): ``DEFAULT_MAX_RETRIES``, ``INITIAL_RETRY_DELAY``, ``MAX_RETRY_DELAY``, ``DEFAULT_TIMEOUT``. The jitter,
``1 - 0.25 * random()``, is that of ``_calculate_retry_timeout`` in openai-python's `_base_client.py` (at 000f030a).

It is for modelling such a client, and for putting retries that are recorded in place of its own (``max_retries=0``).
Beside a client that still retries by itself it makes nine calls of three.

It differs in three ways. An SDK's ten minutes bound each wait for bytes, here they bound the attempt. An SDK takes a
Retry-After of up to a minute or two, as its version has it, in place of its own wait; here the longer of the two
counts. And `ok.transient`, which decides what is tried again, also takes an answer that does not fit its type.
"""

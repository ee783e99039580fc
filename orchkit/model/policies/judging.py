"""Which errors are worth another attempt."""

from __future__ import annotations

from orchkit.errors import CallFailed, ModelError, OrchkitError, PolicyRejection

__all__ = ["status_of", "transient"]

_PROGRAMMING = (TypeError, NameError, AttributeError, AssertionError, ImportError)
_RETRIABLE_4XX = frozenset({408, 409, 429})
_QUOTA_CODES = frozenset({"insufficient_quota", "quota_exceeded", "billing_hard_limit_reached", "spend_limit"})


def transient(error: BaseException) -> bool:
    """Say whether trying again could help.

    True for any ``Exception`` but programming errors (TypeError, NameError, AttributeError, AssertionError,
    ImportError), orchkit's own refusals, what a policy rejected (`PolicyRejection`), and errors with a ``status`` of
    4xx other than 408, 409, 429, or with a ``code`` that means an exhausted quota. A time-out of an attempt and a
    failed validation are transient: a model may answer in time, or in shape, when asked again.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool

    Examples
    --------
    >>> transient(ConnectionError("reset")), transient(TypeError("no such argument"))
    (True, False)
    """
    if not isinstance(error, Exception) or isinstance(error, _PROGRAMMING):
        return False
    if isinstance(error, CallFailed):
        return error.transient
    if isinstance(error, OrchkitError) and not isinstance(error, (TimeoutError, ModelError)):
        return False
    if isinstance(error, PolicyRejection):  # also the one that is a TimeoutError: a deadline does not come back
        return False
    code = getattr(error, "code", None)
    if isinstance(code, str) and code in _QUOTA_CODES:
        return False
    status = status_of(error)
    return not (status is not None and 400 <= status < 500 and status not in _RETRIABLE_4XX)


def status_of(error: BaseException) -> int | None:
    """Find the HTTP status that an error carries, by the names that clients use."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status"):
            status = getattr(holder, name, None)
            if isinstance(status, int):
                return status
    return None

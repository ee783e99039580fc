"""What goes to a chat server and what comes back, as plain values: no client, no waiting."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import quote, urlsplit

__all__ = [
    "advice",
    "choice",
    "endpoint",
    "error_code",
    "error_message",
    "header_safe",
    "hidden",
    "messages",
    "retry_after",
    "shown",
    "token_counts",
    "unfenced",
]

_PATH = "/chat/completions"
_CODE = re.compile(r"[\w.:-]{1,64}")
# Placeholders such as "x" or "none", as local servers take them, occur inside words: hidden as words only.
_PLACEHOLDER = 8
_REFUSED = "The server will not take this request as it is: change it; .body says why."
_MALFORMED = "Check that base_url is the root of an OpenAI-compatible API; .body holds what came instead."
_ADVICE = {
    401: "Check api_key, or ORCHKIT_MODEL_KEY.",
    403: "Check what the key (api_key, or ORCHKIT_MODEL_KEY) may use.",
    404: "Check base_url, which mostly ends in /v1, and the name of the model.",
}


def endpoint(base_url: str) -> str:
    """Return the address that calls go to.

    Parameters
    ----------
    base_url : str
        Root of the server's API, usually ending in ``/v1``. A query, if any, is kept.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If `base_url` is no http or https address, or already names the endpoint.

    Examples
    --------
    >>> endpoint("http://127.0.0.1:8000/v1/")
    'http://127.0.0.1:8000/v1/chat/completions'
    """
    url = base_url.strip()
    bare = url.rpartition("@")[2]
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(
            f"base_url must be an http:// or https:// address with a host, got {bare!r}; "
            "write it like 'http://127.0.0.1:8000/v1'"
        )
    path = parts.path.rstrip("/")
    if path.endswith(_PATH):
        raise ValueError(f"base_url must be the root of the API, got {bare!r}; leave {_PATH!r} off, each call adds it")
    return parts._replace(path=path + _PATH, fragment="").geturl()


def shown(url: str) -> str:
    """Return an address as it may be shown: without user, password, query and fragment.

    Examples
    --------
    >>> shown("https://me:secret@host/v1?key=secret")
    'https://host/v1'
    """
    parts = urlsplit(url.strip())
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def call_key(step: str, attempt: int, body: Mapping[str, Any]) -> str:
    """Name one request of one attempt: the step's key alone would make a retry get its first answer again."""
    request = blake2b(json.dumps(body, sort_keys=True, default=str).encode(), digest_size=6).hexdigest()
    return header_safe(f"{step}:{attempt}:{request}")


def header_safe(value: str) -> str:
    """Return a text that may stand in a header; two different texts stay different.

    Examples
    --------
    >>> header_safe("r1/draft#1"), header_safe("prüfen")
    ('r1/draft#1', 'pr%C3%BCfen')
    """
    return quote(value, safe="!#$&'()*+,/:;=?@[]^`{|}~")


def hidden(text: str, key: str) -> str:
    """Return `text` with `key` blotted out: servers like to repeat a key that they refuse.

    Examples
    --------
    >>> hidden("Incorrect API key provided: sk-12345678.", "sk-12345678")
    'Incorrect API key provided: [key].'
    """
    if not key:
        return text
    exact = re.escape(key)
    return re.sub(exact if len(key) >= _PLACEHOLDER else rf"(?<!\w){exact}(?!\w)", "[key]", text)


def messages(
    prompt: str | Sequence[Mapping[str, Any]], system: str | None, schema: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return the messages of one call, with at most one system message in front.

    Parameters
    ----------
    prompt : str or sequence of mappings
        A question, or messages with "role" and "content".
    system : str or None
        Instructions that precede those in `prompt`.
    schema : mapping or None
        JSON Schema that the answer must fit; it is told to the model.

    Returns
    -------
    list of dict
        New dicts; `prompt` is not changed.

    Raises
    ------
    TypeError
        If `prompt` is neither a str nor a non-empty sequence of such messages.

    Examples
    --------
    >>> messages("Is this a complaint?", "Answer yes or no.", None)
    [{'role': 'system', 'content': 'Answer yes or no.'}, {'role': 'user', 'content': 'Is this a complaint?'}]
    """
    talk = _talk(prompt)
    rules = [system] if system else []
    # Merged, because many chat templates refuse a system message that is not the first and only one.
    if talk[0]["role"] == "system" and isinstance(talk[0]["content"], str):
        rules.append(talk.pop(0)["content"])
    if schema is not None:
        # The field names must be told, and servers refuse JSON mode when no message says "JSON".
        rules.append("Answer with one JSON object that fits this JSON Schema:\n" + json.dumps(schema))
    return [{"role": "system", "content": "\n\n".join(rules)}, *talk] if rules else talk


def _talk(prompt: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    talk = [dict(one) for one in prompt if isinstance(one, Mapping) and {"role", "content"} <= one.keys()]
    if not talk or len(talk) < len(prompt):
        raise TypeError(
            f"prompt must be a str or a non-empty list of messages, got {str(prompt)[:80]!r}; "
            "write a message as {'role': 'user', 'content': '...'}"
        )
    return talk


def choice(payload: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """Read the first choice of a completion: its text and why it ended.

    Returns
    -------
    tuple of (str, str or None), or None
        None if the payload holds no answer in text. A refusal is an answer. An answer of which nothing
        is left, because it was cut or filtered at once, has the text "".

    Examples
    --------
    >>> choice({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]})
    ('yes', 'stop')
    """
    choices = payload.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, dict):
        return None
    why = first.get("finish_reason")
    why = why if isinstance(why, str) else None
    texts = [text for text in (message.get("content"), message.get("refusal")) if isinstance(text, str)]
    if not texts and why in ("length", "content_filter"):
        texts = [""]
    return (texts[0], why) if texts else None


def token_counts(payload: Mapping[str, Any]) -> tuple[int, int] | None:
    """Read how many tokens went in and out; None if the server does not say.

    Examples
    --------
    >>> token_counts({"usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}})
    (9, 2)
    """
    usage = payload.get("usage")
    if not isinstance(usage, dict):
        return None
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens", 0)]
    if not all(type(count) is int and count >= 0 for count in counts):
        return None
    return counts[0], counts[1]


def unfenced(text: str) -> str:
    """Return the JSON inside a Markdown fence, or the text itself.

    Examples
    --------
    >>> unfenced('Sure: ```json {"yes": true} ``` Anything else?').strip()
    '{"yes": true}'
    """
    bare = text.strip()
    start, end = bare.find("```"), bare.rfind("```")
    # JSON that begins at once may hold fences inside its strings.
    if bare.startswith(("{", "[")) or start == end:
        return bare
    inside = bare[start + 3 : end]
    return inside[4:] if inside[:4].lower() == "json" else inside


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long a server asks its callers to wait.

    Parameters
    ----------
    headers : mapping of str to str
        Looked up in lower case: a dict of lower-case names, or httpx headers.

    Returns
    -------
    float, seconds, >= 0, or None
        From ``retry-after-ms``, else from ``retry-after`` in seconds or as an HTTP date. A date is counted
        from the server's own ``date``, so that two clocks need not agree. None if nothing readable is said.

    Examples
    --------
    >>> retry_after({"retry-after": "2"}), retry_after({"retry-after-ms": "250"})
    (2.0, 0.25)
    >>> retry_after({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"})
    30.0
    """
    millis = _number(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    said = headers.get("retry-after")
    seconds = _number(said)
    if seconds is not None:
        return seconds
    then = _instant(said)
    return None if then is None else max(0.0, then - _now(headers))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _instant(text: str | None) -> float | None:
    """Read an HTTP date as seconds since 1970."""
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    # A date without a zone is GMT here (RFC 9110, 5.6.7), not local time as datetime would have it.
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _now(headers: Mapping[str, str]) -> float:
    from orchkit.clock.ids import wall_micro

    served = _instant(headers.get("date"))
    return wall_micro() / 1e6 if served is None else served


def error_code(payload: object) -> str | None:
    """Read the code, or else the type, of an error body.

    Examples
    --------
    >>> error_code({"error": {"type": "requests", "code": "rate_limit_exceeded"}})
    'rate_limit_exceeded'
    >>> error_code({"error": {"type": "BadRequestError", "code": 400}})
    'BadRequestError'
    """
    for holder in _holders(payload):
        for name in ("code", "type"):
            said = holder.get(name)
            if isinstance(said, str) and _CODE.fullmatch(said):
                return said
    return None


def error_message(payload: object) -> str:
    """Read what an error body says to people; "" if nothing.

    Examples
    --------
    >>> error_message({"error": "model not found"}), error_message({"error": {"message": "slow down"}})
    ('model not found', 'slow down')
    """
    for holder in _holders(payload):
        for name in ("message", "error", "detail"):
            if isinstance(holder.get(name), str):
                return str(holder[name])
    return ""


def _holders(payload: object) -> list[dict[str, Any]]:
    """Return the places where servers put what went wrong, the usual one first."""
    if not isinstance(payload, dict):
        return []
    return [one for one in (payload.get("error"), payload) if isinstance(one, dict)]


def advice(status: int, code: str | None, wait: float | None) -> str:
    """Say what to do after an answer with this status.

    Examples
    --------
    >>> advice(429, "insufficient_quota", None)
    'The quota is used up and retrying does not help: raise it, or fall back to another model.'
    """
    if code and any(word in code for word in ("quota", "billing", "spend")):
        return "The quota is used up and retrying does not help: raise it, or fall back to another model."
    if status == 429:
        pause = "a while" if wait is None else f"{wait:g} s"
        return f"Too many calls: wait {pause} and retry, or send fewer at once (RateLimit, Bulkhead)."
    if status in (408, 409) or status >= 500:
        return "This often passes: retry with a wait, or fall back to another model."
    return _ADVICE.get(status, _REFUSED if status >= 400 else _MALFORMED)

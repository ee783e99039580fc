"""Calls to any server that answers ``/chat/completions`` as OpenAI does."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, TypeVar, overload
from weakref import WeakKeyDictionary

from orchkit.interop import _wire
from orchkit.interop._reply import Answered, ModelCallError, Reply, ReplyInvalid, fitted, schema_of

if TYPE_CHECKING:
    import ssl

    import httpx
    from pydantic import BaseModel

__all__ = [
    "CallContext",
    "Chat",
    "ModelCallError",
    "Reply",
    "ReplyInvalid",
    "openai_chat",
    "openai_chat_from_env",
]

M = TypeVar("M", bound="BaseModel")

Prompt: TypeAlias = str | Sequence[Mapping[str, Any]]

_KEY = "ORCHKIT_MODEL_KEY"
# What this call decides itself: it reads one whole answer, so streams and several answers would be lost.
_OURS = frozenset({"messages", "stream", "n"})


class CallContext(Protocol):
    """What a call needs of a step's context; ``idempotency_key`` and ``remaining`` are used if present."""

    def spend(self, *, cost: float, tokens_in: int, tokens_out: int) -> object:
        """Record what a call cost."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Chat:
    """A model behind an OpenAI-compatible server; made by `openai_chat`, called like a function.

    It may be used from any event loop, and from several. ``async with`` or `aclose` closes what the running
    loop holds; a chat that is dropped without it leaves no socket open. A copy made by pickling has neither
    the API key nor connections; it reads ORCHKIT_MODEL_KEY where it runs.

    Parameters
    ----------
    base_url, model, timeout, price_in, price_out, transport
        As in `openai_chat`.

    Examples
    --------
    >>> chat = openai_chat("http://127.0.0.1:8000/v1", "small", timeout=20.0)
    >>> chat.model, chat.timeout
    ('small', 20.0)
    """

    base_url: str
    model: str
    timeout: float | None = 60.0
    price_in: float = 0.0
    price_out: float = 0.0
    transport: httpx.AsyncBaseTransport | None = None
    _api_key: str | None = None
    _clients: WeakKeyDictionary[Any, httpx.AsyncClient] = field(init=False, default_factory=WeakKeyDictionary)

    def __post_init__(self) -> None:
        _wire.endpoint(self.base_url)
        _check_numbers(self.timeout, self.price_in, self.price_out)
        _clean_key(self._api_key or "")

    def __repr__(self) -> str:
        return f"Chat({_wire.shown(self.base_url)!r}, {self.model!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        prices = (self.price_in, self.price_out)
        return Chat, (self.base_url, self.model, self.timeout, *prices, self.transport)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        # A value that cannot change may be its own copy; a copy by __reduce__ would have lost the key.
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what the running event loop holds, a given `transport` included; a later call opens anew."""
        client = self._clients.pop(_running_loop(), None)
        if client is not None:
            await client.aclose()

    @overload
    async def __call__(
        self,
        prompt: Prompt,
        *,
        system: str | None = ...,
        ctx: CallContext | None = ...,
        answer: None = ...,
        **options: Any,
    ) -> Reply: ...
    @overload
    async def __call__(
        self,
        prompt: Prompt,
        *,
        system: str | None = ...,
        ctx: CallContext | None = ...,
        answer: type[M],
        **options: Any,
    ) -> M: ...
    async def __call__(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        ctx: CallContext | None = None,
        answer: type[M] | None = None,
        **options: Any,
    ) -> Reply | M:
        """Ask the model once; nothing is retried here, that is the step's policy.

        Parameters
        ----------
        prompt : str or sequence of mappings
            A question, or messages with "role" and "content".
        system : str, optional
            Instructions, put before all else.
        ctx : orchkit.Context, optional
            The step's context. Tokens and cost are spent on it, once for each answer that arrives, also for
            one that cannot be used; its `idempotency_key` is part of the header of that name, its `remaining`
            bounds the waiting.
        answer : type of pydantic.BaseModel, optional
            Ask for JSON that fits this model, and return it validated. JSON in a Markdown fence is taken too.
        **options
            Go into the request as they are: ``temperature``, ``max_tokens``, ``seed``, ...

        Returns
        -------
        Reply or an instance of `answer`
            A cut answer has ``truncated`` set.

        Raises
        ------
        ModelCallError
            If the server answers with an error, or with something that is no completion.
        ReplyInvalid
            If the answer does not fit `answer`.
        TimeoutError
            If no time is left before the deadline; nothing was sent.
        TypeError
            If `prompt`, `answer` or an option is of no use here.
        httpx.HTTPError
            If the server is not reached, breaks off or does not answer in time.

        Notes
        -----
        Cancelling the call closes its connection; the server may go on and charge for it. The idempotency key
        names the step, the attempt and the request: an attempt that a crash cut off is answered again alike by a
        server that heeds it, while a retry, which wants another answer, gets one.
        """
        body = self._body(prompt, system, answer, options)
        response = await self._post(body, ctx)
        answered = Answered(response, _wire.shown(self.base_url), self._key())
        payload = answered.payload()
        # Before the answer is judged: one that cannot be used has been paid for all the same.
        counts = _wire.token_counts(payload)
        tokens_in, tokens_out = counts or (0, 0)
        cost = (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6
        if ctx is not None:
            ctx.spend(cost=cost, tokens_in=tokens_in, tokens_out=tokens_out)
        text, why = answered.choice(payload)
        named = payload.get("model")
        name = named if isinstance(named, str) else str(body["model"])
        reply = Reply(text, name, why, tokens_in, tokens_out, cost, counts is not None)
        return reply if answer is None else fitted(reply, answer)

    def _body(
        self,
        prompt: Prompt,
        system: str | None,
        answer: type[BaseModel] | None,
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        if taken := sorted(_OURS & options.keys()):
            raise TypeError(f"{', '.join(taken)} cannot be set: a call sends `prompt` and reads one whole answer")
        schema = None if answer is None else schema_of(answer)
        wanted = {} if answer is None else {"response_format": {"type": "json_object"}}
        return {"model": self.model, "messages": _wire.messages(prompt, system, schema), **wanted, **options}

    async def _post(self, body: Mapping[str, Any], ctx: CallContext | None) -> httpx.Response:
        seconds = _seconds(self.timeout, getattr(ctx, "remaining", None))
        url, headers = _wire.endpoint(self.base_url), self._headers(body, ctx)
        return await self._client().post(url, json=body, headers=headers, timeout=seconds)

    def _client(self) -> httpx.AsyncClient:
        """Return the running loop's client: connections cannot move between loops."""
        import httpx

        loop = _running_loop()
        if loop not in self._clients:
            # Steps run on loops that the owner of the chat never sees, so nobody could close idle connections
            # there; none are kept. Nor does a call then fail on one that the server has just given up. The
            # number at once is a bulkhead's affair: waiting here would count against the attempt's time.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            trust = _trust() if self.transport is None else True
            self._clients[loop] = httpx.AsyncClient(transport=self.transport, limits=limits, verify=trust)
        return self._clients[loop]

    def _headers(self, body: Mapping[str, Any], ctx: CallContext | None) -> httpx.Headers:
        """Return httpx headers, not a dict: their repr, as a traceback may show it, hides the key."""
        import httpx

        headers = httpx.Headers()
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        if once := getattr(ctx, "idempotency_key", ""):
            headers["Idempotency-Key"] = _wire.call_key(str(once), getattr(ctx, "attempt", 1), body)
        return headers

    def _key(self) -> str:
        return _clean_key(os.environ.get(_KEY, "") if self._api_key is None else self._api_key)


def openai_chat(
    base_url: str,
    model: str,
    *,
    api_key: str | None = None,
    timeout: float | None = 60.0,
    price_in: float = 0.0,
    price_out: float = 0.0,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Chat:
    """Return a model behind any OpenAI-compatible server, to be called inside steps.

    Parameters
    ----------
    base_url : str
        Root of the API, as in ``"http://127.0.0.1:8000/v1"``.
    model : str
        Name of the model on that server.
    api_key : str, optional
        By default ORCHKIT_MODEL_KEY, read at each call; "" sends none. It is in no repr and no error.
    timeout : float, seconds, > 0, or None
        Bounds each wait for the server: to connect, to send, for the answer to begin or go on. The time of a
        whole attempt is bounded by the step's own ``timeout``.
    price_in, price_out : float, US dollars per million tokens, >= 0
        By default calls count as free.
    transport : httpx.AsyncBaseTransport, optional
        Carries the requests instead of the network, for tests and faults.

    Returns
    -------
    Chat
        An async function: ``await chat(prompt, system=, ctx=, answer=, **options)``.

    Raises
    ------
    ValueError
        If the address, a price, the timeout or the key cannot be used.

    Examples
    --------
    >>> import asyncio, httpx
    >>> said = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}],
    ...         "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
    >>> canned = httpx.MockTransport(lambda request: httpx.Response(200, json=said))
    >>> chat = openai_chat("http://127.0.0.1:8000/v1", "small", price_in=0.5, transport=canned)
    >>> chat
    Chat('http://127.0.0.1:8000/v1', 'small')
    >>> asyncio.run(chat("Is this a complaint? 'Where is my parcel?'", system="Answer yes or no."))
    Reply(text='yes', model='small', finish_reason='stop', tokens_in=9, tokens_out=1, cost_usd=4.5e-06,
          metered=True)
    """
    return Chat(base_url, model, timeout, price_in, price_out, transport, api_key)


def openai_chat_from_env() -> Chat | None:
    """Return the chat that the environment describes, or None if it describes none.

    ORCHKIT_MODEL_URL is the root of the API, ORCHKIT_MODEL_NAME the model (by default "default"), and
    ORCHKIT_MODEL_KEY the key, read at each call.

    Returns
    -------
    Chat or None

    Raises
    ------
    ValueError
        If ORCHKIT_MODEL_URL is no http or https address.

    Examples
    --------
    >>> chat = openai_chat_from_env()
    >>> "a model is at hand" if chat else "use ok.fake"  # doctest: +SKIP
    'use ok.fake'
    """
    url = os.environ.get("ORCHKIT_MODEL_URL", "").strip()
    return openai_chat(url, os.environ.get("ORCHKIT_MODEL_NAME") or "default") if url else None


def _running_loop() -> object:
    import asyncio  # noqa: TID251  # a client belongs to the live loop that it was made on

    return asyncio.get_running_loop()


@cache
def _trust() -> ssl.SSLContext:
    """Load the certificates of the machine once: a tenth of a second that each client would take anew."""
    import httpx

    return httpx.create_ssl_context()


def _check_numbers(timeout: float | None, *prices: float) -> None:
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be seconds > 0, or None for no limit, got {timeout!r}")
    for price in prices:
        if not (math.isfinite(price) and price >= 0):
            raise ValueError(f"price_in and price_out are US dollars per million tokens, >= 0, got {price!r}")


def _clean_key(key: str) -> str:
    """Strip what a file or a shell adds; refuse what httpx would repeat in an error about the header."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"api_key (or {_KEY}) has characters that cannot be sent in a header; copy it anew")
    return key


def _seconds(timeout: float | None, left: float | None) -> float | None:
    if left is None:
        return timeout
    # Said here, since httpx with no time at all may still have sent the request, and it would be paid for.
    if left <= 0:
        raise TimeoutError("no time is left before the deadline: the model was not called; allow it more")
    return left if timeout is None else min(timeout, left)

"""A real chat server on the loopback, with a script instead of a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Final, Self

__all__ = ["HANG", "Answer", "Asked", "ModelServer", "said"]

Body = str | bytes | Mapping[str, Any]
Answer = tuple[int, Mapping[str, str], Body]

HANG: Final[Answer] = (0, {}, "")
"""Scripted in place of an answer: say nothing until the server is closed."""


def said(
    text: str | None, *, finish: str | None = "stop", tokens: tuple[int, int] | None = (9, 2), **more: Any
) -> Answer:
    """Return the answer of a model that says `text`; `more` goes into the body."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    body: dict[str, Any] = {"object": "chat.completion", "model": "scripted-1", "choices": [choice]}
    if tokens is not None:
        body["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return 200, {}, body | more


@dataclass(frozen=True)
class Asked:
    """One request, as it arrived; names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The request's JSON."""
        return json.loads(self.raw)


class ModelServer:
    """Serve a script on 127.0.0.1: a list of answers, given in turn, or a function of the request.

    After the last answer of a list comes a 500 with the code "script_over".

    Examples
    --------
    >>> with ModelServer([said("yes"), HANG]) as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self, script: Iterable[Answer] | Callable[[Asked], Answer]) -> None:
        turns = iter(()) if callable(script) else iter(script)
        over: Answer = (
            500,
            {},
            {"error": {"code": "script_over", "message": "the script has no more answers"}},
        )
        self._answer = script if callable(script) else lambda _: next(turns, over)
        self._closing = Event()
        self.asked: list[Asked] = []
        self.connections = 0
        self._server = _Server(self)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Root of the API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Asked) -> Answer | None:  # in the thread of one connection
        """Record a request and return what to say, or None if the server closed meanwhile."""
        self.asked.append(request)
        answer = self._answer(request)
        if answer is HANG:
            self._closing.wait()
            return None
        return answer


class _Server(ThreadingHTTPServer):
    request_queue_size = 512  # the usual 5 would turn a burst of calls into resets
    daemon_threads = False  # so that closing waits for the handlers: nothing of a test outlives it

    def __init__(self, owner: ModelServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections, as real servers do: a client's leak is seen
    timeout = 10.0  # ends the wait for a client that leaks one
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.owner.connections += 1

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.owner.answer(Asked(self.command, self.path, headers, raw))
        # A client that gave up is no trouble of the server's.
        with suppress(ConnectionError):
            if answer is None:
                self.close_connection = True
            else:
                self._say(*answer)

    def _say(self, status: int, headers: Mapping[str, str], body: Body) -> None:
        data = json.dumps(body).encode() if isinstance(body, Mapping) else body
        data = data.encode() if isinstance(data, str) else data
        usual = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        self.send_response(status)
        for name, value in (usual | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

"""Calls over a real loopback connection to a scripted server."""

from __future__ import annotations

import asyncio  # a call is real: it needs a live loop
import copy
import gc
import json
import pickle
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from orchkit.interop import (
    Chat,
    ModelCallError,
    Reply,
    ReplyInvalid,
    openai_chat,
    openai_chat_from_env,
)
from tests.support.model_server import HANG, Answer, Asked, ModelServer, said

T = TypeVar("T")
KEY = "sk-very-secret-1234"


class Verdict(BaseModel):
    complaint: bool
    why: str = ""


@dataclass
class Ctx:
    """As much of a step's context as a call uses."""

    idempotency_key: str = ""
    attempt: int = 1
    remaining: float | None = None
    spent: list[tuple[float, int, int]] = field(default_factory=list)

    def spend(self, *, cost: float = 0.0, tokens_in: int = 0, tokens_out: int = 0) -> None:
        self.spent.append((cost, tokens_in, tokens_out))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep proxies and keys of the machine out, and make a leaked socket warn in the test that leaks it."""
    for name in ("URL", "NAME", "KEY"):
        monkeypatch.delenv(f"ORCHKIT_MODEL_{name}", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    gc.collect(1)  # the young are enough, and a tenth of a second faster


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def failing(answer: Answer, **options: Any) -> ModelCallError:
    """Return the error of one call that the server answers so."""
    with ModelServer([answer]) as server, pytest.raises(ModelCallError) as caught:
        run(openai_chat(server.url, "m", **options)("hello"))
    return caught.value


# --- what is sent, what comes back


def test_text_reply() -> None:
    with ModelServer([said("yes")]) as server:
        reply = run(openai_chat(server.url, "m")("Is this a complaint?", system="Answer yes or no."))
    assert reply == Reply("yes", "scripted-1", "stop", 9, 2, 0.0, True)
    assert not reply.truncated
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions")
    assert asked.body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Answer yes or no."},
            {"role": "user", "content": "Is this a complaint?"},
        ],
    }
    assert "authorization" not in asked.headers
    assert "idempotency-key" not in asked.headers


def test_options_reach_the_body() -> None:
    with ModelServer([said("yes")]) as server:
        run(openai_chat(server.url, "m")("?", temperature=0.2, max_tokens=5, stop=["\n"], model="other"))
    body = server.asked[0].body
    assert (body["temperature"], body["max_tokens"], body["stop"], body["model"]) == (0.2, 5, ["\n"], "other")


@pytest.mark.parametrize("name", ["stream", "messages", "n"])
def test_options_that_would_lose_an_answer_are_refused(name: str) -> None:
    options: dict[str, Any] = {name: 1}
    with pytest.raises(TypeError, match=name):
        run(openai_chat("http://127.0.0.1:9/v1", "m")("?", **options))


def test_messages_are_sent_as_they_are_with_one_system_message() -> None:
    talk: list[dict[str, Any]] = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "?"}]},
    ]
    with ModelServer([said("yes"), said("yes")]) as server:
        chat = openai_chat(server.url, "m")
        run(chat(talk))
        run(chat(talk, system="Be brief."))
    assert server.asked[0].body["messages"] == talk
    assert server.asked[1].body["messages"] == [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        talk[1],
    ]
    assert talk[0]["content"] == "Be kind."


@pytest.mark.parametrize("prompt", [[], ["hello"], [{"role": "user"}], {"role": "user", "content": "x"}, 7, None])
def test_a_prompt_of_no_use_is_refused(prompt: Any) -> None:
    with pytest.raises(TypeError):
        run(openai_chat("http://127.0.0.1:9/v1", "m")(prompt))


def test_usage_and_cost_are_spent_once() -> None:
    ctx = Ctx()
    with ModelServer([said("yes", tokens=(1000, 200))]) as server:
        chat = openai_chat(server.url, "m", price_in=2.5, price_out=10.0)
        reply = run(chat("?", ctx=ctx))
    assert reply.cost_usd == pytest.approx(0.0045)
    assert ctx.spent == [(reply.cost_usd, 1000, 200)]


@pytest.mark.parametrize("usage", [None, {}, "many", {"prompt_tokens": -1}, {"prompt_tokens": "9"}])
def test_unknown_usage_is_not_passed_off_as_zero(usage: Any) -> None:
    ctx = Ctx()
    with ModelServer([said("yes", usage=usage)]) as server:
        reply = run(openai_chat(server.url, "m", price_in=1.0)("?", ctx=ctx))
    assert (reply.metered, reply.tokens_in, reply.cost_usd) == (False, 0, 0.0)
    assert ctx.spent == [(0.0, 0, 0)]


def test_an_answer_that_cannot_be_used_is_paid_for() -> None:
    ctx = Ctx()
    with ModelServer([said("maybe"), said(None, finish="tool_calls")]) as server:
        chat = openai_chat(server.url, "m")
        with pytest.raises(ReplyInvalid):
            run(chat("?", ctx=ctx, answer=Verdict))
        with pytest.raises(ModelCallError):
            run(chat("?", ctx=ctx))
    assert ctx.spent == [(0.0, 9, 2), (0.0, 9, 2)]


def test_an_error_costs_nothing() -> None:
    ctx = Ctx()
    with ModelServer([(500, {}, "")]) as server, pytest.raises(ModelCallError):
        run(openai_chat(server.url, "m")("?", ctx=ctx))
    assert ctx.spent == []


def test_the_idempotency_key_names_step_attempt_and_request() -> None:
    with ModelServer([said("yes")] * 5) as server:
        chat = openai_chat(server.url, "m")
        first = Ctx(idempotency_key="r1/draft#1")
        for prompt, ctx in (
            ("?", first), ("?", first), ("!", first), ("?", Ctx(idempotency_key="r1/draft#1", attempt=2)),
            ("?", Ctx(idempotency_key="r1/prüfen")),
        ):  # fmt: skip
            run(chat(prompt, ctx=ctx))
    once, again, other, retry, foreign = (one.headers["idempotency-key"] for one in server.asked)
    assert once == again
    assert len({once, other, retry, foreign}) == 4
    assert once.startswith("r1/draft#1:1:")
    assert foreign.startswith("r1/pr%C3%BCfen:1:")


def test_a_context_needs_only_spend() -> None:
    class Bare:
        def spend(self, **_: float) -> None: ...

    with ModelServer([said("yes")]) as server:
        assert run(openai_chat(server.url, "m")("?", ctx=Bare())).text == "yes"


# --- answers that were cut, refused or filtered


def test_a_cut_answer_says_so() -> None:
    with ModelServer([said("Once upon", finish="length")]) as server:
        reply = run(openai_chat(server.url, "m")("?"))
    assert (reply.text, reply.finish_reason, reply.truncated) == ("Once upon", "length", True)


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_nothing_left_of_an_answer(finish: str) -> None:
    with ModelServer([said(None, finish=finish)]) as server:
        reply = run(openai_chat(server.url, "m")("?"))
    assert (reply.text, reply.finish_reason) == ("", finish)


def test_a_refusal_is_the_text() -> None:
    choice = {"message": {"content": None, "refusal": "I cannot help."}, "finish_reason": "stop"}
    with ModelServer([said("", choices=[choice])]) as server:
        assert run(openai_chat(server.url, "m")("?")).text == "I cannot help."


# --- answers with a model


@pytest.mark.parametrize(
    "text",
    [
        '{"complaint": true, "why": "late"}',
        ' \n{"complaint": true, "why": "late"}\n',
        '```json\n{"complaint": true, "why": "late"}\n```',
        '```\n{"complaint": true, "why": "late"}\n```',
        'Here it is:\n```JSON {"complaint": true, "why": "late"}```\nAnything else?',
    ],
)
def test_validated_answer(text: str) -> None:
    with ModelServer([said(text)]) as server:
        verdict = run(openai_chat(server.url, "m")("?", answer=Verdict, system="Judge."))
    assert verdict == Verdict(complaint=True, why="late")
    body = server.asked[0].body
    assert body["response_format"] == {"type": "json_object"}
    (rules, question) = body["messages"]
    assert rules["content"].startswith("Judge.\n\n")
    assert json.dumps(Verdict.model_json_schema()) in rules["content"]
    assert question == {"role": "user", "content": "?"}


def test_fences_inside_strings_are_kept() -> None:
    text = json.dumps({"complaint": False, "why": "```json\n1\n```"})
    with ModelServer([said(text), said(f"```json\n{text}\n```")]) as server:
        chat = openai_chat(server.url, "m")
        answers = [run(chat("?", answer=Verdict)) for _ in range(2)]
    assert [one.why for one in answers] == ["```json\n1\n```"] * 2


def test_response_format_may_be_chosen() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "v", "schema": Verdict.model_json_schema()}}
    with ModelServer([said('{"complaint": true}')]) as server:
        run(openai_chat(server.url, "m")("?", answer=Verdict, response_format=wanted))
    assert server.asked[0].body["response_format"] == wanted


@pytest.mark.parametrize("text", ["", "maybe", '{"why": "late"}', "```json\n{}\n```", "```", '{"complaint": tr'])
def test_an_answer_that_does_not_fit(text: str) -> None:
    with ModelServer([said(text)]) as server, pytest.raises(ReplyInvalid, match="is no Verdict") as caught:
        run(openai_chat(server.url, "m")("?", answer=Verdict))
    assert (caught.value.text, caught.value.truncated) == (text, False)
    assert isinstance(caught.value.__cause__, ValidationError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.text) == (str(caught.value), text)


def test_an_answer_that_was_cut_tells_the_cure() -> None:
    answer = said('{"complaint": true, "why": "bec', finish="length")
    with ModelServer([answer]) as server, pytest.raises(ReplyInvalid, match="raise max_tokens") as caught:
        run(openai_chat(server.url, "m")("?", answer=Verdict))
    assert caught.value.truncated


@pytest.mark.parametrize("answer", [bool, dict, Verdict(complaint=True), "Verdict"])
def test_answer_must_be_a_model_class(answer: Any) -> None:
    with pytest.raises(TypeError, match="pydantic model class"):
        run(openai_chat("http://127.0.0.1:9/v1", "m")("?", answer=answer))


# --- errors of the server


def test_too_many_requests() -> None:
    body = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}
    error = failing((429, {"Retry-After": "7"}, body))
    assert (error.status, error.code, error.retry_after) == (429, "rate_limit_exceeded", 7.0)
    assert json.loads(error.body) == body
    assert "'slow down'" in str(error)
    assert "wait 7 s" in str(error)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "60", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 09:28:30 +0200", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan", "retry-after-ms": ""}, None),
    ],
)
def test_retry_after(headers: dict[str, str], wait: float | None) -> None:
    answered = httpx.MockTransport(lambda _: httpx.Response(503, headers=headers))
    with pytest.raises(ModelCallError) as caught:
        run(openai_chat("http://127.0.0.1:9/v1", "m", transport=answered)("?"))
    assert caught.value.retry_after == wait


def test_retry_after_a_date_far_ahead_without_the_server_s_clock() -> None:
    headers = {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}
    answered = httpx.MockTransport(lambda _: httpx.Response(503, headers=headers))
    with pytest.raises(ModelCallError) as caught:
        run(openai_chat("http://127.0.0.1:9/v1", "m", transport=answered)("?"))
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 1e9


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"code": "insufficient_quota", "type": "billing"}}, "insufficient_quota"),
        ({"error": {"code": None, "type": "server_error"}}, "server_error"),
        ({"error": {"code": 400, "type": "BadRequestError"}}, "BadRequestError"),
        ({"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error"),
        ({"object": "error", "type": "NotFoundError", "code": 404}, "NotFoundError"),
        ({"error": "model 'm' not found"}, None),
        ({"detail": "Not Found"}, None),
        ({"error": {"code": "a long story, not a code"}}, None),
        ("[]", None),
        ("", None),
        ("<html>Bad gateway</html>", None),
        (b"\xff\xfe\x00", None),
    ],
)
def test_code_of_an_error(body: Any, code: str | None) -> None:
    error = failing((500, {}, body))
    assert (error.status, error.code) == (500, code)
    assert "retry with a wait" in str(error) or code == "insufficient_quota"


def test_a_used_up_quota_is_not_to_be_retried() -> None:
    error = failing((429, {}, {"error": {"code": "insufficient_quota", "message": "exceeded"}}))
    assert "retrying does not help" in str(error)


@pytest.mark.parametrize(
    ("status", "hint"),
    [(400, "change it"), (403, "may use"), (404, "base_url"), (408, "retry"), (529, "retry")],
)
def test_each_status_says_what_to_do(status: int, hint: str) -> None:
    error = failing((status, {}, "{}"))
    assert error.status == status
    assert hint in str(error)


def test_the_body_is_cut() -> None:
    error = failing((500, {}, "x" * 9000))
    assert len(error.body) == 500
    assert len(str(error)) < 400


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_refused_key_is_in_no_message(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHKIT_MODEL_KEY", KEY if how == "environment" else "another")
    body = {"error": {"message": f"Incorrect API key provided: {KEY}.", "code": "invalid_api_key"}}
    with ModelServer([(401, {}, body)]) as server, pytest.raises(ModelCallError) as caught:
        run(openai_chat(server.url, "m", api_key=KEY if how == "argument" else None)("?"))
    error = caught.value
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert (error.status, error.code) == (401, "invalid_api_key")
    assert "ORCHKIT_MODEL_KEY" in str(error)
    for text in (
        str(error),
        repr(error),
        error.body,
        error.url,
        repr(vars(error)),
        repr(pickle.dumps(error)),
    ):
        assert KEY not in text


def test_the_cut_through_a_body_leaves_no_half_key() -> None:
    error = failing((401, {}, "." * 490 + KEY), api_key=KEY)
    assert error.body == "." * 490 + "[key]"


def test_a_key_is_no_code() -> None:
    error = failing((401, {}, {"error": {"code": KEY}}), api_key=KEY)
    assert error.code is None
    assert KEY not in repr((str(error), vars(error)))


def test_a_placeholder_key_leaves_words_alone() -> None:
    body = {"error": {"message": "bad key x", "code": "context_length_exceeded"}}
    error = failing((400, {}, body), api_key="x")
    assert error.code == "context_length_exceeded"
    assert "context_length_exceeded" in error.body
    assert "bad key [key]" in str(error)


def test_the_error_survives_pickling() -> None:
    error = failing((429, {"Retry-After": "7"}, {"error": {"code": "slow_down"}}))
    error.add_note("injected")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is ModelCallError
        assert str(again) == str(error)
        assert vars(again) == vars(error)
        assert (again.status, again.code, again.retry_after) == (429, "slow_down", 7.0)
        assert again.__notes__ == ["injected"]
    assert isinstance(error, RuntimeError)


# --- answers that are none


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>hello</html>",
        '{"choices": [',
        b"\xff\xfe\x00",
        "[]",
        "null",
        {},
        {"choices": []},
        {"choices": None},
        {"choices": {"0": 1}},
        {"choices": ["yes"]},
        {"choices": [{"finish_reason": "stop"}]},
        {"choices": [{"message": "yes", "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": None}, "finish_reason": "tool_calls"}]},
        {"choices": [{"message": {"content": ["yes"]}}]},
        {"error": {"message": "upstream is down"}},
    ],
)
def test_malformed(body: Any) -> None:
    error = failing((200, {}, body))
    assert (error.status, error.code) == (200, "malformed")
    assert "without a completion" in str(error)
    assert "base_url" in str(error)


def test_a_redirect_is_not_followed_with_the_key() -> None:
    error = failing((307, {"Location": "https://me:pw@elsewhere/v1?token=t"}, ""), api_key=KEY)
    assert (error.status, error.code) == (307, "redirect")
    assert "'https://elsewhere/v1'" in str(error)


# --- trouble on the way


def test_connection_refused() -> None:
    with ModelServer([]) as server:
        url = server.url
    with pytest.raises(httpx.ConnectError):
        run(openai_chat(url, "m")("?"))


def test_connection_cut() -> None:
    cut: Answer = (200, {"Content-Length": "999", "Connection": "close"}, "{")
    with ModelServer([cut]) as server, pytest.raises(httpx.RemoteProtocolError):
        run(openai_chat(server.url, "m")("?"))


@pytest.mark.parametrize(("timeout", "remaining"), [(0.05, None), (0.05, 3600.0), (60.0, 0.05), (None, 0.05)])
def test_timeout_is_bounded_by_the_deadline(timeout: float | None, remaining: float | None) -> None:
    with ModelServer([HANG]) as server, pytest.raises(httpx.ReadTimeout) as caught:
        run(openai_chat(server.url, "m", timeout=timeout)("?", ctx=Ctx(remaining=remaining)))
    assert set(caught.value.request.extensions["timeout"].values()) == {0.05}


@pytest.mark.parametrize("left", [0.0, -1.0])
def test_after_the_deadline_nothing_is_sent(left: float) -> None:
    with ModelServer([said("yes")]) as server, pytest.raises(TimeoutError, match="was not called"):
        run(openai_chat(server.url, "m")("?", ctx=Ctx(remaining=left)))
    assert server.asked == []


def test_cancelling_closes_the_connection() -> None:
    with ModelServer([HANG]) as server:

        async def main() -> None:
            async with asyncio.timeout(0.05):
                await openai_chat(server.url, "m")("?")

        with pytest.raises(TimeoutError):
            run(main())


# --- loops and lives


def test_one_chat_in_several_loops() -> None:
    with ModelServer(lambda asked: said(asked.body["messages"][0]["content"])) as server:
        chat = openai_chat(server.url, "m")
        assert [run(chat(word)).text for word in ("one", "two")] == ["one", "two"]

        async def tidy(word: str) -> Reply:
            async with chat as same:
                assert same is chat
                return await chat(word)

        assert [run(tidy(word)).text for word in ("three", "four")] == ["three", "four"]
        assert run(chat("five")).text == "five"


def test_many_calls_at_once() -> None:
    words = [str(number) for number in range(120)]  # more than the connections that httpx allows by default
    together = Barrier(len(words))

    def when_all_are_here(asked: Asked) -> Answer:
        together.wait(timeout=20)
        return said(asked.body["messages"][0]["content"])

    with ModelServer(when_all_are_here) as server:

        async def main() -> list[Reply]:
            async with openai_chat(server.url, "m") as chat:
                return await asyncio.gather(*map(chat, words))

        assert [reply.text for reply in run(main())] == words


def test_no_connection_stays_open() -> None:
    with ModelServer([said("yes")] * 2) as server:

        async def main() -> int:
            chat = openai_chat(server.url, "m")
            await chat("?")
            await chat("?")
            return server.connections

        assert run(main()) == 2


def test_a_closed_chat_opens_anew() -> None:
    with ModelServer([said("yes")] * 2) as server:

        async def main() -> str:
            chat = openai_chat(server.url, "m")
            await chat.aclose()
            await chat("?")
            await chat.aclose()
            await chat.aclose()
            return (await chat("?")).text

        assert run(main()) == "yes"


def test_closing_closes_a_given_transport() -> None:
    class Transport(httpx.MockTransport):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    transport = Transport(lambda _: httpx.Response(200, json=said("yes")[2]))

    async def main() -> None:
        async with openai_chat("http://127.0.0.1:9/v1", "m", transport=transport) as chat:
            await chat("?")
            assert transport.closed == 0

    run(main())
    assert transport.closed == 1


# --- the object


def test_repr_shows_address_and_model_only() -> None:
    chat = openai_chat("https://me:pass@host:8000/v1?token=t", "m", api_key=KEY)
    assert repr(chat) == str(chat) == "Chat('https://host:8000/v1', 'm')"


def test_no_local_variable_of_a_call_shows_the_key() -> None:
    with ModelServer([HANG]) as server, pytest.raises(httpx.TimeoutException) as caught:
        run(openai_chat(server.url, "m", api_key=KEY, timeout=0.05)("?"))
    ours = [frame for frame in caught.traceback if Path(frame.path).name == "_chat.py"]
    assert {"__call__", "_post"} <= {frame.name for frame in ours}
    shown = [repr(value) for frame in ours for value in frame.locals.values()]
    assert not [text for text in shown if KEY in text]


def test_a_chat_is_frozen() -> None:
    chat = openai_chat("http://h/v1", "m")
    with pytest.raises(AttributeError):
        chat.model = "other"  # type: ignore[misc]  # what is tested


def test_a_pickled_chat_leaves_its_key_behind() -> None:
    chat = openai_chat("http://h/v1", "m", api_key=KEY, timeout=5.0, price_in=1.0, price_out=2.0)
    data = pickle.dumps(chat)
    assert KEY.encode() not in data
    again = pickle.loads(data)
    assert (again.base_url, again.model, again.timeout, again.price_in, again.price_out) == (
        "http://h/v1",
        "m",
        5.0,
        1.0,
        2.0,
    )
    assert copy.deepcopy(chat) is copy.copy(chat) is chat


@pytest.mark.parametrize("key", ["  sk-1234\n", "sk-1234"])
def test_a_key_from_a_file_is_stripped(key: str) -> None:
    with ModelServer([said("yes")]) as server:
        run(openai_chat(server.url, "m", api_key=key)("?"))
    assert server.asked[0].headers["authorization"] == "Bearer sk-1234"


@pytest.mark.parametrize("key", ["sk-12\n34", "sk-schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="ORCHKIT_MODEL_KEY") as caught:
        openai_chat("http://h/v1", "m", api_key=key)
    assert "sk-" not in str(caught.value)


def test_an_empty_key_sends_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHKIT_MODEL_KEY", KEY)
    with ModelServer([said("yes")]) as server:
        run(openai_chat(server.url, "m", api_key="")("?"))
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000/v1",
        "localhost:8000",
        "ftp://h/v1",
        "http://",
        "http:///v1",
        "http://h:port/v1",
        "http://[::1",
    ],
)
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"write it like 'http://127\.0\.0\.1:8000/v1'"):
        openai_chat(url, "m")


def test_the_endpoint_is_not_the_root() -> None:
    with pytest.raises(ValueError, match="leave '/chat/completions' off"):
        openai_chat("http://h/v1/chat/completions", "m")


def test_a_wrong_address_is_shown_without_password() -> None:
    with pytest.raises(ValueError, match="address") as caught:
        openai_chat("ftp://me:secret@h/v1", "m")
    assert "secret" not in str(caught.value)


def test_a_slash_and_a_query_are_kept_apart() -> None:
    with ModelServer([said("yes")]) as server:
        run(openai_chat(f" {server.url}/?api-version=1#top ", "m")("?"))
    assert server.asked[0].path == "/v1/chat/completions?api-version=1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"price_in": -1.0},
        {"price_out": float("inf")},
    ],
)
def test_wrong_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        openai_chat("http://h/v1", "m", **wrong)  # type: ignore[arg-type]  # a dict has one type of value


def test_from_env(monkeypatch: pytest.MonkeyPatch) -> None:
    assert openai_chat_from_env() is None
    monkeypatch.setenv("ORCHKIT_MODEL_URL", "")
    assert openai_chat_from_env() is None
    monkeypatch.setenv("ORCHKIT_MODEL_KEY", KEY)
    with ModelServer([said("yes")]) as server:
        monkeypatch.setenv("ORCHKIT_MODEL_URL", server.url)
        chat = openai_chat_from_env()
        assert isinstance(chat, Chat)
        assert chat.model == "default"
        assert run(chat("?")).text == "yes"
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("ORCHKIT_MODEL_NAME", "small")
    assert "'small'" in repr(openai_chat_from_env())


def test_importing_the_room_imports_no_client() -> None:
    code = (
        "import sys, orchkit.interop as i; i.openai_chat('http://h/v1', 'm'); "
        "print([name for name in ('httpx', 'httpcore', 'ssl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

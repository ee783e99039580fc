"""Secrets: what never gets into a record, nor into what is said of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, Secret, SecretBytes, SecretStr, ValidationError, field_serializer
from typing_extensions import TypedDict

import orchkit as ok
from orchkit.model.codec import ANY, codec_for

STARS = "**********"
NAMES = frozenset({"api_key", "pin"})


class Login(BaseModel):
    model_config = ConfigDict(extra="allow")
    user: str
    password: SecretStr
    token: SecretBytes | None = None


class Telltale(BaseModel):
    password: SecretStr

    @field_serializer("password", when_used="json")
    def show(self, password: SecretStr) -> str:
        return password.get_secret_value()


class Teller(BaseModel):
    password: SecretStr
    others: dict[str, SecretBytes] = {}

    @field_serializer("password")
    def show(self, password: SecretStr) -> str:
        return password.get_secret_value()

    @field_serializer("others")
    def show_all(self, others: dict[str, SecretBytes]) -> dict[str, str]:
        return {key: secret.get_secret_value().decode() for key, secret in others.items()}


class Account(BaseModel):
    name: str
    api_key: str
    pin: int | None = None


class Hard(BaseModel):
    pin: int


class Long(BaseModel):
    api_key: str | None = Field(min_length=20)


class Nick(BaseModel):
    api_key: str = Field(alias="apiKey")


@dataclasses.dataclass
class Client:
    api_key: str
    url: str


class Call(TypedDict):
    api_key: str
    pin: int | None


SECRETS: list[tuple[Any, Any, Any]] = [
    (SecretStr, SecretStr("s3cret"), STARS),
    (SecretStr, SecretStr(""), STARS),
    (SecretBytes, SecretBytes(b"s3cret"), STARS),
    (SecretStr | None, None, None),
    (list[SecretStr], [SecretStr("s3cret")] * 2, [STARS] * 2),
    (dict[str, SecretStr | int], {"a": SecretStr("s3cret"), "b": 3}, {"a": STARS, "b": 3}),
    (Login, Login(user="d", password="s3cret", more=SecretStr("s3cret")), {"user": "d", "password": STARS, "token": None, "more": STARS}),  # type: ignore[arg-type, call-arg]  # noqa: E501
    (Login | None, Login(user="d", password="s3cret"), {"user": "d", "password": STARS, "token": None}),  # type: ignore[arg-type]
    (list[Telltale], [Telltale(password="s3cret")], [{"password": STARS}]),  # type: ignore[arg-type]
    (list[Teller], [Teller(password="s3cret", others={"a": b"s3cret"})], [{"password": STARS, "others": {"a": STARS}}]),  # type: ignore[arg-type, dict-item]
    (dict[str, Any], {"a": [SecretStr("s3cret")]}, {"a": [STARS]}),
    (Any, {"a": SecretStr("s3cret")}, {"a": STARS}),
    (ANY, [SecretStr("s3cret"), SecretBytes(b"s3cret")], [STARS, STARS]),
    (Secret[int] | None, Secret(3), None),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "record"), SECRETS, ids=[str(row[0]) for row in SECRETS])
def test_a_secret_is_recorded_as_asterisks_and_read_as_a_secret(annotation: Any, value: Any, record: Any) -> None:
    codec = codec_for(annotation)
    assert codec.dump(value, "draft") == record
    assert "s3cret" not in repr(codec.load(record))
    assert codec.dump(codec.load(record), "draft") == record


def test_a_consumer_gets_a_secret_of_asterisks() -> None:
    loaded = codec_for(Login).load({"user": "d", "password": STARS, "token": STARS})
    assert loaded.password == SecretStr(STARS)
    assert loaded.token == SecretBytes(STARS.encode())


NAMED: list[tuple[Any, Any, Any]] = [
    (ANY, {"a": [{"api_key": "s3cret"}], "Api_Key": "b"}, {"a": [{"api_key": STARS}], "Api_Key": "b"}),
    (ANY, {"api_key": {"s3cret": [1]}, "pin": None}, {"api_key": STARS, "pin": None}),
    (ANY, {"api_key": object()}, {"api_key": STARS}),
    (dict, {"pin": 3, "x": b"\xff"}, {"pin": STARS, "x": b"\xff"}),
    (dict[str, Any], {"pin": float("nan")}, {"pin": STARS}),
    (Account, Account(name="n", api_key="s3cret", pin=7), {"name": "n", "api_key": STARS, "pin": None}),
    (list[Account], [Account(name="n", api_key="s3cret"), Account(name="m", api_key="", pin=1)],
     [{"name": "n", "api_key": STARS, "pin": None}, {"name": "m", "api_key": STARS, "pin": None}]),
    (Account | Hard, Account(name="n", api_key="s3cret"), {"name": "n", "api_key": STARS, "pin": None}),
    (Client, Client("s3cret", "u"), {"api_key": STARS, "url": "u"}),
    (Call, {"api_key": "s3cret", "pin": 1}, {"api_key": STARS, "pin": None}),
    (Nick, Nick(apiKey="s3cret"), {"api_key": STARS}),
    (Iterable[dict[str, str]], [{"api_key": "s3cret"}], [{"api_key": STARS}]),
    (Long, Long(api_key="s3cret" * 9), {"api_key": None}),
    (dict[str, int | None], {"pin": 3, "x": 4}, {"pin": None, "x": 4}),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "record"), NAMED, ids=[str(row[0]) for row in NAMED])
def test_a_configured_name_is_redacted_at_any_depth(annotation: Any, value: Any, record: Any) -> None:
    assert codec_for(annotation, NAMES).dump(value, "draft") == record
    assert codec_for(ANY).dump({"api_key": "mine"}, "draft") == {"api_key": "mine"}  # of another workflow


@pytest.mark.parametrize("annotation", [Hard, list[Hard], dict[str, int]])
def test_a_type_without_room_for_it_is_refused_without_showing_it(annotation: Any) -> None:
    value: Any = {"pin": 77123} if annotation == dict[str, int] else Hard(pin=77123)
    with pytest.raises(ok.CodecError, match=r"make it `SecretStr \| None` or str") as caught:
        codec_for(annotation, NAMES).dump([value] if annotation == list[Hard] else value, "draft")
    assert caught.value.path == ("[0].pin" if annotation == list[Hard] else ".pin")
    assert caught.value.type == "int"
    assert "77123" not in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Account, {"name": 5, "api_key": "s3cret"}),
        (Account, {"api_key": "s3cret"}),
        (Account, {"name": "n", "api_key": ["s3cret"]}),
        (list[Account], [{"api_key": "s3cret"}]),
        (Login, {"password": "s3cret"}),
        (SecretStr, ["s3cret"]),
        (int, "s3cret"),
    ],
)
def test_what_does_not_fit_is_not_shown_either(annotation: Any, value: Any) -> None:
    codec = codec_for(annotation, NAMES)
    for act in (lambda: codec.dump(value, "draft"), lambda: codec.load(value)):
        with pytest.raises(ValidationError) as caught:
            act()
        assert "s3cret" not in str(caught.value)


def test_what_cannot_be_stored_beside_a_secret_is_named_and_not_shown() -> None:
    for annotation in (ANY, dict[str, Any]):
        with pytest.raises(ok.CodecError, match=r"at \.x") as caught:
            codec_for(annotation, NAMES).dump({"api_key": "s3cret", "x": float("nan")}, "draft")
        assert "s3cret" not in str(caught.value)
    with pytest.raises(ok.CodecError) as caught:
        codec_for(ANY, NAMES).dump(Account(name="n", api_key="s3cret"), "draft")
    assert "s3cret" not in str(caught.value)


def guarded() -> ok.Workflow:
    wf = ok.Workflow("guarded", input=Account, redact=("api_key", "pin"))

    @wf.step
    def login(input: Account) -> dict:
        return {"api_key": "s3cret", "seen": input.api_key, "deep": [{"pin": 77123}]}

    wf.approval("review", answer=Account, show="login")

    @wf.step(fallback={"api_key": "s3cret"})
    def fails(review: Account) -> dict:
        raise ConnectionError("down")

    @wf.step
    def end(fails: dict, login: dict, review: Account) -> list:
        return [fails, login, review.api_key]

    return wf


def test_no_record_of_a_run_holds_what_is_redacted() -> None:
    wf = guarded().using(end=ok.Retry(2))  # a variant keeps the names
    world = ok.World(review=ok.person(5.0, answers=Account(name="p", api_key="s3cret", pin=77123)))
    given = Account(name="n", api_key="s3cret", pin=77123)
    run = wf.simulate(given, world=world)
    assert run.result() == [{"api_key": STARS}, {"api_key": STARS, "seen": STARS, "deep": [{"pin": STARS}]}, STARS]
    assert "s3cret" not in repr(run.log)
    assert "77123" not in repr(run.log)


def test_answers_and_failures_of_a_live_run_are_redacted_too() -> None:
    run = guarded().start(Account(name="n", api_key="s3cret"), durability="memory")
    run.wait_settled()
    with pytest.raises(ok.AnswerInvalid) as caught:
        run.answer("review", {"api_key": "s3cret"})
    assert "s3cret" not in str(caught.value)
    run.answer("review", {"name": "p", "api_key": "s3cret"})
    assert run.result(timeout=30)[2] == STARS
    assert "s3cret" not in repr(run.log)


def test_a_result_that_does_not_fit_fails_without_telling() -> None:
    wf = ok.Workflow("misfit", input=str, redact=["api_key"])

    @wf.step
    def make(input: str) -> Account:
        return {"name": 3, "api_key": "s3cret"}  # type: ignore[return-value]

    run = wf.simulate("x", world=ok.World())
    assert run.status == "failed"
    assert "name" in run.log[2].error
    assert "s3cret" not in repr(run.log)


@pytest.mark.parametrize("redact", ["api_key", [3], [""], 5])
def test_names_are_several_texts(redact: Any) -> None:
    with pytest.raises(ok.DefinitionError, match="redact"):
        ok.Workflow("w", redact=redact)

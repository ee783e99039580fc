"""The demo's workflow, on the virtual clock: who gets which way, and what protects the slow step."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchkit as ok
from orchkit.cli.demo.compare import storm, variants, world
from orchkit.cli.demo.pipeline import Decision, Message, Outbox, inbox

COSTLY = Message(id="c", text="The stove arrived broken, it cost 780 EUR. I want my money back.")
CHEAP = Message(id="l", text="The lamp arrived broken, it cost 64,90 EUR. I want my money back.")
SEEDS = 300
PRAISE = Message(id="p", text="Lovely bowl, thank you!")


def picks(run: ok.Run) -> dict[str, object]:
    return {event.node: event.body for event in run.log if event.kind == "picked"}


def simulated(message: Message, *, yes: bool = True, **options: object) -> ok.Run:
    answers = ok.person(60.0, answers=Decision(approve=yes, note="" if yes else "call them"))
    calm = ok.World({**world().models, "approve": answers, "extract": ok.real})
    calm.models["extract"] = ok.fake(world().models["extract"].value, latency=1.0)
    return inbox.simulate(message, world=calm)


def test_a_complaint_about_much_money_waits_for_a_person() -> None:
    run = simulated(COSTLY)
    assert [event.node for event in run.log if event.kind == "asked"] == ["approve"]
    assert picks(run) == {"triage": ["draft"], "risk": ["approve"], "decide": ["send"]}
    assert run.result() == "sent"


def test_a_no_is_kept_with_its_note() -> None:
    run = simulated(COSTLY, yes=False)
    assert picks(run)["decide"] == ["decline"]
    assert run.result() == "declined: call them"


def test_other_complaints_are_answered_at_once() -> None:
    run = simulated(CHEAP)
    assert picks(run) == {"triage": ["draft"], "risk": ["send"]}
    assert not any(event.kind == "asked" for event in run.log)


def test_praise_is_filed() -> None:
    run = simulated(PRAISE)
    assert picks(run) == {"triage": ["file"]}
    assert run.result() == "filed under praise"


def test_only_sending_touches_the_world() -> None:
    assert [node.name for node in inbox.checked().nodes if node.effect] == ["send"]


def test_the_same_seed_gives_the_same_log() -> None:
    once, again = (inbox.simulate(COSTLY, world=world(), faults=storm(), seed=3).receipt for _ in range(2))
    assert once == again


def test_protection_helps_in_the_storm() -> None:
    ends = {
        name: [arm.simulate(CHEAP, world=world(), faults=storm(), seed=seed).status for seed in range(SEEDS)]
        for name, arm in variants().items()
    }
    done = {name: sum(status in ("completed", "degraded") for status in of) for name, of in ends.items()}
    # Expected 71 %, 98 % and all. Wrong for one set of seeds in a million or less: 9 and 4 standard deviations.
    assert done["plain"] < 0.85 * SEEDS < done["retry"] <= done["retry + fallback"] == SEEDS
    assert "degraded" in ends["retry + fallback"]


def test_the_receiver_drops_repetitions_by_their_key(tmp_path: Path) -> None:
    told: list[str] = []
    outbox = Outbox(tmp_path / "out.jsonl", told.append)
    assert outbox.lines() == []
    for key in ("r1:send", "r2:send", "r1:send"):
        outbox.send(key, "m1", "We are sorry.\nTruly.")
    assert told == ["r1:send", "r2:send", "r1:send"]
    assert len(outbox.lines()) == 3
    assert list(outbox.received()) == ["r1:send", "r2:send"]


def test_a_model_reads_the_messages_when_there_is_one(tmp_path: Path) -> None:
    import httpx

    from orchkit.cli.demo.pipeline import Desk

    facts = '{"topic": "other", "urgency": "low", "amount": null, "trouble": -1.0}'
    asked: list[bytes] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request.content)
        return httpx.Response(200, json={"choices": [{"message": {"content": facts}, "finish_reason": "stop"}]})

    chat = ok.interop.openai_chat("http://127.0.0.1:1/v1", "small", transport=httpx.MockTransport(reply))
    run = inbox.start(COSTLY, durability="memory", deps=Desk(Outbox(tmp_path / "o"), chat))
    assert run.result(10) == "filed under other"
    assert len(asked) == 1
    assert b"780 EUR" in asked[0]


def test_rules_step_in_when_the_model_fails(tmp_path: Path) -> None:
    import httpx

    from orchkit.cli.demo.pipeline import Desk

    refusing = httpx.MockTransport(lambda request: httpx.Response(401, json={"error": {"message": "no key"}}))
    chat = ok.interop.openai_chat("http://127.0.0.1:1/v1", "small", transport=refusing)
    run = inbox.start(PRAISE, durability="memory", deps=Desk(Outbox(tmp_path / "o"), chat))
    assert run.result(10) == "filed under praise"
    assert run.status == "degraded"


def test_worlds_that_do_not_say_what_sending_is_are_refused() -> None:
    with pytest.raises(ok.SimulationError, match="'send' has an effect"):
        inbox.simulate(PRAISE, world=ok.World(approve=ok.person(1.0, approve=1.0)))

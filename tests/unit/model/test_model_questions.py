"""Questions in a log: which are open, what is meant by a name, who was first, what became of a letter."""

from __future__ import annotations

import pytest

from orchkit.errors import AnswerLate, ApprovalUnknown
from orchkit.model.events import Event, canonical_digest, exact_digest
from orchkit.model.questions import (
    TAKEN,
    deadline,
    edits,
    fate,
    find_question,
    late,
    open_questions,
    question_id,
    refuse_unknown,
)
from orchkit.model.records import Head, Letter

HEAD = Head("a1", "wf", started=1_790_000_000_000_000)
ASKED = Event(5, "asked", "review", dur=60)


def letter(**changed: object) -> Letter:
    fields = {
        "id": "x", "run": "a1", "node": "review", "item": -1, "generation": 1, "kind": "answer", "text": "true",
        "via": "cli", **changed,
    }  # fmt: skip
    return Letter(**fields)  # type: ignore[arg-type]


def test_what_is_open() -> None:
    items = [Event(1, "asked", "each", item) for item in range(3)]
    log = [ASKED, *items, Event(2, "answered", "each", 1), Event(3, "expired", "review")]
    assert list(open_questions(log)) == [("each", 0), ("each", 2)]
    assert list(open_questions([*log, Event(4, "invalidated", "each", 2, 2)])) == [("each", 0)]
    assert list(open_questions([*log, Event(4, "invalidated", "each", -1, 2)])) == []
    assert list(open_questions([*log, Event(4, "run_ended", status="failed")])) == [("each", 0), ("each", 2)]
    assert list(open_questions([*log, Event(4, "run_ended", status="completed")])) == []


@pytest.mark.parametrize(
    ("name", "item", "found"),
    [
        ("review", None, ("review", -1)),
        ("each[2]", None, ("each", 2)),
        ("each", 2, ("each", 2)),
        ("each[2]", 2, ("each", 2)),
        ("each[2]", 0, None),
        ("each[7]", None, None),
        ("sub/each[0]", None, ("sub/each", 0)),
        ("other", None, None),
    ],
)
def test_what_is_meant(name: str, item: int | None, found: object) -> None:
    open_ = [("review", -1), ("each", 0), ("each", 2), ("sub/each", 0)]
    assert find_question(open_, name, item, "a1") == found


def test_a_name_that_fits_several_lists_their_ids() -> None:
    with pytest.raises(ApprovalUnknown, match=r"asks 2 questions: each\[0\], each\[2\]; name one"):
        find_question([("each", 0), ("each", 2)], "each", None, "a1")


def test_its_id_names_it() -> None:
    for key in (("review", -1), ("each", 12)):
        assert find_question([key], question_id(*key), None, "a1") == key


def test_who_was_first() -> None:
    log = [ASKED, Event(3_000_005, "answered", "review", by="dana", key="cli:x")]
    error = late(HEAD, log, "review", -1)
    assert "answered by 'dana' at 2026-09-21 14:13:23 UTC" in str(error)
    assert (error.by, error.node, error.item) == ("dana", "review", None)  # type: ignore[attr-defined]
    assert "expired at" in str(late(HEAD, [ASKED, Event(7, "expired", "review")], "review", -1))
    assert "asked anew" in str(late(HEAD, [ASKED], "review", -1))


def test_a_name_that_is_not_open() -> None:
    log = [ASKED, Event(6, "answered", "review", by="dana")]
    with pytest.raises(AnswerLate, match="'dana'"):
        refuse_unknown(HEAD, log, (), "review", None)
    with pytest.raises(ApprovalUnknown, match="did you mean 'review'"):
        refuse_unknown(HEAD, [ASKED], [("review", -1)], "revew", None)
    with pytest.raises(ApprovalUnknown, match="open: none"):
        refuse_unknown(HEAD, [], (), "review", None)


def test_what_became_of_a_letter() -> None:
    assert fate(HEAD, [ASKED], letter()) is None
    assert fate(HEAD, [ASKED, Event(6, "answered", "review", key="cli:x")], letter()) == TAKEN
    assert (fate(HEAD, [ASKED, Event(6, "answered", "review", by="dana", key="cli:y")], letter()) or "").startswith(
        "late: 'review' of run 'a1' was answered by 'dana'"
    )
    again = [ASKED, Event(6, "invalidated", "review", generation=2), Event(7, "asked", "review", generation=2)]
    assert (fate(HEAD, again, letter()) or "").startswith("late")
    assert fate(HEAD, again, letter(generation=2)) is None
    assert fate(HEAD, [ASKED, Event(6, "escalated", "review", key="cli:x")], letter(kind="escalation")) == TAKEN


def test_its_deadline() -> None:
    assert deadline(100, ASKED) == 165
    assert deadline(100, Event(5, "asked", "review")) is None


def test_what_was_edited() -> None:
    shown = {"show": 1, "prefill": {"text": "Dear", "tone": None}}
    assert edits(shown, {"text": "Dear", "tone": None, "approve": True}) == {}
    assert edits(shown, {"text": "Hi", "tone": "dry"}) == {"text": ["Dear", "Hi"], "tone": [None, "dry"]}
    assert edits({"show": 1}, {"text": "Hi"}) == {}
    assert edits(shown, True) == {}
    assert edits(None, {}) == {}


def test_from_where_it_came_is_no_part_of_what_happened() -> None:
    one = [ASKED, Event(6, "answered", "review", by="dana", key="cli:x", body=True)]
    other = [ASKED, Event(6, "answered", "review", by="lee", key="python", body=True)]
    for digest in (exact_digest, canonical_digest):
        assert digest(one) == digest(other)
    effects = [[Event(6, "completed", "send", attempt=1, key=key)] for key in ("send", "send[1]")]
    assert exact_digest(effects[0]) != exact_digest(effects[1]), "an effect's key is"

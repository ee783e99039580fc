"""Mail: letters to the open questions of runs, recorded by the owner of the file for whoever executes the run later.

A row a letter, and one for what became of it: like all else it is appended, and only pruned with its run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchkit.clock.ids import wall_micro
from orchkit.errors import StoreError
from orchkit.model.records import ANSWER, ESCALATION, Letter
from orchkit.store.leases import Fetch
from orchkit.store.rows import Entry, Row, micros, stamp

if TYPE_CHECKING:
    from orchkit.store.file import DuckFile

__all__ = ["OUTCOME", "outcome", "outcome_entry", "post", "unread"]

OUTCOME: Final = "outcome"

_LONGEST: Final = 2**24  # characters of a letter
_NAME: Final = 4096  # of a name in it
_LARGEST: Final = 2**31 - 1
_COLUMNS: Final = 'id, run, node, item, generation, kind, text, "by", via, sent'
_LETTER: Final = f"select {_COLUMNS} from mail where id = ? and kind <> '{OUTCOME}' order by seq limit 1"
_UNREAD: Final = f"""
    select {_COLUMNS} from mail where run in (select unnest(?)) and kind <> '{OUTCOME}'
        and id not in (select id from mail where kind = '{OUTCOME}')
    order by seq"""
_OUTCOME: Final = f"select text from mail where id = ? and kind = '{OUTCOME}' order by seq limit 1"


def post(file: DuckFile, letter: Letter) -> Letter:
    """Record a letter, on the writer's thread: it has the time at which that is done.

    One that is there already is left as it is: whoever sent it was not told so, and has sent it again.

    Raises
    ------
    RunUnknown
        If there is no such run.
    StoreError
        If it is no letter, or too long.
    """
    _refuse_unfit(letter)
    known = file.fetch(_LETTER, [letter.id])
    if known:
        return _letter(known[0])
    file.head(letter.run)
    sent = wall_micro()
    file.commit([_entry(letter, letter.kind, letter.text, sent)])
    return msgspec.structs.replace(letter, sent=sent)


def unread(fetch: Fetch, runs: Sequence[str]) -> list[Letter]:
    """Give the letters to some runs of which nobody has said what became of them, in order."""
    return [_letter(row) for row in fetch(_UNREAD, [list(runs)])]


def outcome(fetch: Fetch, letter_id: str) -> str | None:
    """Give what became of a letter; None as long as nobody has said."""
    found = fetch(_OUTCOME, [letter_id])
    return str(found[0][0]) if found else None


def outcome_entry(letter: Letter, said: str) -> Entry:
    """Lay out what became of a letter as a row."""
    return _entry(letter, OUTCOME, said, wall_micro())


def _entry(letter: Letter, kind: str, text: str, sent: int) -> Entry:
    item = letter.item if letter.item >= 0 else None
    row = letter.id, letter.run, letter.node, item, letter.generation, kind, text, letter.by, letter.via, stamp(sent)
    return "mail", row


def _letter(row: Row) -> Letter:
    letter_id, run, node, item, generation, kind, text, by, via, sent = row
    item = -1 if item is None else item
    return Letter(letter_id, run, node, item, generation, kind, text, by, via, micros(sent))


def _refuse_unfit(letter: Letter) -> None:
    # The commit that it is part of must not fail: that would end the writer for all.
    names: list[Any] = [letter.id, letter.run, letter.node, letter.by, letter.via]
    numbers = -1 <= letter.item <= _LARGEST and 1 <= letter.generation <= _LARGEST
    try:
        "".join(names).encode()
        fits = max(map(len, names)) <= _NAME and len(letter.text) <= _LONGEST
        fits = fits and bool(letter.id) and numbers and letter.kind in (ANSWER, ESCALATION)
        msgspec.json.decode(letter.text if fits else "null")
    except (UnicodeEncodeError, msgspec.DecodeError) as error:
        raise StoreError(f"a letter to run {letter.run!r:.80} is no JSON text: {error}; correct it") from error
    if not fits:
        raise StoreError(
            f"a letter to run {letter.run!r:.80} is no letter, or longer than {_LONGEST} characters; send less"
        )

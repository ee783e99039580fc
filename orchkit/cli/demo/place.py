"""Where a demo keeps its files, and whether it may: nothing that exists is ever overwritten."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchkit.cli._terminal import Refusal, plain
from orchkit.cli.demo.documents import Document

__all__ = ["Place", "choose_place"]

_USUAL = "orchkit-demo"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with the store, the outbox and, at the end, the report of one demo.

    Attributes
    ----------
    begun : int
        How many messages an earlier, unfinished demo has begun here.
    """

    folder: Path
    begun: int = 0

    @property
    def store(self) -> Path:
        """The DuckDB file."""
        return self.folder / "demo.duckdb"

    @property
    def outbox(self) -> Path:
        """Where replies are sent."""
        return self.folder / "outbox.jsonl"

    @property
    def report(self) -> Path:
        """The last file to be written: a folder that has it holds a finished demo."""
        return self.folder / "report.html"


def choose_place(out: Path | None, documents: Sequence[Document]) -> Place:
    """Give the folder to work in; it is made if it is not there.

    Parameters
    ----------
    out : Path, optional
        The user's choice. Without it ``orchkit-demo``, or the first of ``orchkit-demo-2`` and so on that holds no
        finished demo.
    documents : sequence of Document
        An unfinished demo of the same messages is gone on with.

    Raises
    ------
    Refusal
        If the folder cannot be used as it is.
    orchkit.StoreError
        If there is a store in it that cannot be read, or that another process holds.
    """
    place = Place(out.absolute()) if out is not None else _first_free(Path.cwd())
    name = plain(str(place.folder))
    if place.report.exists():
        raise Refusal(f"{name} already holds a report.html, and nothing is overwritten; choose another folder by --out")
    if not place.store.exists():
        if place.outbox.exists():
            raise Refusal(f"{name} holds an outbox.jsonl without its demo.duckdb; choose another folder by --out")
        _make(place.folder, name)
        return place
    return Place(place.folder, _begun(place, documents, name))


def _first_free(where: Path) -> Place:
    names = itertools.chain([_USUAL], (f"{_USUAL}-{number}" for number in itertools.count(2)))
    return next(place for place in (Place(where / name) for name in names) if not place.report.exists())


def _make(folder: Path, name: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"{name} cannot be made: {error.strerror}; choose another folder by --out") from error


def _begun(place: Place, documents: Sequence[Document], name: str) -> int:
    # Imported here: a wrong input file is refused before the database is loaded.
    import orchkit as ok
    from orchkit.cli.demo.live import recorded

    with ok.open(place.store) as store:
        found = set(store.sql("select distinct workflow from admission").workflow)
        if found - {"inbox"}:
            raise Refusal(f"{name} holds a store of other runs than the demo's; choose another folder by --out")
        inputs = {id_: message.text for id_, (_, _, message) in recorded(store).items()}
    _check_same(inputs, documents, name)
    return len(inputs)


def _check_same(inputs: Mapping[str, str], documents: Sequence[Document], name: str) -> None:
    given = {document.id: document.text for document in documents}
    if any(given.get(id_) != text for id_, text in inputs.items()):
        raise Refusal(f"{name} holds an unfinished demo of other messages; give those, or another folder by --out")

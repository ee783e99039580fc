"""Reading messages from a user's file, and saying in one line what is wrong with it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchkit.cli._terminal import Refusal, plain

__all__ = ["Document", "read_documents"]

_FILE_MOST = 50_000_000
_LINE_MOST = 1_000_000
_TEXT_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Document:
    """One message of the input.

    Attributes
    ----------
    labels : dict
        The other columns; the workflow never sees them.
    """

    id: str
    text: str
    labels: dict[str, Any] = field(default_factory=dict)


def read_documents(path: Path) -> list[Document]:
    """Read a file of messages: CSV if its name ends so, else a JSON object a line.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of Document
        At least one, with ids of their own.

    Raises
    ------
    Refusal
        If the file cannot be used; it names the line.
    """
    name = plain(str(path))
    rows = _csv_rows if path.suffix.lower() == ".csv" else _json_rows
    documents: list[Document] = []
    seen: dict[str, int] = {}
    for line, row in rows(_text_of(path, name), name):
        document = _document(row, f"{name}, line {line}")
        if document.id in seen:
            shown = plain(document.id, 40)
            raise Refusal(
                f"{name}, line {line}: id '{shown}' is already that of line {seen[document.id]}; ids are unique"
            )
        seen[document.id] = line
        documents.append(document)
    if not documents:
        raise Refusal(f"{name} holds no messages; give a JSON object a line, or CSV rows, with 'id' and 'text'")
    return documents


def _text_of(path: Path, name: str) -> str:
    try:
        if path.is_dir():
            raise Refusal(f"{name} is a directory; give a file of JSON lines or CSV")
        if not path.exists():
            raise Refusal(f"{name} does not exist; give a file of JSON lines or CSV")
        if not path.is_file():
            raise Refusal(f"{name} is no regular file, and it is read more than once; save it to a file first")
        if path.stat().st_size > _FILE_MOST:
            raise Refusal(f"{name} has more than {_FILE_MOST // 1_000_000} MB; give a part of it")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise Refusal(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return _decoded(data.removeprefix(b"\xef\xbb\xbf"), name)


def _decoded(data: bytes, name: str) -> str:
    for number, line in enumerate(data.split(b"\n"), 1):
        where = f"{name}, line {number}"
        if len(line) > _LINE_MOST:
            raise Refusal(f"{where} has {len(line):,} bytes, at most {_LINE_MOST:,} are taken; is it a file of lines?")
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise Refusal(f"{where}: byte {error.start + 1} is no UTF-8; save the file as UTF-8 text") from None
    return data.decode()


def _json_rows(text: str, name: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be read"
            raise Refusal(f"{where} is no JSON object ({why}); give one a line, or name the file .csv") from None
        if not isinstance(row, dict):
            kind = "a list" if isinstance(row, list) else f"the value {plain(line.strip(), 30)}"
            raise Refusal(f"{where} holds {kind}; give a JSON object a line, with 'id' and 'text'")
        yield number, row


def _csv_rows(text: str, name: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = reader.fieldnames or []
        missing = [column for column in ("id", "text") if column not in columns]
        if columns and missing:
            found = plain(", ".join(columns), 80)
            raise Refusal(f"{name}, line 1: no column '{missing[0]}'; there are: {found} (separate them by commas)")
        for row in reader:
            if None in row:
                raise Refusal(
                    f"{name}, line {reader.line_num} has more fields than the header; quote fields with commas"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise Refusal(f"{name}, line {reader.reader.line_num} is no good CSV: {error}; quote it as CSV asks") from None


def _document(row: dict[str, Any], where: str) -> Document:
    for column in ("id", "text"):
        if row.get(column) is None:
            raise Refusal(f"{where}: no '{column}'; each message needs 'id' and 'text'")
    id_, text = row["id"], row["text"]
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    for column, value in (("id", id_), ("text", text)):
        if not isinstance(value, str) or not value.strip():
            raise Refusal(f"{where}: '{column}' must be text, and not blank; it is {plain(json.dumps(value), 40)}")
        if len(value) > _TEXT_MOST:
            raise Refusal(f"{where}: '{column}' has {len(value):,} characters; at most {_TEXT_MOST:,} are taken")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise Refusal(f"{where}: '{column}' has half a character (a lone surrogate); write it out as UTF-8")
    return Document(id_, text, {key: value for key, value in row.items() if key not in ("id", "text")})

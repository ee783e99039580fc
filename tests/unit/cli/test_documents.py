"""What can be wrong with a user's file, one thing at a time: one line that says what, where and how to mend it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from orchkit.cli._terminal import Refusal, plain
from orchkit.cli.demo.documents import Document, read_documents

GOOD = '{"id": "a", "text": "hello"}'


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_json_lines_are_read_with_their_labels(tmp_path: Path) -> None:
    path = written(tmp_path, "in.jsonl", f'\ufeff{GOOD}\n\n{{"id": 7, "text": "línea", "complaint": true}}\r\n')
    assert read_documents(path) == [Document("a", "hello"), Document("7", "línea", {"complaint": True})]


def test_csv_is_read_with_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = written(tmp_path, "in.CSV", '\ufeffid,text,topic\r\n1,"a, ""b""\nc",x\r\n2,d,\r\n')
    assert read_documents(path) == [Document("1", 'a, "b"\nc', {"topic": "x"}), Document("2", "d", {"topic": ""})]


def test_line_separators_inside_texts_are_no_line_ends(tmp_path: Path) -> None:
    path = written(tmp_path, "in.jsonl", '{"id": "a", "text": "one\u2028two\x85three"}\n')
    assert read_documents(path)[0].text == "one\u2028two\x85three"


CASES = {
    "empty": ("in.jsonl", "", "holds no messages; give"),
    "blank": ("in.jsonl", "\n \n", "holds no messages; give"),
    "empty csv": ("in.csv", "", "holds no messages; give"),
    "header only": ("in.csv", "id,text\n", "holds no messages; give"),
    "prose": ("in.jsonl", f"{GOOD}\nDear shop,\n", "line 2 is no JSON object (Expecting value); give one a line"),
    "cut": ("in.jsonl", '{"id": "a", "te', "line 1 is no JSON object (Unterminated string"),
    "array": ("in.json", f"[{GOOD}]", "line 1 holds a list; give a JSON object a line"),
    "number": ("in.jsonl", f"{GOOD}\n17\n", "line 2 holds the value 17; give"),
    "deep": ("in.jsonl", "[" * 100_000, "line 1 is no JSON object (it cannot be read)"),
    "huge number": ("in.jsonl", '{"id": ' + "9" * 5000 + "}", "line 1 is no JSON object (it cannot be read)"),
    "no id": ("in.jsonl", '{"text": "x"}', "line 1: no 'id'; each message needs 'id' and 'text'"),
    "no text": ("in.jsonl", f'{GOOD}\n{{"id": "b"}}', "line 2: no 'text'; each"),
    "null": ("in.jsonl", '{"id": "a", "text": null}', "line 1: no 'text'; each"),
    "blank text": ("in.jsonl", '{"id": "a", "text": " "}', "line 1: 'text' must be text, and not blank; it is \" \""),
    "list for text": ("in.jsonl", '{"id": "a", "text": ["x"]}', "line 1: 'text' must be text"),
    "true for id": ("in.jsonl", '{"id": true, "text": "x"}', "line 1: 'id' must be text, and not blank; it is true"),
    "same id": ("in.jsonl", f"{GOOD}\n\n{GOOD}", "line 3: id 'a' is already that of line 1; ids are unique"),
    "same id, number": ("in.jsonl", '{"id": 1, "text": "x"}\n{"id": "1", "text": "y"}', "line 2: id '1' is already"),
    "latin-1": ("in.jsonl", GOOD.encode() + b'\n{"id": "b", "text": "caf\xe9"}', "line 2: byte 25 is no UTF-8; save"),
    "utf-16": ("in.jsonl", GOOD.encode("utf-16"), "line 1: byte 1 is no UTF-8"),
    "binary": ("in.jsonl", bytes(range(256)), "no UTF-8"),
    "long line": ("in.jsonl", '{"id": "a", "text": "' + "x" * 1_000_000 + '"}', "line 1 has 1,000,023 bytes, at most"),
    "long text": ("in.jsonl", json.dumps({"id": "a", "text": "x" * 100_001}), "'text' has 100,001 characters; at most"),
    "half a character": ("in.jsonl", '{"id": "a", "text": "\\ud83d"}', "line 1: 'text' has half a character"),
    "csv without text": ("in.csv", "id,message\n1,x\n", "line 1: no column 'text'; there are: id, message (separate"),
    "semicolons": ("in.csv", "id;text\n1;x\n", "line 1: no column 'id'; there are: id;text (separate them by commas)"),
    "csv row too long": ("in.csv", "id,text\n1,x\n2,a, b\n", "line 3 has more fields than the header; quote"),
    "csv row too short": ("in.csv", "id,text\n1\n", "line 2: no 'text'"),
    "csv quotes": ("in.csv", 'id,text\n1,"a" b\n', "line 2 is no good CSV"),
    "csv field": ("in.csv", "id,text\n1," + "x" * 200_000, "line 2 is no good CSV: field larger"),
    "json named csv": ("in.csv", f"{GOOD}\n", "line 1: no column 'id'"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    name, content, said = CASES[case]
    path = written(tmp_path, name, content)
    with pytest.raises(Refusal) as refused:
        read_documents(path)
    message = str(refused.value)
    assert said in message
    assert message.startswith(str(path))
    assert message.isprintable(), "one line, and nothing that acts on a terminal"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="does not exist; give a file"):
        read_documents(tmp_path / "nothing.jsonl")
    with pytest.raises(Refusal, match="is a directory; give a file"):
        read_documents(tmp_path)
    with pytest.raises(Refusal, match=r"cannot be read|does not exist"):
        read_documents(Path("\0"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refusal, match="no regular file"):
        read_documents(tmp_path / "pipe")


def test_text_for_the_terminal_cannot_act_on_it() -> None:
    assert plain("a\x1b[31mred\x07\nb\u202ec\u2028d") == "a [31mred  b c d"
    assert plain("abcdef", 4) == "abc…"
    assert plain("😍 ü") == "😍 ü"

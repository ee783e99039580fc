"""A question at the terminal goes on without an answer."""

from __future__ import annotations

import io
import os
import sys

import pytest
from rich.console import Console

from orchkit.cli.demo.prompt import ask_yes_no


@pytest.mark.parametrize(
    ("typed", "default", "answer"),
    [
        (b"y\n", False, True),
        (b"NO\n", True, False),
        (b"\n", True, True),
        (b"\n", False, False),
        (b"perhaps\n", True, True),
        (b"", False, False),  # the end of the input
        (None, True, True),  # nothing comes
    ],
)
def test_answers(typed: bytes | None, default: bool, answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "wb", buffering=0) as hand:
        monkeypatch.setattr(sys, "stdin", stdin)
        if typed is not None:
            hand.write(typed)
        if typed == b"":
            hand.close()
        console = Console(file=io.StringIO(), width=80)
        assert ask_yes_no(console, "Send?", default=default, patience=0.0) is answer
        assert "Send?" in console.file.getvalue()  # type: ignore[attr-defined]

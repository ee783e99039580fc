"""The README's example runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    scope: dict[str, object] = {"__name__": "readme"}
    exec(compile(example, "README.md", "exec"), scope)
    printed = capsys.readouterr().out
    assert printed.startswith("Run('reply', v")
    assert "exact:" in printed


def test_there_are_exactly_two_set_up_commands() -> None:
    commands = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    assert len(commands) == 2
    assert all(command.strip().count("\n") == 0 for command in commands)
    assert "orchkit demo" in commands[0]
    assert "python -m tests" in commands[1]


def test_every_file_it_names_is_there() -> None:
    root = Path(__file__).parents[1]
    for name in re.findall(r"\]\(([^)]+)\)|`(notebooks/[^`]+)`", README):
        path = next(filter(None, name))
        assert (root / path).exists(), path

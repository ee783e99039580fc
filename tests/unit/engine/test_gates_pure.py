"""Gates know facts and nothing else: no clock, no kernel, no engine around them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import orchkit.engine.gates

ALLOWED = {"__future__", "collections", "collections.abc", "fractions", "typing", "orchkit.model.policies"}
GATES = sorted(Path(next(iter(orchkit.engine.gates.__path__))).glob("*.py"))


@pytest.mark.parametrize("path", GATES, ids=lambda path: path.stem)
def test_a_gate_imports_nothing_that_acts(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported | plain <= ALLOWED


def test_there_are_gates() -> None:
    assert {"breaker", "bulkhead", "ratelimit", "budget"} <= {path.stem for path in GATES}

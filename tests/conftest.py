"""For all tests: the registry of workflows is each test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchkit.hall import registry


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    """Let no test meet a workflow that another has defined under the same name."""
    known = dict(registry._WORKFLOWS)
    registry._WORKFLOWS.clear()
    yield
    registry._WORKFLOWS.clear()
    registry._WORKFLOWS.update(known)

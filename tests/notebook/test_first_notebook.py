"""The first notebook in a real JupyterLab, in a real browser."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.lab import CHROMIUM, LabPage, LabServer

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_first_workflow.ipynb"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and not os.environ.get("CI"),
        reason="no Chromium on PATH and none named in ORCHKIT_CHROMIUM; CI fails without it",
    ),
    # Sockets of the browser driver are closed by its own process, later than pytest looks.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_it_runs_whole_and_shows_the_graph(tmp_path: Path) -> None:
    server = LabServer()
    try:
        shutil.copy(NOTEBOOK, server.folder)
        page = LabPage(server, NOTEBOOK.name)
        try:
            page.run_all()
            outputs = page.outputs()
            errors = [output for cell in outputs for output in cell if output["output_type"] == "error"]
            assert not errors
            drawn = page.page.locator(".jp-OutputArea-output svg, .jp-OutputArea-output img[src^='data:image/svg']")
            assert drawn.count() >= 2
            page.page.screenshot(path=os.environ.get("ORCHKIT_SCREENSHOT", str(tmp_path / "notebook.png")))
            assert not page.errors
        finally:
            page.close()
    finally:
        server.close()

"""The notebook on durability starts and kills kernels of its own: what it leaves behind is nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

from tests.support.lab import CHROMIUM, LabPage, LabServer

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_durable.ipynb"

# Sockets of a kernel's client are closed by its garbage collection, later than pytest looks.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders of its own for all that a notebook's kernel, and the kernels that it starts, write."""
    folders = []
    for variable in ("TMPDIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        folder = tmp_path / variable.lower()
        folder.mkdir()
        monkeypatch.setenv(variable, str(folder))
        folders.append(folder)
    monkeypatch.setenv("ORCHKIT_DISPLAY", "static")
    return folders[:2]


@contextmanager
def notebook_in(folder: Path) -> Iterator[tuple[psutil.Process, Callable[[str], None]]]:
    """Give the notebook's kernel, and what runs its cells up to the first that holds some text."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder.mkdir()
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}})

    def run_until(text: str) -> None:
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
            if cell.cell_type == "code" and text in cell.source:
                return
        raise AssertionError(f"no cell holds {text!r}")

    with client.setup_kernel():
        assert client.km is not None
        yield psutil.Process(client.km.provisioner.pid), run_until


def files_in(folders: list[Path]) -> list[str]:
    return sorted(path.name for folder in folders for path in folder.rglob("*"))


def test_it_leaves_no_process_and_no_file(tmp_path: Path, places: list[Path]) -> None:
    with notebook_in(tmp_path / "work") as (kernel, run_until):
        before = files_in(places)
        run_until("folder.cleanup()")
        assert not kernel.children(recursive=True)
        assert files_in([*places, tmp_path / "work"]) == before


def test_a_child_does_not_outlive_a_notebook_that_is_given_up(tmp_path: Path, places: list[Path]) -> None:
    with notebook_in(tmp_path / "work") as (kernel, run_until):
        run_until("hanging.get()")
        (child,) = kernel.children()
        assert child.is_running()
    gone, left = psutil.wait_procs([child], timeout=60)
    assert gone
    assert not left


@pytest.mark.browser
@pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"),
    reason="no Chromium on PATH and none named in ORCHKIT_CHROMIUM; CI fails without it",
)
def test_it_runs_whole_in_jupyterlab() -> None:
    server = LabServer()
    try:
        shutil.copy(NOTEBOOK, server.folder)
        page = LabPage(server, NOTEBOOK.name)
        try:
            page.run_all()
            said = [output for cell in page.outputs() for output in cell]
            assert not [one for one in said if one["output_type"] == "error" or one.get("name") == "stderr"]
            assert not page.errors
        finally:
            page.close()
    finally:
        server.close()

"""Errors and warnings of a definition quote the cell that it was written in, by the number that the reader sees."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

# Sockets of a kernel's client are closed by its garbage collection, later than pytest looks.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

CELLS = [
    "import orchkit as ok\nwf = ok.Workflow('triage', input=str)",
    "@wf.step\ndef lookup(input: str) -> list[str]: ...",
    "x = 1\n\n@wf.step(retry=3)\nasync def draft(\n    input: str,\n    lokup: list[str],\n) -> str: ...",
    "wf.approval('review', show='draught', timeout=5.0)",
    "try:\n    wf.checked()\nexcept ok.GraphError as error:\n    print(error)",
    "@wf.step\nasync def draft(lookup: list[str]) -> str: ...\nwf.approval('review', show='draft', timeout=5.0)",
    "@wf.step\ndef send(review: bool) -> str: ...",
    "import warnings\nwith warnings.catch_warnings(record=True) as caught:\n    wf.checked()\nprint(caught[0].message)",
]


def test_the_cell_is_named_as_its_reader_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    said, warned = ("".join(output.text for output in notebook.cells[i].outputs) for i in (4, 7))
    assert said.splitlines() == [
        "workflow 'triage' has 2 problems:",
        "  - 'draft' has a parameter 'lokup', which is no node: did you mean 'lookup'?",
        "      lokup: list[str],   (cell In[3], line 6)",
        "  - 'review' has a parameter 'draught', which is no node: did you mean 'draft'?",
        "      wf.approval('review', show='draught', timeout=5.0)   (cell In[4], line 1)",
    ]
    assert warned.splitlines() == [
        "workflow 'triage': without an answer in time 'review' is None, and 'send' takes bool; annotate it "
        "review: bool | None",
        "      def send(review: bool) -> str: ...   (cell In[7], line 2)",
        "      wf.approval('review', show='draft', timeout=5.0)   (cell In[6], line 3)",
    ]

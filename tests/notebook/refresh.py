"""Execute the notebooks and write their outputs back: ``python tests/notebook/refresh.py [--check]``.

Two refreshes give the same bytes: no timings, no ids of kernels, cell ids kept. ``--check`` writes nothing and fails
when a refresh would change something, so what a reader sees is what the code prints.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]


def refreshed(path: Path) -> str:
    """Execute a notebook in a folder of its own and give its text."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=120, kernel_name="python3", record_timing=False, resources={"metadata": {"path": folder}},
            coalesce_streams=True,  # else a cell that takes longer than the kernel's flush saves one text as two
        )  # fmt: skip
        client.execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return str(nbformat.writes(notebook, version=4)) + "\n"


def picture_of(text: str) -> str:
    """Give the drawing of the cell that is tagged ``picture``: the README shows it."""
    notebook = nbformat.reads(text, as_version=4)
    cells = [cell for cell in notebook.cells if "picture" in cell.metadata.get("tags", [])]
    return str(cells[0].outputs[0].data["image/svg+xml"]) + "\n"


def main() -> int:
    """Refresh, or check, every notebook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a refresh would change something")
    check = parser.parse_args().check
    os.environ["ORCHKIT_DISPLAY"] = "static"
    os.environ.pop("ORCHKIT_MODEL_URL", None)
    stale = []
    texts = {path: refreshed(path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    texts[ROOT / "notebooks" / "triage.svg"] = picture_of(next(iter(texts.values())))
    for path, text in texts.items():
        if not path.exists() or text != path.read_text():
            stale.append(path.name)
            if not check:
                path.write_text(text)
    print(f"{'stale' if check else 'refreshed'}: {', '.join(stale) or 'none'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

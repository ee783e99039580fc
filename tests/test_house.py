"""The house rules: floors, exports, the import budget, documented names, errors that survive pickling."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import orchkit
from orchkit import errors

ROOT = Path(__file__).parents[1]
HEAVY = {
    "pandas", "matplotlib", "duckdb", "IPython", "anywidget", "ipywidgets", "httpx", "scipy", "numpy", "networkx",
    "pydantic", "asyncio", "pyarrow", "msgspec", "rich", "typer",
}  # fmt: skip
ERRORS = [getattr(errors, name) for name in errors.__all__]


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_loads_nothing_heavy() -> None:
    assert not loaded_after("import orchkit") & HEAVY


def test_describing_and_simulating_loads_no_database_no_frames_no_plots() -> None:
    heavy = loaded_after(
        "import orchkit as ok; wf = ok.Workflow('x', input=str); wf.step(ok.faults.hang); "
        "ok.World(); ok.Retry(3); ok.Faults(); ok.dist.lognormal(1, 2)"
    )
    assert not heavy & {"pandas", "matplotlib", "duckdb", "IPython", "anywidget", "httpx", "scipy", "networkx"}


def test_checking_a_graph_of_plain_types_loads_no_pydantic() -> None:
    # A process that resumes a run checks its graph first, and would wait for the import.
    lines = [
        "from typing import Literal",
        "import orchkit as ok",
        "wf = ok.Workflow('x', input=str)",
        "@wf.step(retry=3)",
        "def draft(input: str) -> str: ...",
        "wf.approval('review', show=draft, timeout=9.0)",
        "@wf.route(to=['send', 'stop'])",
        "def judge(review: object, draft: str) -> Literal['send', 'stop']: ...",
        "@wf.step",
        "def send(draft: str, count: int = 0) -> None: ...",
        "@wf.step",
        "def stop(input: str) -> int: ...",
        "@wf.step",
        "def count(input: str) -> int: ...",
        "wf.checked()",
    ]
    assert "pydantic" not in loaded_after(f"exec({chr(10).join(lines)!r}, {{}})")


def test_every_export_is_there_and_fetched_from_its_room() -> None:
    for name in orchkit.__all__:
        assert getattr(orchkit, name) is not None
    assert set(orchkit._ROOMS) == set(orchkit.__all__)
    assert len(set(orchkit.__all__)) == len(orchkit.__all__)


def test_type_checkers_see_the_same_exports() -> None:
    tree = ast.parse((ROOT / "orchkit" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [alias for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert {alias.asname or alias.name for alias in imports} == set(orchkit.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = orchkit.nothing  # type: ignore[attr-defined]  # that is the point


def test_no_submodule_takes_the_place_of_an_export() -> None:
    modules = {module.name for module in pkgutil.iter_modules(orchkit.__path__)}
    for name in modules & set(orchkit.__all__):
        module = importlib.import_module(f"orchkit.{name}")
        assert getattr(orchkit, name) is module, f"after its import ok.{name} would be the module"


@pytest.mark.parametrize("name", orchkit.__all__)
def test_every_export_is_documented_with_an_example(name: str) -> None:
    value = getattr(orchkit, name)
    if not callable(value) and not isinstance(value, ModuleType):
        return  # a constant has its text below it in the source
    doc = inspect.getdoc(value) or ""
    assert len(doc.splitlines()[0]) > 10
    if not isinstance(value, ModuleType) and not (isinstance(value, type) and issubclass(value, Exception)):
        assert ">>>" in doc, f"ok.{name} has no example"


def test_floors_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_survive_pickling_with_their_attributes(kind: type[errors.OrchkitError]) -> None:
    error = kind("what, where and how to mend it", run_id="r1", node="draft", attempt=3)
    error.add_note("injected")
    again: Any = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert (again.run_id, again.node, again.attempt) == ("r1", "draft", 3)
    assert again.__notes__ == ["injected"]


def test_the_error_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    for kind in ERRORS:
        assert re.search(rf"\b{kind.__name__}\b", errors.__doc__), f"{kind.__name__} is not drawn"


def test_every_module_says_what_it_is() -> None:
    for path in sorted((ROOT / "orchkit").rglob("*.py")):
        text = path.read_text()
        assert text.lstrip().startswith('"""'), f"{path.relative_to(ROOT)} has no docstring"


def test_no_module_outgrows_a_screenful_of_screenfuls() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "orchkit").rglob("*.py")
        if (lines := path.read_text().count("\n")) > 600
    }
    assert not long


def test_nothing_of_a_machine_is_recorded() -> None:
    # Pieced together so that this file does not match itself.
    hosts = re.compile("pypi" + r"\.org|files\.pyth" + r"onhosted|registry\.npm" + r"js|deb\.deb" + r"ian\.org")
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=False)
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".json", ".jsonl", ".ipynb", ".svg"} or path.name == "run":
            found = hosts.search(path.read_text(errors="replace")) if path.is_file() else None
            assert found is None, f"{name}: {found and found[0]}"

import subprocess
import sys
from pathlib import Path

import pytest

from orchkit.store.duck import DuckStore
from tests.support import nobody

# Before anything imports it: its assertions are to explain themselves as those of a test module do.
pytest.register_assert_rewrite("conformance")

HERE = Path(__file__).parent

public = nobody.public


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lab.duckdb"


@pytest.fixture
def store(path):
    store = DuckStore(path)
    yield store
    if path.exists():  # a store whose file was deleted has said so, and would say it again
        store.close()


@pytest.fixture
def script(tmp_path):
    """Run Python in a process of its own; gives the finished process."""

    def run(code, *args, **options):
        prelude = f"import sys; sys.path[:0] = {[str(HERE.parents[2]), str(HERE)]!r}\n"
        return subprocess.run(
            [sys.executable, "-c", prelude + code, *map(str, args)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            check=False,
            **options,
        )

    return run

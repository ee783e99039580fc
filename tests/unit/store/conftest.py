import subprocess
import sys
from pathlib import Path

import pytest

# Before anything imports it: its assertions are to explain themselves as those of a test module do.
pytest.register_assert_rewrite("conformance")

HERE = Path(__file__).parent


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

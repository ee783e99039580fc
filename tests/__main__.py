"""Run every check of the project: ``python -m tests``. CI runs the same.

Each line is a command that can be run alone. The first that fails ends it with its exit code.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PYTEST = [sys.executable, "-m", "pytest", "-q"]
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=60"]
NOTEBOOKS = [*PYTEST, "--no-cov", "-p", "no:randomly", "-o", "addopts=", *NBVAL, "notebooks"]
COMMANDS = (
    ("format", [str(BIN / "ruff"), "format", "--check", "orchkit", "tests"]),
    ("lint", [str(BIN / "ruff"), "check", "orchkit", "tests"]),
    ("types", [sys.executable, "-m", "mypy"]),
    ("floors", [str(BIN / "lint-imports"), "--no-cache"]),
    ("refresh", [sys.executable, "tests/notebook/refresh.py", "--check"]),
    ("notebooks", NOTEBOOKS),
    ("tests", [*PYTEST, "-n", "auto", "--cov", "--cov-report=term:skip-covered", "--cov-fail-under=90"]),
)


def main() -> int:
    """Run them in order and say how long each took."""
    env = {**os.environ, "ORCHKIT_DISPLAY": "static", "PYTHONDONTWRITEBYTECODE": "1"}
    for name, command in COMMANDS:
        shown = " ".join(Path(part).name if part.startswith("/") else part for part in command)
        print(f"\n== {name}: {shown}", flush=True)
        begin = time.monotonic()
        code = subprocess.run(command, cwd=ROOT, env=env, check=False).returncode
        verdict = "passed" if code == 0 else f"failed ({code})"
        print(f"== {name}: {verdict} in {time.monotonic() - begin:.0f} s", flush=True)
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())

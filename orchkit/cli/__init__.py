"""The command line: ``orchkit demo``, and what tends and shows a store: ``runs``, ``show``, ``resume``, ...

Nothing is loaded until a command runs, so that ``orchkit --help`` is quick.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command ``orchkit``."""
    from orchkit.cli._app import app

    app()

"""A question at the terminal that does not wait for ever."""

from __future__ import annotations

import select
import sys

from rich.console import Console
from rich.text import Text

__all__ = ["ask_yes_no"]


def ask_yes_no(console: Console, question: str, *, default: bool, patience: float) -> bool:
    """Ask for yes or no.

    Parameters
    ----------
    console : Console
    question : str
    default : bool
        The answer when only Enter is pressed, when nothing comes in time, or when it is neither yes nor no.
    patience : float, seconds
        How long to wait.
    """
    choice = "Y/n" if default else "y/N"
    console.print(Text(f"{question} [{choice}] "), end="")
    if not select.select([sys.stdin], [], [], patience)[0]:
        console.print(Text(f"({patience:.0f} s: {'yes' if default else 'no'})", style="dim"))
        return default
    said = sys.stdin.readline().strip().lower()
    return {"y": True, "n": False}.get(said[:1], default)

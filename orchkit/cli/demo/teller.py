"""How the story speaks: quiet paragraphs, numbered heads, tables; plain where there is no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchkit.clock.ids import wall_micro

if TYPE_CHECKING:
    from rich.status import Status

__all__ = ["Teller"]


class Teller:
    """Writes to the terminal, and knows when it began."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.began = wall_micro()
        self._chapter = 0

    def say(self, *parts: str | tuple[str, str]) -> None:
        """Say one paragraph; a tuple is text and its style."""
        # Wrapped here: rich's own indentation fills lines with blanks, which stay in files and pipes.
        for line in Text.assemble(*parts).wrap(self.console, self.console.width - 4):
            line.rstrip()
            self.console.print(Text("   ") + line)

    def head(self, title: str) -> None:
        """Open a chapter."""
        self._chapter += 1
        self.console.print()
        self.console.print(Text.assemble((f"{self._chapter}  ", "cyan"), (title, "bold")))

    def show(self, table: Table) -> None:
        """Show a table under the text."""
        self.console.print(Padding(table, (0, 0, 0, 2)))

    def point(self, label: str, where: str) -> None:
        """Say where something is; never wrapped, so that it can be copied."""
        self.console.print(Text.assemble("   ", (label, "bold"), "  ", where), soft_wrap=True)

    def waiting(self, what: str) -> Status:
        """Give a sign of life, which only a terminal shows."""
        return self.console.status(Text(what, style="dim"))

    def seconds_since(self, micro: int) -> str:
        """Write a duration."""
        return f"{(wall_micro() - micro) / 1e6:.1f} s"

"""The tables of the story."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from orchkit.cli.demo.compare import BASELINE
from orchkit.cli.demo.live import Report

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["comparison_table", "long_time", "tally_table"]


def tally_table(report: Report) -> Table:
    """Lay out what became of each step's executions."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("step")
    for title in ("had a result", "ran again", "cut off, begun anew", "done since"):
        table.add_column(title, justify="right")
    for tally in report.tallies:
        numbers = (tally.kept, tally.again, tally.cut, tally.after)
        table.add_row(tally.node, *(Text(str(n), style="dim" if not n else "") for n in numbers))
    return table


_METRICS = {"success": "success %", "degraded": "degraded %", "p95": "p95 s", "cost": "cost ¢"}
_VERDICTS = {"better": "green", "worse": "red", "cannot tell": "yellow"}


def comparison_table(frame: pd.DataFrame) -> Table:
    """Lay out a comparison: a block a metric, the baseline first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("")
    table.add_column("protection")
    table.add_column("value", justify="right")
    table.add_column(f"against {BASELINE}, at 95 %", justify="right")
    table.add_column("verdict")
    metric = ""
    for row in frame.to_dict("records"):
        if row["metric"] != metric:
            metric = row["metric"]
            table.add_row(_METRICS[metric], BASELINE, _number(metric, row["base"]), "", Text("baseline", style="dim"))
        difference, low, high = (_number(metric, row[name], sign="+") for name in ("difference", "low", "high"))
        verdict = Text(row["verdict"], style=_VERDICTS.get(row["verdict"], ""))
        table.add_row("", row["arm"], _number(metric, row["estimate"]), f"{difference} ({low} to {high})", verdict)
    return table


def _number(metric: str, value: float, sign: str = "") -> str:
    if metric == "p95":
        return f"{value:{sign}.0f}"
    return f"{value * 100:{sign}.{2 if metric == 'cost' else 1}f}"


def long_time(seconds: float) -> str:
    """Write a long duration."""
    return f"{seconds / 3600:.0f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"

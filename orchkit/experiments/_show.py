"""How results show themselves in a notebook: a small table, as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from orchkit.draw import clean, fit_columns
from orchkit.experiments._levels import Level
from orchkit.experiments._metrics import HEADLINE, METRICS
from orchkit.experiments._words import interval_words, measure_of, safe

__all__ = ["html_table", "text_table"]

_WIDEST = 32


def _cells(rows: Sequence[Level]) -> list[list[str]]:
    """Lay estimates out: a line for each arm under each plan of faults, a column for each metric."""
    measures = {metric: measure_of(metric, [row for row in rows if row.metric == metric]) for metric in HEADLINE}
    lines: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        line = lines.setdefault((row.faults, row.arm), [clean(row.arm), clean(row.faults)])
        measure = measures[row.metric]
        line.append(f"{measure(row.estimate)} [{interval_words(measure, row.low, row.high)}]")
    for line, row in zip(lines.values(), rows, strict=False):
        line.append(str(row.n))
    return [["arm", "faults", *(METRICS[metric].words for metric in HEADLINE), "n"], *lines.values()]


def text_table(title: str, rows: Sequence[Level]) -> str:
    """Give estimates with 95 % intervals as text, in columns."""
    cells = [[fit_columns(cell, _WIDEST) for cell in line] for line in _cells(rows)]
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, line, wide)).rstrip() for line in cells)
    return "\n".join([title, *lines])


def html_table(title: str, rows: Sequence[Level]) -> str:
    """Give the same as HTML."""
    head, *body = _cells(rows)
    top = "".join(f"<th>{safe(cell)}</th>" for cell in head)
    lines = "".join(f"<tr>{''.join(f'<td>{safe(cell)}</td>' for cell in line)}</tr>" for line in body)
    return f"<div><p>{safe(title)}</p><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>"

"""The tables of a report."""

from __future__ import annotations

from collections.abc import Iterator

from orchkit.experiments._compare import Contrast
from orchkit.experiments._facts import SIGNS, Facts
from orchkit.experiments._metrics import METRICS
from orchkit.experiments._pictures import tag
from orchkit.experiments._words import interval_words, safe

__all__ = ["contrast_table", "levels_table"]


def levels_table(facts: Facts) -> Iterator[str]:
    """Lay out every estimate with its interval."""
    yield "<section><h2>Estimates</h2>"
    yield '<p class="note">With 95 % intervals, each for itself.</p><div class="wide"><table><thead><tr>'
    yield from (f"<th>{head}</th>" for head in (["faults", "arm"] if len(facts.faults) > 1 else ["arm"]))
    yield from (f'<th class="num">{METRICS[metric].words}</th>' for metric in facts.metrics)
    yield '<th class="num">n</th></tr></thead>'
    for cell in facts.faults:
        yield '<tbody class="next">'
        for i, arm in enumerate(facts.arms):
            cells = "".join(_estimate(facts, arm, cell, metric) for metric in facts.metrics)
            where = f"<td>{safe(cell) if not i else ''}</td>" if len(facts.faults) > 1 else ""
            yield f'<tr>{where}<th>{tag(i, arm)}</th>{cells}<td class="num">{facts.levels[0].n:,}</td></tr>'
        yield "</tbody>"
    yield "</table></div></section>"


def _estimate(facts: Facts, arm: str, cell: str, metric: str) -> str:
    row = next(row for row in facts.levels if (row.metric, row.arm, row.faults) == (metric, arm, cell))
    measure = facts.measures[metric]
    interval = f"<small>{interval_words(measure, row.low, row.high)}</small>"
    return f'<td class="num">{measure(row.estimate)}{interval}</td>'


def contrast_table(facts: Facts) -> Iterator[str]:
    """Lay out every comparison with its verdict."""
    if not facts.contrasts:
        return
    yield f"<section><h2>Differences from {safe(facts.baseline)}</h2>"
    yield (
        f'<p class="note">{len(facts.contrasts)} comparisons, judged as one family: with a chance of 95 %, no '
        "verdict is wrong (Holm). Each interval is at the level at which its row was judged.</p>"
        '<div class="wide"><table><thead><tr>'
    )
    heads = ["metric", *(["faults"] if len(facts.faults) > 1 else []), "arm"]
    yield from (f"<th>{head}</th>" for head in heads)
    yield from (f'<th class="num">{head}</th>' for head in ("baseline", "arm", "difference", "interval"))
    yield '<th>verdict</th><th class="num">pairs</th></tr></thead>'
    for metric in facts.metrics:
        yield '<tbody class="next">'
        rows = [row for row in facts.contrasts if row.metric == metric]
        yield from (_contrast(facts, row, first=not i) for i, row in enumerate(rows))
        yield "</tbody>"
    yield "</table></div></section>"


def _contrast(facts: Facts, row: Contrast, *, first: bool) -> str:
    measure = facts.measures[row.metric]
    own = facts.gaps[row.metric]
    where = f"<td>{safe(row.faults)}</td>" if len(facts.faults) > 1 else ""
    sign = SIGNS.get(row.verdict, "")
    kind = "decided" if sign else "soft"
    verdict = f'<span class="{kind}">{sign} {row.verdict}</span>'
    numbers = (
        measure(row.base),
        measure(row.estimate),
        own.difference(row.difference),
        interval_words(own, row.low, row.high, signed=True),
    )
    cells = "".join(f'<td class="num">{number}</td>' for number in numbers)
    name = METRICS[row.metric].words if first else ""
    who = tag(facts.arms.index(row.arm), row.arm)
    return f'<tr><td>{name}</td>{where}<td>{who}</td>{cells}<td>{verdict}</td><td class="num">{row.n:,}</td></tr>'

"""The report: one HTML file that says what was asked, what came out, and how sure that is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from html import escape
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchkit.errors import DefinitionError
from orchkit.experiments._compare import Contrast
from orchkit.experiments._dots import dots
from orchkit.experiments._facts import SIGNS, Facts
from orchkit.experiments._levels import Level
from orchkit.experiments._metrics import METRICS
from orchkit.experiments._pictures import tag
from orchkit.experiments._plan import describe_stack
from orchkit.experiments._report_tables import contrast_table, levels_table
from orchkit.experiments._shares import Share, shares
from orchkit.experiments._style import STYLE
from orchkit.experiments._timeline import timeline
from orchkit.experiments._trials import OUTCOMES
from orchkit.experiments._words import duration, join, safe
from orchkit.model.text import without_addresses

if TYPE_CHECKING:
    from orchkit.experiments._results import Results

__all__ = ["html_of", "write_report"]

_PICTURED: Final = ("success", "p95", "cost")
_NAMED: Final = 5


def write_report(results: Results, path: str | os.PathLike[str], baseline: str | None) -> Path:
    """Write the report to a file.

    Raises
    ------
    DefinitionError
        If the path is a folder, or lies in none.
    """
    target = Path(path)
    if target.is_dir():
        raise DefinitionError(f"report({str(path)!r}): that is a folder; name a file in it, such as report.html")
    if not target.parent.is_dir():
        raise DefinitionError(f"report({str(path)!r}): there is no folder {str(target.parent)!r}; make it first")
    target.write_text(html_of(results, baseline), encoding="utf-8", newline="\n")
    return target


def html_of(results: Results, baseline: str | None = None) -> str:
    """Give the report as one HTML document; the same results give the same text.

    Raises
    ------
    DefinitionError
        If no arm can be compared yet.
    """
    facts = Facts(results, baseline)
    if not facts.levels[0].n:
        raise DefinitionError("report: the experiment was interrupted before every arm had a trial; run it again")
    title = safe(f"{facts.workflow}: an experiment with {_count(len(facts.arms), 'arm')}")
    sections = (_head, _short, _dots, _endings, levels_table, contrast_table, _worst, _policies, _footer)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{title}</title><style>{STYLE}</style></head><body><main>",
            *(part for section in sections for part in section(facts)),
            "</main></body></html>",
            "",
        ]
    )


def _head(facts: Facts) -> Iterator[str]:
    seeds, cases, _, _ = facts.plan.shape
    where = f", under {safe(join(facts.faults))}" if len(facts.faults) > 1 else ""
    yield '<p class="eyebrow">orchkit experiment</p>'
    yield f"<h1>{safe(facts.workflow)}</h1>"
    several = len(facts.arms) > 1
    which = join(facts.arms, "or") if len(facts.arms) <= _NAMED else f"{len(facts.arms)} arms"
    who = f"Which of {which} holds up best" if several else f"How does {facts.arms[0]} hold up"
    yield f'<p class="lead">{safe(who)} in {facts.subjects}{where}?</p>'
    yield (
        f'<p class="note">{facts.plan.size:,} simulated runs: {_count(len(facts.arms), "arm")} × '
        f"{_count(len(facts.faults), 'plan')} of faults × {_count(cases, 'input')} × {_count(seeds, 'seed')}. "
        "Every arm had the same luck, so arms are compared pair by pair.</p>"
    )
    if facts.results.partial:
        done = len(facts.results._trials)
        words = f"Interrupted: {done:,} of {facts.plan.size:,} runs were done; this is about those."
        yield f'<p class="warn">{words}</p>'


def _short(facts: Facts) -> Iterator[str]:
    if not facts.contrasts:
        return
    yield f"<section><h2>In short, against {safe(facts.baseline)}</h2>"
    yield '<ul class="short">'
    for i, arm in enumerate(facts.arms):
        if arm != facts.baseline:
            lines = "".join(f"<p>{line}</p>" for line in _sentences(facts, arm))
            yield f"<li>{tag(i, arm)}<div>{lines}</div></li>"
    yield "</ul></section>"


def _sentences(facts: Facts, arm: str) -> Iterator[str]:
    for cell in facts.faults:
        rows = [row for row in facts.contrasts if row.arm == arm and row.faults == cell]
        groups = {word: [row for row in rows if row.verdict == word] for word in ("better", "worse", "cannot tell")}
        said = [_said(facts, word, group) for word, group in groups.items() if group]
        where = f'<span class="soft">{safe(cell)}:</span> ' if len(facts.faults) > 1 else ""
        yield f"{where}{'; '.join(said)}."


def _said(facts: Facts, verdict: str, rows: Sequence[Contrast]) -> str:
    if verdict == "cannot tell":
        return f'<span class="soft">cannot tell: {join([METRICS[row.metric].words for row in rows])}</span>'
    gaps = [f"{METRICS[row.metric].words} {facts.gaps[row.metric].difference(row.difference)}" for row in rows]
    return f"<b>{SIGNS[verdict]}&nbsp;{verdict}:</b> {join(gaps)}"


def _dots(facts: Facts) -> Iterator[str]:
    yield f"<section><h2>{facts.subjects.capitalize()}</h2>"
    pictured = [metric for metric in _PICTURED if metric in facts.metrics]
    yield (
        f'<p class="note">Each sign is an estimate from n = {facts.levels[0].n:,} runs, each line its 95 % interval; '
        "lines may overlap where arms differ clearly: the table of differences is sharper.</p>"
    )
    yield f'<div class="wide">{dots(facts.levels, pictured, facts.arms, facts.faults)}</div></section>'


def _endings(facts: Facts) -> Iterator[str]:
    yield "<section><h2>How runs ended</h2>"
    yield '<p class="note">Completed and degraded runs delivered something, and are successes.</p>'
    rows = [
        Share(level.arm, level.faults, counts, level)
        for level, counts in ((level, _counts(facts, level)) for level in facts.of("success"))
        if sum(counts)
    ]
    yield f'<div class="wide">{shares(rows, facts.arms, facts.faults)}</div></section>'


def _counts(facts: Facts, level: Level) -> tuple[int, ...]:
    arm, cell = facts.arms.index(level.arm), facts.faults.index(level.faults)
    start = cell * len(facts.arms) + arm
    block = len(facts.arms) * len(facts.faults)
    codes = facts.results._trials.outcome[start : level.n * block : block]
    return tuple(codes.count(code) for code in range(len(OUTCOMES)))


def _worst(facts: Facts) -> Iterator[str]:
    yield "<section><h2>The worst run of each arm</h2>"
    yield (
        '<p class="note">The worst outcome, then the longest. Full bars are attempts that completed; hollow ones '
        "failed (×) or ran out of time (|); dots are waits before a retry; pale bars are people. Where time is "
        "cut, the axis is torn.</p>"
    )
    for i, arm in enumerate(facts.arms):
        run = facts.results.worst(arm)
        yield f'<h3>{tag(i, arm)} <span class="soft">{safe(_worst_in_words(facts, i))}</span></h3>'
        yield f'<div class="wide">{timeline(run.log, i, f"Timeline of the worst run of {arm}")}</div>'
    yield "</section>"


def _worst_in_words(facts: Facts, arm: int) -> str:
    trials, position = facts.results._trials, facts.results._worst_position(arm)
    seed, case, faults, _ = facts.results._which(position)
    latency = trials.latency[position]
    how = f"after {duration(latency)}" if isfinite(latency) else "as it waits for ever"
    where = f", {facts.faults[faults]}" if len(facts.faults) > 1 else ""
    value = _shortened(json.dumps(facts.plan.inputs[arm][case], ensure_ascii=False), 160)
    return f"{OUTCOMES[trials.outcome[position]]} {how}{where}, seed {seed}, input {case}: {value}"


def _policies(facts: Facts) -> Iterator[str]:
    first = next(iter(facts.plan.arms.values()))
    names = [node.name for node in first.checked().nodes]
    guarded = [name for name in names if any(wf.policies(name) for wf in facts.plan.arms.values())]
    bare = [name for name in names if name not in guarded]
    yield "<section><h2>What was compared</h2>"
    yield '<p class="note">Policies by step, outermost first.</p><div class="wide"><table><thead><tr><th>step</th>'
    yield from (f"<th>{tag(i, arm)}</th>" for i, arm in enumerate(facts.arms))
    yield "</tr></thead><tbody>"
    for name in guarded:
        yield f"<tr><th>{safe(name)}</th>"
        yield from (f"<td>{_stack(describe_stack(wf, name))}</td>" for wf in facts.plan.arms.values())
        yield "</tr>"
    yield "</tbody></table></div>"
    if bare:
        yield f'<p class="note">No policy in any arm: {safe(", ".join(bare))}.</p>'
    drawing = first.svg().replace(' xmlns="http://www.w3.org/2000/svg"', "")
    yield f'<h3>The workflow, as in {safe(facts.arms[0])}</h3><div class="wide">{drawing}</div></section>'


def _footer(facts: Facts) -> Iterator[str]:
    import numpy
    import scipy

    from orchkit import __version__

    unit = facts.results._blocks.unit
    other = "inputs like these" if unit == "cases" else "these inputs"
    entries = {
        "Runs": f"{len(facts.results._trials):,}; n = {facts.levels[0].n:,} for each arm and plan of faults",
        "Seeds": _seed_words(facts.plan.seeds),
        "Faults": "; ".join(f"{name}: {_brief(plan)}" for name, plan in facts.plan.faults.items()),
        "World": _brief(facts.plan.world),
        "Digest of the plan": facts.plan.digest,
        "Versions": f"orchkit {__version__}, numpy {numpy.__version__}, scipy {scipy.__version__}",
    }
    yield "<section><footer><h2>How to read this</h2>"
    yield (
        "<p><b>These are simulated runs.</b> They say how the arms compare in the world below. More seeds make "
        "intervals narrower; how far that world is from yours, they do not change.</p>"
        "<p><b>An interval</b> holds the true value of the simulated world in 95 of 100 experiments. "
        f"What was resampled are {unit}: the intervals are about {other}. "
        "<b>Cannot tell</b> is an answer: the runs do not say which arm is better, not that they are equal.</p>"
        "<p><b>Success</b> means that something was delivered, full success that it was not a fallback. Whether it "
        "was right is not modelled. <b>Latency</b> is from start to end whatever the outcome: an arm that fails "
        "early is fast, so read it beside success.</p>"
    )
    yield "<dl>"
    yield from (f"<dt>{name}</dt><dd>{safe(words)}</dd>" for name, words in entries.items())
    yield "</dl></footer></section>"


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def _stack(policies: Sequence[str]) -> str:
    lines = [escape(policy, quote=True) for policy in policies]
    return "<br>".join(f"<code>{line}</code>" for line in lines) if lines else '<span class="soft">none</span>'


def _seed_words(seeds: Sequence[int]) -> str:
    if isinstance(seeds, range) and seeds.step == 1:
        return f"{seeds[0]} to {seeds[-1]}"
    shown = ", ".join(map(str, seeds[:20]))
    return shown if len(seeds) <= 20 else f"{shown} and {len(seeds) - 20} more"


def _brief(thing: object) -> str:
    return "none" if thing is None else _shortened(without_addresses(repr(thing)), 1500)


def _shortened(words: str, limit: int) -> str:
    return words if len(words) <= limit else words[:limit] + " …"

"""The report: one file, complete, escaped, the same each time."""

import math
import re
from html.parser import HTMLParser

import pytest
from experiment_arms import arms, greeting, world

import orchkit as ok
from orchkit.experiments._compare import Contrast
from orchkit.experiments._words import Measure, duration, gap_of, interval_words

EVIL = "<script>alert(1)</script>"


class Tags(HTMLParser):
    VOID = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.attributes = [], set(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(res, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert res.report(path) == path
    return path.read_text(encoding="utf-8")


def test_it_is_well_formed_and_needs_nothing_from_elsewhere(page):
    tags = Tags(page)
    assert tags.seen.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base"})
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert not [name for name, _ in tags.attributes if name.startswith("on") or name in ("src", "href")]
    assert "prefers-color-scheme:dark" in page


def test_it_says_what_was_asked_what_came_out_and_how_sure_that_is(res, page):
    assert "Which of plain or retry holds up best" in page
    assert "320 simulated runs: 2 arms × 2 plans of faults × 2 inputs × 40 seeds" in page
    assert res._plan.digest in page
    assert f"orchkit {ok.__version__}" in page
    for word in ("better", "cannot tell", "How to read this", "n = 80", "Retry(3)"):
        assert word in page
    assert "the intervals are about these inputs" in page


def test_the_same_results_give_the_same_bytes(res, page, tmp_path):
    assert res.report(str(tmp_path / "again.html")).read_text(encoding="utf-8") == page


def test_everything_from_outside_is_escaped(tmp_path):
    wf = ok.Workflow(f"flow {EVIL}", input=str)

    @wf.step(retry=2)
    def greet(input: str) -> str: ...

    evil = {f"arm {EVIL}": wf, 'b" onload="x': wf.using(greet=ok.Fallback(f"fallback {EVIL}"))}
    faults = {f"storm {EVIL}": ok.Faults(ok.faults.fail("greet", rate=0.5, error=ValueError(EVIL)))}
    res = ok.Experiment(
        evil, inputs=[f"input {EVIL}"], world=ok.World(greet=ok.fake(f"value {EVIL}")), faults=faults, seeds=12
    ).run()
    text = res.report(tmp_path / "evil.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert 'onload="x' not in text
    Tags(text)
    for place in ("flow", "arm", "fallback", "input", "storm", "value"):
        assert f"{place} &lt;script&gt;" in text
    html = res._repr_mimebundle_()["text/html"]
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("where", "says"), [(".", "is a folder; name a file"), ("missing/report.html", "there is no folder")]
)
def test_a_path_that_cannot_be_is_refused(res, tmp_path, where, says):
    with pytest.raises(ok.DefinitionError, match=says):
        res.report(tmp_path / where)


def test_the_baseline_can_be_chosen(res, tmp_path):
    assert "Differences from retry" in res.report(tmp_path / "r.html", baseline="retry").read_text(encoding="utf-8")
    with pytest.raises(ok.DefinitionError, match="no such arm"):
        res.report(tmp_path / "r.html", baseline="retri")


@pytest.mark.parametrize(
    ("given", "changes"),
    [
        ({"only": greeting()}, {}),
        (arms(), {"seeds": 1}),
        (arms(), {"faults": ok.Faults(ok.faults.hang("greet"))}),
        (arms(), {"world": ok.World(greet=ok.fake("x"))}),
        (arms(), {"world": world(error=1.0)}),
        ({f"arm number {i} with a name that goes on and on and on": greeting() for i in range(9)}, {}),
    ],
    ids=["one arm", "one seed", "never ends", "no time, no cost", "all fail", "many arms"],
)
def test_odd_results_have_a_report_too(given, changes, tmp_path):
    res = ok.Experiment(given, **{"inputs": ["Dana"], "world": world(), "seeds": 4, **changes}).run()
    text = res.report(tmp_path / "r.html").read_text(encoding="utf-8")
    Tags(text)
    assert "nan" not in re.sub(r"<style>.*?</style>", "", text, flags=re.S)
    assert '"inf' not in text


def test_an_interrupted_experiment_says_so(tmp_path):
    calls = iter(range(1, 1000))

    def value(inputs, rng):
        if next(calls) == 12:
            raise KeyboardInterrupt
        return "Hello"

    res = ok.Experiment(arms(), inputs=["Dana"], world=ok.World(greet=ok.fake(value)), seeds=50).run()
    page = res.report(tmp_path / "r.html")  # `value` no longer interrupts
    assert "Interrupted: 11 of 100 runs were done" in page.read_text(encoding="utf-8")


def test_a_timeline_shows_attempts_waits_people_and_torn_time(tmp_path):
    wf = ok.Workflow("ask", input=str)

    @wf.step(retry=ok.Retry(2, wait=ok.backoff(base=2, jitter=None)), timeout=5)
    def draft(input: str) -> str: ...

    wf.approval("review", show="draft", timeout=7200)

    @wf.step
    def done(review: bool | None) -> str: ...

    models = {"review": ok.person(3600, approve=1.0), "draft": ok.fake("x", latency=3), "done": ok.fake("y")}
    faults = ok.Faults(ok.faults.hang("draft", nth=1))
    res = ok.Experiment({"a": wf}, inputs=["x"], world=ok.World(models), faults=faults, seeds=1).run()
    text = res.report(tmp_path / "r.html").read_text(encoding="utf-8")
    for words in ("draft: timed out, 5.00 s", "draft: waits 2.00 s", "draft: 3.00 s", "review: answered, 60.0 min"):
        assert f"<title>{words}</title>" in text
    assert 'class="tear"' in text
    assert "in no time: done" in text


def test_numbers_are_written_alike_and_never_lose_what_was_decided():
    row = Contrast("p95", "a", "none", 3.0, 2.0, 60.0, 0.25, 240.0, 9, "worse")
    gap = gap_of("p95", [row])
    assert (gap.difference(60.0), interval_words(gap, 0.25, 240.0, signed=True)) == ("+1.000 min", "+0.004 to +4.000")
    share = Measure("share", [0.5])
    assert [share.difference(x) for x in (0.04, -0.04, 0.0001, -0.0001)] == [
        "+4.0 points", "−4.0 points", "0.0 points", "0.0 points",
    ]  # fmt: skip
    assert Measure("USD", [0.0136]).difference(-0.0004) == "−$0.0004"
    assert [duration(x) for x in (0.5, 90.0, 600.0, 9000.0)] == ["0.500 s", "90.0 s", "10.0 min", "2.50 h"]
    assert interval_words(share, -math.inf, math.inf) == "no bounds"
    assert interval_words(share, 0.5, math.inf) == "50.0 to ∞"

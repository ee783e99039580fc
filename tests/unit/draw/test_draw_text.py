from dataclasses import replace

from draw_graphs import STATUSES, TRIAGE, in_states, pictures
from hypothesis import given, settings

from orchkit.draw import Arrow, Picture, Shape, layout, text
from orchkit.draw._measure import columns


def test_a_definition():
    assert text(TRIAGE) == "\n".join(
        [
            "triage",
            "  input      input",
            "    Ticket",
            "  plan       step          ← input",
            "  lookup     map           ← plan",
            "    limit 4",
            "  draft      step          ← input, lookup",
            "    fallback · retry 3 · timeout 20 s",
            "  risk       route         ← draft",
            "  review     approval      ← risk if review, draft",
            "  verdict    route         ← review",
            "  send       step, effect  ← risk if send, draft, verdict if send",
            "  apologise  step          ← verdict if apologise, input",
            "9 nodes",
        ]
    )


def test_a_run():
    shapes = (Shape("ask", status="completed", badge="1.8 s"), Shape("go", "route", "degraded"), Shape("end"))
    arrows = (
        Arrow("ask", "go"),
        Arrow("go", "end", "route", live=False),
        Arrow("ask", "end", "after", "log"),
    )
    assert text(Picture("p", shapes, arrows, "run 7")) == "\n".join(
        [
            "p · run 7",
            "  ✓ ask  step   completed · 1.8 s",
            "  ~ go   route  degraded           ← ask",
            "  ◌ end  step   idle               ← (go?), after ask: log",
            "3 nodes: 1 degraded, 1 completed, 1 idle",
        ]
    )


def test_each_state_has_its_own_word_and_sign():
    lines = [
        text(Picture("p", (Shape("a", status=status), Shape("b", status="failed")), ())).split("\n")[1]
        for status in STATUSES
    ]
    assert len({line.split()[0] for line in lines}) == len(STATUSES)
    assert [line.split()[-1] for line in lines] == list(STATUSES)


@given(pictures())
@settings(max_examples=60, deadline=None)
def test_every_node_has_a_line_in_layer_order_and_nothing_breaks_lines(picture):
    picture = replace(picture, title="title", shapes=tuple(replace(shape, note="") for shape in picture.shapes))
    lines = text(picture).split("\n")
    assert len(lines) == len(picture.shapes) + 2
    assert not [char for line in lines for char in line if ord(char) < 32 or 127 <= ord(char) < 160]
    order = sorted(zip(layout(picture).boxes, picture.shapes, strict=True), key=lambda p: (p[0].layer, p[0].row))
    targets = {arrow.target for arrow in picture.arrows}
    for line, (_, shape) in zip(lines[1:], order, strict=False):
        assert shape.kind in line
        if shape.name in targets:
            assert "← " in line


def test_columns_line_up_with_wide_characters():
    shapes = (Shape("検索", status="running"), Shape("plan", status="running"))
    one, two = text(Picture("p", shapes, ())).split("\n")[1:3]
    assert columns(one.partition("step")[0]) == columns(two.partition("step")[0])


def test_long_text_is_cut():
    long = "y" * 10_000
    picture = Picture(long, (Shape(long, status="failed", note=long, badge=long),), (), caption=long)
    assert max(map(len, text(picture).split("\n"))) < 200


def test_the_places_of_a_run_are_those_of_its_definition():
    run = text(in_states(TRIAGE, plan=("running", "")))
    names = [line.split()[1] for line in run.split("\n") if line[2:3] in "◌▶" and line.strip()]
    plan = [line.split()[0] for line in text(TRIAGE).split("\n")[1:-1] if not line.startswith("    ")]
    assert names == plan


def test_what_passes_by_the_shared_context_is_said_with_its_fields():
    shapes = (Shape("read"), Shape("look"), Shape("reply"))
    arrows = (
        Arrow("read", "look", live=False),
        Arrow("read", "reply", "context", "notes & mood"),
        Arrow("look", "reply", "context"),
    )
    lines = text(Picture("case", shapes, arrows)).splitlines()
    assert "  look   step  ← (read)" in lines
    assert "  reply  step  ← notes & mood by read, context by look" in lines

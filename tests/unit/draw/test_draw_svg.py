import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from draw_graphs import STATUSES, TRIAGE, in_states, pictures
from hypothesis import given, settings

from orchkit.draw import Arrow, Picture, Shape, layout, svg
from orchkit.draw._measure import width
from orchkit.draw._style import DARK, LIGHT

NS = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onload=alert(1)>",
    "]]></style><a href='javascript:1'>&amp;&#x3c;",
    "line\nbreak\tand\x00NUL\x1b[31m\ud800\ufffe",
    "\u202egnirts desrever",
    "x" * 10_000,
    "検索する人工知能エージェント",
    "👩‍👩‍👧 family e\u0301",
)


def parse(markup):
    return ET.fromstring(markup)


def nodes(markup):
    """Return the group of each node by the name in its tooltip."""
    groups = [group for group in parse(markup).iter(f"{NS}g") if "okd-node" in group.get("class", "")]
    return {group.find(f"{NS}title").text.partition(":")[0]: group for group in groups}


def classes(element):
    return [name for part in element.iter() for name in part.get("class", "").split()]


def texts(element):
    return [part.text for part in element.iter(f"{NS}text")]


def one(**fields):
    return Picture("one", (Shape("a", **fields), Shape("b", status="completed")), ())


def test_the_same_picture_gives_the_same_bytes():
    again = Picture(TRIAGE.title, list(TRIAGE.shapes), list(TRIAGE.arrows))
    assert svg(TRIAGE) == svg(again)
    assert svg(TRIAGE).encode() == svg(TRIAGE).encode()
    assert svg(TRIAGE) != svg(in_states(TRIAGE, plan=("running", "")))


def test_it_is_one_image_with_title_and_description():
    root = parse(svg(replace(TRIAGE, caption="run 7f3a")))
    assert (root.tag, root.get("role")) == (f"{NS}svg", "img")
    assert [child.tag for child in root][:2] == [f"{NS}title", f"{NS}desc"]
    assert root[0].text == "triage"
    assert root[1].text == "run 7f3a. 9 nodes"
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"


def test_nothing_in_it_runs_or_loads():
    markup = svg(in_states(TRIAGE, plan=("failed", "2 attempts")))
    assert not [
        word
        for word in ("<script", "onload", "href", "url(", "@import", "http")
        if word in markup.replace(NS[1:-1], "")
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_stays_text(name):
    shape = Shape(name, status="failed", note=name, badge=name)
    markup = svg(Picture(name, (shape, Shape("b")), (Arrow(name, "b", "route", label=name),), caption=name))
    plain = svg(Picture("x", (Shape("x", status="failed", note="x", badge="x"), Shape("b")), (Arrow("x", "b"),)))
    markup.encode()
    root = parse(markup)
    assert {part.tag for part in root.iter()} <= {part.tag for part in parse(plain).iter()}
    names = {key for part in root.iter() for key in part.attrib}
    assert not [key for key in names if key.startswith("on") or "href" in key or key == "src"]
    assert not set(markup) & {"\x00", "\x1b", "\u202e", "\ufffe", "\ud800"}
    assert "<script" not in markup


@given(pictures(most=8))
@settings(max_examples=80, deadline=None)
def test_any_picture_is_well_formed_and_its_text_fits(picture):
    root = parse(svg(picture))
    drawn = [group for group in root.iter(f"{NS}g") if "okd-node" in group.get("class", "")]
    assert len(drawn) == len(picture.shapes)
    for group, box in zip(drawn, layout(picture).boxes, strict=True):
        assert group.get("transform") == f"translate({box.x} {box.y})"
        for part in group.iter(f"{NS}text"):
            big = part.get("class") == "okd-name"
            assert int(part.get("x")) + width(part.text or "", 13 if big else 11, bold=big) <= box.width - 8
            assert 0 < int(part.get("y")) <= box.height - 4


@given(pictures(most=8))
@settings(max_examples=40, deadline=None)
def test_every_class_is_ours(picture):
    assert all(name.startswith("okd") for name in classes(parse(svg(picture))))


def test_a_long_name_is_cut_and_its_tooltip_is_not():
    name = "a_step_with_a_name_that_goes_on_and_on_and_on"
    group = nodes(svg(Picture("p", (Shape(name),), ())))[name]
    drawn = texts(group)[0]
    assert drawn.endswith("…")
    assert name.startswith(drawn[:-1])


def test_each_state_has_its_own_word_and_sign():
    words, signs = {}, {}
    for status in STATUSES:
        group = nodes(svg(one(status=status)))["a"]
        (sign,) = [part for part in group.iter(f"{NS}g") if part.get("class") == "okd-sign"]
        signs[status] = tuple((path.get("class"), path.get("d")) for path in sign)
        words[status] = texts(group)[1]
        assert f"okd-{status}" in group.get("class").split()
    assert words == {status: status for status in STATUSES}
    assert len(set(signs.values())) == len(STATUSES)


def test_quiet_states_differ_in_their_dashes():
    markup = svg(one(status="idle"))
    dashes = {}
    for status in STATUSES:
        rule = f".okd-{status} .okd-edge{{stroke-dasharray:"
        dashes[status] = markup.partition(rule)[2].partition("}")[0]
    assert len({dashes[status] for status in ("idle", "degraded", "skipped", "cancelled")}) == 4
    assert dashes["completed"] == dashes["failed"] == ""


def test_a_badge_stands_beside_the_word_or_for_it():
    assert "1.8 s" in texts(nodes(svg(one(status="completed", badge="1.8 s")))["a"])
    assert "failed · 1.8 s" in texts(nodes(svg(one(status="failed", badge="1.8 s")))["a"])
    assert "fourteen chars" in texts(nodes(svg(one(status="failed", badge="fourteen chars")))["a"])


def test_a_badge_loses_whole_facts():
    drawn = texts(nodes(svg(one(status="completed", badge="3 attempts · 2 faults · 12.4 s")))["a"])[1]
    assert drawn == "3 attempts"


@pytest.mark.parametrize(("badge", "share"), [("12/40", 0.3), ("3 of 4 items", 0.75), ("9/4", 1.0), ("0/5", 0.0)])
def test_counts_are_drawn_as_a_bar(badge, share):
    group = nodes(svg(one(kind="map", status="running", badge=badge)))["a"]
    bars = {part.get("class"): int(part.get("width")) for part in group.iter(f"{NS}rect")}
    assert bars["okd-full"] == pytest.approx(share * bars["okd-rail"], abs=1)


@pytest.mark.parametrize("badge", ["1.8 s", "3 attempts", "5/0", "", "a/b"])
def test_other_badges_are_not(badge):
    assert "okd-rail" not in classes(nodes(svg(one(status="running", badge=badge)))["a"])


def test_each_kind_has_its_own_look():
    looks = {}
    for kind in ("input", "step", "map", "route", "approval", "loop", "call"):
        group = nodes(svg(Picture("p", (Shape("a", kind),), ())))["a"]
        edges = [part for part in group if "okd-edge" in part.get("class", "")]
        marks = [path.get("d") for part in group if part.get("class") == "okd-mark" for path in part]
        rule = [part.get("d") for part in group if part.get("class") == "okd-rule"]
        looks[kind] = (len(edges), edges[-1].tag, edges[-1].get("rx"), tuple(marks), tuple(rule))
    assert len(set(looks.values())) == 7


def test_an_effect_has_a_bolt():
    plain, marked = (classes(nodes(svg(one(effect=effect)))["a"]).count("okd-mark") for effect in (False, True))
    assert (plain, marked) == (0, 1)


def test_a_definition_shows_kinds_and_no_states():
    group = nodes(svg(TRIAGE))
    assert "approval" in texts(group["review"])
    assert "step · effect" in texts(group["send"])
    assert texts(group["input"]) == ["input", "Ticket"]
    drawn = classes(parse(svg(TRIAGE)))
    assert "okd-plan" in drawn
    assert "okd-sign" not in drawn
    assert "okd-idle" not in drawn


def test_one_state_makes_it_a_run():
    group = nodes(svg(in_states(TRIAGE, plan=("running", ""))))
    assert "idle" in texts(group["review"])
    assert "okd-sign" in classes(group["review"])


def test_arrows_show_kind_and_life():
    shapes = tuple(map(Shape, "abcde"))
    arrows = (
        Arrow("a", "b"),
        Arrow("a", "c", "route", "yes"),
        Arrow("a", "d", "after"),
        Arrow("a", "e", live=False),
    )
    root = parse(svg(Picture("p", shapes, arrows)))
    wires = [part.get("class") for part in root.iter(f"{NS}path") if "okd-wire" in part.get("class", "")]
    assert wires == ["okd-wire okd-off", "okd-wire", "okd-wire okd-route", "okd-wire okd-after"]
    assert "yes" in texts(root)


def test_a_note_is_drawn_whole_when_it_fits_and_is_always_in_the_tooltip():
    note = "fallback canned · breaker llm:a · hedge 15 s · retry 4 · timeout 20 s"
    group = nodes(svg(Picture("p", (Shape("a", note=note),), ())))["a"]
    assert " · ".join(texts(group)[2:]) == note
    group = nodes(svg(Picture("p", (Shape("a", note=note * 9),), ())))["a"]
    assert texts(group)[-1].endswith("…")
    assert note * 9 in group.find(f"{NS}title").text


def test_an_empty_picture_says_so():
    assert "nothing to draw yet" in texts(parse(svg(Picture("", (), ()))))


def test_a_long_caption_is_wrapped_below_the_title():
    short, long = (parse(svg(replace(one(), caption=caption))) for caption in ("brief", "many words " * 12))
    assert int(long.get("height")) > int(short.get("height"))
    lines = [part for part in long if part.tag == f"{NS}text"]
    assert len(lines) == 4
    assert all(22 + width(part.text, 11) <= int(long.get("width")) for part in lines[1:])


def luminance(colour):
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, two):
    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("colour", ["ink", "soft", "run", "ok", "bad", "wait", "deg"])
def test_text_can_be_read_on_both_backgrounds(theme, colour):
    assert contrast(theme[colour], theme["bg"]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("colour", ["wire", "amber"])
def test_lines_can_be_seen_on_both_backgrounds(theme, colour):
    assert contrast(theme[colour], theme["bg"]) >= 3.0


def test_both_themes_name_the_same_colours():
    assert LIGHT.keys() == DARK.keys()
    markup = svg(one())
    assert "prefers-color-scheme:dark" in markup
    assert all(f"--okd-{name}:" in markup for name in LIGHT if name not in ("bg", "ink"))
    used = {part.partition(")")[0] for part in markup.split("var(--okd-")[1:]}
    assert used == set(LIGHT)


def test_context_arrows_bring_their_own_style_and_others_keep_their_bytes():
    shapes = (Shape("a"), Shape("b"))
    plain, shared = (svg(Picture("two", shapes, (Arrow("a", "b", kind),))) for kind in ("data", "context"))
    assert "okd-context" not in plain
    assert classes(parse(shared)).count("okd-context") == 2
    assert ".okd-context.okd-wire" in shared

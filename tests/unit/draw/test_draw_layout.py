from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from draw_graphs import STATUSES, TRIAGE, in_states, large, pictures
from hypothesis import given, settings

from orchkit.draw import Arrow, Picture, Shape, layout
from orchkit.draw._measure import width

STACK = 6  # the cards of a map peek out above by this much


def check(picture):
    """Assert everything that holds for any layout."""
    places = layout(picture)
    boxes = {box.name: box for box in places.boxes}
    assert [box.name for box in places.boxes] == [shape.name for shape in picture.shapes]
    assert [line.arrow for line in places.lines] == list(picture.arrows)
    check_boxes(places)
    for line in places.lines:
        source, target = boxes[line.arrow.source], boxes[line.arrow.target]
        assert source.layer < target.layer
        check_line(line, source, target, places)
    return places


def check_boxes(places):
    columns = {}
    for box in places.boxes:
        assert 0 <= box.x <= box.x + box.width <= places.width
        assert 0 <= box.y <= box.y + box.height <= places.height
        columns.setdefault(box.layer, []).append(box)
    right = -1
    for layer in sorted(columns):
        column = sorted(columns[layer], key=lambda box: box.y)
        assert min(box.x for box in column) > right
        right = max(box.x + box.width for box in column)
        assert [box.row for box in column] == sorted(box.row for box in column)
        for high, low in pairwise(column):
            assert high.y + high.height + STACK < low.y


def check_line(line, source, target, places):
    points = line.points
    assert len(points) % 2 == 0
    assert points[0][0] == source.x + source.width
    assert points[-1][0] == target.x
    assert abs(points[0][1] - source.middle) < source.height / 2
    assert abs(points[-1][1] - target.middle) < target.height / 2
    for index, ((x1, y1), (x2, y2)) in enumerate(pairwise(points)):
        assert x1 < x2
        for box in places.boxes:
            if box.x < x2 and x1 < box.x + box.width:
                # Curves only run where no column is; level lines run between the boxes of a column.
                assert index % 2 == 1
                assert y1 == y2
                assert not box.y - STACK <= y1 <= box.y + box.height


@given(pictures())
@settings(max_examples=150, deadline=None)
def test_arrows_lead_to_the_right_and_nothing_overlaps(picture):
    check(picture)


@given(pictures())
@settings(max_examples=60, deadline=None)
def test_labels_stand_on_their_line_close_behind_its_source(picture):
    places = layout(picture)
    boxes = {box.name: box for box in places.boxes}
    starts = sorted({box.x for box in places.boxes})
    for line in places.lines:
        if line.label:
            source = boxes[line.arrow.source]
            next_column = min(x for x in starts if x > source.x)
            if line.label[0] > next_column:
                assert line.label[1] == line.points[1][1] == line.points[2][1]
            assert source.x + source.width < line.label[0] < next_column + 60
            assert places.height >= line.label[1] >= 0
        else:
            others = [other for other in places.lines if other.label and other.arrow.label == line.arrow.label]
            assert not line.arrow.label or others


@given(pictures())
@settings(max_examples=40, deadline=None)
def test_the_state_of_a_run_moves_nothing(picture):
    idle = replace(
        picture,
        shapes=tuple(replace(shape, status="idle", badge="") for shape in picture.shapes),
        arrows=tuple(replace(arrow, live=True) for arrow in picture.arrows),
    )
    then, now = layout(idle), layout(picture)
    assert then.boxes == now.boxes
    assert [(line.points, line.label) for line in then.lines] == [(line.points, line.label) for line in now.lines]


class Salted(str):
    """A name that hashes differently for each salt: what PYTHONHASHSEED does, within one process."""

    salt = 0

    def __hash__(self):
        return hash((Salted.salt, str(self)))


def test_the_hash_of_a_name_decides_nothing():
    seen = []
    for salt in range(8):
        Salted.salt = salt
        picture = large(60, reach=20)
        shapes = tuple(replace(shape, name=Salted(shape.name)) for shape in picture.shapes)
        arrows = tuple(
            replace(arrow, source=Salted(arrow.source), target=Salted(arrow.target)) for arrow in picture.arrows
        )
        seen.append(layout(Picture("salted", shapes, arrows)))
    assert all(places == seen[0] for places in seen)


def test_one_node_and_none():
    (box,) = check(Picture("one", (Shape("only"),), ())).boxes
    assert (box.x, box.y, box.layer) == (0, 0, 0)
    empty = layout(Picture("none", (), ()))
    assert (empty.width, empty.height, empty.boxes, empty.lines) == (0, 0, (), ())


def test_an_isolated_node_keeps_out_of_the_way():
    places = check(Picture("p", (Shape("alone"), Shape("a"), Shape("b")), (Arrow("a", "b"),)))
    assert [box.layer for box in places.boxes] == [0, 0, 1]


def test_the_main_path_is_one_straight_line():
    places = check(TRIAGE)
    middle = {box.name: box.middle for box in places.boxes}
    spine = ("input", "plan", "lookup", "draft", "risk", "review", "verdict")
    assert {middle[name] for name in spine} == {middle["input"]}


def test_a_long_arrow_is_level_where_it_passes_boxes():
    places = layout(TRIAGE)
    (line,) = [line for line in places.lines if (line.arrow.source, line.arrow.target) == ("input", "apologise")]
    assert len(line.points) == 2 + 2 * 6
    assert len({y for _, y in line.points[1:-1]}) == 1


def test_arrows_of_one_kind_share_a_trunk_and_others_do_not():
    shapes = tuple(map(Shape, "abcd"))
    chain = (Arrow("a", "b"), Arrow("b", "c"), Arrow("c", "d"))
    shared = layout(Picture("p", shapes, (*chain, Arrow("a", "c"), Arrow("a", "d")))).lines
    assert shared[3].points[:3] == shared[4].points[:3]
    apart = check(Picture("p", shapes, (*chain, Arrow("a", "c"), Arrow("a", "d", "after")))).lines
    assert apart[3].points[1] != apart[4].points[1]


def test_two_arrows_between_neighbours_run_side_by_side():
    arrows = (Arrow("a", "b"), Arrow("a", "b", "after"), Arrow("a", "b"))
    one, two, again = check(Picture("p", (Shape("a"), Shape("b")), arrows)).lines
    assert abs(one.points[0][1] - two.points[0][1]) == 10
    assert one.points == again.points


def test_crossings_that_can_be_avoided_are():
    shapes = tuple(map(Shape, "abcdef"))
    picture = Picture("p", shapes, (Arrow("a", "f"), Arrow("b", "e"), Arrow("c", "d")))
    middle = {box.name: box.middle for box in check(picture).boxes}
    assert (middle["a"], middle["b"], middle["c"]) == (middle["f"], middle["e"], middle["d"])


def test_a_swap_that_means_do_not_show_is_found():
    arrows = tuple(Arrow(*pair) for pair in ["ad", "be", "cd", "cf", "ef"])
    places = check(Picture("p", tuple(map(Shape, "dcbaef")), arrows))
    for one, two in combinations([pair for line in places.lines for pair in pairwise(line.points)], 2):
        if one[0][0] == two[0][0]:  # in the same gap
            left, right = one[0][1] - two[0][1], one[1][1] - two[1][1]
            assert left * right >= 0


def test_branches_stand_evenly_about_their_stem():
    workers = [f"worker {index}" for index in range(4)]
    arrows = [Arrow("in", name) for name in workers] + [Arrow(name, "out") for name in workers]
    shapes = (Shape("in"), *map(Shape, workers), Shape("out"))
    middle = {box.name: box.middle for box in check(Picture("fan", shapes, (*arrows, Arrow("in", "out")))).boxes}
    assert middle["in"] == middle["out"] == (middle["worker 0"] + middle["worker 3"]) // 2


def test_a_late_source_stands_next_to_its_reader_but_an_input_stays_left():
    shapes = (Shape("input", "input"), Shape("late"), *map(Shape, "abc"))
    arrows = (Arrow("a", "b"), Arrow("b", "c"), Arrow("late", "c"), Arrow("input", "c"))
    layer = {box.name: box.layer for box in check(Picture("p", shapes, arrows)).boxes}
    assert layer == {"input": 0, "late": 1, "a": 0, "b": 1, "c": 2}


def test_labels_of_one_route_keep_apart():
    names = [f"t{index}" for index in range(6)]
    arrows = [Arrow("r", name, "route", f"case {name}") for name in names]
    # All targets but one stand far off, so the arrows leave close together.
    arrows += [Arrow("t0", "u"), *(Arrow("u", name) for name in names[1:])]
    places = check(Picture("p", (Shape("r", "route"), *map(Shape, names), Shape("u")), tuple(arrows)))
    spots = [line.label for line in places.lines if line.label]
    assert len(spots) == 6
    wide = width("case t0", 11)
    for (x1, y1), (x2, y2) in combinations(spots, 2):
        assert abs(y1 - y2) >= 15 or abs(x1 - x2) >= wide


def test_a_shared_trunk_has_one_label():
    arrows = [Arrow(*pair) for pair in ("ab", "bc", "cd")]
    arrows += [Arrow("a", "c", "route", "other"), Arrow("a", "d", "route", "other")]
    one, two = check(Picture("p", tuple(map(Shape, "abcd")), tuple(arrows))).lines[3:]
    assert one.label is not None
    assert two.label is None


@pytest.mark.parametrize(
    ("arrows", "path"),
    [
        ("aa", "a -> a"),
        ("ab ba", "a -> b -> a"),
        ("ab bc cd db", "b -> c -> d -> b"),
        ("ca ab bd dc xa dz", "a -> b -> d -> c -> a"),
    ],
)
def test_a_cycle_is_named(arrows, path):
    names = dict.fromkeys("abcdxz")
    picture = Picture("loopy", tuple(map(Shape, names)), tuple(Arrow(*pair) for pair in arrows.split()))
    with pytest.raises(ValueError, match=f"picture 'loopy': .* cycle: {path}; remove one"):
        layout(picture)


def test_a_long_cycle_is_named_in_short():
    names = [f"n{index}" for index in range(500)]
    arrows = tuple(Arrow(a, b) for a, b in zip(names, names[1:] + names[:1], strict=True))
    with pytest.raises(ValueError, match=r"n0 -> n1 .* \(\d+ more\) -> n499 -> n0") as caught:
        layout(Picture("ring", tuple(map(Shape, names)), arrows))
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("reach", [30, 1000])
def test_a_thousand_nodes(reach):
    picture = large(1000, reach=reach)
    places = layout(picture)
    boxes = {box.name: box for box in places.boxes}
    assert len(boxes) == 1000
    check_boxes(places)
    for line in places.lines:
        assert boxes[line.arrow.source].layer < boxes[line.arrow.target].layer
        assert all(a[0] < b[0] for a, b in pairwise(line.points))
    assert layout(picture) == places


def test_arrows_over_very_many_layers_pass_below_everything():
    names = [f"n{index}" for index in range(130)]
    arrows = [Arrow(a, b) for a, b in pairwise(names)]
    arrows += [Arrow(a, b) for a, b in zip(names, names[65:], strict=False)]
    places = check(Picture("ladder", tuple(map(Shape, names)), tuple(arrows)))
    lowest = max(box.y + box.height for box in places.boxes)
    short = [line for line in places.lines[129:] if len(line.points) == 4]
    assert short
    assert all(line.points[1][1] == line.points[2][1] > lowest for line in short)
    for one, two in combinations(short, 2):
        if one.points[1][1] == two.points[1][1]:  # one lane: the later one starts where the first has ended
            assert one.points[2][0] < two.points[1][0] or two.points[2][0] < one.points[1][0]


def test_a_crowded_column_is_set_closer():
    def pitch(count):
        shapes = tuple(Shape(f"w{index}") for index in range(count))
        first, second, *_ = sorted(box.y for box in layout(Picture("p", shapes, ())).boxes)
        return second - first

    assert pitch(40) < pitch(4)


@pytest.mark.parametrize("status", STATUSES)
def test_a_state_has_the_size_of_every_other(status):
    assert layout(in_states(TRIAGE, draft=(status, "12/40"))).boxes == layout(TRIAGE).boxes

import pytest

from orchkit.draw import Arrow, Picture, Shape


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Shape(""), "no visible character"),
        (lambda: Shape(" \x00\u202e\u200b"), "no visible character"),
        (lambda: Shape(7), "name is int"),
        (lambda: Shape("plan", note=None), "shape 'plan': note is NoneType"),
        (lambda: Shape("plan", kind="rout"), "did you mean 'route'"),
        (lambda: Shape("plan", kind="zzz"), "choose one of input, step, map"),
        (lambda: Shape("plan", status="complete"), "did you mean 'completed'"),
        (lambda: Arrow("a", "b", kind="dta"), "arrow 'a' -> 'b': kind is 'dta'.*did you mean 'data'"),
        (lambda: Arrow("a", "b", label=1), "label is int"),
        (lambda: Picture(None, (), ()), "title is NoneType"),
        (lambda: Picture("p", (Shape("a"), Shape("a")), ()), "picture 'p': two shapes are named 'a'.*rename"),
        (lambda: Picture("p", (Shape("draft"),), (Arrow("daft", "draft"),)), "did you mean 'draft'"),
        (lambda: Picture("p", (Shape("a"),), (Arrow("a", "zzz"),)), "add the shape or leave out the arrow"),
    ],
)
def test_wrong_values_say_what_where_and_how_to_mend(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_message_stays_short_and_on_one_line_whatever_the_name():
    with pytest.raises(ValueError, match="cannot be drawn") as caught:
        Shape("x\n" * 10_000, kind="y" * 10_000)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_a_picture_of_lists_is_still_a_value():
    listed = Picture("p", [Shape("a"), Shape("b")], [Arrow("a", "b")])
    assert listed == Picture("p", (Shape("a"), Shape("b")), (Arrow("a", "b"),))
    assert hash(listed) == hash(Picture("p", (Shape("a"), Shape("b")), (Arrow("a", "b"),)))

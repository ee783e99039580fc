import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchkit.draw._measure import ELLIPSIS, clean, columns, fit, fit_columns, width, wrap


@given(st.text(max_size=60), st.integers(20, 300))
def test_what_is_cut_fits_and_begins_alike(text, room):
    drawn = fit(text, room, 11)
    assert width(drawn, 11) <= room + 1e-9
    assert drawn == text or (drawn.endswith(ELLIPSIS) and text.startswith(drawn[:-1]))


@given(st.text(max_size=60), st.integers(1, 40))
def test_columns_are_kept(text, room):
    assert columns(fit_columns(text, room)) <= room


def test_what_fits_is_left_alone():
    assert fit("plan", width("plan", 11), 11) == "plan"
    assert fit_columns("plan", 4) == "plan"
    assert fit_columns("plans", 4) == "pla…"
    assert fit_columns("検索する", 5) == "検索…"


@given(st.text(alphabet="ab ·", max_size=120), st.integers(40, 200), st.integers(1, 5))
def test_wrapped_lines_fit_and_keep_the_words(text, room, most):
    text = clean(text)
    lines = wrap(text, room, 11, lines=most)
    assert len(lines) <= most
    assert all(width(line, 11) <= room + 12 for line in lines)  # a space or dot may hang over before it is cut
    if not any(line.endswith(ELLIPSIS) for line in lines):
        letters = "".join(lines).replace(" ", "").replace("·", "")
        assert letters == text.replace(" ", "").replace("·", "")


def test_a_line_breaks_at_a_dot_rather_than_at_a_space():
    assert wrap("retry 3 · timeout 20 s · x", 125, 11, lines=4) == ("retry 3", "timeout 20 s · x")
    assert wrap("one two three four", 50, 11, lines=4) == ("one two", "three", "four")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x00b\x1b[0m", "ab[0m"),
        ("  two\r\nlines\u2028here ", "two lines here"),
        ("\u202eabc\u2066", "abc"),
        ("\ud800x\uffff", "x"),
        ("naïve 検索 👩‍👧", "naïve 検索 👩‍👧"),
    ],
)
def test_clean_removes_what_is_unsafe_and_only_that(raw, shown):
    assert clean(raw) == shown

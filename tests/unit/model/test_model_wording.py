"""Wording: errors of any library on one line, and names that may have been meant."""

import pytest
from pydantic import TypeAdapter

from orchkit.model.wording import first_line, nearest, one_line


@pytest.mark.parametrize(
    ("error", "first", "all_of_it"),
    [
        (ValueError("no"), "no", "no"),
        (ValueError(), "ValueError", ""),
        (ValueError("\nsecond"), "ValueError", "second"),
        (ValueError("IO Error: full\n\n   in  row 3\r\n"), "IO Error: full", "IO Error: full, in row 3"),
        (TypeError("not x", "column a"), "('not x', 'column a')", "not x, column a"),
        (OSError(28, "No space"), "[Errno 28] No space", "[Errno 28] No space"),
    ],
)  # fmt: skip
def test_what_an_error_says(error, first, all_of_it):
    assert first_line(error) == first
    assert one_line(error) == all_of_it


def test_what_pydantic_says_is_one_line_without_its_links():
    with pytest.raises(ValueError, match="https://") as caught:
        TypeAdapter(list[int]).validate_python(["a", "b"])
    said = one_line(caught.value)
    assert "\n" not in said
    assert "https://" not in said
    assert said.startswith("2 validation errors for list[int], 0, Input should be a valid integer")
    assert len(one_line(ValueError("x" * 1000))) == 300


def test_which_name_was_meant():
    assert nearest("drft", ["draft", "send", "craft"]) == "did you mean 'draft'?"
    assert nearest("drft", ["draft", "send", "craft"], most=3) == "did you mean 'draft' or 'craft'?"
    assert nearest("inptu", ["draft"], also=["input"]) == "did you mean 'input'?"
    assert nearest("q", ["draft", "send"], also=["input"]) == "there are: draft, send"
    assert nearest(3, iter(["draft"])) == "there are: draft"

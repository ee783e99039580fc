"""Text of numbers and reprs: exact, short, and the same in every process."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchkit as ok
from orchkit.model.text import is_number, shown, without_addresses


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_a_number_is_written_exactly(value: float) -> None:
    assert float(shown(value)) == value if isinstance(value, float) else int(shown(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.0, "2"), (0.1, "0.1"), (1e15, "1000000000000000.0"), (7, "7"), (True, "True"), (None, "None")],
)
def test_a_number_is_written_shortly(value: Any, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize("value", [True, None, "1", float("nan"), float("inf"), -float("inf"), 10**400, 1j, [1]])
def test_what_is_no_number(value: Any) -> None:
    assert not is_number(value)


def test_no_number_that_is_too_large_for_a_float_gets_anywhere() -> None:
    for make in (
        ok.Timeout,
        ok.dist.constant,
        lambda huge: ok.faults.slow("a", add=huge),
        ok.backoff,
    ):
        with pytest.raises(ok.DefinitionError):
            make(10**400)


@pytest.mark.parametrize("address", ["0x7f52a0", "0x000001F3A0"])
def test_addresses_are_dropped_however_a_system_writes_them(address: str) -> None:
    assert without_addresses(f"<a.B object at {address}> at 0") == "<a.B object> at 0"

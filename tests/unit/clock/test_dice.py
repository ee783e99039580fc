"""Dice: never 0 or 1, the same for the same key, and another for every part of a key."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchkit.clock.dice import Stream, base_of, path_of, unit

words = st.integers(0, 2**64 - 1)


@given(words)
def test_a_draw_is_never_0_or_1(word: int) -> None:
    assert 0 < unit(word) < 1


@pytest.mark.parametrize("word", [0, 1, 2**11, 2**63, 2**64 - 2**12, 2**64 - 2**11, 2**64 - 1])
def test_a_draw_is_never_0_or_1_at_the_ends(word: int) -> None:
    assert 0 < unit(word) < 1


@given(words)
def test_draws_lie_evenly_and_exactly(word: int) -> None:
    cell = unit(word) * 2**52
    assert cell == (word >> 12) + 0.5  # no rounding: each cell has one draw, in its middle


@given(words, words)
def test_a_larger_word_is_no_smaller_draw(one: int, other: int) -> None:
    assert unit(min(one, other)) <= unit(max(one, other))


KEY: dict[str, Any] = {"base": base_of(1), "path": path_of("draft"), "item": -1, "leg": 0, "attempt": 1}
CHANGES = [{}, {"base": base_of(2)}, {"path": path_of("drafts")}, {"item": 0}, {"leg": 1}, {"attempt": 2}]


def test_each_part_of_the_key_counts() -> None:
    streams = [Stream(**{**KEY, **change}) for change in CHANGES]
    seen = {stream.uniform(purpose, block) for stream in streams for purpose in range(8) for block in (0, 1, 2, 3)}
    assert len(seen) == len(CHANGES) * 8 * 4
    assert len({stream.generator().random() for stream in streams}) == len(CHANGES)


def test_asking_draws_nothing() -> None:
    """A draw is looked up, not taken: order and number of questions do not matter."""
    one, other = Stream(**KEY), Stream(**KEY)
    backwards = [one.uniform(purpose, block) for block in (3, 0, 2) for purpose in range(7, -1, -1)]
    assert backwards == [other.uniform(purpose, block) for block in (3, 0, 2) for purpose in range(7, -1, -1)]
    assert one.uniform(0) == Stream(**KEY).uniform(0)
    first, second = one.generator(), one.generator()
    assert [first.random() for _ in range(5)] == [second.random() for _ in range(5)]


def test_the_base_is_of_seed_case_and_world() -> None:
    bases = {base_of(*key) for key in ((0,), (1,), (0, 1), (1, 1), (0, 0, "a"), (0, "a"), (-1,), (10, 0), (1, "00"))}
    assert len(bases) == 9
    assert base_of(0) == base_of(0, 0) == base_of(0, "0", "")


@given(st.integers(), st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_bases_and_paths_are_64_bits_of_anything(seed: int, case: str, name: str) -> None:
    assert 0 <= base_of(seed, case, name) < 2**64
    assert 0 <= path_of(name) < 2**64


def test_an_item_may_be_none_and_large() -> None:
    for item in (-1, 0, 2**62):
        Stream(base_of(0), path_of("x"), item, 0, 1).uniform(0)
    assert Stream(base_of(0), path_of("x"), 0, 65_535, 1).uniform(0, 65_535) > 0

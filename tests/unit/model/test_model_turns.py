"""Turns: the smallest of what waits is at hand, whatever was put and dropped before."""

from __future__ import annotations

import random

from orchkit.model.turns import Turns


def test_the_first_is_the_smallest_of_what_is_there() -> None:
    rng = random.Random(5)
    turns: Turns[int] = Turns()
    wanted: dict[int, str] = {}
    for step in range(5_000):
        key = rng.randrange(60)
        if rng.random() < 0.5:
            turns.put(key, str(step))
            wanted[key] = str(step)
        else:
            turns.drop(key)
            wanted.pop(key, None)
        assert turns == wanted
        assert bool(turns) == bool(wanted)
        if wanted:
            assert turns.first == min(wanted)


def test_what_is_empty_again_keeps_nothing() -> None:
    turns: Turns[tuple[int, int]] = Turns()
    for _ in range(3):
        for item in (2, 1, 3):
            turns.put((0, item), "retry")
        for item in (2, 3, 1):
            turns.drop((0, item))
    assert not turns
    assert not turns._order

"""SmallestFirst: the smallest of what waits is at hand, whatever was put and dropped before."""

from __future__ import annotations

import random

from orchkit.model.smallest import SmallestFirst


def test_the_first_is_the_smallest_of_what_is_there() -> None:
    rng = random.Random(5)
    waiting: SmallestFirst[int] = SmallestFirst()
    wanted: dict[int, str] = {}
    for step in range(5_000):
        key = rng.randrange(60)
        if rng.random() < 0.5:
            waiting.put(key, str(step))
            wanted[key] = str(step)
        else:
            waiting.drop(key)
            wanted.pop(key, None)
        assert waiting == wanted
        assert bool(waiting) == bool(wanted)
        if wanted:
            assert waiting.first == min(wanted)


def test_what_is_empty_again_keeps_nothing() -> None:
    waiting: SmallestFirst[tuple[int, int]] = SmallestFirst()
    for _ in range(3):
        for item in (2, 1, 3):
            waiting.put((0, item), "retry")
        for item in (2, 3, 1):
            waiting.drop((0, item))
    assert not waiting
    assert not waiting._order

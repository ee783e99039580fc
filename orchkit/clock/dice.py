"""Dice: every draw is a hash of who draws and for what, so that luck does not depend on order.

One blake2b digest per attempt gives eight 64-bit words, one a purpose. Adding a retry, a node or an item, defining
nodes in another order, or switching a fault off shifts nobody else's luck, so arms of an experiment stay paired
(common random numbers). Block 0 belongs to the attempt's model and its waits, block 1 to the step's own generator,
and from block 2 on each fault of a plan has its word, by its place in the plan.

The literal numbers that some keys give are held by ``tests/truth/test_dice.py``: to change one is to change every
receipt.
"""

from __future__ import annotations

import random
from hashlib import blake2b
from struct import Struct
from typing import Final

__all__ = ["CHOICE", "ERROR", "JITTER", "LATENCY", "VALUE", "Stream", "base_of", "item_of", "path_of", "unit"]

LATENCY: Final = 0
ERROR: Final = 1
JITTER: Final = 2
VALUE: Final = 3
CHOICE: Final = 4
"""Purposes: the index of the word that decides it. Five to seven are free; block 1 and above hold more."""

_KEY = Struct("<QQqQ")
_WORDS = Struct("<8Q")


def _digest64(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def base_of(seed: int, case: int | str = 0, world: str = "") -> int:
    """Give the part of every key that one trial shares.

    Parameters
    ----------
    seed : int
    case : int or str
        Which input; 1 and ``"1"`` are the same case.
    world : str
        Name of the world.

    Returns
    -------
    int
        64 bits.

    Examples
    --------
    >>> base_of(7) == base_of(7, case=0), base_of(7) == base_of(7, case=1)
    (True, False)
    """
    return _digest64(f"{seed}\x1f{case}\x1f{world}")


def path_of(path: str) -> int:
    """Give the part of every key that belongs to one node path: 64 bits.

    Examples
    --------
    >>> path_of("draft") == path_of("draft/fallback:canned")
    False
    """
    return _digest64(path)


def item_of(key: str) -> int:
    """Turn the key of a map's item into what stands for its index: 64 bits, signed.

    Examples
    --------
    >>> item_of("order-17") == item_of("order-17"), item_of("1") == 1
    (True, False)
    """
    digest = _digest64(key)
    return digest - (1 << 64) if digest >> 63 else digest


def unit(word: int) -> float:
    """Turn a 64-bit word into a float in (0, 1), never 0 or 1, so that every quantile is finite.

    Notes
    -----
    ``(k + 1/2) / 2**52`` for the word's upper 52 bits k. With 53 bits the sum would need 54: it would be rounded,
    and the last one to 1.

    Examples
    --------
    >>> unit(0) == 2**-53, unit(2**64 - 1) == 1 - 2**-53
    (True, True)
    """
    return ((word >> 12) + 0.5) * 2.0**-52


class Stream:
    """The luck of one attempt.

    Parameters
    ----------
    base, path : int, 64 bits
        From `base_of` and `path_of`.
    item : int, signed 64 bits
        Index in the map's list, or `item_of` its key; -1 outside a map.
    leg : int, 0..65,535
        Of a hedge.
    attempt : int, from 1
        Below 2**32.

    Examples
    --------
    >>> stream = Stream(base_of(7), path_of("draft"), -1, 0, 1)
    >>> stream.uniform(LATENCY) == Stream(base_of(7), path_of("draft"), -1, 0, 1).uniform(LATENCY)
    True
    """

    __slots__ = ("_key", "_words")

    def __init__(self, base: int, path: int, item: int, leg: int, attempt: int) -> None:
        self._key = (base, path, item, leg, attempt)
        self._words = _words(base, path, item, leg, attempt, 0)

    def uniform(self, purpose: int, block: int = 0) -> float:
        """Give the number in (0, 1) for one purpose; a block above 0 is a digest of its own.

        Parameters
        ----------
        purpose : int, 0..7
        block : int, 0..65,535

        Returns
        -------
        float
            The same each time it is asked for.
        """
        words = self._words if block == 0 else _words(*self._key, block)
        return unit(words[purpose])

    def generator(self) -> random.Random:
        """Give a full generator for user code, seeded by this attempt alone."""
        return random.Random(_words(*self._key, 1)[0])


def _words(base: int, path: int, item: int, leg: int, attempt: int, block: int) -> tuple[int, ...]:
    packed = _KEY.pack(base, path, item, block << 48 | leg << 32 | attempt)
    return _WORDS.unpack(blake2b(packed, digest_size=64).digest())

"""Keys of a map's items: what their luck and their effects are known by, in place of their index."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from reprlib import repr as brief
from typing import TYPE_CHECKING, Any

from orchkit.model.paths import owner_of

if TYPE_CHECKING:
    from orchkit.engine.execution import Execution
    from orchkit.engine.program import Program, Site
    from orchkit.model.state import ScopeState

__all__ = ["ItemKeys", "KeyTrouble", "keys_of", "known_as", "next_key"]


class KeyTrouble(Exception):
    """Says what is wrong with a key; it fails the map."""


class ItemKeys:
    """The keys of one map, each worked out once; the key function is pure, so a resume comes to the same.

    Parameters
    ----------
    key : callable
        Of an item, as the map's function gets it.
    value : callable
        Gives an item by its index.
    """

    __slots__ = ("_key", "_owners", "_texts", "_value")

    def __init__(self, key: Callable[[Any], Any], value: Callable[[int], Any]) -> None:
        self._key = key
        self._value = value
        self._texts: dict[int, str] = {}
        self._owners: dict[str, int] = {}

    def text(self, item: int) -> str:
        """Give an item's key.

        Raises
        ------
        KeyTrouble
            If there is none.
        """
        known = self._texts.get(item)
        if known is None:
            known = self._texts[item] = self._made(item)
        return known

    @property
    def claimed(self) -> bool:
        """Whether any were claimed: in a process that goes on with a run none are at first."""
        return bool(self._owners)

    def claim(self, items: Iterable[int]) -> None:
        """See that no two items have one key, these and those that were claimed before.

        Raises
        ------
        KeyTrouble
            Naming both.
        """
        for item in items:
            text = self.text(item)
            owner = self._owners.setdefault(text, item)
            if owner != item:
                raise KeyTrouble(
                    f"key= gives {text!r} to item {owner} ({self._told(owner)}) and to item {item} "
                    f"({self._told(item)}); each needs a key of its own"
                )

    def _made(self, item: int) -> str:
        try:
            key = self._key(self._value(item))
            text = str(key)
            fits = isinstance(key, (str, int)) and not isinstance(key, bool) and bool(text.encode())
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise KeyTrouble(f"key= of item {item} ({self._told(item)}) raises {said}") from error
        if not fits:
            raise KeyTrouble(
                f"key= of item {item} ({self._told(item)}) gives {brief(key)}; give a text or a whole number"
            )
        return text

    def _told(self, item: int) -> str:
        try:
            return brief(self._value(item))
        except Exception:
            return "which does not fit its annotation"


def keys_of(state: ScopeState, site: Site, node: int) -> ItemKeys:
    """Give the keys of a map's items by the list that it goes over now."""
    assert site.node.key is not None
    return ItemKeys(site.node.key, partial(_typed_item, state, site, node))


def _typed_item(state: ScopeState, site: Site, node: int, item: int) -> Any:
    value = state.item_value(node, item)
    if site.inside is not None:
        return site.inside.program.input_codec.load(value)
    return value if site.item is None else site.item.load(value)


def known_as(execution: Execution, state: ScopeState) -> tuple[Program, str, str]:
    """Give the program of a scope, and what its luck and its effects are known by, also of one that is over."""
    if state is execution.state:
        return execution.program, "", ""
    outer, (node, item) = execution.state.outer_of(state), state.owner
    program, luck, effects = known_as(execution, outer)
    site = program.seats[node].site
    assert site.inside is not None
    own = state.prefix[len(outer.prefix) :]
    again = owner_of(own)
    if site.node.key is not None:
        key = keys_of(outer, site, node).text(item)
        own, again = (one.replace(f"[{item}]", f"[{key}]", 1) for one in (own, again))
    return site.inside.program, luck + own, effects + again


def next_key(execution: Execution, state: ScopeState, node: int, item: int) -> str:
    """Give what an effect is known by when it is to be another one to its receiver."""
    program, _, effects = known_as(execution, state)
    site = program.seats[node].site
    path = effects + site.name
    key = path if item < 0 else f"{path}[{item if site.node.key is None else keys_of(state, site, node).text(item)}]"
    rekeyed = execution.state.rekeyed.items()
    known = [time for name, time in rekeyed if name in (key, path) or (item < 0 and name.startswith(f"{path}["))]
    return f"{key}#{max(known, default=1) + 1}"

"""What a map has of its own, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchkit.errors import DefinitionError
from orchkit.hall import arguments

__all__ = ["own_of_map"]


def own_of_map(where: str, options: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check what a map has and other nodes have not; takes ``on_error="collect"`` out of the options.

    Raises
    ------
    DefinitionError
        For what makes no sense, by itself or together.
    """
    key = given["key"]
    own = {
        "over": arguments.name_of(where, "over", given["over"]),
        "limit": arguments.count(where, "limit", given["limit"]),
        "key": None if key is None else arguments.function_of(where, "key", key, ("item",)),
        "quorum": arguments.quorum(where, "quorum", given["quorum"]),
        "stream": arguments.flag(where, "stream", given["stream"]),
    }
    if options.get("on_error") == "collect":
        own["on_error"] = options.pop("on_error")
    if own["quorum"] is not None and "on_error" in own:
        raise DefinitionError(
            f"{where}: on_error='collect' keeps a place for each item, and quorum={own['quorum']} gives the delivered "
            "ones only: leave one of them out"
        )
    if own["stream"] and isinstance(own["quorum"], float):
        raise DefinitionError(
            f"{where}: quorum={own['quorum']} is a share of a list whose length is not known while it streams: give a "
            "whole number, or leave stream=True out"
        )
    return own

"""Values that somebody gives in the place of what a node delivers."""

from __future__ import annotations

from typing import Any

from orchkit.engine.program import Seat
from orchkit.model.items import ItemFailed

__all__ = ["dump_given"]


def dump_given(seat: Seat, value: Any, where: str, item: int = -1) -> Any:
    """Give it as JSON: what a node delivers, or one item of it.

    Raises
    ------
    TypeError
        If it is no list, and the node delivers one.
    CodecError, ValueError
        If it is not what the node delivers.
    """
    if seat.node.over is None or item >= 0:
        return _dump_one(seat, value, where)
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"it delivers a list, and this is a {type(value).__name__}; for one item say which by item=")
    return [_dump_one(seat, one, f"{where}[{i}]") for i, one in enumerate(value)]


def _dump_one(seat: Seat, value: Any, where: str) -> Any:
    spec = seat.node
    if spec.on_error == "collect" and isinstance(value, ItemFailed):
        return {"item": value.item, "error": value.error}
    if value is None and spec.kind == "approval" and spec.timeout is not None:
        return None  # as if nobody had answered in time
    return seat.site.dump(value, where)

"""Signs and outlines as SVG paths: drawn, so that no font and no emoji set decides how they look.

All signs live in a square of 12 by 12.  Each is a row of (class, path), where the class says how to paint it:
``okd-pen`` strokes it, ``okd-fill`` fills it.
"""

from orchkit.draw._face import STACK

Strokes = tuple[tuple[str, str], ...]

_RING = "M1.2 6a4.8 4.8 0 1 0 9.6 0a4.8 4.8 0 1 0-9.6 0"

STATUS_SIGNS: dict[str, Strokes] = {
    "idle": (("okd-pen okd-dots", _RING),),
    "running": (("okd-fill", "M3 1.6v8.8L10.6 6z"),),
    "waiting": (
        ("okd-pen", "M2.4 1.2h7.2M2.4 10.8h7.2M3.4 1.2v1.6L6 6l2.6-3.2V1.2M3.4 10.8V9.2L6 6l2.6 3.2v1.6"),
        ("okd-fill", "M4 10.6L6 8.4l2 2.2z"),
    ),
    "completed": (("okd-pen", "M1.6 6.6L4.8 9.8L10.6 2.6"),),
    "degraded": (("okd-pen", "M1 7.4C2.6 3.4 4.6 3.4 6 6S9.4 8.6 11 4.6"),),
    "failed": (("okd-pen", "M2.2 2.2l7.6 7.6M9.8 2.2L2.2 9.8"),),
    "skipped": (("okd-pen", "M1.6 6h8.8"),),
    "cancelled": (("okd-pen", _RING + "M2.7 9.3L9.3 2.7"),),
}

BOLT: Strokes = (("okd-fill", "M7.2 .6L2 7h3.4L4.6 11.4L10 4.8H6.6z"),)
PERSON: Strokes = (
    ("okd-fill", "M3.6 3.3a2.4 2.4 0 1 0 4.8 0a2.4 2.4 0 1 0-4.8 0"),
    ("okd-fill", "M1.2 11.2c0-3 2-4.5 4.8-4.5s4.8 1.5 4.8 4.5z"),
)
ROUND: Strokes = (("okd-pen", "M10.4 4.2A4.7 4.7 0 1 0 10.7 6.8M10.8 1.2v3.2H7.6"),)

ARROW_HEAD = "l-7-3.6v7.2z"
_SLANT = 14


def outlines(kind: str, width: int, height: int) -> list[str]:
    """Return the elements (name and geometry) that outline a shape, back to front; the last is its face."""
    if kind == "input":
        return [_rect(0, 0, width, height, height // 2)]
    if kind == "route":
        left, right, half = _SLANT, width - _SLANT, height // 2
        return [f'path d="M0 {half}L{left} 0H{right}L{width} {half}L{right} {height}H{left}z"']
    if kind == "map":
        front = width - STACK
        return [_rect(offset, -offset, front, height, 8) for offset in (STACK, STACK // 2, 0)]
    return [_rect(0, 0, width, height, 8)]


def inner_lines(kind: str, width: int, height: int) -> str:
    """Return lines within an outline: the double sides of a called workflow."""
    return f"M5.5 0V{height}M{width - 5.5} 0V{height}" if kind == "call" else ""


def _rect(x: int, y: int, width: int, height: int, radius: int) -> str:
    place = f'x="{x}" y="{y}" ' if x or y else ""
    return f'rect {place}width="{width}" height="{height}" rx="{radius}"'

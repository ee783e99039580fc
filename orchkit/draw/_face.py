"""What is written on a shape, and how large that makes it.

Sizes depend on what the definition says (name, kind, note), never on the state of a run: a run that goes on
keeps its places.
"""

from orchkit.draw._measure import clean, fit, width, wrap
from orchkit.draw._picture import Picture, Shape

BIG, SMALL = 13, 11
LINE = 15
# Height without notes: 21 to the baseline of the name, 16 on to the fact, 11 below.
HEIGHT = 48
NAME_Y, FACT_Y = 21, 37
SIGN = 12
STACK = 6  # by how much the cards of a map peek out, to the right and above
NOTE_LINES = 4
_ROOM_LEAST, _ROOM_NOTE, _ROOM_MOST = 96, 120, 180


def inset(kind: str) -> tuple[int, int]:
    """Return the room between the outline and the text, left and right."""
    if kind == "route":
        return 22, 22
    if kind == "input":
        return 18, 16
    if kind == "call":
        return 16, 16
    return (12, 12 + STACK) if kind == "map" else (12, 12)


def marks_width(shape: Shape) -> int:
    """Return the room that the signs before the name take."""
    return (SIGN + 4) * (shape.effect + (shape.kind in ("approval", "loop")))


def note_lines(shape: Shape) -> tuple[str, ...]:
    """Return the note, broken into the lines that are drawn."""
    note = clean(shape.note)
    room = min(max(width(note, SMALL), _ROOM_LEAST), _ROOM_NOTE)
    return wrap(note, room, SMALL, lines=NOTE_LINES)


def size(shape: Shape) -> tuple[int, int]:
    """Return width and height that a shape needs, in pixels."""
    name = width(clean(shape.name), BIG, bold=True) + marks_width(shape) + SIGN + 6
    lines = note_lines(shape)
    room = max([_ROOM_LEAST, min(name, _ROOM_MOST), *(width(line, SMALL) for line in lines)])
    # Even numbers put the middle, where lines end, on a whole pixel.
    return 2 * round((room + sum(inset(shape.kind))) / 2 + 0.5), HEIGHT + 2 * round(len(lines) * LINE / 2)


def is_plan(picture: Picture) -> bool:
    """Return whether nothing has happened yet: then the picture shows a definition, without states."""
    return all(shape.status == "idle" and not shape.badge for shape in picture.shapes)


def fact(shape: Shape, *, plan: bool, room: float) -> str:
    """Return the line under the name: the kind in a definition, else state and badge as far as they fit.

    The sign says the state as well, so a badge may push out the word; a completed node with a badge needs
    none.  Of a badge with several facts, whole facts are left out, the last first.
    """
    if plan:
        kind = "" if shape.kind == clean(shape.name) else shape.kind
        return " · ".join([*([kind] if kind else []), *(["effect"] if shape.effect else [])])
    badge = clean(shape.badge)
    if not badge:
        return shape.status
    both = f"{shape.status} · {badge}"
    if shape.status != "completed" and width(both, SMALL) <= room:
        return both
    facts = badge.split(" · ")
    while len(facts) > 1 and width(" · ".join(facts), SMALL) > room:
        facts.pop()
    return fit(" · ".join(facts), room, SMALL)

"""The course of each arrow, and where its label stands."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from orchkit.draw._face import SMALL
from orchkit.draw._measure import clean, fit, width
from orchkit.draw._net import Net
from orchkit.draw._picture import Arrow, Picture

Point = tuple[int, int]

LABEL_HEIGHT = 15
_LABEL_ROOM = 96
_LANE = 12
# Where on its curve a label may stand: the middle if that is free.
_LABEL_STEPS = (0.5, 0.6, 0.4, 0.68, 0.32, 0.76, 0.24)
# Arrows between the same two neighbours that differ in kind or label run side by side.
_BESIDE = 10


@dataclass(frozen=True, slots=True)
class Line:
    """Hold the course of one arrow.

    Parameters
    ----------
    arrow : Arrow
        What is drawn.
    points : tuple of (int, int)
        An even number of points: from the first, third, ... of them a curve leads to the next, through the
        free gap between two columns; from there a level line leads on, across a column.
    label : (int, int) or None
        Where the middle of the label belongs; None without a label, or where an equal label stands already.
    """

    arrow: Arrow
    points: tuple[Point, ...]
    label: Point | None = None

    @property
    def path(self) -> str:
        """Return the course as the ``d`` of an SVG path."""
        return path_data(self.points)


def path_data(points: Sequence[Point]) -> str:
    """Return an SVG path through points, in turn curved (between columns) and level (across a column)."""
    parts = [f"M{points[0][0]} {points[0][1]}"]
    for index in range(0, len(points) - 1, 2):
        (x1, y1), (x2, y2) = points[index], points[index + 1]
        if index:
            parts.append(f"H{x1}")
        if y1 == y2:
            parts.append(f"H{x2}")
        else:
            middle = (x1 + x2) // 2
            parts.append(f"C{middle} {y1} {middle} {y2} {x2} {y2}")
    return "".join(parts)


def label_text(arrow: Arrow) -> str:
    """Return the label as far as it is drawn."""
    return fit(clean(arrow.label), _LABEL_ROOM, SMALL) if arrow.label else ""


def label_width(arrow: Arrow) -> int:
    """Return the width of the drawn label, in pixels."""
    return round(width(label_text(arrow), SMALL)) if arrow.label else 0


def draw_lines(
    picture: Picture, net: Net, columns: Sequence[tuple[int, int]], y: Sequence[int], bottom: int
) -> tuple[Line, ...]:
    """Return the course of each arrow.

    Parameters
    ----------
    picture, net : Picture, Net
        What is drawn, and the net with its chains.
    columns : sequence of (int, int)
        Left and right edge of each layer.
    y : sequence of int
        The middle of each point of the net.
    bottom : int
        The lowest y of boxes and points; arrows without points pass below.
    """
    lanes = _lanes(picture, net, bottom)
    labels = _Labels()
    lines = []
    for index, (arrow, shift) in enumerate(zip(picture.arrows, _shifts(picture), strict=True)):
        chain = net.chains[index]
        first, last = net.layer[chain[0]], net.layer[chain[-1]]
        points = [(columns[first][1], y[chain[0]] + shift)]
        for point in chain[1:-1]:
            left, right = columns[net.layer[point]]
            points += [(left, y[point]), (right, y[point])]
        if index in lanes:
            points += [(columns[first + 1][0], lanes[index]), (columns[last - 1][1], lanes[index])]
        points.append((columns[last][0], y[chain[-1]] + shift))
        lines.append(Line(arrow, tuple(points), labels.place(arrow, points)))
    return tuple(lines)


def _shifts(picture: Picture) -> list[int]:
    """Return how far each arrow stands off the middle of its ends."""
    beside: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
    for arrow in picture.arrows:
        kinds = beside.setdefault((arrow.source, arrow.target), {})
        kinds.setdefault((arrow.kind, arrow.label), len(kinds))
    shifts = []
    for arrow in picture.arrows:
        kinds = beside[arrow.source, arrow.target]
        shifts.append(_BESIDE * kinds[arrow.kind, arrow.label] - _BESIDE * (len(kinds) - 1) // 2)
    return shifts


def _lanes(picture: Picture, net: Net, bottom: int) -> dict[int, int]:
    """Return the y of the lane of each arrow that passes below; a lane is used again where it is free."""
    trunks: dict[tuple[int, str, str], list[int]] = {}
    for index in net.below:
        arrow = picture.arrows[index]
        trunks.setdefault((net.chains[index][0], arrow.kind, arrow.label), []).append(index)
    spans = []
    for (source, _, _), arrows in trunks.items():
        spans.append((net.layer[source], max(net.layer[net.chains[index][-1]] for index in arrows), arrows))
    used: list[tuple[int, int]] = []  # where a lane ends, its number
    lanes: dict[int, int] = {}
    for start, end, arrows in sorted(spans):
        number = heappop(used)[1] if used and used[0][0] <= start else len(used)
        heappush(used, (end, number))
        lanes.update(dict.fromkeys(arrows, bottom + 26 + _LANE * number))
    return lanes


@dataclass(slots=True)
class _Labels:
    """Keep labels apart: each takes the first free place on its own curve."""

    taken: dict[int, list[tuple[Point, int, str]]] = field(default_factory=dict)

    def place(self, arrow: Arrow, points: Sequence[Point]) -> Point | None:
        """Return the middle of a label, on the curve that leaves the source or the level line behind it."""
        text = label_text(arrow)
        if not text:
            return None
        half = label_width(arrow) // 2 + 3
        others = self.taken.setdefault(points[0][0], [])
        places = [_on_curve(points[0], points[1], step) for step in _LABEL_STEPS]
        if len(points) > 2:  # level lines are further apart than labels are high: here is always room
            places.append((points[1][0] + half, points[1][1]))
        if any(spot == places[0] and label == text for spot, _, label in others):
            return None  # a trunk is shared, and so is its label
        free = [spot for spot in places if all(_apart(spot, other, half + room) for other, room, _ in others)]
        spot = (free or places)[0]
        others.append((spot, half, text))
        return spot


def _apart(one: Point, other: Point, room: int) -> bool:
    return abs(one[1] - other[1]) >= LABEL_HEIGHT or abs(one[0] - other[0]) >= room


def _on_curve(start: Point, end: Point, t: float) -> Point:
    (x1, y1), (x2, y2) = start, end
    bend = 3 * t * (1 - t)
    x = x1 * (1 - t) ** 3 + (x1 + x2) / 2 * bend + x2 * t**3
    y = y1 * (1 - t) ** 2 * (1 + 2 * t) + y2 * t**2 * (3 - 2 * t)
    return round(x), round(y)

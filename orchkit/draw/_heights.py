"""How high each point of the net stands: near its neighbours, in order, and no closer than allowed."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from orchkit.draw._net import Net

# Free height between two neighbours of a column: boxes, a box and a line, two lines.
_BOX_BOX, _BOX_BOX_CROWDED, _BOX_LINE, _LINE_LINE = 26, 16, 18, 16
_CROWD = 10
_MANY = 600

# The points of a layer, and how far below its first each stands at least.
Column = tuple[list[int], list[int]]
# Places, and how strongly each is wished for.
Wishes = list[tuple[float, float]]
# Finds the place that suits wishes best; also returns what to remember of them.
Pool = Callable[[Wishes], tuple[float, Wishes]]
# Neighbours, and how strongly each pulls.
Pulls = list[list[tuple[int, float]]]


def middles(net: Net, heights: Sequence[int]) -> list[int]:
    """Return the y of the middle of each point, such that lines are short and straight.

    Parameters
    ----------
    net : Net
        With its layers in their final order.
    heights : sequence of int
        The height of each point; of a passing line, 0.
    """
    columns = [(layer, _offsets(layer, net.nodes, heights)) for layer in net.layers]
    y = [0.0] * len(heights)
    for layer, offset in columns:
        for point, rest in zip(layer, offset, strict=True):
            y[point] = rest - offset[-1] / 2
    before, after = _pulls(net, net.before), _pulls(net, net.after)
    # First means, which spread branches evenly about their stem; then medians, which make lines exactly
    # straight.  With very many points no one sees that, but everyone would wait for it.
    for pool in (_mean,) if len(heights) > _MANY else (_mean, _mean, _median, _median):
        _sweep(columns[::-1], y, after, pool)
        _sweep(columns, y, before, pool)
    result = [0] * len(y)
    for layer, offset in columns:
        for point, rest in zip(layer, offset, strict=True):
            # Rounded without the offset: so order and distances stay right.
            result[point] = round(y[point] - rest) + rest
    _straighten(net, columns, result)
    return result


def _offsets(layer: list[int], nodes: int, heights: Sequence[int]) -> list[int]:
    """Return how far below the first point of a layer each one stands at least."""
    offset, total = [0], 0
    box = _BOX_BOX if len(layer) <= _CROWD else _BOX_BOX_CROWDED
    for high, low in pairwise(layer):
        lines = (high >= nodes) + (low >= nodes)
        total += (heights[high] + heights[low]) // 2 + (box, _BOX_LINE, _LINE_LINE)[lines]
        offset.append(total)
    return offset[: len(layer)]


def _straighten(net: Net, columns: Sequence[Column], y: list[int]) -> None:
    """Make each passing line level from end to end, where its neighbours leave room for that."""
    rows = {point: row for layer, _ in columns for row, point in enumerate(layer)}
    longest = {chain[1]: chain[1:-1] for chain in sorted(net.chains, key=len) if len(chain) > 3}
    trunks = list(longest.values())
    # Twice: one that was made level may have made room for another.
    for trunk in trunks + trunks[::-1]:
        rooms = [_room(columns[net.layer[point]], rows[point], y) for point in trunk]
        high, low = max(high for high, _ in rooms), min(low for _, low in rooms)
        if high <= low:
            wish = sorted(y[point] for point in trunk)[len(trunk) // 2]
            for point in trunk:
                y[point] = min(max(wish, high), low)


def _room(column: Column, row: int, y: Sequence[int]) -> tuple[int, int]:
    """Return how high and how low a point may stand between its neighbours in the column."""
    layer, offset = column
    far = 10**9
    high = y[layer[row - 1]] + offset[row] - offset[row - 1] if row else -far
    low = y[layer[row + 1]] + offset[row] - offset[row + 1] if row + 1 < len(layer) else far
    return high, low


def _pulls(net: Net, near: list[list[int]]) -> Pulls:
    """Return for each point which neighbours pull at it, and how strongly.

    Boxes line up with boxes where they can; a line that passes gives way, and is made straight afterwards.
    """
    pulls: Pulls = []
    for point, others in enumerate(near):
        if point >= net.nodes:
            pulls.append([(other, 0.2 if other >= net.nodes else 0.1) for other in others])
        else:
            boxes = [(other, 4.0) for other in others if other < net.nodes]
            pulls.append(boxes or [(other, 0.1) for other in others])
    return pulls


def _sweep(columns: Sequence[Column], y: list[float], pulls: Pulls, pool: Pool) -> None:
    """Move the points of one layer after the other to where their neighbours pull them."""
    for layer, offset in columns:
        wishes = []
        for point, rest in zip(layer, offset, strict=True):
            near = pulls[point] or [(point, 0.01)]  # without neighbours: stay, but make room for others
            wishes.append([(y[other] - rest, force) for other, force in near])
        for point, rest, place in zip(layer, offset, _in_order(wishes, pool), strict=True):
            y[point] = place + rest


def _in_order(wishes: Sequence[Wishes], pool: Pool) -> list[float]:
    """Return places as near to the wishes as they can be without descending: pool adjacent violators.

    Neighbours whose wishes contradict their order share one place (Ayer et al. 1955).
    """
    pools: list[tuple[float, Wishes, int]] = []
    for wish in wishes:
        place, shared = pool(wish)
        size = 1
        while pools and pools[-1][0] > place:
            _, above, more = pools.pop()
            place, shared = pool(above + shared)
            size += more
        pools.append((place, shared, size))
    return [place for place, _, size in pools for _ in range(size)]


def _mean(wishes: Wishes) -> tuple[float, Wishes]:
    """Return the mean place, and one wish that stands for all."""
    if len(wishes) == 1:
        return wishes[0][0], wishes
    force = sum([force for _, force in wishes])
    place = sum([place * force for place, force in wishes]) / force
    return place, [(place, force)]


def _median(wishes: Wishes) -> tuple[float, Wishes]:
    """Return the place with equal force on both sides, or the middle of two such places, and the wishes."""
    ordered = sorted(wishes)
    half = sum([force for _, force in ordered]) / 2
    passed = 0.0
    for index, (place, force) in enumerate(ordered):
        passed += force
        # Nearly half is half: one passing line must not decide between two boxes.
        if abs(passed - half) <= 0.03 * half:
            return (place + ordered[index + 1][0]) / 2, ordered
        if passed > half:
            return place, ordered
    raise AssertionError("no place: a point without wishes")

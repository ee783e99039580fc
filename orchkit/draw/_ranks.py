"""Which layer a node stands in, and the order within each layer.

Everything here works on node numbers, 0 to n - 1, in the order of the picture; ties are always broken by that
order, and nothing is iterated in the order of a set, so the same picture is arranged alike in every process.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence

from orchkit.draw._measure import clean
from orchkit.draw._picture import Picture, quoted

Pairs = Sequence[tuple[int, int]]

# With more points than this, a few plain sweeps must do: trying arrangements would take most of the time.
_MANY = 600


def assign_layers(picture: Picture, pairs: Pairs) -> list[int]:
    """Return the layer of each node: the length of the longest path that leads to it.

    A node without arrows into it would stand at the far left, even if it is first needed late; unless it is
    an input, it is moved next to the first node that needs it, which shortens its arrows.

    Raises
    ------
    ValueError
        If the arrows form a cycle; the message names it.
    """
    count = len(picture.shapes)
    targets: list[list[int]] = [[] for _ in range(count)]
    waits = [0] * count
    for source, target in pairs:
        targets[source].append(target)
        waits[target] += 1
    ready = [node for node in range(count) if not waits[node]]
    first = len(ready)
    layer = [0] * count
    for node in ready:  # grows while it is walked
        for target in targets[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            waits[target] -= 1
            if not waits[target]:
                ready.append(target)
    if len(ready) < count:
        raise ValueError(_cycle_message(picture, pairs, [node for node in range(count) if waits[node]]))
    for node in ready[:first]:
        if targets[node] and picture.shapes[node].kind != "input":
            layer[node] = min(layer[target] for target in targets[node]) - 1
    return layer


def _cycle_message(picture: Picture, pairs: Pairs, stuck: list[int]) -> str:
    """Name one cycle among nodes each of which waits for another of them."""
    waiting = dict.fromkeys(stuck)
    before = {target: source for source, target in reversed(pairs) if target in waiting and source in waiting}
    path: dict[int, None] = {}
    node = stuck[0]
    while node not in path:
        path[node] = None
        node = before[node]
    walked = list(path)
    cycle = walked[walked.index(node) :][::-1]
    # Start at the node that was defined first: the reader looks for it there.
    turn = cycle.index(min(cycle))
    names = [quoted(picture.shapes[node].name)[1:-1] for node in cycle[turn:] + cycle[: turn + 1]]
    if len(names) > 12:
        names[8:-2] = [f"({len(names) - 10} more)"]
    title = clean(picture.title)
    where = f"picture {quoted(title)}" if title else "picture"
    return f"{where}: the arrows go round in a cycle: {' -> '.join(names)}; remove one of these arrows"


def order_layers(layers: list[list[int]], before: list[list[int]], after: list[list[int]]) -> None:
    """Sort each layer in place so that few lines cross.

    Sweeps to and fro, each time sorting a layer by the mean place of its neighbours in the layer that was
    sorted last, and keeps the best arrangement seen.  It is a heuristic: the best order is NP-hard to find.

    Parameters
    ----------
    layers : list of list of int
        The points of each layer, in order of definition.
    before, after : list of list of int
        For each point, its neighbours in the layer before and in the layer after.
    """
    place = [0] * len(before)
    for layer in layers:
        for index, point in enumerate(layer):
            place[point] = index
    if len(before) > _MANY:
        for _ in range(2):
            _sort_all(layers, before, place)
            _sort_all(layers[::-1], after, place)
        return
    best, least = [list(layer) for layer in layers], crossings(layers, before, place)
    for sweep in range(12):
        if not least:
            break
        if sweep % 2 == 0:
            _sort_all(layers, before, place)
        else:
            _sort_all(layers[::-1], after, place)
        _swap_neighbours(layers, before, after, place)
        count = crossings(layers, before, place)
        if count < least:
            best, least = [list(layer) for layer in layers], count
    layers[:] = best


def _sort_all(layers: list[list[int]], near: list[list[int]], place: list[int]) -> None:
    for layer in layers:
        _sort_by_neighbours(layer, near, place)


def _sort_by_neighbours(layer: list[int], near: list[list[int]], place: list[int]) -> None:
    keys = {}
    for point in layer:
        others = near[point]
        keys[point] = sum([place[other] for other in others]) / len(others) if others else float(place[point])
    layer.sort(key=keys.__getitem__)
    for index, point in enumerate(layer):
        place[point] = index


def _swap_neighbours(
    layers: list[list[int]], before: list[list[int]], after: list[list[int]], place: list[int]
) -> None:
    """Swap two points that stand together wherever that alone removes crossings; means cannot see these."""
    for layer in layers:
        for index in range(len(layer) - 1):
            high, low = layer[index], layer[index + 1]
            gain = 0
            for near in (before, after):
                ends, others = [place[end] for end in near[high]], [place[end] for end in near[low]]
                gain += sum((a > b) - (a < b) for a in ends for b in others)
            if gain > 0:
                layer[index], layer[index + 1] = low, high
                place[high], place[low] = index + 1, index


def crossings(layers: list[list[int]], before: list[list[int]], place: list[int]) -> int:
    """Count the pairs of lines that cross between neighbouring layers."""
    total = 0
    for layer in layers:
        seen: list[int] = []
        for point in layer:
            ends = [place[end] for end in before[point]]
            if seen:
                total += sum([len(seen) - bisect_right(seen, end) for end in ends])
            for end in ends:
                insort(seen, end)
    return total

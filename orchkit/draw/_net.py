"""The net that is arranged: nodes, and a point wherever an arrow passes a layer on its way."""

from dataclasses import dataclass, field
from itertools import pairwise

from orchkit.draw._picture import Picture
from orchkit.draw._ranks import assign_layers

# Points for long arrows cost time and say little when there are thousands; from here on the longest arrows
# pass below all boxes instead.
POINTS_MOST = 2000


@dataclass(slots=True)
class Net:
    """Hold points 0 to ``nodes - 1`` for the shapes and further ones for passing arrows.

    Parameters
    ----------
    nodes : int
        How many points are shapes.
    layer : list of int
        The layer of each point.
    layers : list of list of int
        The points of each layer, from the top.
    before, after : list of list of int
        For each point, its neighbours in the layers before and after; without doubles.
    chains : list of list of int
        For each arrow, the points on its way, source and target included.
    below : list of int
        The arrows (by number) that pass below all boxes and have no points between their ends.
    """

    nodes: int
    layer: list[int]
    layers: list[list[int]]
    before: list[list[int]]
    after: list[list[int]]
    chains: list[list[int]] = field(default_factory=list)
    below: list[int] = field(default_factory=list)

    def add_point(self, layer: int) -> int:
        """Add a point for a passing arrow and return its number."""
        self.layer.append(layer)
        self.layers[layer].append(len(self.before))
        self.before.append([])
        self.after.append([])
        return len(self.before) - 1

    def join(self, chain: list[int]) -> None:
        """Make the points of a chain neighbours."""
        for left, right in pairwise(chain):
            if right not in self.after[left]:
                self.after[left].append(right)
                self.before[right].append(left)


def weave(picture: Picture) -> Net:
    """Return the net of a picture, its layers still in order of definition.

    Raises
    ------
    ValueError
        If the arrows form a cycle.
    """
    number = {shape.name: index for index, shape in enumerate(picture.shapes)}
    pairs = [(number[arrow.source], number[arrow.target]) for arrow in picture.arrows]
    layer = assign_layers(picture, pairs)
    layers: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for node, place in enumerate(layer):
        layers[place].append(node)
    count = len(picture.shapes)
    net = Net(count, layer, layers, [[] for _ in range(count)], [[] for _ in range(count)])
    below = _pass_below(picture, pairs, layer)
    trunks: dict[tuple[int, str, str], list[int]] = {}
    for index, (arrow, (source, target)) in enumerate(zip(picture.arrows, pairs, strict=True)):
        if index in below:
            net.chains.append([source, target])
            net.below.append(index)
            continue
        trunk = trunks.setdefault((source, arrow.kind, arrow.label), [source])
        while len(trunk) < layer[target] - layer[source]:
            trunk.append(net.add_point(layer[source] + len(trunk)))
        chain = [*trunk[: layer[target] - layer[source]], target]
        net.join(chain)
        net.chains.append(chain)
    return net


def _pass_below(picture: Picture, pairs: list[tuple[int, int]], layer: list[int]) -> dict[int, None]:
    """Choose the arrows that get no points, the longest first, until the rest need few enough."""
    spans: dict[tuple[int, str, str], dict[int, list[int]]] = {}
    for index, (arrow, (source, target)) in enumerate(zip(picture.arrows, pairs, strict=True)):
        arrows = spans.setdefault((source, arrow.kind, arrow.label), {})
        arrows.setdefault(layer[target] - layer[source] - 1, []).append(index)
    points = sum(max(arrows) for arrows in spans.values())
    below: dict[int, None] = {}
    for length in sorted({length for arrows in spans.values() for length in arrows}, reverse=True):
        if points <= POINTS_MOST:
            break
        for arrows in spans.values():
            if length in arrows:
                below.update(dict.fromkeys(arrows.pop(length)))
                points -= length - max(arrows, default=0)
    return below

"""A picture as plain text."""

from orchkit.draw._face import is_plan
from orchkit.draw._layout import layout
from orchkit.draw._measure import clean, columns, fit_columns
from orchkit.draw._picture import STATUSES, Arrow, Picture, Shape

SIGNS = {
    "idle": "◌",
    "running": "▶",
    "waiting": "◷",
    "completed": "✓",
    "degraded": "~",
    "failed": "✕",
    "skipped": "–",
    "cancelled": "⊘",
}
_NAME_MOST, _FACT_MOST, _LINE_MOST = 32, 44, 160


def text(picture: Picture) -> str:
    """List a picture as plain text: one line a node, from left to right as it would be drawn.

    Parameters
    ----------
    picture : Picture
        What to list.

    Returns
    -------
    str
        Lines without a final line end: the title, then for each node sign, name, kind, state and the arrows
        that lead to it, then a count.  Notes stand on a line of their own.  Always the same for the same
        picture.

    Raises
    ------
    ValueError
        If the arrows form a cycle; the message names it.

    Notes
    -----
    A picture in which nothing has happened yet shows the definition, without states.  Arrows that are not
    live stand in brackets.

    Examples
    --------
    >>> from orchkit.draw import Arrow, Shape
    >>> shapes = (Shape("risk", "route", "completed"), Shape("send", status="skipped", effect=True))
    >>> print(text(Picture("mail", shapes, (Arrow("risk", "send", "route", "ok", live=False),))))
    mail
      ✓ risk  route         completed
      – send  step, effect  skipped    ← (risk if ok)
    2 nodes: 1 completed, 1 skipped
    """
    plan = is_plan(picture)
    boxes = sorted(
        zip(layout(picture).boxes, picture.shapes, strict=True), key=lambda pair: (pair[0].layer, pair[0].row)
    )
    into: dict[str, list[Arrow]] = {shape.name: [] for shape in picture.shapes}
    for arrow in picture.arrows:
        into[arrow.target].append(arrow)
    rows = [_row(shape, into[shape.name], plan) for _, shape in boxes]
    wide = [max((columns(row[cell]) for row in rows), default=0) for cell in range(3)]
    head = " · ".join(part for part in (clean(picture.title), clean(picture.caption)) if part)
    lines = [fit_columns(head, _LINE_MOST)] if head else []
    for row, (_, shape) in zip(rows, boxes, strict=True):
        sign = "" if plan else SIGNS[shape.status] + " "
        cells = [cell + " " * (room - columns(cell)) for cell, room in zip(row, wide, strict=False)]
        lines.append(f"  {sign}{'  '.join(cell for cell in (*cells, row[3]) if cell)}".rstrip())
        if clean(shape.note):
            lines.append(f"  {' ' * len(sign)}  {fit_columns(clean(shape.note), _LINE_MOST)}")
    return "\n".join([*lines, counts(picture)])


def counts(picture: Picture) -> str:
    """Say how many nodes there are and, once something has happened, in which states."""
    total = len(picture.shapes)
    said = f"{total} node{'' if total == 1 else 's'}"
    if is_plan(picture):
        return said
    numbers = {status: sum(shape.status == status for shape in picture.shapes) for status in STATUSES}
    return f"{said}: " + ", ".join(f"{number} {status}" for status, number in numbers.items() if number)


def _row(shape: Shape, arrows: list[Arrow], plan: bool) -> tuple[str, str, str, str]:
    name = fit_columns(clean(shape.name), _NAME_MOST)
    kind = f"{shape.kind}, effect" if shape.effect else shape.kind
    badge = clean(shape.badge)
    state = "" if plan else fit_columns(f"{shape.status} · {badge}" if badge else shape.status, _FACT_MOST)
    sources = ", ".join(_source(arrow) for arrow in arrows)
    return name, kind, state, f"← {sources}" if sources else ""


def _source(arrow: Arrow) -> str:
    name = fit_columns(clean(arrow.source), _NAME_MOST)
    label = fit_columns(clean(arrow.label), _NAME_MOST)
    if arrow.kind == "route":
        name = f"{name} if {label}" if label else f"{name}?"
    elif arrow.kind == "after":
        name = f"after {name}"
    elif arrow.kind == "context":
        return f"{label or 'context'} by {name}"
    if arrow.kind != "route" and label:
        name = f"{name}: {label}"
    return name if arrow.live else f"({name})"

"""A picture as one self-contained SVG."""

import re
from html import escape

from orchkit.draw import _face
from orchkit.draw._face import BIG, FACT_Y, LINE, NAME_Y, SIGN, SMALL
from orchkit.draw._layout import Box, Layout, layout
from orchkit.draw._lines import LABEL_HEIGHT, Line, label_text, label_width, path_data
from orchkit.draw._measure import clean, fit, width, wrap
from orchkit.draw._picture import Picture, Shape
from orchkit.draw._signs import ARROW_HEAD, BOLT, PERSON, ROUND, STATUS_SIGNS, Strokes, inner_lines, outlines
from orchkit.draw._style import CONTEXT_STYLE, STYLE
from orchkit.draw._text import counts

_MARGIN = 22
_WIDTH_LEAST = 240
_SHARE = re.compile(r"(\d{1,9}) ?(?:/|of) ?(\d{1,9})\b")


def svg(picture: Picture) -> str:
    """Draw a picture as SVG.

    Parameters
    ----------
    picture : Picture
        What to draw.

    Returns
    -------
    str
        One ``<svg>`` element without scripts, links or outside resources; the same for the same picture.

    Raises
    ------
    ValueError
        If the arrows form a cycle; the message names it.

    Notes
    -----
    A picture in which nothing has happened yet shows the definition: kinds in words, no states.  All text is
    escaped and stripped of control characters; it may come from a model.

    Examples
    --------
    >>> from orchkit.draw import Arrow, Shape
    >>> markup = svg(Picture("two", (Shape("a"), Shape("b")), (Arrow("a", "b"),)))
    >>> markup[:11], markup.count("<title>")
    ('<svg xmlns=', 3)
    """
    places = layout(picture)
    head, body_y = _header(picture, max(places.width, _WIDTH_LEAST))
    wide, high = max(places.width, _WIDTH_LEAST) + 2 * _MARGIN, body_y + max(places.height, 40) + _MARGIN
    left = (wide - places.width) // 2
    title = clean(picture.title) or "workflow"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="okd" role="img" width="{wide}" height="{high}"'
        f' viewBox="0 0 {wide} {high}">',
        f"<title>{_safe(title)}</title>",
        f"<desc>{_safe(_description(picture))}</desc>",
        f"<style>{_style(picture)}</style>",
        f'<rect class="okd-card" x=".5" y=".5" width="{wide - 1}" height="{high - 1}" rx="10"/>',
        *head,
        f'<g transform="translate({left} {body_y})">',
        *_wires(places),
        *_nodes(picture, places),
        "</g>",
    ]
    if not picture.shapes:
        parts.append(_text_at(wide // 2, body_y + 24, "nothing to draw yet", anchor="middle"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _style(picture: Picture) -> str:
    shared = any(arrow.kind == "context" for arrow in picture.arrows)
    return f"{STYLE}\n{CONTEXT_STYLE}" if shared else STYLE


def _safe(text: str) -> str:
    """Return text as it may stand in markup, between tags and in attributes alike."""
    return escape(clean(text), quote=True)


def _text_at(x: int, y: int, text: str, kind: str = "", *, anchor: str = "") -> str:
    extra = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text{extra} x="{x}" y="{y}">{_safe(text)}</text>'


def _sign_at(x: int, y: int, strokes: Strokes, kind: str) -> str:
    paths = "".join(f'<path class="{paint}" d="{path}"/>' for paint, path in strokes)
    return f'<g class="{kind}" transform="translate({x} {y})">{paths}</g>'


def _description(picture: Picture) -> str:
    caption = clean(picture.caption)
    return f"{caption}. {counts(picture)}" if caption else counts(picture)


def _header(picture: Picture, room: int) -> tuple[list[str], int]:
    """Return the elements above the graph, and where the graph begins."""
    title = fit(clean(picture.title), room, BIG, bold=True)
    caption = clean(picture.caption)
    if not title and not caption:
        return [], _MARGIN
    parts = [_text_at(_MARGIN, 25, title, "okd-name")] if title else []
    taken = round(width(title, BIG, bold=True)) + 12 if title else 0
    y = 25
    lines, x = wrap(caption, room - taken, SMALL, lines=1), _MARGIN + taken
    if lines != (caption,):
        lines, x = wrap(caption, room, SMALL, lines=3), _MARGIN
        y += 18 if title and caption else 0
    for index, line in enumerate(lines):
        parts.append(_text_at(x, y + LINE * index, line))
    rule = y + LINE * max(len(lines) - 1, 0) + 14
    parts.append(f'<path class="okd-rule" d="M1 {rule}.5H{room + 2 * _MARGIN - 1}"/>')
    return parts, rule + _MARGIN


def _wires(places: Layout) -> list[str]:
    # Faint ones first: where a trunk is shared, what is live is seen.
    lines = sorted(places.lines, key=lambda line: line.arrow.live)
    return [_wire(line) for line in lines] + [_label(line) for line in lines if line.label]


def _wire(line: Line) -> str:
    arrow = line.arrow
    off = "" if arrow.live else " okd-off"
    dash = "" if arrow.kind == "data" else f" okd-{arrow.kind}"
    x, y = line.points[-1]
    # The line ends inside the head: its blunt end would show beside the tip.
    course = path_data((*line.points[:-1], (x - 4, y)))
    own = " okd-context" if arrow.kind == "context" else ""
    head = f'<path class="okd-head{own}{off}" d="M{x} {y}{ARROW_HEAD}"/>'
    return f'<path class="okd-wire{dash}{off}" d="{course}"/>{head}'


def _label(line: Line) -> str:
    x, y = line.label or (0, 0)
    wide = label_width(line.arrow) + 6
    place = f'x="{x - wide // 2}" y="{y - LABEL_HEIGHT // 2}" width="{wide}" height="{LABEL_HEIGHT}"'
    kind = "" if line.arrow.live else "okd-off"
    words = _text_at(x, y + 4, label_text(line.arrow), kind, anchor="middle")
    return f'<rect class="okd-plate" {place}/>{words}'


def _nodes(picture: Picture, places: Layout) -> list[str]:
    plan = _face.is_plan(picture)
    return [_node(shape, box, plan) for shape, box in zip(picture.shapes, places.boxes, strict=True)]


def _node(shape: Shape, box: Box, plan: bool) -> str:
    state = "plan" if plan else shape.status
    left, right = _face.inset(shape.kind)
    right = box.width - right
    below = [_face.fact(shape, plan=plan, room=right - left), *_face.note_lines(shape)]
    lines = [line for line in below if line]
    top = (len(below) - len(lines)) * LINE // 2  # what is not said leaves no hole
    parts = [
        f'<g class="okd-node okd-{state}" transform="translate({box.x} {box.y})">',
        _tooltip(shape, plan),
        *_outline(shape, box, plan),
        *_name(shape, left, right - (0 if plan else SIGN + 4), NAME_Y + top),
    ]
    if not plan:
        parts.append(_sign_at(right - SIGN, NAME_Y - 11, STATUS_SIGNS[shape.status], "okd-sign"))
    for index, line in enumerate(lines):
        is_state = index == 0 and not plan
        parts.append(_text_at(left, FACT_Y + top + LINE * index, line, "okd-word" if is_state else ""))
    return "".join([*parts, "</g>"])


def _name(shape: Shape, left: int, right: int, y: int) -> list[str]:
    parts = []
    for sign in _marks(shape):
        parts.append(_sign_at(left, y - 11, sign, "okd-mark"))
        left += SIGN + 4
    return [*parts, _text_at(left, y, fit(clean(shape.name), right - left, BIG, bold=True), "okd-name")]


def _marks(shape: Shape) -> list[Strokes]:
    own = {"approval": PERSON, "loop": ROUND}.get(shape.kind)
    return ([own] if own else []) + ([BOLT] if shape.effect else [])


def _outline(shape: Shape, box: Box, plan: bool) -> list[str]:
    """Return halo, outlines, tint and the bar of a share."""
    *backs, face = outlines(shape.kind, box.width, box.height)
    parts = []
    if not plan and shape.status == "waiting":
        parts.append(f'<{face} class="okd-halo"/>')
    parts += [f'<{back} class="okd-edge okd-back"/>' for back in backs]
    parts.append(f'<{face} class="okd-edge"/>')
    if not plan and shape.status in ("running", "waiting", "failed", "degraded"):
        parts.append(f'<{face} class="okd-tint"/>')
    inner = inner_lines(shape.kind, box.width, box.height)
    if inner:
        parts.append(f'<path class="okd-rule" d="{inner}"/>')
    return parts + _bar(shape, box)


def _bar(shape: Shape, box: Box) -> list[str]:
    """Return a bar for a badge that begins with two counts."""
    share = _SHARE.match(clean(shape.badge))
    if not share or not int(share[2]):
        return []
    left, right = _face.inset(shape.kind)
    room = box.width - left - right
    full = round(room * min(int(share[1]) / int(share[2]), 1.0))
    place = f'x="{left}" y="{box.height - 7}" height="3" rx="1.5"'
    bars = (("okd-rail", room), ("okd-full", full))
    return [f'<rect class="{kind}" {place} width="{wide}"/>' for kind, wide in bars]


def _tooltip(shape: Shape, plan: bool) -> str:
    facts = [shape.kind, *(["effect"] if shape.effect else []), *([] if plan else [shape.status])]
    facts += [text for text in (clean(shape.badge), clean(shape.note)) if text]
    return f"<title>{_safe(shape.name)}: {_safe(', '.join(facts))}</title>"

"""The values that are drawn: shapes, arrows, and the picture that holds them."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from orchkit.draw._measure import clean, columns, fit_columns

KINDS = ("input", "step", "map", "route", "approval", "loop", "call")
# In the order in which a reader wants to hear of them: what asks for attention comes first.
STATUSES = ("failed", "waiting", "running", "degraded", "completed", "skipped", "cancelled", "idle")
ARROW_KINDS = ("data", "route", "after", "context")


def quoted(name: str) -> str:
    """Return a name as it may stand in a message: one line, of bounded length, in quotes."""
    return repr(fit_columns(clean(name), 60))


def _check_text(where: str, **fields: object) -> None:
    for field, value in fields.items():
        if not isinstance(value, str):
            kind = type(value).__name__
            raise ValueError(f"{where}: {field} is {kind}; give it as text, for example str(value)")


def _check_choice(where: str, field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        near = get_close_matches(value[:40], choices, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(choices)}"
        raise ValueError(f"{where}: {field} is {quoted(value)}, which cannot be drawn; {hint}")


@dataclass(frozen=True, slots=True)
class Shape:
    """Hold one node and its state, as they are drawn.

    Parameters
    ----------
    name : str
        The node's name, unique in its picture, with at least one visible character.
    kind : {"input", "step", "map", "route", "approval", "loop", "call"}
        Decides the outline.
    status : {"idle", "running", "waiting", "completed", "degraded", "failed", "skipped", "cancelled"}
        Decides sign, word, dash pattern and colour.
    note : str
        Small text under the name, for what the definition says: policies such as
        ``"retry 3 · timeout 20 s"``.  Wrapped, preferably at ``·``; at most four lines are drawn, all of it
        is in the tooltip.
    badge : str
        A short fact of the run such as ``"1.8 s"`` or ``"3 attempts"``.  One that starts with two counts,
        such as ``"12/40"`` or ``"12 of 40"``, is drawn with a bar that is filled by that share.
    effect : bool
        Whether the node touches the world; marked by a bolt.

    Raises
    ------
    ValueError
        If a field is not text, the name shows nothing, or the kind or the status is not known.
    """

    name: str
    kind: str = "step"
    status: str = "idle"
    note: str = ""
    badge: str = ""
    effect: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        _check_text("shape", name=self.name)
        where = f"shape {quoted(self.name)}"
        if not columns(clean(self.name)):
            raise ValueError(f"{where}: the name has no visible character; name the node, for example 'plan'")
        _check_text(where, kind=self.kind, status=self.status, note=self.note, badge=self.badge)
        _check_choice(where, "kind", self.kind, KINDS)
        _check_choice(where, "status", self.status, STATUSES)


@dataclass(frozen=True, slots=True)
class Arrow:
    """Hold one edge, as it is drawn.

    Parameters
    ----------
    source, target : str
        Names of shapes of the same picture.
    kind : {"data", "route", "after", "context"}
        Drawn solid, dashed, dotted, and dash-dotted in a colour: what passes by the shared context.
    label : str
        Short text beside the arrow, for example what a route must pick.
    live : bool
        False draws the arrow faint: a route that went elsewhere, a result that is not there yet.

    Raises
    ------
    ValueError
        If a field is not text or the kind is not known.
    """

    source: str
    target: str
    kind: str = "data"
    label: str = ""
    live: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        _check_text("arrow", source=self.source, target=self.target, kind=self.kind, label=self.label)
        where = f"arrow {quoted(self.source)} -> {quoted(self.target)}"
        _check_choice(where, "kind", self.kind, ARROW_KINDS)


@dataclass(frozen=True, slots=True)
class Picture:
    """Hold a whole graph to be drawn.

    Parameters
    ----------
    title : str
        Usually the workflow's name; may be empty.
    shapes : tuple of Shape
        In order of definition, which breaks ties when they are arranged.  May be empty.
    arrows : tuple of Arrow
        Between the shapes.  Cycles are found when the picture is laid out.
    caption : str
        One sentence beside the title, for example ``"run 7f3a · waiting for a person"``.

    Raises
    ------
    ValueError
        If two shapes share a name or an arrow names a shape that is not there.

    Examples
    --------
    >>> Picture("mail", (Shape("plan"), Shape("draft")), (Arrow("plan", "daft"),))
    Traceback (most recent call last):
    ...
    ValueError: picture 'mail': arrow 'plan' -> 'daft' names 'daft', which is no shape; did you mean 'draft'?
    """

    title: str
    shapes: tuple[Shape, ...]
    arrows: tuple[Arrow, ...]
    caption: str = ""

    def __post_init__(self) -> None:
        """Check that names are unique and that arrows end at shapes."""
        _check_text("picture", title=self.title, caption=self.caption)
        where = f"picture {quoted(self.title)}"
        # A list is a likely slip, and would make the value unhashable much later and far away.
        object.__setattr__(self, "shapes", tuple(self.shapes))
        object.__setattr__(self, "arrows", tuple(self.arrows))
        _check_unique(where, (shape.name for shape in self.shapes))
        _check_ends(where, {shape.name: None for shape in self.shapes}, self.arrows)


def _check_unique(where: str, names: Iterable[str]) -> None:
    seen: dict[str, None] = {}
    for name in names:
        if name in seen:
            raise ValueError(f"{where}: two shapes are named {quoted(name)}; names are unique, so rename one")
        seen[name] = None


def _check_ends(where: str, names: dict[str, None], arrows: Iterable[Arrow]) -> None:
    for arrow in arrows:
        for end in (arrow.source, arrow.target):
            if end not in names:
                near = get_close_matches(end[:60], names, 1)
                hint = f"did you mean {quoted(near[0])}?" if near else "add the shape or leave out the arrow"
                both = f"{quoted(arrow.source)} -> {quoted(arrow.target)}"
                raise ValueError(f"{where}: arrow {both} names {quoted(end)}, which is no shape; {hint}")

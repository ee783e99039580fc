"""Pictures that several tests of this room draw."""

from dataclasses import replace

from hypothesis import strategies as st

from orchkit.draw import Arrow, Picture, Shape

KINDS = ("input", "step", "map", "route", "approval", "loop", "call")
STATUSES = ("idle", "running", "waiting", "completed", "degraded", "failed", "skipped", "cancelled")
NOTES = ("", "retry 3", "fallback canned · breaker llm:a · hedge 15 s · retry 4 · timeout 20 s", "W" * 90)

TRIAGE = Picture(
    "triage",
    (
        Shape("input", "input", note="Ticket"),
        Shape("plan"),
        Shape("lookup", "map", note="limit 4"),
        Shape("draft", note="fallback · retry 3 · timeout 20 s"),
        Shape("risk", "route"),
        Shape("review", "approval"),
        Shape("verdict", "route"),
        Shape("send", effect=True),
        Shape("apologise"),
    ),
    (
        Arrow("input", "plan"),
        Arrow("plan", "lookup"),
        Arrow("input", "draft"),
        Arrow("lookup", "draft"),
        Arrow("draft", "risk"),
        Arrow("risk", "send", "route", "send"),
        Arrow("risk", "review", "route", "review"),
        Arrow("draft", "review"),
        Arrow("review", "verdict"),
        Arrow("draft", "send"),
        Arrow("verdict", "send", "route", "send"),
        Arrow("verdict", "apologise", "route", "apologise"),
        Arrow("input", "apologise"),
    ),
)


def in_states(picture, **states):
    """Return the picture with ``name=(status, badge)`` put in."""
    shapes = []
    for shape in picture.shapes:
        status, badge = states.get(shape.name, (shape.status, shape.badge))
        shapes.append(replace(shape, status=status, badge=badge))
    return replace(picture, shapes=tuple(shapes))


@st.composite
def pictures(draw, most=18):
    """Any picture without cycles; definition order says nothing about the direction of arrows."""
    count = draw(st.integers(1, most))
    names = draw(st.lists(st.text(min_size=1, max_size=40), min_size=count, max_size=count, unique=True))
    names = [f"{index}{name}" for index, name in enumerate(names)]
    shapes = [
        Shape(
            name,
            draw(st.sampled_from(KINDS)),
            draw(st.sampled_from(STATUSES)),
            draw(st.sampled_from(NOTES)),
            draw(st.sampled_from(("", "1.8 s", "12/40", "x" * 60))),
            draw(st.booleans()),
        )
        for name in names
    ]
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda p: p[0] < p[1])
    chosen = draw(st.lists(pairs, max_size=3 * count)) if count > 1 else []
    arrows = [
        Arrow(
            names[low],
            names[high],
            draw(st.sampled_from(("data", "route", "after", "context"))),
            draw(st.sampled_from(("", "", "yes", "a rather long label for a route"))),
            draw(st.booleans()),
        )
        for low, high in chosen
    ]
    return Picture(draw(st.text(max_size=30)), draw(st.permutations(shapes)), arrows, draw(st.text(max_size=200)))


def large(count, *, reach):
    """A picture with two arrows into each node, from at most ``reach`` nodes back."""
    shapes = tuple(Shape(f"node_{index}") for index in range(count))
    arrows = []
    for index in range(1, count):
        room = min(reach, index)
        sources = dict.fromkeys(index - 1 - (index * factor + 7) % 101 % room for factor in (37, 59))
        arrows += [Arrow(f"node_{source}", f"node_{index}") for source in sources]
    return Picture("large", shapes, tuple(arrows))

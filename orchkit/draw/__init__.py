"""Draw a workflow graph, with the state of each node, as a picture (SVG) or as plain text.

A `Picture` is a value: shapes (nodes) and arrows between them.  `layout` gives each shape a place; `svg` and
`text` turn the picture into markup or into lines for a terminal.  All of them are pure: the same picture
gives the same bytes, in any process.  Places do not depend on states, so a run does not jump about.
`clean`, `width`, `fit` and `fit_columns` make text safe and say how much room it takes, for other pictures.

Examples
--------
>>> from orchkit.draw import Arrow, Picture, Shape, text
>>> shapes = (Shape("input", "input", "completed"), Shape("plan", status="running", badge="attempt 2"))
>>> print(text(Picture("triage", shapes, (Arrow("input", "plan"),))))
triage
  ✓ input  input  completed
  ▶ plan   step   running · attempt 2  ← input
2 nodes: 1 running, 1 completed
"""

from orchkit.draw._layout import Box, Layout, layout
from orchkit.draw._lines import Line
from orchkit.draw._measure import clean, fit, fit_columns, width
from orchkit.draw._of import duration, picture_of
from orchkit.draw._picture import Arrow, Picture, Shape
from orchkit.draw._svg import svg
from orchkit.draw._text import text

__all__ = [
    "Arrow",
    "Box",
    "Layout",
    "Line",
    "Picture",
    "Shape",
    "clean",
    "duration",
    "fit",
    "fit_columns",
    "layout",
    "picture_of",
    "svg",
    "text",
    "width",
]

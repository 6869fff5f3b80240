"""The picture of the framework: what is done to an image, and what is compared."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from dovision.report.report_figure import ReportFigure
from dovision.report.style import COLOURS, FAINT, INK, PAPER, SMALL, WIDTHS, styled

_BOXES = {  # text; middle and size, in inches; colour
    "image": ("image x", (0.36, 1.1), (0.62, 0.4), INK),
    "condition": ("attack:\nthe condition", (1.26, 1.1), (0.84, 0.48), COLOURS[1]),
    "plain": ("classifier", (2.56, 1.62), (1.24, 0.4), INK),
    "do": ("do(unit): cell, box,\nchannel, perturbation", (2.56, 0.58), (1.24, 0.48), COLOURS[0]),
    "patch": ("only its\ndescendants", (3.84, 0.58), (0.8, 0.48), COLOURS[0]),
    "control": ("P(y | x)\ncontrol", (4.88, 1.62), (0.92, 0.48), INK),
    "treated": ("P(y | do(u), x)\ntreated", (4.88, 0.58), (0.92, 0.48), COLOURS[0]),
    "effect": ("effect =\ntreated - control", (6.14, 1.1), (1.08, 0.48), COLOURS[2]),
    "tables": ("tables of one run,\nfigures, page", (6.14, 0.32), (1.08, 0.48), FAINT),
}
ARROWS = (
    ("image", "condition"),
    ("condition", "plain"),
    ("condition", "do"),
    ("do", "patch"),
    ("plain", "control"),
    ("patch", "treated"),
    ("control", "effect"),
    ("treated", "effect"),
    ("effect", "tables"),
)


def framework_figure() -> ReportFigure:
    """The framework as a figure; its numbers are its arrows."""
    caption = (
        "One loop for every intervention: the image, clean or attacked, passes the classifier once; for each unit only "
        "what descends from the edit is computed again; an effect is treated minus control, for every class."
    )
    return ReportFigure(
        "framework", "The framework", caption, framework(), pd.DataFrame(ARROWS, columns=["from", "to"])
    )


@styled
def framework() -> Figure:
    """Boxes from left to right, joined by arrows."""
    figure = Figure(figsize=(WIDTHS[-1], 2.0))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTHS[-1]), ylim=(0, 2.0))
    axes.set_axis_off()
    for start, end in ARROWS:
        _arrow(axes, start, end)
    for text, (x, y), (width, height), colour in _BOXES.values():
        corner = (x - width / 2, y - height / 2)
        shape = FancyBboxPatch(
            corner, width, height, "round,pad=0,rounding_size=0.05", facecolor=PAPER, edgecolor=colour
        )
        shape.set_linewidth(1.2)
        axes.add_patch(shape)
        axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, linespacing=1.3)
    return figure


def _arrow(axes: Axes, start: str, end: str) -> None:
    _, (x0, y0), (width0, height0), _ = _BOXES[start]
    _, (x1, y1), (width1, height1), _ = _BOXES[end]
    tail, head = (x0 + width0 / 2, y0), (x1 - width1 / 2, y1)
    if x0 == x1:  # one below the other
        tail, head = (x0, y0 - height0 / 2), (x1, y1 + height1 / 2)
    style = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "shrinkA": 2, "shrinkB": 2}
    axes.annotate("", head, tail, arrowprops=style)

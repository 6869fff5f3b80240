"""The picture of the framework: what is done to an image, and what is compared."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from dovision.report.report_figure import ReportFigure
from dovision.report.style import COLOURS, FAINT, INK, PAPER, styled

_BOXES = {  # name: text, centre, size, colour
    "image": ("image x", (0.65, 2.0), (1.0, 0.6), INK),
    "condition": ("attack\nthe condition", (2.2, 2.0), (1.2, 0.75), COLOURS[1]),
    "do": ("do(unit): cell, box,\nchannel, perturbation", (4.55, 1.0), (2.35, 0.75), COLOURS[0]),
    "plain": ("classifier", (4.55, 3.0), (2.35, 0.6), INK),
    "patch": ("only its\ndescendants", (7.15, 1.0), (1.5, 0.75), COLOURS[0]),
    "control": ("P(y | x)\ncontrol", (9.35, 3.0), (1.3, 0.75), INK),
    "treated": ("P(y | do(u), x)\ntreated", (9.35, 1.0), (1.5, 0.75), COLOURS[0]),
    "effect": ("effect =\ntreated - control", (11.6, 2.0), (1.9, 0.75), COLOURS[2]),
    "tables": ("tables of\none run", (13.7, 2.0), (1.3, 0.75), FAINT),
    "shown": ("figures, detection,\nagreement, report", (15.85, 2.0), (2.2, 0.75), FAINT),
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
    ("tables", "shown"),
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
    figure = Figure(figsize=(10.2, 2.3))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 17.1), ylim=(0.3, 3.7))
    axes.set_axis_off()
    for start, end in ARROWS:
        _arrow(axes, start, end)
    for text, (x, y), (width, height), colour in _BOXES.values():
        corner = (x - width / 2, y - height / 2)
        shape = FancyBboxPatch(
            corner, width, height, "round,pad=0,rounding_size=0.12", facecolor=PAPER, edgecolor=colour
        )
        shape.set_linewidth(1.4)
        axes.add_patch(shape)
        axes.text(x, y, text, ha="center", va="center", fontsize=7.5, linespacing=1.35)
    return figure


def _arrow(axes: Axes, start: str, end: str) -> None:
    _, (x0, y0), (width0, _), _ = _BOXES[start]
    _, (x1, y1), (width1, _), _ = _BOXES[end]
    style = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "shrinkA": 2, "shrinkB": 2}
    axes.annotate("", (x1 - width1 / 2, y1), (x0 + width0 / 2, y0), arrowprops=style)

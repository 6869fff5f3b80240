"""Masks of images against all that is outside them, and against the same masks moved elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.functional.intervals import EFFECT_INTERVALS, level_of_selected
from dovision.report.plots import draw_means, name_rows, with_legend
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, selected, span
from dovision.report.style import FAINT, INK, canvas, styled
from dovision.results.mask_effects import INSIDE_MINUS, MASK_PLACES, mask_contrasts
from dovision.results.run_record import Run
from dovision.results.tables import CLEAN

_MOST = 16  # pairs of a mask and a class that are drawn
_LOOKS: dict[str, dict[str, Any]] = {
    "inside": {"marker": "o"},
    "outside": {"marker": "s", "color": FAINT},
    "moved": {"marker": "o", "color": FAINT, "markerfacecolor": "none"},
}


class Masks(FigureComponent):
    """Figure of effect sizes inside masks, outside, and for moved masks; none without mask units."""

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        frame = mask_contrasts(run.folder)
        clean = frame[frame["condition"] == CLEAN]
        if clean.empty:
            return
        shown = min(len(clean), _MOST)
        if shown < len(clean):
            frame = mask_contrasts(run.folder, level_of_selected(shown, len(clean)))
            clean = frame[frame["condition"] == CLEAN]
        drawn = clean.sort_values("inside", ascending=False, kind="stable").head(shown)
        text = (
            "Mean size of the effect of painting over a mask, over all that is outside it, and over the mask moved "
            "elsewhere, which has its area and shape; right: inside minus each, image by image. Positive: more "
            "evidence inside."
        )
        whiskers = f"Whiskers: {EFFECT_INTERVALS}{selected(shown, len(clean))}."
        words = caption(text, [run], f"n = {span(clean['images'])} images.", whiskers, clean)
        yield ReportFigure("mask_contrasts", "Inside the mask against elsewhere", words, _forest(drawn), frame)


@styled
def _forest(frame: pd.DataFrame) -> Figure:
    """Plot sizes (left) and paired differences (right), a row per mask and class."""
    figure = canvas(6.0, 1.1 + 0.45 * len(frame))
    sizes, differences = figure.subplots(1, 2, sharey=True)
    position = np.arange(float(len(frame)))
    for number, name in enumerate(MASK_PLACES):
        draw_means(sizes, position + 0.2 * (number - 1), frame, 0, name, across=True, name=name, **_LOOKS[name])
    for number, (name, other) in enumerate(INSIDE_MINUS.items()):
        look = _LOOKS[other] | {"color": INK}
        draw_means(differences, position + 0.2 * (number - 0.5), frame, 0, across=True, name=name, **look)
    name_rows(sizes, frame["mask"] + " on " + frame["class"])
    differences.axvline(0, color=INK, linewidth=0.8)
    sizes.set(title="size", xlabel="|effect| on the class probability")
    sizes.set_xlim(left=0)
    differences.set(title="inside minus", xlabel="difference in size")
    for axes in (sizes, differences):
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    return with_legend(figure, [sizes])

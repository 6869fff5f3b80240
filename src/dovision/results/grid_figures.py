"""The figure of effects against grid and fill: a pure function from a table to a figure."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from dovision.results.drawing import points, series, shortened, spread, styled

ENDS = ["mean", "low", "high"]


@styled
def grid_lines(frame: pd.DataFrame) -> Figure:
    """Mean |ECE| against the number of cells: of a cell, and times the number of cells; a row of panels an arm.

    Args:
        frame: columns fill, arm, cells, mean, low, high.
    """
    arms, fills = (list(dict.fromkeys(frame[name])) for name in ("arm", "fill"))
    figure = Figure(figsize=(7.16, 0.9 + 2.1 * len(arms)), layout="constrained")
    panels = figure.subplots(len(arms), 2, sharex=True, squeeze=False)
    ticks = sorted(frame["cells"].unique())
    for row, arm in enumerate(arms):
        for axes, whole in zip(panels[row], (False, True), strict=True):
            for number, fill in enumerate(fills):
                rows = frame[(frame["arm"] == arm) & (frame["fill"] == fill)].sort_values("cells")
                shown = rows.assign(**{end: rows[end] * rows["cells"] for end in ENDS}) if whole else rows
                label = shortened(fill, 40)
                axes.errorbar(
                    shown["cells"], shown["mean"], spread(shown), label=label, **series(number), **points(number)
                )
            axes.set_ylim(bottom=0)
            axes.grid(axis="y")
            axes.set_title(f"{arm}: {'times the number of cells' if whole else 'of a cell'}")
    for axes in panels[-1]:
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("cells of the grid")
    for axes in panels[:, 0]:
        axes.set_ylabel("mean |ECE|")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7.5)
    return figure

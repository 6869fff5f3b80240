"""The figure of effects against grid and fill: a pure function from a table to a figure."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from dovision.report.style import brief, points, series, shortened, spread, styled

_ENDS = ["mean", "low", "high"]


@styled
def grid_lines(frame: pd.DataFrame) -> Figure:
    """Mean |ECE| against the number of cells: of a cell, and times the number of cells; a row of panels a condition.

    Args:
        frame: columns series (what differs besides grid and fill, or empty), fill, condition, cells, mean, low, high.
    """
    conditions = list(dict.fromkeys(frame["condition"]))
    lines = list(dict.fromkeys(zip(frame["series"], frame["fill"], strict=True)))
    figure = Figure(figsize=(7.16, 0.9 + 2.1 * len(conditions)), layout="constrained")
    panels = figure.subplots(len(conditions), 2, sharex=True, squeeze=False)
    ticks = sorted(frame["cells"].unique())
    for row, condition in enumerate(conditions):
        for axes, whole in zip(panels[row], (False, True), strict=True):
            for number, (own, fill) in enumerate(lines):
                of_line = (frame["condition"] == condition) & (frame["series"] == own) & (frame["fill"] == fill)
                rows = frame[of_line].sort_values("cells")
                if rows.empty:
                    continue
                shown = rows.assign(**{end: rows[end] * rows["cells"] for end in _ENDS}) if whole else rows
                label = f"{brief(own, 40)}, {shortened(fill, 40)}" if own else shortened(fill, 40)
                axes.errorbar(
                    shown["cells"], shown["mean"], spread(shown), label=label, **series(number), **points(number)
                )
            axes.set_ylim(bottom=0)
            axes.grid(axis="y")
            axes.set_title(f"{condition}: {'times the number of cells' if whole else 'of a cell'}")
    for axes in panels[-1]:
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("cells of the grid")
    for axes in panels[:, 0]:
        axes.set_ylabel("mean |ECE|")
    named = {
        text: handle for axes in panels[:, 0] for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    columns = 3 if max(map(len, named)) < 44 else 1
    figure.legend(named.values(), named, loc="outside lower center", ncols=columns, fontsize=7.5)
    return figure
